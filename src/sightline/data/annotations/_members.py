"""Files that lie inside of another file."""

from dataclasses import dataclass
from pathlib import Path

from sightline.errors import InputError


@dataclass(frozen=True)
class Member:
    """`size` bytes of a file from `start` on."""

    archive: Path
    start: int
    size: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            InputError: The archive is gone, or shorter than it was.
        """
        try:
            with self.archive.open("rb") as file:
                file.seek(self.start)
                found = file.read(self.size)
        except OSError as error:
            raise InputError(f"{self.archive}: could not be read ({error.strerror})") from error
        if len(found) < self.size:
            raise InputError(f"{self.archive}: is truncated; copy or download it again")
        return found

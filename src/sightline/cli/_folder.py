"""The output folder of `sightline explain`: settings, a journal of finished photos, and the table made from it.

explain.json         settings, classifier, versions
finished.jsonl       the journal: one line a finished photo, appended when all of its files are there
explanations.csv     one line a photo, method and target
METHOD/PHOTO/        maps.npz (raw), manifest.json, overlay-0000.png, ...; `sl.Explanation.load` reads it
sheets/PHOTO.png     the methods side by side
overview-001.png     all photos, page by page
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sightline.errors import StorageError
from sightline.files import atomic_write, lock

FORMAT = "sightline explain 1"
SCORES = ".scores"  # of masked passes, until all photos are finished
_SETTINGS, _JOURNAL, _TABLE = "explain.json", "finished.jsonl", "explanations.csv"
_COLUMNS = (
    "photo",
    "name",
    "method",
    "target",
    "score",
    "probability",
    "predicted",
    "predicted_probability",
    "empty",
    "maps",
    "row",
    "overlay",
)

Record = dict[str, Any]


class Folder:
    """An output folder, opened for a run with given settings; a context, so that one run at a time writes there.

    Args:
        path: The folder; made when missing.
        settings: What decides about the numbers; a folder made with other settings is refused.
        about: What else is put on record.
        overwrite: Remove what an earlier run left there, and nothing else.

    Raises:
        StorageError: It holds something else or other settings, another run is writing there, or it cannot be written.
    """

    _lock: BinaryIO | None = None

    def __init__(self, path: Path, settings: Mapping[str, Any], about: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        try:
            self._open(json.loads(json.dumps(settings)), about, overwrite=overwrite)
        except BaseException:
            self.close()
            raise
        self._names = {record["name"].casefold(): key for key, record in self.records.items()}

    def _open(self, settings: Mapping[str, Any], about: Mapping[str, Any], *, overwrite: bool) -> None:
        earlier = self._earlier()
        self._lock = lock(self.path)
        if earlier is not None and (overwrite or not self._begun()):
            self._clear(earlier)
            earlier = None
        if earlier is not None:
            self._check_same(earlier["settings"], settings)
        else:
            data = json.dumps({"format": FORMAT, "settings": settings, **about}, indent=2).encode()
            with atomic_write(self.path / _SETTINGS, size=len(data)) as file:
                file.write(data)
        self.records = self._read_journal()
        for place in (self.path, self.path / "sheets", *(self.path / name for name in settings["methods"])):
            for left in place.glob(".tmp-*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another run write there."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _earlier(self) -> dict[str, Any] | None:
        """The settings file of an earlier run, or None in a new or empty folder."""
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise StorageError(f"{self.path} is a file, not a folder; choose another --out")
        if not (self.path / _SETTINGS).exists():
            left = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if left:
                what = f"holds {left[0]!r} and no explanations of ours"
                raise StorageError(f"{self.path} {what}; choose an empty or new folder for --out")
            return None
        try:
            found = json.loads((self.path / _SETTINGS).read_text(encoding="utf-8"))
            if found.get("format") != FORMAT or not isinstance(found["settings"]["methods"], list):
                raise ValueError(f"its format is {found.get('format')!r}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
            raise StorageError(f"{self.path / _SETTINGS} cannot be read ({reason}); choose another --out") from reason
        return found  # type: ignore[no-any-return]

    def _begun(self) -> bool:
        """Whether any photo is on record."""
        journal = self.path / _JOURNAL
        return journal.is_file() and journal.stat().st_size > 0

    def _check_same(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        changed = [
            f"{name} was {_short(old.get(name))} and is now {_short(new.get(name))}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        if changed:
            raise StorageError(
                f"{self.path} holds explanations with other settings: {'; '.join(changed)}. "
                "Choose another --out, or --overwrite to remove them and start afresh"
            )

    def _clear(self, earlier: Mapping[str, Any]) -> None:
        """Remove what an earlier run made. The settings go last, so that an interrupted clearing can be repeated."""
        methods = [str(m) for m in earlier["settings"]["methods"] if re.fullmatch(r"[a-z0-9][a-z0-9+-]*", str(m))]
        try:
            for name in (*methods, "sheets"):
                if (self.path / name).is_dir():
                    shutil.rmtree(self.path / name)
            for file in (*self.path.glob("overview-*.png"), self.path / _TABLE, self.path / _JOURNAL):
                file.unlink(missing_ok=True)
            (self.path / _SETTINGS).unlink()
        except OSError as reason:
            raise StorageError(f"{self.path} cannot be cleared ({reason}); choose another --out") from reason

    def _read_journal(self) -> dict[str, Record]:
        """Finished photos; a last line that was cut off by a kill is taken away."""
        journal = self.path / _JOURNAL
        if not journal.exists():
            return {}
        try:
            data = journal.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(journal, len(whole))
            records = [json.loads(line) for line in whole.splitlines() if line.strip()]
            return {record["key"]: record for record in records}
        except (OSError, ValueError, KeyError, TypeError) as reason:
            raise StorageError(
                f"{journal} cannot be read ({reason}); choose another --out, or --overwrite to start afresh"
            ) from reason

    def finished(self, photo: Path) -> bool:
        """Whether a photo is done: the same file, unchanged since, and its maps and sheet are still there."""
        record = self.records.get(key_of(photo))
        if record is None or record["stamp"] != stamp_of(photo):
            return False
        files = {row[kind] for row in record["rows"] for kind in ("maps", "overlay")} | {record["sheet"]}
        return all((self.path / file).is_file() for file in files)

    def name(self, photo: Path) -> str:
        """The photo's name in this folder: its stem, with a mark where another photo has the same."""
        key = key_of(photo)
        if key in self.records:
            return str(self.records[key]["name"])
        stem = re.sub(r"[^\w.,()+=@ -]", "_", photo.stem).strip(" .")[:80] or "photo"
        if self._names.setdefault(stem.casefold(), key) != key:
            stem = f"{stem}-{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:8]}"
            self._names[stem.casefold()] = key
        return stem

    def append(self, record: Record) -> None:
        """Put a finished photo on record; this is what a later run goes by.

        Raises:
            StorageError: No space, or the folder is gone; the journal is as it was before.
        """
        journal = self.path / _JOURNAL
        line = json.dumps(record).encode() + b"\n"
        try:
            before = journal.stat().st_size if journal.exists() else 0
            try:
                with journal.open("ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(journal, before)
                raise
        except OSError as reason:
            why = reason.strerror or str(reason)
            raise StorageError(
                f"{journal}: could not be written ({why}); free some space or choose another --out"
            ) from reason
        self.records[record["key"]] = record

    def write_table(self, photos: Iterable[Path]) -> Path:
        """Write `explanations.csv` from the journal, photos in the order given, then others that were done before."""
        keys = dict.fromkeys([*map(key_of, photos), *self.records])
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        for record in (self.records[key] for key in keys if key in self.records):
            shared = {c: record[c] for c in ("photo", "name", "predicted", "predicted_probability")}
            table.writerows({**shared, **row} for row in record["rows"])
        data = text.getvalue().encode(errors="surrogateescape")
        with atomic_write(self.path / _TABLE, size=len(data)) as file:
            file.write(data)
        return self.path / _TABLE


def key_of(photo: Path) -> str:
    """What a photo is known by: its absolute path."""
    return str(photo.resolve())


def stamp_of(photo: Path) -> list[int]:
    """Size and time of a file, to see whether it changed."""
    try:
        found = photo.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

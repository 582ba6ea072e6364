"""A folder that takes every score as it comes, so that a killed call loses nothing."""

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch

from sightline.errors import StorageError
from sightline.explainers.masking._plan import Job

_RECORD = struct.Struct("<4sIII")  # mark, number of the job, rows, masks
_MARK = b"MASK"


class Checkpoint:
    """Scores on disk, a file for each question: a line that says what it is, then records in the order they came.

    A record that was cut short by a kill is dropped; everything before it counts.

    Raises:
        StorageError: The file is none of ours or cannot be written.
    """

    def __init__(self, folder: str | Path, identity: Sequence[object], jobs: Sequence[Job]) -> None:
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()
        self.path = Path(folder) / f"{digest[:16]}.scores"
        head = json.dumps({"sightline": "masked scores", "question": digest}).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            known = self.path.read_bytes() if self.path.exists() else b""
            if known and not head.startswith(known[: len(head)]):
                raise StorageError(f"{self.path} is no file of masked scores, or of another version; delete it")
            good = self._read(known, len(head), jobs) if len(known) >= len(head) else 0
            self._file: IO[bytes] = self.path.open("r+b" if good else "wb")
            if good:
                self._file.seek(good)
                self._file.truncate()
            else:
                self._file.write(head)
            self._file.flush()
        except OSError as reason:
            raise self._failed(reason) from reason

    def _failed(self, reason: OSError) -> StorageError:
        if isinstance(reason, StorageError):
            return reason
        return StorageError(f"cannot write the checkpoint {self.path}: {reason.strerror or reason}")

    def _read(self, data: bytes, at: int, jobs: Sequence[Job]) -> int:
        while at + _RECORD.size <= len(data):
            mark, number, rows, masks = _RECORD.unpack_from(data, at)
            end = at + _RECORD.size + 4 * masks * (1 + rows)
            if mark != _MARK or number >= len(jobs) or end > len(data):
                break
            index = torch.from_numpy(np.frombuffer(data, "<i4", masks, at + _RECORD.size).astype(np.int64))
            values = np.frombuffer(data, "<f4", rows * masks, at + _RECORD.size + 4 * masks).reshape(rows, masks)
            jobs[number].learn(index, torch.from_numpy(values.copy()))
            at = end
        return at

    def add(self, number: int, index: torch.Tensor, values: torch.Tensor) -> None:
        """Append the values (n, m) of masks (m,) of a job."""
        rows, masks = values.shape
        body = index.cpu().numpy().astype("<i4").tobytes() + values.cpu().contiguous().numpy().astype("<f4").tobytes()
        try:
            self._file.write(_RECORD.pack(_MARK, number, rows, masks) + body)
            self._file.flush()
        except OSError as reason:
            raise self._failed(reason) from reason

    def close(self) -> None:
        """Close the file; what was added stays."""
        self._file.close()

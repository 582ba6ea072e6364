"""What a frozen classifier says of the training images, computed once and kept in memory-mapped files.

cache.json       what the rows are made from (the fingerprint), written when all of them are there
outputs.npy      (rows, C) float32
features-0.npy   (rows, ...) one file a tapped layer, in the precision that was asked for
pixels.npy       (rows, C, H, W) float16, for methods that mask the image

Files are written like any others and mapped when they are complete, so a full disk is an error that can be met, not a
crash. Rows of images that could not be read are zeros and are never asked for.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from sightline.errors import InputError, StorageError
from sightline.files import atomic_write

Precision = Literal["float32", "float16", "bfloat16"]
DEFAULT_LIMIT = 8 * 2**30
_KEPT_FREE = 2**28  # bytes of the disk that are left alone
_INDEX = "cache.json"
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Shapes:
    """What one row holds: shapes of the tapped layers' outputs, of the pixels (None: not kept), number of outputs."""

    features: tuple[tuple[int, ...], ...]
    pixels: tuple[int, ...] | None
    outputs: int

    def bytes_of(self, rows: int, precision: Precision) -> int:
        """How much so many rows take."""
        each = _BYTES[precision] * sum(int(np.prod(shape)) for shape in self.features) + 4 * self.outputs
        return rows * (each + (2 * int(np.prod(self.pixels)) if self.pixels else 0))


@dataclass(frozen=True)
class Fits:
    """Whether rows fit, in which precision, or why not."""

    precision: Precision | None
    size: int
    why: str = ""


def fits(
    folder: Path, shapes: Shapes, rows: int, *, limit: int, precision: Precision | Literal["auto"] = "auto"
) -> Fits:
    """Whether a cache fits into its limit and onto the disk; `auto` takes float32, or float16 where that alone fits."""
    if precision not in ("auto", *_BYTES):
        raise InputError(f"cache_precision must be 'auto', {', '.join(map(repr, _BYTES))}, not {precision!r}")
    room = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free - _KEPT_FREE
    choices: Sequence[Precision] = ("float32", "float16") if precision == "auto" else (precision,)
    for choice in choices:
        size = shapes.bytes_of(rows, choice)
        if size <= min(limit, room):
            return Fits(choice, size)
    asked = f"{size / 2**20:,.0f} MiB as {choice}"
    if size > limit:
        return Fits(None, size, f"features would take {asked}, more than cache_limit ({limit / 2**20:,.0f} MiB)")
    return Fits(None, size, f"features would take {asked}, but the disk has {max(room, 0) / 2**20:,.0f} MiB to spare")


class _Writer:
    """One .npy file, row after row."""

    def __init__(self, path: Path, rows: int, shape: Sequence[int], precision: str) -> None:
        self.precision = precision
        self.file: IO[bytes] = path.open("wb")
        kind = {"bfloat16": "<u2", "float16": "<f2", "float32": "<f4"}[precision]
        header = {"descr": kind, "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def write(self, values: Tensor) -> None:
        kept = values.detach().cpu().to(getattr(torch, self.precision)).contiguous()
        if self.precision == "float16" and not bool(kept.isfinite().all()):
            raise InputError("features do not fit into float16 (they exceed 65504); take cache_precision='bfloat16'")
        kept = kept.view(torch.uint16) if self.precision == "bfloat16" else kept
        self.file.write(kept.numpy().tobytes())


class Cache:
    """A finished cache.

    Attributes:
        rows: How many rows.
        failed: Rows without an image, with the reason.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.folder, self.rows = folder, int(about["rows"])
        self.fingerprint, self.precision = str(about["fingerprint"]), str(about["precision"])
        self.failed: dict[int, str] = {int(k): v for k, v in about["failed"].items()}
        self._features = [np.load(folder / f"features-{i}.npy", mmap_mode="r") for i in range(about["layers"])]
        self._outputs = np.load(folder / "outputs.npy", mmap_mode="r")
        pixels = folder / "pixels.npy"
        self._pixels = np.load(pixels, mmap_mode="r") if about["pixels"] else None

    def features(self, rows: Sequence[int], device: torch.device) -> list[Tensor]:
        """[(n, ...), ...] of some rows, float32."""
        return [self._take(values, rows, device) for values in self._features]

    def outputs(self, rows: Sequence[int], device: torch.device) -> Tensor:
        """(n, C) of the unaltered images."""
        return self._take(self._outputs, rows, device)

    def pixels(self, rows: Sequence[int], device: torch.device) -> Tensor | None:
        """(n, C, H, W), float32 in [0, 1], rounded to float16; None where they were not kept."""
        return None if self._pixels is None else self._take(self._pixels, rows, device)

    def _take(self, values: Any, rows: Sequence[int], device: torch.device) -> Tensor:
        found = torch.from_numpy(values[list(rows)])
        found = found.view(torch.bfloat16) if found.dtype == torch.uint16 else found
        return found.to(device).float()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hex digits over what the rows depend on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def existing(folder: Path, wanted: str) -> Cache | None:
    """The finished cache of this fingerprint that lies there, or None."""
    try:
        found = Cache(folder)
    except (OSError, ValueError, KeyError):
        return None
    return found if found.fingerprint == wanted else None


Block = tuple[Tensor, list[Tensor], Tensor | None]
"""Outputs (n, C), features [(n, ...), ...] and pixels (n, C, H, W) of some rows."""


def build(
    folder: Path,
    wanted: str,
    shapes: Shapes,
    rows: int,
    precision: Precision,
    blocks: Iterable[tuple[Sequence[int], Block, Mapping[int, str]]],
    advance: Callable[[int], object],
) -> Cache:
    """Write all rows.

    Args:
        folder: Where; what lay there is replaced.
        wanted: The fingerprint.
        shapes: Of a row.
        rows: How many.
        precision: Of the features.
        blocks: Rows in order: their numbers, what is known of those that were read, and why the others were not.
        advance: Called with how many rows were just done.

    Raises:
        StorageError: No space; nothing of it is left.
        InputError: Features that do not fit into float16.
    """
    writers: list[_Writer] = []
    failed: dict[int, str] = {}
    try:
        clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        writers = [_Writer(folder / f"features-{i}.npy", rows, s, precision) for i, s in enumerate(shapes.features)]
        writers.append(_Writer(folder / "outputs.npy", rows, (shapes.outputs,), "float32"))
        if shapes.pixels:
            writers.append(_Writer(folder / "pixels.npy", rows, shapes.pixels, "float16"))
        for numbers, (outputs, features, pixels), broken in blocks:
            failed.update(broken)
            read = [n not in broken for n in numbers]
            values = [*features, outputs, *([pixels] if shapes.pixels and pixels is not None else [])]
            for writer, value in zip(writers, values, strict=True):
                writer.write(_spread(value, read))
            advance(len(numbers))
        for writer in writers:
            writer.file.close()
        about = {"fingerprint": wanted, "rows": rows, "layers": len(shapes.features), "precision": precision}
        about |= {"pixels": bool(shapes.pixels), "failed": failed}
        with atomic_write(folder / _INDEX) as file:
            file.write(json.dumps(about).encode())
    except OSError as reason:
        _close(writers)
        clear(folder)
        raise StorageError(f"the features could not be kept in {folder} ({reason.strerror or reason})") from reason
    except BaseException:
        _close(writers)
        clear(folder)
        raise
    return Cache(folder)


def _close(writers: Sequence[_Writer]) -> None:
    for writer in writers:
        try:
            writer.file.close()
        except OSError:  # what could not be flushed is thrown away
            continue


def _spread(values: Tensor, read: Sequence[bool]) -> Tensor:
    """Rows with zeros where nothing was read."""
    if all(read):
        return values
    out = values.new_zeros(len(read), *values.shape[1:])
    out[torch.tensor(read, device=values.device)] = values
    return out


def clear(folder: Path) -> None:
    """Remove a cache; its index first, so that a half of it never counts."""
    if folder.is_dir():
        (folder / _INDEX).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

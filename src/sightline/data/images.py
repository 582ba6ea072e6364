"""Photographs from disk into pixels: read, find, fit to a network's input, load many ahead of use."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sightline.data._ahead import read_ahead
from sightline.data.decode import read_image
from sightline.data.fitting import Box, How, Size, fit
from sightline.data.labels import read_labels
from sightline.errors import InputError

__all__ = [
    "EXTENSIONS",
    "Box",
    "Failure",
    "How",
    "ImageBatch",
    "ImageBatches",
    "find_images",
    "fit",
    "load_images",
    "read_image",
    "read_labels",
]

EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings (lower case) of what counts as an image when a folder or a pattern is searched."""


class Failure(NamedTuple):
    """A file that could not be read, and why."""

    path: Path
    reason: str


class ImageBatch(NamedTuple):
    """Pixels (B, 3, H, W) in [0, 1] and the B files that they come from."""

    pixels: Tensor
    paths: list[Path]


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Name the image files behind files, folders and patterns.

    A file that is named outright is taken whatever its ending. A folder is searched with all that is below it (links
    to folders too), in natural order (``2.png`` before ``10.png``), without hidden files and folders. A pattern
    (``*``, ``?``, ``[]``, ``**``) may come quoted, as the shell would leave it. A file found twice is named once.

    Raises:
        InputError: A path, folder or pattern behind which there is no image; the text names it.
    """
    found: dict[Path, None] = {}
    circles = cache(_circles)  # for this search only
    for given in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = Path(given).expanduser()
        if path.is_dir():
            here = _in_folder(path)
        elif path.exists():
            here = [path]
        else:
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            matches = sorted((Path(name) for name in names if not circles(Path(name).parent)), key=_natural)
            here = [file for match in matches for file in (_in_folder(match) if match.is_dir() else [match])]
            here = [file for file in here if file.suffix.lower() in EXTENSIONS]
        if not here:
            what = (
                "no images in this folder" if path.is_dir() else "no image there" if path.exists() else "no such path"
            )
            ends = " ".join(sorted(EXTENSIONS))
            raise InputError(f"{given}: {what}; check the name (in folders and patterns these count: {ends})")
        found.update(dict.fromkeys(here))
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions") from error

    files, seen = [], set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:  # links may go in circles
            files += [Path(parent, name) for name in names if not name.startswith(".")]
        seen.add(real)
    return sorted((file for file in files if file.suffix.lower() in EXTENSIONS), key=_natural)


def _circles(folder: Path) -> bool:
    """Whether links on the way to a folder lead back to where the way has been: ``**`` would go round and round."""
    folder = Path(os.path.normpath(Path.cwd() / folder))
    return len({os.path.realpath(parent) for parent in (folder, *folder.parents)}) <= len(folder.parents)


def _natural(path: Path) -> tuple[list[list[str | int]], str]:
    split = ([*re.split("([0-9]+)", part.lower())] for part in path.parts)
    return [[int(piece) if i % 2 else piece for i, piece in enumerate(pieces)] for pieces in split], str(path)


class ImageBatches:
    """Batches of images, read ahead of use by threads; made by `load_images`, iterated as often as you like.

    Attributes:
        paths: The files, in the order in which they come.
        failures: The files that the current (or the last) pass could not read, in order, with the reasons.
    """

    paths: list[Path]
    failures: list[Failure]

    def __init__(
        self, paths: Iterable[Path], read: Callable[[Path], Tensor], *, batch_size: int, collect: bool, workers: int
    ) -> None:
        self.paths, self.failures = list(paths), []
        self._read, self._batch_size, self._collect, self._workers = read, batch_size, collect, workers

    def __iter__(self) -> Iterator[ImageBatch]:
        self.failures = failures = []
        images: list[Tensor] = []
        paths: list[Path] = []
        results = read_ahead(self.paths, self._read, workers=self._workers, ready=self._batch_size)
        try:
            for path, result in results:
                if isinstance(result, InputError):
                    if not self._collect:
                        raise result
                    failures.append(Failure(path, str(result).removeprefix(f"{path}: ")))
                    continue
                images.append(result)
                paths.append(path)
                if len(images) == self._batch_size:
                    yield ImageBatch(torch.stack(images), paths)
                    images, paths = [], []
        finally:
            results.close()  # stops the threads at once, also when the caller leaves early
        if images:
            yield ImageBatch(torch.stack(images), paths)


def load_images(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    size: Size = 224,
    how: How = "crop",
    box: Box | None = None,
    crop: float = 224 / 256,
    batch_size: int = 16,
    on_error: Literal["raise", "collect"] = "raise",
    workers: int = 4,
) -> ImageBatches:
    """Read many images lazily, in order, in batches of one size.

    Args:
        paths: Image files, as `find_images` names them.
        size: The side, or (height, width), in pixels; with `how`, `box` and `crop` as in `fit`.
        how: ``crop``, ``squash`` or ``pad``.
        box: What is cut out of every image first.
        crop: For ``crop``: the share of the resized side that is kept.
        batch_size: Images a batch; only the last batch may be smaller.
        on_error: ``raise`` stops at the first file that cannot be read. ``collect`` leaves it out, goes on, and names
            it in ``failures`` of what is returned.
        workers: Threads that read ahead; 0 reads in the caller's thread.

    Returns:
        Something to iterate over: (pixels (B, 3, height, width) float32 in [0, 1] on the CPU, their B paths).

    Raises:
        InputError: A setting out of range; while iterating, a file that cannot be read (with ``raise``).
    """
    if on_error not in ("raise", "collect"):
        raise InputError(f"on_error must be 'raise' or 'collect', not {on_error!r}")
    if batch_size < 1 or workers < 0:
        raise InputError(f"batch_size must be 1 or more and workers 0 or more, not {batch_size} and {workers}")
    fit(torch.zeros(3, 8, 8), size, how=how, box=box, crop=crop)  # a wrong setting is told before any file is read

    def read(path: Path) -> Tensor:
        return fit(read_image(path), size, how=how, box=box, crop=crop)

    files = [paths] if isinstance(paths, str | os.PathLike) else paths
    collect = on_error == "collect"
    return ImageBatches(map(Path, files), read, batch_size=batch_size, collect=collect, workers=workers)

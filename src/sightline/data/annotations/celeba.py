"""CelebA: faces with forty attributes, in the layout in which it is given out."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from sightline.data.annotations._cells import POINTS, points
from sightline.data.annotations.record import Record, Records
from sightline.data.images import Failure
from sightline.errors import InputError

_FORMS = ({"-1", "1"}, {"0", "1"})
_PARTS = {"train": "0", "valid": "1", "test": "2"}

Part = Literal["train", "valid", "test"]


def celeba(
    root: str | os.PathLike[str],
    *,
    part: Part | None = None,
    label: str | None = None,
    images: str = "img_align_celeba",
    landmarks: bool | None = None,
    groups: Sequence[str] = (),
) -> Records:
    """Records of CelebA (Liu et al. 2015, arXiv 1411.7766): `attributes` are 1 for yes and 0 for no.

    Args:
        root: The folder with `list_attr_celeba.txt`, `list_eval_partition.txt` (for `part`), the images, and
            `list_landmarks_align_celeba.txt` (in pixels of the images that are there, whatever their size).
        part: `train`, `valid` or `test`; by default all of it.
        label: An attribute that is the class, for a classifier of two categories: 1 for yes, 0 for no.
        images: The folder of images in `root`.
        landmarks: True where they are needed: then `failures` counts and names what has none. By default they are read
            where the list is there. False leaves them.
        groups: Attributes whose values, `yes` and `no`, are groups to compare.

    Returns:
        Records in the order of the list; `failures` names images that are listed but not there, and, where landmarks
        are needed, images without.

    Raises:
        InputError: A list is missing or broken, an attribute is unknown, no image is there, or the landmarks belong to
            images of another size.
    """
    root = Path(root)
    listed = root / "list_attr_celeba.txt"
    names, rows = _attributes(listed)
    for name in (*groups, *(() if label is None else (label,))):
        if name not in names:
            raise InputError(f"{listed}: has no attribute {name!r}; it has {', '.join(names)}")
    if part is not None:
        kept = _part(root / "list_eval_partition.txt", part)
        rows = [row for row in rows if row[0] in kept]
    folder = root / images
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    if rows and there.isdisjoint(name for name, _ in rows):
        raise InputError(f"{folder}: has none of the {len(rows)} images that are listed; give the folder by images=")
    failures = [
        Failure(folder / name, f"is listed in {listed}, but there is no such file")
        for name, _ in rows
        if name not in there
    ]
    rows = [row for row in rows if row[0] in there]
    marks = _Landmarks(root / "list_landmarks_align_celeba.txt")
    if landmarks is not False:
        failures += marks.read(folder, [name for name, _ in rows], needed=landmarks is True)

    def make(path: Path, values: str) -> Record:
        found = {name: int(value == "1") for name, value in zip(names, values.split(), strict=True)}
        return Record(
            path=path,
            label=None if label is None else found[label],
            attributes=found,
            landmarks=marks.of(path.name),
            groups={name: "yes" if found[name] else "no" for name in groups},
        )

    return Records(
        [(folder / name, values) for name, values in rows],
        make,
        classes=() if label is None else (f"not {label}", label),
        failures=failures,
    )


class _Landmarks:
    """`list_landmarks_align_celeba.txt`: a count, the names of ten columns, and a line for each image."""

    _LOOKED_AT = 8  # images whose size is compared with their landmarks

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, str] = {}

    def read(self, folder: Path, names: Sequence[str], *, needed: bool) -> list[Failure]:
        """Read the list, and say what it lacks, if that matters."""
        if not self.path.is_file():
            return [Failure(self.path, "is not there: no image has landmarks")] if needed else []
        for line in _lines(self.path)[2:]:
            name, _, values = line.strip().partition(" ")
            self._lines[name] = values
        there = [name for name in names if name in self._lines]
        self._check([folder / name for name in there[: self._LOOKED_AT]])
        lacking = [] if not needed else [name for name in names if name not in self._lines]
        return [Failure(folder / name, f"has no landmarks in {self.path}") for name in lacking]

    def of(self, name: str) -> Tensor | None:
        """(5, 2) of an image; None where the list does not have it."""
        if name not in self._lines:
            return None
        try:
            found = points(self._lines[name])
        except InputError as error:
            raise InputError(f"{self.path}: {name}: {error}") from error
        if len(found) != len(POINTS):
            raise InputError(f"{self.path}: {name}: must have ten numbers, not {2 * len(found)}")
        return found

    def _check(self, files: Sequence[Path]) -> None:
        """Aligned faces are in the middle: landmarks that are not belong to images of another size."""
        middles, size = [], (0, 0)
        for file in files:
            found = self.of(file.name)
            with contextlib.suppress(OSError), Image.open(file) as image:  # a broken image is told when it is read
                if found is not None:
                    size = image.size
                    middles.append(found.mean(0) / torch.tensor(size))
        if not middles:
            return
        x, y = torch.stack(middles).mean(0).tolist()
        if not (0.3 < x < 0.7 and 0.3 < y < 0.8):
            raise InputError(
                f"{self.path}: puts faces at {x:.0%} of the width and {y:.0%} of the height of images of {size[0]} x "
                f"{size[1]} pixels: it belongs to images of another size; give that folder by images=, or the "
                f"list that belongs to these, or landmarks=False"
            )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: could not be read ({error.strerror}); it belongs to CelebA") from error


def _attributes(path: Path) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Names of the attributes, and of each image its file and its line of values."""
    lines = _lines(path)
    names = tuple(lines[1].split()) if len(lines) > 2 else ()
    rows = []
    noes: set[str] = set()
    for number, line in enumerate(lines[2:], 3):
        name, _, values = line.strip().partition(" ")
        split = values.split()
        if len(split) != len(names) or not any(form.issuperset(split) for form in _FORMS):
            raise InputError(f"{path}: line {number} must be a file and {len(names)} times 1 or -1 (or 1 or 0)")
        noes.update(split)
        rows.append((name, values))
    if {"0", "-1"} <= noes:
        raise InputError(f"{path}: holds both 0 and -1; write no in one way")
    if not rows:
        raise InputError(f"{path}: must have a count, a line of attributes, and a line for each image")
    return names, rows


def _part(path: Path, part: str) -> set[str]:
    if part not in _PARTS:
        raise InputError(f"part must be {', '.join(map(repr, _PARTS))} or None, not {part!r}")
    fields = [line.split() for line in _lines(path) if line.strip()]
    if any(len(pair) != 2 for pair in fields):
        raise InputError(f"{path}: each line must be a file and 0, 1 or 2")
    kept = {name for name, number in fields if number == _PARTS[part]}
    if not kept:
        raise InputError(f"{path}: has no image of the part {part!r}")
    return kept

"""CelebA: faces with forty attributes, in the layout in which it is given out."""

import os
from pathlib import Path
from typing import Literal

from sightline.data.annotations.record import Record, Records
from sightline.data.images import Failure
from sightline.errors import InputError

_PARTS = {"train": "0", "valid": "1", "test": "2"}

Part = Literal["train", "valid", "test"]


def celeba(
    root: str | os.PathLike[str],
    *,
    part: Part | None = None,
    label: str | None = None,
    images: str = "img_align_celeba",
) -> Records:
    """Records of CelebA (Liu et al. 2015, arXiv 1411.7766): `attributes` are 1 for yes and 0 for no.

    Args:
        root: The folder with `list_attr_celeba.txt`, `list_eval_partition.txt` (for `part`) and the images.
        part: `train`, `valid` or `test`; by default all of it.
        label: An attribute that is the class, for a classifier of two categories: 1 for yes, 0 for no.
        images: The folder of images in `root`.

    Returns:
        Records in the order of the list; `failures` names images that are listed but not there.

    Raises:
        InputError: A list is missing or broken, an attribute is unknown, or no image is there.
    """
    root = Path(root)
    listed = root / "list_attr_celeba.txt"
    names, rows = _attributes(listed)
    if label is not None and label not in names:
        raise InputError(f"{listed}: has no attribute {label!r}; it has {', '.join(names)}")
    if part is not None:
        kept = _part(root / "list_eval_partition.txt", part)
        rows = [row for row in rows if row[0] in kept]
    folder = root / images
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    if rows and there.isdisjoint(name for name, _ in rows):
        raise InputError(f"{folder}: has none of the {len(rows)} images that are listed; give the folder by images=")

    def make(path: Path, values: str) -> Record:
        found = {name: int(value == "1") for name, value in zip(names, values.split(), strict=True)}
        return Record(path=path, label=None if label is None else found[label], attributes=found)

    gone = [folder / name for name, _ in rows if name not in there]
    return Records(
        [(folder / name, values) for name, values in rows if name in there],
        make,
        classes=() if label is None else (f"not {label}", label),
        failures=[Failure(path, f"is listed in {listed}, but there is no such file") for path in gone],
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
    for number, line in enumerate(lines[2:], 3):
        name, _, values = line.strip().partition(" ")
        split = values.split()
        if len(split) != len(names) or not {"-1", "1"}.issuperset(split):
            raise InputError(f"{path}: line {number} must be a file and {len(names)} times 1 or -1")
        rows.append((name, values))
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

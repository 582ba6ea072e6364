"""Image folders: the class is the folder. CIFAR-10 as images is laid out so too."""

import os
from collections.abc import Sequence
from pathlib import Path

from sightline.data.annotations.record import Record, Records
from sightline.data.images import find_images
from sightline.errors import InputError


def folders(root: str | os.PathLike[str], *, classes: Sequence[str] | None = None) -> Records:
    """Records of `root/<class>/**/<image>`.

    Args:
        root: A folder with a folder for each class.
        classes: Names of the folders in the order of the classifier's outputs; by default in alphabetical order, which
            is also CIFAR-10's.

    Raises:
        InputError: There are no folders or no images, or a folder that is no class; the text names it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; check the path")
    there = sorted(f.name for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    names = tuple(there if classes is None else classes)
    if not names:
        raise InputError(f"{root}: has no folder in it; the folder of an image is its class")
    if strange := [name for name in there if name not in names]:
        raise InputError(f"{root / strange[0]}: is none of the {len(names)} classes; name it in classes= or move it")
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{root}: has no folder {missing[0]!r}, which classes= names; make it, or take it out")
    label = {name: index for index, name in enumerate(names)}
    entries = [(path, name) for name in there for path in find_images(root / name)]

    def make(path: Path, name: str) -> Record:
        return Record(path=path, label=label[name], name=name)

    return Records(entries, make, classes=names)

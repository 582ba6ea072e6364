"""WebDataset shards: tar files in which the files of a sample share a name."""

import glob
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sightline.data.annotations._members import Member
from sightline.data.annotations._shapes import MaskFile
from sightline.data.annotations.record import Record, Records
from sightline.data.boxes import as_boxes
from sightline.data.images import EXTENSIONS, Failure
from sightline.errors import InputError

Parts = dict[str, Member]


def shards(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Records:
    """Records of tar files in the manner of WebDataset, read where they lie, without unpacking.

    The files of a sample have one name up to the first dot; what follows says what they are:

    - `jpg`, `png`, `webp` ...: the image;
    - `cls`: the index of its class, as text;
    - `json`: an object with `label`, `boxes` (left, top, right, bottom in pixels, as edges) and whole numbers or truth
      values, which become attributes; all of it optional, other values are left aside;
    - `mask.png`: an image of the same size; what is not black is inside.

    Args:
        files: Tar files, a folder of them, or a pattern (`train-*.tar`).

    Returns:
        Records shard by shard, in the order of each; `path` is the name of the image below that of its shard.
        `failures` names samples without an image, and shards that end early: what lies before is used.

    Raises:
        InputError: There are no shards, one is no tar file or compressed, or none holds a sample. Where a record is
            read: a class, boxes or attributes that cannot be understood.
    """
    entries: list[tuple[Path, Parts]] = []
    failures: list[Failure] = []
    for shard in _find(files):
        samples, reason = _index(shard)
        if reason:
            failures.append(Failure(shard, reason))
        for key, parts in samples.items():
            image = next((kind for kind in parts if f".{kind}" in EXTENSIONS), None)
            if image is None:
                failures.append(Failure(shard / key, f"has no image, only {', '.join(sorted(parts))}"))
            else:
                entries.append((shard / f"{key}.{image}", parts))
    if not entries:
        raise InputError(f"{failures[0].path}: {failures[0].reason}" if failures else "the shards hold no samples")
    return Records(entries, _record, failures=failures)


def _find(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    found: list[Path] = []
    for given in [files] if isinstance(files, str | os.PathLike) else files:
        path = Path(given)
        if path.is_dir():
            here = sorted(path.glob("*.tar"))
        elif path.exists():
            here = [path]
        else:
            here = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not here:
            raise InputError(f"{given}: there is no tar file; check the name")
        found += here
    return found


def _index(shard: Path) -> tuple[dict[str, Parts], str]:
    """Where the files of each sample lie, and why the shard ends early, if it does."""
    samples: dict[str, Parts] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                folder, _, name = info.name.rpartition("/")
                key, dot, kind = name.partition(".")
                if info.isfile() and key and dot:
                    key = f"{folder}/{key}" if folder else key
                    samples.setdefault(key, {})[kind.lower()] = Member(shard, info.offset_data, info.size)
    except (tarfile.TarError, OSError) as error:
        if not samples:
            what = "is no tar file, or a compressed one, which cannot be read in places; unpack it"
            raise InputError(f"{shard}: {what} ({error})") from error
        return dict(list(samples.items())[:-1]), f"ends early ({error}); copy or download it again"
    return samples, ""


def _record(path: Path, parts: Parts) -> Record:
    image = parts[path.name.partition(".")[2]]
    try:
        facts = json.loads(parts["json"].read()) if "json" in parts else {}
        if not isinstance(facts, dict):
            raise ValueError("its json must be an object")
        label = int(parts["cls"].read()) if "cls" in parts else facts.get("label")
        if label is not None and (not isinstance(label, int) or label < 0):
            raise ValueError(f"its label must be a whole number, 0 or more, not {label!r}")
        boxes = None if facts.get("boxes") is None else as_boxes(facts["boxes"])
    except ValueError as error:  # an InputError and broken JSON are ones
        raise InputError(f"{path}: {error}") from error
    mask = parts.get("mask.png")
    return Record(
        path=path,
        label=label,
        boxes=boxes,
        attributes=_attributes(facts),
        member=image,
        mask=None if mask is None else MaskFile(path.with_suffix(".mask.png"), mask),
    )


def _attributes(facts: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(v) for name, v in facts.items() if isinstance(v, int) and name not in ("label", "boxes")}

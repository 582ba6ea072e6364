"""Pairs of images that were edited elsewhere, with any editor."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import polars as pl

from sightline.data.faces import Faces
from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, edit, has

_COLUMNS = ("path", "edited", "edit", "attribute")


class Pair(NamedTuple):
    """An edited image: its file, what the edit is called, what it means to change, and how where the table says so."""

    edited: Path
    label: str
    attribute: str
    direction: Direction | None


@edit
@dataclass(frozen=True, kw_only=True)
class Pairs(Edit):
    """Images of the study beside their edited versions; `read_pairs` makes it from a table.

    The changed pixels are the region, and the change carried elsewhere is the control. A change of more than half of
    the image has no control of the same area, and is refused.

    Attributes:
        pairs: Path of an image -> its edited versions.
        tolerance: Which change of a channel counts, in [0, 1]: what a file format did stays below it.
        source: The table's name.
    """

    name: ClassVar[str] = "pairs"
    summary: ClassVar[str] = "edited versions of the images, made elsewhere"
    needs: ClassVar[str] = "a table of edited images"
    pairs: Mapping[Path, tuple[Pair, ...]] = field(default_factory=dict, repr=False, metadata={"recorded": False})
    tolerance: float = 0.05
    source: str = "pairs"

    def bound(self, plan: Any) -> Edit:
        """Keeps what belongs to images of the study and to attributes that it asks.

        Raises:
            InputError: Rendered faces, an attribute that is not asked, or no image of the study has a pair.
        """
        if isinstance(plan.records, Faces):
            raise InputError("pairs are files; rendered faces have the edit 'counterfactual'")
        asked = plan.readout.names
        if unknown := sorted({p.attribute for many in self.pairs.values() for p in many} - set(asked)):
            raise InputError(f"{self.source}: {unknown[0]!r} is not audited; audited are {', '.join(asked)}")
        paths = (record.path for record in plan.records)
        there = {path.resolve() for path in paths}
        kept = {path: many for path, many in self.pairs.items() if path in there}
        if not kept:
            first = next(iter(self.pairs), "none")
            raise InputError(f"{self.source}: none of its images is audited (the first is {first}); give root=")
        return replace(self, pairs=kept)

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case a pair."""
        plan = block.plan
        for image, place in enumerate(block.places):
            record = plan.records[place]
            for pair in self.pairs.get(record.path.resolve(), ()):
                a = list(block.names).index(pair.attribute)
                try:
                    # Landmarks and masks of the original stay: both images are cut out at the same place.
                    sample = plan.source.preparation.load(replace(record, path=pair.edited), plan.source.size)
                except InputError as error:
                    yield Refusal(image=image, region=pair.label, attributes=(a,), reason=str(error))
                    continue
                other = sample.pixels.to(block.pixels.device)
                mask = ((other - block.pixels[image]).abs() > self.tolerance).any(0)
                if not bool(mask.any()):
                    reason = f"no pixel differs by more than {self.tolerance:g}"
                    yield Refusal(image=image, region=pair.label, attributes=(a,), reason=reason)
                    continue
                direction = pair.direction or ("remove" if has(block, image, a) else "insert")
                yield Case(
                    image=image, region=pair.label, directions={a: direction}, mask=mask, other=other, moved="change"
                )


def read_pairs(
    table: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, tolerance: float = 0.05
) -> Pairs:
    """Read a table of edited images.

    Args:
        table: CSV, TSV or Parquet with the columns `path` (the image as it was), `edited` (the edited one), `edit`
            (what was done, in a word) and `attribute`, and perhaps `direction`: `remove`, `insert` or `neutral`; by
            default what the image has is removed, and what it has not is inserted.
        root: To what paths are relative; by default the folder of the table.
        tolerance: Which change of a channel counts.

    Raises:
        InputError: The table cannot be read, lacks a column or has no rows; an edited image is not there.
    """
    from sightline.data.annotations.manifest import _read

    table = Path(table)
    frame = _read(table)
    if missing := [name for name in _COLUMNS if name not in frame.columns]:
        raise InputError(f"{table}: lacks the column {missing[0]!r}; it has {', '.join(frame.columns)}")
    if not len(frame):
        raise InputError(f"{table}: has no rows")
    base = Path(root) if root is not None else table.parent
    found: dict[Path, list[Pair]] = {}
    for number, row in enumerate(frame.with_columns(pl.col(_COLUMNS).cast(pl.String)).iter_rows(named=True), 1):
        if empty := [name for name in _COLUMNS if not row[name]]:
            raise InputError(f"{table}: row {number} has no {empty[0]}")
        direction = row.get("direction")
        if direction not in (None, "", "remove", "insert", "neutral"):
            raise InputError(f"{table}: row {number}: direction is remove, insert or neutral, not {direction!r}")
        edited = base / row["edited"]
        if not edited.is_file():
            raise InputError(f"{table}: row {number}: {edited} is not there; give root=")
        pair = Pair(edited, row["edit"], row["attribute"], direction or None)
        found.setdefault((base / row["path"]).resolve(), []).append(pair)
    return Pairs(pairs={path: tuple(many) for path, many in found.items()}, tolerance=tolerance, source=str(table))

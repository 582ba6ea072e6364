"""Images of each outcome of the attributes that stand out, the surest first: what the figures are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sightline import picture, store
from sightline.errors import StorageError
from sightline.report.page import Block, Choice, Figure, Figures, Section, Text
from sightline.studies.audit import Audit

if TYPE_CHECKING:
    import polars

_ATTRIBUTES, _EACH, _SIDE = 8, 6, 144
_SAID = {
    "FN": "has it, and the classifier says no",
    "FP": "does not have it, and the classifier says yes",
    "TP": "has it, and the classifier says yes",
    "TN": "does not have it, and the classifier says no",
}


def of_examples(audit: Audit) -> Section | None:
    """A choice of attributes; for each a few images of each outcome."""
    rows = audit.decisions()
    folder = audit.path / store.PICTURES
    kept = {int(file.stem) for file in folder.glob("*.jpg") if file.stem.isdigit()}
    if not kept:
        return None
    shown = rows.filter(rows["image_index"].is_in(sorted(kept)))
    options: list[tuple[str, Sequence[Block]]] = []
    for name in _worst(audit):
        blocks = _of_attribute(shown.filter(attribute=name), name, folder)
        if blocks:
            options.append((name.replace("_", " "), blocks))
    if not options:
        return None
    return Section(
        title="Examples",
        lead=f"The surest decisions of each outcome, among the {len(kept):,} images of which the run kept pictures, "
        "for the attributes that stand out most. A wrong label looks like an error of the classifier: look.",
        blocks=[Choice(label="attribute", options=options)],
    )


def _worst(audit: Audit) -> list[str]:
    """Attributes with findings first, then those of the largest balanced error."""
    found = audit.findings()["attribute"].unique(maintain_order=True).to_list()
    errors = audit.errors().sort("balanced_error", descending=True, nulls_last=True)["attribute"].to_list()
    return list(dict.fromkeys([*found, *errors]))[:_ATTRIBUTES]


def _of_attribute(rows: "polars.DataFrame", name: str, folder: Path) -> list[Block]:
    import polars as pl

    blocks: list[Block] = []
    for outcome, said in _SAID.items():
        mine = rows.filter(outcome=outcome).sort(pl.col("z").abs(), descending=True)
        if not len(mine):
            continue
        items = [_figure(row, folder, said) for row in mine.head(_EACH).iter_rows(named=True)]
        text = f"{len(mine):,} of the images with pictures: {said}."
        blocks.append(Figures(items=items, title=f"{name.replace('_', ' ')}: {outcome}", text=text, width=110))
    return blocks or [Text(f"No image with a picture has a known truth of {name.replace('_', ' ')}.")]


def _figure(row: dict[str, Any], folder: Path, said: str) -> Figure:
    path = folder / f"{row['image_index']}.jpg"
    try:
        image = Image.open(path).convert("RGB")
    except OSError as reason:
        raise StorageError(f"{path} cannot be read ({reason}); remove it, and the page is made without") from reason
    image.thumbnail((_SIDE, _SIDE))
    name = row["image"].rpartition("/")[2]
    return Figure(
        picture=picture.to_data_uri(image, format="webp", quality=78),
        alt=f"Image {row['image']}: {said} (z = {row['z']:.2f}).",
        title=name,
        caption=f"z = {row['z']:.2f}",
    )

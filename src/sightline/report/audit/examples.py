"""A few decisions of each outcome with their maps, for the worst attributes: what the figures are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sightline import picture, store
from sightline.errors import StorageError
from sightline.report.audit.cells import spoken
from sightline.report.page import Block, Choice, Figure, Figures, Section
from sightline.studies.auditing import Audit
from sightline.studies.auditing.examples import chosen, picture_of

if TYPE_CHECKING:
    import polars

_SIDE = 128
_SAID = {
    "FN": "has it, and the classifier says no",
    "FP": "does not have it, and the classifier says yes",
    "TP": "has it, and the classifier says yes",
    "TN": "does not have it, and the classifier says no",
}


def of_examples(audit: Audit) -> Section | None:
    """A choice of attributes; for each a few images of each outcome, wrong ones first."""
    decisions = audit.decisions()
    methods = list(audit.manifest["settings"].get("methods", {}))
    method = "hires-cam" if "hires-cam" in methods else next(iter(methods), "")
    rows = [row for row in chosen(decisions) if picture_of(audit.path, row, method).exists()]
    if not rows:
        return None
    known = decisions.filter(decisions["outcome"].is_not_null())
    outcomes = {(r["image_index"], r["attribute"]): r["outcome"] for r in known.iter_rows(named=True)}
    options: list[tuple[str, Sequence[Block]]] = []
    for name in _order(audit, rows):
        mine = [{**row, "outcome": outcomes[row["image_index"], name]} for row in rows if row["attribute"] == name]
        options.append((spoken(name), _of_attribute(audit, known.filter(attribute=name), mine, name, method)))
    return Section(
        title="Examples",
        lead="The surest decisions of each outcome, for the attributes with the most errors, each with the map of what "
        "speaks for the decision. A wrong label looks like an error of the classifier: look.",
        blocks=[Choice(label="attribute", options=options)],
    )


def _order(audit: Audit, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Attributes with findings first."""
    there = list(dict.fromkeys(row["attribute"] for row in rows))
    found = audit.findings()["attribute"].unique(maintain_order=True).to_list()
    return [*(name for name in found if name in there), *(name for name in there if name not in found)]


def _of_attribute(
    audit: Audit, known: "polars.DataFrame", rows: list[dict[str, Any]], name: str, method: str
) -> list[Block]:
    blocks: list[Block] = []
    for outcome, said in _SAID.items():
        mine = [row for row in rows if row["outcome"] == outcome]
        if mine:
            items = [figure for row in mine for figure in _pair(audit, row, said, method)]
            count = len(known.filter(outcome=outcome))
            text = f"{len(mine)} of {count:,}: {said}."
            blocks.append(Figures(items=items, title=f"{spoken(name)}: {outcome}", text=text, group=2, width=104))
    return blocks


def _pair(audit: Audit, row: dict[str, Any], said: str, method: str) -> list[Figure]:
    photograph = audit.path / store.PICTURES / f"{row['image_index']}.jpg"
    name = row["image"].rpartition("/")[2]
    return [
        Figure(picture=_small(photograph), alt=f"Image {row['image']}: {said}.", title=name),
        Figure(
            picture=_small(picture_of(audit.path, row, method)),
            alt=f"Map of {method} for the decision on {spoken(row['attribute'])} of {row['image']}.",
            title=f"z = {row['z']:.2f}",
        ),
    ]


def _small(path: Path) -> str:
    try:
        image = Image.open(path).convert("RGB")
    except OSError as reason:
        raise StorageError(f"{path} cannot be read ({reason}); remove it, and the page is made without") from reason
    image.thumbnail((_SIDE, _SIDE))
    return picture.to_data_uri(image, format="webp", quality=78)

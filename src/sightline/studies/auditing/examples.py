"""Small pictures of a few decisions with their maps: what the figures of the worst attributes are made of."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch

from sightline.classifier import Classifier
from sightline.errors import SightlineError
from sightline.store import PICTURES, slug
from sightline.studies.auditing.tables import OUTCOMES
from sightline.studies.benchmarking import pictures

if TYPE_CHECKING:
    from sightline.studies.auditing import Audit
    from sightline.studies.auditing.plan import Plan

ATTRIBUTES, EACH = 12, 4
"""How many attributes, and how many images of each outcome."""


def keep(plan: "Plan", audit: "Audit") -> None:
    """Draw the surest decisions of each outcome, for the attributes with the largest error on either side.

    Each image is `thumbs/INDEX.jpg`, the map of its decision `thumbs/INDEX-ATTRIBUTE-METHOD.png`. What is there already
    is left as it is. An image that can no longer be read is left out.
    """
    if not isinstance(plan.classifier, Classifier) or not plan.methods:
        return
    rows = chosen(audit.decisions())
    method = "hires-cam" if "hires-cam" in plan.methods else plan.methods[0]
    left = [row for row in rows if not picture_of(audit.path, row, method).exists()]
    places = {key: place for place, key in enumerate(plan.source.keys)}
    explainer, names = plan.explainer(method), plan.readout.names
    for batch in _batches(left, plan.batch):
        loaded = []
        for row in batch:
            try:
                loaded.append((row, plan.source.load(places[row["image"]]).pixels))
            except (SightlineError, KeyError):
                continue  # it is counted among the images that cannot be read
        if not loaded:
            continue
        pixels = torch.stack([one for _, one in loaded])
        targets = [plan.readout.target(names.index(row["attribute"]), 1 if row["z"] >= 0 else -1) for row, _ in loaded]
        maps = explainer(pixels, targets)
        for i, (row, one) in enumerate(loaded):
            pictures.photograph(audit.path, row["image_index"], one)
            pictures.overlay(audit.path, row["image_index"], row["attribute"], method, one, pictures.alone(maps, i))


def picture_of(path: Path, row: dict[str, Any], method: str) -> Path:
    """The file of a decision's map."""
    return path / PICTURES / f"{row['image_index']}-{slug(row['attribute'])}-{slug(method)}.png"


def chosen(decisions: pl.DataFrame, *, attributes: int = ATTRIBUTES, each: int = EACH) -> list[dict[str, Any]]:
    """Which decisions are drawn: the largest |z| of each outcome, of the attributes with the worst of FNR and FPR."""
    known = decisions.filter(pl.col("outcome").is_not_null())
    if not len(known):
        return []
    wrong = (pl.col("outcome") == "FN") | (pl.col("outcome") == "FP")
    sides = known.group_by("attribute", "truth", maintain_order=True).agg(rate=wrong.mean(), n=pl.len())
    worst = sides.group_by("attribute", maintain_order=True).agg(pl.col("rate").max())
    names = worst.sort("rate", "attribute", descending=[True, False])["attribute"].head(attributes).to_list()
    found: list[dict[str, Any]] = []
    for name in names:
        mine = known.filter(attribute=name).sort(-pl.col("z").abs(), "image_index")
        for outcome in OUTCOMES:
            found += mine.filter(outcome=outcome).head(each).select("image", "image_index", "attribute", "z").to_dicts()
    return found


def _batches(rows: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]

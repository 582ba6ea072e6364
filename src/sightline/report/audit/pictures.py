"""Mean maps on the mean image, with the attribute's region outlined: what is looked at, on the two sides."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from sightline import picture
from sightline.report.benchmark.wording import many
from sightline.report.page import Figure
from sightline.studies.auditing import Audit
from sightline.studies.auditing._rules_evidence import reference
from sightline.studies.auditing._sentences import between, percent

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

SIDE = 200
"""Pixels of a picture."""


class Pictures:
    """Draws mean maps; what several of them share is made once.

    Args:
        audit: The run.
    """

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self._lines = {
            (r["attribute"], r["method"], r["layer"], r["side"]): r
            for r in audit.evidence().iter_rows(named=True)
            if r["outcome"] == "all"
        }
        self._few = {r["attribute"]: r["minority"] for r in audit.errors().iter_rows(named=True)}

    @cached_property
    def reference(self) -> tuple[str, str] | None:
        """The method and layer that findings rest on."""
        return reference(self.audit.evidence())

    @cached_property
    def face(self) -> "Array | None":
        """The mean image, (3, SIDE, SIDE)."""
        mean = self.audit.mean_input()
        return None if mean is None else np.clip(_resized(mean), 0, 1)

    def _face(self) -> "Array":
        """The mean image, or grey where no image could be read."""
        return np.full((3, SIDE, SIDE), 0.5) if self.face is None else self.face

    def region(self, attribute: str) -> "Array | None":
        """(SIDE, SIDE) bool: where the region is in half of the images or more; None where there is none."""
        mean = self.audit.mean_region(attribute)
        if mean is None or not mean.any():
            return None
        share = _resized(mean[None])[0]
        found: Array = share >= 0.5 * share.max()
        return found

    def sides(self, attribute: str) -> tuple[str, str]:
        """The rarer answer and the usual one."""
        few = self._few.get(attribute) or "yes"
        return (few, "no" if few == "yes" else "yes")

    def pair(self, attribute: str, method: str | None = None, layer: str | None = None) -> list[Figure]:
        """Minority and majority side by side, on one scale of colours; nothing where there is no map or image."""
        if self.reference is None or self.face is None:
            return []
        method, layer = method or self.reference[0], layer or self.reference[1]
        sides = self.sides(attribute)
        maps = [self.audit.mean_maps(attribute, method, layer, side) for side in sides]  # type: ignore[arg-type]
        high = max((float(m.max()) for m in maps if m is not None), default=0.0)
        figures = []
        for side, values, what in zip(sides, maps, ("the rarer answer", "the usual answer"), strict=True):
            line = self._lines.get((attribute, method, layer, side))
            if values is not None:
                figures.append(self._figure(attribute, side, what, values, high, line))
        return figures

    def _figure(
        self, attribute: str, side: str, what: str, values: "Array", high: float, line: dict[str, Any] | None
    ) -> Figure:
        heat = np.clip(_resized(values[None])[0], 0, None)
        drawn = picture.overlay(self._face(), np.minimum(heat, high), span=(0.0, high or 1.0), opacity=0.75)
        region = self.region(attribute)
        if region is not None:
            drawn = outlined(drawn, region)
        spoken = attribute.replace("_", " ")
        n = line["n"] if line else 0
        return Figure(
            picture=drawn,
            alt=f"Mean map of the {n:,} decisions {side} for {spoken} on the mean image, the region outlined.",
            title=f"{spoken}: {side}, {what}",
            caption=_caption(line),
            empty=not values.any(),
        )


def _caption(line: dict[str, Any] | None) -> str:
    if line is None:
        return ""
    images = many(line["n"], "image")
    if line["pe"] is None:
        return f"{images}; no region is known"
    empty = f", {percent(line['empty_rate'])} empty maps" if (line["empty_rate"] or 0) >= 0.005 else ""
    ends = between(line["pe_low"], line["pe_high"])
    return f"{images}; {percent(line['pe'])}{ends} in the region (chance {percent(line['chance'])}){empty}"


def outlined(drawn: "Array", region: "Array") -> "Array":
    """A picture (H, W, 3) uint8 with the border of a region (H, W) in white on a dark line."""
    inside = torch.from_numpy(region)[None, None].float()
    found = drawn.copy()
    for width, colour in ((2, (20, 20, 24)), (1, (255, 255, 255))):
        grown = F.max_pool2d(inside, 2 * width + 1, 1, width)
        shrunk = -F.max_pool2d(-inside, 2 * width + 1, 1, width)
        edge = (grown - shrunk)[0, 0].bool().numpy()
        found[edge] = colour
    return found


def _resized(maps: "Array") -> "Array":
    """(C, h, w) as (C, SIDE, SIDE), bilinear; larger ones are smoothed first."""
    values = torch.from_numpy(np.ascontiguousarray(maps)).float()[None]
    shrinks = max(values.shape[-2:]) > SIDE
    found: Array = F.interpolate(values, (SIDE, SIDE), mode="bilinear", antialias=shrinks)[0].numpy()
    return found

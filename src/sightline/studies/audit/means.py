"""Sums of scaled maps, of images and of regions: what mean maps are made from, at low resolution, block by block."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.studies.audit import tables
from sightline.studies.audit.engine import Maps

if TYPE_CHECKING:
    from sightline.studies.audit.work import Block

LARGEST = 32
"""Longest side of a mean map in cells; larger maps are averaged down to it."""

MAP, INPUT, REGION = "map", "input", "region"


class Sums:
    """Sums of one block, for its row of `means/`."""

    def __init__(self, block: "Block") -> None:
        self.block = block
        self.lines: list[dict[str, Any]] = []

    def add(self, maps: Maps, heat: Tensor, outcome: "np.ndarray[Any, Any]", sign: Tensor) -> None:
        """Add scaled maps (B, h, w) to the sums of their outcomes; an empty map counts, as zeros."""
        small = lowered_map(heat)
        kinds = np.array([f"{o or ''}{int(s):+d}" for o, s in zip(outcome, sign, strict=True)])
        for kind in np.unique(kinds):
            rows = torch.from_numpy(kinds == kind)
            self.lines.append(
                {
                    "kind": MAP,
                    "attribute": self.block.names[maps.attribute],
                    "method": maps.method,
                    "layer": maps.layer,
                    "outcome": str(kind[:-2]) or None,
                    "sign": int(kind[-2:]),
                    "n": int(rows.sum()),
                    "shape": list(small.shape[1:]),
                    "sum": small[rows].sum(0).flatten().numpy(),
                }
            )

    def frame(self) -> pl.DataFrame:
        """The block's rows of `means/`: maps, the images, and each region once."""
        block, lines = self.block, list(self.lines)
        lines.append(self._line(INPUT, None, block.pixels.cpu().sum(0)))
        seen = set()
        for name in block.names:
            region, masks = block.region(name), block.masks(name)
            if region is not None and masks is not None and region not in seen:
                seen.add(region)
                lines.append(self._line(REGION, region, masks.float().sum(0)))
        return pl.DataFrame(lines, schema=tables.MEANS, orient="row")

    def _line(self, kind: str, name: str | None, total: Tensor) -> dict[str, Any]:
        return {
            "kind": kind,
            "attribute": name,
            "method": None,
            "layer": None,
            "outcome": None,
            "sign": None,
            "n": len(self.block.loaded),
            "shape": list(total.shape),
            "sum": total.flatten().numpy(),
        }


def lowered_map(heat: Tensor) -> Tensor:
    """Maps (B, h, w), averaged down to at most `LARGEST` cells a side."""
    h, w = heat.shape[-2:]
    if max(h, w) <= LARGEST:
        return heat
    size = (min(h, LARGEST), min(w, LARGEST))
    return F.adaptive_avg_pool2d(heat[:, None], size)[:, 0]


def mean(frame: pl.DataFrame) -> "np.ndarray[Any, Any] | None":
    """The mean of rows of `means/` of one shape; None where there are none."""
    if not len(frame):
        return None
    shape = frame["shape"][0].to_list()
    total = np.sum([np.asarray(s, dtype=np.float64) for s in frame["sum"].to_list()], axis=0)
    found: np.ndarray[Any, Any] = (total / frame["n"].sum()).reshape(shape)
    return found

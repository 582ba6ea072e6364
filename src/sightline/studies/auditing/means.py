"""Sums of scaled maps, of images and of regions: what mean maps are made from, at low resolution, block by block."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.studies.auditing import tables
from sightline.studies.auditing.engine import Maps
from sightline.studies.auditing.readout import signs

if TYPE_CHECKING:
    from sightline.studies.auditing.block import Block

LARGEST = 32
"""Longest side of a mean map in cells; larger maps are averaged down to it."""

MAP, INPUT, REGION = "map", "input", "region"


class Sums:
    """Sums of one block, for its row of `means/`."""

    def __init__(self, block: "Block") -> None:
        self.block = block
        self.lines: list[dict[str, Any]] = []
        self._known: dict[int, tuple[list[tuple[str | None, int, int]], Tensor]] = {}

    def add(self, maps: Maps, heat: Tensor) -> None:
        """Add scaled maps (B, h, w) to the sums of their outcomes; an empty map counts, as zeros."""
        small = lowered_map(heat).flatten(1)
        kinds, member = self._kinds(maps.attribute)
        sums = (member @ small).numpy()  # (kinds, cells)
        for (outcome, sign, n), total in zip(kinds, sums, strict=True):
            self.lines.append(
                {
                    "kind": MAP,
                    "attribute": self.block.names[maps.attribute],
                    "method": maps.method,
                    "layer": maps.layer,
                    "outcome": outcome,
                    "sign": sign,
                    "n": n,
                    "shape": cells(heat),
                    "sum": total,
                }
            )

    def _kinds(self, a: int) -> tuple[list[tuple[str | None, int, int]], Tensor]:
        """(outcome, sign, count) that occur for an attribute, and (kinds, B) who is of which."""
        if a not in self._known:
            pairs = list(zip(self.block.outcomes[:, a], signs(self.block.z[:, a]).tolist(), strict=True))
            found = sorted(set(pairs), key=str)
            member = torch.tensor([[float(p == kind) for p in pairs] for kind in found])
            self._known[a] = [(o, s, pairs.count((o, s))) for o, s in found], member
        return self._known[a]

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
    size = cells(heat)
    return heat if size == list(heat.shape[-2:]) else F.adaptive_avg_pool2d(heat[:, None], (size[0], size[1]))[:, 0]


def cells(heat: Tensor) -> list[int]:
    """Height and width of the mean of maps (B, h, w)."""
    return [min(side, LARGEST) for side in heat.shape[-2:]]


def mean(frame: pl.DataFrame) -> "np.ndarray[Any, Any] | None":
    """The mean of rows of `means/` of one shape; None where there are none."""
    if not len(frame):
        return None
    shape = frame["shape"][0].to_list()
    total = np.sum([np.asarray(s, dtype=np.float64) for s in frame["sum"].to_list()], axis=0)
    found: np.ndarray[Any, Any] = (total / frame["n"].sum()).reshape(shape)
    return found

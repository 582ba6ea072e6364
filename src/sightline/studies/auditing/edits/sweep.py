"""Every part of the image in turn: what matters although it is not the attribute's region?"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Edit, Refusal, edit, removing


@edit
@dataclass(frozen=True, kw_only=True)
class Sweep(Edit):
    """Paint each cell of a grid over with the image's mean colour; read the attributes whose region it leaves alone.

    Other edits ask whether an attribute's region matters; this one finds what else does, without being told where to
    look: a mark in a corner, a background, a companion of the attribute. It suits images that are aligned, where a cell
    means the same place in all of them. A control hides another place of the cell's size, wherever it falls.

    Attributes:
        cells: Rows and columns of the grid, 2 to 8.
    """

    name: ClassVar[str] = "sweep"
    summary: ClassVar[str] = "each cell of a grid outside the region is painted over"
    cells: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.cells <= 8:
            raise InputError(f"cells must lie between 2 and 8, not {self.cells}")

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case a cell of each image."""
        B, (H, W) = len(block.pixels), block.pixels.shape[-2:]
        if min(H, W) < self.cells:
            raise InputError(f"{H}x{W} pixels have no {self.cells} x {self.cells} cells")
        colour = block.pixels.mean((2, 3), keepdim=True).expand_as(block.pixels)
        grid = list(zip(self._names(), _cells(self.cells, H, W), strict=True))
        touched = torch.ones(len(grid), B, len(block.names), dtype=torch.bool)  # cell, image, attribute
        unknown = []
        for a, name in enumerate(block.names):
            masks = block.masks(name)
            if masks is None:
                unknown.append(a)  # without a region nothing is elsewhere
            else:
                touched[:, :, a] = torch.stack([(masks.cpu() & cell).flatten(1).any(1) for _, cell in grid])
        for image in range(B):
            if unknown:
                yield Refusal(image=image, region=None, attributes=tuple(unknown), reason="no region")
            for c, (region, cell) in enumerate(grid):
                free = (~touched[c, image]).nonzero().flatten().tolist()
                if free:
                    directions = removing(block, image, free)
                    mask = cell.to(block.pixels.device)
                    yield Case(image=image, region=region, directions=directions, mask=mask, other=colour[image])

    def _names(self) -> list[str]:
        n = self.cells
        return [f"row {row}, column {column} of {n} x {n}" for row in range(1, n + 1) for column in range(1, n + 1)]

    def described(self) -> dict[str, Any]:
        """The name and the grid."""
        return {"edit": self.name, "cells": self.cells}


def _cells(n: int, H: int, W: int) -> Iterator[Tensor]:
    """n x n rectangles (H, W) bool that share the image out, row by row."""
    rows, columns = ([round(i * side / n) for i in range(n + 1)] for side in (H, W))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = torch.zeros(H, W, dtype=torch.bool)
            cell[top:bottom, left:right] = True
            yield cell

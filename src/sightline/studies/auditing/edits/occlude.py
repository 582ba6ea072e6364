"""Occlusion of a region."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Edit, Refusal, covering, edit


@edit
@dataclass(frozen=True, kw_only=True)
class Occlude(Edit):
    """Paint a region over with one colour.

    Attributes:
        fill: `mean`, the image's mean colour, or `grey`, 0.5.
    """

    name: ClassVar[str] = "occlude"
    summary: ClassVar[str] = "a region is painted over with one colour"
    fill: Literal["mean", "grey"] = "mean"

    def __post_init__(self) -> None:
        if self.fill not in ("mean", "grey"):
            raise InputError(f"fill must be 'mean' or 'grey', not {self.fill!r}")

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case a region of each image."""
        colour = block.pixels.mean((2, 3), keepdim=True) if self.fill == "mean" else block.pixels.new_tensor(0.5)
        return covering(block, colour.expand_as(block.pixels))

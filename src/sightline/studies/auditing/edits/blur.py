"""Blurring of a region."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sightline.errors import InputError
from sightline.explainers.masking._fill import blurred
from sightline.studies.auditing.edits.base import Block, Case, Edit, Refusal, covering, edit


@edit
@dataclass(frozen=True, kw_only=True)
class Blur(Edit):
    """Blur a region: what it shows goes, its colours stay.

    Attributes:
        share: Radius of the blur as a share of the shorter side, in (0, 0.5); the standard deviation is twice that.
    """

    name: ClassVar[str] = "blur"
    summary: ClassVar[str] = "a region is blurred"
    share: float = 25 / 224

    def __post_init__(self) -> None:
        if not 0 < self.share < 0.5:
            raise InputError(f"share must be in (0, 0.5), not {self.share}")

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case a region of each image."""
        return covering(block, blurred(block.pixels, self.share))

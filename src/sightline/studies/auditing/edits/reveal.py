"""A region alone: the insertion that goes with occlusion and blur."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from sightline.explainers.masking._fill import blurred
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, by_region, edit, has


@edit
@dataclass(frozen=True, kw_only=True)
class Reveal(Edit):
    """Start from the blurred image and let a region be seen: is what it shows enough to bring the answer?

    The answer before the edit is that for the blurred image. The control lets as much be seen elsewhere.
    """

    name: ClassVar[str] = "reveal"
    summary: ClassVar[str] = "of a blurred image a region is shown sharp"
    passes: ClassVar[int] = 2

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case a region of each image."""
        bases = blurred(block.pixels)
        with torch.inference_mode(False):
            z = block.plan.readout.z(block.plan.classifier(bases)).double().cpu()
        for found in by_region(block):
            if isinstance(found, Refusal):
                yield found
                continue
            image, region, attributes, mask = found
            directions: dict[int, Direction] = {a: "insert" if has(block, image, a) else "neutral" for a in attributes}
            yield Case(
                image=image,
                region=region,
                directions=directions,
                mask=mask,
                other=block.pixels[image],
                base=bases[image],
                z_base=z[image],
            )

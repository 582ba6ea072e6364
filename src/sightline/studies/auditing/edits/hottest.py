"""The hottest pixels of a heat map: does the region that a map blames matter?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sightline.errors import InputError, SightlineError
from sightline.explainers import Explainer, explainer
from sightline.studies.auditing.edits.base import Block, Case, Edit, Refusal, edit, generator, removing
from sightline.target import each


@edit
@dataclass(frozen=True, kw_only=True)
class Hottest(Edit):
    """Paint the hottest pixels of an attribute's heat map over with the image's mean colour.

    As many pixels as the attribute's region has, so that both edits can be compared; `share` where it has none.
    This turns a picture into a test: a map that blames pixels which matter no more than others is wrong.

    Attributes:
        method: A name of `sl.methods()`.
        layer: As for `sl.explain`.
        share: Share of the pixels, in (0, 0.5], for attributes without a region.
    """

    name: ClassVar[str] = "hottest"
    summary: ClassVar[str] = "the hottest pixels of a heat map are painted over"
    method: str = "grad-cam"
    layer: str | None = None
    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise InputError(f"share must be in (0, 0.5], not {self.share}")

    @property
    def title(self) -> str:
        """The name with what tells its rows."""
        return f"hottest of {self.method}"

    def bound(self, plan: Any) -> Edit:
        """Checks that the method fits the classifier."""
        self._explainer(plan)
        return self

    def _explainer(self, plan: Any) -> Explainer:
        return explainer(self.method, plan.classifier, layer=self.layer)

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case an attribute of each image."""
        H, W = block.pixels.shape[-2:]
        colour = block.pixels.mean((2, 3), keepdim=True).expand_as(block.pixels)
        heat, why = self._heat(block)
        for image in range(len(block.pixels)):
            for a, name in enumerate(block.names):
                masks = block.masks(name)
                count = int(masks[image].sum()) if masks is not None else round(self.share * H * W)
                region = f"{self.method} of {name}"
                if heat is None or not float(heat[image, a].max()) > 0:
                    yield Refusal(image=image, region=region, attributes=(a,), reason=why)
                elif count == 0:
                    yield Refusal(image=image, region=region, attributes=(a,), reason="the region is empty here")
                else:
                    mask = hottest(heat[image, a], count, generator(block, image, 13)).to(block.pixels.device)
                    directions = removing(block, image, (a,))
                    yield Case(image=image, region=region, directions=directions, mask=mask, other=colour[image])

    def _heat(self, block: Block) -> tuple[Tensor | None, str]:
        """(B, A, H, W) in [0, 1] at the input's size, of the decision that was taken; and why a map is missing."""
        readout = block.plan.readout
        asked = [
            each(readout.target(a, 1 if float(z) >= 0 else -1) for a, z in enumerate(row)) for row in block.z.tolist()
        ]
        try:
            found = self._explainer(block.plan)(block.pixels, asked)
        except SightlineError as error:
            return None, str(error)
        H, W = block.pixels.shape[-2:]
        return found.heatmaps(size=(H, W)).reshape(len(block.pixels), len(block.names), H, W), "the map is empty"


def hottest(heat: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The `count` hottest pixels of (H, W), ties broken by chance: (H, W) bool."""
    ties = torch.randperm(heat.numel(), generator=generator)
    order = ties[heat.cpu().flatten()[ties].argsort(descending=True, stable=True)]
    out = torch.zeros(heat.numel(), dtype=torch.bool)
    out[order[:count]] = True
    return out.reshape(heat.shape)

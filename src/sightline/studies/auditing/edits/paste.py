"""A patch pasted into every image."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, edit


@edit
@dataclass(frozen=True, kw_only=True)
class Paste(Edit):
    """Paste a patch at one place, and see which decisions follow.

    There are two kinds of control: the same patch elsewhere, and another patch at the same place (its mean colour
    alone), which tells "this patch" from "anything at all there". Deletion goes with it: where the images show the
    thing already, give the place as a region and occlude it.

    Attributes:
        patch: (3, h, w) in [0, 1].
        at: Row and column of its top left pixel.
        label: What it is called.
        attributes: Which decisions are read; all where None.
    """

    name: ClassVar[str] = "paste"
    summary: ClassVar[str] = "a patch is pasted at one place"
    needs: ClassVar[str] = "a patch"
    passes: ClassVar[int] = 2
    patch: Tensor = field(compare=False)
    at: tuple[int, int] = (0, 0)
    label: str = "patch"
    attributes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        p = self.patch
        if p.ndim != 3 or p.shape[0] != 3 or 0 in p.shape or not p.is_floating_point():
            raise InputError(f"a patch is float (3, h, w) in [0, 1], not {p.dtype} {tuple(p.shape)}")
        if not bool(((p >= 0) & (p <= 1)).all()):
            raise InputError("the patch must lie in [0, 1]; divide 8-bit values by 255")

    @property
    def title(self) -> str:
        """The name with what tells its rows."""
        return f"paste {self.label}"

    def bound(self, plan: Any) -> Edit:
        """Checks that patch and attributes fit."""
        (top, left), (h, w), (H, W) = self.at, self.patch.shape[1:], plan.classifier.size
        if top < 0 or left < 0 or top + h > H or left + w > W:
            raise InputError(f"a patch of {h}x{w} at row {top}, column {left} does not fit into {H}x{W} pixels")
        if unknown := set(self.attributes or ()) - set(plan.readout.names):
            raise InputError(f"the audit does not ask {sorted(unknown)[0]!r}; it asks {', '.join(plan.readout.names)}")
        return self

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case an image."""
        (top, left), (h, w) = self.at, self.patch.shape[1:]
        where = (slice(top, top + h), slice(left, left + w))
        patch = self.patch.to(block.pixels)
        asked = [a for a, name in enumerate(block.names) if self.attributes is None or name in self.attributes]
        directions: dict[int, Direction] = dict.fromkeys(asked, "insert")
        mask = torch.zeros(block.pixels.shape[-2:], dtype=torch.bool, device=block.pixels.device)
        mask[where] = True
        for image, x in enumerate(block.pixels):
            other, plain = x.clone(), x.clone()
            other[(slice(None), *where)] = patch
            plain[(slice(None), *where)] = patch.mean((1, 2), keepdim=True)
            yield Case(
                image=image,
                region=self.label,
                directions=directions,
                mask=mask,
                other=other,
                moved="carry",
                plain=plain,
            )

    def described(self) -> dict[str, Any]:
        """The patch is told by its shape and its mean colour."""
        mean = [round(v, 4) for v in self.patch.mean((1, 2)).tolist()]
        attributes = None if self.attributes is None else list(self.attributes)
        place = {"shape": list(self.patch.shape[1:]), "mean": mean, "at": list(self.at)}
        return {"edit": self.name, "label": self.label, **place, "attributes": attributes}

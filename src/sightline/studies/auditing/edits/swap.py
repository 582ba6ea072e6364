"""A region swapped between two images of opposite truth."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, by_region, edit, generator
from sightline.studies.auditing.edits.donors import Donors, drawn


@edit
@dataclass(frozen=True, kw_only=True)
class Swap(Edit):
    """Put the region of an image of the opposite truth over the image's own; landmarks lay the one over the other.

    It removes an attribute from images that have it, and inserts it into those that have not. The control takes as much
    from the same donor elsewhere, so that seams and the donor's other looks are in both. One donor serves several
    attributes of a region where its truth is the opposite in all of them.

    Attributes:
        least: How many donors of each answer of each attribute are drawn from the study's images.
    """

    name: ClassVar[str] = "swap"
    summary: ClassVar[str] = "a region is taken from an image of the opposite truth"
    needs: ClassVar[str] = "the truth"
    least: int = 8
    pool: list[Donors] = field(default_factory=list, repr=False, compare=False, metadata={"recorded": False})

    def __post_init__(self) -> None:
        if self.least < 1:
            raise InputError(f"least must be 1 or more, not {self.least}")

    def bound(self, plan: Any) -> Edit:
        """The same edit with an empty pool of its own, filled when it is first needed."""
        return Swap(least=self.least)

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """As many cases a region of each image as it takes to reach all its attributes."""
        if not self.pool:
            self.pool.append(drawn(block.plan, least=self.least))
        donors = self.pool[0]
        for found in by_region(block):
            if isinstance(found, Refusal):
                yield found
                continue
            image, region, attributes, mask = found
            unknown = tuple(a for a in attributes if int(block.truth[image, a]) < 0)
            if unknown:
                yield Refusal(image=image, region=region, attributes=unknown, reason="the truth is unknown")
            left = [a for a in attributes if a not in unknown]
            for donor, served in _served(block, donors, image, left):
                if donor is None:
                    reason = "no other image of the opposite truth was drawn"
                    yield Refusal(image=image, region=region, attributes=served, reason=reason)
                    continue
                directions: dict[int, Direction] = {
                    a: "remove" if int(block.truth[image, a]) == 1 else "insert" for a in served
                }
                other = donors.fitted(donor, block.landmarks[image]).to(block.pixels.device)
                yield Case(image=image, region=region, directions=directions, mask=mask, other=other)


def _served(
    block: Block, donors: Donors, image: int, attributes: list[int]
) -> Iterator[tuple[int | None, tuple[int, ...]]]:
    """Few donors that together are the opposite in every attribute: each time the one that serves most of what is left.

    Ties are broken by chance, from the image's content.
    """
    order = torch.randperm(len(donors.places), generator=generator(block, image, 12))
    order = order[torch.tensor([donors.places[i] != block.places[image] for i in order.tolist()], dtype=torch.bool)]
    left = torch.tensor(attributes, dtype=torch.int64)
    while len(left):
        opposite = donors.truth[order][:, left] == 1 - block.truth[image, left].cpu()
        if not len(order) or not bool(opposite.any()):
            yield None, tuple(left.tolist())
            return
        best = int(opposite.sum(1).argmax())
        yield int(order[best]), tuple(left[opposite[best]].tolist())
        left = left[~opposite[best]]

"""Maps of a member for a block of images: of its decision, of the decision against it, and with random weights."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sightline import target as targeting
from sightline.classifier import Classifier
from sightline.errors import SightlineError, StorageError
from sightline.explainers import Explainer
from sightline.studies.benchmarking.plan import Contender
from sightline.studies.generalising import targets
from sightline.studies.generalising.family import Member
from sightline.studies.generalising.maps import OTHER, OWN, RANDOM, UPPER
from sightline.studies.generalising.plan import Plan
from sightline.target import Target, each


class Explained(NamedTuple):
    """What a member says of n images.

    Attributes:
        targets: n resolved decisions.
        p, margin, decision: (n,) of the decision explained, on the unaltered images.
        maps: (method, variant) -> (n, h, w).
    """

    targets: Sequence[Target]
    p: Tensor
    margin: Tensor
    decision: Tensor
    maps: Mapping[tuple[str, str], Tensor]


class Explaining:
    """Explainers of all members, each made once.

    Args:
        plan: What is asked.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._explainers: dict[tuple[str, str, str], Explainer] = {}
        self._random: dict[tuple[str, str], Classifier] = {}

    def block(self, member: Member, pixels: Sequence[Tensor]) -> list[Explained | SightlineError]:
        """What a member says of images (C, H, W) of one block, or why it says nothing, image by image."""
        try:
            whole = self.images(member, torch.stack(list(pixels)))
        except StorageError:
            raise
        except SightlineError as reason:
            if len(pixels) == 1:
                return [reason]
            return [found for one in pixels for found in self.block(member, [one])]
        return [_row(whole, i) for i in range(len(pixels))]

    def images(self, member: Member, pixels: Tensor) -> Explained:
        """What a member says of images (n, C, H, W).

        Raises:
            SightlineError: It, or a method, fails on one of them.
        """
        pixels = member.classifier.check_pixels(pixels)
        outputs = member.classifier(pixels)
        rows = targets.resolved(member, outputs)
        found: dict[tuple[str, str], Tensor] = {}
        for method in self.plan.methods:
            found |= self._maps(member, method, pixels, outputs, rows)
        return Explained(
            rows,
            targeting.probabilities(rows, outputs).double().cpu(),
            targeting.margins(rows, outputs).cpu(),
            targets.decisions(member, outputs).cpu(),
            found,
        )

    def _maps(
        self, member: Member, method: Contender, pixels: Tensor, outputs: Tensor, rows: Sequence[Target]
    ) -> dict[tuple[str, str], Tensor]:
        from sightline.studies.generalising.validity import other_targets, turned

        plan, label = self.plan, method.label
        explainer, found = self.explainer(member, method), {}
        if OTHER in plan.variants:  # both from one forward pass
            others = other_targets(member.classifier, outputs, rows)
            maps = explainer(pixels, [each(pair) for pair in zip(rows, others, strict=True)]).maps.cpu()
            found[label, OWN], found[label, OTHER] = maps[0::2], maps[1::2]
        else:
            found[label, OWN] = explainer(pixels, list(rows)).maps.cpu()
        for variant in {RANDOM, UPPER} & set(plan.variants):
            altered = self.explainer(member, method, variant)(pixels, list(rows)).maps.cpu()
            found[label, variant] = turned(altered, found[label, OWN])
        return found

    def explainer(self, member: Member, method: Contender, variant: str = OWN) -> Explainer:
        """A method bound to a member, or to it with random weights."""
        key = (member.name, method.label, variant)
        if key not in self._explainers:
            other = None if variant == OWN else self._randomised(member, variant)
            self._explainers[key] = self.plan.explainer(member, method, other)
        return self._explainers[key]

    def _randomised(self, member: Member, variant: str) -> Classifier:
        """A member with random weights, drawn once."""
        from sightline.studies.generalising.validity import randomised

        key = (member.name, variant)
        if key not in self._random:
            part: Any = "upper" if variant == UPPER else "all"
            self._random[key] = randomised(member.classifier, self.plan.seed, part=part)
        return self._random[key]


def _row(whole: Explained, i: int) -> Explained:
    one: Any = slice(i, i + 1)
    maps = {key: value[one] for key, value in whole.maps.items()}
    return Explained(whole.targets[one], whole.p[one], whole.margin[one], whole.decision[one], maps)

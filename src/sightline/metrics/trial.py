"""What a metric is given: a session and rows of maps; what two metrics need is computed once."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline import target as targets
from sightline.data.boxes import as_boxes, painted
from sightline.errors import InputError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Space
from sightline.explanation import Explanation
from sightline.metrics.metric import Status, Values
from sightline.metrics.session import Session
from sightline.target import Target

T = TypeVar("T")


@dataclass
class Trial:
    """One explanation before the judges.

    Attributes:
        session: Classifier and images.
        explanation: N rows; their targets are resolved, and stay so for every altered image.
        regions: (N, H, W) bool, the pixels that a good map should mark, for localisation; all False where unknown.
            Without them, the pixels in the boxes.
        boxes: For each row (k, 4) left, top, right, bottom in pixels.
        explainer: What made the maps, for metrics that explain again.
    """

    session: Session
    explanation: Explanation
    regions: Tensor | None = None
    boxes: Sequence[Tensor] | None = None
    explainer: Explainer | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.explanation) and int(self.explanation.image.max()) >= len(self.session.pixels):
            raise InputError(
                f"the explanation speaks of image {int(self.explanation.image.max())}, but there are "
                f"{len(self.session.pixels)} images: give the batch that was explained"
            )
        finite = self.explanation.maps.flatten(1).isfinite().all(1)
        if not bool(finite.all()):
            rows = (~finite).nonzero().flatten().tolist()
            raise InputError(f"the maps of rows {rows[:8]} hold NaN or infinity; there is nothing to be judged")
        if self.boxes is not None:
            self.boxes = [as_boxes(boxes) for boxes in self.boxes]
            if self.regions is None and len(self.boxes):
                self.regions = torch.stack([painted(boxes, self.session.size) for boxes in self.boxes])

    def __len__(self) -> int:
        return len(self.explanation)

    @property
    def image(self) -> Tensor:
        """(N,) which image a row explains."""
        return self.explanation.image

    @property
    def targets(self) -> tuple[Target, ...]:
        """N resolved targets."""
        return self.explanation.targets

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """A value that several metrics need for these rows, computed when the first one asks."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def heat(self) -> Tensor:
        """(N, H, W) in [0, 1]: the prepared maps (energy, min-max at the method's resolution, then upsampled)."""
        return self.once("heat", lambda: self.explanation.heatmaps(self.session.size))

    def energy(self) -> Tensor:
        """(N, H, W) the non-negative reading of the maps, upsampled bilinearly, their values untouched."""

        def make() -> Tensor:
            energy, size = self.explanation.energy(), self.session.size
            if tuple(energy.shape[1:]) == size:
                return energy
            return F.interpolate(energy[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

        return self.once("energy", make)

    def raw(self) -> Tensor:
        """(N, H, W) the signed maps upsampled bilinearly, their values untouched."""

        def make() -> Tensor:
            maps, size = self.explanation.maps, self.session.size
            if tuple(maps.shape[1:]) == size:
                return maps
            return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

        return self.once("raw", make)

    def margin(self) -> Tensor:
        """(N,) float64 log-odds of the targets on the unaltered images."""

        def make() -> Tensor:
            return targets.margins(self.targets, self.session.answers()[self.image])

        return self.once("margin", make)

    def margins(self, points: int, make: Callable[[Tensor, Tensor], Tensor], *, space: Space = "pixels") -> Tensor:
        """Log-odds (N, points) float64 on altered images.

        Args:
            points: How many versions of each row's image.
            make: (m,) rows and (m,) points -> (m, C, H, W) altered images in `space`.
            space: `pixels` or `normalised`.
        """
        n = len(self)
        rows = [t for t in self.targets for _ in range(points)]
        found = self.session.asking.margins(
            rows, n * points, lambda index: make(index // points, index % points), space=space
        )
        return found.reshape(n, points)

    def ask(
        self,
        points: int,
        make: Callable[[Tensor, Tensor], Tensor],
        read: Callable[[Tensor, Tensor], Tensor],
        *,
        space: Space = "pixels",
    ) -> Tensor:
        """What is kept of the outputs on altered images, for what is no log-odds: (N, points, ...) float64.

        Args:
            points: How many versions of each row's image.
            make: As for `margins`.
            read: (m,) rows and the outputs (m, C, ...) for their images -> (m, ...).
            space: `pixels` or `normalised`.
        """
        found = self.session.asking.ask(
            len(self) * points,
            lambda index: make(index // points, index % points),
            lambda index, outputs: read(index // points, outputs),
            space=space,
        )
        return found.reshape(len(self), points, *found.shape[1:])

    def order(self) -> Tensor:
        """(N, H * W) pixels by falling heat; ties (plateaus of zeros, say) by the image's own random permutation."""

        def make() -> Tensor:
            flat, found = self.heat().flatten(1), []
            for row, image in enumerate(self.image.tolist()):
                shuffled = self._shuffled(image)
                found.append(shuffled[flat[row][shuffled].argsort(descending=True, stable=True)])
            return torch.stack(found) if found else flat.long()

        return self.once("order", make)

    def _shuffled(self, image: int) -> Tensor:
        """(H * W,) the order in which ties of an image are broken."""
        H, W = self.session.size

        def make() -> Tensor:
            return torch.randperm(H * W, generator=self.session.generator(image)).to(self.session.pixels.device)

        return self.session.once(("ties", image), make)

    def _places(self, image: int) -> Tensor:
        """(H * W,) the place of each pixel in that order."""
        shuffled = self._shuffled(image)
        places = torch.arange(len(shuffled), device=shuffled.device)
        return self.session.once(
            ("places of ties", image), lambda: torch.empty_like(places).scatter_(0, shuffled, places)
        )

    def hottest(self, count: int) -> Tensor:
        """(N, H, W) bool: the first `count` pixels of `order`, without sorting all of them."""

        def make() -> Tensor:
            flat = self.heat().flatten(1)
            if count >= flat.shape[1]:
                return torch.ones_like(flat, dtype=torch.bool)
            rising = self._rising()
            least = rising[:, -count]
            found = flat >= least[:, None]
            for row in (rising[:, -count - 1] == least).nonzero().flatten().tolist():  # too many are as hot
                tied = (flat[row] == least[row]).nonzero().flatten()
                above = rising.shape[1] - int(torch.searchsorted(rising[row], least[row], right=True))
                places = self._places(int(self.image[row]))[tied]
                found[row, tied[places > places.kthvalue(count - above).values]] = False
            return found

        return self.once(("hottest", count), make).reshape(-1, *self.session.size)

    def _rising(self) -> Tensor:
        """(N, H * W) the values of the heat, rising."""

        def make() -> Tensor:
            flat = self.heat().flatten(1)
            if flat.device.type != "cpu":
                return flat.sort(dim=1).values
            return torch.from_numpy(np.sort(flat.numpy(), axis=1))  # with vector instructions: 20 times as fast

        return self.once("rising", make)

    def ranks(self) -> Tensor:
        """(N, H, W) the place of each pixel in `order`: 0 for the hottest one."""

        def make() -> Tensor:
            order = self.order()
            ranks = torch.empty_like(order)
            ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
            return ranks.reshape(-1, *self.session.size)

        return self.once("ranks", make)

    def states(self) -> tuple[Status, ...]:
        """For each row `empty` (no energy), `flat` (a constant map) or `ok`."""

        def make() -> tuple[Status, ...]:
            energy = self.explanation.energy().flatten(1)
            empty, flat = energy.amax(1) <= 0, energy.amax(1) == energy.amin(1)
            return tuple("empty" if e else "flat" if f else "ok" for e, f in zip(empty, flat, strict=True))

        return self.once("states", make)

    def values(
        self,
        value: Tensor,
        *,
        undefined: Tensor | None = None,
        refused: Tensor | None = None,
        curve: Tensor | None = None,
        chance: Tensor | None = None,
    ) -> Values:
        """The result of a metric.

        Args:
            value: (N,); what stands at undefined and refused rows does not matter.
            undefined: (N,) bool, where the formula gives 0/0; infinite values are undefined too.
            refused: (N,) bool, where a precondition fails.
            curve: (N, P) what the value was computed from.
            chance: (N,) what a map without information gets on average.
        """
        value = value.detach().double().cpu().clone()
        chance = None if chance is None else chance.detach().double().cpu().clone()
        endless = value.isinf()  # no number to take a mean of
        undefined = endless if undefined is None else undefined.cpu() | endless
        status: list[Status] = list(self.states())
        marks: tuple[tuple[Status, Tensor | None], ...] = (("undefined", undefined), ("refused", refused))
        for name, mask in marks:
            for row in mask.nonzero().flatten().tolist() if mask is not None else ():
                status[row] = name
                value[row] = torch.nan
                if chance is not None:
                    chance[row] = torch.nan
        return Values(value, tuple(status), None if curve is None else curve.detach().double().cpu(), chance)

"""Losses of multi-label classifiers: what an answer costs, and what that counts.

With z the logit, y in {0, 1} the truth, s = 2 y - 1, w(y) the weight of an attribute's answer:

- bce, moon, inverse-frequency, effective-number: w(y) log(1 + exp(-s z))
- moon-euclidean: w(y) (z - s)^2 (Rudd, Günther & Boult, 2016, arXiv 1603.07027)
- focal: (1 - p)^gamma log(1 + exp(-s z)), p = sigmoid(s z) (Lin et al., 2017, arXiv 1708.02002)
- logit-adjusted: log(1 + exp(-s (z + tau log(S+ / S-)))), S the shares in training (Menon et al., arXiv 2007.07314)

The mean is over the known answers of a batch and is not divided by the weights: MOON's mass shrinks with imbalance, as
published, unlike that of a `pos_weight`. The unweighted loss that stands beside each is its first line with w = 1, and
(z - s)^2 for moon-euclidean.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.training import weights as weighing

Loss = Literal["bce", "moon", "moon-euclidean", "inverse-frequency", "effective-number", "focal", "logit-adjusted"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss with its weights.

    Attributes:
        kind: Which.
        weights: (2, A) float32: of no, of yes.
        shift: (A,) float32: added to logits while training; 0 but for logit-adjusted.
        gamma: Of focal.
    """

    kind: Loss
    weights: Tensor
    shift: Tensor
    gamma: float = 2.0

    def __call__(self, z: Tensor, y: Tensor, images: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The loss, and the unweighted one.

        Args:
            z: (B, A) float32 logits.
            y: (B, A) 1 yes, 0 no, -1 unknown: counts nowhere.
            images: (B,) weights of the images.

        Returns:
            Two scalars; the first with a graph where z has one.
        """
        known = (y >= 0).to(z.dtype)
        truth = (y > 0).to(z.dtype)
        w = torch.where(y > 0, self.weights[1], self.weights[0]) * known
        if images is not None:
            w = w * images.to(z.dtype)[:, None]
        count = known.sum().clamp(min=1)
        if self.kind == "moon-euclidean":
            each = (z - (2 * truth - 1)) ** 2
            return (w * each).sum() / count, (known * each.detach()).sum() / count
        plain = F.binary_cross_entropy_with_logits(z, truth, reduction="none")
        each = plain
        if self.kind == "focal":
            each = plain * torch.sigmoid((1 - 2 * truth) * z) ** self.gamma  # 1 - p
        elif self.kind == "logit-adjusted":
            each = F.binary_cross_entropy_with_logits(z + self.shift, truth, reduction="none")
        return (w * each).sum() / count, (known * plain.detach()).sum() / count

    def to(self, device: torch.device) -> "Objective":
        """On a device."""
        return Objective(self.kind, self.weights.to(device), self.shift.to(device), self.gamma)


def objective_of(
    kind: Loss,
    y: Tensor,
    *,
    wanted: float = 0.5,
    cap: float | None = None,
    beta: float = 0.999,
    gamma: float = 2.0,
    tau: float = 1.0,
) -> Objective:
    """A loss for training answers (N, A): 1 yes, 0 no, -1 unknown; settings as in `Recipe`."""
    no, yes = weighing.counts(y)
    w = torch.ones(2, y.shape[1], dtype=torch.float64)
    if kind in ("moon", "moon-euclidean"):
        w = weighing.moon(y, wanted=wanted)
    elif kind == "inverse-frequency":
        w = weighing.per_attribute(y, cap=cap)
    elif kind == "effective-number":
        w = weighing.effective_number(y, beta=beta)
    shift = torch.zeros(y.shape[1], dtype=torch.float64)
    if kind == "logit-adjusted":
        both = (no > 0) & (yes > 0)
        shift = torch.where(both, tau * torch.log(yes / no), shift)
    return Objective(kind, w.float(), shift.float(), gamma)

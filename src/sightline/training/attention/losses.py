"""The loss of L-CAM and its kin: keep the decision, cover little, be smooth.

    L  = l3 * CE(f(masked), y) + l2 * AV(a) + l1 * TV(a)
    AV = mean over all elements of the maps of (a + 0.0005)^l4
    TV = 1 / (2N) * [ sum (a[i+1,j] - a[i,j])^2 + sum (a[i,j+1] - a[i,j])^2 + 0.3 * sum of a^2 over the four borders ]

a = sigmoid(c) in (0, 1) are the maps, N the images of the batch. Gkartzonika, Gkalelis and Mezaris (2022), arXiv
2209.11189, with the constants of its published training: l1 = 0.01, l2 = 2, l3 = 1.5, l4 = 0.3. An element in a corner
lies on two borders and counts twice. For yes-or-no outputs CE is that of the side which is explained.

Which maps AV and TV see. The published training picks for every image the maps of *all* labels of the batch, (N, N, h,
w), of which CE sees the diagonal alone ("batch-labels"). So TV is about N times what N maps give, and AV is a mean over
N - 1 maps of other classes and one of the image's own. "own" leaves those out.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Regularise = Literal["batch-labels", "own"]


class Terms(NamedTuple):
    """The three terms of the loss, scalars before their lambdas; N is what a mean over images weighs them by."""

    ce: Tensor
    av: Tensor
    tv: Tensor


@dataclass(frozen=True, kw_only=True)
class Lambdas:
    """The loss's constants, with the published values.

    Attributes:
        l1: Weight of TV, the smoothness.
        l2: Weight of AV, the area.
        l3: Weight of CE, the decision.
        l4: Power of AV, in (0, 1]: below 1, one large value costs less than many small ones.
        border: Weight of the squares on the four borders within TV.
    """

    l1: float = 0.01
    l2: float = 2.0
    l3: float = 1.5
    l4: float = 0.3
    border: float = 0.3

    def __call__(self, terms: Terms) -> Tensor:
        """L = l3 CE + l2 AV + l1 TV."""
        return self.l3 * terms.ce + self.l2 * terms.av + self.l1 * terms.tv


def cross_entropy(outputs: Tensor, y: Tensor, sign: Tensor | None = None) -> Tensor:
    """CE: the mean over images of -log p of the decision.

    Args:
        outputs: (N, C) scores before softmax or sigmoid.
        y: (N,) the outputs explained.
        sign: (N,) +1 or -1: the sides of yes-or-no outputs, for -log sigmoid(sign * z_y); None for categories, for
            -log softmax(outputs)_y.

    Returns:
        A scalar, 0 or more.
    """
    if sign is None:
        return F.cross_entropy(outputs, y)
    z = outputs.gather(1, y[:, None])[:, 0]
    return F.softplus(-sign * z).mean()  # = -log sigmoid(sign z), without overflow


def average_variation(a: Tensor, l4: float, eps: float = 0.0005, *, times: Tensor | None = None) -> Tensor:
    """AV = mean of (a + 0.0005)^l4 over maps (N, m, h, w); a scalar. `times` as for TV."""
    value = torch.exp(l4 * torch.log(a + eps))  # (a + eps)^l4; the gradient of pow() would take a second power
    if times is None:
        return value.mean()
    return value.mean((0, 2, 3)) @ times / times.sum()


def total_variation(a: Tensor, border: float = 0.3, *, times: Tensor | None = None) -> Tensor:
    """TV over maps a (N, m, h, w), m maps for each of N images; a scalar, divided by 2N whatever m is.

    `times` (m,) says how often each of the m maps counts: labels that a batch has more than once need one map.
    """
    down, right = torch.diff(a, dim=-2).square().sum((0, 2, 3)), torch.diff(a, dim=-1).square().sum((0, 2, 3))
    borders = torch.zeros_like(a[0, 0])  # (h, w): on how many of the four borders an element lies
    for edge in (borders[0], borders[-1], borders[:, 0], borders[:, -1]):
        edge += 1
    each = down + right + border * (borders * a.square()).sum((0, 2, 3))  # (m,)
    return (each.sum() if times is None else each @ times) / (2 * len(a))


def chosen(c: Tensor, channel: Tensor, sign: Tensor, regularise: Regularise) -> tuple[Tensor, Tensor]:
    """The maps that mask, and the maps that AV and TV see.

    Args:
        c: (N, R, h, w) before the sigmoid.
        channel: (N,) the channel that explains each image's target.
        sign: (N,) what it is multiplied by: +1, or the side of a signed channel.
        regularise: See the module.

    Returns:
        a (N, 1, h, w) of each image's own target, and (N, m, h, w) with m = N ("batch-labels") or 1 ("own").
    """
    if regularise == "own":
        own = torch.sigmoid(sign.view(-1, 1, 1, 1) * c.gather(1, channel.view(-1, 1, 1, 1).expand(-1, 1, *c.shape[2:])))
        return own, own
    every = torch.sigmoid(sign.view(1, -1, 1, 1) * c[:, channel])  # (N, N, h, w)
    return torch.diagonal(every, dim1=0, dim2=1).permute(2, 0, 1)[:, None], every


def terms_of(
    outputs: Tensor, y: Tensor, side: Tensor | None, maps: Tensor, lambdas: Lambdas, times: Tensor | None = None
) -> Terms:
    """The three terms for the outputs on masked images (N, C) and the maps (N, m, h, w) that are regularised."""
    return Terms(
        ce=cross_entropy(outputs, y, side),
        av=average_variation(maps, lambdas.l4, times=times),
        tv=total_variation(maps, lambdas.border, times=times),
    )

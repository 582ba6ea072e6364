"""The maps of a batch from its features: only those that the loss sees are computed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sightline.explainers.learned._attention import Attention
from sightline.training.attention.losses import Regularise


class Masks(nn.Module):
    """An attention with the choice of maps, as one module: what a training loop wraps.

    `forward` equals `losses.chosen` on all R maps, at the cost of those that are chosen: the last convolution is
    linear, so the rows of its weight that belong to the batch's labels are enough, and a label that comes several times
    needs one map, which then counts as often.
    """

    attention: Attention

    def __init__(self, attention: Attention, regularise: Regularise) -> None:
        super().__init__()
        self.attention, self.regularise = attention, regularise

    def forward(self, features: Sequence[Tensor], channel: Tensor, sign: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of a batch.

        Args:
            features: [(N, C_l, h_l, w_l), ...].
            channel: (N,) what explains each image's target.
            sign: (N,) what it is multiplied by.

        Returns:
            a (N, 1, h, w) of each image's own target; the maps that AV and TV see, (N, m, h, w); and (m,) how often
            each of the m counts.
        """
        N = len(channel)
        if self.regularise == "own":
            terms = [((c, s),) for c, s in zip(channel.tolist(), sign.tolist(), strict=True)]
            own = torch.sigmoid(self.attention.rows(features, range(N), terms).float())[:, None]
            return own, own, own.new_ones(1)
        labels, which, times = torch.unique(2 * channel + (sign < 0), return_inverse=True, return_counts=True)
        c = self.attention(features, labels // 2).float()  # (N, m, h, w): of every image the maps of all labels
        c = c.expand(N, *c.shape[1:])  # a constant gives one image's
        maps = torch.sigmoid((1 - 2 * (labels % 2)).view(1, -1, 1, 1) * c)
        return maps[torch.arange(N, device=which.device), which][:, None], maps, times.to(maps)

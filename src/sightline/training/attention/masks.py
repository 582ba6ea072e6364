"""The maps of a batch from its features: only those that the loss sees are computed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sightline.explainers.learned._attention import Attention
from sightline.training.attention.losses import Regularise


class Masks(nn.Module):
    """An attention with the choice of maps, as one module: what a training loop wraps.

    `forward` equals `losses.chosen` on all R maps, at the cost of the N or N x N that are chosen: the last convolution
    is linear, so the rows of its weight that belong to the batch's labels are enough.
    """

    attention: Attention

    def __init__(self, attention: Attention, regularise: Regularise) -> None:
        super().__init__()
        self.attention, self.regularise = attention, regularise

    def forward(self, features: Sequence[Tensor], channel: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
        """Features [(N, C_l, h_l, w_l), ...], channels and signs (N,) -> a (N, 1, h, w) and the maps (N, m, h, w)."""
        N = len(channel)
        if self.regularise == "own":
            terms = [((c, s),) for c, s in zip(channel.tolist(), sign.tolist(), strict=True)]
            own = torch.sigmoid(self.attention.rows(features, range(N), terms).float())[:, None]
            return own, own
        c = self.attention(features, channel).float()  # (N, N, h, w): of every image the maps of all labels
        every = torch.sigmoid(sign.view(1, -1, 1, 1) * c.expand(N, *c.shape[1:]))  # a constant gives one image's
        return torch.diagonal(every, dim1=0, dim2=1).permute(2, 0, 1)[:, None], every

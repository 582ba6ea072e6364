"""The attention modules: features of a frozen network -> one map c for every output and direction.

| class | built for | what it computes |
|---|---|---|
| `LCam` | `l-cam-fm`, `l-cam-img` | c = W A + b, a 1 x 1 convolution of one layer |
| `Tame` | `tame`, `t-tame`, `p-tame` | c = W [branch_1(A_1), branch_2(A_2), ...] + b, several layers |
| `Constant` | `constant` | c, the same for every image: a control |

All end in a linear map over channels, so the maps of a few outputs cost a few rows of W, not all of them.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sightline.errors import MethodError
from sightline.explainers.learned._channels import Directions, Terms

Activation = Literal["relu", "sigmoid"]


class Attention(nn.Module):
    """The base of all attention modules.

    Attributes:
        kind: The method that its maps belong to (`constant`: `learned-constant`).
        layers: The tapped layers, shallow first, with an optional `@nchw`, `@nhwc` or `@tokens`; none for a constant.
        channels: Channels of each tapped layer.
        maps: R, how many maps it gives.
        directions: Which map explains which target; see `channel_of`.
        variant: Constructor settings other than channels and maps, as they stand in a manifest.
    """

    kind: str = ""
    layers: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    maps: int = 0
    directions: Directions = "category"

    @property
    def variant(self) -> dict[str, Any]:
        """Constructor settings beside the channels and the number of maps."""
        return {}

    @property
    def last(self) -> nn.Conv2d:
        """The 1 x 1 convolution that gives the maps: W (R, sum of P_l, 1, 1), b (R,) or none."""
        raise NotImplementedError

    def parts(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_l, h_l, w_l), ...] -> [(B, P_l, h_l, w_l), ...]: what W reads of each layer, at its own resolution."""
        raise NotImplementedError

    def resolution(self, features: Sequence[Tensor]) -> tuple[int, int]:
        """(h, w) of the maps."""
        return features[0].shape[2], features[0].shape[3]

    def fold(self) -> None:
        """Make it quicker without changing its maps, on a copy that is done with training."""

    def forward(self, features: Sequence[Tensor], channels: Tensor | None = None) -> Tensor:
        """The maps of a batch, before the sigmoid.

        W reads each layer at its own resolution and its maps are upsampled, not the layer: both are linear, so it is
        the same, and there are fewer maps than channels.

        Args:
            features: [(B, C_l, h_l, w_l), ...], the layers' outputs.
            channels: (n,) the maps wanted; by default all R.

        Returns:
            c (B, n or R, h, w).
        """
        W, b = self.last.weight, self.last.bias  # (R, P, 1, 1), (R,)
        if channels is not None:
            W, b = W[channels], None if b is None else b[channels]
        parts, size = self.parts(features), self.resolution(features)
        turns = zip(parts, torch.split(W, [p.shape[1] for p in parts], 1), strict=True)
        c = torch.stack([_up(F.conv2d(part, W_l), size) for part, W_l in turns]).sum(0)
        return c if b is None else c + b[:, None, None]

    def rows(self, features: Sequence[Tensor], image: Sequence[int], terms: Sequence[Terms]) -> Tensor:
        """Single maps: S_n = sum over (r, f) in terms_n of f * c[image_n, r]. Only the rows of W asked for are used.

        Args:
            features: As for the call.
            image: N positions in the batch, image-major (never falling).
            terms: N lists of (channel, factor).

        Returns:
            (N, h, w).
        """
        parts, size = self.parts(features), self.resolution(features)
        w = _combined(self.last.weight.flatten(1), terms)  # (N, P)
        counts = torch.bincount(torch.tensor(image), minlength=len(parts[0])).tolist()
        turns = zip(parts, torch.split(w, [p.shape[1] for p in parts], 1), strict=True)
        S = torch.stack([_up(_products(w_l, part, counts)[None], size)[0] for part, w_l in turns]).sum(0)
        b = self.last.bias
        return S if b is None else S + _combined(b, terms)[:, None, None]


def _up(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, n, h_l, w_l) -> (B, n, h, w)."""
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _products(w: Tensor, A: Tensor, counts: Sequence[int]) -> Tensor:
    """Rows w (N, P), counts_i of them for image i, with A (B, P, h, w) -> (N, h, w)."""
    flat = A.flatten(2)  # (B, P, hw)
    if len(set(counts)) == 1:  # as many rows for each image: one product for all
        S = torch.bmm(w.reshape(len(A), counts[0], -1), flat).flatten(0, 1)
    else:
        S = torch.cat([part @ flat[i] for i, part in enumerate(torch.split(w, list(counts)))])
    return S.reshape(-1, *A.shape[2:])


def _combined(values: Tensor, terms: Sequence[Terms]) -> Tensor:
    """(R, ...) -> (N, ...): for each row the sum of factor * values[channel]."""
    flat = [(n, channel, factor) for n, row in enumerate(terms) for channel, factor in row]
    rows, channels, factors = (torch.tensor(part, device=values.device) for part in zip(*flat, strict=True))
    parts = values[channels] * factors.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    if len(flat) == len(terms):
        return parts
    return parts.new_zeros(len(terms), *values.shape[1:]).index_add(0, rows, parts)


class LCam(Attention):
    """One 1 x 1 convolution with bias: c^(y) = sum_p W[y, p] A_p + b_y.

    Gkartzonika, Gkalelis and Mezaris (2022), arXiv 2209.11189.

    Args:
        channels: P, channels of the tapped layer.
        maps: R.
    """

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.channels, self.maps = (channels,), maps
        self.convolution = nn.Conv2d(channels, maps, 1)

    @property
    def last(self) -> nn.Conv2d:
        """W (R, P, 1, 1) and b (R,)."""
        return self.convolution

    def parts(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The one layer's output (B, P, h, w) as it is."""
        (A,) = features
        return [A]


class Branch(nn.Module):
    """One layer's branch of `Tame`: activation(norm(convolution(A)) + A)."""

    def __init__(self, channels: int, *, skip: bool, norm: bool, activation: Activation) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.skip, self.activation = skip, activation

    @torch.no_grad()
    def fold(self) -> None:
        """Make norm and skip part of the convolution, on a copy that is done with training: (W, b) -> (W' + I, b')."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution.eval(), self.norm.eval())
            self.norm = nn.Identity()
        if self.skip:
            weight = self.convolution.weight
            eye = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
            self.convolution.weight = nn.Parameter(weight + eye[:, :, None, None], requires_grad=False)
            self.skip = False

    def forward(self, A: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        F_ = self.norm(self.convolution(A))
        if self.skip:
            F_ = F_ + A
        return torch.sigmoid(F_) if self.activation == "sigmoid" else F_.relu()


class Tame(Attention):
    """Several layers: a branch each, brought to one size, concatenated, and fused by a 1 x 1 convolution.

    branch_l = activation(BN(conv_1x1(A_l)) + A_l), up to the first layer's size; c = W [branch_1, branch_2, ...] + b.
    Ntrougkas, Gkalelis and Mezaris: TAME (2023), arXiv 2301.07407; T-TAME (2024), arXiv 2403.04523; P-TAME, Ntrougkas,
    Mezaris and Patras (2025), arXiv 2501.17813, which leaves the fusion's bias away.

    Args:
        channels: Channels of the tapped layers, shallow first.
        maps: R.
        skip: Add the branch's input.
        norm: Batch norm in the branch.
        activation: `relu` or `sigmoid` at the branch's end.
        fusion_bias: Whether the fusion has a bias.
        side: The longest side of the maps; a first layer that is larger is brought down to it, its shape kept.
    """

    def __init__(
        self,
        channels: Sequence[int],
        maps: int,
        *,
        skip: bool = True,
        norm: bool = True,
        activation: Activation = "relu",
        fusion_bias: bool = True,
        side: int = 56,
    ) -> None:
        super().__init__()
        if not channels or maps < 1 or side < 1:
            raise MethodError(
                f"attention over {len(channels)} layers, {maps} maps, side {side}: each must be at least 1"
            )
        if activation not in get_args(Activation):
            raise MethodError(f"activation must be 'relu' or 'sigmoid', not {activation!r}")
        self.channels, self.maps, self.side = tuple(channels), maps, side
        self.skip, self.norm, self.activation, self.fusion_bias = skip, norm, activation, fusion_bias
        self.branches = nn.ModuleList(Branch(c, skip=skip, norm=norm, activation=activation) for c in channels)
        self.fusion = nn.Conv2d(sum(channels), maps, 1, bias=fusion_bias)

    @property
    def variant(self) -> dict[str, Any]:
        """`skip`, `norm`, `activation`, `fusion_bias`, `side`."""
        return {name: getattr(self, name) for name in ("skip", "norm", "activation", "fusion_bias", "side")}

    @property
    def last(self) -> nn.Conv2d:
        """The fusion: W (R, sum of C_l, 1, 1) and b (R,)."""
        return self.fusion

    def parts(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The branches' outputs."""
        return [branch(A) for branch, A in zip(self.branches, features, strict=True)]

    def fold(self) -> None:
        """Make each branch one convolution, on a copy that is done with training."""
        for branch in self.branches:
            branch.fold()  # type: ignore[operator]

    def resolution(self, features: Sequence[Tensor]) -> tuple[int, int]:
        """(h, w) of the first layer, brought down until no side is longer than `side`."""
        h, w = features[0].shape[2:]
        shrink = min(1.0, self.side / max(h, w))
        return max(1, round(h * shrink)), max(1, round(w * shrink))


class Constant(Attention):
    """The same maps for every image: what training finds without looking. A control, trained as the others are.

    Args:
        size: (h, w) of the maps.
        maps: R.
    """

    def __init__(self, size: tuple[int, int], maps: int) -> None:
        super().__init__()
        self.size, self.maps = (int(size[0]), int(size[1])), maps
        self.c = nn.Parameter(torch.zeros(maps, *self.size))

    @property
    def variant(self) -> dict[str, Any]:
        """`size`."""
        return {"size": list(self.size)}

    def forward(self, features: Sequence[Tensor], channels: Tensor | None = None) -> Tensor:
        """c (B, n or R, h, w), the same for all images; B is 1 where there are no features to tell it."""
        c = self.c if channels is None else self.c[channels]
        return c.expand(len(features[0]) if features else 1, *c.shape)

    def rows(self, features: Sequence[Tensor], image: Sequence[int], terms: Sequence[Terms]) -> Tensor:
        """See `Attention.rows`."""
        return _combined(self.c, terms)

"""LIFT-CAM."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline import target as targets
from sightline.errors import MethodError
from sightline.explainers.masking._affine import Follow, affine_scores, depends, is_affine
from sightline.explainers.masking._tail import Tail
from sightline.explainers.method import Maps, explains, fused
from sightline.explainers.question import Question
from sightline.registry import Paper

_ACTIVATIONS = "relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign sigmoid tanh clamp exp"
_ELEMENTWISE = frozenset(f"{_ACTIVATIONS} hardswish hardsigmoid hardtanh".split())
_SMALL = 1e-6


class _Rescale(torch.autograd.Function):
    """y = f(x) element by element on rows (A, reference); backward: the multiplier (y - y0) / (x - x0).

    Where x = x0 it is the derivative. Shrikumar et al. (2017), arXiv 1704.02685, equation 13 (rescale rule).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Any, rest: Any, keywords: Any) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = function(leaf.clone(), *rest, **keywords)
            (slope,) = torch.autograd.grad(y.sum(), leaf)
        ctx.save_for_backward(x.detach().clone(), y.detach(), slope)  # x may be written to afterwards
        return y.detach()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, y, slope = ctx.saved_tensors
        dx, dy = (v[: len(v) // 2] - v[len(v) // 2 :] for v in (x, y))
        multiplier = torch.where(dx.abs() > _SMALL, dy / torch.where(dx.abs() > _SMALL, dx, 1.0), slope[: len(dx)])
        g = gradients[0][: len(dx)] * multiplier
        return torch.cat([g, torch.zeros_like(g)]), None, None, None


class _RescaleMax(torch.autograd.Function):
    """Max pooling on rows (A, reference): of y - y0, what exceeds the reference goes to A's winner, the rest to its."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: Any) -> Tensor:
        y, index = F.max_pool2d(x, **settings, return_indices=True)
        ctx.save_for_backward(x.detach().clone(), y.detach(), index)
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, y, index = ctx.saved_tensors
        n = len(x) // 2
        g, dx, top = gradients[0][:n], x[:n] - x[n:], torch.maximum(y[:n], y[n:])
        flat = torch.zeros_like(dx).flatten(2)
        for part, winner in ((top - y[n:], index[:n]), (y[:n] - top, index[n:])):
            flat.scatter_add_(2, winner.flatten(2), (g * part).flatten(2))
        share = flat.view_as(dx)
        plain = torch.zeros_like(flat).scatter_add_(2, index[:n].flatten(2), g.flatten(2)).view_as(dx)
        out = torch.where(dx.abs() > _SMALL, share / torch.where(dx.abs() > _SMALL, dx, 1.0), plain)
        return torch.cat([out, torch.zeros_like(out)]), None


class _DeepLift(Follow):
    """Gives non-linear operations of the tail their multipliers."""

    def call(self, name: str, function: Any, args: Any, kwargs: Any) -> Any:
        if name in _ELEMENTWISE and not depends((args[1:], kwargs)):
            keywords = {k: v for k, v in kwargs.items() if k != "inplace"}
            rest = [a for a in args[1:] if not isinstance(a, bool)]  # inplace=, given by position
            y = _Rescale.apply(args[0], function, rest, keywords)
            return args[0].copy_(y) if _in_place(function, args, kwargs) else y
        if name == "max_pool2d":
            names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            settings = {**dict(zip(names, args[1:], strict=False)), **kwargs}
            return _RescaleMax.apply(args[0], {k: v for k, v in settings.items() if k in names})
        return super().call(name, function, args, kwargs)


def _in_place(func: Any, args: Any, kwargs: Any) -> bool:
    name = str(getattr(func, "__name__", ""))
    return bool(kwargs.get("inplace")) or any(a is True for a in args[1:]) or name[-1:] == "_" != name[-2:-1]


@explains(
    "lift-cam",
    family="masking",
    paper=Paper(
        title="LIFT-CAM: Towards Better Explanations of Class Activation Mapping",
        authors="Jung and Oh",
        year=2021,
        arxiv="2102.05228",
        venue="ICCV 2021",
    ),
    summary="Weighs each channel by its DeepLIFT contribution to the score, which adds up to what the layer adds.",
    cost="1 forward + 1 backward of the tail",
    forwards=1,
    needs={"features", "gradients"},
    signed=True,
)
def lift_cam(question: Question) -> Maps:
    """S = sum_k w_k A_k with w_k = sum_ij DeepLIFT contribution of A_k(i,j), the reference 0 at the layer.

    The contributions add up to score(A) - score(0). For an affine tail they are gradient times activation.

    Returns:
        (N, h, w), signed.

    Raises:
        MethodError: The tail has an operation without a DeepLIFT rule (attention, a gate, layer norm), or the target's
            score is not affine in the outputs.
    """
    maps = {}
    for position, name in enumerate(question.layers):
        tail = Tail(question, name, position)
        question.resolve(tail.outputs)
        if not affine_scores(question.targets):
            raise MethodError("lift-cam explains sums of outputs: a Category, Attribute, Contrast or Region")
        every, room = torch.arange(len(question.targets)), max(1, tail.room // 2)
        parts = [_weights(question, tail, every[start : start + room]) for start in range(0, len(every), room)]
        maps[name] = torch.einsum("nk,nkhw->nhw", torch.cat(parts), tail.A[question.image])
    return fused(maps, question.fuse)


def _weights(question: Question, tail: Tail, rows: Tensor) -> Tensor:
    """(n, K) contributions of channels for some rows."""
    image, part = question.image[rows], [question.targets[r] for r in rows.tolist()]
    pair = torch.cat([tail.A[image], torch.zeros_like(tail.A[image])]).detach()
    with torch.enable_grad():
        leaf = pair.clone().requires_grad_()
        if is_affine(tail):
            outputs = tail(leaf, image.repeat(2))
        else:
            with _DeepLift() as follow:
                outputs = tail(leaf, image.repeat(2))
            if follow.odd:
                raise MethodError(
                    f"lift-cam has no DeepLIFT rule for {follow.odd[0]!r} in the tail; take a later layer, from which "
                    "on there are only linear layers, element-wise activations, max pooling and mean pooling"
                )
        score = targets.scores([*part, *part], outputs)
        (multiplier,) = torch.autograd.grad(score[: len(part)].sum(), leaf)
    C = multiplier[: len(part)] * pair[: len(part)]
    half = question.model.precision == "bfloat16" or tail.values.dtype.itemsize < 4
    allowed = 5e-2 if half else 1e-3
    _check_sum(C, question.score[rows] - score[len(part) :].detach(), allowed)
    return C.sum((2, 3))


def _check_sum(C: Tensor, change: Tensor, allowed: float) -> None:
    """Contributions must add up to the change of the score."""
    off = (C.flatten(1).sum(1) - change).abs() / (C.flatten(1).abs().sum(1) + change.abs()).clamp(min=1e-6)
    if float(off.max()) > allowed:
        raise MethodError(
            f"lift-cam's contributions miss the change of the score by {float(off.max()):.2g} of their size: the tail "
            "has an operation that DeepLIFT's rescale rule does not cover; take a later layer"
        )

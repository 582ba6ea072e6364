"""Reads a call of a torch function: which kind of operation it is, on which operands, and as which linear map.

There is one reader a kind; `READERS` says which functions it reads.
"""

# ruff: noqa: SIM905 - lists of names read better as text
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.explainers.lrp._linear import Linear, convolution, dense, diagonal, pooling


@dataclass
class Call:
    """One call.

    Attributes:
        kind: `conv`, `dense`, `norm`, `layer-norm`, `pool`, `max-pool`, `activation`, `scale`, `sum`, `product`,
            `matmul`, `softmax`, `cat`, `unsupported`.
        function: Name of the torch function.
        operands: What relevance may flow to, in order; constants among them are found by the walk.
        run: The operation on the operands.
        linear: Its linear map, where it has one; made late, because weights may be folded or kept.
        rebuild: The linear map with a batch norm's weight and bias folded into it.
        norm: Weight and bias of a batch norm.
        signs: Of the parts of a sum.
        dim: Of a softmax.
        traits: `nonnegative` (output >= 0), `gate` (output in [0, 1]), `keeps` (non-negative if the operands are).
        why: Of an unsupported call: what can be done.
    """

    kind: str
    function: str
    operands: Sequence[Any]
    run: Callable[..., Any]
    linear: Callable[[], Linear] | None = None
    rebuild: Callable[[Tensor, Tensor], Linear] | None = None
    norm: tuple[Tensor, Tensor] | None = None
    signs: Sequence[float] = ()
    dim: int = 0
    traits: frozenset[str] = field(default_factory=frozenset)
    why: str = ""


_ACTIVATIONS = frozenset(
    "relu relu6 hardtanh silu gelu hardswish elu selu celu leaky_relu mish softplus tanh sigmoid hardsigmoid clamp "
    "clamp_min logsigmoid threshold prelu rrelu softsign hardshrink softshrink tanhshrink logit".split()
)
_NONNEGATIVE = frozenset("relu relu6 sigmoid hardsigmoid softplus".split())
_GATES = frozenset("sigmoid hardsigmoid softmax".split())


def _bind(names: str, args: tuple[Any, ...], named: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    return {**defaults, **named, **dict(zip(names.split(), args, strict=False))}


def _of_first(func: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> Callable[[Tensor], Any]:
    """The call as a function of its first operand."""
    if args:
        return lambda x: func(x, *args[1:], **named)
    rest = {k: v for k, v in named.items() if k != "input"}
    return lambda x: func(input=x, **rest)


def _conv(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    plain = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    p = _bind("input weight bias stride padding dilation groups", args, named, **plain)
    w, padding = p["weight"], p["padding"]
    if isinstance(padding, str):
        holes = p["dilation"] if not isinstance(p["dilation"], int) else [p["dilation"]] * (w.ndim - 2)
        both = [d * (k - 1) for d, k in zip(holes, w.shape[2:], strict=True)]
        if padding == "same" and any(t % 2 for t in both):
            return Call("unsupported", name, (p["input"],), _of_first(func, args, named), why="pad it by F.pad")
        padding = [t // 2 for t in both] if padding == "same" else 0

    def make(weight: Tensor, bias: Tensor | None) -> Linear:
        return convolution(weight, bias, p["stride"], padding, p["dilation"], p["groups"])

    return Call(
        "conv",
        name,
        (p["input"],),
        _of_first(func, args, named),
        linear=lambda: make(w, p["bias"]),
        rebuild=lambda scale, shift: make(*_fold(w, p["bias"], scale, shift)),
    )


def _fold(weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a norm after a linear map: scale (W x + b) + shift."""
    folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return folded, shift if bias is None else bias * scale + shift


def _linear(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    p = _bind("input weight bias", args, named, bias=None)
    w, b = p["weight"], p["bias"]
    return Call(
        "dense",
        name,
        (p["input"],),
        _of_first(func, args, named),
        linear=lambda: dense(w, b),
        rebuild=lambda scale, shift: dense(*_fold(w, b, scale, shift)),
    )


def _batch_norm(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    plain = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}
    p = _bind("input running_mean running_var weight bias training momentum eps", args, named, **plain)
    x, mean, var = p["input"], p["running_mean"], p["running_var"]
    if p["training"] or mean is None:
        why = "it normalises by the batch itself; use running statistics"
        return Call("unsupported", name, (x,), _of_first(func, args, named), why=why)
    # In float64, so that a folded norm is as exact as the type it is cast to.
    scale = torch.rsqrt(var.double() + p["eps"]) * (1 if p["weight"] is None else p["weight"].double())
    shift = (0 if p["bias"] is None else p["bias"].double()) - mean.double() * scale
    return Call(
        "norm",
        name,
        (x,),
        _of_first(func, args, named),
        linear=lambda: diagonal(scale.to(x.dtype), shift.to(x.dtype), 1),
        norm=(scale, shift),
    )


def _layer_norm(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    if name == "layer_norm":
        p = _bind("input normalized_shape weight bias eps", args, named, weight=None, bias=None, eps=1e-5)
        x, dims, group = p["input"], tuple(range(-len(p["normalized_shape"]), 0)), 0
    else:
        p = _bind("input num_groups weight bias eps", args, named, weight=None, bias=None, eps=1e-5)
        x, dims, group = p["input"], (-1,), int(p["num_groups"])

    def split(t: Tensor) -> Tensor:
        return t.reshape(len(t), group, -1) if group else t

    def scale() -> Tensor:
        grouped = split(x.detach())
        one = torch.rsqrt(grouped.var(dims, unbiased=False, keepdim=True) + p["eps"])
        one = one.expand_as(grouped).reshape(x.shape) if group else one
        w = p["weight"]
        return one if w is None else one * (w.reshape(-1, *[1] * (x.ndim - 2)) if group else w)

    def linear() -> Linear:
        fixed = scale()  # the statistics are constants

        def centre(t: Tensor) -> Tensor:
            grouped = split(t)
            return (grouped - grouped.mean(dims, keepdim=True)).reshape(t.shape) * fixed

        made = pooling(centre)
        made.bias, made.axis = p["bias"], 1 if group else -1
        return made

    return Call("layer-norm", name, (x,), _of_first(func, args, named), linear=linear)


def _pool(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    first, rest = (args[0], args[1:]) if args else (named.pop("input"), ())

    def run(x: Tensor) -> Any:
        return func(x, *rest, **named)

    return Call("pool", name, (first,), run, linear=lambda: pooling(run), traits=frozenset({"keeps"}))


def _max_pool(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    plain = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
    p = _bind("input kernel_size stride padding dilation ceil_mode return_indices", args, named, **plain)

    def average(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, p["kernel_size"], p["stride"], p["padding"], p["ceil_mode"], count_include_pad=False)

    def run(x: Tensor) -> Any:
        return F.max_pool2d(
            x, p["kernel_size"], p["stride"], p["padding"], p["dilation"], p["ceil_mode"], p["return_indices"]
        )

    return Call("max-pool", name, (p["input"],), run, linear=lambda: pooling(average), traits=frozenset({"keeps"}))


def _activation(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    first, rest = (args[0], args[1:]) if args else (named.pop("input"), ())
    low = rest[0] if rest else named.get("min", named.get("min_val"))
    nonnegative = name in _NONNEGATIVE or (name in ("clamp", "clamp_min", "hardtanh") and low in (0, 0.0))
    traits = {t for t, has in (("nonnegative", nonnegative), ("gate", name in _GATES)) if has}
    named.pop("inplace", None)
    plain = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}.get(name)
    # In place, the values that rules read would be lost; what comes back is what the network goes on with.
    plain = plain or getattr(F, name, None) or getattr(torch, name)
    return Call("activation", name, (first,), lambda x: plain(x, *rest, **named), traits=frozenset(traits))


def _sum(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    p = _bind("input other", args, named)
    alpha = float(named.get("alpha", args[2] if len(args) > 2 else 1))
    signs = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-1.0, 1.0)}[name]
    keeps = frozenset({"keeps"}) if min(signs) > 0 else frozenset()
    a, b = signs
    plain = a == b == 1

    def run(x: Any, y: Any) -> Any:
        return x + y if plain else a * x + b * y

    return Call("sum", name, (p["input"], p["other"]), run, signs=signs, traits=keeps)


def _product(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    p = _bind("input other", args, named)
    a, b = p["input"], p["other"]
    if name == "div":
        b = 1 / b if not isinstance(b, Tensor) else b.reciprocal()
    keeps = frozenset({"keeps"})
    return Call("product", name, (a, b), lambda x, y: x * y, traits=keeps)


def _matmul(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    a, b = args if len(args) == 2 else (args[0], next(iter(named.values())))
    return Call("matmul", name, (a, b), lambda x, y: x @ y, traits=frozenset({"keeps"}))


def _softmax(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    p = _bind("input dim", args, named)
    return Call(
        "softmax",
        name,
        (p["input"],),
        lambda x: torch.softmax(x, p["dim"]),
        dim=p["dim"],
        traits=frozenset({"nonnegative", "gate"}),
    )


def _cat(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Call:
    p = _bind("tensors dim", args, named, dim=0)
    parts = tuple(p["tensors"])
    return Call("cat", name, parts, lambda *xs: torch.cat(xs, p["dim"]), dim=p["dim"], traits=frozenset({"keeps"}))


READERS: dict[str, Callable[..., Call]] = {
    "conv2d": _conv, "conv1d": _conv, "linear": _linear, "batch_norm": _batch_norm, "layer_norm": _layer_norm,
    "group_norm": _layer_norm, "adaptive_avg_pool2d": _pool, "avg_pool2d": _pool, "adaptive_avg_pool1d": _pool,
    "mean": _pool, "sum": _pool, "interpolate": _pool, "max_pool2d": _max_pool, "add": _sum, "sub": _sum,
    "rsub": _sum, "mul": _product, "div": _product, "matmul": _matmul, "softmax": _softmax, "cat": _cat,
    **dict.fromkeys(_ACTIVATIONS, _activation),
}  # fmt: skip

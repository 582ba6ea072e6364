"""Whether the tail of a model is affine in a layer's activations, found out by watching it run once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sightline.explainers.masking._tail import Tail
from sightline.target import Attribute, Category, Contrast, Region, Target

# Affine in the one argument that depends on the activations.
AFFINE = frozenset(
    [
        "linear",
        "conv2d",
        "conv1d",
        "batch_norm",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool1d",
        "avg_pool2d",
        "avg_pool1d",
        "mean",
        "sum",
        "flatten",
        "view",
        "reshape",
        "permute",
        "transpose",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "dropout",
        "feature_dropout",
        "cat",
        "concat",
        "stack",
        "expand",
        "expand_as",
        "clone",
        "to",
        "float",
        "double",
        "getitem",
        "add",
        "sub",
        "rsub",
        "iadd",
        "isub",
        "neg",
        "mul",
        "imul",
        "div",
        "truediv",
        "itruediv",
        "chunk",
        "split",
        "unbind",
        "select",
        "movedim",
        "rearrange",
        "unflatten",
        "t",
        "type_as",
        "upsample",
        "interpolate",
        "pad",
        "alias",
        "dropout2d",
        "identity",
        "swapaxes",
        "view_as",
        "narrow",
        "get",
    ]
)
_QUESTIONS = frozenset(["requires_grad", "get", "set", "detach"])
_PRODUCTS = frozenset(["mul", "imul"])


def name_of(function: Any) -> str:
    """The plain name of a torch function: `mul` for `Tensor.__mul__`, `torch.mul` and `Tensor.mul_`."""
    return str(getattr(function, "__name__", function)).strip("_")


def tainted(value: Any) -> bool:
    """Whether a value, or a member of it, depends on the activations."""
    if isinstance(value, Tensor):
        return value.requires_grad
    if isinstance(value, tuple | list):
        return any(tainted(v) for v in value)
    return isinstance(value, dict) and any(tainted(v) for v in value.values())


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.odd: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if tainted(result) and name_of(func) not in _QUESTIONS:
            name, inputs = name_of(func), [a for a in (*args, *kwargs.values()) if tainted(a)]
            product = name in _PRODUCTS and len(inputs) > 1
            divisor = name in ("div", "truediv", "itruediv") and len(args) > 1 and tainted(args[1])
            if name not in AFFINE or product or divisor or (name == "linear" and any(tainted(a) for a in args[1:])):
                self.odd.append(name)
        return result


def is_affine(tail: Tail) -> bool:
    """Whether the outputs are an affine function of the layer's activations."""

    def look() -> bool:
        with torch.enable_grad(), _Watch() as watch:
            tail(tail.A[:1].detach().requires_grad_(), torch.zeros(1, dtype=torch.long))
        return not watch.odd

    return bool(tail.classifier.cached(("affine", tail.name, tuple(tail.A.shape[1:])), look))


def affine_scores(targets: Sequence[Target]) -> bool:
    """Whether the scores are affine in the outputs."""
    return all(type(t) in (Category, Attribute, Contrast, Region) for t in targets)

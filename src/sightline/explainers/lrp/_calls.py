"""Watches calls of torch functions, from modules, functions and operators alike, of one thread.

`Walk` sees every torch function that one thread calls while it is entered. Nothing is patched. What it makes of the
calls that have a rule is told by `emit`: a survey notes them, a propagation gives each its rule.
"""

# ruff: noqa: SIM905 - lists of names read better as text
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

from sightline.explainers.lrp._decompositions import DECOMPOSITIONS
from sightline.explainers.lrp._readers import READERS, Call

_SAME = {
    "iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "isub": "sub", "truediv": "div", "itruediv": "div",
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "concat": "cat", "concatenate": "cat",
    "bmm": "matmul", "swish": "silu", "special_expit": "sigmoid", "_max_pool2d": "max_pool2d",
}  # fmt: skip

ROUTING = frozenset(
    "view reshape flatten unflatten permute transpose swapaxes movedim unsqueeze squeeze expand expand_as repeat "
    "repeat_interleave contiguous clone to float double type type_as getitem select narrow index_select gather chunk "
    "split tensor_split unbind roll flip dropout dropout2d dropout1d alpha_dropout feature_dropout pad constant_pad_nd "
    "pixel_shuffle pixel_unshuffle stack view_as reshape_as t T mT tile unfold split_with_sizes channel_shuffle "
    "swapdims moveaxis rot90 as_subclass cpu cuda requires_grad max amax adaptive_max_pool2d max_pool1d "
    "adaptive_max_pool2d_with_indices max_pool2d_with_indices atleast_2d ravel identity".split()
)
"""Functions whose own gradient routes relevance exactly: they move, copy, drop or select values."""

# A vector's norm is the statistic of a normalisation, as the deviation in a layer norm is: relevance goes past it.
_CONSTANT = frozenset(
    "new_zeros new_ones new_full new_empty new_tensor zeros_like ones_like empty_like full_like rand_like randn_like "
    "size dim numel shape argmax detach is_floating_point stride isfinite isnan bernoulli norm linalg_vector_norm "
    "vector_norm frobenius_norm".split()
)


def name_of(function: Callable[..., Any]) -> str:
    """The plain name of a torch function: `add` for torch.add, Tensor.__iadd__, Tensor.add_ and the like."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return str(getattr(getattr(function, "__self__", None), "__name__", ""))
    name = name.strip("_")
    return _SAME.get(name, name)


class Walk(TorchFunctionMode):
    """Sends every call to `emit` or lets it run."""

    def emit(self, call: Call) -> Any:
        """Carry out a call that has a rule."""
        raise NotImplementedError

    def routed(self, function: str, arguments: Sequence[Any], output: Any) -> Any:
        """See a call that was run as it is."""
        return output

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read one call."""
        named, name = dict(kwargs or {}), name_of(func)
        if name in DECOMPOSITIONS:
            with self:  # made of smaller calls, which are seen in turn
                return DECOMPOSITIONS[name](*args, **named)
        reader = READERS.get(name)
        if reader is not None:
            return self.emit(reader(name, func, args, named))
        if name in ROUTING or name in _CONSTANT:
            return self.routed(name, (*args, *named.values()), func(*args, **named))
        return self.other(name, func, args, named)

    def other(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A call that is not known."""
        return func(*args, **named)


def constant(name: str) -> bool:
    """Whether a function's result does not depend on values in a way that relevance follows."""
    return name in _CONSTANT


__all__ = ["ROUTING", "Call", "Walk", "constant", "name_of"]

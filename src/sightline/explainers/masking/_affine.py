"""Whether the tail of a model is affine in a layer's activations, found out by watching it run once."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.overrides import TorchFunctionMode

from sightline.explainers.masking._tail import Tail
from sightline.target import Attribute, Category, Contrast, Region, Target

_ROUTES = (
    "flatten unflatten view view_as reshape permute transpose t swapaxes movedim squeeze unsqueeze contiguous clone to "
    "float double type_as getitem narrow select chunk split unbind cat concat stack expand expand_as pad dropout "
    "dropout1d dropout2d feature_dropout"
)
_LINEAR = (
    "linear conv1d conv2d batch_norm avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d mean sum "
    "interpolate upsample add sub rsub iadd isub neg mul imul div truediv idiv itruediv"
)
AFFINE = frozenset(f"{_ROUTES} {_LINEAR}".split())
# Of these, several members may depend on the activations.
_SUMS = frozenset(["add", "sub", "rsub", "iadd", "isub", "cat", "concat", "stack"])
_QUOTIENTS = frozenset(["div", "truediv", "idiv", "itruediv"])
# Shapes and flags: what they tell does not depend on the activations' values.
_SHAPES = frozenset(["dim", "size", "stride", "numel", "len", "is_floating_point", "is_contiguous", "requires_grad"])
_FORMS = frozenset(["float", "to", "getitem"])  # all that follows the outputs' own checks


def name_of(function: Any) -> str:
    """The plain name of a torch function: `mul` for `Tensor.__mul__`, `torch.mul` and `Tensor.mul_`."""
    return str(getattr(function, "__name__", function)).strip("_")


def members(values: Any) -> Iterator[Any]:
    """What is in nested tuples, lists and dicts."""
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, tuple | list) or isinstance(values, Size):
        yield values
        return
    for value in values:
        yield from members(value)


def depends(values: Any) -> bool:
    """Whether a value, or a member of it, depends on the activations."""
    return any(isinstance(v, Tensor) and v.requires_grad for v in members(values))


def affine_call(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a call is affine in all those of its arguments that depend on the activations."""
    trained = kwargs.get("training", args[5] if name == "batch_norm" and len(args) > 5 else False)
    if name not in AFFINE or trained:
        return False
    single = sum(depends(a) for a in (*args, *kwargs.values())) == 1
    return name in _SUMS or (single and not (name in _QUOTIENTS and depends(args[1:])))


class Follow(TorchFunctionMode):
    """Sees every call that depends on the activations; by default it asks whether that is affine.

    What is cut from the graph (a comparison, `detach`, `item`) may still steer what comes after it, such as a gate:
    then the tail is not affine, whatever the calls themselves are.

    Attributes:
        odd: Names of the calls that are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.odd: list[str] = []
        self._cut = ""

    def call(self, name: str, function: Any, args: Any, kwargs: Any) -> Any:
        """Make the call; note it in `odd` where it has no rule."""
        if not affine_call(name, args, kwargs):
            self.odd.append(name)
        return function(*args, **kwargs)

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs, name = kwargs or {}, name_of(func)
        if not depends((args, kwargs)):
            return func(*args, **kwargs)
        if name in ("get", "set") or name in _SHAPES:
            result = func(*args, **kwargs)
            self._cut = name if any(isinstance(v, Tensor) for v in members(result)) else self._cut
            return result
        known = len(self.odd)
        result = self.call(name, func, args, kwargs)
        if not depends(result):
            del self.odd[known:]
            self._cut = name
        elif self._cut and name not in _FORMS:
            self.odd.append(self._cut)
        return result


def is_affine(tail: Tail) -> bool:
    """Whether the outputs are an affine function of the layer's activations."""

    def look() -> bool:
        A, image = tail.A[:1].detach().clone(), torch.zeros(1, dtype=torch.long, device=tail.A.device)
        with torch.enable_grad():
            A.requires_grad_()
            with Follow() as follow:
                outputs = tail(A, image)
        return not follow.odd and outputs.requires_grad

    return bool(tail.classifier.cached(("affine", tail.name, tail.size, tuple(tail.A.shape[1:])), look))


def affine_scores(targets: Sequence[Target]) -> bool:
    """Whether the scores are affine in the outputs."""
    return all(type(t) in (Category, Attribute, Contrast, Region) for t in targets)

"""The tail of a model: what runs after a layer, on altered activations, with everything before it computed once.

Works for any model, without a trace of it. A replica's modules look up a context variable at every call: while one
forward pass is recorded they note what they return; in a replay those that were finished before the layer began hand
that out again, the layer hands out the altered activations, and the rest runs as always.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sightline import layers as layering
from sightline import replica
from sightline.capture import INPUT, unknown_layer
from sightline.classifier import Classifier
from sightline.errors import LayerError, SightlineError
from sightline.explainers.question import Question
from sightline.layout import first_tensor

_TOLERANCE = 1e-3  # relative, of outputs run again from the layer; more where floats are coarser
_CHUNK_BYTES = 48 * 2**20  # altered activations that go through the tail at once


@dataclass
class _Call:
    """One call of a module in a recorded pass."""

    module: nn.Module
    output: Any = None
    inside: list["_Call"] = field(default_factory=list)
    holds: bool = False  # the layer ran inside


@dataclass
class _Recording:
    layer: nn.Module
    stack: list[_Call]
    copy: bool

    def call(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        node = _Call(module)
        self.stack[-1].inside.append(node)
        self.stack.append(node)
        output = forward(*args, **kwargs)
        self.stack.pop()
        node.output = tree_map(_cloned, output) if self.copy or module is self.layer else output
        if module is self.layer:
            for open_ in (*self.stack, node):
                open_.holds = True
        elif not node.holds:
            node.inside.clear()  # only what runs beside the layer is needed again
        return output


@dataclass
class _Replay:
    """Calls in the order they will be met, up to the layer: to run, or to hand out an output."""

    script: list[tuple[nn.Module, bool, Any]]
    place: int = 0

    def call(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.place == len(self.script):
            return forward(*args, **kwargs)
        expected, given, output = self.script[self.place]
        if expected is not module:
            raise LayerError(
                "the model's forward pass takes another way on other activations, so its tail cannot be run"
            )
        self.place += 1
        return output if given else forward(*args, **kwargs)


_STATE: ContextVar[_Recording | _Replay | None] = ContextVar("sightline_tail", default=None)


def _watched(model: nn.Module) -> nn.Module:
    """A replica whose modules consult the context variable."""
    twin = replica.replicate(model)
    for module in twin.modules():
        module.forward = functools.partial(_forward, module, module.forward)
    return twin


def _forward(module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    state = _STATE.get()
    return forward(*args, **kwargs) if state is None else state.call(module, forward, args, kwargs)


class Tail:
    """What follows a layer, for some images.

    Attributes:
        outputs: (B, C, ...) of the unaltered images.
        A: (B, K, h, w) their activations, float32.
        layout: How the layer gives them.

    Raises:
        LayerError: There is no such layer or no spatial map, or the model cannot be run from it.
    """

    def __init__(self, question: Question, name: str, position: int = 0) -> None:
        self.classifier: Classifier = question.model
        base = self.classifier.twin(untouched=(name,))
        self.twin: nn.Module = self.classifier.cached(("tail", id(base)), lambda: _watched(base))
        self.name, self.size = name, question.size
        self._steps: list[tuple[nn.Module, str, Any]] = []
        self._kind = layering.split_name(question.named[position])[1] if question.named else None
        with torch.no_grad():
            self.values = self.classifier.normalise(question.pixels)
            key = ("tail keeps copies", name, self._kind, self.size)
            copy = self.classifier.cached(key, self._needs_copies)
            if not self._steps:  # it was known
                self._record(copy=copy)
        if self.layout.prefix:  # after the last block of a transformer, only the class token is read
            found = self.classifier.layers(self.size)
            if not {n: info.connected for info in found for n in (info.name, *info.aliases)}.get(name, True):
                raise layering.disconnected(self.classifier, name, self.size)

    def _record(self, *, copy: bool) -> None:
        """Run the whole model once and keep what was finished before the layer's last call."""
        if self.name.endswith(INPUT):
            raise LayerError(
                f"this method runs the model from a layer's output on, so it cannot take {self.name!r}; name the layer "
                "whose output that is"
            )
        try:
            layer = self.twin.get_submodule(self.name)
        except AttributeError as reason:
            raise LayerError(unknown_layer(self.twin, self.name)) from reason
        root = _Call(nn.Identity())
        token = _STATE.set(_Recording(layer, [root], copy))
        try:
            self.outputs = self.classifier.scores(self.twin, self.values)
        finally:
            _STATE.reset(token)
        self._copy, self._steps = copy, _script(root, layer)
        if not self._steps:
            raise LayerError(f"layer {self.name!r} takes no part in the forward pass; choose another one")
        self._output = self._steps[-1][2]
        found = first_tensor(self._output)
        if found is None:
            raise LayerError(f"layer {self.name!r} returns no tensor; choose another one (`sightline layers MODEL`)")
        self._first = found
        self.layout = layering.layout_of(self.classifier, self.name, self._kind, found, self.size)
        self.A = self.layout.to_maps(found).float()

    def _needs_copies(self) -> bool:
        """Whether the model writes into what its modules returned, so that each replay needs copies of its own.

        Found out once: the tail of unaltered activations must give the outputs of the whole model, and shared memory
        cannot be written to.
        """
        for copy in (False, True):
            self._record(copy=copy)
            try:
                again = self(self.A[:1].repeat(2, 1, 1, 1), torch.zeros(2, dtype=torch.long, device=self.A.device))
            except SightlineError as reason:
                if copy:
                    raise LayerError(f"the model cannot be run from layer {self.name!r}: {reason}") from reason
                continue
            scale = self.outputs[:1].abs().amax().clamp(min=1e-6)
            tolerance = max(_TOLERANCE, 8 * torch.finfo(self._first.dtype).eps)
            if float((again - self.outputs[:1]).abs().amax() / scale) <= tolerance:
                return copy
        raise LayerError(
            f"running the model from layer {self.name!r} on does not give its outputs; choose the end of a block"
        )

    def __call__(self, maps: Tensor, image: Tensor) -> Tensor:
        """Outputs (m, C, ...) for altered activations (m, K, h, w) of some images (m,); differentiable in them."""
        where = image.tolist()
        alone, whole = len(set(where)) == 1, where == list(range(len(self.values)))

        def rows(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(self.values):
                return value
            if alone:  # no memory for rows that are all the same
                value = value[where[0] : where[0] + 1].expand(len(where), *value.shape[1:])
            elif not whole:
                return value[image]
            return value.clone() if self._copy else value

        first = rows(self._first)
        altered = self.layout.from_maps(maps, first).to(first.dtype).clone()  # the model may write into it
        output = tree_map(lambda value: altered if value is self._first else rows(value), self._output)
        script = [(m, kind, output if kind == "layer" else tree_map(rows, out)) for m, kind, out in self._steps]
        token = _STATE.set(_Replay([(m, kind != "run", out) for m, kind, out in script]))
        try:
            return self.classifier.scores(self.twin, rows(self.values))
        finally:
            _STATE.reset(token)

    @property
    def room(self) -> int:
        """How many altered activations go through at once."""
        return max(1, _CHUNK_BYTES // (4 * self.A[0].numel()))

    def chunked(self, count: int, alter: Callable[[Tensor], Tensor], image: int) -> Tensor:
        """Outputs (count, C, ...) for alterations by number: `alter(index (m,)) -> (m, K, h, w)`, of one image."""
        parts = []
        with torch.no_grad():
            for start in range(0, count, self.room):
                index = torch.arange(start, min(count, start + self.room), device=self.A.device)
                parts.append(self(alter(index), torch.full_like(index, image)))
        return torch.cat(parts)


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _script(root: _Call, layer: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """The calls that a replay meets, in order: "run" those around the layer, "give" those before it, the "layer"."""
    steps: list[tuple[nn.Module, str, Any]] = []
    level = root
    while path := [i for i, node in enumerate(level.inside) if node.module is layer or node.holds]:
        steps += [(node.module, "give", node.output) for node in level.inside[: path[-1]]]
        level = level.inside[path[-1]]
        if level.module is layer:
            return [*steps, (layer, "layer", level.output)]
        steps.append((level.module, "run", None))
    return []

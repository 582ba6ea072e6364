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
from torch.utils._pytree import tree_leaves, tree_map

from sightline import layers as layering
from sightline import replica
from sightline.classifier import Classifier
from sightline.errors import LayerError, ModelError, SightlineError
from sightline.explainers.question import Question
from sightline.layout import first_tensor, replace_first

_CHUNK_BYTES = 48 * 2**20  # altered activations that go through the tail at once


@dataclass
class _Call:
    """One call of a module in a recorded pass."""

    module: nn.Module
    output: Any = None
    version: int = 0
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
        node.version = _version(node.output)
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

    Raises:
        LayerError: There is no such layer or no spatial map, or the model cannot be run from it.
    """

    def __init__(self, question: Question, name: str, position: int = 0) -> None:
        self.classifier: Classifier = question.model
        self.classifier.refresh()
        base = self.classifier.twin(untouched=(name,))
        self.twin: nn.Module = self.classifier.cached(("tail", id(base)), lambda: _watched(base))
        self.name, self.pixels = name, question.pixels
        with torch.no_grad():
            self.values = self.classifier.normalise(question.pixels)
            root = self._record(copy=False)
            if any(_version(node.output) != node.version for node in _given(root, self._layer)):
                root = self._record(copy=True)  # the model writes into what its modules returned
        self._copy = False
        found = first_tensor(self._layer_output)
        if found is None:
            raise LayerError(f"layer {name!r} returns no tensor; choose another one (`sightline layers MODEL`)")
        kind = layering.split_name(question.named[position])[1] if question.named else None
        self.layout = layering.layout_of(self.classifier, name, kind, found, question.size)
        self._first = found
        self.A = self.layout.to_maps(found).float()
        self._steps = _script(root, self._layer)
        self._check()

    def _record(self, *, copy: bool) -> _Call:
        try:
            self._layer = self.twin.get_submodule(self.name)
        except AttributeError as reason:
            from sightline.capture import unknown_layer

            raise LayerError(unknown_layer(self.twin, self.name)) from reason
        root = _Call(nn.Identity())
        recording = _Recording(self._layer, [root], copy)
        token = _STATE.set(recording)
        try:
            self.outputs = self.classifier.scores(self.twin, self.values)
        finally:
            _STATE.reset(token)
        node = _last(root, self._layer)
        if node is None:
            raise LayerError(f"layer {self.name!r} takes no part in the forward pass; choose another one")
        self._layer_output = node.output
        return root

    def _check(self) -> None:
        """The tail on unaltered activations must give the outputs of the whole model."""
        try:
            with torch.no_grad():
                again = self._checked()
        except SightlineError as reason:
            raise LayerError(f"the model cannot be run from layer {self.name!r}: {reason}") from reason
        scale = self.outputs[:1].abs().amax().clamp(min=1e-6)
        tolerance = 1e-3 if self.classifier.precision == "float32" else 5e-2
        if float((again - self.outputs[:1]).abs().amax() / scale) > tolerance:
            raise LayerError(
                f"running the model from layer {self.name!r} does not give its outputs; choose the end of a block"
            )

    def _checked(self) -> Tensor:
        twice = self.A[:1].repeat(2, 1, 1, 1)
        image = torch.zeros(2, dtype=torch.long, device=twice.device)
        try:
            return self(twice, image)
        except ModelError as reason:
            if "written-to tensor" not in str(reason):
                raise
            self._copy = True  # the model writes into what an earlier module returned: every row needs its own
            return self(twice, image)

    def __call__(self, maps: Tensor, image: Tensor) -> Tensor:
        """Outputs (m, C, ...) for altered activations (m, K, h, w) of some images (m,); differentiable in them."""
        batch = len(self.pixels)

        def rows(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != batch:
                return value
            if batch > 1:
                return value[image]
            wide = value.expand(len(image), *value.shape[1:])
            return wide.clone() if self._copy or len(image) == 1 else wide

        like = rows(self._first)
        altered = self.layout.from_maps(maps, like).to(like.dtype)
        altered = altered.clone() if altered.requires_grad else altered  # the model may write into it
        output = tree_map(rows, replace_first_copy(self._layer_output, self._first))
        own = altered if isinstance(output, Tensor) else replace_first(output, first_tensor(output), altered)  # type: ignore[arg-type]
        script = [(m, kind != "run", own if kind == "layer" else tree_map(rows, out)) for m, kind, out in self._steps]
        token = _STATE.set(_Replay(script))
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


def replace_first_copy(output: Any, first: Tensor) -> Any:
    """The layer's output in containers of our own, so that replacing a tensor leaves the recorded one as it is."""
    return first if isinstance(output, Tensor) else tree_map(lambda value: value, output)


def _last(root: _Call, layer: nn.Module) -> _Call | None:
    """The last call of the layer."""
    for node in reversed(root.inside):
        if node.module is layer:
            return node
        if (found := _last(node, layer)) is not None:
            return found
    return None


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _version(output: Any) -> int:
    """How often the tensors in an output were written to."""
    return sum(v._version for v in tree_leaves(output) if isinstance(v, Tensor))


def _given(root: _Call, layer: nn.Module) -> list[_Call]:
    """The calls before the layer whose outputs a replay hands out."""
    level, found = root, []
    while True:
        path = next(i for i in reversed(range(len(level.inside))) if _has(level.inside[i], layer))
        found += level.inside[:path]
        level = level.inside[path]
        if level.module is layer:
            return found


def _script(root: _Call, layer: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """The calls that a replay meets, in order: "run" those around the layer, "give" those before it, the "layer"."""
    steps: list[tuple[nn.Module, str, Any]] = []
    level = root
    while True:
        path = next(i for i in reversed(range(len(level.inside))) if _has(level.inside[i], layer))
        steps += [(node.module, "give", node.output) for node in level.inside[:path]]
        level = level.inside[path]
        if level.module is layer:
            return [*steps, (layer, "layer", None)]
        steps.append((level.module, "run", None))


def _has(node: _Call, layer: nn.Module) -> bool:
    return node.module is layer or node.holds

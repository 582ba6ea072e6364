"""One forward pass that is differentiable from chosen layers on, with no state on the modules.

A tapped layer keeps one permanent hook on the replica; what the hook does is told by a context variable of the
running call. So many threads share one replica, and nothing is left behind after an exception.
"""

import threading
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sightline.errors import LayerError
from sightline.layout import first_tensor, replace_first


@dataclass
class Tape:
    """What one forward pass saw at the layers it asked for; a layer that runs twice keeps its last output in `seen`."""

    replica: nn.Module
    layers: tuple[str, ...]
    watch: bool = False  # record only, without asking for gradients
    seen: dict[str, Tensor] = field(default_factory=dict)
    every: dict[str, list[Tensor]] = field(default_factory=dict)  # the outputs of all runs of a layer, in order


INPUT = "@input"
"""At the end of a layer's name: what goes into the layer, at its last call, instead of what comes out of it."""

_TAPE: ContextVar[Tape | None] = ContextVar("sightline_tape", default=None)
_LOCK = threading.Lock()


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module that a layer's name stands for, whether its output is meant or its input.

    Raises:
        AttributeError: There is none.
    """
    return model.get_submodule(name.removesuffix(INPUT))


class _Tap:
    """The hook: cuts the graph at the first tapped layer, and hands on a copy that later code may write to."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self._taken(module, output)

    def before(self, module: nn.Module, args: Any) -> Any:
        """The hook for a module's input."""
        return self._taken(module, args)

    def _taken(self, module: nn.Module, output: Any) -> Any:
        tape = _TAPE.get()
        if tape is None or self.name not in tape.layers or module_of(tape.replica, self.name) is not module:
            return None
        value = first_tensor(output)
        if value is None:
            what = "is called with no tensor by position" if self.name.endswith(INPUT) else "returns no tensor"
            raise LayerError(f"layer {self.name!r} {what}; choose another one (`sightline layers MODEL`)")
        if tape.watch:
            tape.seen[self.name] = value.detach().clone()
            return None
        tapped = value if value.requires_grad else value.detach().requires_grad_()
        tape.seen[self.name] = tapped
        tape.every.setdefault(self.name, []).append(tapped)
        return replace_first(output, value, tapped.clone())


def tap(replica: nn.Module, layers: Sequence[str]) -> None:
    """Put the permanent hooks on layers of a replica, once each.

    Raises:
        LayerError: There is no such layer; the text proposes near names.
    """
    for name in layers:
        try:
            module = module_of(replica, name)
        except AttributeError as reason:
            raise LayerError(unknown_layer(replica, name.removesuffix(INPUT))) from reason
        with _LOCK:
            if name.endswith(INPUT):
                owners = (getattr(hook, "__self__", None) for hook in module._forward_pre_hooks.values())
                if not any(isinstance(owner, _Tap) and owner.name == name for owner in owners):
                    module.register_forward_pre_hook(_Tap(name).before)
            elif not any(isinstance(hook, _Tap) and hook.name == name for hook in module._forward_hooks.values()):
                module.register_forward_hook(_Tap(name))


def unknown_layer(replica: nn.Module, name: str) -> str:
    """The message for a layer name that does not exist."""
    import difflib

    names = [n for n, _ in replica.named_modules() if n]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"layers are {', '.join(names[:4])}, ..."
    return f"there is no layer {name!r}; {hint} (`sightline layers MODEL` or classifier.layers() shows all)"


class taped:  # noqa: N801 - reads as a verb in `with taped(...)`
    """Context of one forward pass: `with taped(replica, layers) as tape: replica(x)`."""

    def __init__(self, replica: nn.Module, layers: Sequence[str], *, watch: bool = False) -> None:
        tap(replica, layers)
        self.tape = Tape(replica, tuple(layers), watch)

    def __enter__(self) -> Tape:
        self._token = _TAPE.set(self.tape)
        return self.tape

    def __exit__(self, *raised: object) -> None:
        _TAPE.reset(self._token)

"""Which layers can be explained, which one is taken by default, and what to say of one that cannot."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.capture import INPUT, module_of, taped
from sightline.errors import LayerError
from sightline.layout import Kind, Layout, first_tensor, hints, read_layout

if TYPE_CHECKING:
    from sightline.classifier import Classifier


@dataclass(frozen=True)
class LayerInfo:
    """A layer with a spatial map.

    Attributes:
        name: The module's name; layers of one and the same tensor are listed under the outermost name.
        module: The class of the module that made the tensor.
        layout: Reading of its output; None where two readings fit (then `note` says what to write).
        connected: Whether the outputs depend on the spatial positions of the map.
        default: Whether it is taken when no layer is named.
        note: What a user should know.
        aliases: Other layers that give the very same tensor.
    """

    name: str
    module: str
    layout: Layout | None
    connected: bool
    default: bool = False
    note: str = ""
    aliases: tuple[str, ...] = ()


@dataclass
class _Seen:
    """One tensor that passed by: its layers, and what must be known of it once it is gone."""

    names: list[str]
    modules: list[nn.Module]
    shape: tuple[int, ...]
    means: tuple[Tensor, ...]
    layout: Layout | None = None
    note: str = ""
    connected: bool = False


class _Survey:
    """Records the outputs of all modules of a replica, in the order they run, without keeping the tensors."""

    def __init__(self, twin: nn.Module, size: tuple[int, int]) -> None:
        self.found: list[_Seen] = []
        self.size, self.hints = size, hints(twin, size)
        self._recent: list[tuple[Tensor, _Seen]] = []  # strong references: an id could be given to another tensor

    def hook(self, name: str) -> Any:
        def seen(module: nn.Module, _: Any, output: Any) -> None:
            value = first_tensor(output)
            if value is None or value.ndim not in (3, 4) or not value.dtype.is_floating_point:
                return
            for tensor, entry in self._recent:
                if tensor is value:
                    if output is value:  # a structure may hold more that was made from the tensor
                        entry.names.append(name)
                        entry.modules.append(module)
                    return
            entry = self._read(name, module, value)
            self.found.append(entry)
            self._recent = [*self._recent[-3:], (value, entry)]

        return seen

    def _read(self, name: str, module: nn.Module, value: Tensor) -> _Seen:
        means = tuple(v.float().mean((2, 3)) for v in (value, value.relu())) if value.ndim == 4 else ()
        entry = _Seen([name], [module], tuple(value.shape), means)
        try:
            entry.layout = read_layout(value, module, self.size, name=name, **self.hints)
        except LayerError as reason:
            entry.note = str(reason)
        if entry.layout is not None and entry.layout.height * entry.layout.width < 2:
            entry.layout = None
        return entry


_TAIL = 48  # layers that are searched first for the default
_NOT_FEATURES = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Softmax, nn.Flatten)


def _pooling(module: nn.Module) -> bool:
    return "Pool" in type(module).__name__


def _score_map(entry: _Seen, outputs: Tensor) -> bool:
    """Whether a map already holds the class scores (a convolutional head): pooling it gives the outputs."""
    if entry.layout is None or entry.layout.kind != "nchw" or entry.shape[1] != outputs.shape[1]:
        return False
    if outputs.ndim == 4:
        return True
    return any(torch.allclose(mean, outputs, rtol=1e-3, atol=1e-4) for mean in entry.means)


def survey(classifier: "Classifier", size: tuple[int, int], *, last: int | None = None) -> tuple[LayerInfo, ...]:
    """Run one image of noise through a throw-away replica and list what could be explained.

    Args:
        classifier: Whose layers.
        size: Height and width of the image.
        last: Look for gradients at so many of the last layers only, which takes little memory; None: at all.

    Raises:
        ModelError: The model fails on an image of this size.
    """
    twin = replica.replicate(classifier.twin(untouched=None))
    _wake(twin)
    seen = _Survey(twin, size)
    handles = [m.register_forward_hook(seen.hook(n)) for n, m in twin.named_modules() if n]
    noise = torch.rand(1, classifier.channels, *size, generator=torch.Generator().manual_seed(0)).to(classifier.device)
    try:
        with torch.inference_mode(False), torch.no_grad():
            outputs = classifier.run(twin, noise)
    finally:
        for handle in handles:
            handle.remove()
    usable = [e for e in seen.found if e.layout is not None or e.note]
    _connect(classifier, twin, noise, usable[-last:] if last else usable)
    chosen = _choose(usable, outputs)
    return tuple(_info(entry, entry is chosen) for entry in usable)


def _wake(twin: nn.Module) -> None:
    """Give weights that are all zero (a head before training) random values, on the throw-away replica.

    What is connected to what does not depend on them; the gradient that shows it does.
    """
    draw = torch.Generator().manual_seed(2)
    for module in twin.modules():
        for name, weight in module._parameters.items():
            if weight is not None and weight.ndim > 1 and not bool(weight.any()):
                noise = torch.randn(weight.shape, generator=draw).to(weight)
                module._parameters[name] = nn.Parameter(noise, requires_grad=False)


def _connect(classifier: "Classifier", twin: nn.Module, noise: Tensor, entries: list[_Seen]) -> None:
    """Find out by one backward pass on which of these maps the outputs depend."""
    wanted = {e.names[0]: e for e in entries if e.layout is not None}
    with classifier.differentiable(), taped(twin, tuple(wanted)) as tape:
        outputs = classifier.run(twin, noise)
        if not outputs.requires_grad:
            return
        # A random mixture of all outputs, so that no single dead output hides a connection.
        mix = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1)).to(outputs)
        values = [tape.seen[name] for name in wanted]
        gradients = torch.autograd.grad((outputs * mix).sum(), values, allow_unused=True)
    for entry, gradient in zip(wanted.values(), gradients, strict=True):
        assert entry.layout is not None  # noqa: S101 - filtered above
        entry.connected = gradient is not None and bool(entry.layout.to_maps(gradient).any())


def _choose(usable: list[_Seen], outputs: Tensor) -> _Seen | None:
    fits = [
        entry
        for entry in usable
        if entry.layout is not None
        and entry.connected
        and not _pooling(entry.modules[0])
        and not isinstance(entry.modules[0], _NOT_FEATURES)
        and not _score_map(entry, outputs)
    ]
    # Among tokens a linear layer's output is a query, key or value: the residual stream's norm before it says more.
    features = [e for e in fits if not (isinstance(e.modules[0], nn.Linear) and e.layout and e.layout.kind == "tokens")]
    chosen = features or fits
    return chosen[-1] if chosen else None


def _name(entry: _Seen) -> str:
    return min(entry.names, key=lambda n: n.count("."))


def _info(entry: _Seen, default: bool) -> LayerInfo:
    note = entry.note
    if entry.layout is not None and not entry.connected:
        note = "no gradient reaches its positions"
    name = _name(entry)
    aliases = tuple(n for n in entry.names if n != name)
    return LayerInfo(name, type(entry.modules[0]).__name__, entry.layout, entry.connected, default, note, aliases)


def default_layer(classifier: "Classifier", size: tuple[int, int]) -> str:
    """The last layer that still has a spatial map on which the outputs depend.

    Raises:
        LayerError: There is none.
    """
    for last in (_TAIL, None):
        found = classifier.cached(("survey", size, last), partial(survey, classifier, size, last=last))
        for info in found:
            if info.default:
                return str(info.name)
    raise LayerError(
        f"{type(classifier.source).__name__} has no layer with a spatial map on which its outputs depend (for "
        f"images of {size}); "
        "name one with layer=, or use a method that needs no layer (family 'pixel')"
    )


def split_name(name: str) -> tuple[str, Kind | None]:
    """`features.3@nhwc` -> the layer and the reading asked for.

    `layer4.1.relu@input` (and `layer4.1.relu@input@nchw`) is what goes into the layer at its last call; `@input` stays
    with the layer's name.

    Raises:
        LayerError: An unknown reading.
    """
    layer, *suffixes = name.split("@")
    if suffixes[:1] == [INPUT.removeprefix("@")]:
        layer, suffixes = layer + INPUT, suffixes[1:]
    if not suffixes:
        return layer, None
    if len(suffixes) > 1 or suffixes[0] not in ("nchw", "nhwc", "tokens"):
        raise LayerError(f"cannot read {name!r}: after @ comes input, nchw, nhwc or tokens")
    return layer, suffixes[0]  # type: ignore[return-value]


def layout_of(classifier: "Classifier", name: str, kind: Kind | None, value: Tensor, size: tuple[int, int]) -> Layout:
    """The layout of a tapped layer's output.

    Raises:
        LayerError: It has no spatial map, or an ambiguous one.
    """
    module = module_of(classifier.twin(untouched=(name,)), name)
    key = ("layout", name, kind, tuple(value.shape[1:]), size)
    told = classifier.cached(("hints", size), partial(hints, classifier.source, size))
    layout = classifier.cached(key, lambda: read_layout(value, module, size, name=name, kind=kind, **told))
    if layout is None:
        raise LayerError(
            f"layer {name!r} gives {tuple(value.shape)}, which is no spatial map; "
            f"take {default_layer(classifier, size)!r} (`sightline layers MODEL` shows all)"
        )
    return layout  # type: ignore[no-any-return]


def disconnected(classifier: "Classifier", name: str, size: tuple[int, int]) -> LayerError:
    """The error for a layer whose positions the outputs do not depend on, with the layer to take instead."""
    return LayerError(
        f"no gradient reaches the positions of layer {name!r} (after the last block of a transformer only the "
        "class token is read): "
        f"take {default_layer(classifier, size)!r} instead"
    )

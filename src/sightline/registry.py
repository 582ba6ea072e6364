"""The registry: what a method is called, where it comes from, what it needs and what it costs.

One decorator in a method's own file fills it (`sightline.explainers.cam`, `sightline.explainers.explains`);
the shell, the table in the docs, the parametrised tests and the benchmark read it.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sightline.errors import MethodError

Polarity = Literal["positive", "absolute", "height"]
Fuse = Literal["mean", "max", "layer-cam"]
Bind = Callable[[Any, tuple[str, ...], dict[str, Any]], tuple[tuple[str, ...], dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method was published."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    venue: str | None = None

    def __str__(self) -> str:
        source = f"arXiv {self.arxiv}" if self.arxiv else self.venue
        return f"{self.authors} ({self.year}), {self.title}" + (f", {source}" if source else "")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A record of `sl.methods()`.

    Attributes:
        name: Kebab-case name of the paper.
        family: `cam`, `pixel`, `control`, ...
        paper: The source, or None for a control.
        summary: One sentence.
        cost: What it costs in words, in forward passes and backward passes of the tail.
        forwards: Full forward passes an image, with the default settings.
        needs: Any of `features` (activations of a layer), `gradients`, `layer` (may be asked about one); nothing
            means that a `BlackBox` will do.
        signed: Whether raw maps carry a sign.
        polarity: How heat maps read a raw map: its `positive` part, its `absolute` value, or its `height` above the
            lowest value, for maps whose zero means nothing.
        settings: Keyword settings with their defaults.
        function: The code.
        runner: How the function is called: `cam` for a pure function of A and G, `question` for a free form.
        fuse: How maps of several layers are fused unless the caller says otherwise.
        decisions: The kinds of decision it applies to; empty for all.
        unrecorded: Settings that do not change the maps, and so stand in no manifest.
        bind: Called with (classifier, layers, settings) when the method is bound; it refuses what does not fit and
            returns the layers and settings to use. For methods that bring weights of their own.
    """

    name: str
    family: str
    paper: Paper | None
    summary: str
    cost: str
    forwards: int
    needs: frozenset[str]
    signed: bool
    polarity: Polarity
    settings: Mapping[str, Any]
    function: Callable[..., Any]
    runner: Literal["cam", "question"]
    fuse: Fuse = "mean"
    decisions: frozenset[str] = frozenset()
    unrecorded: frozenset[str] = frozenset()
    bind: Bind | None = None


_METHODS: dict[str, Method] = {}


def add(method: Method) -> None:
    """Put a record into the registry.

    Raises:
        MethodError: Another function already has this name.
    """
    known = _METHODS.get(method.name)
    same = known is not None and (known.function.__module__, known.function.__qualname__) == (
        method.function.__module__,
        method.function.__qualname__,
    )
    if known is not None and not same:
        raise MethodError(
            f"the method name {method.name!r} is taken by {known.function.__module__}; choose another one"
        )
    _METHODS[method.name] = method


def keyword_settings(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function with their defaults: the settings of a method."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def find(name: str) -> Method:
    """Return the record of a method.

    Raises:
        MethodError: No method has this name; the text proposes the nearest ones.
    """
    if name in _METHODS:
        return _METHODS[name]
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), _METHODS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`sightline methods` lists them"
    raise MethodError(f"there is no method {name!r}; {hint}")


def everything() -> tuple[Method, ...]:
    """All records, by family and name."""
    order = ["cam", "pixel", "masking", "lrp", "learned", "control"]
    rank = {family: i for i, family in enumerate(order)}
    return tuple(sorted(_METHODS.values(), key=lambda m: (rank.get(m.family, len(order)), m.name)))


def check_settings(method: Method, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with the defaults of a method.

    Raises:
        MethodError: The method has no such setting.
    """
    unknown = [name for name in settings if name not in method.settings]
    if unknown:
        has = ", ".join(f"{k}={v!r}" for k, v in method.settings.items()) or "none"
        raise MethodError(f"{method.name} has no setting {unknown[0]!r}; it has: {has}")
    return {**method.settings, **settings}

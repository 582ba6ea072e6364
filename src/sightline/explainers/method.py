"""The two decorators that put a method into the registry, and the runner of pure CAM formulas."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline import registry
from sightline.conservation import Conservation
from sightline.errors import MethodError
from sightline.explainers.question import Question, broadcast_rows, stack_rows
from sightline.registry import Bind, Fuse, Method, Paper, Polarity

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Maps:
    """What a method returns: raw maps (N, h, w), each layer's own maps, its record, and an account of relevance."""

    maps: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    conservation: Conservation | None = None


def cam(
    name: str,
    *,
    paper: Paper | None,
    summary: str,
    signed: bool = True,
    fuse: Fuse = "mean",
    family: str = "cam",
) -> Callable[[Function], Function]:
    """Register a pure function of activations A (B, K, h, w) and, if it has that parameter, gradients G -> S (B, h, w).

    Keyword-only parameters are the method's settings. S is raw: no ReLU at the end, no rescaling.
    """

    def register(function: Function) -> Function:
        gradients = "G" in inspect.signature(function).parameters
        registry.add(
            Method(
                name=name,
                family=family,
                paper=paper,
                summary=summary,
                cost="1 forward + 1 backward of the tail" if gradients else "1 forward",
                forwards=1,
                needs=frozenset({"features", "gradients"} if gradients else {"features"}),
                signed=signed,
                polarity="positive",
                settings=registry.keyword_settings(function),
                function=function,
                runner="cam",
                fuse=fuse,
            )
        )
        return function

    return register


def explains(
    name: str,
    *,
    family: str,
    paper: Paper | None,
    summary: str,
    cost: str,
    forwards: int,
    needs: frozenset[str] | set[str] = frozenset(),
    signed: bool,
    polarity: Polarity = "positive",
    decisions: frozenset[str] | set[str] = frozenset(),
    bind: Bind | None = None,
) -> Callable[[Function], Function]:
    """Register a function of a `Question` that returns `Maps`; keyword-only parameters are its settings."""

    def register(function: Function) -> Function:
        registry.add(
            Method(
                name=name,
                family=family,
                paper=paper,
                summary=summary,
                cost=cost,
                forwards=forwards,
                needs=frozenset(needs),
                signed=signed,
                polarity=polarity,
                settings=registry.keyword_settings(function),
                function=function,
                runner="question",
                decisions=frozenset(decisions),
                bind=bind,
            )
        )
        return function

    return register


def run_cam(method: Method, question: Question, fuse: Fuse, settings: Mapping[str, Any]) -> Maps:
    """Run a pure CAM formula: one forward pass, one backward pass of the tail a round of targets."""
    names = question.layers
    with question.model.differentiable():
        run = question.model.forward(question.pixels, layers=names)
        question.resolve(run.outputs)
        layouts = {name: question.read(run, name, i) for i, name in enumerate(names)}
        A = {name: layouts[name].to_maps(run.seen[name].detach()).float() for name in names}  # (B, K, h, w)
        if "gradients" not in method.needs:
            found = {name: broadcast_rows(method.function(A[name], **settings), question.image) for name in names}
            return fused(found, fuse)
        turns: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
        for turn, gradients in question.gradients(run):
            whole = len(turn.images) == len(run.outputs)
            for name, gradient in zip(names, gradients, strict=True):
                question.check_tokens(name, layouts[name], gradient)
                G = layouts[name].to_maps(gradient).float()
                a, g = (A[name], G) if whole else (A[name][turn.images], G[turn.images])
                turns[name].append((turn.rows, method.function(a, g, **settings)))
    return fused({name: stack_rows(len(question.targets), turns[name]) for name in names}, fuse)


def fused(maps: Mapping[str, Tensor], fuse: Fuse) -> Maps:
    """Fuse the maps of several layers (shallow first) at the largest resolution; one layer's maps stay as they are.

    Each layer's map is divided by its largest absolute value first. `layer-cam` also puts the positive part of all
    but the last one through tanh(2 S) and takes the maximum (Jiang et al. 2021, section III-C).

    Raises:
        MethodError: An unknown way of fusing.
    """
    if fuse not in ("mean", "max", "layer-cam"):
        raise MethodError(f"fuse must be 'mean', 'max' or 'layer-cam', not {fuse!r}")
    if len(maps) == 1:
        return Maps(next(iter(maps.values())))
    size = max((tuple(S.shape[1:]) for S in maps.values()), key=lambda hw: hw[0] * hw[1])
    scaled = []
    for position, S in enumerate(maps.values()):
        top = S.abs().flatten(1).amax(1)[:, None, None]
        S = S / torch.where(top > 0, top, 1.0)
        if fuse == "layer-cam" and position < len(maps) - 1:
            S = torch.tanh(2 * S.relu())
        scaled.append(F.interpolate(S[:, None], size=size, mode="bilinear", align_corners=False)[:, 0])
    stack = torch.stack(scaled)
    return Maps(stack.mean(0) if fuse == "mean" else stack.amax(0), parts=dict(maps))

"""Activations and gradients for methods whose masks come from a layer."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sightline.explainers.masking import _anytime
from sightline.explainers.masking._engine import Engine, Reading
from sightline.explainers.masking._plan import Job, Plan
from sightline.explainers.method import Maps, fused
from sightline.explainers.question import Question, stack_rows


def activations(question: Question) -> dict[str, Tensor]:
    """A (B, K, h, w) of each layer, float32, without a graph; one forward pass, which also resolves the rows."""
    names = question.layers
    with question.model.differentiable():
        run = question.model.forward(question.pixels, layers=names)
        question.resolve(run.outputs)
        return {n: question.read(run, n, i).to_maps(run.seen[n].detach()).float() for i, n in enumerate(names)}


def with_gradients(question: Question, names: Sequence[str] | None = None) -> dict[str, tuple[Tensor, Tensor]]:
    """A (B, K, h, w) and the rows' gradients G (N, K, h, w) of each layer; one backward pass of the tail a round."""
    if names is not None:
        question = replace(question, named=tuple(names))
    names = question.layers
    found: dict[str, list[tuple[Tensor, Tensor]]] = {n: [] for n in names}
    with question.model.differentiable():
        run = question.model.forward(question.pixels, layers=names)
        layouts = {n: question.read(run, n, i) for i, n in enumerate(names)}
        for turn, gradients in question.gradients(run):
            for name, gradient in zip(names, gradients, strict=True):
                question.check_tokens(name, layouts[name], gradient)
                G = layouts[name].to_maps(gradient).float()
                found[name].append((turn.rows, G if len(turn.images) == len(G) else G[turn.images]))
        A = {n: layouts[n].to_maps(run.seen[n].detach()).float() for n in names}
    return {n: (A[n], stack_rows(len(question.targets), found[n])) for n in names}


def blocks(question: Question) -> tuple[str, ...]:
    """The layers that a method of several layers takes: those named, else the last map of each resolution.

    Shallow first, at least 4 x 4. What an activation function gives goes before anything else, for masks are made of
    what is active; then the outermost module counts. The default layer stands for its own resolution. A module that
    runs several times is left out. They become the question's layers.
    """
    if not question.named:
        best: dict[tuple[int, int], tuple[tuple[bool, int], str]] = {}
        found = question.model.layers(question.size)
        runs = Counter(info.name for info in found)
        for info in found:
            layout = info.layout
            usable = info.connected and runs[info.name] == 1 and not any(w in info.module for w in ("Pool", "Pad"))
            if layout is None or not usable or min(layout.height, layout.width) < 4:
                continue
            grid, active = (layout.height, layout.width), hasattr(torch.nn.modules.activation, info.module)
            rank = (not active, 0 if active else info.name.count("."))
            if info.default or grid not in best or rank <= best[grid][0]:
                best.pop(grid, None)
                best[grid] = rank, info.name
            if info.default:
                break
        question.named = tuple(name for _, name in best.values()) or question.layers
    return question.layers


def rows_of(question: Question, image: int) -> list[int]:
    """The rows that explain an image."""
    return (question.image == image).nonzero().flatten().tolist()


def maps_of(question: Question, jobs: Sequence[Job]) -> Tensor:
    """The rows' maps (N, h, w) from jobs that together hold every row once."""
    parts = [(torch.tensor(job.rows), job.plan.maps(_anytime.completed(job))) for job in jobs]
    return stack_rows(len(question.targets), parts)


def channelwise(
    question: Question,
    engine: Engine,
    plan: Callable[[Tensor, int], Plan],
    reading: Reading = "score",
    first: int | None = None,
) -> Maps:
    """Maps of plans made from each image's activations (K, h, w) and number, for all layers, fused."""
    A = activations(question)
    every = range(len(question.pixels))
    jobs = {
        name: [engine.job(b, rows_of(question, b), plan(A[name][b], b), first=first) for b in every]
        for name in question.layers
    }
    engine.run([job for found in jobs.values() for job in found], reading)
    return fused({name: maps_of(question, found) for name, found in jobs.items()}, question.fuse)

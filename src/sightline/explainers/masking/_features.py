"""Activations and gradients for methods whose masks come from a layer."""

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
    """The layers that a method of several layers takes: those named, else the last block of each resolution.

    Shallow first, at least 4 x 4; of modules inside each other the outermost counts, and the default layer stands for
    its own resolution. They become the question's layers.
    """
    if not question.named:
        best: dict[tuple[int, int], str] = {}
        default = next((i for i in question.model.layers(question.size) if i.default), None)
        for info in question.model.layers(question.size):
            layout = info.layout
            passing = "Pool" in info.module or "Pad" in info.module
            if layout is None or not info.connected or passing or min(layout.height, layout.width) < 4:
                continue
            grid = layout.height, layout.width
            if info is default or grid not in best or info.name.count(".") <= best[grid].count("."):
                best.pop(grid, None)
                best[grid] = info.name
            if info is default:
                break
        question.named = tuple(best.values()) or question.layers
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

"""Layer-wise relevance propagation."""

from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from torch import Tensor

from sightline import layers as layering
from sightline.errors import LayerError, MethodError
from sightline.explainers.lrp._answer import Forward, audit, balance, forward, relevance
from sightline.explainers.lrp._shares import Bias
from sightline.explainers.lrp.composites import Composite, composite_of
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question, Round, stack_rows
from sightline.registry import Paper


@explains(
    "lrp",
    family="lrp",
    paper=Paper(
        title="On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
        authors="Bach et al.",
        year=2015,
        venue="PLoS ONE 10(7), e0130140",
    ),
    summary="The score handed back layer by layer in shares, with an account of all that does not reach the pixels.",
    cost="1 forward and 1 backward pass with about 3 times the arithmetic of a forward pass",
    forwards=1,
    needs={"gradients", "layer"},
    signed=True,
    polarity="positive",
)
def lrp(
    question: Question,
    *,
    composite: str | Composite = "epsilon-plus-flat",
    bias: Bias = "keep",
    channels: str | None = None,
    account: bool = True,
    strict: bool = False,
) -> Maps:
    """S = sum over channels of R, where R_j = sum_k contribution_jk R_k / sum_j contribution_jk from the score down.

    Which contribution an operation follows is its rule, and which rule each operation follows is the composite
    (`sightline.explainers.lrp.rules`, `.composites`). Relevance starts as the score itself. With `layer=` the map
    stands at that layer's output instead of the pixels. `explanation.conservation` says for every operation what came
    in, what went on, and what biases and stabilisers took; a warning tells where more than 1 % of the score is lost in
    another way. Batch norms are folded by the structure of the network; the model itself is not touched. Everything is
    float32, also for a bfloat16 classifier. The authors of LRP state that it is patented.

    Args:
        question: What is asked.
        composite: A name (`epsilon`, `epsilon-plus`, `epsilon-plus-flat`, `epsilon-alpha2-beta1`,
            `epsilon-alpha2-beta1-flat`, `epsilon-gamma-box`, `montavon`, `excitation-backprop`, `attn-lrp`, `cp-lrp`),
            a text such as `first=flat,conv=gamma:0.1,dense=epsilon:0.01`, or a `Composite`.
        bias: Whether biases take their share (`keep`), or take part in no denominator (`zero`).
        channels: Only what flows through some channels of a layer, `LAYER:3` or `LAYER:3+7`: conditional relevance
            (Achtibat et al. 2022, arXiv 2206.03208). Over all channels of a layer the maps sum to that layer's whole.
        account: Keep the books.
        strict: Raise an error where the books do not balance.

    Returns:
        (N, H, W) at the pixels or (N, h, w) at a layer, signed.

    Raises:
        MethodError: Unknown composite, rule or setting.
        LayerError: A layer that relevance does not reach.
        ModelError: Operations without a rule (all of them are named), or books that do not balance with `strict`.
    """
    if bias not in get_args(Bias):
        raise MethodError(f"bias must be 'keep' or 'zero', not {bias!r}")
    if strict and not account:
        raise MethodError("strict=True checks the account; leave account=True")
    chosen = composite_of(composite)
    gate, picked = _channels(channels)
    books = account and not gate
    names = [layering.split_name(n)[0] for n in question.named]
    if len(names) > 1:
        raise MethodError("lrp explains one layer at a time, or the pixels; give one layer")
    with question.model.differentiable():
        taps = list(dict.fromkeys([*names, *([gate] if gate else [])]))
        run = forward(question, chosen, bias, taps, pixels=not names, account=books)
        there = run.seen[names[0]] if names else run.values
        parts, notes = [], []
        for turn, R, book in _conditional(run, there, gate, picked):
            parts.append((turn.rows, _map(question, run, names, R)[turn.images]))
            notes.append((turn, book))
    S = stack_rows(len(question.targets), parts)
    if not books:
        return Maps(S)
    told = balance(run, notes, S.sum((1, 2)))
    audit(told, strict=strict)
    record = {"bias_share": float(told.bias_share.abs().max()), "unexplained": float(told.unexplained_share.max())}
    return Maps(S, record=record, conservation=told)


def _map(question: Question, run: Forward, names: Sequence[str], R: Tensor) -> Tensor:
    """(B, h, w): the sum over channels."""
    if not names:
        return R.sum(1)
    layout = question.read(run, names[0], 0)
    return layout.to_maps(R).sum(1)


def _conditional(
    run: Forward, there: Tensor, gate: str, picked: Sequence[int]
) -> Iterator[tuple[Round, Tensor, dict[int, Tensor]]]:
    """Relevance where it is wanted; with a gate, only of some of its channels."""
    if not gate:
        for turn, (R,), book in relevance(run, [there]):
            yield turn, R, book
        return
    middle = run.seen[gate]
    for turn, (R,), book in relevance(run, [middle]):
        layout = layering.layout_of(run.question.model, gate, None, middle, run.question.size)
        axis = {"nchw": 1, "nhwc": 3, "tokens": 2}[layout.kind]
        if max(picked) >= R.shape[axis]:
            raise LayerError(f"layer {gate!r} has {R.shape[axis]} channels, so there is no channel {max(picked)}")
        mask = torch.zeros(R.shape[axis], dtype=R.dtype, device=R.device)
        mask[list(picked)] = 1
        R = R * mask.reshape([-1 if a == axis else 1 for a in range(R.ndim)])
        found = torch.autograd.grad(middle, there, R, retain_graph=True, allow_unused=True)[0]
        if found is None:
            raise LayerError(f"layer {gate!r} does not lie after the explained layer")
        yield turn, found, book


def _channels(text: str | None) -> tuple[str, tuple[int, ...]]:
    if text is None:
        return "", ()
    name, _, numbers = text.rpartition(":")
    if not name or not all(n.isdigit() for n in numbers.split("+")):
        raise MethodError(f"channels must read LAYER:3 or LAYER:3+7, not {text!r}")
    return name, tuple(map(int, numbers.split("+")))

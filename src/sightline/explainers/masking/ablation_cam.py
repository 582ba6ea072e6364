"""Ablation-CAM."""

import torch
from torch import Tensor

from sightline import target as targets
from sightline.explainers.masking._affine import affine_scores, is_affine
from sightline.explainers.masking._tail import Tail
from sightline.explainers.method import Maps, explains, fused
from sightline.explainers.question import Question
from sightline.registry import Paper


def falls(question: Question, tail: Tail) -> Tensor:
    """(N, K) how much each row's score falls when a channel is set to 0."""
    if affine_scores(question.targets) and is_affine(tail):
        return _closed_form(question, tail)
    out = torch.empty(len(question.targets), tail.A.shape[1], device=tail.A.device)
    for b in range(len(question.pixels)):
        rows = (question.image == b).nonzero().flatten().tolist()
        if not rows:
            continue
        A = tail.A[b]

        def without(index: Tensor, A: Tensor = A) -> Tensor:
            altered = A.expand(len(index), *A.shape).clone()
            altered[torch.arange(len(index)), index] = 0
            return altered

        outputs = tail.chunked(len(A), without, b)  # (K, C, ...)
        for row in rows:
            mine = [question.targets[row]]
            out[row] = targets.scores(mine, tail.outputs[b : b + 1]) - targets.scores(mine * len(outputs), outputs)
    return out


def _closed_form(question: Question, tail: Tail) -> Tensor:
    """Of an affine tail: score(A) - score(A without A_k) = sum_ij dscore/dA_k(i,j) A_k(i,j)."""
    with torch.enable_grad():
        A = tail.A[question.image].detach().requires_grad_()
        score = targets.scores(question.targets, tail(A, question.image))
        (G,) = torch.autograd.grad(score.sum(), A)
    return (G * A.detach()).sum((2, 3))


@explains(
    "ablation-cam",
    family="masking",
    paper=Paper(
        title="Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        authors="Desai and Ramaswamy",
        year=2020,
        venue="WACV 2020",
    ),
    summary="Weighs each channel by how much the score falls without it; only the tail of the model is run again.",
    cost="1 forward + 1 tail for each channel (1 backward of the tail in all where it is affine)",
    forwards=1,
    needs={"features"},
    signed=True,
)
def ablation_cam(question: Question, *, divide: bool = False) -> Maps:
    """S = sum_k w_k A_k with w_k = score - score with A_k set to 0.

    Args:
        question: What is asked.
        divide: Divide by the score, as the paper does. That map is blind to the direction of a decision (the same for
            the score and its negative), explodes near 0 and depends on a constant added to the logit.

    Returns:
        (N, h, w), signed; odd in the sign of an attribute unless divided.
    """
    maps = {}
    for position, name in enumerate(question.layers):
        tail = Tail(question, name, position)
        question.resolve(tail.outputs)
        w = falls(question, tail)
        if divide:
            score = targets.scores(question.targets, tail.outputs[question.image])[:, None]
            w = w / torch.where(score == 0, torch.finfo(score.dtype).tiny, score)
        maps[name] = torch.einsum("nk,nkhw->nhw", w, tail.A[question.image])
    return fused(maps, question.fuse)

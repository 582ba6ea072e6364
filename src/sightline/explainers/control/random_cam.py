"""The Random-CAM control."""

import torch
from torch import Tensor

from sightline.explainers.method import Maps, explains, fused
from sightline.explainers.question import Question, broadcast_rows, generator_for


@explains(
    "random-cam",
    family="control",
    paper=None,
    summary="Random weights on the real activations: how much the activations alone localise.",
    cost="1 forward",
    forwards=1,
    needs={"features"},
    signed=True,
)
def random_cam(question: Question) -> Maps:
    """S = sum_k w_k A_k with w_k drawn from U(-1, 1).

    The draw depends on the seed and on the image's content alone: an image gets the same weights in any batch, and
    for any target.

    Returns:
        (N, h, w), signed.
    """
    names, model = question.layers, question.model
    maps: dict[str, Tensor] = {}
    with model.differentiable():
        run = model.forward(question.pixels, layers=names)
        question.resolve(run.outputs)
        for i, name in enumerate(names):
            A = question.read(run, name, i).to_maps(run.seen[name].detach()).float()  # (B, K, h, w)
            draws = [torch.rand(A.shape[1], generator=generator_for(x, question.seed)) for x in question.pixels]
            w = (2 * torch.stack(draws) - 1).to(A)  # (B, K)
            maps[name] = broadcast_rows(torch.einsum("bk,bkhw->bhw", w, A), question.image)
    return fused(maps, question.fuse)

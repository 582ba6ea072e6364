"""Relevance-CAM."""

import torch

from sightline.explainers.lrp._answer import forward, relevance
from sightline.explainers.lrp.composites import Composite, composite_of
from sightline.explainers.method import Maps, explains, fused
from sightline.explainers.question import Question, stack_rows
from sightline.registry import Paper


@explains(
    "relevance-cam",
    family="lrp",
    paper=Paper(
        title="Relevance-CAM: Your Model Already Knows Where to Look",
        authors="Lee et al.",
        year=2021,
        venue="CVPR 2021",
    ),
    summary="Activations weighted by their channels' mean relevance; also good on shallow layers.",
    cost="1 forward and 1 backward pass of the tail with about 3 times the arithmetic of a forward pass",
    forwards=1,
    needs={"features", "gradients"},
    signed=True,
)
def relevance_cam(
    question: Question, *, composite: str | Composite = "conv=z-plus,dense=z-plus", contrast: bool = True
) -> Maps:
    """S = sum_k a_k A_k, a_k = mean over cells of R_k (section 3.2), R by z-plus from the scores to the layer.

    With `contrast` relevance starts as y_c at the explained output and -y_c / (n - 1) at the n - 1 others, so that
    what all classes share cancels (contrastive LRP, Gu et al. 2018, arXiv 1812.02100).

    Args:
        question: What is asked.
        composite: See `lrp`.
        contrast: Whether the other outputs start with negative relevance; a single output has no others.

    Returns:
        (N, h, w), signed.

    Raises:
        LayerError: A layer that relevance does not reach.
        ModelError: Operations without a rule.
    """
    names = question.layers
    turns: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in names}
    with question.model.differentiable():
        run = forward(question, composite_of(composite), "keep", names, pixels=False, account=False)
        layouts = [question.read(run, name, i) for i, name in enumerate(names)]
        for turn, found, _ in relevance(run, [run.seen[n] for n in names], contrast=contrast):
            for name, layout, R in zip(names, layouts, found, strict=True):
                question.check_tokens(name, layout, R)
                A, r = layout.to_maps(run.seen[name].detach()).float(), layout.to_maps(R).float()
                a = r.mean((2, 3), keepdim=True)  # (B, K, 1, 1)
                turns[name].append((turn.rows, (a * A).sum(1)[turn.images]))
    return fused({name: stack_rows(len(question.targets), parts) for name, parts in turns.items()}, question.fuse)

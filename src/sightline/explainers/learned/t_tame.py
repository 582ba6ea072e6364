"""T-TAME."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "t-tame",
    family="learned",
    paper=Paper(
        title="T-TAME: Trainable Attention Mechanism for Explaining Convolutional Networks and Vision Transformers",
        authors="Ntrougkas, Gkalelis and Mezaris",
        year=2024,
        arxiv="2403.04523",
        venue="IEEE Access 2024",
    ),
    summary="TAME for convolutional networks and vision transformers alike.",
    cost="1 forward, after training",
    forwards=1,
    needs={"features"},
    signed=True,
    polarity="height",
    bind=binding("t-tame"),
)
def t_tame(question: Question, *, weights: Any = None) -> Maps:
    """c^(y) as for `tame`, where A_l may be patch tokens (n, C) put back on their grid (C, h, w).

    The class token and registers are left out. A layer is read as every method here reads it: channels first, channels
    last (Swin), or tokens; `layer="name@tokens"` settles it in training. The authors mask the image before
    normalisation for convolutional networks and after it for transformers; the manifest's `mask_space` says which.

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.

    Returns:
        (N, h, w), signed; zero means nothing but a mask of 1/2.

    Raises:
        MethodError: No weights, those of another method, classifier or layers, or a target that no channel explains.
    """
    return learned_maps(question, weights)

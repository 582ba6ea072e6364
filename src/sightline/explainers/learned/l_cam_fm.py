"""L-CAM-Fm."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "l-cam-fm",
    family="learned",
    paper=Paper(
        title="Learning Visual Explanations for DCNN-Based Image Classifiers Using an Attention Mechanism",
        authors="Gkartzonika, Gkalelis and Mezaris",
        year=2022,
        arxiv="2209.11189",
        venue="ECCV workshops 2022",
    ),
    summary="A trained 1 x 1 convolution of one layer; in training its map masked that layer's features.",
    cost="1 forward, after training",
    forwards=1,
    needs={"features"},
    signed=True,
    polarity="height",
    bind=binding("l-cam-fm"),
)
def l_cam_fm(question: Question, *, weights: Any = None) -> Maps:
    """c^(y) = sum_p W[y, p] A_p + b_y; A (P, h, w) is the output of the layer of the training.

    In training a^(y) = sigmoid(c^(y)) multiplied every channel of A before the rest of the frozen network ran; the
    loss asked for the same decision from a small, smooth a. Heat maps are c^(y) min-max scaled, in which b_y cancels.

    A yes-or-no output has two channels, one a side, or one that is read with the target's sign, as the weights were
    trained (`directions`). A `Contrast(a, b)` is c^(a) - c^(b).

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.

    Returns:
        (N, h, w), signed; zero means nothing but a = 1/2.

    Raises:
        MethodError: No weights, those of another method, classifier or layer, or a target that no channel explains.
    """
    return learned_maps(question, weights)

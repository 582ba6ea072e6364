"""L-CAM-Img."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "l-cam-img",
    family="learned",
    paper=Paper(
        title="Learning Visual Explanations for DCNN-Based Image Classifiers Using an Attention Mechanism",
        authors="Gkartzonika, Gkalelis and Mezaris",
        year=2022,
        arxiv="2209.11189",
        venue="ECCV workshops 2022",
    ),
    summary="A trained 1 x 1 convolution of one layer; in training its map masked the image.",
    cost="1 forward, after training",
    forwards=1,
    needs={"features"},
    signed=True,
    polarity="height",
    bind=binding("l-cam-img"),
)
def l_cam_img(question: Question, *, weights: Any = None) -> Maps:
    """c^(y) = sum_p W[y, p] A_p + b_y, as for `l-cam-fm`; what differs is the training.

    There sigmoid(c^(y)), upsampled bilinearly, multiplied the image in [0, 1] before normalisation, and the whole
    frozen network ran on it: masked means black.

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.

    Returns:
        (N, h, w), signed; zero means nothing but a mask of 1/2.

    Raises:
        MethodError: No weights, those of another method, classifier or layer, or a target that no channel explains.
    """
    return learned_maps(question, weights)

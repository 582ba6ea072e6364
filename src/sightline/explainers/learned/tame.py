"""TAME."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "tame",
    family="learned",
    paper=Paper(
        title="TAME: Attention Mechanism Based Feature Fusion for Generating Explanation Maps of Convolutional Neural "
        "Networks",
        authors="Ntrougkas, Gkalelis and Mezaris",
        year=2022,
        arxiv="2301.07407",
        venue="ISM 2022",
    ),
    summary="A trained fusion of several layers, at the first one's resolution; in training its map masked the image.",
    cost="1 forward, after training",
    forwards=1,
    needs={"features"},
    signed=True,
    polarity="height",
    bind=binding("tame"),
)
def tame(question: Question, *, weights: Any = None) -> Maps:
    """c^(y) = W[y] [up(F_1), up(F_2), ...] + b_y, F_l = ReLU(BN(conv_1x1(A_l)) + A_l).

    A_l (C_l, h_l, w_l) are the outputs of the layers of the training, shallow first; conv_1x1 keeps the number of
    channels; up is bilinear, to the first layer's size (56 at most). It is computed as sum_l up(W_l[y] F_l) + b_y, the
    same by linearity. In training sigmoid(c^(y)) masked the image as in `l-cam-img`.

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.

    Returns:
        (N, h, w), signed; zero means nothing but a mask of 1/2.

    Raises:
        MethodError: No weights, those of another method, classifier or layers, or a target that no channel explains.
    """
    return learned_maps(question, weights)

"""The learned-constant control."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question


@explains(
    "learned-constant",
    family="learned",
    paper=None,
    summary="Trained as L-CAM-Img is, but the same for every image: what the data set alone gives away.",
    cost="1 forward for the decision, after training",
    forwards=1,
    signed=True,
    polarity="height",
    bind=binding("constant", "learned-constant"),
)
def learned_constant(question: Question, *, weights: Any = None) -> Maps:
    """c^(y)_ij, a parameter for every output and position, whatever the image: attention with nothing but a bias.

    What `l-cam-img` scores above it, it owes to looking at the image.

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.

    Returns:
        (N, h, w), signed; zero means nothing but a mask of 1/2.

    Raises:
        MethodError: No weights, those of another method or classifier, or a target that no channel explains.
    """
    return learned_maps(question, weights)

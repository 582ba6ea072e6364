"""LIME."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._superpixels import superpixel_maps
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper

_KERNEL_WIDTH = 0.25  # of the authors' image explainer, on the cosine distance


def _sampler(attr: Any, score: Callable[[Tensor], Tensor]) -> Any:
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr._core.lime import get_exp_kernel_similarity_function

    near = get_exp_kernel_similarity_function("cosine", kernel_width=_KERNEL_WIDTH)
    return attr.Lime(score, interpretable_model=SkLearnRidge(alpha=1.0), similarity_func=near)


@masked(
    "lime",
    paper=Paper(
        title='"Why Should I Trust You?": Explaining the Predictions of Any Classifier',
        authors="Ribeiro, Singh and Guestrin",
        year=2016,
        arxiv="1602.04938",
        venue="KDD 2016",
    ),
    summary="Weights of superpixels in a local linear model of the score, through captum; works for any black box.",
    cost="1000 masked forwards, for all targets of an image together",
    forwards=1000,
    signed=True,
    options={"fill": "mean"},
)
def lime(question: Question, engine: Engine, *, segments: int = 50, samples: int = 1000) -> Maps:
    """S = weight of the superpixel at each pixel in a ridge regression of the score on which superpixels are shown.

    Samples are weighted by exp(-d^2 / 0.25^2) of the cosine distance d to the whole image; the penalty is 1, as in the
    authors' image explainer. Needs the extra `captum`.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        segments: About how many superpixels, at least 2.
        samples: Sets of superpixels drawn, at least 2.

    Returns:
        (N, H, W), signed; constant on a superpixel.

    Raises:
        MissingExtraError: captum is not installed.
        MethodError: `segments` or `samples` out of range.
    """
    return superpixel_maps(question, engine, segments, samples, _sampler)

"""KernelSHAP."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._superpixels import superpixel_maps
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


def _sampler(attr: Any, score: Callable[[Tensor], Tensor]) -> Any:
    return attr.KernelShap(score)


@masked(
    "kernel-shap",
    paper=Paper(
        title="A Unified Approach to Interpreting Model Predictions",
        authors="Lundberg and Lee",
        year=2017,
        arxiv="1705.07874",
        venue="NeurIPS 2017",
    ),
    summary="Shapley values of superpixels by weighted regression, through captum; works for any black box.",
    cost="1000 masked forwards, for all targets of an image together",
    forwards=1000,
    signed=True,
    options={"fill": "mean"},
)
def kernel_shap(question: Question, engine: Engine, *, segments: int = 50, samples: int = 1000) -> Maps:
    """S = phi of the superpixel at each pixel; phi solves the regression weighted by the Shapley kernel.

    The contributions of an image's superpixels add up to score(x) - score(fill) up to sampling. Needs the extra
    `captum`.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        segments: About how many superpixels, at least 2.
        samples: Coalitions drawn, at least 2; more than superpixels, or the regression is not determined.

    Returns:
        (N, H, W), signed; constant on a superpixel.

    Raises:
        MissingExtraError: captum is not installed.
        MethodError: `segments` or `samples` out of range.
    """
    return superpixel_maps(question, engine, segments, samples, _sampler)

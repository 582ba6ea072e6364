"""SISE."""

from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._sise import sise_maps
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


@masked(
    "sise",
    paper=Paper(
        title="Explaining Convolutional Neural Networks through Attribution-Based Input Sampling and Block-Wise "
        "Feature Aggregation",
        authors="Sattarzadeh et al.",
        year=2021,
        arxiv="2010.00672",
        venue="AAAI 2021",
    ),
    summary="Masks from channels with a positive gradient, in several layers, fused from shallow to deep: sharp maps.",
    cost="1 forward + 1 backward + 1 masked forward for each channel kept, in the last layer of each resolution",
    forwards=1000,
    needs={"features", "gradients"},
    signed=False,
)
def sise(question: Question, engine: Engine) -> Maps:
    """R <- (R + V_l) * Otsu(V_l) from shallow to deep, with V_l = sum_k p_c(x * M_k) M_k, M_k = mm(up(A_k)).

    Of each layer those channels take part whose mean gradient is above 0. V_l is brought to [0, 1] before it is added
    and thresholded. Layers: those named (shallow first), else the last one of each resolution.

    Returns:
        (N, H, W), never negative; each layer's V_l in `parts`.
    """
    return sise_maps(question, engine, lambda alpha: alpha > 0)

"""ADCC."""

import torch

from sightline.explainers.masking._options import Space
from sightline.metrics.composite._harmonic import Protocol, counted, harmonic
from sightline.metrics.composite.coherency import coherence
from sightline.metrics.faithfulness._soft import masked, odds_ratio
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "adcc",
    family="composite",
    paper=Paper(
        title="Revisiting The Evaluation of Class Activation Mapping for Explainability",
        authors="Poppi et al.",
        year=2021,
        arxiv="2104.10252",
    ),
    summary="Harmonic mean of coherency, simplicity, and the share of the probability that stays.",
    direction="up",
    range=(0, 1),
    cost="1 explanation + 1 forward pass, shared with coherency and average drop",
    forwards=2,
    needs={"explainer"},
)
def adcc(trial: Trial, *, space: Space = "pixels", protocol: Protocol = "strict") -> Values:
    """ADCC = 3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)), 0 where a part is 0.

    Papers print the ADCC of the three means over a data set; the mean of this figure over rows is never above it.
    The published code divides the drop by the largest probability, here it is the target's own.

    Args:
        trial: Rows.
        space: Where the mask multiplies: `pixels`, or the `normalised` tensor (the paper's).
        protocol: What an undefined coherency is. `strict`: 0 where the map itself is constant, so that an empty map
            never looks simple and good; else ADCC is undefined. `as-published`: always 0.

    Returns:
        (N,) in [0, 1], higher is better, and the parts Coh, 1 - Com, 1 - AD (N, 3).
    """
    o = trial.margin()
    drop = odds_ratio(masked(trial, 1.0, space), o).masked_fill(torch.isneginf(o), torch.nan)
    coh = counted(trial, coherence(trial, space), protocol).to(drop)
    simple = 1 - trial.heat().double().mean((1, 2)).to(drop)
    parts = torch.stack([coh, simple, 1 - drop], 1)
    found = harmonic(parts)
    return trial.values(found, undefined=found.isnan(), curve=parts)

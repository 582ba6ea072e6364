"""Coherency."""

import torch
from torch import Tensor

from sightline.classifier import BlackBox
from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics._similarity import pearson
from sightline.metrics.composite._harmonic import Protocol, check
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "coherency",
    family="composite",
    paper=Paper(
        title="Revisiting The Evaluation of Class Activation Mapping for Explainability",
        authors="Poppi et al.",
        year=2021,
        arxiv="2104.10252",
    ),
    summary="Whether the image multiplied by its map is explained as the image is.",
    direction="up",
    range=(0, 1),
    cost="1 explanation",
    forwards=1,
    needs={"explainer"},
)
def coherency(trial: Trial, *, space: Space = "pixels", protocol: Protocol = "strict") -> Values:
    """Coh = (Pearson(E(x), E(x * S)) + 1) / 2, E the heat map of the same target at the image's size.

    Args:
        trial: Rows.
        space: Where the mask multiplies: `pixels`, or the `normalised` tensor (ADCC), whose 0 is the mean colour.
        protocol: `strict`, or `as-published`, where an undefined correlation counts as 0.

    Returns:
        (N,) in [0, 1], higher is better; undefined where one of the maps is constant.
    """
    check(protocol)
    found = coherence(trial, space)
    if protocol == "as-published":
        return trial.values(found.nan_to_num(0.0))
    return trial.values(found, undefined=found.isnan())


def coherence(trial: Trial, space: Space) -> Tensor:
    """Coherency (N,) float64, NaN where a map is constant.

    Raises:
        MetricError: No explainer, or a black box and its normalised tensor.
    """

    def ask() -> Tensor:
        explainer = trial.explainer
        if explainer is None:
            raise MetricError("coherency: give explainer=, what made the maps: it explains again")
        x, S, energy = trial.session.pixels, trial.heat(), trial.explanation.energy()
        background, parts = _background(trial, space), []
        for rows in torch.split(torch.arange(len(trial), device=S.device), trial.session.asking.chunk):
            mask = S[rows][:, None].to(x)
            images = (x[trial.image[rows]] * mask + background * (1 - mask)).clamp(0, 1)
            again = explainer(images, [trial.targets[n] for n in rows.tolist()])
            heat = again.heatmaps(trial.session.size)
            r = pearson(S[rows].flatten(1).double(), heat.flatten(1).double())
            constant = _constant(energy[rows]) | _constant(again.energy())  # upsampling may round them apart
            parts.append(((r + 1) / 2).masked_fill(constant, torch.nan))
        return torch.cat(parts) if parts else S.new_zeros(0, dtype=torch.float64)

    return trial.once(("coherency", space), ask)


def _constant(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat.amax(1) == flat.amin(1)


def _background(trial: Trial, space: Space) -> Tensor | float:
    """What a mask of 0 leaves, in pixels: black, or the colour that normalises to 0."""
    classifier = trial.session.classifier
    if space == "pixels":
        return 0.0
    if space != "normalised":
        raise MetricError(f"space must be 'pixels' or 'normalised', not {space!r}")
    if isinstance(classifier, BlackBox):
        raise MetricError("a BlackBox has no normalised space; leave space= at 'pixels'")
    return 0.0 if classifier.mean is None else classifier.mean.to(trial.session.pixels)

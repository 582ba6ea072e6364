"""Energy-based pointing game."""

from sightline.metrics.localisation._region import area, region, senseless, share
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "energy-pointing-game",
    family="localisation",
    paper=Paper(
        title="Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        authors="Wang et al.",
        year=2020,
        arxiv="1910.01279",
    ),
    summary="How much of the heat lies on the object.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def energy_pointing_game(trial: Trial, *, corrected: bool = False) -> Values:
    """PE = sum_M S / sum S, also called proportional energy; S is min-max scaled at the method's resolution.

    The scaling matters: a constant offset, which raw maps of RISE have, spreads heat over all of the image.
    `relevance-mass` is the same without scaling.

    Args:
        trial: Rows.
        corrected: PE * (1 - a) with a the share of the image that M covers: large objects are easy to hit.

    Returns:
        (N,) in [0, 1], higher is better. Refused where M is empty or all of the image. An empty map has the value 0
        and the status `empty`: the mean over all rows is the published figure, the mean over `ok` rows is that of
        maps that say something, and the count of `empty` belongs to both. Chance is a, corrected a * (1 - a).
    """
    M = region(trial)
    value, a = share(trial.heat(), M), area(M)
    rest = 1 - a if corrected else 1.0
    return trial.values(value * rest, refused=senseless(M), chance=a * rest)

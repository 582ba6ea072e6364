"""Probability shift."""

import torch

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._altered import Noise, noisy
from sightline.metrics.robustness._distance import check_samples
from sightline.metrics.trial import Trial


@metric(
    "probability-shift",
    family="robustness",
    paper=None,
    summary="How far the answer itself goes under the noise of the sensitivities: the map may go as far.",
    direction="down",
    range=(0, 1),
    cost="1 forward pass a sample",
    forwards=lambda settings, _: int(settings["samples"]),
)
def probability_shift(
    trial: Trial, *, level: float = 0.02, samples: int = 10, noise: Noise = "uniform", space: Space = "pixels"
) -> Values:
    """The mean over d of |p(x + d) - p(x)|, p the target's probability, x + d cut off at 0 and 1.

    It speaks of the classifier, not of the map: all methods have the same value. With the settings of a sensitivity
    or of `noise-stability` it meets the same d.

    Args:
        trial: Rows.
        level: Largest value of uniform noise, or standard deviation of Gaussian noise.
        samples: How many d are drawn.
        noise: `uniform` or `gaussian`.
        space: Where `level` counts, `pixels` or `normalised`.

    Returns:
        (N,) in [0, 1]; the curve (N, samples) has each d's value.
    """
    check_samples(samples)
    p, found = trial.margin().sigmoid(), []
    for draw in range(samples):
        pixels = noisy(trial.session, draw, noise, level, space)
        m = trial.margins(1, lambda rows, _, x=pixels: x[trial.image[rows.to(x.device)]])[:, 0]  # type: ignore[misc]
        found.append((m.sigmoid() - p).abs())
    curve = torch.stack(found, 1)
    return trial.values(curve.mean(1), curve=curve)

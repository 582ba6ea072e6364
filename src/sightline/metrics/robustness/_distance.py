"""How far maps go when the image hardly changes; the sensitivities share their explanations."""

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics._again import explain_again
from sightline.metrics._similarity import Reading, Similarity, check, compare
from sightline.metrics.robustness._altered import Noise, noisy
from sightline.metrics.trial import Trial


def distances(trial: Trial, radius: float, samples: int, space: Space, scaled: bool) -> Tensor:
    """(N, samples) |E(x + d) - E(x)| / |E(x)|, infinite or NaN where E(x) is 0; see `max-sensitivity`."""
    check_samples(samples)

    def ask() -> Tensor:
        before = trial.explanation.maps.flatten(1).double()
        found = []
        for draw in range(samples):
            pixels = noisy(trial.session, draw, "uniform", radius, space)
            after = explain_again(trial, pixels=pixels).maps.flatten(1).double()
            a, b = (unit(before), unit(after)) if scaled else (before, after)
            found.append((b - a).norm(dim=1) / a.norm(dim=1))
        return torch.stack(found, 1)

    return trial.once(("distances", radius, samples, space, scaled), ask)


def unit(maps: Tensor) -> Tensor:
    """Rows (N, P) of length 1; a row of zeros stays."""
    maps = maps / maps.abs().amax(1, keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)  # squares do not vanish
    length = maps.norm(dim=1, keepdim=True)
    return maps / torch.where(length > 0, length, 1.0)


def agreements(
    trial: Trial, noise: Noise, level: float, samples: int, space: Space, similarity: Similarity, reading: Reading
) -> Tensor:
    """(N, samples) similarity of the maps of x and of x + d, NaN where it is 0/0."""
    check_samples(samples)
    check(similarity, reading)

    def ask() -> Tensor:
        found = []
        for draw in range(samples):
            again = explain_again(trial, pixels=noisy(trial.session, draw, noise, level, space))
            found.append(compare(trial.explanation, again, similarity, reading))
        return torch.stack(found, 1)

    return trial.once(("agreements", noise, level, samples, space, similarity, reading), ask)


def check_samples(samples: int) -> None:
    """Refuse what is no count.

    Raises:
        MetricError: Not a whole number from 1.
    """
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise MetricError(f"samples is how often noise is drawn, a whole number from 1, not {samples!r}")

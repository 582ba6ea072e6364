"""Maps before every mask was asked: the missing scores are predicted from the masks, and the error is estimated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.explainers.masking._plan import Job

_PENALTIES = (1e-2, 1e-1, 1.0, 10.0)
_MOST_POINTS = 1000
_DRAWS = 4


def completed(job: Job) -> Tensor:
    """(n, count) values: those known, the others predicted from the masks."""
    if job.complete:
        return job.values
    return _Prediction.of(job, job.known).values()


@dataclass
class _Prediction:
    """Values of the masks that were not asked, by kernel ridge regression on the masks' traits.

    Scores that a softmax over masks will weigh are predicted as weights exp(s), in which the map is linear: the
    exponential of a mean is not the mean of exponentials.
    """

    job: Job
    known: Tensor  # (count,)
    guess: Tensor  # (count, n) in the domain of the fit
    residuals: Tensor  # (m, n) leave-one-out
    top: Tensor | None  # (n,) subtracted before the exponential

    @classmethod
    def of(cls, job: Job, known: Tensor) -> "_Prediction":
        known = known.to(job.values.device)
        X = job.plan.traits(torch.arange(job.plan.count, device=known.device)).double()
        y = job.values.T.double()[known]
        top = y.amax(0) if job.plan.exponential else None
        guess, residuals = kernel_ridge(X[known], y if top is None else (y - top).exp(), X)
        return cls(job, known, guess, residuals, top)

    def values(self, noise: Tensor | float = 0.0) -> Tensor:
        """(n, count), with something added to what is only guessed."""
        guess = self.guess + noise
        if self.top is not None:
            guess = guess.clamp(min=1e-12).log() + self.top
        return torch.where(self.known, self.job.values, guess.T.to(self.job.values))


def kernel_ridge(X: Tensor, y: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Predict y (m, n) from X (m, d) at new points (M, d), and the leave-one-out residuals of the fit.

    A Gaussian kernel as wide as sqrt(2) times the median distance, around the mean; the penalty has the least
    leave-one-out error, in closed form. The mean alone where there are few points or they are all the same.
    """
    mean = y.mean(0)
    if len(X) > _MOST_POINTS:  # the cost grows with the third power: so many, evenly chosen
        some = torch.linspace(0, len(X) - 1, _MOST_POINTS, device=X.device).long()
        X, y = X[some], y[some]
    squared = torch.cdist(X, X).square()
    if len(X) < 4 or not bool((squared > 0).any()):
        return mean.expand(len(new), -1), y - mean
    width = 2 * squared[squared > 0].median()
    K, eye = torch.exp(-squared / width), torch.eye(len(X), dtype=X.dtype, device=X.device)
    best, weights, residuals = torch.full_like(mean, torch.inf), torch.zeros_like(y), y - mean
    for penalty in _PENALTIES:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(K + penalty * eye))
        alpha = inverse @ (y - mean)
        left_out = alpha / inverse.diagonal()[:, None]
        loss = left_out.square().mean(0)
        weights, residuals = torch.where(loss < best, alpha, weights), torch.where(loss < best, left_out, residuals)
        best = torch.minimum(loss, best)
    parts = new.split(4096)  # type: ignore[no-untyped-call]
    return torch.cat([mean + torch.exp(-torch.cdist(part, X).square() / width) @ weights for part in parts]), residuals


def error(job: Job) -> Tensor:
    """(n,) estimated relative error of the map so far against the full one: norm(S_now - S_full) / norm(S_full).

    Norms are taken after subtracting the map's mean. Two things may be wrong with what was predicted, and their
    squares add up: the fit (half the distance of two maps from two halves of what is known, times the share
    sqrt(1 - asked / all) that is still open) and what no fit can tell (maps with leave-one-out residuals drawn onto
    the guesses). 0 when every mask was asked; infinite when too few were.
    """
    rows = len(job.rows)
    if job.complete:
        return torch.zeros(rows)
    asked = job.order[job.known[job.order]]
    if len(asked) < 8:
        return torch.full((rows,), torch.inf)
    halves = []
    for part in (asked[::2], asked[1::2]):
        known = torch.zeros_like(job.known)
        known[part] = True
        halves.append(_centred(job.plan.maps(_Prediction.of(job, known).values())))
    fit = (halves[0] - halves[1]).square().sum(1) / 4 * (1 - len(asked) / job.plan.count)
    prediction = _Prediction.of(job, job.known)
    now = _centred(job.plan.maps(prediction.values()))
    draw = torch.Generator().manual_seed(len(asked))
    rest = torch.zeros_like(fit)
    for _ in range(_DRAWS):
        which = torch.randint(len(prediction.residuals), (job.plan.count,), generator=draw)
        signs = torch.randint(2, (job.plan.count, 1), generator=draw) * 2 - 1
        noise = prediction.residuals[which.to(now.device)] * signs.to(now.device)
        rest += (_centred(job.plan.maps(prediction.values(noise))) - now).square().sum(1) / _DRAWS
    relative: Tensor = (fit + rest).sqrt() / now.norm(dim=1).clamp(min=1e-12)
    return relative.cpu()


def _centred(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat - flat.mean(1, keepdim=True)

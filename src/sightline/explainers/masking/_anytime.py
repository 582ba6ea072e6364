"""Maps before every mask was asked: the missing scores are predicted from the masks, and the error is estimated."""

import torch
from torch import Tensor

from sightline.explainers.masking._plan import Job

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def completed(job: Job) -> Tensor:
    """(n, count) values: those known, the others predicted."""
    if job.complete:
        return job.values
    return _predicted(job, job.known)


def _predicted(job: Job, known: Tensor) -> Tensor:
    """Ridge regression of the values on the masks' traits; what is known stays as it is.

    The mean over all masks of a prediction plus residuals is what survey sampling calls the model-assisted
    estimator (Saerndal, Swensson and Wretman 1992); residuals average to zero here, as the fit has a constant.
    """
    known = known.to(job.values.device)
    X = job.plan.traits(torch.arange(job.plan.count, device=known.device)).double()
    y = job.values.T.double()
    guess = ridge(X[known], y[known], X)
    return torch.where(known, job.values, guess.T.to(job.values))


def ridge(X: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Predict y (m, n) from X (m, d) at new points (M, d), the penalty chosen by leave-one-out error."""
    centre, spread = X.mean(0), X.std(0, unbiased=False)
    keep = spread > 1e-9
    mean = y.mean(0)
    if len(X) < 4 or not bool(keep.any()):
        return mean.expand(len(new), -1)
    Z, at = (X[:, keep] - centre[keep]) / spread[keep], (new[:, keep] - centre[keep]) / spread[keep]
    U, s, V = torch.linalg.svd(Z, full_matrices=False)
    target, best, chosen = U.T @ (y - mean), None, None
    for penalty in _PENALTIES:
        shrink = s**2 / (s**2 + penalty * len(X))
        leverage = ((U**2) @ shrink + 1 / len(X)).clamp(max=0.999)
        loss = (((y - mean - U @ (shrink[:, None] * target)) / (1 - leverage)[:, None]) ** 2).mean(0)
        beta = V.T @ (shrink[:, None] / s.clamp(min=1e-12)[:, None] * target)
        if best is None or chosen is None:
            best, chosen = loss, beta
        else:
            better = loss < best
            best, chosen = torch.where(better, loss, best), torch.where(better, beta, chosen)
    assert chosen is not None  # noqa: S101 - there are penalties
    predicted: Tensor = mean + at @ chosen
    return predicted


def error(job: Job) -> Tensor:
    """(n,) estimated relative error of the map so far against the full one: norm(S_now - S_full) / norm(S_full).

    Norms are taken after subtracting the map's mean. Two maps are made from two halves of what is known; half their
    distance estimates the sampling error, and the share sqrt(1 - asked / all) of it is still to come. 0 when every
    mask was asked; infinite when too few were.
    """
    rows = len(job.values)
    if job.complete:
        return torch.zeros(rows)
    asked = job.order[job.known[job.order]]
    if len(asked) < 8:
        return torch.full((rows,), torch.inf)
    halves = []
    for part in (asked[::2], asked[1::2]):
        known = torch.zeros_like(job.known)
        known[part] = True
        halves.append(_centred(job.plan.maps(_predicted(job, known))))
    now = _centred(job.plan.maps(completed(job)))
    distance = (halves[0] - halves[1]).norm(dim=1) / 2
    share = (1 - len(asked) / job.plan.count) ** 0.5
    relative: Tensor = distance * share / now.norm(dim=1).clamp(min=1e-12)
    return relative.cpu()


def _centred(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat - flat.mean(1, keepdim=True)

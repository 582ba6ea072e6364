"""Weights that let training on unbalanced or selected data count as if the data were otherwise.

Per attribute, what an answer counts in the loss: `moon`, `per_attribute`, `effective_number`. Per image, what the image
counts: `from_shares` where strata and their shares in the population are known, `from_selection` where it is known how
each source of the data was selected.

An over-parameterised network that is trained to zero loss fits both answers whatever they weigh, and weights then
change little (Byrd & Lipton, 2019, arXiv 1812.03372); stop early, and look at the weighted and the unweighted loss on
validation data beside each other. Balanced data can still amplify the link between attributes (Wang et al., 2019,
arXiv 1811.08489).
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import InputError

_STEPS: Final = 200
_SMALL: Final = 1e-11  # of the gradient of D, whose entries are shares
_NOISE: Final = 0.2

Floats = NDArray[np.float64]


def counts(y: Tensor) -> tuple[Tensor, Tensor]:
    """How often each answer was given.

    Args:
        y: (N, A) bool, or whole numbers: 1 yes, 0 no, -1 unknown.

    Returns:
        (N-, N+), each (A,) float64.

    Raises:
        InputError: Another shape, or other values.
    """
    values = y.to(torch.int64) if y.dtype == torch.bool or not y.is_floating_point() else y
    if y.ndim != 2 or not bool(((values == 0) | (values == 1) | (values == -1)).all()):
        raise InputError(f"answers must be (N, A) with 1 for yes, 0 for no, -1 for unknown; got {tuple(y.shape)}")
    return (values == 0).sum(0).double(), (values == 1).sum(0).double()


def moon(y: Tensor, *, wanted: float | Tensor = 0.5) -> Tensor:
    """MOON's weights: the answer of which there is too much is weighed down (Rudd, Günther & Boult, arXiv 1603.07027).

    With S+, S- the shares of yes and no in y and T+, T- those that are wanted:

        p(+1) = 1 if T+ > S+ else (S- T+) / (S+ T-)
        p(-1) = 1 if T- > S- else (S+ T-) / (S- T+)

    With T+ = T- = 1/2 the rarer answer weighs 1, the other N_rare / N_common.

    Args:
        y: (N, A): 1 or True yes, 0 or False no, -1 unknown (not counted).
        wanted: T+ in (0, 1): one for all, or (A,).

    Returns:
        (2, A) float64 in (0, 1]: weight of no, weight of yes. An attribute with one answer only gets 1 for both.

    Raises:
        InputError: Answers or shares out of range.
    """
    no, yes = counts(y)
    T = torch.as_tensor(wanted, dtype=torch.float64).expand(len(yes))
    if bool(((T <= 0) | (T >= 1)).any()):
        raise InputError(f"wanted must be between 0 and 1, not {wanted}")
    one = torch.ones_like(yes)
    plus = torch.where(yes / (no + yes) < T, one, (no * T) / (yes * (1 - T)))
    minus = torch.where(no / (no + yes) < 1 - T, one, (yes * (1 - T)) / (no * T))
    return torch.where((no == 0) | (yes == 0), one, torch.stack([minus, plus]))


def per_attribute(y: Tensor, *, cap: float | None = None) -> Tensor:
    """Inverse frequency: w+ = N / (2 N+), w- = N / (2 N-), so that each answer carries half of the mass.

    The mean weight of an attribute is 1. What is rare gets large weights, 33 at 1.5 % yes, and with them noise: cap it.

    Args:
        y: As for `moon`.
        cap: The largest weight; the other answer keeps its own, so the mean falls below 1 where it bites.

    Returns:
        (2, A) float64: weight of no, weight of yes; 1 for both where only one answer occurs.

    Raises:
        InputError: Answers out of range, or a cap below 1.
    """
    if cap is not None and not cap >= 1:
        raise InputError(f"cap = {cap}; it must be at least 1, which is the weight of balanced answers")
    no, yes = counts(y)
    n = no + yes
    weights = torch.stack([n / (2 * no), n / (2 * yes)])
    weights = torch.where((no == 0) | (yes == 0), torch.ones_like(weights), weights)
    return weights if cap is None else weights.clamp(max=cap)


def effective_number(y: Tensor, *, beta: float = 0.999) -> Tensor:
    """Weights by the effective number of examples (Cui et al., 2019, arXiv 1901.05555): w = (1 - beta) / (1 - beta^n).

    Between no weights (beta 0) and inverse frequency (beta 1); the two of an attribute sum to 2, as published.

    Args:
        y: As for `moon`.
        beta: In [0, 1).

    Returns:
        (2, A) float64: weight of no, weight of yes; 1 for both where only one answer occurs.

    Raises:
        InputError: Answers or beta out of range.
    """
    if not 0 <= beta < 1:
        raise InputError(f"beta = {beta}; it must be at least 0 and less than 1")
    n = torch.stack(counts(y))
    b = torch.tensor(beta, dtype=torch.float64)
    w = (1 - b) / (1 - b**n)
    w = 2 * w / w.sum(0)
    return torch.where((n == 0).any(0), torch.ones_like(w), w)


def from_shares(strata: Sequence[Hashable], population: Mapping[Any, float]) -> Tensor:
    """Weights of images whose strata have known shares in the population: p_s / p'_s (Vogel et al., arXiv 2002.05145).

    Args:
        strata: One an image.
        population: The share of each stratum, summing to 1.

    Returns:
        (N,) float64 with mean 1.

    Raises:
        InputError: Shares that do not sum to 1, a stratum without a share, or one with a share but without images, for
            which no weight can stand in.
    """
    if not len(strata):
        raise InputError("there are no images to weigh")
    shares = {name: float(share) for name, share in population.items()}
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"shares must be 0 or more and sum to 1, not {sum(shares.values()):g}")
    found: dict[Hashable, int] = {}
    for name in strata:
        found[name] = found.get(name, 0) + 1
    strange = [name for name in found if name not in shares]
    if strange:
        raise InputError(f"the stratum {strange[0]!r} has no share; there are {', '.join(map(repr, shares))}")
    empty = [name for name, share in shares.items() if share > 0 and name not in found]
    if empty:
        raise InputError(
            f"no image is of the stratum {empty[0]!r}, which has a share of {shares[empty[0]]:g}: weights cannot stand "
            "in for what was never seen; collect some, or leave the stratum out and say so"
        )
    n = len(strata)
    return torch.tensor([shares[name] * n / found[name] for name in strata], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Selection:
    """Weights that undo a known selection.

    Attributes:
        weights: (n,) float64 with mean 1: what each image counts.
        masses: (K,) float64: W_k, up to one common factor: how much of the target each source's selection lets through.
        effective_share: (sum w)^2 / (n sum w^2) in (0, 1]: as many images, unweighted, would say as much.
        maximum: The largest weight.
        gradient: The largest entry of D's gradient at the solution.
        sensitivity: How far the weights move, as total variation in [0, 1], when every value of a biasing function is
            off by a random factor of about 20 %. Weights are only as right as the selection that was stated.
    """

    weights: Tensor
    masses: Tensor
    effective_share: float
    maximum: float
    gradient: float
    sensitivity: float

    def __str__(self) -> str:
        return (
            f"{len(self.weights):,} images weigh as {self.effective_share * len(self.weights):,.0f} would; the largest "
            f"weight is {self.maximum:.3g}; biasing functions wrong by 20 % would move {self.sensitivity:.1%} of it all"
        )


def from_selection(omega: Tensor, source: Tensor, *, support: Tensor | None = None, seed: int = 0) -> Selection:
    """Weights of images from several sources, each drawn from the target under a selection that is known.

    Source k was drawn with the biasing function w_k(z) >= 0: dP_k = w_k dP / W_k. With lambda_k = n_k / n,

        D(u) = 1/n sum_i log( sum_k e^{u_k} w_k(z_i) ) - sum_k lambda_k u_k       (convex; u_K = 0)
        W_k = lambda_k e^{-u_k} at its least
        weight_i proportional to 1 / sum_k lambda_k w_k(z_i) / W_k

    Vardi, 1985 (Annals of Statistics 13); Gill, Vardi & Wellner, 1988; Laforgue & Clémençon, 2019; Clémençon, Laforgue
    & Vogel, arXiv 2109.02357. Where the sources do not overlap, the least of D is arbitrary although a solver finds
    one: that is refused by a test of the graph k -> l where some image of source k has w_l > 0.

    Args:
        omega: (n, K): w_k(z_i) of every image under every source's selection; finite, 0 or more. Only ratios count.
        source: (n,) whole numbers from 0: which source an image comes from.
        support: (C, K): w_k at every value that z takes in the target; refused where one is let through by no source.
        seed: Of the noise for `sensitivity`.

    Raises:
        InputError: Shapes or values that do not fit, an image that its own source could not have drawn, a source
            without images, or sources that are not connected.
    """
    w, k = _checked(omega, source)
    if support is not None:
        _check_support(support, w.shape[1])
    _check_connected(w, k)
    weights, u, gradient = _solve(w, k)
    n = len(w)
    shares = np.bincount(k, minlength=w.shape[1]) / n
    # A cell of z is a row of omega: noise belongs to cells, not to images.
    cells, which = np.unique(w, axis=0, return_inverse=True)
    noise = np.exp(np.random.default_rng(seed).normal(0, _NOISE, cells.shape))
    moved, _, _ = _solve((cells * noise)[which.reshape(-1)], k)
    masses = shares * np.exp(-u) * w.max(0)  # `_solve` has every w_k at most 1
    return Selection(
        weights=torch.from_numpy(weights),
        masses=torch.from_numpy(masses / masses.max()),
        effective_share=float(weights.sum() ** 2 / (n * (weights**2).sum())),
        maximum=float(weights.max()),
        gradient=gradient,
        sensitivity=float(np.abs(moved - weights).sum() / (2 * n)),
    )


def _checked(omega: Tensor, source: Tensor) -> tuple[Floats, NDArray[np.int64]]:
    w, k = omega.detach().double().cpu().numpy(), source.detach().cpu().numpy()
    if w.ndim != 2 or not w.size or k.shape != w.shape[:1] or not np.issubdtype(k.dtype, np.integer):
        raise InputError(
            f"omega must be (n, K) and source (n,) whole numbers, not {tuple(w.shape)} and {tuple(k.shape)} {k.dtype}"
        )
    if not np.isfinite(w).all() or (w < 0).any():
        raise InputError("biasing functions must be finite and 0 or more")
    if k.min() < 0 or k.max() >= w.shape[1]:
        raise InputError(f"source must go from 0 to {w.shape[1] - 1}, as omega has columns; it goes to {k.max()}")
    missing = sorted(set(range(w.shape[1])) - set(k.tolist()))
    if missing:
        raise InputError(f"no image comes from source {missing[0]}; leave its column out of omega")
    own = w[np.arange(len(w)), k]
    if (own == 0).any():
        i = int(np.flatnonzero(own == 0)[0])
        raise InputError(f"image {i} comes from source {k[i]}, whose selection lets it never through (w = 0)")
    return w, k.astype(np.int64)


def _check_support(support: Tensor, sources: int) -> None:
    found = support.detach().double()
    if found.ndim != 2 or found.shape[1] != sources:
        raise InputError(f"support must be (C, {sources}), as omega has columns, not {tuple(found.shape)}")
    never = (found.sum(1) == 0).nonzero().flatten().tolist()
    if never:
        raise InputError(
            f"row {never[0]} of support: no source lets it through, so that no weights can stand in for it; collect "
            "images of it, or leave it out of the target and say so"
        )


def _check_connected(w: Floats, k: NDArray[np.int64]) -> None:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    sources = w.shape[1]
    graph = np.stack([(w[k == one] > 0).any(0) for one in range(sources)])
    parts, which = connected_components(csr_array(graph.astype(np.int8)), directed=True, connection="strong")
    if parts > 1:
        groups = [", ".join(str(i) for i in range(sources) if which[i] == part) for part in range(parts)]
        raise InputError(
            f"the sources fall into {parts} parts that do not overlap both ways ({' | '.join(groups)}): how much each "
            "part weighs cannot be known from the data, and a solver would return something arbitrary. Add a source "
            "that selects from both, or weigh by known shares (from_shares)"
        )


def _solve(w: Floats, k: NDArray[np.int64]) -> tuple[Floats, Floats, float]:
    """Newton's method on D with halved steps; returns weights (mean 1), u, and the largest entry of the gradient."""
    n, sources = w.shape
    w = w / w.max(0)  # scaling any w_k changes W_k alone
    shares = np.bincount(k, minlength=sources) / n

    def D(u: Floats) -> float:  # noqa: N802 - the paper's letter
        return float(np.log(w @ np.exp(u)).mean() - shares @ u)

    u = np.zeros(sources)
    for _ in range(_STEPS):
        p = w * np.exp(u)
        p /= p.sum(1, keepdims=True)
        g = p.mean(0) - shares
        if np.abs(g).max() < _SMALL:
            break
        H = np.diag(p.mean(0)) - p.T @ p / n
        step = np.zeros(sources)
        step[:-1] = np.linalg.lstsq(H[:-1, :-1], g[:-1], rcond=None)[0]  # the last one stays at 0
        now, t = D(u), 1.0
        while D(u - t * step) > now - 1e-4 * t * float(g @ step) and t > 1e-10:
            t /= 2
        u = u - t * step
    weights = 1 / (w @ np.exp(u))
    return weights * n / weights.sum(), u, float(np.abs(g).max())

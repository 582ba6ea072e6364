"""Weights for unbalanced and selected data, against constants and slow references."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sightline.errors import InputError
from sightline.training import weights
from sightline.training.attributes import objective_of


def answers(*columns: str) -> torch.Tensor:
    """`"++-?"` as a column: 1, 1, 0, -1."""
    return torch.tensor([[{"+": 1, "-": 0, "?": -1}[c] for c in column] for column in columns], dtype=torch.int8).T


def test_moon_is_the_formula_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(500, 6, generator=generator) < torch.tensor([0.02, 0.2, 0.5, 0.7, 0.98, 0.4])).to(torch.int8)
    y[torch.rand(500, 6, generator=generator) < 0.1] = -1
    for wanted in (0.5, 0.3, 0.9):
        found = weights.moon(y, wanted=wanted)
        for a in range(6):
            plus, minus = int((y[:, a] == 1).sum()), int((y[:, a] == 0).sum())
            S, T = plus / (plus + minus), wanted
            expected = (
                1.0 if 1 - T > 1 - S else (S * (1 - T)) / ((1 - S) * T),
                1.0 if T > S else ((1 - S) * T) / (S * (1 - T)),
            )
            assert found[:, a].tolist() == pytest.approx(expected, rel=1e-12)
            mass = found[1, a] * plus / (found[1, a] * plus + found[0, a] * minus)
            assert float(mass) == pytest.approx(wanted)  # what it is for: the wanted share of the weight is yes


def test_moon_gives_the_published_weight_of_bald() -> None:
    y = torch.zeros(1000, 1, dtype=torch.bool)
    y[:23] = True  # 2.3 %
    assert weights.moon(y)[:, 0].tolist() == pytest.approx([0.0235, 1.0], abs=1e-4)


def test_inverse_frequency_halves_the_mass_and_caps() -> None:
    y = answers("+---------", "+++++-----", "++++++++++", "+-????????")
    found = weights.per_attribute(y)
    assert found[:, 0].tolist() == pytest.approx([10 / 18, 10 / 2])
    assert found[:, 1].tolist() == [1, 1]
    assert found[:, 2].tolist() == [1, 1]  # one answer only
    assert found[:, 3].tolist() == [1, 1]  # unknown is not counted
    assert float(found[1, 0] * 1 + found[0, 0] * 9) / 10 == pytest.approx(1)
    assert weights.per_attribute(y, cap=2.0)[:, 0].tolist() == pytest.approx([10 / 18, 2])
    rare = torch.zeros(1000, 1, dtype=torch.bool)
    rare[:15] = True
    assert float(weights.per_attribute(rare)[1]) == pytest.approx(33.3, abs=0.1)
    with pytest.raises(InputError, match="at least 1"):
        weights.per_attribute(y, cap=0.5)


def test_effective_number_lies_between_no_weights_and_inverse_frequency() -> None:
    y = answers("+---------", "++++++++++")
    assert weights.effective_number(y, beta=0)[:, 0].tolist() == [1, 1]
    b = 0.9
    w = [(1 - b) / (1 - b**9), (1 - b) / (1 - b)]
    assert weights.effective_number(y, beta=b)[:, 0].tolist() == pytest.approx([2 * v / sum(w) for v in w])
    close = weights.effective_number(y, beta=1 - 1e-9)[:, 0]
    assert float(close[1] / close[0]) == pytest.approx(9, rel=1e-5)
    assert weights.effective_number(y)[:, 1].tolist() == [1, 1]
    with pytest.raises(InputError, match="beta"):
        weights.effective_number(y, beta=1)


def test_answers_that_are_none_are_refused() -> None:
    for wrong in (torch.tensor([[2]]), torch.tensor([1, 0]), torch.tensor([[0.5]])):
        with pytest.raises(InputError, match="1 for yes"):
            weights.moon(wrong)
    with pytest.raises(InputError, match="between 0 and 1"):
        weights.moon(answers("+-"), wanted=1.0)


def test_shares_bring_the_strata_to_the_population() -> None:
    strata = ["a"] * 6 + ["b"] * 3 + ["c"]
    found = weights.from_shares(strata, {"a": 0.2, "b": 0.3, "c": 0.5, "never": 0.0})
    assert float(found.mean()) == pytest.approx(1)
    assert [float(found[i]) for i in (0, 6, 9)] == pytest.approx([0.2 / 0.6, 0.3 / 0.3, 0.5 / 0.1])
    for population, text in (
        ({"a": 0.5, "b": 0.5}, "'c' has no share"),
        ({"a": 0.5, "b": 0.4, "c": 0.2}, "sum to 1"),
        ({"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.4}, "no image is of the stratum 'd'"),
    ):
        with pytest.raises(InputError, match=text):
            weights.from_shares(strata, population)


# Selection: four cells of z with known shares, three sources with known biasing functions.
TARGET = np.array([0.4, 0.3, 0.2, 0.1])
CELLS = np.array([[1.0, 0.2, 0.0], [0.5, 1.0, 0.1], [0.0, 0.4, 1.0], [0.1, 0.0, 2.0]])


def drawn(n: int, seed: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Cells of n images, their (n, K) omegas, and their sources, in shares 0.5, 0.3, 0.2."""
    chance = np.random.default_rng(seed)
    cells, source = [], []
    for k, share in enumerate((0.5, 0.3, 0.2)):
        p = TARGET * CELLS[:, k]
        cells.append(chance.choice(4, size=round(n * share), p=p / p.sum()))
        source += [k] * len(cells[-1])
    z = np.concatenate(cells)
    return z, torch.from_numpy(CELLS[z]), torch.tensor(source)


def shares_of(z: np.ndarray, w: torch.Tensor) -> np.ndarray:
    mass = np.bincount(z, weights=w.numpy(), minlength=4)
    return mass / mass.sum()


def test_selection_is_undone_better_with_more_images() -> None:
    off, naive = {}, {}
    for n in (300, 3_000, 30_000):
        found, plain = [], []
        for seed in range(5):
            z, omega, source = drawn(n, seed)
            found.append(np.abs(shares_of(z, weights.from_selection(omega, source).weights) - TARGET).sum())
            plain.append(np.abs(shares_of(z, torch.ones(n)) - TARGET).sum())
        off[n], naive[n] = np.mean(found), np.mean(plain)
    assert off[30_000] < 0.02 < off[300]
    assert off[30_000] < off[3_000] < off[300]
    assert naive[30_000] > 5 * off[30_000]  # without weights more images do not help


def test_selection_solves_the_likelihood() -> None:
    _, omega, source = drawn(600, 1)
    found = weights.from_selection(omega, source)
    w, k = omega.numpy(), source.numpy()
    shares = np.bincount(k) / len(k)

    def D(u2: np.ndarray) -> float:  # a plain loop; the last coordinate is fixed
        u = [*u2, 0.0]
        total = sum(math.log(sum(math.exp(u[j]) * row[j] for j in range(3))) for row in w)
        return total / len(w) - sum(s * v for s, v in zip(shares, u, strict=True))

    best = minimize(D, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000})
    u = np.array([*best.x, 0.0])
    masses = shares * np.exp(-u)
    slow = 1 / sum(shares[j] * w[:, j] / masses[j] for j in range(3))
    slow *= len(slow) / slow.sum()
    np.testing.assert_allclose(found.weights.numpy(), slow, rtol=1e-5)
    # W_k is the weighted share of what a selection lets through; and the gradient vanishes.
    np.testing.assert_allclose(found.masses, masses / masses.max(), rtol=1e-4)
    through = np.array([(found.weights.numpy() * w[:, j]).mean() for j in range(3)])
    np.testing.assert_allclose(through / through.max(), found.masses, rtol=1e-6)
    assert found.gradient < 1e-10
    assert found.maximum == pytest.approx(slow.max(), rel=1e-5)
    assert found.effective_share == pytest.approx(slow.sum() ** 2 / (600 * (slow**2).sum()), rel=1e-5)
    assert 0 < found.sensitivity < 0.5
    assert "20 %" in str(found)


def test_selection_in_cases_that_are_known() -> None:
    _, omega, source = drawn(400, 2)
    equal = weights.from_selection(torch.full((400, 3), 0.7), source)
    torch.testing.assert_close(equal.weights, torch.ones(400, dtype=torch.float64))
    assert equal.effective_share == pytest.approx(1)
    one = omega[source == 0][:, :1]
    found = weights.from_selection(one, torch.zeros(len(one), dtype=torch.int64)).weights
    torch.testing.assert_close(found, (1 / one[:, 0]) / (1 / one[:, 0]).mean())
    base = weights.from_selection(omega, source).weights
    scaled = weights.from_selection(omega * torch.tensor([1e-6, 1.0, 1e5]), source).weights
    torch.testing.assert_close(scaled, base, rtol=1e-9, atol=1e-12)
    assert torch.equal(weights.from_selection(omega, source).weights, base)
    first, other = (weights.from_selection(omega, source, seed=seed).sensitivity for seed in (0, 1))
    assert first == weights.from_selection(omega, source).sensitivity != other


def test_sources_that_do_not_overlap_are_refused() -> None:
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    with pytest.raises(InputError, match=r"2 parts .*\(0 \| 1\)|2 parts .*\(1 \| 0\)"):
        weights.from_selection(apart, torch.tensor([0, 0, 1, 1]))
    one_way = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    with pytest.raises(InputError, match="do not overlap both ways"):  # source 1 never shows what source 0 selects
        weights.from_selection(one_way, torch.tensor([0, 0, 1, 1]))
    both = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.5, 1.0], [0.0, 1.0]])
    assert weights.from_selection(both, torch.tensor([0, 0, 1, 1])).gradient < 1e-10


def test_selections_that_cannot_be_are_refused() -> None:
    fine, k = torch.ones(4, 2), torch.tensor([0, 0, 1, 1])
    cases = (
        (torch.ones(4), k, "omega must be"),
        (fine, k.float(), "whole numbers"),
        (-fine, k, "0 or more"),
        (fine * math.nan, k, "finite"),
        (fine, torch.tensor([0, 0, 2, 1]), "from 0 to 1"),
        (torch.ones(4, 3), k, "source 2"),
        (torch.tensor([[0.0, 1.0]] * 4), k, "image 0 comes from source 0"),
    )
    for omega, source, text in cases:
        with pytest.raises(InputError, match=text):
            weights.from_selection(omega, source)
    with pytest.raises(InputError, match="row 1 of support"):
        weights.from_selection(fine, k, support=torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(InputError, match="support must be"):
        weights.from_selection(fine, k, support=torch.ones(2, 3))


def slow_loss(kind: str, z: float, y: int, w: tuple[float, float], rate: float) -> tuple[float, float]:
    """(loss, unweighted loss) of one answer, in the letters of the papers."""
    s = 2 * y - 1
    plain = math.log1p(math.exp(-s * z))
    if kind == "moon-euclidean":
        return w[y] * (z - s) ** 2, (z - s) ** 2
    if kind == "focal":
        p = 1 / (1 + math.exp(-s * z))
        return -((1 - p) ** 2) * math.log(p), plain
    if kind == "logit-adjusted":
        return math.log1p(math.exp(-s * (z + math.log(rate / (1 - rate))))), plain
    return w[y] * plain, plain


@pytest.mark.parametrize(
    "kind", ["bce", "moon", "moon-euclidean", "inverse-frequency", "effective-number", "focal", "logit-adjusted"]
)
def test_losses_are_the_formulas(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    y = answers("+--------", "++++++---", "?+-+-+--?")
    z = torch.randn(9, 3, generator=generator, requires_grad=True)
    images = torch.rand(9, generator=generator)
    objective = objective_of(kind, y)  # type: ignore[arg-type]
    found, unweighted = objective(z, y, images)
    total = plain = count = 0.0
    for a, column in enumerate(y.T.tolist()):
        plus, minus = column.count(1), column.count(0)
        n = plus + minus
        least = min(plus, minus)
        effective = [(1 - 0.999) / (1 - 0.999**m) for m in (minus, plus)]
        w = {
            "moon": (least / minus, least / plus),
            "moon-euclidean": (least / minus, least / plus),
            "inverse-frequency": (n / 2 / minus, n / 2 / plus),
            "effective-number": tuple(2 * v / sum(effective) for v in effective),
        }.get(kind, (1.0, 1.0))
        for i, answer in enumerate(column):
            if answer >= 0:
                one, bare = slow_loss(kind, float(z[i, a].detach()), answer, w, plus / n)  # type: ignore[arg-type]
                total, plain, count = total + one * float(images[i]), plain + bare, count + 1
    assert float(found.detach()) == pytest.approx(total / count, rel=1e-5)
    assert float(unweighted) == pytest.approx(plain / count, rel=1e-5)
    assert not unweighted.requires_grad
    found.backward()
    assert z.grad is not None
    assert bool((z.grad[y < 0] == 0).all())  # what is unknown teaches nothing


def test_focal_without_gamma_is_cross_entropy_and_extremes_stay_finite() -> None:
    y, z = answers("+-", "-+"), torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).T.clone()
    z.requires_grad_()
    plain = objective_of("bce", y)(z, y)[0]
    assert float(objective_of("focal", y, gamma=0.0)(z, y)[0].detach()) == pytest.approx(float(plain.detach()))
    loss = objective_of("focal", y)(z * -1, y)[0]
    loss.backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())

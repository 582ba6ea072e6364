"""The permutation test of two matrices of pairs against slow references and known answers."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, spearmanr

from sightline.errors import InputError
from sightline.studies.statistics.mantel import mantel


def _symmetric(n, seed, holes=0):
    draw = np.random.default_rng(seed)
    m = draw.normal(size=(n, n))
    m = (m + m.T) / 2
    for i, j in draw.permutation(list(itertools.combinations(range(n), 2)))[:holes]:
        m[i, j] = m[j, i] = np.nan
    return m


def _slow(a, b, order):
    x, y = [], []
    for i, j in itertools.combinations(range(len(a)), 2):
        u, v = a[i, j], b[order[i], order[j]]
        if not np.isnan(u) and not np.isnan(v):
            x.append(u)
            y.append(v)
    return spearmanr(x, y).statistic


@pytest.mark.parametrize(("holes_a", "holes_b"), [(0, 0), (2, 0), (0, 2), (1, 1)])
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_all_relabellings_of_few_items(holes_a, holes_b, alternative):
    a, b = _symmetric(5, 1, holes_a), _symmetric(5, 2, holes_b)
    b = b + 0.4 * np.nan_to_num(a)
    found = mantel(a, b, alternative=alternative)
    all_of_them = [_slow(a, b, order) for order in itertools.permutations(range(5))]
    rho = _slow(a, b, range(5))
    size = abs if alternative == "two-sided" else float
    expected = np.mean([size(r) >= size(rho) - 1e-12 for r in all_of_them])
    assert found.exact
    assert found.permutations == 120
    assert found.rho == pytest.approx(rho, abs=1e-12)
    assert found.p == pytest.approx(expected, abs=1e-12)


def test_the_same_up_to_order_agrees_as_much_as_can_be():
    a = _symmetric(12, 3)
    found = mantel(a, np.exp(a), permutations=499)
    assert found.rho == pytest.approx(1)
    assert found.p == pytest.approx(1 / 499)
    assert not found.exact
    assert mantel(a, -a, permutations=499).p > 0.99
    assert mantel(a, -a, permutations=499, alternative="two-sided").p == pytest.approx(1 / 499)


def test_an_order_of_both_changes_nothing_that_is_not_drawn():
    a, b = _symmetric(7, 4), _symmetric(7, 5)
    order = np.random.default_rng(6).permutation(7)
    first, second = mantel(a, b), mantel(a[np.ix_(order, order)], b[np.ix_(order, order)])
    assert first.rho == pytest.approx(second.rho)
    assert first.p == pytest.approx(second.p)


def test_unrelated_matrices_are_rejected_no_more_often_than_said():
    drawn = [mantel(_symmetric(9, 2 * k), _symmetric(9, 2 * k + 1), permutations=99).p for k in range(200)]
    assert sum(p <= 0.05 for p in drawn) <= binom.ppf(0.999, 200, 0.05)
    assert sum(p <= 0.5 for p in drawn) >= binom.ppf(0.001, 200, 0.5)


def test_pairs_have_one_value():
    a, b = np.random.default_rng(7).normal(size=(2, 8, 8))
    assert mantel(a, b, permutations=9).rho == pytest.approx(_slow((a + a.T) / 2, (b + b.T) / 2, range(8)))
    upper = np.where(np.triu(np.ones((8, 8)), 1) > 0, a, np.nan)
    assert mantel(upper, b, permutations=9).rho == pytest.approx(
        _slow(np.triu(a, 1) + np.triu(a, 1).T, (b + b.T) / 2, range(8))
    )


def test_what_is_not_defined_is_null_with_a_reason():
    a = _symmetric(5, 8)
    flat = mantel(a, np.ones((5, 5)))
    assert flat.rho is None
    assert flat.p is None
    assert "same value" in flat.note
    few = mantel(a, np.full((5, 5), np.nan))
    assert few.rho is None
    assert few.pairs == 0
    with pytest.raises(InputError, match="square"):
        mantel(a, a[:4, :4])
    with pytest.raises(InputError, match="infinite"):
        mantel(a, np.full((5, 5), np.inf))

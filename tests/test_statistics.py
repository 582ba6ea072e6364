"""Statistics of tidy rows against slow references, published figures, and the laws of resampling images."""

import itertools
import math
import random

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import friedmanchisquare, kendalltau

from sightline.errors import InputError
from sightline.studies import statistics
from sightline.studies.statistics.comparison import _groups

UP = {"x": "up", "y": "down"}


def row(image, method, metric, value, *, status="ok", seed=0, target="a", label=None, model="m"):
    return {
        "model": model,
        "image": image,
        "target": target,
        "label": label,
        "method": method,
        "metric": metric,
        "value": value,
        "status": status,
        "seconds": 0.1,
        "explain_seconds": 0.2,
        "seed": seed,
    }


def rows_of(values, metric="x", **more):
    """Rows from method -> a value an image; None is undefined."""
    return pl.DataFrame(
        [
            row(f"{i:04d}", method, metric, v, status="undefined" if v is None else "ok", **more)
            for method, vs in values.items()
            for i, v in enumerate(vs)
        ],
        infer_schema_length=None,
    )


def drawn(images=30, methods="abc", seed=0, step=0.3):
    generator = random.Random(seed)
    base = [generator.gauss(0, 1) for _ in range(images)]
    return {m: [b + step * k + generator.gauss(0, 0.3) for b in base] for k, m in enumerate(methods)}


def test_means_and_counts_leave_out_what_has_no_value():
    rows = pl.DataFrame(
        [
            row("1", "a", "x", 0.2),
            row("1", "a", "x", 0.4, target="b"),
            row("2", "a", "x", 0.9),
            row("3", "a", "x", None, status="undefined"),
            row("4", "a", "x", None, status="error"),
            row("5", "a", "x", 0.0, status="empty"),
            row("6", "a", "x", 1.0, status="flat"),
            row("7", "a", "x", None, status="refused"),
            row("1", "uniform", "x", 0.5, status="flat"),
            row("2", "uniform", "x", 0.7, status="flat"),
        ]
    )
    found = statistics.table(rows, resamples=50).rows(named=True)
    (a,) = [line for line in found if line["method"] == "a"]
    assert a["mean"] == pytest.approx(0.5)  # over rows, not over images
    assert (a["rows"], a["images"]) == (3, 2)
    assert [a[s] for s in statistics.STATUSES] == [3, 1, 1, 1, 1, 1]
    assert (a["seconds"], a["explain_seconds"]) == (pytest.approx(0.1), pytest.approx(0.2))
    (flat,) = [line for line in found if line["method"] == "uniform"]
    assert flat["mean"] == pytest.approx(0.6)  # flat by design
    everything = statistics.table(rows, resamples=50, statuses=("ok", "empty", "flat")).rows(named=True)
    assert everything[0]["mean"] == pytest.approx((0.2 + 0.4 + 0.9 + 0 + 1) / 5)


def test_a_method_without_any_value_is_a_line_without_a_mean():
    (line,) = statistics.table(rows_of({"a": [None, None]}), resamples=20).rows(named=True)
    assert (line["mean"], line["low"], line["high"], line["rows"], line["undefined"]) == (None, None, None, 0, 2)


def test_the_interval_resamples_images_with_all_their_rows():
    """Against a loop that draws images one by one; 40 rows of one image are one draw."""
    generator = random.Random(1)
    values = {i: [generator.gauss(i % 5, 0.1) for _ in range(1 + i % 4)] for i in range(25)}
    rows = pl.DataFrame([row(str(i), "a", "x", v, target=str(k)) for i, vs in values.items() for k, v in enumerate(vs)])
    means = []
    for _ in range(4000):
        chosen = [v for i in (generator.randrange(25) for _ in range(25)) for v in values[i]]
        means.append(sum(chosen) / len(chosen))
    low, high = np.quantile(means, [0.025, 0.975])
    (line,) = statistics.table(rows, resamples=4000).rows(named=True)
    assert line["low"] == pytest.approx(low, abs=0.05)
    assert line["high"] == pytest.approx(high, abs=0.05)
    rows_alone = rows.with_columns(image=pl.col("image") + pl.col("target"))  # as if rows did not depend on each other
    (narrow,) = statistics.table(rows_alone, resamples=4000).rows(named=True)
    assert narrow["high"] - narrow["low"] < 0.8 * (line["high"] - line["low"])


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_intervals_cover_the_mean_as_often_as_they_say(interval):
    generator, hits = np.random.default_rng(0), 0
    for turn in range(200):
        rows = rows_of({"a": generator.exponential(1.0, 60).tolist()})
        (line,) = statistics.table(rows, resamples=400, interval=interval, seed=turn).rows(named=True)
        hits += line["low"] <= 1.0 <= line["high"]
    assert 0.87 <= hits / 200 <= 0.99  # skewed values: a little below 0.95 is what theory says


def test_bca_agrees_with_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).exponential(1.0, 40)
    theirs = bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=0).confidence_interval
    (line,) = statistics.table(rows_of({"a": values.tolist()}), interval="bca").rows(named=True)
    assert (line["low"], line["high"]) == (pytest.approx(theirs.low, abs=0.02), pytest.approx(theirs.high, abs=0.02))


def test_the_order_of_the_rows_and_other_methods_change_nothing():
    rows = rows_of(drawn())
    found = statistics.table(rows, resamples=300)
    assert found.equals(statistics.table(rows.sample(fraction=1, shuffle=True, seed=4), resamples=300))
    alone = statistics.table(rows.filter(pl.col("method") == "b"), resamples=300)
    assert_frame_equal(alone, found.filter(pl.col("method") == "b"), rel_tol=1e-12)  # sums in another order
    assert not found.equals(statistics.table(rows, resamples=300, seed=1))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(0, 20, 0, 0.161), (2, 20, 0.028, 0.301), (0, 30, 0, 0.114), (30, 30, 0.886, 1)]
)
def test_rates_have_wilsons_interval(k, n, low, high):
    assert statistics.wilson(k, n) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
    rows = rows_of({"a": [1.0] * k + [0.0] * (n - k)})
    (line,) = statistics.table(rows, resamples=20).rows(named=True)
    assert (line["low"], line["high"], line["interval"]) == (*statistics.wilson(k, n), "wilson")


def test_the_spread_between_seeds_stands_beside_the_interval():
    rows = pl.concat([rows_of({"a": [v, v + 1]}, seed=s) for s, v in enumerate((0.0, 0.5, 1.0))])
    (line,) = statistics.table(rows, resamples=20).rows(named=True)
    assert line["seed_sd"] == pytest.approx(0.5)
    assert (line["rows"], line["images"]) == (6, 2)


def test_classes_have_tables_of_their_own():
    rows = pl.DataFrame(
        [row(str(i), "a", "x", float(i), label="cat" if i < 3 else "dog" if i < 8 else "one") for i in range(9)]
    )
    found = statistics.per_class(rows, resamples=50)
    assert dict(found.select("label", "mean").iter_rows()) == {"cat": 1.0, "dog": 5.0}  # "one" has one image only
    with pytest.raises(InputError, match="no row has a label"):
        statistics.per_class(rows.with_columns(label=pl.lit(None, dtype=pl.String)))


def test_mcnemar_is_exact():
    assert statistics.mcnemar(0, 0) == 1
    assert statistics.mcnemar(0, 6) == pytest.approx(2 / 64)
    assert statistics.mcnemar(8, 2) == pytest.approx(2 * sum(math.comb(10, i) for i in range(3)) / 1024)


def test_pairing_sees_what_two_intervals_do_not():
    """2000 images, rates of 42 and 40 %, 120 against 80 disagreements: z = 2.83, standard error 0.71 points."""
    both, neither = 720, 1080
    a = [1.0] * 120 + [0.0] * 80 + [1.0] * both + [0.0] * neither
    b = [0.0] * 120 + [1.0] * 80 + [1.0] * both + [0.0] * neither
    rows = rows_of({"a": a, "b": b})
    (line,) = statistics.compare(rows, resamples=4000).rows(named=True)
    assert line["test"] == "mcnemar"
    assert line["p"] == pytest.approx(0.0057, abs=5e-4)
    assert line["difference"] == pytest.approx(0.02)
    assert line["high"] - line["low"] == pytest.approx(2 * 1.96 * 0.0071, rel=0.05)
    ends = statistics.table(rows, resamples=20).select("low", "high").rows()
    assert ends[0][0] < ends[1][1]  # the intervals of the two rates overlap


def test_pairs_use_the_images_that_both_have():
    values = drawn(20)
    values["a"][3] = values["b"][7] = None
    found = {(r["a"], r["b"]): r for r in statistics.compare(rows_of(values), resamples=200).iter_rows(named=True)}
    assert {pair: r["images"] for pair, r in found.items()} == {("a", "b"): 18, ("a", "c"): 19, ("b", "c"): 19}
    d = [x - y for x, y in zip(values["a"], values["b"], strict=True) if None not in (x, y)]
    assert found["a", "b"]["difference"] == pytest.approx(sum(d) / len(d))


def test_holm_by_hand():
    p = [0.01, 0.04, 0.03, 0.005, math.nan]
    assert statistics.holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02, math.nan], nan_ok=True)
    assert statistics.holm([]).tolist() == []


def test_holm_keeps_false_alarms_rare():
    """Ten methods that do not differ: some of 45 tests fall below 0.05, after correction hardly ever one."""
    generator, raw, corrected = np.random.default_rng(5), 0, 0
    for _ in range(30):
        rows = rows_of({f"m{k}": generator.normal(size=25).tolist() for k in range(10)})
        found = statistics.compare(rows, resamples=2)
        raw += bool((found["p"] < 0.05).any())
        corrected += bool((found["p_holm"] < 0.05).any())
    assert raw > 12
    assert corrected <= 4


def test_controls_are_beaten_beyond_the_interval_only():
    generator = random.Random(2)
    base = [generator.gauss(0, 1) for _ in range(40)]
    values = {
        "good": [b + 1 + generator.gauss(0, 0.1) for b in base],
        "same": [b + 0.5 * (-1) ** i for i, b in enumerate(base)],
        "random": base,
        "centre": [b - 1 for b in base],
    }
    rows = pl.concat([rows_of(values, "x"), rows_of({m: [-v for v in vs] for m, vs in values.items()}, "y")])
    found = statistics.against_controls(rows, ["random", "centre", "not there"], UP, resamples=500)
    marks = {
        (r["metric"], r["method"]): (r["beaten"], r["not_beaten"], r["beats"]) for r in found.iter_rows(named=True)
    }
    for metric in "xy":  # down is the mirror of up
        assert marks[metric, "good"] == (["random", "centre"], [], True)
        assert marks[metric, "same"] == (["centre"], ["random"], False)
    assert len(marks) == 4  # controls are not compared with each other


def test_ranks_and_critical_difference_are_demsars():
    """N = 14 data sets, k = 4 classifiers: CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25 (Demsar 2006, section 3.2.4)."""
    values = drawn(14, "abcd", step=0.5)
    found = statistics.ranking(rows_of(values), UP)
    assert found["cd"][0] == pytest.approx(1.25, abs=5e-3)
    ranks = dict.fromkeys(values, 0.0)
    for i in range(14):
        order = sorted(values, key=lambda m: -values[m][i])
        for place, m in enumerate(order, 1):
            ranks[m] += place / 14
    assert dict(found.select("method", "rank").iter_rows()) == pytest.approx(ranks)
    assert found["p"][0] == pytest.approx(float(friedmanchisquare(*values.values()).pvalue))
    mirrored = statistics.ranking(rows_of({m: [-v for v in vs] for m, vs in values.items()}, "y"), UP)
    assert mirrored["rank"].to_list() == found["rank"].to_list()


def test_groups_share_a_letter_when_their_ranks_are_close():
    assert _groups(np.array([1.0, 1.5, 3.0, 3.4]), 1.0) == ["a", "a", "b", "b"]
    assert _groups(np.array([1.0, 1.8, 2.6]), 1.0) == ["a", "ab", "b"]
    assert _groups(np.array([3.0, 1.0, 2.0]), 5.0) == ["a", "a", "a"]
    assert _groups(np.array([2.0, 1.0]), 0.5) == ["b", "a"]


def test_ties_make_no_ranking():
    rows = rows_of({"a": [0.5] * 8, "b": [0.5] * 8, "c": [0.5] * 8})
    found = statistics.ranking(rows, UP)
    assert found["p"].to_list() == [1.0] * 3
    assert found["group"].to_list() == ["a"] * 3
    assert statistics.wins(rows, UP, resamples=20)["first"].to_list() == pytest.approx([1 / 3] * 3)


def test_wins_equal_all_resamples_listed():
    """Three images have 27 resamples: all of them, one by one."""
    values = {"a": [0.1, 0.9, 0.5], "b": [0.4, 0.6, 0.6]}
    share = 0.0
    for chosen in itertools.product(range(3), repeat=3):
        a, b = (sum(values[m][i] for i in chosen) for m in "ab")
        share += 0.5 if math.isclose(a, b) else float(a > b)
    found = statistics.wins(rows_of(values), UP, resamples=20_000)
    assert dict(found.select("method", "first").iter_rows())["a"] == pytest.approx(share / 27, abs=0.015)
    down = statistics.wins(rows_of(values, "y"), UP, resamples=20_000)
    assert dict(down.select("method", "first").iter_rows())["b"] == pytest.approx(share / 27, abs=0.015)
    assert found["first"].sum() == pytest.approx(1)


def test_agreement_of_metrics_is_kendalls_tau():
    x, y = {"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.4}, {"a": 0.9, "b": 0.1, "c": 0.6, "d": 0.7}
    rows = pl.concat([rows_of({m: [v] for m, v in x.items()}), rows_of({m: [v] for m, v in y.items()}, "y")])
    found = statistics.agreement(statistics.table(rows, resamples=2), UP)
    wanted = kendalltau(list(x.values()), [-v for v in y.values()]).statistic
    assert found.rows() == [("m", "x", "y", pytest.approx(wanted), 4)]


def test_bad_input_is_told():
    with pytest.raises(InputError, match="no column"):
        statistics.table(pl.DataFrame({"model": ["m"]}))
    with pytest.raises(InputError, match="nothing has been finished"):
        statistics.table(rows_of({"a": [1.0]}).clear())
    with pytest.raises(InputError, match="level between 0 and 1"):
        statistics.table(rows_of({"a": [1.0]}), level=95)
    with pytest.raises(InputError, match="no row is of 'z'"):
        statistics.compare(rows_of({"a": [1.0]}), against=["z"])
    with pytest.raises(InputError, match="0 <= successes <= trials"):
        statistics.wilson(3, 2)


def test_zeros_by_chance_are_no_rate():
    """Average drop of the control uniform is 0 on every image: this is no rate of 0 out of n."""
    found = statistics.table(rows_of({"uniform": [0.0] * 9, "a": [0.1 * i for i in range(9)]}), resamples=50)
    assert found["interval"].to_list() == ["percentile"] * 2
    assert found.filter(method="uniform").select("low", "high").row(0) == (0, 0)

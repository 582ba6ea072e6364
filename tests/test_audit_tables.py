"""Tables of the audit against slow references written independently, in plain loops."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from sightline.studies.auditing import errors as errors_of
from sightline.studies.auditing.bias import bias, with_evidence
from sightline.studies.auditing.errors import area_under_roc, average_precision, best_threshold
from sightline.studies.auditing.evidence import evidence
from sightline.studies.auditing.groups import groups
from sightline.studies.statistics.intervals import auc_interval, draws, ends, mean_of_rates, paired_difference, rate

Z = norm.ppf(0.975)


def decisions(truth, z, *, attribute="Hat", b=None, index=None):
    index = range(len(z)) if index is None else index
    return pl.DataFrame(
        {
            "image": [f"i{i}" for i in index],
            "image_index": list(index),
            "attribute": [attribute] * len(z),
            "truth": pl.Series(truth, dtype=pl.Int8),
            "z": pl.Series(z, dtype=pl.Float64),
            "b_head": pl.Series([b] * len(z), dtype=pl.Float64),
        }
    )


def sample(n, rate_yes, seed, shift=0.0):
    draw = np.random.default_rng(seed)
    y = (draw.random(n) < rate_yes).astype(int)
    return y, np.round(draw.normal(2 * y - 1 + shift, 1.5), 1)  # rounded: ties


def slow_wilson(k, n):
    """Both roots of (p - k/n)^2 = z^2 p (1 - p) / n."""
    a, b, c = 1 + Z**2 / n, -(2 * k / n + Z**2 / n), (k / n) ** 2
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (2, 20), (0, 30), (7, 9), (5, 5), (113, 240)])
def test_rates_have_wilsons_interval(k, n):
    value, low, high = rate(k, n)
    wanted = slow_wilson(k, n)
    assert value == k / n
    assert (low, high) == pytest.approx(wanted, abs=1e-12)
    assert rate(0, 0) == (None, None, None)


def test_published_wilson_values():
    assert rate(0, 20)[2] == pytest.approx(0.161, abs=5e-4)
    assert rate(2, 20)[1:] == pytest.approx((0.028, 0.301), abs=5e-4)
    assert rate(0, 30)[2] == pytest.approx(0.114, abs=5e-4)


def test_errors_count_as_loops_do():
    y, z = sample(400, 0.2, 1)
    z[:3] = 0.0  # 0 is yes
    unknown = [None if i % 50 == 7 else int(v) for i, v in enumerate(y)]
    line = errors_of.errors(decisions(unknown, z), ["Hat"], {}).row(0, named=True)
    counts = dict.fromkeys(("TP", "FP", "FN", "TN"), 0)
    for t, score in zip(unknown, z, strict=True):
        if t is not None:
            counts[("T" if (score >= 0) == bool(t) else "F") + ("P" if score >= 0 else "N")] += 1
    assert {k: line[k] for k in counts} == counts
    p, n = counts["TP"] + counts["FN"], counts["FP"] + counts["TN"]
    assert (line["n"], line["positives"], line["negatives"], line["unknown"]) == (400, p, n, 8)
    fnr, fpr = counts["FN"] / p, counts["FP"] / n
    assert line["FNR"] == pytest.approx(fnr)
    assert line["FPR"] == pytest.approx(fpr)
    assert line["error"] == pytest.approx((counts["FN"] + counts["FP"]) / (p + n))
    assert line["balanced_error"] == pytest.approx((fnr + fpr) / 2)
    assert line["minority"] == "yes"
    assert line["minority_error"] == line["FNR"]
    assert line["majority_error"] == line["FPR"]
    (a, b), (c, d) = slow_wilson(counts["FN"], p), slow_wilson(counts["FP"], n)
    assert line["balanced_error_low"] == pytest.approx((fnr + fpr) / 2 - math.sqrt((fnr - a) ** 2 + (fpr - c) ** 2) / 2)
    assert line["balanced_error_high"] == pytest.approx(
        (fnr + fpr) / 2 + math.sqrt((b - fnr) ** 2 + (d - fpr) ** 2) / 2
    )


def slow_auc(y, z):
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(z[y == 1], z[y == 0])]
    return sum(pairs) / len(pairs)


def slow_ap(y, z):
    total, before = 0.0, 0.0
    for t in sorted(set(z), reverse=True):
        taken = z >= t
        recall = (taken & (y == 1)).sum() / (y == 1).sum()
        total += (recall - before) * (taken & (y == 1)).sum() / taken.sum()
        before = recall
    return total


@pytest.mark.parametrize("seed", range(3))
def test_ap_and_auc_against_loops_and_scikit_learn(seed):
    y, z = sample(150, 0.3, seed)
    line = errors_of.errors(decisions(y, z), ["Hat"], {}, resamples=200).row(0, named=True)
    assert line["AUC"] == pytest.approx(slow_auc(y, z))
    assert line["AP"] == pytest.approx(slow_ap(y, z))
    assert line["AP_low"] < line["AP"] < line["AP_high"]
    assert line["AUC_low"] < line["AUC"] < line["AUC_high"]
    metrics = pytest.importorskip("sklearn.metrics")
    assert line["AUC"] == pytest.approx(metrics.roc_auc_score(y, z))
    assert line["AP"] == pytest.approx(metrics.average_precision_score(y, z))


def test_ap_of_a_resample_is_that_of_the_repeated_images():
    y, z = sample(60, 0.3, 5)
    weights = next(draws(60, 4, 0, y))
    order = np.argsort(-z, kind="stable")
    last = np.append(np.diff(z[order]) != 0, True)
    found = average_precision(y[order].astype(bool), last, weights[:, order])
    for r in range(4):
        times = weights[r].astype(int)
        assert times[y == 1].sum() == (y == 1).sum()  # stratified
        assert found[r] == pytest.approx(slow_ap(np.repeat(y, times), np.repeat(z, times)))


def test_auc_interval_solves_its_equation_and_is_no_point_at_one():
    for auc, p, n in ((0.8, 30, 200), (1.0, 24, 176), (0.0, 10, 12), (0.5, 5, 900)):
        low, high = auc_interval(auc, p, n)
        assert 0 <= low <= auc <= high <= 1
        for t in (low, high):
            if t in (0.0, 1.0) or t == auc:
                continue
            m = (p + n) / 2 - 1
            var = t * (1 - t) * (1 + m * (1 - t) / (2 - t) + m * t / (1 + t)) / (p * n)
            assert abs(auc - t) == pytest.approx(Z * math.sqrt(var), rel=1e-6)
    assert auc_interval(1.0, 24, 176)[0] < 0.97
    assert auc_interval(1.0, 24, 176)[1] == 1


def test_tuned_threshold_is_the_best_of_all():
    y, z = sample(120, 0.25, 3, shift=-1)
    t = best_threshold(y.astype(bool), z)

    def balanced(cut):
        return ((z[y == 1] < cut).mean() + (z[y == 0] >= cut).mean()) / 2

    best = min(balanced(c) for c in (*(v + d for v in z for d in (-0.05, 0.05)), 99, -99))
    assert balanced(t) == pytest.approx(best)
    line = errors_of.errors(decisions(y, z), ["Hat"], {}).row(0, named=True)
    assert line["threshold_tuned"] == t < 0
    assert line["balanced_error_tuned"] >= best - 1e-12  # measured on the other half
    assert line["balanced_error_tuned"] < line["balanced_error"]


def test_undefined_is_null_with_a_note_and_rare_ones_come_first():
    rows = [
        decisions([0] * 10, [-1.0] * 10, attribute="None"),
        decisions([1] * 10, [-1.0] * 10, attribute="All"),
        decisions(*sample(40, 0.4, 0), attribute="Half"),
        decisions([None] * 5, [1.0] * 5, attribute="Unknown"),
    ]
    frame = errors_of.errors(pl.concat(rows), ["Half", "Unknown", "All", "None", "Gone"], {"Half": 0.05})
    by = {line["attribute"]: line for line in frame.iter_rows(named=True)}
    assert frame["attribute"].to_list()[:3] == ["All", "None", "Half"]
    assert by["None"]["FNR"] is None
    assert by["None"]["balanced_error"] is None
    assert by["None"]["AP"] is None
    assert by["None"]["FPR"] == 0
    assert by["None"]["FPR_high"] > 0.2
    assert "no image has it" in by["None"]["note"]
    assert "every image has it" in by["All"]["note"]
    assert by["All"]["minority"] == "no"
    assert by["Half"]["minority"] == "yes"
    even = errors_of.errors(decisions([1] * 30 + [0] * 10, [1.0] * 40), ["Hat"], {"Hat": 0.5})
    assert even["minority"][0] == "no"  # as frequent in training, so these images tell
    assert by["Half"]["train_rate"] == 0.05
    assert by["Unknown"]["error"] is None
    assert by["Gone"]["n"] == 0


def maps_frame(seed=0, n=60):
    draw = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        for name in ("Hat", "Tie"):
            empty, known = draw.random() < 0.3, draw.random() < 0.9
            pe = 0.0 if empty else draw.random()
            yes, truth = draw.random() < 0.4, draw.integers(0, 3)
            outcome = None if truth == 2 else (("T" if yes == bool(truth) else "F") + ("P" if yes else "N"))
            area = 0.1 + 0.2 * draw.random()
            line = (i, name, "grad-cam", "after", outcome, 1 if yes else -1, pe if known else None, empty)
            lines.append((*line, area if known else None))
    names = ["image_index", "attribute", "method", "layer", "outcome", "sign", "pe", "empty", "area"]
    return pl.DataFrame(lines, schema=names, orient="row")


def minorities(**kinds):
    return pl.DataFrame({"attribute": list(kinds), "minority": list(kinds.values())})


def test_evidence_means_against_loops():
    maps = maps_frame()
    frame = evidence(maps, minorities(Hat="yes", Tie="no"), resamples=400)
    rows = list(maps.iter_rows(named=True))
    assert len(frame) == 12
    for line in frame.iter_rows(named=True):
        sign = 1 if line["side"] == "yes" else -1
        mine = [r for r in rows if r["attribute"] == line["attribute"] and r["sign"] == sign]
        mine = [r for r in mine if line["outcome"] in ("all", r["outcome"])]
        judged = [r for r in mine if r["pe"] is not None]
        full = [r for r in judged if not r["empty"]]
        assert line["n"] == len(mine)
        assert line["refused"] == len(mine) - len(judged)
        assert line["pe"] == pytest.approx(np.mean([r["pe"] for r in judged]))
        assert line["pe_nonempty"] == pytest.approx(np.mean([r["pe"] for r in full]))
        assert line["chance"] == pytest.approx(np.mean([r["area"] for r in judged]))
        assert line["pe_corrected"] == pytest.approx(np.mean([r["pe"] * (1 - r["area"]) for r in judged]))
        assert line["empty_rate"] == pytest.approx(np.mean([r["empty"] for r in mine]))
        assert line["lift"] == pytest.approx(line["pe"] / line["chance"])
        assert line["pe_low"] <= line["pe"] <= line["pe_high"]
        assert line["majority"] == (line["side"] == {"Hat": "no", "Tie": "yes"}[line["attribute"]])
        if line["outcome"] == "all" and line["attribute"] == "Hat":
            values = np.array([r["pe"] for r in judged])
            spread = values.std(ddof=1) / math.sqrt(len(values))
            assert (line["pe_high"] - line["pe_low"]) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.2)


def test_evidence_without_decisions_or_region_is_null_with_a_note():
    maps = maps_frame(n=4).filter(pl.col("sign") == 1).with_columns(pe=pl.lit(None, dtype=pl.Float64))
    frame = evidence(maps, minorities(Hat="yes", Tie=None), resamples=50)
    assert frame.filter(side="no")["note"].unique().to_list() == ["no such decision"]
    assert "the attribute has no region" in frame.filter(side="yes", outcome="all")["note"].to_list()
    assert frame["pe"].null_count() == len(frame)
    assert frame.filter(attribute="Tie")["majority"].null_count() == 6


def test_bias_splits_every_logit_exactly():
    y, z = sample(300, 0.15, 7, shift=-1.5)
    rows = with_evidence(decisions(y, z, b=-0.75))
    assert (rows["z"] - rows["b_head"] - rows["e_common"] - rows["e_own"]).abs().max() < 1e-12
    common = ((z[y == 1] + 0.75).mean() + (z[y == 0] + 0.75).mean()) / 2
    assert rows["e_common"].unique().to_list() == pytest.approx([common])
    plain = with_evidence(decisions(y, z, b=-0.75), "plain")
    assert plain["e_common"][0] == pytest.approx(z.mean() + 0.75)
    told = errors_of.errors(rows, ["Hat"], {})
    frame = bias(rows, pl.DataFrame(), told, resamples=400)
    for line in frame.iter_rows(named=True):
        s = 1 if line["side"] == "yes" else -1
        mine = z[z >= 0] if s > 0 else z[z < 0]
        assert line["n"] == len(mine)
        assert line["mean_abs_z"] == pytest.approx(np.abs(mine).mean())
        assert line["share_bias"] == pytest.approx(s * -0.75 / np.abs(mine).mean())
        assert line["share_common"] == pytest.approx(s * common / np.abs(mine).mean())
        assert line["share_bias"] + line["share_common"] + line["share_own"] == pytest.approx(1)
        assert line["share_own_low"] < line["share_own"] < line["share_own_high"]
    assert frame.filter(side="no")["majority"][0]
    assert frame.filter(side="no")["share_bias"][0] > 0


def test_bias_refuses_and_says_why():
    rows = with_evidence(decisions([0, 1] * 10, [0.01, -0.02] * 10, b=0.5))
    frame = bias(rows, pl.DataFrame(), errors_of.errors(rows, ["Hat"], {}), resamples=50)
    assert frame["share_bias"].null_count() == 2
    assert "refused" in frame["note"][0]
    one = with_evidence(decisions([0] * 10, [-2.0] * 10, b=None))
    assert one["e_common"].null_count() == 10
    frame = bias(one, pl.DataFrame(), errors_of.errors(one, ["Hat"], {}), resamples=50)
    assert frame.filter(side="yes")["note"][0] == "no such decision"
    note = frame.filter(side="no")["note"][0]
    assert "not affine" in note
    assert "images of one class are missing" in note
    assert frame["share_own"].null_count() == 2


def group_frames(errors_a, errors_b, n=100, small=5):
    """Two groups of 2n images with these error rates on both truths, and one of `small`."""
    sizes = {"a": (n, errors_a), "b": (n, errors_b), "c": (small, 1.0)}
    truth, z, group = [], [], []
    for name, (count, wrong) in sizes.items():
        for y in (0, 1):
            for i in range(count):
                right = i >= round(wrong * count)
                truth.append(y)
                z.append(1.0 if right == bool(y) else -1.0)
                group.append(name)
    rows = decisions(truth, z)
    return rows, pl.DataFrame({"image_index": range(len(z)), "group_Light": group})


def test_groups_name_the_worst_one_that_is_large_enough():
    rows, images = group_frames(0.1, 0.3)
    frame = groups(rows, images, ["Hat"], ["Light"], permutations=400)
    by = {line["group"]: line for line in frame.iter_rows(named=True)}
    assert [by[g]["n"] for g in "abc"] == [200, 200, 10]
    assert [by[g]["balanced_error"] for g in "abc"] == pytest.approx([0.1, 0.3, 1.0])
    assert by["c"]["greyed"]
    assert not by["c"]["worst"]
    assert by["b"]["worst"]
    assert not by["a"]["worst"]
    assert by["a"]["disparity"] == pytest.approx(0.2)
    assert by["a"]["disparity_low"] > 0.08
    assert by["a"]["disparity_chance"] < 0.05
    assert by["a"]["disparity_p"] == pytest.approx(1 / 401)


def test_disparity_of_equal_groups_is_what_chance_gives():
    p = []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        y = draw.integers(0, 2, 400)
        wrong = draw.random(400) < 0.2
        rows = decisions(y.tolist(), np.where(wrong, 1 - 2 * y, 2 * y - 1).tolist())
        images = pl.DataFrame({"image_index": range(400), "group_Light": draw.choice(list("abcde"), 400)})
        frame = groups(rows, images, ["Hat"], ["Light"], permutations=200, seed=seed)
        p.append(frame["disparity_p"][0])
        assert frame["disparity"][0] > 0
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert 0.3 < np.mean(p) < 0.7


def test_intersections_and_groups_that_are_the_attribute_itself():
    rows, images = group_frames(0.1, 0.3)
    images = images.with_columns(group_Hat=pl.Series(["yes", "no"] * (len(images) // 2)))
    other = rows.with_columns(attribute=pl.lit("Tie"))
    frame = groups(pl.concat([rows, other]), images, ["Hat", "Tie"], ["Light", "Hat"], permutations=50)
    assert set(frame.filter(attribute="Hat")["by"]) == {"Light"}
    assert set(frame["by"]) == {"Light", "Hat", "Light x Hat"}
    assert "a x yes" in frame["group"].to_list()
    assert frame.filter(by="Light x Hat")["n"].sum() == len(images)
    assert (frame["disparity_p_holm"].drop_nulls() >= frame["disparity_p"].drop_nulls()).all()


def test_group_of_two_images_is_greyed():
    rows, images = group_frames(0.1, 0.3, small=1)
    frame = groups(rows, images, ["Hat"], ["Light"], permutations=50)
    line = frame.filter(group="c").row(0, named=True)
    assert (line["n"], line["greyed"], line["worst"]) == (2, True, False)
    assert "fewer than 20" in line["note"]
    assert frame["disparity"][0] == pytest.approx(0.2)


def test_mean_of_rates_widens_with_fewer_images():
    value, low, high = mean_of_rates((0, 24), (0, 176))
    assert (value, low) == (0, 0)
    assert 0.06 < high < 0.08
    assert mean_of_rates((0, 0), (1, 5)) == (None, None, None)


def slow_paired(a, b, c, d):
    """Method 10 of Newcombe 1998, step by step: p1 = (a + b) / n, p2 = (a + c) / n, difference p1 - p2."""
    n = a + b + c + d
    p1, p2 = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = slow_wilson(a + b, n), slow_wilson(a + c, n)
    product, excess = (a + b) * (c + d) * (a + c) * (b + d), a * d - b * c
    phi = 0.0
    if product > 0:
        phi = (excess - n / 2 if excess > n / 2 else 0 if excess >= 0 else excess) / math.sqrt(product)
    delta = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    epsilon = math.sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    return p1 - p2, p1 - p2 - delta, p1 - p2 + epsilon


def pairs_of(a, b, c, d):
    kinds = [(True, True)] * a + [(True, False)] * b + [(False, True)] * c + [(False, False)] * d
    return np.array(kinds).T


@pytest.mark.parametrize("counts", [(36, 12, 2, 0), (36, 14, 0, 0), (5, 3, 9, 60), (0, 0, 0, 24), (1, 20, 20, 1)])
def test_difference_of_paired_rates(counts):
    first, second = pairs_of(*counts)
    assert paired_difference(second, first) == pytest.approx(slow_paired(*counts), abs=1e-9)
    assert paired_difference(first[:0], first[:0]) == (None, None, None)


def test_paired_intervals_cover():
    draw, hits = np.random.default_rng(0), 0
    for _ in range(300):
        u = draw.random(60)
        first, second = u < 0.1, (u < 0.06) | (draw.random(60) < 0.05)
        _, low, high = paired_difference(first, second)
        hits += low <= (0.06 + 0.94 * 0.05) - 0.1 <= high
    assert hits >= 0.92 * 300


def test_ends_skip_resamples_without_a_value():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(101, 3))
    values[::3, 1] = np.nan
    values[:, 2] = np.nan
    low, high = ends(values)
    for j in range(2):
        kept = values[~np.isnan(values[:, j]), j]
        assert (low[j], high[j]) == pytest.approx(tuple(np.quantile(kept, [0.025, 0.975])))
    assert math.isnan(low[2])
    assert math.isnan(high[2])


def test_auc_of_ranks_is_that_of_pairs():
    y, z = sample(90, 0.5, 2)
    assert area_under_roc(y.astype(bool), z) == pytest.approx(slow_auc(y, z))

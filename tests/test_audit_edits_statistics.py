"""What rows of edits say: the permutation test, and the table, against slow references."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from sightline.studies.auditing import edits
from sightline.studies.auditing.edits import permutation
from sightline.studies.auditing.edits.permutation import counted, cumulants, permuted, saddlepoint


def deviations(effects: np.ndarray) -> np.ndarray:
    """d_ik: an effect minus the mean of the image's others."""
    out = np.empty_like(effects)
    for i, row in enumerate(effects):
        for k in range(len(row)):
            out[i, k] = row[k] - np.delete(row, k).mean()
    return out


def by_loop(effects: np.ndarray) -> float:
    """Two-sided p from every way in which the region could have been another of the places."""
    d = deviations(effects)
    t = d[:, 0].sum()
    sums = [sum(d[i, k] for i, k in enumerate(ks)) for ks in itertools.product(range(d.shape[1]), repeat=len(d))]
    upper = sum(s >= t - 1e-9 for s in sums) / len(sums)
    lower = sum(s <= t + 1e-9 for s in sums) / len(sums)
    return min(1.0, 2 * min(upper, lower))


@pytest.mark.parametrize("seed", range(6))
def test_few_images_are_counted_one_by_one(seed):
    generator = np.random.default_rng(seed)
    effects = generator.exponential(size=(5, 4)) * generator.integers(0, 2, (5, 1))
    assert permuted(effects) == pytest.approx(by_loop(effects))


@pytest.mark.parametrize("controls", [1, 3])
def test_the_saddlepoint_agrees_with_counting_also_far_out(controls):
    generator = np.random.default_rng(0)
    n = 16 if controls == 1 else 8
    effects = generator.exponential(size=(n, 1 + controls))
    d = deviations(effects)
    d /= np.abs(d).max()
    sums = np.array([0.0])
    for row in d:
        sums = (sums[:, None] + row).ravel()
    for quantile in (0.05, 0.3, 0.5, 0.9, 0.99, 0.999):
        t = float(np.quantile(sums, quantile))
        assert saddlepoint(d, t) == pytest.approx(counted(d, t), rel=0.12, abs=1e-3)


def test_the_saddlepoint_agrees_with_drawing():
    generator = np.random.default_rng(3)
    effects = generator.exponential(size=(60, 4)) ** 2
    effects[:, 0] *= 1.6
    d = deviations(effects)
    picks = generator.integers(0, 4, (100_000, 60))
    sums = d[np.arange(60), picks].sum(1)
    t = d[:, 0].sum()
    drawn = 2 * min((sums >= t).mean(), (sums <= t).mean())
    assert permuted(effects) == pytest.approx(drawn, rel=0.1)


def test_cumulants_are_derivatives():
    d = np.random.default_rng(1).normal(size=(7, 4))
    for s in (-1.5, 0.0, 0.7):
        h = 1e-4
        K, first, second, third = cumulants(d, s)
        slow = sum(math.log(np.mean([math.exp(s * v) for v in row])) for row in d)
        assert pytest.approx(slow) == K
        up, down = cumulants(d, s + h), cumulants(d, s - h)
        assert first == pytest.approx((up[0] - down[0]) / (2 * h), abs=1e-5)
        assert second == pytest.approx((up[1] - down[1]) / (2 * h), abs=1e-5)
        assert third == pytest.approx((up[2] - down[2]) / (2 * h), abs=1e-5)


def test_the_test_keeps_its_level_where_the_region_is_one_of_many_and_effects_are_skewed():
    generator = np.random.default_rng(5)
    found = []
    for _ in range(1500):
        scale = generator.exponential(size=(25, 1))
        found.append(permuted(scale * generator.exponential(size=(25, 4)) ** 3 * (generator.random((25, 4)) < 0.3)))
    p = np.array(found)
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / len(p))
    assert (p <= 0.2).mean() > 0.14  # and it is not idle


def test_edges_of_the_test():
    assert permuted(np.zeros((10, 4))) == 1.0
    assert permuted(np.ones((10, 2)) * 3) == 1.0
    strong = np.zeros((400, 4))
    strong[:, 0] = np.linspace(0.5, 1, 400)
    assert 0 < permuted(strong) < 1e-200  # every image says the same: 2 / 4^400
    assert permuted(strong[:2]) == pytest.approx(2 / 16)
    one = np.zeros((400, 4))
    one[7, 0] = 1
    assert permuted(one) == pytest.approx(0.5)  # one image alone tells little, whatever the others' number
    against = strong.copy()
    against[:, 0] *= -1
    assert permuted(against) < 1e-100
    assert permutation._MOST >= 4**8


def rows_of(n: int = 40, controls: int = 3, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    lines = []
    for attribute, strength in (("a", 3.0), ("b", 0.0)):
        for image in range(n):
            before, truth = float(generator.normal(1, 1)), int(generator.random() < 0.6)
            for place in range(-1, controls):
                move = strength if place < 0 else 0.0
                after = before - move + float(generator.normal(0, 0.5))
                p, q = 1 / (1 + math.exp(-before)), 1 / (1 + math.exp(-after))
                lines.append(
                    {
                        "image_index": image,
                        "attribute": attribute,
                        "edit": "occlude",
                        "direction": "remove" if truth else "neutral",
                        "region": "r",
                        "where": "region" if place < 0 else "control",
                        "control": None if place < 0 else place,
                        "area": 0.1,
                        "z_before": before,
                        "z_after": after,
                        "p_before": p,
                        "p_after": q,
                        "truth": truth,
                        "status": "ok",
                        "note": "of another shape" if place == 0 else None,
                    }
                )
    return pl.DataFrame(lines, schema=edits.SCHEMA, orient="row")


def test_the_table_equals_a_slow_loop_over_rows():
    rows = rows_of()
    table = edits.interventions(rows, min_group=5, resamples=2000)
    assert table.height == 4
    for line in table.iter_rows(named=True):
        some = rows.filter(
            (pl.col("attribute") == line["attribute"]) & (pl.col("direction") == line["direction"])
        ).to_dicts()
        images = sorted({row["image_index"] for row in some})
        matrix, flips, right = [], [], []
        for image in images:
            mine = [row for row in some if row["image_index"] == image]
            mine.sort(key=lambda row: -1 if row["control"] is None else row["control"])
            change = [row["p_before"] - row["p_after"] for row in mine]
            matrix.append([abs(v) for v in change] if line["direction"] == "neutral" else change)
            flips.append([(row["z_before"] >= 0) != (row["z_after"] >= 0) for row in mine])
            right.append(
                [(mine[0]["z_before"] >= 0) == mine[0]["truth"], (mine[0]["z_after"] >= 0) == mine[0]["truth"]]
            )
        matrix = np.array(matrix)
        n = len(images)
        difference = matrix[:, 0] - matrix[:, 1:].mean(1)
        assert (line["n"], line["controls"], line["refused"]) == (n, 3, 0)
        assert line["effect_region"] == pytest.approx(matrix[:, 0].mean())
        assert line["effect_control"] == pytest.approx(matrix[:, 1:].mean())
        assert line["difference"] == pytest.approx(difference.mean())
        half = 1.96 * difference.std(ddof=1) / math.sqrt(n)
        assert line["difference_low"] == pytest.approx(difference.mean() - half, abs=0.2 * half)
        assert line["difference_high"] == pytest.approx(difference.mean() + half, abs=0.2 * half)
        k = sum(row[0] for row in flips)
        z, p = 1.959964, k / n
        centre, width = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        assert line["flip_region"] == pytest.approx(p)
        assert line["flip_region_low"] == pytest.approx((centre - width) / (1 + z**2 / n), abs=1e-6)
        assert line["flip_region_high"] == pytest.approx((centre + width) / (1 + z**2 / n), abs=1e-6)
        assert line["flip_control"] == pytest.approx(np.mean([row[1:] for row in flips]))
        b, c = sum(x and not y for x, y in right), sum(y and not x for x, y in right)
        tail = sum(math.comb(b + c, j) for j in range(min(b, c) + 1)) / 2 ** (b + c)
        assert line["p_accuracy"] == pytest.approx(min(1.0, 2 * tail))
        assert line["accuracy_before"] == pytest.approx(np.mean([x for x, _ in right]))
        assert line["p"] == pytest.approx(permuted(matrix))
        assert line["confirmed"] == (line["attribute"] == "a")
        assert "33% of the controls" in line["note"]
    ordered = sorted(table["p"])
    running, expected = 0.0, {}
    for i, p in enumerate(ordered):
        running = max(running, min(1.0, p * (len(ordered) - i)))
        expected[p] = running
    assert table["p_holm"].to_list() == pytest.approx([expected[p] for p in table["p"]])


def test_order_of_rows_and_pairing_do_not_matter():
    rows = rows_of()
    first = edits.interventions(rows, min_group=5, resamples=200).sort("attribute", "direction")
    again = edits.interventions(rows.sample(fraction=1, shuffle=True, seed=4), min_group=5, resamples=200)
    assert first.equals(again.sort("attribute", "direction"))


def test_small_groups_are_shown_and_not_judged():
    table = edits.interventions(rows_of(n=12), min_group=20, resamples=200)
    assert table["p"].null_count() == table.height
    assert table["confirmed"].null_count() == table.height
    assert all("fewer than 20 images" in note for note in table["note"])
    assert table["effect_region"].null_count() == 0


def test_nothing_done_gives_an_empty_table_with_its_columns():
    table = edits.interventions(pl.DataFrame())
    assert table.height == 0
    assert "confirmed" in table.columns
    full = edits.interventions(rows_of(), resamples=50)
    assert full.schema == table.schema


def test_an_image_with_fewer_controls_still_counts():
    rows = rows_of().filter(~((pl.col("image_index") == 3) & pl.col("control").eq_missing(2)))
    table = edits.interventions(rows, min_group=5, resamples=200)
    whole = edits.interventions(rows_of(), min_group=5, resamples=200)
    assert table["n"].to_list() == whole["n"].to_list()
    assert table["p"].null_count() == 0


def exact_tail(d: np.ndarray, t: int) -> float:
    """P(T >= t) of whole-numbered d by convolution: positive terms only, so that small tails keep their digits."""
    low = d.min(1)
    shares = np.ones(1)
    for row, least in zip(d, low, strict=True):
        wider = np.zeros(len(shares) + int(row.max() - least))
        for value in row:
            start = int(value - least)
            wider[start : start + len(shares)] += shares / len(row)
        shares = wider
    return float(shares[int(t - low.sum()) :].sum())


def test_the_saddlepoint_keeps_its_digits_in_the_far_tail():
    generator = np.random.default_rng(8)
    effects = 3 * generator.integers(0, 400, (80, 4))  # multiples of 3: means of three others are whole
    effects[:, 0] = effects.max(1)
    d = deviations(effects)
    spread = math.sqrt((d**2).mean(1).sum())
    for deviation in (1, 3, 6, 9):
        t = round(deviation * spread)
        right = exact_tail(np.rint(d).astype(int), t)
        assert saddlepoint(d, t) == pytest.approx(right, rel=0.03)
    assert right < 1e-18


def test_close_to_the_largest_sum_there_is_still_a_number():
    strong = np.zeros((300, 4))
    strong[:, 0] = np.linspace(0.5, 1, 300)
    strong[7, 0], strong[7, 1] = 0.0, 1e-4  # one image says otherwise, by next to nothing
    assert 0 < permuted(strong) < 1e-150
    strong[7, 1] = 1e-9
    assert 0 < permuted(strong) < 1e-150

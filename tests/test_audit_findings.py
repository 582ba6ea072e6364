"""Findings: each on a constructed truth, none on clean tables, the rate of false ones, the words."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats

from audit_tables import Made, bias, clean, edit, error, evidence, group
from sightline.errors import InputError
from sightline.studies.auditing._sentences import between, percent
from sightline.studies.auditing.findings import findings
from sightline.studies.auditing.kinds import KINDS
from sightline.studies.auditing.thresholds import Thresholds


def kinds(made: Made, **settings) -> list[tuple[str, str, int]]:
    found = findings(made, Thresholds(**settings))
    return [(r["kind"], r["attribute"], r["severity"]) for r in found.iter_rows(named=True)]


def only(made: Made, **settings) -> dict:
    found = findings(made, Thresholds(**settings))
    assert len(found) == 1, found
    return found.row(0, named=True)


def test_clean_tables_and_empty_ones_have_none():
    assert kinds(clean("Bald", "Smiling", "Male")) == []
    assert kinds(Made([error("Bald", 300, 15, 900, 45)])) == []
    assert findings(Made([error("Bald", 300, 15, 900, 45)])).columns[:3] == ["kind", "attribute", "group"]


def test_a_neglected_minority_is_told_with_its_figures():
    made = clean("Smiling")
    made.error_lines.append(error("Eyeglasses", 84, 32, 1116, 11))
    row = only(made)
    assert (row["kind"], row["attribute"], row["severity"]) == ("neglected-minority", "Eyeglasses", 2)
    assert "Of the 84 images with “Eyeglasses”, the classifier misses 38 % [28, 49]" in row["sentence"]
    assert "of the 1,116 without, it wrongly says yes to 1 % [0.6, 1.8]" in row["sentence"]
    assert row["p"] == pytest.approx(stats.fisher_exact([[32, 52], [11, 1105]], alternative="greater").pvalue)
    assert json.loads(row["figures"])["minority_count"] == 84
    assert row["confirmed"] is None


def test_the_rare_side_may_be_no_and_training_tells_which_is_rare():
    row = only(Made([error("Young", 900, 9, 100, 40)]))
    assert row["sentence"].startswith("Of the 100 images without “Young”, the classifier wrongly says yes to 40 %")
    even = error("Smiling", 300, 90, 300, 3)
    assert kinds(Made([even])) == [("sign-asymmetry", "Smiling", 1)]
    assert kinds(Made([even | {"train_rate": 0.1}])) == [("neglected-minority", "Smiling", 2)]


def test_a_constant_that_decides_is_found_and_named_after_the_larger_part():
    made = clean("Bald")
    made.bias_lines = [bias("Bald", "no", head=0.7, common=0.1), bias("Bald", "yes", head=-0.7, common=-0.1)]
    row = only(made)
    assert (row["kind"], row["severity"]) == ("bias-decides", 2)
    assert "says no to “Bald” (200 images), 80 % [75, 85] of the decision" in row["sentence"]
    made.bias_lines = [bias("Bald", "no", head=0.01, common=1.2)]
    row = only(made)
    assert (row["kind"], row["severity"]) == ("common-evidence-decides", 3)
    assert "speaks, on average, for the other answer" in row["sentence"]
    made.bias_lines = [bias("Bald", "no", head=0.5, common=0.04, wide=0.1)]  # above one half, but not beyond chance
    assert kinds(made) == []


def test_evidence_elsewhere_is_found_and_interventions_have_the_last_word():
    made = clean("Bald")
    made.evidence_lines = [evidence("Bald", "yes", 0.05), evidence("Bald", "no", 0.05)]
    made.edit_lines = []
    assert only(made)["confirmed"] is None
    made.edit_lines = [edit("Bald", 0.01, 0.01)]
    row = only(made)
    assert (row["kind"], row["severity"], row["confirmed"]) == ("evidence-outside-region", 2, True)
    assert "An intervention confirms it" in row["sentence"]
    made.edit_lines = [edit("Bald", 0.3, 0.01)]
    row = only(made)
    assert (row["severity"], row["confirmed"]) == (0, False)
    assert "contradicts" in row["sentence"]
    made.edit_lines = [edit("Bald", 0.05, 0.04, wide=0.2)]  # too uncertain to say either
    assert only(made)["confirmed"] is None


def test_a_majority_without_evidence_is_found_where_the_minority_has_it():
    made = clean("Bald")
    made.evidence_lines = [evidence("Bald", "yes", 0.7), evidence("Bald", "no", 0.004, empty=0.95)]
    row = only(made)
    assert (row["kind"], row["severity"]) == ("majority-without-evidence", 3)
    assert "95 % of these maps are empty" in row["sentence"]
    made.edit_lines.append(edit("Bald", 0.2, 0.01, direction="neutral"))
    assert [only(made)[k] for k in ("severity", "confirmed")] == [3, None]  # what hides may look like the attribute
    made.edit_lines[-1] = edit("Bald", 0.01, 0.01, direction="neutral")
    assert only(made)["confirmed"] is True
    made.evidence_lines = [evidence("Bald", "yes", 0.7), evidence("Bald", "no", 0.11)]  # at chance, not below it
    assert kinds(made) == []
    made.evidence_lines = [evidence("Bald", "yes", 0.12), evidence("Bald", "no", 0.004, empty=0.95)]
    assert kinds(made) == []


def test_findings_rest_on_hirescam_after_the_activation_where_it_is_there():
    made = clean("Bald")
    other = [line | {"method": "hires-cam", "layer": "before"} for line in made.evidence_lines]
    made.evidence_lines = [evidence("Bald", "yes", 0.02), evidence("Bald", "no", 0.02), *other]
    made.evidence_lines += [line | {"layer": "after"} for line in other]
    made.edit_lines = []
    assert kinds(made) == []


def test_maps_that_point_at_an_idle_region_are_found():
    made = clean("Bald")
    made.edit_lines = [edit("Bald", 0.012, 0.01)]
    row = only(made)
    assert (row["kind"], row["confirmed"], row["severity"]) == ("intervention-unconfirmed", False, 1)
    made.edit_lines = [edit("Bald", 0.3, 0.01, direction="insert", confirmed=False)]
    assert kinds(made) == []


def test_a_group_is_judged_by_truth_not_by_its_mixture_and_small_ones_never():
    errors = [error("Bald", 300, 60, 900, 18)]
    worse = [group("Male", "no", "Bald", 60, 30, 500, 10), group("Male", "yes", "Bald", 240, 30, 400, 8)]
    row = only(Made(errors, worse), gap=(0.5, 0.6, 0.7))
    assert (row["kind"], row["group"], row["severity"]) == ("worst-group", "Male: no", 3)
    assert "Among images without “Male”, the classifier misses “Bald” in 50 %" in row["sentence"]
    # Twice as many images of the harder side, the same rates: served alike.
    mixed = [group("Male", "no", "Bald", 200, 40, 100, 2), group("Male", "yes", "Bald", 100, 20, 800, 16)]
    assert kinds(Made(errors, mixed), gap=(0.5, 0.6, 0.7)) == []
    both = [*worse, group("Male x Young", "no x no", "Bald", 50, 25, 300, 6)]
    assert [row["group"] for row in findings(Made(errors, both)).iter_rows(named=True) if row["group"]] == ["Male: no"]
    both[-1] = group("Male x Young", "no x no", "Bald", 40, 28, 300, 6)
    assert len(findings(Made(errors, both)).filter(kind="worst-group")) == 2
    wide = [*both, *(group(name, "yes", "Bald", 150, 30, 450, 9) for name in ("a", "b", "c"))]
    assert len(findings(Made(errors, wide)).filter(kind="worst-group")) == 1  # four columns: not their intersections
    small = [group("Male", "no", "Bald", 10, 10, 500, 10)]
    assert kinds(Made(errors, small), gap=(0.5, 0.6, 0.7)) == []


def test_false_findings_are_rarer_than_the_level_however_small_an_effect_may_be():
    """60 clean audits of 8 attributes x 5 tests of counts and 2 of shares; any positive effect is large enough."""
    rng, tiny = np.random.default_rng(0), (1e-9, 1.0, 1.0)
    limits = Thresholds(gap=tiny, lean=tiny, group=tiny, constant=(0.5, 5.0, 5.0), rare=0.45)
    false = 0
    for _ in range(60):
        errors, groups, shares = [], [], []
        for k in range(8):
            P, N, rate = 150, 450, 0.1
            part = [(rng.binomial(75, rate), rng.binomial(225, rate)) for _ in range(2)]
            errors.append(error(f"a{k}", P, sum(a for a, _ in part), N, sum(b for _, b in part)))
            groups += [group("g", str(i), f"a{k}", 75, a, 225, b) for i, (a, b) in enumerate(part)]
            for side in ("yes", "no"):  # 200 images whose shares are 0.5 on average, with the interval of their mean
                drawn = rng.normal(0.5, 0.4, 200)
                half = 1.96 * drawn.std(ddof=1) / 200**0.5
                shares.append(bias(f"a{k}", side, head=0.0, common=float(drawn.mean()), wide=float(half)))
        false += len(findings(Made(errors, groups, [], shares), limits)) > 0
    assert false <= stats.binom.ppf(0.999, 60, 0.05)


def test_order_columns_and_limits():
    made = clean("Bald", "Smiling")
    made.error_lines = [error("Bald", 84, 32, 1116, 11), error("Smiling", 100, 50, 1000, 5)]
    found = findings(made)
    assert found["severity"].to_list() == sorted(found["severity"], reverse=True)
    assert found["attribute"].to_list()[0] == "Smiling"
    assert set(found["kind"]) <= set(KINDS)
    assert (found["p_holm"] >= found["p"]).all()
    assert found["tests"].unique().len() == 1
    assert found.schema["confirmed"] == pl.Boolean
    for wrong in ({"alpha": 0}, {"gap": (0.3, 0.2, 0.1)}, {"outside": (0.1, 0.2, 0.3)}, {"min_count": 1}):
        with pytest.raises(InputError):
            Thresholds(**wrong)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.384, "38 %"),
        (0.0, "0 %"),
        (0.0098, "1 %"),
        (0.0123, "1.2 %"),
        (1.0, "100 %"),
        (-0.05, "-5 %"),
        (0.0994, "9.9 %"),
    ],
)
def test_percentages_are_short(share, text):
    assert percent(share) == text
    assert between(None, None) == ""
    assert between(0.31, 0.46) == " [31, 46]"

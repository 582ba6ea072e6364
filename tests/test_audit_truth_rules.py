"""Rules on edits: what is planted in made tables is found, and nothing where nothing is."""

import json

import pytest
from scipy import stats

from audit_tables import Made, clean, edit
from sightline.studies.auditing.findings import findings


def kinds(made: Made) -> list[tuple[str, str, int]]:
    return [(r["kind"], r["attribute"], r["severity"]) for r in findings(made).iter_rows(named=True)]


def switched(attribute: str, direction: str, followed: float, n: int = 200, **more):
    effect = max(0.0, followed - 0.05)
    about = {"edit": "counterfactual", "direction": direction, "region": attribute, "accuracy_region": 1 - followed}
    return edit(attribute, effect, 0.01, n=n, p=1e-9) | about | more


def placed(attribute: str, kind: str, direction: str, region: float, control: float, p: float = 1e-9, **more):
    line = edit(attribute, region, control, p=p, **more) | {"edit": kind, "direction": direction}
    line |= {"region": "row 1, column 1 of 4 x 4", "accuracy_region": None}
    return line | {"flip_region_low": 0.1, "flip_region_high": 0.9}


def test_an_answer_that_does_not_follow_the_attribute_is_told():
    made = clean("Smiling")
    made.edit_lines = [switched("Smiling", "insert", 0.11), switched("Smiling", "remove", 0.95)]
    row = findings(made).row(0, named=True)
    assert kinds(made) == [("companion-decides", "Smiling", 3)]
    figures = json.loads(row["figures"])
    assert (figures["observed"], figures["followed"], figures["n"]) == (0.95, pytest.approx(0.11), 200)
    assert row["p"] == pytest.approx(stats.fisher_exact([[285, 15], [22, 178]], alternative="greater").pvalue)
    assert "says yes to 95 %; when it is put into 200 others and all else stays, to 11 % only" in row["sentence"]
    made.edit_lines = [switched("Smiling", "insert", 0.95), switched("Smiling", "remove", 0.6)]
    assert kinds(made) == [("companion-decides", "Smiling", 2)]
    assert "without “Smiling”, the classifier says no to 95 %" in findings(made)["sentence"][0]


def test_an_answer_that_follows_is_not_blamed_nor_one_that_errs_as_often_anyway():
    made = clean("Smiling")
    made.edit_lines = [switched("Smiling", "insert", 0.93), switched("Smiling", "remove", 0.94)]
    assert kinds(made) == []
    made.edit_lines = [switched("Smiling", "insert", 0.3, n=8)]
    assert kinds(made) == []


@pytest.mark.parametrize(("kind", "direction"), [("cue", "insert"), ("cue", "remove"), ("sweep", "remove")])
def test_something_elsewhere_that_decides_is_told(kind, direction):
    made = clean("Smiling")
    made.edit_lines.append(placed("Smiling", kind, direction, 0.6, 0.02))
    row = findings(made).row(0, named=True)
    assert kinds(made) == [("shortcut", "Smiling", 3)]
    assert row["confirmed"] is True
    assert "60 %" in row["sentence"]
    assert "An intervention confirms" not in row["sentence"]


def test_what_is_elsewhere_and_does_little_or_as_much_as_its_controls_is_not_told():
    made = clean("Smiling")
    made.edit_lines += [
        placed("Smiling", "cue", "insert", 0.05, 0.01),
        placed("Smiling", "sweep", "remove", 0.5, 0.49, p=0.8),
        placed("Smiling", "sweep", "neutral", 0.6, 0.02),
        placed("Smiling", "paste", "insert", 0.6, 0.02, p=0.5),
        placed("Smiling", "sweep", "remove", 0.6, 0.02, n=10),
    ]
    assert kinds(made) == []

"""Conditions of `--fail-if`: what they mean, what they find, and what is said of those that cannot be read."""

import pytest

from audit_tables import Made, bias, clean, error, evidence, group
from sightline.errors import InputError
from sightline.studies.auditing.conditions import check, parse
from sightline.studies.auditing.findings import findings


@pytest.fixture
def made() -> Made:
    audit = clean("Bald", "Smiling", "5_o_Clock_Shadow")
    audit.error_lines[0] = error("Bald", 84, 32, 1116, 11)
    audit.evidence_lines += [line | {"method": "hires-cam"} for line in audit.evidence_lines]
    audit.evidence_lines.append(evidence("Bald", "no", 0.2, outcome="TN"))
    audit.group_lines += [group("Young", "no", "Bald", 5, 1, 30, 2), group("Young", "yes", "Bald", 300, 13, 800, 40)]
    return audit


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("FNR(Bald) > 0.35", True),
        ("FNR(Bald) > 0.4", False),
        ("low(FNR(Bald)) > 0.25", True),
        ("low(FNR(Bald)) > 0.35", False),
        ("high(FNR(Bald)) < 0.5", True),
        ("balanced_error(5_o_Clock_Shadow)<=0.05", True),
        ("balanced_error('Smiling') > 0.1 or balanced_error(Bald) > 0.1", True),
        ("balanced_error(Smiling) > 0.1 and balanced_error(Bald) > 0.1", False),
        ("FNR(Bald) > 1 and FNR(Bald) > 1 or FNR(Bald) > 0.1", True),
        ("FNR(Bald) > 1 and (FNR(Bald) > 1 or FNR(Bald) > 0.1)", False),
        ("FNR(*) > 0.3", True),
        ("FNR(*) > 0.5", False),
        ("minority_count(Bald) == 84", True),
        ("FNR(Smiling, Male=yes) != 0.05", True),
        ("FNR(Smiling, by=Male, group=yes) < 0.05", True),
        ("disparity(Bald, by=Male) >= 0.1", True),
        ("share_common(Bald, side=majority) > 0.15", True),
        ("high(share_common(Bald, side=yes)) > -0.14", False),
        ("pe(Bald, side=no, method=grad-cam) > 0.25", True),
        ("pe(Bald, side=no, method=grad-cam, outcome=TN) > 0.25", False),
        ("difference(Bald) > 0.2", True),
        ("findings() > 0", True),
        ("findings(Smiling) > 0", False),
        ("findings(kind=neglected-minority) == 1", True),
        ("findings(severity=3) > 0", False),
    ],
)
def test_conditions_hold_or_do_not(made, text, holds):
    verdict = check(made, [text])[0]
    assert verdict.holds is holds
    assert verdict.values
    assert text in str(verdict)


def test_the_figures_are_those_of_the_tables(made):
    verdict = check(made, ["FNR(Bald) > 0.1 or low(FNR(Smiling)) > 0.1"])[0]
    assert verdict.values["FNR(Bald)"] == 32 / 84
    assert verdict.values["low(FNR(Smiling))"] == made.error_lines[1]["FNR_low"]
    assert check(made, []) == []
    assert check(made, ["findings() > 0"])[0].values["findings()"] == len(findings(made))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FNR(Blad) > 0.1", "did you mean 'Bald'"),
        ("balancederror(Bald) > 0.1", "did you mean 'balanced_error'"),
        ("FNR() > 0.1", "names no attribute"),
        ("FNR(Bald, Female=yes) > 0.1", "takes no options, not Female="),
        ("FNR(Bald, Male=maybe) > 0.1", "no such line"),
        ("FNR(Bald, Young=no) > 0.1", "not defined"),
        ("pe(Bald) > 0.1", "say which: side= yes, no; method= grad-cam, hires-cam"),
        ("pe(Bald, side=no, method=lime) > 0.1", "does not occur"),
        ("pe(Bald, side=no, method=grad-cam, outcome=FP) > 0.1", "does not occur"),
        ("low(mean_abs_z(Bald, side=no)) > 0.1", "has no interval"),
        ("share_layers(Bald, side=no) > 0.1", "not defined"),
        ("findings(kind=bad) > 0", "neglected-minority"),
        ("findings(Blad) > 0", "did you mean 'Bald'"),
    ],
)
def test_what_does_not_exist_is_an_error_that_names_what_does(made, text, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        check(made, [text])


@pytest.mark.parametrize(
    "text",
    ["", "FNR(Bald)", "FNR(Bald) >", "FNR(Bald) > x", "FNR Bald > 0.1", "FNR(Bald > 0.1", "(FNR(Bald) > 0.1", "> 0.1",
     "FNR(Bald) > 0.1 0.2", "FNR(Bald) = 0.1", "FNR(Bald) > 0.1 and", "FNR(Bald, yes) > 0.1",
     "low(high(FNR(Bald))) > 1", "__import__('os').system('x')", "FNR(Bald) > 0.1; FNR(Bald)", "FNR[Bald] > 1"],
)  # fmt: skip
def test_what_cannot_be_read_is_told_before_any_work(text):
    with pytest.raises(InputError, match="cannot read the condition"):
        parse(text)


def test_an_undefined_figure_never_passes(made):
    made.error_lines.append(error("Mustache", 0, 0, 900, 4))
    for text in ("FNR(Mustache) > 0.1", "FNR(*) > 0.1", "FNR(Bald) > 0.1 or FNR(Mustache) > 0.1"):
        with pytest.raises(InputError, match="not defined"):
            check(made, [text])
    made.bias_lines[0] = bias("Bald", "yes", head=float("nan"), common=0.1)
    with pytest.raises(InputError, match="not defined"):
        check(made, ["share_bias(Bald, side=yes) > 0.1"])

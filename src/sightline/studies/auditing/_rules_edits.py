"""Rules on what edits alone can tell: something elsewhere decides, or a companion of the attribute does."""

from collections.abc import Iterator

from sightline.studies.auditing import _sentences as say
from sightline.studies.auditing._rules import Candidate, Line, Tables, known, step
from sightline.studies.auditing.thresholds import Thresholds

ELSEWHERE = ("cue", "paste", "sweep")
"""Edits of what is not the attribute's region."""
EXACT = ("counterfactual", "pairs")
"""Edits after which the image has the attribute, or has it no more, with all else equal."""


def elsewhere(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Does something outside of the attribute's region change its answer?

    The permutation test of the edit against its controls; the effect is the difference of both, in probability.
    """
    for line in tables.interventions().iter_rows(named=True):
        if line["edit"] not in ELSEWHERE or line["direction"] == "neutral" or not known(line, "p", "difference"):
            continue
        if line["n"] < limits.min_count:
            continue
        severity = step(line["difference"], limits.elsewhere) if line["difference_low"] > 0 else 0
        names = ("n", "effect_region", "effect_control", "difference", "flip_region")
        yield Candidate(
            kind="shortcut",
            attribute=line["attribute"],
            p=line["p"],
            effect=line["difference"],
            severity=severity,
            sentence=say.elsewhere(line) if severity else "",
            figures={"edit": line["edit"], "region": line["region"], **{name: line[name] for name in names}},
            confirmed=True if severity else None,
        )


def companions(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Does the answer follow the attribute, or what goes with it?

    P(yes | images that have it) against P(yes | images into which it was put, all else equal), and likewise for no: an
    observation against an experiment (Balakrishnan et al. 2020, arXiv 2007.06570). Fisher's exact test, one-sided.
    """
    from scipy.stats import fisher_exact

    errors = {line["attribute"]: line for line in tables.errors().iter_rows(named=True)}
    for line in tables.interventions().iter_rows(named=True):
        seen = errors.get(line["attribute"])
        if seen is None or line["edit"] not in EXACT or line["direction"] == "neutral":
            continue
        put = line["direction"] == "insert"
        right, n = (seen["TP"], seen["positives"]) if put else (seen["TN"], seen["negatives"])
        if min(n, line["n"]) < limits.min_count or not known(line, "accuracy_region"):
            continue
        share = 1 - line["accuracy_region"]  # against the old truth: whoever is wrong now has followed the edit
        followed = round(share * line["n"])
        p = float(fisher_exact([[right, n - right], [followed, line["n"] - followed]], alternative="greater").pvalue)
        effect = right / n - share
        severity = step(effect, limits.companion)
        yield Candidate(
            kind="companion-decides",
            attribute=line["attribute"],
            p=p,
            effect=effect,
            severity=severity,
            sentence=say.companion(line, right / n, n, share) if severity else "",
            figures={"edit": line["edit"], "direction": line["direction"], **_shares(line, right / n, n, share)},
            confirmed=True if severity else None,
        )


def _shares(line: Line, observed: float, n: int, followed: float) -> dict[str, float]:
    return {"observed": observed, "n_observed": n, "followed": followed, "n": line["n"]}

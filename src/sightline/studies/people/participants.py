"""Who took part: catch trials passed, habits of the hand, whose options were chosen, and who is left out."""

import numpy as np
import polars as pl

from sightline.errors import InputError
from sightline.studies.people.choices import RESAMPLES, Array, Votes, _limits, _weigh, votes
from sightline.studies.statistics import LEVEL, wilson
from sightline.studies.statistics.intervals import divide


def participants(judgements: pl.DataFrame) -> pl.DataFrame:
    """One line a person.

    Args:
        judgements: Of `read_triads`.

    Returns:
        participant, judgements (of kind `trial`), unanswered, catch, passed (catch trials, and how many of them right),
        left (share of choices on the left side; null where sides are not known), median_rt_ms.
    """
    trial, catch = pl.col("kind") == "trial", pl.col("kind") == "catch"
    answered, sided = pl.col("choice").is_not_null(), pl.col("side").is_in(["left", "right"])
    at_left = (pl.col("choice") == 1) == (pl.col("side") == "left")
    return (
        judgements.group_by("participant")
        .agg(
            judgements=(trial & answered).sum().cast(pl.Int64),
            unanswered=(trial & ~answered).sum().cast(pl.Int64),
            catch=(catch & answered).sum().cast(pl.Int64),
            passed=(catch & (pl.col("choice") == pl.col("expected"))).sum().cast(pl.Int64),
            left=at_left.filter(trial & answered & sided).mean(),
            median_rt_ms=pl.col("rt_ms").filter(trial & answered).median(),
        )
        .sort("participant")
    )


def attentive(judgements: pl.DataFrame, *, least: float) -> pl.DataFrame:
    """Judgements of those who passed at least a share of their catch trials; who had none stays.

    Args:
        judgements: Of `read_triads`.
        least: In [0, 1].

    Raises:
        InputError: A share out of range, or nobody passed.
    """
    if not 0 <= least <= 1:
        raise InputError(f"the share of catch trials to pass must lie in [0, 1], not {least}")
    table = participants(judgements)
    kept = table.filter(pl.col("passed") >= least * pl.col("catch"))["participant"]
    found = judgements.filter(pl.col("participant").is_in(kept.to_list()))
    if not len(found):
        raise InputError(
            f"nobody passed {least:.0%} of the catch trials; all {len(table)} participants would be left out"
        )
    return found


def preference(
    judgements: pl.DataFrame, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> pl.DataFrame:
    """Whose options people chose, where triads say whose each option is; 0.5 is chance.

    Sources are put into alphabetical order, so that it does not matter which of them was option 1.

    Returns:
        a, b (sources), share (of choices for what b had proposed), low, high (Wilson), boot_low, boot_high (bootstrap
        over participants and targets), judgements, participants, items, note. No line where no source is told.
    """
    told = judgements.filter(
        (pl.col("kind") == "trial")
        & pl.col("choice").is_not_null()
        & pl.col("source_1").is_not_null()
        & pl.col("source_2").is_not_null()
        & (pl.col("source_1") != pl.col("source_2"))
    )
    first_is_low = pl.col("source_1") < pl.col("source_2")
    told = told.with_columns(
        a=pl.when(first_is_low).then("source_1").otherwise("source_2"),
        b=pl.when(first_is_low).then("source_2").otherwise("source_1"),
        # What a proposed stands as option 1, so that a choice of 2 is one for b.
        choice=pl.when(first_is_low).then("choice").otherwise(3 - pl.col("choice")),
        option_1=pl.when(first_is_low).then("option_1").otherwise("option_2"),
        option_2=pl.when(first_is_low).then("option_2").otherwise("option_1"),
    )
    lines = []
    for (a, b), part in told.group_by("a", "b", maintain_order=True):
        found = votes(part)
        n, k = len(part), int((part["choice"] == 2).sum())
        right = _of_second(part, found)
        drawn = np.concatenate(
            [divide(_weigh(w, v, right), _weigh(w, v, found.count)) for w, v in found.weights(resamples, seed)]
        )
        low, high, note = _limits(found, drawn, np.ones(len(found.questions), dtype=bool), level)
        items = int(found.items.max()) + 1
        lines.append((a, b, k / n, *wilson(k, n, level=level), low, high, n, len(found.participants), items, note))
    names = ("a", "b", "share", "low", "high", "boot_low", "boot_high", "judgements", "participants", "items", "note")
    kinds = [pl.String] * 2 + [pl.Float64] * 5 + [pl.Int64] * 3 + [pl.String]
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row").sort("a", "b")


def _of_second(part: pl.DataFrame, found: Votes) -> Array:
    """(P, T) how often each participant chose what b proposed; an option may be b's in one triad, a's in another."""
    people = {name: p for p, name in enumerate(found.participants)}
    place = {question: t for t, question in enumerate(found.questions)}
    right: Array = np.zeros(found.first.shape)
    columns = ("participant", "target", "option_1", "option_2", "choice")
    for person, target, first, second, choice in part.select(columns).iter_rows():
        low, high = sorted((first, second))
        right[people[person], place[target, low, high]] += choice == 2
    return right

"""All that judgements say of models, at once: choices, ceilings, whose options were chosen, rank correlations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sightline.errors import InputError
from sightline.studies.people import matrices
from sightline.studies.people.choices import RESAMPLES, Ceiling, Item, accuracy, ceiling, differences
from sightline.studies.people.participants import attentive, participants, preference
from sightline.studies.people.similarity import SimilarityMatrix
from sightline.studies.statistics import LEVEL

FEW_RIVALS = (
    "most pairs of images met one rival only, so a matrix of them would say more of the rivals than of the pairs; "
    "rank correlations need random or balanced triads"
)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How well models agree with people.

    Attributes:
        source: `triads` or `ratings`.
        judgements: How many count.
        people: One line a participant (of triads; see `participants`), with those who are left out.
        left_out: Participants who failed catch trials.
        accuracy: One line a model; of triads only. See `accuracy`.
        ceiling: Of choices; of triads only.
        differences: One line a pair of models; of triads only. See `differences`.
        preference: Whose options were chosen; of triads with sources only. See `preference`.
        agreement: Rank correlations, one line a model; see `matrices.agreement`. None where they would mislead.
        note: Why something is not there.
        settings: What was asked, for the protocol.
    """

    source: str
    judgements: int
    people: pl.DataFrame
    left_out: tuple[str, ...]
    accuracy: pl.DataFrame | None
    ceiling: Ceiling | None
    differences: pl.DataFrame | None
    preference: pl.DataFrame | None
    agreement: pl.DataFrame | None
    note: str
    settings: dict[str, Any]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All tables as rows, for JSON."""
        named = {
            "participants": self.people,
            "accuracy": self.accuracy,
            "differences": self.differences,
            "preference": self.preference,
            "agreement": self.agreement,
        }
        found = {name: frame.to_dicts() for name, frame in named.items() if frame is not None}
        return found | ({"ceiling": [vars(self.ceiling)]} if self.ceiling else {})


def score_triads(
    judgements: pl.DataFrame,
    similarities: Sequence[SimilarityMatrix],
    *,
    catch: float = 0.0,
    item: Item = "target",
    resamples: int = RESAMPLES,
    permutations: int = matrices.PERMUTATIONS,
    level: float = LEVEL,
    seed: int = 0,
) -> Scored:
    """Score triads.

    Args:
        judgements: Of `read_triads`.
        similarities: Of the models; may be none.
        catch: The share of catch trials that a participant must have passed.
        item: What is resampled beside participants; see `votes`.
        resamples: Of all bootstraps.
        permutations: Of the Mantel test.
        level: Of the intervals.
        seed: Of all that is drawn.

    Raises:
        InputError: Nobody is left, no judgement, or an image that a model does not know.
    """
    _differ(similarities)
    table, kept = participants(judgements), attentive(judgements, least=catch)
    settings: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}
    told = preference(kept, **settings)
    agreement, note = None, ""
    if similarities and _rivals(kept) < 2:
        note = FEW_RIVALS
    elif similarities:
        found = matrices.people_of_triads(kept)
        agreement = matrices.agreement(found, similarities, permutations=permutations, **_fewer(settings))
    counted = kept.filter((pl.col("kind") == "trial") & pl.col("choice").is_not_null())
    return Scored(
        source="triads",
        judgements=len(counted),
        people=table,
        left_out=tuple(sorted(set(table["participant"]) - set(kept["participant"]))),
        accuracy=accuracy(kept, similarities, item=item, **settings) if similarities else None,
        ceiling=ceiling(kept, item=item, **settings),
        differences=differences(kept, similarities, item=item, **settings) if len(similarities) > 1 else None,
        preference=told if len(told) else None,
        agreement=agreement,
        note=note,
        settings=settings | {"catch": catch, "item": item, "permutations": permutations},
    )


def score_ratings(
    ratings: pl.DataFrame,
    similarities: Sequence[SimilarityMatrix],
    *,
    resamples: int = matrices.RESAMPLES,
    permutations: int = matrices.PERMUTATIONS,
    level: float = LEVEL,
    seed: int = 0,
) -> Scored:
    """Score ratings of pairs; arguments as for `score_triads`.

    Raises:
        InputError: No model, or an image that a model does not know.
    """
    if not similarities:
        raise InputError("ratings are held against models; give at least one")
    _differ(similarities)
    settings: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed, "permutations": permutations}
    found = matrices.people_of_ratings(ratings)
    people = ratings.group_by("participant").agg(judgements=pl.len().cast(pl.Int64)).sort("participant")
    return Scored(
        source="ratings",
        judgements=len(ratings),
        people=people,
        left_out=(),
        accuracy=None,
        ceiling=None,
        differences=None,
        preference=None,
        agreement=matrices.agreement(found, similarities, **settings),
        note="",
        settings=settings,
    )


def _differ(similarities: Sequence[SimilarityMatrix]) -> None:
    keys = [(s.name, s.kind) for s in similarities]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise InputError(f"two similarities are called {twice[0][0]!r} ({twice[0][1]}); give them different names")


def _fewer(settings: dict[str, Any]) -> dict[str, Any]:
    """Resamples of matrices are dear."""
    return settings | {"resamples": min(settings["resamples"], matrices.RESAMPLES)}


def _rivals(judgements: pl.DataFrame) -> float:
    """How many different rivals a pair (target, option) met, in the median over pairs."""
    asked = judgements.filter((pl.col("kind") == "trial") & pl.col("choice").is_not_null())
    met: dict[frozenset[str], set[str]] = {}
    for target, a, b in asked.select("target", "option_1", "option_2").iter_rows():
        met.setdefault(frozenset((target, a)), set()).add(b)
        met.setdefault(frozenset((target, b)), set()).add(a)
    counts = sorted(len(rivals) for rivals in met.values())
    return counts[len(counts) // 2] if counts else 0

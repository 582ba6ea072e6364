"""Does a model choose as people do? Accuracy on triads with intervals, and how well any model could do: the ceiling."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.people.similarity import SimilarityMatrix
from sightline.studies.statistics import LEVEL, wilson
from sightline.studies.statistics.intervals import divide, draws, ends, none

Array = NDArray[np.float64]
Item = Literal["target", "triad"]

RESAMPLES = 2000
_CHUNK = 2**22
ONE_PERSON = "one participant only: the interval is over items alone"


@dataclass(frozen=True)
class Votes:
    """Who chose what, as matrices.

    Attributes:
        participants, questions: P names, and T triads (target, first, second), options in alphabetical order.
        items: (T,) which item each question belongs to, 0 ... I - 1: questions of one target, or each its own.
        first, second: (P, T) how often each participant chose the first and the second option.
    """

    participants: tuple[str, ...]
    questions: tuple[tuple[str, str, str], ...]
    items: NDArray[np.int64]
    first: Array
    second: Array

    @property
    def count(self) -> Array:
        """(P, T) judgements."""
        return self.first + self.second

    def weights(self, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Bootstrap weights of participants (r, P) and of questions (r, T), drawn on their own, chunk by chunk.

        Crossed resampling of both: Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1, 386-411.
        """
        step = max(1, _CHUNK // max(1, len(self.participants) * len(self.questions)))
        people = draws(len(self.participants), resamples, seed)
        items = draws(int(self.items.max()) + 1, resamples, seed + 1)
        w = np.concatenate(list(people))
        v = np.concatenate([drawn[:, self.items] for drawn in items])
        for start in range(0, resamples, step):
            yield w[start : start + step], v[start : start + step]


def votes(judgements: pl.DataFrame, *, item: Item = "target") -> Votes:
    """Judgements of kind `trial` that have a choice, as matrices.

    Args:
        judgements: Of `read_triads`.
        item: What is resampled beside participants: all questions of a target together, or each triad on its own.

    Raises:
        InputError: There are none.
    """
    if item not in get_args(Item):
        raise InputError(f"item must be one of {', '.join(get_args(Item))}, not {item!r}")
    asked = judgements.filter((pl.col("kind") == "trial") & pl.col("choice").is_not_null())
    if not len(asked):
        raise InputError("there is no judgement of kind 'trial' with a choice")
    people: dict[str, int] = {name: i for i, name in enumerate(sorted(set(asked["participant"])))}
    rows = []
    for person, target, a, b, choice in asked.select(
        "participant", "target", "option_1", "option_2", "choice"
    ).iter_rows():
        low, high = sorted((a, b))
        rows.append((people[person], (target, low, high), (a if choice == 1 else b) == low))
    questions = tuple(sorted({question for _, question, _ in rows}))
    place = {question: t for t, question in enumerate(questions)}
    first, second = np.zeros((len(people), len(questions))), np.zeros((len(people), len(questions)))
    for p, question, low in rows:
        (first if low else second)[p, place[question]] += 1
    targets = {name: i for i, name in enumerate(sorted({q[0] for q in questions}))}
    items = [targets[q[0]] if item == "target" else t for t, q in enumerate(questions)]
    return Votes(tuple(people), questions, np.array(items, dtype=np.int64), first, second)


def chosen(found: Votes, similarity: SimilarityMatrix) -> Array:
    """What a model chooses (T,): 1 the first option, 0 the second, 1/2 where both are as alike, NaN where undefined."""
    t, a, b = (similarity.places([q[k] for q in found.questions]) for k in range(3))
    d = similarity.values[t, a] - similarity.values[t, b]
    answer: Array = np.where(np.isnan(d), np.nan, (np.sign(d) + 1) / 2)
    return answer


def accuracy(
    judgements: pl.DataFrame,
    similarities: Sequence[SimilarityMatrix],
    *,
    item: Item = "target",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """How often people chose what each model finds more alike; 0.5 is chance.

    A model that finds both options as alike counts as half right. The binomial interval is Wilson's; p is of the exact
    two-sided test against 1/2 over choices that are no ties. Both take judgements as independent. Those of one person
    or one target are not, so `boot_low` and `boot_high` resample participants and items, each on their own: believe
    these.

    Args:
        judgements: Of `read_triads`.
        similarities: Of the models.
        item: See `votes`.
        resamples: Of the bootstrap.
        level: Of the intervals.
        seed: Of the bootstrap.

    Returns:
        model, kind, accuracy, low, high, boot_low, boot_high, p, judgements, ties, undefined, participants, items,
        note.

    Raises:
        InputError: No judgement, or an image that a model does not know.
    """
    found = votes(judgements, item=item)
    lines = []
    for similarity in similarities:
        m = chosen(found, similarity)
        there = ~np.isnan(m)
        right, count = _right(found, m)
        n, k = float(count.sum()), float(right.sum())
        ties = float(count[:, m == 0.5].sum())
        drawn = np.concatenate(
            [divide(_weigh(w, v, right), _weigh(w, v, count)) for w, v in found.weights(resamples, seed)]
        )
        low, high = wilson(k, int(n), level=level) if n else (math.nan, math.nan)
        boot_low, boot_high, note = _limits(found, drawn, there, level)
        lines.append(
            {
                "model": similarity.name,
                "kind": similarity.kind,
                "accuracy": k / n if n else None,
                "low": none(low),
                "high": none(high),
                "boot_low": boot_low,
                "boot_high": boot_high,
                "p": _p(k - ties / 2, n - ties),
                "judgements": int(n),
                "ties": int(ties),
                "undefined": int(found.count.sum() - n),
                "participants": len(found.participants),
                "items": len(set(found.items[there].tolist())),
                "note": note if n else "no pair is defined",
            }
        )
    numbers = ["accuracy", "low", "high", "boot_low", "boot_high", "p"]
    counts = ["judgements", "ties", "undefined", "participants", "items"]
    kinds = {"model": pl.String, "kind": pl.String, **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(lines, schema={**kinds, **dict.fromkeys(counts, pl.Int64), "note": pl.String})


def _right(found: Votes, m: Array) -> tuple[Array, Array]:
    """(P, T) choices that a model gets right, and all of those for which it has an answer."""
    there = ~np.isnan(m)
    answer = np.where(there, m, 0)
    return found.first * answer + found.second * np.where(there, 1 - answer, 0), found.count * there


def _weigh(w: Array, v: Array, values: Array) -> Array:
    """sum_pt w_rp v_rt values_pt for each resample: (r,)."""
    total: Array = ((w @ values) * v).sum(1)
    return total


def _limits(
    found: Votes, drawn: Array, there: NDArray[np.bool_], level: float
) -> tuple[float | None, float | None, str]:
    """The bootstrap's ends, null where there is nothing to resample, and what to say of them."""
    items = len(set(found.items[there].tolist()))
    if items < 2 and len(found.participants) < 2:
        return None, None, "one participant and one item: there is nothing to resample"
    low, high = ends(drawn[:, None], level)
    note = ONE_PERSON if len(found.participants) < 2 else "one item only" if items < 2 else ""
    return none(float(low[0])), none(float(high[0])), note


def _p(right: float, n: float) -> float | None:
    from scipy.stats import binomtest

    return float(binomtest(round(right), round(n), 0.5).pvalue) if n else None


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """How well any model could do on these judgements, given that people differ.

    Attributes:
        lower: How well the others' majority predicts a person; a good model may be better. None where no question was
            judged by two people.
        upper: How well everyone's majority does: no model that gives one answer a question can be better.
        lower_low, lower_high, upper_low, upper_high: Bootstrap intervals over participants and items.
        participants: How many people.
        note: Why something is None.
    """

    lower: float | None
    upper: float
    lower_low: float | None
    lower_high: float | None
    upper_low: float | None
    upper_high: float | None
    participants: int
    note: str = ""


def ceiling(
    judgements: pl.DataFrame, *, item: Item = "target", resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Ceiling:
    """The noise ceiling of choices, after Nili et al. (2014), PLoS Computational Biology 10, e1003553, for triads.

    upper = sum_t max(n_t1, n_t2) / sum_t (n_t1 + n_t2). lower: each choice is predicted by the majority of the *other*
    participants who judged the triad (a split vote is half right), averaged over the choices that others judged too.

    Raises:
        InputError: No judgement.
    """
    found = votes(judgements, item=item)
    ones = np.ones((1, len(found.participants))), np.ones((1, len(found.questions)))
    lower, upper = (float(v[0]) for v in _ceilings(found, *ones))
    drawn = [_ceilings(found, w, v) for w, v in found.weights(resamples, seed)]
    at = np.ones(len(found.questions), dtype=bool)
    lows = _limits(found, np.concatenate([d[0] for d in drawn]), at, level)
    ups = _limits(found, np.concatenate([d[1] for d in drawn]), at, level)
    alone = math.isnan(lower)
    return Ceiling(
        lower=none(lower),
        upper=upper,
        lower_low=None if alone else lows[0],
        lower_high=None if alone else lows[1],
        upper_low=ups[0],
        upper_high=ups[1],
        participants=len(found.participants),
        note="no question was judged by two people, so the lower end is not known" if alone else ups[2],
    )


def _ceilings(found: Votes, w: Array, v: Array) -> tuple[Array, Array]:
    """Lower and upper end (r,) under weights of participants (r, P) and questions (r, T)."""
    n1, n2 = w @ found.first, w @ found.second  # (r, T)
    upper = divide((np.maximum(n1, n2) * v).sum(1), ((n1 + n2) * v).sum(1))
    right, count = np.zeros(len(w)), np.zeros(len(w))
    for p in range(len(found.participants)):
        own = w[:, p : p + 1]
        o1, o2 = n1 - own * found.first[p], n2 - own * found.second[p]  # a person drawn twice is no other person
        m = (np.sign(o1 - o2) + 1) / 2
        judged = own * v * (o1 + o2 > 0)
        right += (judged * (found.first[p] * m + found.second[p] * (1 - m))).sum(1)
        count += (judged * (found.first[p] + found.second[p])).sum(1)
    return divide(right, count), upper


def differences(
    judgements: pl.DataFrame,
    similarities: Sequence[SimilarityMatrix],
    *,
    item: Item = "target",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """By how much one model chooses more as people do than another, for all pairs, on the same judgements.

    Returns:
        a, b, difference (accuracy of a minus that of b where both are defined), low, high (bootstrap over participants
        and items), differ (judgements on which they choose differently), judgements.

    Raises:
        InputError: No judgement, or an image that a model does not know.
    """
    found = votes(judgements, item=item)
    answers = [chosen(found, s) for s in similarities]
    lines = []
    for i, j in itertools.combinations(range(len(answers)), 2):
        there = ~np.isnan(answers[i]) & ~np.isnan(answers[j])
        (x, count), (y, _) = (_right(found, np.where(there, answers[k], np.nan)) for k in (i, j))
        drawn = np.concatenate(
            [divide(_weigh(w, v, x - y), _weigh(w, v, count)) for w, v in found.weights(resamples, seed)]
        )
        low, high, _ = _limits(found, drawn, there, level)
        n = float(count.sum())
        apart = int(count[:, there & (answers[i] != answers[j])].sum())
        value = float((x - y).sum() / n) if n else None
        lines.append((similarities[i].name, similarities[j].name, value, low, high, apart, int(n)))
    names = ("a", "b", "difference", "low", "high", "differ", "judgements")
    kinds = [pl.String] * 2 + [pl.Float64] * 3 + [pl.Int64] * 2
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row")

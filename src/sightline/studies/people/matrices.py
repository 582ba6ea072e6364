"""Matrices of how alike people find images, and how well those of models agree with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.people.similarity import SimilarityMatrix
from sightline.studies.statistics import LEVEL, holm
from sightline.studies.statistics.intervals import divide, draws, ends, none
from sightline.studies.statistics.mantel import mantel, rows_rho, symmetric

Array = NDArray[np.float64]

RESAMPLES, PERMUTATIONS = 1000, 10_000
_LEAST = 3  # pairs from which on a correlation is taken


@dataclass(frozen=True, eq=False)
class People:
    """What each participant says of each pair of images, as far as it was asked.

    A group's value of a pair is the sum of `total` over the participants, divided by that of `count`.

    Attributes:
        participants, images: P and N names.
        total: (P, M) float64 for the pairs i < j of images, in the order of `numpy.triu_indices`.
        count: (P, M) how often the pair was judged.
        source: `ratings` or `triads`.
    """

    participants: tuple[str, ...]
    images: tuple[str, ...]
    total: Array
    count: Array
    source: str

    def group(self, weights: Array | None = None) -> Array:
        """(M,) what the participants say together, each weighing (P,) or 1; NaN where nobody was asked."""
        w = np.ones(len(self.participants)) if weights is None else weights
        return divide(w @ self.total, w @ self.count)

    def each(self) -> Array:
        """(P, M) what every participant says; NaN where not asked."""
        return divide(self.total, self.count)

    def similarity(self, name: str = "people") -> SimilarityMatrix:
        """The group's matrix, to look at."""
        values = np.full((len(self.images), len(self.images)), np.nan)
        i, j = np.triu_indices(len(self.images), 1)
        values[i, j] = values[j, i] = self.group()
        return SimilarityMatrix(name=name, images=self.images, values=values, kind="people")


def people_of_ratings(ratings: pl.DataFrame, *, ranks: bool = True) -> People:
    """The matrices of pairwise ratings.

    Args:
        ratings: Of `read_ratings`. A pair that a person rated several times gets the mean.
        ranks: Put each person's ratings on one scale: ranks within the person, (rank - 1/2) / m for m rated pairs; raw
            ratings otherwise. Ranks suit people who rated the same pairs, or random ones.

    Raises:
        InputError: Fewer than three images.
    """
    from scipy.stats import rankdata

    images = tuple(sorted(set(ratings["a"]) | set(ratings["b"])))
    names = tuple(sorted(set(ratings["participant"])))
    place, pair = {name: i for i, name in enumerate(names)}, _pairs(images)
    total, count = np.zeros((len(names), len(pair))), np.zeros((len(names), len(pair)))
    for person, a, b, value in ratings.select("participant", "a", "b", "similarity").iter_rows():
        at = place[person], pair[min(a, b), max(a, b)]
        total[at] += value
        count[at] += 1
    values = divide(total, count)
    if ranks:
        for row in values:
            there = ~np.isnan(row)
            row[there] = (rankdata(row[there]) - 0.5) / max(1, there.sum())
    return People(names, images, np.nan_to_num(values), (count > 0).astype(float), "ratings")


def people_of_triads(judgements: pl.DataFrame) -> People:
    """The matrices of triads: of all trials that offered b beside target a (or a beside b), the share that chose it.

    Two images that were only ever offered against close rivals come out less alike than they are, so this wants many
    triads a pair with rivals drawn at random (`random_triads`, `balanced_triads`).

    Args:
        judgements: Of `read_triads`.

    Raises:
        InputError: There are no judgements.
    """
    asked = judgements.filter((pl.col("kind") == "trial") & pl.col("choice").is_not_null())
    if not len(asked):
        raise InputError("there is no judgement of kind 'trial' with a choice")
    images = tuple(sorted({*asked["target"], *asked["option_1"], *asked["option_2"]}))
    names = tuple(sorted(set(asked["participant"])))
    place, pair = {name: i for i, name in enumerate(names)}, _pairs(images)
    total, count = np.zeros((len(names), len(pair))), np.zeros((len(names), len(pair)))
    columns = ("participant", "target", "option_1", "option_2", "choice")
    for person, target, first, second, choice in asked.select(columns).iter_rows():
        for number, option in ((1, first), (2, second)):
            at = place[person], pair[min(target, option), max(target, option)]
            total[at] += choice == number
            count[at] += 1
    return People(names, images, total, count, "triads")


def _pairs(images: Sequence[str]) -> dict[tuple[str, str], int]:
    if len(images) < 3:
        raise InputError(f"judgements name {len(images)} images; at least three are needed to compare pairs")
    i, j = np.triu_indices(len(images), 1)
    return {(images[a], images[b]): k for k, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True))}


def agreement(
    people: People,
    similarities: Sequence[SimilarityMatrix],
    *,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank correlation of each model's matrix with people's, with the noise ceiling.

    rho is Spearman's correlation over pairs with the group's matrix; its p is the Mantel test over images (`p_holm`:
    corrected for all models). `person` is the mean over participants of the correlation with each one's own matrix.
    Intervals resample participants and images (pairs of an image with its own copy are left out). It is `person`
    that can be held against the ceiling, after Nili et al. (2014), PLoS Computational Biology 10, e1003553: `upper` is
    the mean correlation of participants with the group, `lower` with the group of the others.

    Args:
        people: Of `people_of_ratings` or `people_of_triads`.
        similarities: Of the models.
        permutations: Of the Mantel test.
        resamples: Of the bootstrap.
        level: Of the intervals.
        seed: Of both.

    Returns:
        model, kind, rho, low, high, p, p_holm, person, person_low, person_high, lower, upper, participants, images,
        pairs, note; null where something is not defined.

    Raises:
        InputError: An image that a model does not know.
    """
    i, j = np.triu_indices(len(people.images), 1)
    models = np.stack([symmetric(s.to(people.images).values)[i, j] for s in similarities])  # (S, M)
    drawn = np.concatenate(list(_resampled(people, models, resamples, seed)))  # (r, 2, S)
    low, high = ends(drawn[:, 0], level)
    person_low, person_high = ends(drawn[:, 1], level)
    own = np.stack([_over(people.each(), model) for model in models])  # (S, P)
    lower, upper = ceilings(people)
    lines = []
    for s, similarity in enumerate(similarities):
        # The group's matrix and the model's, tested as matrices.
        test = mantel(
            people.similarity().values, _square(models[s], len(people.images)), permutations=permutations, seed=seed
        )
        few = test.rho is None
        there = own[s][~np.isnan(own[s])]
        lines.append(
            {
                "model": similarity.name,
                "kind": similarity.kind,
                "rho": test.rho,
                "low": None if few else none(float(low[s])),
                "high": None if few else none(float(high[s])),
                "p": test.p,
                "person": float(there.mean()) if len(there) else None,
                "person_low": none(float(person_low[s])) if len(there) else None,
                "person_high": none(float(person_high[s])) if len(there) else None,
                "lower": lower,
                "upper": upper,
                "participants": len(people.participants),
                "images": len(people.images),
                "pairs": test.pairs,
                "note": _note(test.note, lower),
            }
        )
    numbers = ["rho", "low", "high", "p", "person", "person_low", "person_high", "lower", "upper"]
    kinds = {"model": pl.String, "kind": pl.String, **dict.fromkeys(numbers, pl.Float64)}
    counts = dict.fromkeys(["participants", "images", "pairs"], pl.Int64)
    frame = pl.DataFrame(lines, schema={**kinds, **counts, "note": pl.String})
    corrected = pl.Series(holm(frame["p"].to_numpy()), dtype=pl.Float64).fill_nan(None)
    return frame.insert_column(frame.columns.index("p") + 1, corrected.alias("p_holm"))


def _note(note: str, lower: float | None) -> str:
    alone = "no pair was judged by two people, so the ceiling's lower end is not known" if lower is None else ""
    return "; ".join(part for part in (note, alone) if part)


def ceilings(people: People) -> tuple[float | None, float | None]:
    """The noise ceiling (lower, upper) of rank correlations; None where no participant has enough pairs."""
    each, ones = people.each(), np.ones(len(people.participants))
    upper = _over(each, people.group())
    lower = np.full(len(each), np.nan)
    for p, row in enumerate(each):
        w = ones.copy()
        w[p] = 0
        lower[p] = _over(row[None], people.group(w))[0]
    low, high = (float(np.nanmean(v)) if not np.isnan(v).all() else None for v in (lower, upper))
    return low, high


def _over(rows: Array, other: Array) -> Array:
    """Spearman's correlation of rows (P, M) with one (M,), each over the pairs that both have; NaN for too few."""
    found = np.full(len(rows), np.nan)
    if other.size >= _LEAST and not np.isnan(other).any() and not np.isnan(rows).any():
        return rows_rho(rows, other[None])
    for p, row in enumerate(rows):
        both = ~np.isnan(row) & ~np.isnan(other)
        if both.sum() >= _LEAST:
            found[p] = rows_rho(row[None, both], other[None, both])[0]
    return found


def _square(values: Array, n: int) -> Array:
    out = np.full((n, n), np.nan)
    i, j = np.triu_indices(n, 1)
    out[i, j] = out[j, i] = values
    return out


def _resampled(people: People, models: Array, resamples: int, seed: int) -> Iterator[Array]:
    """(r, 2, S) of resamples of participants and images: rho with the group, and the mean rho with each person.

    Images are resampled for both: people who all judge the same images agree on what these happen to show.
    """
    n, generator = len(people.images), np.random.default_rng(seed + 1)
    i, j = np.triu_indices(n, 1)
    place = np.zeros((n, n), dtype=np.int64)  # where a pair stands among the pairs
    place[i, j] = place[j, i] = np.arange(len(i))
    each = people.each()
    for weights in draws(len(people.participants), resamples, seed):
        found = np.full((len(weights), 2, len(models)), np.nan)
        for r, w in enumerate(weights):
            at = generator.integers(n, size=n)
            pairs = place[at[i], at[j]][at[i] != at[j]]
            drawn, own = np.flatnonzero(w), models[:, pairs]
            found[r, 0] = _over(own, people.group(w)[pairs])
            rows = each[np.ix_(drawn, pairs)]
            for s, model in enumerate(own):
                rho = _over(rows, model)
                there = ~np.isnan(rho)
                if there.any():
                    found[r, 1, s] = np.average(rho[there], weights=w[drawn][there])
        yield found

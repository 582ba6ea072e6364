"""Which triads to ask: where models disagree, or all images alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.people.similarity import SimilarityMatrix, pooled
from sightline.studies.people.triads import Kind, Triad, numbered


def runner_up(
    similarities: Sequence[SimilarityMatrix], target: str, *, identities: Mapping[str, str] | None = None
) -> str | None:
    """The image that most of several models find most like a target, the target itself left out.

    Models vote; a split vote is settled by the mean rank over the models, then by name.

    Args:
        similarities: Of the models of a group, over the same images.
        target: Name of an image.
        identities: Image -> who is on it; images of the target's own identity are left out too.

    Returns:
        None where no model has an opinion (all NaN).

    Raises:
        InputError: An image that a model does not know.
    """
    if not similarities:
        raise InputError("a runner-up needs at least one model")
    images = similarities[0].images
    who = identities or {}
    others = [o for o in images if o != target and (target not in who or who.get(o) != who[target])]
    polled, ranks = Counter[str](), np.zeros(len(others))
    for found in similarities:
        values = found.values[found.places([target])[0], found.places(others)]
        if np.isnan(values).all():
            continue
        polled[min(o for o, v in zip(others, values, strict=True) if v == np.nanmax(values))] += 1
        ranks += _falling(values)
    if not polled:
        return None
    most = max(polled.values())
    return min((float(r), o) for o, r in zip(others, ranks, strict=True) if polled[o] == most)[1]


def _falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, 1 for the highest; equal values share the mean, NaN comes last."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.where(np.isnan(values), -np.inf, values)), dtype=np.float64)


def runner_up_triads(
    first: Sequence[SimilarityMatrix],
    second: Sequence[SimilarityMatrix],
    *,
    names: tuple[str, str],
    targets: Sequence[str] | None = None,
    identities: Mapping[str, str] | None = None,
) -> tuple[list[Triad], list[str]]:
    """For each target the runner-up of one group of models against that of another; people say whose is more like it.

    The design of a co-author of arXiv 2006.16795, as far as it can be recovered from code: option 1 is the identity
    most often ranked second by models of the first group, option 2 by those of the second.

    Args:
        first: Of the models of the first group.
        second: Of those of the second.
        names: What the groups are called; they become `source_1` and `source_2`.
        targets: Names of images; all by default.
        identities: See `runner_up`.

    Returns:
        The triads, and the targets that are left out: both groups name the same image, or one of them none.

    Raises:
        InputError: A group without a model, or images that differ.
    """
    images = first[0].images if first else ()
    triads, dropped = [], []
    for target in targets or images:
        a, b = (runner_up(group, target, identities=identities) for group in (first, second))
        if a is None or b is None or a == b:
            dropped.append(target)
        else:
            triads.append(Triad(target=target, option_1=a, option_2=b, source_1=names[0], source_2=names[1]))
    return numbered(triads), dropped


def contrasted_triads(
    first: Sequence[SimilarityMatrix],
    second: Sequence[SimilarityMatrix],
    *,
    names: tuple[str, str],
    trials: int,
    identities: Mapping[str, str] | None = None,
) -> list[Triad]:
    """Triads on which two groups of models disagree most, each target as often as any other (to within one).

    Of all pairs of options, one is taken that the first group ranks the other way round than the second, by the
    greatest sum of the two differences in rank. So a triad tells the models apart with few judgements.

    Args:
        first: Of the models of the first group.
        second: Of those of the second.
        names: What the groups are called; `source_1` finds option 1 more alike, `source_2` option 2.
        trials: How many.
        identities: See `runner_up`.

    Raises:
        InputError: Fewer such triads than trials.
    """
    x, y = pooled(names[0], first), pooled(names[1], second)
    y = y.to(x.images)
    who, found = identities or {}, []
    for t, target in enumerate(x.images):
        fits = [i for i, o in enumerate(x.images) if i != t and (target not in who or who.get(o) != who[target])]
        u, v = x.values[t, fits], y.values[t, fits]
        du, dv = u[:, None] - u, v - v[:, None]  # how much more the first prefers i to j, and the second j to i
        for i, j in np.argwhere((du > 0) & (dv > 0)).tolist():
            found.append((float(du[i, j] + dv[i, j]), target, x.images[fits[i]], x.images[fits[j]]))
    found.sort(key=lambda one: (-one[0], *one[1:]))
    by_target: dict[str, list[Triad]] = {}
    for _, target, one, other in found:
        triad = Triad(target=target, option_1=one, option_2=other, source_1=names[0], source_2=names[1])
        by_target.setdefault(target, []).append(triad)
    chosen: list[Triad] = []
    for turn in range(max((len(of) for of in by_target.values()), default=0)):
        chosen += [of[turn] for of in by_target.values() if turn < len(of)]
    if len(chosen) < trials:
        raise InputError(f"the two groups order options differently in {len(chosen)} triads only; ask for no more")
    return numbered(chosen[:trials])


def random_triads(
    images: Sequence[str], trials: int, *, seed: int = 0, identities: Mapping[str, str] | None = None
) -> list[Triad]:
    """Triads drawn at random: target and options uniformly, without asking the same triad twice.

    Raises:
        InputError: There are not so many different triads.
    """
    generator = np.random.default_rng(seed)
    seen: set[tuple[str, frozenset[str]]] = set()
    found: list[Triad] = []
    attempts = 0
    while len(found) < trials:
        attempts += 1
        if attempts > 1000 + 100 * trials:
            raise InputError(f"{len(images)} images do not give {trials} different triads; ask for fewer")
        target, a, b = (images[i] for i in generator.permutation(len(images))[:3]) if len(images) > 2 else ("", "", "")
        key = (target, frozenset((a, b)))
        if target and key not in seen and _allowed(target, (a, b), identities):
            seen.add(key)
            found.append(Triad(target=target, option_1=a, option_2=b))
    return numbered(found)


def _allowed(target: str, options: Sequence[str], identities: Mapping[str, str] | None) -> bool:
    who = identities or {}
    return target not in who or all(who.get(o) != who[target] for o in options)


def balanced_triads(
    images: Sequence[str], trials: int, *, seed: int = 0, identities: Mapping[str, str] | None = None
) -> list[Triad]:
    """Triads in which every image is the target equally often (to within one), and pairs meet as equally as can be.

    Each trial takes a target that was asked least, and the two options that met it least, of these the ones that were
    options least; at random where several are equal.

    Args:
        images: Names.
        trials: How many.
        seed: Of what is equal.
        identities: Image -> who is on it; options of the target's own identity are left out.

    Raises:
        InputError: Fewer than three images, or a target without two options.
    """
    n, generator = len(images), np.random.default_rng(seed)
    if n < 3:
        raise InputError(f"a triad needs three images, and there are {n}")
    asked, offered, met = np.zeros(n), np.zeros(n), np.zeros((n, n))
    found = []
    for _ in range(trials):
        noise = generator.random(n)
        t = int(np.lexsort((noise, asked))[0])
        fits = [i for i in range(n) if i != t and _allowed(images[t], (images[i],), identities)]
        if len(fits) < 2:
            raise InputError(f"target {images[t]!r} has no two options of another identity")
        order = np.lexsort((generator.random(len(fits)), offered[fits], met[t, fits]))
        pair = [fits[i] for i in order[:2]]
        a, b = (pair[i] for i in generator.permutation(2))
        asked[t] += 1
        for o in (a, b):
            offered[o] += 1
            met[t, o] += 1
            met[o, t] += 1
        found.append(Triad(target=images[t], option_1=images[a], option_2=images[b]))
    return numbered(found)


def with_extras(
    triads: Sequence[Triad], images: Sequence[str], *, catch: int = 0, practice: int = 0, seed: int = 0
) -> list[Triad]:
    """The same triads with catch trials (one option is the target itself) and practice trials (drawn at random).

    Practice shows images that no trial is about, where there are enough of them.

    Raises:
        InputError: Fewer than three images.
    """
    if catch < 0 or practice < 0 or len(images) < 3:
        raise InputError(
            f"catch and practice are 0 or more, and three images are needed: {catch}, {practice}, {len(images)}"
        )
    generator = np.random.default_rng(seed)
    used = {name for triad in triads for name in triad.names}
    spare = [name for name in images if name not in used]
    extra = []
    for number in range(1, practice + 1):
        target, a, b = _three(spare if len(spare) >= 3 else images, generator)
        extra.append(_extra(target, a, b, "practice", number))
    for number in range(1, catch + 1):
        target, other, _ = _three(images, generator)
        extra.append(_extra(target, target, other, "catch", number))
    return [*extra, *numbered(triads)]


def _three(images: Sequence[str], generator: np.random.Generator) -> tuple[str, str, str]:
    a, b, c = (images[i] for i in generator.permutation(len(images))[:3])
    return a, b, c


def _extra(target: str, a: str, b: str, kind: Kind, number: int) -> Triad:
    triad = Triad(target=target, option_1=a, option_2=b, kind=kind, expected=1 if kind == "catch" else None)
    return replace(triad, trial=f"{kind}-{number}")

"""The classifiers of a randomisation, made once a session, so that all rows and methods share them."""

from typing import Literal, get_args

from sightline.classifier import Classifier
from sightline.errors import MetricError
from sightline.metrics._randomised import Initialiser, Randomiser, Statistics
from sightline.metrics.session import Session

Order = Literal["cascading", "bottom-up", "independent"]


def stages(
    session: Session, order: Order, steps: int | None, initialiser: Initialiser, statistics: Statistics
) -> list[Classifier]:
    """The classifiers of a randomisation, one a step; see `parameter-randomisation`.

    Raises:
        MetricError: A setting that is none of ours, or a model without parameters.
    """
    known = {"order": (order, Order), "initialiser": (initialiser, Initialiser), "statistics": (statistics, Statistics)}
    for name, (given, kinds) in known.items():
        if given not in get_args(kinds):
            raise MetricError(f"{name} must be {' or '.join(map(repr, get_args(kinds)))}, not {given!r}")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise MetricError(f"steps is a number of steps from 1, or None for a step a module, not {steps!r}")

    def make() -> list[Classifier]:
        random = randomiser(session)
        modules = list(random.order)
        parts = _parted(modules if order != "bottom-up" else modules[::-1], steps)
        alone = order == "independent"
        chosen = [parts[i] if alone else [n for part in parts[: i + 1] for n in part] for i in range(len(parts))]
        return [random.classifier_with(names, initialiser, statistics) for names in chosen]

    return session.once(("randomised", order, steps, initialiser, statistics), make)


def randomiser(session: Session) -> Randomiser:
    """What draws the weights of a session.

    Raises:
        MetricError: A BlackBox.
    """
    return session.once("randomiser", lambda: Randomiser(session.classifier, session.pixels[:1], session.seed))


def _parted(names: list[str], steps: int | None) -> list[list[str]]:
    """Names in as many parts as there are steps, in their order, of lengths that differ by 1 at most."""
    n = len(names)
    count = n if steps is None else min(steps, n)
    return [names[i * n // count : (i + 1) * n // count] for i in range(count)]

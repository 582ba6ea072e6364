"""Which of the learned maps explains a target: one for every output, or one for each side of it."""

from collections.abc import Sequence
from typing import Literal, get_args

from sightline.asked import Asked
from sightline.errors import MethodError
from sightline.target import Attribute, Category, Contrast, Target

Directions = Literal["category", "two", "signed"]
Terms = Sequence[tuple[int, float]]
"""(channel, factor) pairs: a row's map is the sum of factor * c[channel]."""


def directions_for(classifier: Asked, directions: Directions | None = None) -> Directions:
    """The directions asked for, or the usual ones: `category`, and `two` for yes-or-no outputs.

    Raises:
        MethodError: They do not fit the kind of decision, or it has no learned maps.
    """
    decision = classifier.decision
    if decision not in ("categorical", "binary", "multilabel"):
        raise MethodError(
            f"learned attention explains categorical, binary and multilabel classifiers, not {decision}; "
            "use a method of another family, such as layer-cam"
        )
    if directions is None:
        return "category" if decision == "categorical" else "two"
    if directions not in get_args(Directions):
        raise MethodError(f"directions must be {', '.join(map(repr, get_args(Directions)))}, not {directions!r}")
    if (directions == "category") != (decision == "categorical"):
        fits = "'category'" if decision == "categorical" else "'two' or 'signed'"
        raise MethodError(f"directions={directions!r} does not fit a {decision} classifier; use {fits}")
    return directions


def maps_for(classifier: Asked, directions: Directions | None = None) -> int:
    """R, how many maps explain the classifier: `outputs`, or twice as many where each side has its own."""
    return classifier.width * (2 if directions_for(classifier, directions) == "two" else 1)


def channel_of(target: Target, outputs: int, directions: Directions) -> tuple[int, float]:
    """The channel of c that explains a resolved target, and the sign to read it with.

    | directions | R | channel | sign |
    |---|---|---|---|
    | `category` | outputs | `Category(i)`: i | 1 |
    | `two` | 2 outputs | `Attribute(i, +1)`: i, `Attribute(i, -1)`: outputs + i | 1 |
    | `signed` | outputs | `Attribute(i, s)`: i | s |

    Raises:
        MethodError: A target that no channel explains; for a `Contrast`, which two do, see `terms_of`.
    """
    match target:
        case Category(category=int(i)) if directions == "category":
            return i, 1.0
        case Attribute(attribute=int(i), sign=1 | -1 as sign) if directions == "two":
            return (i if sign == 1 else outputs + i), 1.0
        case Attribute(attribute=int(i), sign=1 | -1 as sign) if directions == "signed":
            return i, float(sign)
    fits = "Category" if directions == "category" else "Attribute"
    raise MethodError(
        f"learned attention (directions {directions!r}) has a map for each {fits} and the difference of two for a "
        f"Contrast, none for {type(target).__name__} ({target}); use a method of another family, such as layer-cam"
    )


def terms_of(target: Target, outputs: int, directions: Directions) -> Terms:
    """What a resolved target's map is the sum of; `Contrast(a, b)` is c_a - c_b, on the yes side of both.

    Raises:
        MethodError: See `channel_of`.
    """
    match target:
        case Contrast(a=int(a), b=int(b)):
            return (a, 1.0), (b, -1.0)
    return (channel_of(target, outputs, directions),)

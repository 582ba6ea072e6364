"""A matrix of figures as colours; the cell that is pointed at, or reached by the arrow keys, is told in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sightline.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Square:
    """A cell of a matrix.

    Attributes:
        value: What is drawn as a colour; None where nothing is defined: the cell is hatched.
        text: What stands in it, as short as can be.
        detail: Who, whom, how much and how sure, in a sentence.
        own: Whether both are the same; outlined.
        faint: Whether its interval reaches a value that means nothing; the text is grey.
    """

    value: float | None
    text: str
    detail: str
    own: bool = False
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Head:
    """A row's or a column's heading.

    Attributes:
        key: Its number or sign, which stands in small places.
        name: Its name.
        group: Neighbours with the same group stand together.
    """

    key: str
    name: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Squares in rows and columns.

    Attributes:
        title: What it shows.
        rows: Headings of rows.
        columns: Headings of columns.
        squares: A sequence of squares for each row.
        row_axis: What rows are.
        column_axis: What columns are.
        low: The value without colour.
        high: The value of the full colour; values below `low` take another colour.
        labels: What the lower end, the upper end and what is below stand for.
        text: A line below the heading.
        note: The protocol, small, below.
    """

    title: str
    rows: Sequence[Head]
    columns: Sequence[Head]
    squares: Sequence[Sequence[Square]]
    row_axis: str
    column_axis: str
    low: float = 0.0
    high: float = 1.0
    labels: tuple[str, str, str] = ("0", "1", "below 0")
    text: str = ""
    note: str = ""
    kind: str = field(default="matrix", init=False)

    def __post_init__(self) -> None:
        if len(self.squares) != len(self.rows) or any(len(row) != len(self.columns) for row in self.squares):
            raise InputError(f"the matrix {self.title!r} needs {len(self.rows)} rows of {len(self.columns)} squares")
        if not self.low < self.high:
            raise InputError(f"the colours of the matrix {self.title!r} must go up, not {self.low:g} to {self.high:g}")

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Groups of neighbouring columns with how many there are; empty where there is one group only."""
        return _runs(self.columns)

    def style(self, square: Square) -> str:
        """The classes of a square."""
        return " ".join(name for name, holds in (
            ("void", square.value is None), ("own", square.own), ("faint", square.faint),
            ("below", square.value is not None and square.value < self.low), ("strong", self.share(square) > 58),
        ) if holds)  # fmt: skip

    def share(self, square: Square) -> float:
        """How much of the colour, in per cent."""
        if square.value is None:
            return 0.0
        reach = abs(square.value - self.low) / (self.high - self.low)
        return round(100 * min(reach, 1.0), 1)

    def starts(self, heads: Sequence[Head]) -> list[bool]:
        """Whether a new group begins at each heading."""
        return [i > 0 and head.group != heads[i - 1].group for i, head in enumerate(heads)]


def _runs(heads: Sequence[Head]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for head in heads:
        if found and found[-1][0] == head.group:
            found[-1] = (head.group, found[-1][1] + 1)
        else:
            found.append((head.group, 1))
    return found if len(found) > 1 else []

"""A graph on a circle: numbered nodes and arrows between them, drawn as SVG without a library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sightline.errors import InputError

SIDE, NODE = 400.0, 15.0
"""Side of the drawing, and radius of a node, in its own units."""
_BEND = 0.32


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node.

    Attributes:
        key: Its number, which stands in it.
        name: Its name, which stands in the list beside.
        group: Nodes of a group have one colour.
    """

    key: str
    name: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow.

    Attributes:
        tail: Position of the node where it begins.
        head: Position of the node where it ends.
        weight: How strong it is, 0 or more; the width is in proportion.
        detail: What it says, in a sentence.
        sure: Drawn in full; dashed otherwise.
    """

    tail: int
    head: int
    weight: float
    detail: str
    sure: bool = True


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes on a circle, in their order, and arrows.

    Attributes:
        title: What it shows.
        alt: What is to be seen, for those who do not see it.
        nodes: The nodes.
        arrows: The arrows; strong ones are drawn on top.
        text: A line below the heading.
        note: The protocol, small, below.
    """

    title: str
    alt: str
    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    text: str = ""
    note: str = ""
    kind: str = field(default="graph", init=False)

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a graph needs a text (alt) for those who cannot see it")
        for arrow in self.arrows:
            ends = {arrow.tail, arrow.head}
            if len(ends) != 2 or not all(0 <= end < len(self.nodes) for end in ends):
                raise InputError(f"an arrow goes from {arrow.tail} to {arrow.head}, of {len(self.nodes)} nodes")

    @property
    def groups(self) -> list[str]:
        """Groups in order of appearance."""
        return list(dict.fromkeys(node.group for node in self.nodes))

    def hue(self, node: Node) -> int:
        """The hue of a node's group."""
        return round(255 + 137.5 * self.groups.index(node.group)) % 360

    @property
    def places(self) -> list[tuple[float, float]]:
        """The centres of the nodes, the first one on top, clockwise."""
        count, radius = len(self.nodes), SIDE / 2 - NODE - 6
        if count == 1:
            return [(SIDE / 2, SIDE / 2)]
        turns = [2 * math.pi * i / count for i in range(count)]
        return [(round(SIDE / 2 + radius * math.sin(t), 2), round(SIDE / 2 - radius * math.cos(t), 2)) for t in turns]

    @property
    def radius(self) -> float:
        """Of a node: smaller where there are many."""
        return round(min(NODE, 0.38 * math.pi * (SIDE - 2 * NODE) / max(len(self.nodes), 1)), 2)

    @property
    def drawn(self) -> list[tuple[Arrow, str, str, float]]:
        """(arrow, path of the line, path of the tip, width), the weakest first."""
        most = max((arrow.weight for arrow in self.arrows), default=0.0) or 1.0
        found = []
        for one in sorted(self.arrows, key=lambda one: (one.sure, one.weight)):
            width = round(1.2 + 3.8 * one.weight / most, 2)
            found.append((one, *self._paths(one, width), width))
        return found

    def _paths(self, arrow: Arrow, width: float) -> tuple[str, str]:
        """A curve that bends towards the middle and ends before the node, and the triangle at its end."""
        (x0, y0), (x1, y1) = self.places[arrow.tail], self.places[arrow.head]
        cx, cy = ((1 - _BEND) * (a + b) / 2 + _BEND * SIDE / 2 for a, b in ((x0, x1), (y0, y1)))
        length, half = 5 + 2.2 * width, 2.2 + 1.1 * width
        x0, y0 = _towards((x0, y0), (cx, cy), self.radius + 1)
        tip = _towards((x1, y1), (cx, cy), self.radius + 1.5)
        end = _towards(tip, (cx, cy), length)
        along = [(a - b) / (math.dist(tip, end) or 1.0) for a, b in zip(tip, end, strict=True)]
        left = (end[0] - half * along[1], end[1] + half * along[0])
        right = (end[0] + half * along[1], end[1] - half * along[0])
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (left, tip, right))
        return f"M{x0:.1f} {y0:.1f}Q{cx:.1f} {cy:.1f} {end[0]:.1f} {end[1]:.1f}", f"M{corners}Z"


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    """The point at a distance from a start on the way to an end."""
    length = math.dist(start, end) or 1.0
    share = min(distance / length, 1.0)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

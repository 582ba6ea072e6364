"""One self-contained HTML page: sections of text, figures, tables, callouts and code, for every report of Sightline.

Nothing is fetched when the page is opened: pictures are data URIs, style and script stand in the page, and a content
security policy forbids the rest. All text is escaped. In prose, words between backticks become code.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import jinja2
from markupsafe import Markup, escape

from sightline import picture
from sightline.errors import InputError
from sightline.files import atomic_write
from sightline.picture import Picture
from sightline.report.bars import Bars
from sightline.report.cells import Bar, Cell, Estimate, Stack
from sightline.report.chart import Charts
from sightline.report.graph import Graph
from sightline.report.matrix import Matrix

__all__ = [
    "Bar",
    "Bars",
    "Block",
    "Callout",
    "Charts",
    "Choice",
    "Code",
    "Estimate",
    "Figure",
    "Figures",
    "Fold",
    "Graph",
    "Legend",
    "Matrix",
    "Page",
    "Section",
    "Stack",
    "Table",
    "Text",
    "render_page",
    "write_page",
]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with what it shows.

    Attributes:
        picture: A Pillow image, (H, W, 3) uint8, or a `data:image/...` URI.
        alt: What is to be seen, for those who do not see it.
        title: A word or two below it.
        caption: A line below the title: the numbers.
        empty: Whether the map behind it has no energy at all; this is then written on the picture.
        crisp: Keep pixels as squares when the picture is enlarged.
        format: How the picture is stored; `png` loses nothing, `webp` (quality 90) is a tenth as large.
    """

    picture: Picture | str
    alt: str
    title: str = ""
    caption: str = ""
    empty: bool = False
    crisp: bool = False
    format: Literal["png", "jpeg", "webp"] = "webp"

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a figure needs a text (alt) for those who cannot see it")
        if isinstance(self.picture, str) and not self.picture.startswith("data:image/"):
            raise InputError("a figure's picture must be pixels or a data:image/ URI: a page fetches nothing")

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        if isinstance(self.picture, str):
            return self.picture
        return picture.to_data_uri(self.picture, format=self.format)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Pictures side by side, as many as fit.

    Attributes:
        items: The pictures.
        title: A heading above them.
        text: A line below the heading.
        width: The least width of a picture on the screen, in CSS pixels; on a narrow one they stand two in a row.
        group: Pictures that stay side by side, such as before and after.
        note: The protocol, small, below.
    """

    items: Sequence[Figure]
    title: str = ""
    text: str = ""
    width: int = 140
    group: int = 1
    note: str = ""
    kind: str = field(default="figures", init=False)

    @property
    def groups(self) -> list[Sequence[Figure]]:
        """The pictures, by group."""
        return [self.items[i : i + self.group] for i in range(0, len(self.items), self.group)]


@dataclass(frozen=True, kw_only=True)
class Legend:
    """A colour scale with what its ends (and, if there is one, its middle) stand for.

    Attributes:
        picture: The colours from left to right, or a `data:image/...` URI.
        labels: Two or three texts, from left to right.
    """

    picture: Picture | str
    labels: Sequence[str]
    kind: str = field(default="legend", init=False)

    @property
    def figure(self) -> Figure:
        """The colours as a figure."""
        return Figure(picture=self.picture, alt=f"Colour scale: {'; '.join(self.labels)}", format="png")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes:
        columns: Titles.
        rows: As many cells a row as there are titles: text, a `Bar`, an `Estimate`, or a `Stack`.
        caption: What the table says.
        note: The protocol, small, below.
        text_columns: Positions of columns that hold words, aligned to the left; the first always does.
        controls: Positions of rows that are controls, set apart.
        dimmed: Positions of rows that rest on too little to be judged by; grey.
        swatches: Names of the parts of the `Stack` cells, told above the table by their colours.
        sort: For each column what a first press on its title puts on top: `words` (from A), `up` (the greatest), `down`
            (the least); empty for a table that cannot be sorted.
        keys: For each row a name that is picked by pressing its heading, here and in charts; empty for none.
        picked: The names that are picked at first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    note: str = ""
    text_columns: Sequence[int] = ()
    controls: Sequence[int] = ()
    dimmed: Sequence[int] = ()
    swatches: Sequence[str] = ()
    sort: Sequence[str] = ()
    keys: Sequence[str] = ()
    picked: Sequence[str] = ()
    kind: str = field(default="table", init=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"a row has {len(row)} cells but the table {len(self.columns)} columns: {row[:1]}")
        if self.sort and len(self.sort) != len(self.columns):
            raise InputError(f"sort names {len(self.sort)} columns of {len(self.columns)}")
        if self.keys and len(self.keys) != len(self.rows):
            raise InputError(f"keys name {len(self.keys)} rows of {len(self.rows)}")


@dataclass(frozen=True)
class Text:
    """Paragraphs, parted by empty lines."""

    text: str
    kind: str = field(default="text", init=False)

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs, each on one line."""
        return [" ".join(part.split()) for part in re.split(r"\n\s*\n", self.text.strip())]


@dataclass(frozen=True, kw_only=True)
class Callout:
    """What must not be missed: a `finding`, a `note`, or a `warning`; `items` are lines of a list below the text."""

    text: str
    title: str = ""
    items: Sequence[str] = ()
    tone: Literal["finding", "note", "warning"] = "note"
    kind: str = field(default="callout", init=False)


@dataclass(frozen=True, kw_only=True)
class Code:
    """Commands or code, to be copied."""

    text: str
    title: str = ""
    kind: str = field(default="code", init=False)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Parts of which one is shown; all choices of a page with the same label change together.

    Attributes:
        label: What is chosen, such as "model".
        options: Names with what they show; without a script, or on paper, all of them are there.
    """

    label: str
    options: "Sequence[tuple[str, Sequence[Block]]]"
    kind: str = field(default="choice", init=False)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Parts that are hidden until the title is pressed: long tables behind what was said in short."""

    title: str
    blocks: "Sequence[Block]"
    kind: str = field(default="fold", init=False)


Block = Figures | Legend | Table | Text | Callout | Code | Charts | Choice | Fold | Matrix | Bars | Graph


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page with a heading of its own and a place in the list of contents."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""

    @property
    def anchor(self) -> str:
        """The section's address within the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: The heading.
        lead: What the page is, in a sentence or two.
        sections: Its parts.
        facts: Names and values below the lead: model, data, versions.
        footer: A last line.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    facts: Sequence[tuple[str, str]] = ()
    footer: str = ""

    def __post_init__(self) -> None:
        anchors = [section.anchor for section in self.sections]
        if twice := {anchor for anchor in anchors if anchors.count(anchor) > 1}:
            raise InputError(f"two sections have the same title ({', '.join(sorted(twice))}); give them different ones")


def _prose(text: str) -> Markup:
    """Escaped text in which words between backticks are code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick on its own stays what it is
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sightline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.tests["bar"] = lambda cell: isinstance(cell, Bar)
    environment.tests["estimate"] = lambda cell: isinstance(cell, Estimate)
    environment.tests["stack"] = lambda cell: isinstance(cell, Stack)
    return environment


def render_page(page: Page) -> str:
    """The page as HTML."""
    return _environment().get_template("page.html").render(page=page)


def write_page(path: str | os.PathLike[str], page: Page) -> None:
    """Write the page, whole or not at all.

    Raises:
        StorageError: It cannot be written; the text says why.
    """
    data = render_page(page).encode("utf-8")
    with atomic_write(path, size=len(data)) as file:
        file.write(data)

"""The trust card as a page: the photograph, its map, the verdict in words, and the numbers it rests on."""

import os
from typing import Literal

from torch import Tensor

from sightline import picture
from sightline.explanation import Explanation
from sightline.metrics._verdicts import Card
from sightline.metrics.trust import CONTROLS, Trust
from sightline.report.page import Bar, Block, Callout, Figure, Figures, Page, Section, Table, write_page

_TONES: dict[str, Literal["finding", "note", "warning"]] = {"pass": "finding", "doubt": "note", "not checked": "note"}


def trust_page(found: Trust, explanation: Explanation, pixels: Tensor) -> Page:
    """The page of all cards.

    Args:
        found: What `sl.trust` gave.
        explanation: What was checked.
        pixels: (B, C, H, W) in [0, 1], the batch that was explained.
    """
    overlays = explanation.overlay(pixels)
    sections = []
    for row, card in enumerate(found):
        photo = pixels[card.image].expand(3, -1, -1)
        figures = Figures(
            items=[
                Figure(
                    picture=picture.photograph(photo),
                    alt="The photograph as the classifier sees it",
                    title="Photograph",
                ),
                Figure(
                    picture=overlays[row],
                    alt=f"The map of {card.method} for {card.target}",
                    title=card.method,
                    caption=f"{card.target}, p = {card.probability:.3f}",
                    empty=bool(explanation.empty[row]),
                ),
            ],
            group=2,
            width=180,
        )
        verdict = Callout(text=card.summary, title=_title(card), tone=_TONES.get(card.verdict, "warning"))
        blocks: list[Block] = [verdict, figures, _findings(card), *_curves(card)]
        sections.append(Section(title=f"{row + 1}. {card.target}", blocks=blocks))
    return Page(
        title="Trust card",
        lead="Whether this map can be relied upon: what was checked on this image, and what was found.",
        sections=sections,
        facts=[("method", explanation.method), *((name, _plain(v)) for name, v in found.protocol.items())],
        footer="The limits between pass, doubt and fail are conventions. One image decides nothing about a method.",
    )


def write_trust(path: str | os.PathLike[str], found: Trust, explanation: Explanation, pixels: Tensor) -> None:
    """Write the page, whole or not at all.

    Raises:
        StorageError: It cannot be written; the text says why.
    """
    write_page(path, trust_page(found, explanation, pixels))


def _title(card: Card) -> str:
    words = {"pass": "Nothing speaks against it", "doubt": "With care", "fail": "Not reliable"}
    return words.get(card.verdict, "Not checked")


def _findings(card: Card) -> Table:
    return Table(
        columns=("question", "finding", "in words"),
        rows=[(check.title, check.verdict, check.text) for check in card.checks],
        caption="What was asked of the map.",
        text_columns=(1, 2),
    )


def _curves(card: Card) -> list[Block]:
    """Insertion minus deletion of the map and the controls, as bars."""
    numbers = next(check.numbers for check in card.checks if check.name == "controls")
    if not numbers:
        return []
    shown = [(card.method, numbers["insertion - deletion"]), *((name, numbers[name]) for name in CONTROLS)]
    rows = [(name, Bar(max(value, 0.0), f"{value:.3f}")) for name, value in shown]
    note = (
        "Area under the probability while pixels are put in, hottest first, minus the area while they are taken away."
    )
    table = Table(
        columns=("map", "insertion - deletion"),
        rows=rows,
        caption="How well each map orders the pixels.",
        note=note,
        controls=range(1, len(rows)),
    )
    return [table]


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"

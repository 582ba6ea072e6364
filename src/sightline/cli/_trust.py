"""Trust cards of `sightline explain --trust`: beside the maps on disk, and in the terminal."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sightline.cli._folder import Record
from sightline.files import atomic_write

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.cli._job import Job
    from sightline.explanation import Explanation
    from sightline.metrics.trust import Trust

_COLOURS = {"pass": "green", "doubt": "yellow", "fail": "red", "not checked": "dim"}


def of_image(found: "Trust", image: int) -> "Trust":
    """The cards of one image, as those of a batch of one."""
    cards = tuple(dataclasses.replace(card, image=0) for card in found if card.image == image)
    return dataclasses.replace(found, cards=cards)


def keep(folder: Path, found: "Trust", explanation: "Explanation", pixels: Tensor) -> list[dict[str, Any]]:
    """Write `trust.json` and `trust.html`, and return the cards for the record.

    Raises:
        StorageError: They cannot be written.
    """
    from sightline.report.trust import write_trust

    content = found.as_dict()
    data = json.dumps(content, indent=2).encode()
    with atomic_write(folder / "trust.json", size=len(data)) as file:
        file.write(data)
    write_trust(folder / "trust.html", found, explanation, pixels)
    cards: list[dict[str, Any]] = content["cards"]
    return cards


def tell(out: "Console", records: Sequence[Record], job: "Job") -> None:
    """Print the cards of some photos."""
    from rich.table import Table
    from rich.text import Text

    from sightline.metrics._verdicts import TITLES

    for record in records:
        for cards in record.get("trust", {}).values():
            for card in cards:
                head = f"{record['name']}, {card['target']} (p = {card['probability']:.3f}), {card['method']}: "
                out.print(Text(head).append(card["summary"], style=_COLOURS[card["verdict"]]))
                checks = Table.grid(padding=(0, 2, 0, 1))
                for _ in range(3):
                    checks.add_column()
                for check in card["checks"]:
                    verdict = Text(check["verdict"], style=_COLOURS[check["verdict"]])
                    checks.add_row(Text(TITLES[check["name"]]), verdict, Text(check["text"]))
                out.print(checks)
                out.print()
    if any("trust" in record for record in records):
        out.print(f"The cards with pictures: {job.folder.path / 'METHOD' / 'PHOTO' / 'trust.html'}", markup=False)

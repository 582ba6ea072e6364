"""Edits: images changed with a declared intention, and controls of the same area, to test what maps only suggest.

A region that is blamed should matter more than as much of the image elsewhere. Each edit of a region therefore comes
with the same edit at other places, drawn by the image's content; an edit without room for a control is refused, for
without one "the region matters" cannot be told from "anything here matters" (Li et al. 2024, arXiv 2406.13316, give the
protocol of matched pairs; Balakrishnan et al. 2020, arXiv 2007.06570, that of transects).
"""

from collections.abc import Sequence
from typing import Any

from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, everything, find
from sightline.studies.auditing.edits.blur import Blur
from sightline.studies.auditing.edits.counterfactual import Counterfactual, Cue
from sightline.studies.auditing.edits.engine import CONTROLS, SCHEMA, edited
from sightline.studies.auditing.edits.hottest import Hottest
from sightline.studies.auditing.edits.occlude import Occlude
from sightline.studies.auditing.edits.pairs import Pairs, read_pairs
from sightline.studies.auditing.edits.paste import Paste
from sightline.studies.auditing.edits.reveal import Reveal
from sightline.studies.auditing.edits.swap import Swap
from sightline.studies.auditing.edits.sweep import Sweep
from sightline.studies.auditing.edits.table import interventions

__all__ = [
    "CONTROLS",
    "ON_REGION",
    "SCHEMA",
    "Block",
    "Blur",
    "Case",
    "Counterfactual",
    "Cue",
    "Direction",
    "Edit",
    "Hottest",
    "Occlude",
    "Pairs",
    "Paste",
    "Refusal",
    "Reveal",
    "Swap",
    "Sweep",
    "described",
    "edited",
    "everything",
    "find",
    "interventions",
    "passes",
    "read_pairs",
    "resolved",
    "rows",
]

#: Edits that put something else in the place of an attribute's own region: what they do tells whether it matters.
ON_REGION = ("blur", "counterfactual", "occlude", "swap")
#: Edits that each attribute needs for itself; others are shared by the attributes of a region.
OWN = ("counterfactual", "hottest", "swap")


def resolved(edits: Sequence[str | Edit] | None, plan: Any) -> tuple[Edit, ...]:
    """Edits bound to a study.

    Args:
        edits: Names (`pairs:TABLE`, `hottest:METHOD` and `sweep:CELLS` say more), or edits with settings.
        plan: The study.

    Raises:
        InputError: An unknown name, one that needs settings, two that would share their lines of the table, or what an
            edit needs is missing.
    """
    asked = (edits,) if isinstance(edits, str | Edit) else edits or ()
    found = [one if isinstance(one, Edit) else _of(one) for one in asked]
    titles = [edit.title for edit in found]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise InputError(f"the edit {twice[0]!r} is asked twice; a table has one setting of it, so audit twice")
    return tuple(edit.bound(plan) for edit in found)


def _of(text: str) -> Edit:
    """An edit by its name, perhaps with what it needs: `pairs:TABLE`, `hottest:METHOD`, `sweep:CELLS`."""
    name, colon, about = text.partition(":")
    kind = find(name)
    if kind is Pairs and about:
        return read_pairs(about)
    if kind is Hottest and about:
        return Hottest(method=about)
    if kind is Sweep and about.isdigit():
        return Sweep(cells=int(about))
    if kind in (Paste, Pairs):
        hint = (
            "write pairs:TABLE" if kind is Pairs else "give sightline.studies.auditing.edits.Paste(patch=..., at=...)"
        )
        raise InputError(f"the edit {name!r} needs {kind.needs}: {hint}")
    if colon:
        raise InputError(f"{text!r} is no edit; the ones with an addition are pairs:TABLE, hottest:METHOD, sweep:CELLS")
    return kind()


def described(edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """What the manifest says of edits."""
    return [{**edit.described(), "controls": CONTROLS} for edit in edits]


def passes(plan: Any) -> int:
    """How many edited images an image of a study is asked as, at most: what its edits cost beside one forward pass."""
    names = plan.readout.names
    regions = len({plan.source.region(name) for name in names} - {None})
    cost = 0
    for one in plan.edits:
        cases = len(names) if one.name in OWN else regions
        if isinstance(one, Sweep):
            cases = one.cells**2
        elif one.name in ("cue", "paste", "pairs"):
            cases = 1
        cost += cases * (one.passes + CONTROLS)
    return cost


def rows(block: Block, plan: Any) -> list[dict[str, Any]]:
    """Rows of `SCHEMA` of a block, for the edits of its study."""
    return edited(block, plan.edits, batch=plan.batch)

"""The tables as CSV, and all of a study as JSON for other programs."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightline.report.exported import table_of
from sightline.report.generalisation.figures import Figures, View

if TYPE_CHECKING:
    import polars

FORMAT = "sightline generalisation 1"
_TOLD = ("family", "methods", "levels", "fills", "modes", "controls", "protocol", "versions", "seed", "created")
_OF_VIEW: dict[str, Callable[[Figures, View], "polars.DataFrame"]] = {
    "index": lambda f, v: f.index(v),
    "groups": lambda f, v: f.groups(v),
    "factors": lambda f, v: f.effects(v),
    "asymmetry": lambda f, v: f.asymmetry(v),
    "controls": lambda f, v: f.controls(v),
    "agreement": lambda f, v: f.agreement(v),
}
_WHOLE: dict[str, Callable[[Figures], "polars.DataFrame"]] = {
    "similarity": lambda f: f.similarity_pairs,
    "validity": lambda f: f.trust,
    "parts": lambda f: f.parts,
    "decisions": lambda f: f.study.decisions(),
}
_PERMUTED = ("asymmetry", "agreement")  # these take long: for the first view of each method
TABLES = (*_OF_VIEW, *_WHOLE)


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Check what is to be written, before anything is computed.

    Raises:
        InputError: Neither `.json` nor `.csv`, or a `.csv` that names no table.
    """
    table_of(path, TABLES, "faces")


def text(path: str | os.PathLike[str], figures: Figures) -> str:
    """One table as CSV, by the file's name, or everything as JSON."""
    name = table_of(path, TABLES, "faces")
    return json.dumps(as_json(figures), indent=1, allow_nan=False) if name is None else frame(figures, name).write_csv()


def frame(figures: Figures, name: str) -> "polars.DataFrame":
    """A table; where it depends on what is looked at, all views, each told by method, fill, mode and measure."""
    import polars as pl

    if name in _WHOLE:
        return _WHOLE[name](figures)
    views = figures.by_method if name in _PERMUTED else figures.conditions if name == "factors" else figures.views
    found = []
    for view in views:
        made = _OF_VIEW[name](figures, view)
        keys = {"method": view.method, "fill": view.fill, "mode": view.mode, "measure": view.measure}
        taken = {"measure": "similarity"} if "measure" in made.columns else {}
        found.append(made.rename(taken).select(*(pl.lit(v).alias(k) for k, v in keys.items()), pl.all()))
    return pl.concat(found)


def as_json(figures: Figures) -> dict[str, Any]:
    """What was asked, what was found in sentences, and the derived tables; what is not defined is null."""
    manifest = figures.study.manifest
    tables = [name for name in TABLES if name != "decisions"]
    return {
        "format": FORMAT,
        **{name: manifest.get(name) for name in _TOLD},
        "images": len(figures.study.images),
        "sentences": [{"kind": s.kind, "text": s.text, "figures": s.figures} for s in figures.sentences],
        **{name: json.loads(frame(figures, name).write_json()) for name in tables},
    }

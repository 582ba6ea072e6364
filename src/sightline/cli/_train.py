"""What `sightline train` does with what was typed, and what it says."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from sightline.cli._options import console, load_classifier
from sightline.data import annotations
from sightline.errors import InputError
from sightline.report.training import Report
from sightline.training.attention import fit_attention

_COLUMNS = (
    ("loss", "loss", ".4f"),
    ("ce", "CE", ".4f"),
    ("av", "AV", ".4f"),
    ("tv", "TV", ".2f"),
    ("drop", "drop %", ".1f"),
    ("increase", "increase %", ".1f"),
)


def data_of(photos: Sequence[str] | None, table: Path | None, classes: Path | None) -> Any:
    """What to train on.

    Raises:
        InputError: Nothing, or more than one of the three; or what the reader says.
    """
    given = [value for value in (photos, table, classes) if value]
    if len(given) != 1:
        raise InputError("name the images to train on: photos and folders, or --table FILE, or --classes DIR")
    if table is not None:
        return annotations.manifest(table, root=table.parent)
    return annotations.folders(classes) if classes is not None else list(photos or ())


def changes_of(texts: Sequence[str]) -> dict[str, Any]:
    """`epochs=3` as a setting, each value read as a Python literal where it is one.

    Raises:
        InputError: Another form.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"cannot read --set {text!r}; write SETTING=VALUE, such as epochs=3")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def work(
    model: str | None,
    given: Mapping[str, Any],
    data: Any,
    out: Path,
    *,
    helper: tuple[str | None, Mapping[str, Any]],
    validation: Sequence[str] | None,
    texts: Sequence[str],
    cache: str,
    cache_limit: float,
    **settings: Any,
) -> None:
    """Train, and write the report after each epoch."""
    if model is None:
        raise InputError("name a model with --model")
    note = console(stderr=True)
    changes = changes_of(texts)
    classifier = load_classifier(model, **given)
    auxiliary = load_classifier(helper[0], **helper[1]) if helper[0] else None
    found = fit_attention(
        classifier,
        data,
        out=out,
        auxiliary=auxiliary,
        validation_images=validation,
        cache={"on": True, "off": False}.get(cache, cache),
        cache_limit=int(cache_limit * 2**30),
        announce=lambda line: note.print(line, markup=False),
        told=lambda row: note.print(_line(row), markup=False),
        **settings,
        **changes,
    )
    page = Report.of(out).write()
    console().print(_table(found.history, found.learned.about["training"]["best"]))
    console().print(f"The attention: {found.path}", soft_wrap=True, markup=False)
    console().print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)


def _line(row: Mapping[str, Any]) -> str:
    chosen = f", to choose by {row['valid_loss']:.4f}" if "valid_loss" in row else ""
    return f"epoch {row['epoch']}: loss {row['train_loss']:.4f}{chosen} ({row['seconds']:.1f} s)"


def _table(rows: Sequence[Mapping[str, Any]], best: int) -> Table:
    part = "valid" if rows and "valid_loss" in rows[0] else "train"
    title = "on the images that choose the epoch" if part == "valid" else "on the images that are trained on"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("epoch", justify="right")
    for _, heading, _ in _COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [format(row[f"{part}_{name}"], form) for name, _, form in _COLUMNS]
        table.add_row(str(row["epoch"]), *cells, style="bold" if row["epoch"] == best else None)
    return table

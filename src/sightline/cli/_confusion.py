"""What `sightline confusion` does with what was typed, and what it says at the end."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from sightline.cli._ask import read_settings
from sightline.cli._bench import _short as short
from sightline.cli._options import console
from sightline.data import annotations
from sightline.data.annotations.record import Record
from sightline.errors import InputError
from sightline.studies.confusions import KINDS, Confusion, Thresholds, confusion
from sightline.studies.confusions.plan import records_of

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.classifier import Classifier

__all__ = ["images_of", "limits_of", "named", "settings_of", "short", "work"]

_SHOWN = 10


def named(model: str | None) -> str:
    """The model that was typed.

    Raises:
        InputError: None was.
    """
    if not model:
        raise InputError("name a model with --model, such as torchvision:resnet50")
    return model


def images_of(
    classifier: "Classifier",
    folder: Path | None,
    table: Path | None,
    wnids: Path | None,
    boxes: Path | None,
    limit: int | None,
) -> Sequence[Record]:
    """Labelled records of what was typed.

    Raises:
        InputError: Nothing, or too much.
    """
    if (folder is None) == (table is None):
        raise InputError("name the images: a folder with a folder for each class, or --table FILE; one of them")
    if boxes is not None and wnids is None:
        raise InputError("--boxes belongs to ImageNet's layout; name its classes with --wnids FILE")
    found: Sequence[Record]
    if table is not None:
        found = annotations.manifest(table, classes=classifier.labels)
    elif wnids is not None:
        found = annotations.imagenet(str(folder), boxes, classes=wnids)
    else:
        found = records_of(str(folder), classifier)[0]
    return found[:limit]


def settings_of(texts: Sequence[str], method: str) -> dict[str, Any]:
    """`--set METHOD.SETTING=VALUE` as settings."""
    return read_settings(texts, [method])[method]


def limits_of(texts: Sequence[str]) -> Thresholds:
    """`--threshold NAME=VALUE` as thresholds.

    Raises:
        InputError: An unknown name, or no number.
    """
    known, found = [f.name for f in fields(Thresholds)], {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise InputError(f"cannot read --threshold {text!r}; write NAME=VALUE with a name of {', '.join(known)}")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"--threshold {name} must be a number, not {value!r}") from None
    return Thresholds(**found)


def work(images: Sequence[Record], classifier: "Classifier", out: Path, **settings: Any) -> bool:
    """Run the study, and print what it found.

    Returns:
        Whether some images failed.

    Raises:
        KeyboardInterrupt: Again, with what to do.
    """
    note = console(stderr=True)
    note.print(f"{len(images):,} images, {settings['method']} -> {out}", markup=False)
    for failure in (getattr(images, "failures", None) or [])[:_SHOWN]:
        note.print(f"{failure.path}: {failure.reason}", markup=False, style="yellow")
    try:
        found = confusion(classifier, images, out=out, announce=lambda line: note.print(line, markup=False), **settings)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"what is finished is in {out}; the same command goes on") from stop
    return _summarise(found, console())


def _summarise(found: Confusion, out: "Console") -> bool:
    import polars as pl

    rows, wrong = found.rows(), found.wrong()
    judged = rows.filter(pl.col("status").is_in(["correct", "wrong"]))
    out.print(f"{len(wrong):,} of {len(judged):,} images are misclassified", markup=False)
    if len(wrong):
        out.print(_kinds(found))
        out.print(_agreement(found), markup=False)
        out.print(_pairs(found))
        out.print("; ".join(f"{k}: {v}" for k, v in found.manifest["protocol"].items()), style="dim", markup=False)
        out.print(f"all errors: `sightline report {found.path}`", markup=False)
    bad = rows.filter(pl.col("status") == "error")
    unlabelled = len(rows.filter(pl.col("status") == "unlabelled"))
    if unlabelled:
        out.print(f"{unlabelled:,} images have no label and take no part", style="yellow", markup=False)
    red = console(stderr=True)
    for row in bad.head(_SHOWN).iter_rows(named=True):
        red.print(f"[red]{escape(row['image'])}: {escape(row['error'])}[/red]")
    if len(bad) > _SHOWN:
        red.print(f"[red]and {len(bad) - _SHOWN} more[/red]")
    return len(bad) > 0


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _kinds(found: Confusion) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(("kind", "images", "share [95 %]", "overlap", "unrelated", "Pearson", "what it says")):
        table.add_column(title, justify="left" if i in (0, 6) else "right", no_wrap=i == 0)
    for line in found.kinds().iter_rows(named=True):
        share = f"{line['share']:.0%} [{line['low']:.0%}, {line['high']:.0%}]"
        means = [_text(line[f"mean_{name}"]) for name in ("overlap", "overlap_control", "pearson")]
        table.add_row(line["kind"], f"{line['images']:,}", escape(share), *means, KINDS[line["kind"]])
    return table


def _agreement(found: Confusion) -> str:
    lines = {line["figure"]: line for line in found.means().iter_rows(named=True)}
    parts = []
    wanted = {"overlap": "overlap of the two maps", "overlap_control": "with the map of an unrelated class"}
    for name, said in wanted.items():
        line = lines[name]
        ends = "" if line["low"] is None else f" [{line['low']:.2f}, {line['high']:.2f}]"
        parts.append(f"{said} {_text(line['mean'])}{ends}")
    return f"mean {', '.join(parts)}; by chance {found.manifest['settings']['keep']:.2f}"


def _pairs(found: Confusion) -> Table:
    pairs = found.pairs()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    titles = ("true → predicted", "errors", "of", "other way", "overlap", "kinds")
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i in (0, 5) else "right", overflow="fold")
    for line in pairs.head(_SHOWN).iter_rows(named=True):
        counts = (str(line[name]) for name in ("count", "of", "reverse"))
        pair = escape(f"{line['true_name']} → {line['predicted_name']}")
        table.add_row(pair, *counts, _text(line["mean_overlap"]), line["kinds"])
    if len(pairs) > _SHOWN:
        table.caption = f"and {len(pairs) - _SHOWN:,} more pairs"
    return table

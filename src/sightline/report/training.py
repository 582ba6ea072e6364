"""The page of a training run: curves over the epochs, what was chosen and why, and all that it depended on."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from sightline import store
from sightline.errors import InputError, StorageError
from sightline.report.chart import Axis, Chart, Charts, Series
from sightline.report.page import Block, Callout, Code, Page, Section, Table, Text
from sightline.report.run_report import RunReport

STUDY = "train attention"
_MEASURES = (
    ("loss", "L", "the loss: less is better"),
    ("ce", "CE", "does the mask keep the decision: less is better"),
    ("av", "AV", "how much the maps cover"),
    ("tv", "TV", "how rough the maps are, and how much lies on their borders"),
    ("drop", "average drop in %", "of the decision's probability under the mask that is trained: less is better"),
    ("increase", "increase in %", "of images whose decision is surer under the mask: more is better"),
)
_PARTS = (("train", "trained on"), ("valid", "chooses the epoch"))

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Report(RunReport):
    """A run's report.

    Args:
        path: The run's folder.
        manifest: What was asked.
        rows: One an epoch.
    """

    study: ClassVar[str] = STUDY

    path: Path
    manifest: Mapping[str, Any]
    rows: Sequence[Row]

    @classmethod
    def of(cls, run: str | os.PathLike[str]) -> Self:
        """The report of a run of `sl.training.fit_attention`.

        Raises:
            StorageError: No run, or one of another study.
        """
        manifest = store.read_manifest(run)
        if manifest.get("study") != cls.study:
            raise StorageError(f"{run} is of a study {manifest.get('study')!r}; this report is for {cls.study!r}")
        return cls(Path(run), manifest, store.read_parts(run))

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path

    def page(self) -> Page:
        """The page from what lies in the folder."""
        return page(self.manifest, self.rows, self.path.resolve().name)

    @staticmethod
    def check_suffix(path: str | os.PathLike[str]) -> None:
        """Refuse a table that is no `.csv`.

        Raises:
            InputError: The text says what is written.
        """
        if Path(path).suffix.lower() != ".csv":
            raise InputError(f"{path}: the epochs of a training are written as .csv")

    def table(self, path: str | os.PathLike[str]) -> str:
        """The epochs with all digits."""
        out = io.StringIO(newline="")
        table = csv.DictWriter(out, list(self.rows[0]) if self.rows else ["epoch"])
        table.writeheader()
        table.writerows(self.rows)
        return out.getvalue()


def page(manifest: Mapping[str, Any], rows: Sequence[Row], name: str) -> Page:
    """The page from what lies in the folder.

    Args:
        manifest: The run's.
        rows: One an epoch.
        name: Of the folder.
    """
    settings = manifest["settings"]
    images, recipe = settings["images"], settings["recipe"]
    layers = " + ".join(settings["layers"]) or "no layer"
    facts = [
        ("classifier", f"{manifest.get('model')} ({settings['backbone']['weights']})"),
        ("attention", f"{settings['method']} at {layers}, directions {settings['directions']}"),
        ("recipe", str(recipe["name"])),
        (
            "images",
            f"{images['train']:,} trained on, {images['validation']:,} to choose by, {images['excluded']:,} out",
        ),
        ("made", str(manifest.get("created", "-"))),
        ("versions", ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items())),
    ]
    return Page(
        title=f"Training of an attention: {name}",
        lead=f"Does {settings['method']} learn to show what {manifest.get('model')} decides by? The curves, the epoch "
        "that was taken, and what it depended on.",
        facts=facts,
        sections=[
            Section(title="What was found", blocks=_findings(manifest, rows)),
            *(
                [Section(title="Curves", blocks=[curves(rows)], lead="Means over the images of each epoch.")]
                if rows
                else []
            ),
            *([Section(title="Epochs", blocks=[_table(rows, manifest.get("best"))])] if rows else []),
            Section(title="What it depended on", blocks=[_settings(manifest)]),
            Section(title="Use it", blocks=_use(settings, name)),
        ],
        footer=f"Made with Sightline from the run `{name}`. `sightline report RUN` makes it again.",
    )


def _findings(manifest: Mapping[str, Any], rows: Sequence[Row]) -> list[Block]:
    recipe, best = manifest["settings"]["recipe"], manifest.get("best")
    blocks: list[Block] = []
    row = next((r for r in rows if r["epoch"] == best), None)
    if row is None:
        return [Callout(text="No epoch is finished yet.", tone="note")]
    if "valid_loss" in row and recipe["select"] != "last":
        measure, value = ("loss", row["valid_loss"]) if recipe["select"] == "loss" else ("drop", row["valid_drop"])
        blocks.append(
            Callout(
                title=f"Epoch {best} of {len(rows)}",
                text=f"It has the least {measure} ({value:.4g}) on images that were not trained on, and is what "
                "`attention.safetensors` holds.",
                tone="finding",
            )
        )
        if best == rows[-1]["epoch"] and len(rows) == recipe["epochs"]:
            blocks.append(Callout(text="The last epoch was the best one: more epochs may bring more.", tone="note"))
    else:
        blocks.append(Callout(text=f"The last epoch ({best}) is what `attention.safetensors` holds.", tone="note"))
    failed = manifest.get("failed", {"count": 0, "images": {}})
    if failed["count"]:
        named = "; ".join(f"{path}: {why}" for path, why in list(failed["images"].items())[:10])
        title = f"{failed['count']} images could not be read and were left out"
        blocks.append(Callout(title=title, text=named, tone="warning"))
    if manifest.get("cache") and recipe["augment"]:
        views = "Two fixed views of each image (the centre and its mirror image) stood in for random crops."
        blocks.append(Callout(text=f"{views} Their features were kept as {manifest['cache']['precision']}."))
    blocks.append(
        Text(
            "Drop and increase are those of the mask that is trained, `sigmoid(c)`, on features for l-cam-fm and on "
            "the image for the others: they are not the figures of a benchmark, in which the map is brought to "
            "[0, 1] and multiplied with the image. `sightline bench` measures those, beside other methods and controls."
        )
    )
    return blocks


def curves(rows: Sequence[Row], measures: Sequence[tuple[str, str, str]] = _MEASURES) -> Charts:
    """A chart a measure (column, label, words) over the epochs, of what is trained on and what chooses."""
    charts = []
    epochs = [float(row["epoch"]) for row in rows]
    for name, label, words in measures:
        series = [
            Series(name=spoken, x=epochs, y=[float(row[f"{part}_{name}"]) for row in rows], picked=True, control=False)
            for part, spoken in _PARTS
            if f"{part}_{name}" in rows[0]
        ]
        values = [y for one in series for y in one.y if math.isfinite(y)] or [0.0]
        room = 0.06 * (max(values) - min(values)) or 0.1 * abs(max(values)) or 0.1
        ends = "; ".join(f"{one.name}: {one.y[0]:.4g} to {one.y[-1]:.4g}" for one in series)
        alone = len(rows) == 1  # a line through one point would not be seen
        low = min(epochs) - 0.5 * alone
        charts.append(
            Chart(
                title=f"{label}: {words}",
                alt=f"{label} over {len(rows)} epochs. {ends}.",
                x=Axis(label="epoch", low=low, high=max(max(epochs), low + 1)),
                y=Axis(label=label, low=min(values) - room, high=max(values) + room),
                series=series,
                form="points" if alone else "lines",
            )
        )
    return Charts(items=charts)


def _table(rows: Sequence[Row], best: int | None) -> Table:
    columns = ["epoch", "rate"]
    picked = [(p, n) for n, _, _ in _MEASURES for p, _ in _PARTS if f"{p}_{n}" in rows[0]]
    columns += [f"{n} ({'trained' if p == 'train' else 'chooses'})" for p, n in picked]
    cells = [
        [
            f"{row['epoch']}{' (taken)' if row['epoch'] == best else ''}",
            f"{row['rate']:.3g}",
            *(f"{row[f'{p}_{n}']:.4g}" for p, n in picked),
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    return Table(columns=[*columns, "seconds"], rows=cells, caption="One line an epoch.")


def _settings(manifest: Mapping[str, Any]) -> Table:
    settings = manifest["settings"]
    flat = {"method": settings["method"], "layers": settings["layers"], "fit": settings["fit"]}
    flat |= {"size": settings["size"], "processes": settings["processes"], "variant": settings["variant"]}
    flat |= {f"recipe: {k}": v for k, v in settings["recipe"].items() if k != "lambdas"}
    given, used = settings["recipe"]["lambdas"], manifest.get("lambdas") or {}
    rows = [[name, _spoken(value)] for name, value in flat.items()]
    for name, value in given.items():
        now = used.get(name, value)
        rows.append([f"lambda: {name}", f"{value:g}" if now == value else f"{now:.3g} (balanced from {value:g})"])
    return Table(columns=["setting", "value"], rows=rows, caption="All that the weights depend on.", text_columns=[1])


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _use(settings: Mapping[str, Any], name: str) -> list[Block]:
    method = "learned-constant" if settings["method"] == "constant" else settings["method"]
    helper = ", auxiliary=helper" if method == "p-tame" else ""
    file = f"{name}/attention.safetensors"
    return [
        Code(text=f'sl.explain(classifier, pixels, method="{method}", weights="{file}"{helper})', title="In Python"),
        Code(
            text=f"sightline bench photos/ -m MODEL --weights FILE --method {method} --set {method}.weights={file} "
            "--method grad-cam --out judged",
            title="Judged beside another method",
        ),
    ]

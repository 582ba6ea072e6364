"""What `sightline bench` does with what was typed, and what it says at the end."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.markup import escape
from rich.table import Table

from sightline.cli._ask import read_settings
from sightline.cli._options import console, load_classifier
from sightline.errors import InputError
from sightline.studies.benchmarking import METRICS, Benchmark, plan_of, protocols, run_plan
from sightline.studies.benchmarking.plan import Plan
from sightline.studies.benchmarking.reading import read_data, read_plan, read_target

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN, _RESAMPLES = 20, 2000


def from_file(path: Path, limit: int | None) -> tuple[Plan, Path | None, str | None]:
    """The plan of a TOML file, its folder, and its protocol."""
    arguments, out = read_plan(path, limit=limit)
    preset = arguments.pop("protocol", None)
    if preset is not None:
        if arguments["target"] is not None:
            raise InputError(f"{path}: the protocol {preset} asks of the predicted class; leave target away")
        filled = protocols.arguments(preset, methods=arguments.get("methods", ()))
        arguments |= filled | {"metrics": [*filled["metrics"], *arguments.get("metrics", ())]}
    return plan_of(**arguments), Path(out) if out else None, preset


def from_options(
    model: str | None,
    given: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    methods: Sequence[str] | None,
    metrics: Sequence[str] | None,
    texts: Sequence[str],
    targets: Sequence[str],
    layers: Sequence[str],
    seeds: Sequence[int],
    batch: int,
    fit: Any,
    protocol: str | None = None,
) -> tuple[Plan, None]:
    """The plan of what was typed.

    Raises:
        SightlineError: What cannot be used; the text names it.
    """
    from sightline import registry
    from sightline.metrics.metric import find

    if model is None:
        raise InputError("name a model with --model, or a plan with --plan")
    preset = protocols.find(protocol) if protocol else None
    own = [name for name, _ in preset.methods] if preset else []
    asked = [name for name in methods or [] if name not in own] or ([] if preset else ["grad-cam"])
    judges = list(metrics or ([] if preset else METRICS))
    found = {name: registry.find(name) for name in asked}
    for name in judges:
        find(name)
    settings = read_settings(texts, [*own, *asked, *judges])
    records, root = read_data({k: v for k, v in data.items() if v is not None}, "the command")
    classifier = load_classifier(model, **given)
    looks = {name: layers for name in asked if layers and found[name].needs & {"features", "layer"}}
    typed: dict[str, Any] = {
        "methods": [{"name": n, "layer": list(looks[n]) if n in looks else None, **settings[n]} for n in asked],
        "metrics": [{"name": n, **settings[n]} for n in judges],
        "target": read_target(targets, classifier),
    }
    if preset:
        typed = _filled(preset, typed, {n: settings[n] for n in own}, layers)
    plan = plan_of(
        {_short(model): classifier},
        records,
        **typed,
        seeds=seeds,
        batch=batch,
        fit=fit,
        root=root,
    )
    return plan, None


def _filled(
    preset: protocols.Protocol, typed: Mapping[str, Any], settings: Mapping[str, Any], layers: Sequence[str]
) -> dict[str, Any]:
    """What a preset asks, with what was typed beside it."""
    if typed["target"] is not None:
        raise InputError(f"the protocol {preset.name} asks of the predicted class; leave --target away")
    layer = list(layers) if layers else None
    filled = protocols.arguments(preset.name, methods=typed["methods"], settings=settings, layer=layer)
    return {**filled, "metrics": [*filled["metrics"], *typed["metrics"]]}


def _short(model: str) -> str:
    """`torchvision:resnet50` -> `resnet50`, `python:nets/a.py:build:small` -> `small`."""
    return re.sub(r"[^\w.+-]+", "-", Path(model.rpartition(":")[2]).name) or "model"


def work(plan: Plan, out: Path, *, overwrite: bool, protocol: str | None = None) -> bool:
    """Run a plan, and print its table; with a protocol also the paper's, which is written beside the run.

    Returns:
        Whether some rows are errors.

    Raises:
        KeyboardInterrupt: Again, with what to do.
    """
    note = console(stderr=True)
    methods = [m.label for m in plan.methods if not m.control]
    note.print(
        f"{len(plan.records):,} images x {len(plan.models)} models x {len(methods)} methods and "
        f"{len(plan.methods) - len(methods)} controls, {len(plan.judges)} metrics -> {out}",
        markup=False,
    )
    for failure in (getattr(plan.records, "failures", None) or [])[:_SHOWN]:
        note.print(f"{failure.path}: {failure.reason}", markup=False, style="yellow")
    try:
        found = run_plan(plan, out, overwrite=overwrite, announce=lambda line: note.print(line, markup=False))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"what is finished is in {out}; the same command goes on") from stop
    failed = _summarise(found, console())
    if protocol:
        _export(found, plan, console())
    return failed


def _export(found: Benchmark, plan: Plan, out: "Console") -> None:
    """The table of the L-CAM papers as Markdown on the terminal, and as files in the run's folder."""
    from sightline.report.benchmark import lcam, records
    from sightline.report.benchmark.results import Results

    lcam.write_passes(found.path, protocols.forward_passes(plan))
    made = lcam.lines(found.rows(), found.manifest, lcam.read_passes(found.path))
    note = records.line(Results(found.path))
    files = lcam.write(found.path, made, note)
    out.print()
    out.print(lcam.as_markdown(made, ""), markup=False, soft_wrap=True)
    out.print("; ".join(map(str, files)), markup=False, soft_wrap=True)


def _summarise(found: Benchmark, out: "Console") -> bool:
    from sightline.studies.statistics import STATUSES

    manifest, cells = found.manifest, found.table(resamples=_RESAMPLES)
    beats = found.against_controls(resamples=_RESAMPLES)
    behind = {(r["model"], r["method"], r["metric"]) for r in beats.iter_rows(named=True) if not r["beats"]}
    for model in manifest["models"]:
        out.print(_table(model, cells.filter(model=model), manifest, behind))
    _boxes(found, out)
    out.print("mean [95 % interval over images]; * does not beat every control beyond the interval", markup=False)
    switches = {k: v for k, v in manifest["protocol"].items() if isinstance(v, str | int)}
    out.print("; ".join(f"{k}: {v}" for k, v in switches.items()), style="dim", markup=False)
    counted = {status: int(cells[status].sum()) for status in STATUSES}
    out.print("rows: " + ", ".join(f"{n:,} {s}" for s, n in counted.items() if n) + f" in {found.path}", markup=False)
    errors = found.errors().unique(["model", "image", "method", "error"], maintain_order=True)
    red = console(stderr=True)
    for row in errors.head(_SHOWN).iter_rows(named=True):
        red.print(f"[red]{escape(row['image'])}, {escape(row['method'])}: {escape(row['error'])}[/red]")
    if len(errors) > _SHOWN:
        red.print(f"[red]and {len(errors) - _SHOWN} more[/red]")
    return len(errors) > 0


def _table(model: str, cells: pl.DataFrame, manifest: Mapping[str, Any], behind: set[tuple[str, str, str]]) -> Table:
    table = Table(title=model, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for metric in manifest["metrics"]:
        arrow = "↑" if metric["direction"] == "up" else "↓"
        table.add_column(f"{escape(metric['label'])} {arrow}", justify="right")
    known = {(c["method"], c["metric"]): c for c in cells.iter_rows(named=True)}
    for method in sorted(manifest["methods"], key=lambda m: m["control"]):
        label = method["label"]
        texts = []
        for metric in manifest["metrics"]:
            cell = known.get((label, metric["label"]))
            mark = "*" if (model, label, metric["label"]) in behind else ""
            texts.append(_cell(cell) + mark if cell else "-")
        table.add_row(escape(label), *texts, style="dim" if method["control"] else None)
    luck = [_chance(cells, metric["label"]) for metric in manifest["metrics"]]
    if any(text != "-" for text in luck):
        table.add_row("chance", *luck, style="dim")
    return table


def _chance(cells: pl.DataFrame, metric: str) -> str:
    """What a map without information gets on average."""
    known = [float(v) for v in cells.filter(pl.col("metric") == metric)["chance"] if v is not None]
    return " to ".join(dict.fromkeys(f"{v:.3f}" for v in (min(known), max(known)))) if known else "-"


def _boxes(found: Benchmark, out: "Console") -> None:
    """MaxBoxAcc: what no row can know, because the threshold is one for all images."""
    lines = found.box_accuracy()
    if not len(lines):
        return
    table = Table(title="MaxBoxAcc over all images", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("model", "metric", "method", "MaxBoxAcc", "its threshold", "held out", "mean at 0.3, 0.5, 0.7"):
        table.add_column(title, no_wrap=title == "method")
    for line in lines.iter_rows(named=True):
        keys = ("max_box_acc", "threshold", "held_out", "overlaps_mean")
        numbers = ("-" if (v := line[k]) is None else f"{v:.3f}" for k in keys)
        table.add_row(*(escape(line[k]) for k in ("model", "metric", "method")), *numbers)
    out.print(table)
    out.print("held out: each half of the images takes the best threshold of the other half", markup=False)


def _cell(cell: Mapping[str, Any]) -> str:
    if cell["mean"] is None:
        return "-"
    if cell["low"] is None:
        return f"{cell['mean']:.3f}"
    return escape(f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]")

"""`sightline metrics`: what there is to judge with."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightline.metrics.metric import Metric

EPILOG = """Examples:

sightline metrics --family faithfulness

sightline metrics insertion

sightline bench photos/ --model torchvision:resnet50 --weights resnet50.pth --metric insertion
"""


def metrics(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One metric: its formula, paper, settings and cost.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Only one family, such as faithfulness, localisation, sanity. Example: --family sanity"),
    ] = None,
) -> None:
    """List the metrics with their directions, ranges, costs and needs; or show one with its formula."""
    from sightline.errors import MetricError
    from sightline.metrics import metrics as everything
    from sightline.metrics.metric import find

    found = everything()
    if name is not None:
        _show(find(name))
        return
    families = sorted({m.family for m in found})
    if family is not None and family not in families:
        raise MetricError(f"there is no family {family!r}; there are {', '.join(families)}")
    _table([m for m in found if family in (None, m.family)])


def _range(metric: "Metric") -> str:
    low, high = ("-" * (v < 0) + "inf" if abs(v) == float("inf") else f"{v:g}" for v in metric.range)
    return f"{low} to {high}"


def _settings(metric: "Metric") -> str:
    return ", ".join(f"{k}={v!r}" for k, v in metric.settings.items())


def _table(found: "list[Metric]") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from sightline.cli._options import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", style="bold", no_wrap=True)
    for title in ("family", "paper", "better", "range", "cost", "needs"):
        table.add_column(title)
    table.add_column("settings", overflow="fold")
    for m in found:
        paper = f"{m.paper.authors} {m.paper.year}" if m.paper else "-"
        needs = ", ".join(sorted(m.needs)) or "nothing"
        row = (m.name, m.family, paper, m.direction, _range(m), m.cost, needs, _settings(m) or "-")
        table.add_row(*map(Text, row))
    out = console()
    out.print(table)
    out.print(f"{len(found)} metrics. `sightline metrics NAME` shows the formula and the paper.")


def _show(metric: "Metric") -> None:
    import inspect

    from rich.markup import escape

    from sightline.cli._options import console

    out = console()
    out.print(f"[bold]{escape(metric.name)}[/bold]  ({escape(metric.family)})  {escape(metric.summary)}\n")
    out.print(escape(inspect.getdoc(metric.function) or "no description"))
    facts = {
        "paper": str(metric.paper) if metric.paper else "none",
        "better": f"{metric.direction}, from {_range(metric)}",
        "cost": metric.cost,
        "needs": ", ".join(sorted(metric.needs)) or "nothing: any explanation will do",
        "decisions": ", ".join(sorted(metric.decisions)) or "all",
        "settings": _settings(metric) or "none",
    }
    out.print()
    for title, text in facts.items():
        out.print(f"[dim]{title:>10}[/dim]  {escape(text)}")
    first = next(iter(metric.settings.items()), None)
    example = f" --set {metric.name}.{first[0]}={first[1]}" if first else ""
    out.print(f"\nsightline bench PHOTO --model MODEL --weights FILE --metric {metric.name}{example}", markup=False)

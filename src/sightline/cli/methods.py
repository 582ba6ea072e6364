"""`sightline methods`: what there is to explain with."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightline.registry import Method

_READ = {"positive": "part", "absolute": "value", "height": "above the lowest value"}

EPILOG = """Examples:

sightline methods --family cam

sightline methods layer-cam

sightline explain photo.jpg --model torchvision:resnet50 --weights resnet50.pth --method layer-cam
"""


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One method: its formula, paper, settings and cost.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Only one family, such as cam, pixel, masking, lrp, learned, control. Example: --family cam"),
    ] = None,
) -> None:
    """List the methods with their papers, costs, needs and settings; or show one with its formula."""
    from sightline import registry
    from sightline.errors import MethodError
    from sightline.explainers import methods as everything

    found = everything()
    if name is not None:
        _show(registry.find(name))
        return
    families = sorted({m.family for m in found})
    if family is not None and family not in families:
        raise MethodError(f"there is no family {family!r}; there are {', '.join(families)}")
    _table([m for m in found if family in (None, m.family)])


def _settings(method: "Method") -> str:
    return ", ".join(f"{k}={v!r}" for k, v in method.settings.items())


def _table(found: "list[Method]") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from sightline.cli._options import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, settings in {
        "method": {"style": "bold", "no_wrap": True},
        "family": {"no_wrap": True},
        "paper": {},
        "cost": {},
        "needs": {},
        "settings": {"overflow": "fold"},
    }.items():
        table.add_column(title, **settings)  # type: ignore[arg-type]
    for m in found:
        paper = f"{m.paper.authors} {m.paper.year}" if m.paper else "-"
        needs = ", ".join(sorted(m.needs)) or "nothing"
        row = (m.name, m.family, paper, m.cost, needs, _settings(m) or "-")
        table.add_row(*map(Text, row))
    out = console()
    out.print(table)
    out.print(f"{len(found)} methods. `sightline methods NAME` shows the formula and the paper.")


def _show(method: "Method") -> None:
    import inspect

    from rich.markup import escape

    from sightline.cli._options import console

    out = console()
    out.print(f"[bold]{escape(method.name)}[/bold]  ({escape(method.family)})  {escape(method.summary)}\n")
    out.print(escape(inspect.getdoc(method.function) or "no description"))
    sign = "signed" if method.signed else "without sign"
    facts = {
        "paper": str(method.paper) if method.paper else "a control, without a paper",
        "cost": f"{method.cost} ({method.forwards} forward an image by default)",
        "needs": ", ".join(sorted(method.needs)) or "nothing: any black box will do",
        "maps": f"{sign}; a heat map shows their {method.polarity} {_READ[method.polarity]}",
        "decisions": ", ".join(sorted(method.decisions)) or "all",
        "settings": _settings(method) or "none",
    }
    out.print()
    for title, text in facts.items():
        out.print(f"[dim]{title:>10}[/dim]  {escape(text)}")
    first = next(iter(method.settings.items()), None)
    value = "FILE" if first and first[0] == "weights" else first[1] if first else None
    example = f" --set {method.name}.{first[0]}={value}" if first else ""
    out.print(f"\nsightline explain PHOTO --model MODEL --weights FILE --method {method.name}{example}", markup=False)

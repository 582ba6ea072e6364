"""What `sightline generalise` does with what was typed, and what it says at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from sightline.cli._ask import read_settings
from sightline.cli._options import console, numbers
from sightline.report.generalisation import Report, words
from sightline.studies.generalising import METHODS, plan_of, read_study, run_plan
from sightline.studies.generalising.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 10


def plan_from(
    path: Path,
    *,
    limit: int | None,
    methods: Sequence[str] | None,
    texts: Sequence[str],
    levels: str | None,
    fills: Sequence[str] | None,
    modes: Sequence[str] | None,
) -> tuple[Plan, Path | None]:
    """The plan of a file with what was typed in its place, and its folder.

    Raises:
        SightlineError: What cannot be used; the text names it.
    """
    arguments, out = read_study(path, limit=limit)
    arguments["methods"] = methods_of(methods or arguments.get("methods", METHODS), texts)
    if levels is not None:
        arguments["levels"] = tuple(int(q) if q == int(q) else q for q in numbers(levels) or ())
    arguments |= {name: value for name, value in (("fills", fills), ("modes", modes)) if value}
    return plan_of(**arguments), Path(out) if out else None


def methods_of(given: Sequence[Any], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Methods as tables, with `--set METHOD.SETTING=VALUE` laid over what the file says."""
    tables = [_as_table(one) for one in given]
    settings = read_settings(texts, [table["name"] for table in tables])
    return [{**table, **settings[table["name"]]} for table in tables]


def _as_table(one: Any) -> dict[str, Any]:
    if isinstance(one, Mapping):
        return {"name": one.get("name", ""), **one}
    return {"name": one} if isinstance(one, str) else {"name": one[0], **one[1]}


def work(plan: Plan, out: Path, *, overwrite: bool) -> bool:
    """Run a plan, write its page, and print what it found.

    Returns:
        Whether some images failed.

    Raises:
        KeyboardInterrupt: Again, with what to do.
    """
    note = console(stderr=True)
    note.print(
        f"{len(plan.family)} models x {len(plan.source.keys):,} images, {', '.join(plan.labels)}; "
        f"{len(plan.controls)} controls, {len(plan.levels)} levels -> {out}",
        markup=False,
        soft_wrap=True,
    )
    for failure in (getattr(plan.records, "failures", None) or [])[:_SHOWN]:
        note.print(f"{failure.path}: {failure.reason}", markup=False, style="yellow")
    try:
        run_plan(plan, out, overwrite=overwrite, announce=lambda line: note.print(line, markup=False, soft_wrap=True))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"what is finished is in {out}; the same command goes on") from stop
    with note.status("computing intervals"):
        report = Report.of(out)
        page = report.write()
    return _summarise(report, page, console())


def _summarise(report: Report, page: Path, out: "Console") -> bool:
    figures = report.figures
    out.print(_groups(report))
    for one in figures.sentences:
        out.print(one.text, markup=False, soft_wrap=True)
    missing = [m for m, own in _own(report).items() if not own["defined"]]
    if missing:
        out.print(f"nothing is said of these as targets: {', '.join(missing)}; see the report", markup=False)
    out.print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)
    bad, red = report.study.errors(), console(stderr=True)
    for row in bad.head(_SHOWN).iter_rows(named=True):
        red.print(
            f"[red]{escape(row['image'])}, {escape(row['model'])}: {escape(row['error'] or '')}[/red]", soft_wrap=True
        )
    if len(bad) > _SHOWN:
        red.print(f"[red]and {len(bad) - _SHOWN} more[/red]")
    return len(bad) > 0


def _own(report: Report) -> dict[str, Any]:
    rows = report.figures.index(report.figures.main).iter_rows(named=True)
    return {row["target"]: row for row in rows if row["source"] == row["target"]}


def _groups(report: Report) -> Table:
    """How much carries over, by what differs, for each method."""
    figures = report.figures
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="G, how much carries over [95 %]", title_justify="left")
    table.add_column("models that")
    for view in figures.by_method:
        table.add_column(escape(f"{view.method}, {view.measure}"), justify="right")
    table.add_column("pairs", justify="right")
    cells: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for view in figures.by_method:
        for row in figures.groups(view).iter_rows(named=True):
            cells.setdefault(row["differs"], []).append(words.told(row, "g"))
            counts[row["differs"]] = row["pairs"] + row["undefined"]
    for differs, values in cells.items():
        table.add_row(escape(words.differing(differs)), *map(escape, values), str(counts[differs]))
    return table

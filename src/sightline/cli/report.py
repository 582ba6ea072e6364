"""`sightline report`: the page of a finished or unfinished run, and its table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli._options import console

EPILOG = """Examples:

sightline report runs/imagenet

sightline report runs/imagenet --export table.csv --export table.tex --open
"""


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of `bench` or `confusion`.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; RUN/report.html unless given. Example: --out a.html"),
    ] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the table too: .csv (all digits, one line a cell), .tex or .md; repeat for several. Of "
            "confusions the errors, as .csv. Example: --export table.csv",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser at the end. Example: --open")
    ] = False,
) -> None:
    """Make a run's report: one page that opens offline, with table, curves, costs, images and failures."""
    made = _report_of(run, export or [])
    with console(stderr=True).status("computing means and intervals"):
        page = made.write(out)
    for path in export or ():
        console().print(f"The table: {made.export(path)}", soft_wrap=True, markup=False)
    console().print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _report_of(run: Path, export: list[Path]) -> Any:
    """The report that fits the run's study."""
    from sightline import store
    from sightline.report import benchmark, confusions
    from sightline.report.benchmark.export import check_suffix

    confusion = store.read_manifest(run).get("study") == "confusion"
    for path in export:
        (confusions.Report.check_suffix if confusion else check_suffix)(path)
    return (confusions.Report if confusion else benchmark.Report).of(run)

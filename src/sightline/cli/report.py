"""`sightline report`: the page of a finished or unfinished run, and its table."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli._options import console

EPILOG = """Examples:

sightline report runs/imagenet

sightline report runs/imagenet --export table.csv --export table.tex --open
"""


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of `sightline bench`.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; RUN/report.html unless given. Example: --out a.html"),
    ] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the table too: .csv (all digits, one line a cell), .tex or .md; repeat for several. "
            "Example: --export table.csv",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser at the end. Example: --open")
    ] = False,
) -> None:
    """Make a run's report: one page that opens offline, with table, curves, costs, images and failures."""
    from sightline.report.benchmark import Report
    from sightline.report.benchmark.export import check_suffix

    for path in export or ():
        check_suffix(path)
    terminal = console(stderr=True)
    with terminal.status("computing means and intervals"):
        made = Report.of(run)
        page = made.write(out)
    for path in export or ():
        console().print(f"The table: {made.export(path)}", soft_wrap=True, markup=False)
    console().print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())

"""`sightline report`: the page of a finished or unfinished run, and its table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli._options import console
from sightline.errors import InputError

EPILOG = """Examples:

sightline report runs/imagenet

sightline report runs/imagenet --export table.csv --export table.tex --open

sightline report runs/faces --export index.csv --export generalisation.json
"""


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of a run of `bench`, `audit`, `confusion`, `generalise` or `train`."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; RUN/report.html unless given. Example: --out a.html"),
    ] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the table too: .csv (all digits, one line a cell), .tex or .md; repeat for several. Of "
            "confusions the errors, of a training the epochs, as .csv. Of an audit a .csv named after its table "
            "(findings, errors, evidence, bias, groups, interventions), or all as .json; likewise of a generalisation "
            "study (index, groups, factors, asymmetry, controls, similarity, agreement, validity, parts). "
            "Example: --export table.csv",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Of an audit: another audit of the same images, compared image by image in comparison.html. "
            "Example: --against runs/before",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser at the end. Example: --open")
    ] = False,
) -> None:
    """Make a run's report: one page that opens offline, with table, curves, costs, images and failures."""
    made = _report_of(run, export or [], against)
    with console(stderr=True).status("computing means and intervals"):
        page = made.write(out)
    for path in export or ():
        console().print(f"The table: {made.export(path)}", soft_wrap=True, markup=False)
    console().print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _report_of(run: Path, export: list[Path], against: Path | None) -> Any:
    """The report that fits the run's study."""
    from sightline import store
    from sightline.report import attributes, audit, benchmark, confusions, generalisation, training

    kinds: dict[Any, Any] = {"audit": audit.Report, "confusion": confusions.Report}
    kinds["generalise"] = generalisation.Report
    kinds |= {training.STUDY: training.Report, attributes.STUDY: attributes.Report}
    study = store.read_manifest(run).get("study")
    kind = kinds.get(study, benchmark.Report)
    for path in export:
        kind.check_suffix(path)
    if against is not None:
        if study != "audit":
            raise InputError(f"--against compares audits, and {run} is the run of a study {study!r}; leave it away")
        return audit.Report.of(run, against)
    return kind.of(run)

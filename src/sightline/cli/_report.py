"""What `sightline explain` says: before, while it works, and at the end."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich import box
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sightline.cli._folder import key_of
from sightline.cli._job import Job
from sightline.cli._options import console
from sightline.cli._trust import tell

_SHOWN = 10


def announce(job: Job, paths: Sequence[Path]) -> list[Path]:
    """Say how much there is to do, and return the photos that are left."""
    left = [path for path in paths if not job.folder.finished(path)]
    done = len(paths) - len(left)
    methods = ", ".join(job.explainers)
    out = console(stderr=True)
    out.print(f"{_many(len(paths), 'photo')} x {_many(len(job.explainers), 'method')} ({methods})", markup=False)
    out.print(f"{job.classifier!r} -> {job.folder.path}", markup=False)
    if done:
        out.print(f"{_many(done, 'photo')} finished by an earlier run; {len(left)} to go", markup=False)
    return left


def work(job: Job, left: Sequence[Path], paths: Sequence[Path]) -> None:
    """Run the job behind a progress bar; the table and the overview are written also after an interruption.

    Raises:
        KeyboardInterrupt: Again, with what was kept.
        StorageError: The disk is full.
    """
    out = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    for line in job.estimates(left[0]) if left else ():
        out.print(line, markup=False)
    with Progress(*columns, console=out, disable=not left) as progress:
        bar = progress.add_task("explaining", total=len(left))

        def advance(done: int, seconds: float) -> None:
            if progress.tasks[bar].completed == 0 and done < len(left):
                rest = seconds / done * (len(left) - done)
                first = f"the first {_many(done, 'photo')} took {_time(seconds)}; about {_time(rest)} left"
                progress.console.print(first, markup=False)
            progress.update(bar, completed=done)

        inner: dict[str, TaskID] = {}

        def passes(method: str, done: int, total: int) -> None:
            if method not in inner:
                inner[method] = progress.add_task(method, total=total)
            progress.update(inner[method], completed=done, total=total, visible=done < total)

        job.advance, job.passes = advance, passes
        try:
            job.run(left)
        except KeyboardInterrupt as error:
            progress.stop()
            kept = sum(key_of(path) in job.folder.records for path in paths)
            job.folder.write_table(paths)
            raise KeyboardInterrupt(
                f"{kept} of {_many(len(paths), 'photo')} are finished in {job.folder.path}; the same command goes on"
            ) from error
    job.folder.write_table(paths)
    if left or not (job.folder.path / "overview-001.png").exists():
        with out.status("drawing the overview"):
            beyond = job.write_overview(paths)
        if beyond:
            out.print(
                f"{_many(beyond, 'photo')} stand on no overview page; every photo has its own sheet", markup=False
            )


def summarise(job: Job, paths: Sequence[Path]) -> None:
    """What was found, what was written, and what failed."""
    out = console()
    records = [job.folder.records[key] for key in map(key_of, paths) if key in job.folder.records]
    rows = [row for record in records for row in record["rows"]]
    if records:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("photo", "predicted", "probability", "explained (probability)"):
            table.add_column(title, overflow="fold", justify="right" if title == "probability" else "left")
        for record in records[:_SHOWN]:
            first = next(iter(job.explainers))
            asked = [f"{r['target']} ({r['probability']:.3f})" for r in record["rows"] if r["method"] == first]
            p = record["predicted_probability"]
            shown = (record["name"], record["predicted"] or "-", "-" if p is None else f"{p:.3f}", ", ".join(asked))
            table.add_row(*map(Text, shown))
        out.print(table)
        if len(records) > _SHOWN:
            out.print(f"and {len(records) - _SHOWN} more in {job.folder.path / 'explanations.csv'}", markup=False)
    tell(out, records[:_SHOWN], job)
    out.print(f"{_many(len(records), 'photo')} explained: {_many(len(rows), 'map')} in {job.folder.path}", markup=False)
    empty = {m: sum(row["empty"] for row in rows if row["method"] == m) for m in job.explainers}
    if any(empty.values()):
        parts = ", ".join(f"{count} of {m}" for m, count in empty.items() if count)
        typer.secho(f"{_many(sum(empty.values()), 'map')} without any energy: {parts}", fg="yellow")
    if records:
        pages = len(list(job.folder.path.glob("overview-*.png")))
        out.print(f"explanations.csv, sheets/ (one a photo), {_many(pages, 'overview page')}", markup=False)
    if job.failed:
        red = console(stderr=True)
        red.print(f"[red]{_many(len(job.failed), 'photo')} failed:[/red]")
        for path, reason in job.failed[:50]:
            red.print(f"[red]  {escape(str(path))}: {escape(' '.join(reason.split()))}[/red]", soft_wrap=True)
        if len(job.failed) > 50:
            red.print(f"[red]  and {len(job.failed) - 50} more[/red]")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""What `sightline triads` does with what was typed, and what it prints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from sightline.cli._options import console
from sightline.cli._triads_models import Models
from sightline.errors import InputError
from sightline.files import atomic_write
from sightline.report.page import write_page
from sightline.report.people import interval, named, people_page, percent
from sightline.studies import people
from sightline.studies.people import SimilarityMatrix, Triad

if TYPE_CHECKING:
    from sightline.studies.people import Scored

_WIDTH = 40


def make(
    folder: Path,
    models: Models,
    *,
    fit: str,
    design: str,
    trials: int | None,
    identities: bool,
    catch: int,
    practice: int,
    seed: int,
    out: Path,
) -> None:
    """Choose triads and write them."""
    images = people.stimuli(folder, fit=fit)  # type: ignore[arg-type] # checked by load_images
    who = {name: name.rpartition("/")[0] for name in images.names} if identities else None
    dropped: list[str] = []
    triads: list[Triad]
    if design in ("random", "balanced"):
        drawn = people.random_triads if design == "random" else people.balanced_triads
        triads = drawn(images.names, trials or len(images.names), seed=seed, identities=who)
    else:
        groups = _two(models.matrices(images), models)
        (first, second), names = groups.values(), (*groups,)
        if design == "runner-up":
            triads, dropped = people.runner_up_triads(first, second, names=names, identities=who)  # type: ignore[arg-type]
            triads = triads[: trials or len(triads)]
        elif design == "contrasted":
            count = trials or len(images.names)
            triads = people.contrasted_triads(first, second, names=names, trials=count, identities=who)  # type: ignore[arg-type]
        else:
            raise InputError(f"--design is runner-up, contrasted, balanced or random, not {design!r}")
    if not triads:
        raise InputError("both groups of models name the same runner-up for every target; try --design contrasted")
    people.write_plan(out, people.with_extras(triads, images.names, catch=catch, practice=practice, seed=seed))
    said = console()
    extra = f", {catch} catch trials and {practice} to practise" if catch or practice else ""
    said.print(f"{len(triads)} triads of {len(images.names)} images{extra}: {out}", markup=False, soft_wrap=True)
    if dropped:
        text = f"{len(dropped)} targets are left out, as both name the same image: {', '.join(dropped[:5])}"
        said.print(text + (" ..." if len(dropped) > 5 else ""), markup=False, soft_wrap=True)


def _two(found: Sequence[tuple[str, SimilarityMatrix]], models: Models) -> dict[str, list[SimilarityMatrix]]:
    groups: dict[str, list[SimilarityMatrix]] = {}
    for group, matrix in found:
        groups.setdefault(group, []).append(matrix)
    if len(groups) != 2:
        names = ", ".join(groups) or "none"
        hint = "give two --similarity files, --model and --against, or --family with --by FACTOR that has two values"
        raise InputError(
            f"triads set two models or groups of models against each other, and there are: {names}; {hint}"
        )
    if len(models.seen) > 1:
        raise InputError("triads are chosen by one kind of similarity; give one --seen")
    return groups


def page(triads: Path, folder: Path, out: Path, **look: Any) -> None:
    """Write the page that asks."""
    plan = people.read_plan(triads)
    given = {name: value for name, value in look.items() if value is not None}
    name = people.triads_page(people.stimuli(folder), plan, out, look=people.Look(**given))
    size = out.stat().st_size / 2**20
    count = sum(t.kind != "practice" for t in plan)
    text = f"{count} questions in one page of {size:.1f} MiB, experiment {name}: {out}"
    console().print(text, markup=False, soft_wrap=True)


def score(
    answers: Sequence[Path],
    folder: Path | None,
    models: Models,
    *,
    fit: str,
    out: Path | None,
    json_: Path | None,
    **settings: Any,
) -> None:
    """Score answers, print tables, and write the page."""
    files = _files(answers)
    ratings = _are_ratings(files[0])
    table = people.read_ratings(files) if ratings else people.read_triads(files)
    columns = ("a", "b") if ratings else ("target", "option_1", "option_2")
    names = sorted({name for column in columns for name in table[column]})
    images = people.stimuli(folder, fit=fit).only(names) if folder else None  # type: ignore[arg-type]
    with console(stderr=True).status("asking models"):
        matrices = models.matrices(images)
        similarities = [matrix for _, matrix in matrices] + _pooled(matrices, models.by)
    with console(stderr=True).status("computing intervals"):
        if ratings:
            found = people.score_ratings(
                table, similarities, **{k: v for k, v in settings.items() if k not in ("catch", "item")}
            )
        else:
            found = people.score_triads(table, similarities, **settings)
    _say(found)
    if out is not None:
        write_page(out, people_page(found))
        console().print(f"The page: {out}", markup=False, soft_wrap=True)
    if json_ is not None:
        data = json.dumps({"settings": found.settings, **found.tables()}, indent=1).encode()
        with atomic_write(json_, size=len(data)) as file:
            file.write(data)


def _files(answers: Sequence[Path]) -> list[Path]:
    found = [f for one in answers for f in (sorted(one.glob("*.csv")) if one.is_dir() else [one])]
    if not found:
        raise InputError(f"there is no .csv file in {', '.join(map(str, answers))}")
    return found


def _are_ratings(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            return "similarity" in lines.readline()
    except (OSError, UnicodeDecodeError) as reason:
        raise InputError(f"{file} cannot be read as a table of UTF-8 text: {reason}") from reason


def _pooled(found: Sequence[tuple[str, SimilarityMatrix]], by: str | None) -> list[SimilarityMatrix]:
    """Groups of a factor, as models of their own."""
    groups: dict[tuple[str, str], list[SimilarityMatrix]] = {}
    for group, matrix in found:
        groups.setdefault((group, matrix.kind), []).append(matrix)
    if by is None:
        return []
    return [people.pooled(f"all {len(ms)} of {by} {g}", ms) for (g, _), ms in groups.items() if len(ms) > 1]


def _say(found: "Scored") -> None:
    out = console()
    counted = len(found.people) - len(found.left_out)
    out.print(f"{found.judgements} judgements of {counted} participants ({found.source}).", markup=False)
    if found.left_out:
        out.print(f"Left out, as they failed catch trials: {', '.join(found.left_out)}", style="yellow", markup=False)
    if found.accuracy is not None:
        out.print(_accuracies(found))
    top = found.ceiling
    if top is not None:
        lower = "lower end not known" if top.lower is None else f"{percent(top.lower)} to"
        ends = interval(top.upper_low, top.upper_high)
        out.print(f"Noise ceiling: {lower} {percent(top.upper)} {ends}".rstrip(), markup=False)
    for row in [] if found.preference is None else found.preference.iter_rows(named=True):
        share = f"{percent(row['share'])} {interval(row['boot_low'], row['boot_high'])}"
        out.print(f"People chose what {row['b']} proposed rather than {row['a']}: {share}", markup=False)
    if found.agreement is not None:
        out.print(_correlations(found))
    if found.note:
        out.print(f"Note: {found.note}.", markup=False)


def _accuracies(found: "Scored") -> Table:
    table = Table(
        "model", "agreement", "bootstrap", "Wilson", "p", "n", "0 % to 100 %: interval =, chance |, ceiling !"
    )
    assert found.accuracy is not None  # noqa: S101 - asked by the caller
    for row in found.accuracy.iter_rows(named=True):
        p = "" if row["p"] is None else f"{row['p']:.2g}"
        cells = [
            percent(row["accuracy"]),
            interval(row["boot_low"], row["boot_high"]),
            interval(row["low"], row["high"]),
        ]
        table.add_row(escape(named(row)), *map(escape, [*cells, p, str(row["judgements"]), _picture(row, found)]))
    return table


def _picture(row: dict[str, Any], found: "Scored") -> str:
    """An interval as text on a line from 0 to 1: `-----|--=O=---!--`."""
    cells = ["-"] * (_WIDTH + 1)
    low, high = row["boot_low"], row["boot_high"]
    if low is not None:
        for i in range(round(low * _WIDTH), round(high * _WIDTH) + 1):
            cells[i] = "="
    marks = [(0.5, "|")] + ([(found.ceiling.upper, "!")] if found.ceiling else [])
    for value, mark in marks:
        cells[round(value * _WIDTH)] = mark
    if row["accuracy"] is not None:
        cells[round(row["accuracy"] * _WIDTH)] = "O"
    return "".join(cells)


def _correlations(found: "Scored") -> Table:
    table = Table("model", "with each person", "interval", "with the group", "interval", "Mantel p", "ceiling")
    assert found.agreement is not None  # noqa: S101 - asked by the caller
    for row in found.agreement.iter_rows(named=True):
        numbers = ["" if row[k] is None else f"{row[k]:.3f}" for k in ("person", "rho", "lower", "upper")]
        spans = [interval(row[f"{k}low"], row[f"{k}high"], digits=3, share=False) for k in ("person_", "")]
        p = "" if row["p"] is None else f"{row['p']:.2g}"
        cells = [numbers[0], spans[0], numbers[1], spans[1], p, f"{numbers[2] or '?'} to {numbers[3] or '?'}"]
        table.add_row(escape(named(row)), *map(escape, cells))
    return table

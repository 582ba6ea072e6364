"""What `sightline audit` does with what was typed, and what it says at the end."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box as boxes
from rich.markup import escape
from rich.table import Table

from sightline import registry
from sightline.cli._ask import read_settings
from sightline.cli._audit_data import Asked, preparation_of, records_of, regions_of, targets_of
from sightline.cli._options import console
from sightline.errors import InputError
from sightline.report.audit import AGAINST, COMPARED, Report, export
from sightline.report.exported import write_text
from sightline.studies.auditing import METHODS, Audit, audit
from sightline.studies.auditing._sentences import between, percent
from sightline.studies.auditing.conditions import check as check_conditions
from sightline.studies.auditing.conditions import parse
from sightline.studies.auditing.kinds import KINDS
from sightline.studies.auditing.plan import told_preparation

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.classifier import Classifier

SOME_FAILED, CONDITION_HOLDS = 1, 3
"""Exit codes."""
_SHOWN = 10


def check(conditions: Sequence[str], json: Path | None) -> None:
    """Read what will be needed at the end, before any work.

    Raises:
        InputError: A condition that cannot be read, or a file for JSON that is called otherwise.
    """
    for text in conditions:
        parse(text)
    if json is not None:
        if json.suffix.lower() != ".json":
            raise InputError(f"--json {json}: the file's name must end in .json")
        export.check_suffix(json)


def is_run(text: str) -> bool:
    """Whether a text names the folder of an audit."""
    from sightline import store

    folder = Path(text)
    return (folder / "manifest.json").exists() and store.read_manifest(folder).get("study") == "audit"


def name_of(model: str) -> str:
    """`runs/attributes/balanced` -> `balanced`, `python:nets/a.py:build:small` -> `build-small`."""
    kind, _, rest = model.partition(":")
    path = Path(rest or kind)
    if path.suffix == ".safetensors":
        path = path.parent if path.stem == "classifier" else path.with_suffix("")
    last = "-".join(rest.split(":")[1:]) if kind == "python" else path.name
    return re.sub(r"[^\w.+-]+", "-", last).strip("-") or "model"


def layers_of(texts: Sequence[str]) -> dict[str, str] | None:
    """`NAME=LAYER`, or `LAYER` under its own name."""
    if not texts:
        return None
    pairs = [text.partition("=") for text in texts]
    return {name: layer if equals else name for name, equals, layer in pairs}


def work(asked: Asked, classifier: "Classifier", model: str, out: Path, *, overwrite: bool) -> tuple[Audit, bool]:
    """Run the audit, write its page, and print what it found.

    Returns:
        The audit, and whether some images failed.

    Raises:
        KeyboardInterrupt: Again, with what to do.
    """
    note = console(stderr=True)
    records = records_of(asked, classifier.size)
    settings = dict(asked.settings)
    methods = settings["methods"] or METHODS
    preparation = preparation_of(asked) or told_preparation(classifier)
    for name in methods:
        registry.find(name)
    total = len(records) if asked.limit is None else min(asked.limit, len(records))
    note.print(f"{total:,} images, {', '.join(methods)} -> {out}", markup=False)
    for failure in (getattr(records, "failures", None) or [])[:_SHOWN]:
        note.print(f"{failure.path}: {failure.reason}", markup=False, style="yellow")
    try:
        found = audit(
            classifier,
            records,
            out=out,
            attributes=targets_of(asked),
            regions=regions_of(asked, records, aligned=preparation.fit == "align"),
            preparation=preparation,
            methods=methods,
            settings=read_settings(settings["texts"], methods),
            layers=settings["layers"],
            groups=asked.groups,
            edits=settings["edits"],
            limit=asked.limit,
            batch=settings["batch"],
            seed=asked.seed,
            min_group=settings["min_group"],
            name=name_of(model),
            overwrite=overwrite,
            announce=lambda line: note.print(line, markup=False),
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"what is finished is in {out}; the same command goes on") from stop
    with note.status("computing intervals and findings"):
        page = Report.of(out).write()
    return found, _summarise(found, page, console())


def compare(asked: Asked, second: "Classifier | None", against: str, out: Path, *, overwrite: bool) -> bool:
    """Audit the second model into the first one's folder, or take the run that is named; write the comparison.

    Returns:
        Whether some images of the second audit failed.
    """
    failed, folder = False, Path(against)
    if second is not None:
        folder = out / AGAINST
        _, failed = work(asked, second, against, folder, overwrite=overwrite)
    note = console(stderr=True)
    with note.status("comparing"):
        Report.of(out, folder).write()
    console().print(f"The comparison: {(out / COMPARED).resolve()}", soft_wrap=True, markup=False)
    return failed


def _summarise(found: Audit, page: Path, out: "Console") -> bool:
    import polars as pl

    errors, findings = found.errors(), found.findings()
    out.print(_table(found, errors.head(_SHOWN)))
    if len(errors) > _SHOWN:
        out.print(f"and {len(errors) - _SHOWN} more attributes in the report", markup=False)
    real = findings.filter(pl.col("severity") > 0)
    if not len(real):
        out.print("nothing stands out: no effect is both large and more than chance", markup=False)
    words = {1: "notable", 2: "serious", 3: "grave"}
    for row in real.head(_SHOWN).iter_rows(named=True):
        title = f"{KINDS[row['kind']].title} ({words[row['severity']]})"
        out.print(f"{title}. {row['sentence']}", markup=False, soft_wrap=True)
    if len(real) > _SHOWN:
        out.print(f"and {len(real) - _SHOWN} more findings in the report", markup=False)
    if doubtful := len(findings) - len(real):
        out.print(f"{doubtful} that an intervention contradicts: see the report", markup=False)
    out.print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)
    images = found.images()
    bad, red = images.filter(pl.col("status") == "error"), console(stderr=True)
    for row in bad.head(_SHOWN).iter_rows(named=True):
        red.print(f"[red]{escape(row['image'])}: {escape(row['error'] or '')}[/red]", soft_wrap=True)
    if len(bad) > _SHOWN:
        red.print(f"[red]and {len(bad) - _SHOWN} more[/red]")
    return len(bad) > 0


def _table(found: Audit, lines: Any) -> Table:
    table = Table(box=boxes.SIMPLE_HEAD, pad_edge=False, title="the rarest sides first", title_justify="left")
    titles = ("attribute", "rarer side", "images", "its error [95 %]", "of the other", "balanced", "constant share")
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i < 2 else "right", no_wrap=i == 0)
    constant = {
        r["attribute"]: 1 - r["share_own"]
        for r in found.bias().iter_rows(named=True)
        if r["majority"] and r["share_own"] is not None
    }
    for line in lines.iter_rows(named=True):
        error = _rate(line, "minority_error")
        if error != "-":
            error += between(line["minority_error_low"], line["minority_error_high"])
        share = constant.get(line["attribute"])
        table.add_row(
            escape(line["attribute"]), line["minority"] or "-", str(line["minority_count"] or 0), escape(error),
            _rate(line, "majority_error"), _rate(line, "balanced_error"), "-" if share is None else percent(share),
        )  # fmt: skip
    return table


def _rate(line: Mapping[str, Any], name: str) -> str:
    return "-" if line[name] is None else percent(line[name])


def conclude(found: Audit, conditions: Sequence[str], json: Path | None, *, failed: bool) -> int:
    """Judge the conditions, write the JSON file, and tell the exit code.

    Raises:
        InputError: A condition names what is not there, or what is not defined; the JSON file is written all the same.
    """
    verdicts, reason = [], None
    try:
        verdicts = check_conditions(found, conditions)
    except InputError as error:
        reason = error
    if json is not None:
        console().print(
            f"The figures: {write_text(json, export.text(json, found, verdicts))}", soft_wrap=True, markup=False
        )
    if reason is not None:
        raise reason
    for verdict in verdicts:
        console().print(str(verdict), markup=False, soft_wrap=True, style="red" if verdict.holds else "green")
    if any(verdict.holds for verdict in verdicts):
        return CONDITION_HOLDS
    return SOME_FAILED if failed else 0

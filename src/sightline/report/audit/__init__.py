"""The report of an audit: one self-contained page for people who decide about a classifier, and its tables as files.

`headline` tells what was found, with pictures; `tables`, `examples` and `records` follow with everything behind it;
`comparison` sets two audits side by side; `export` writes CSV and JSON.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import StorageError
from sightline.report.audit import compared
from sightline.report.audit.examples import of_examples
from sightline.report.audit.export import check_suffix, text
from sightline.report.audit.headline import of_findings, of_mean_maps
from sightline.report.audit.pictures import Pictures
from sightline.report.audit.records import of_failures, of_protocol
from sightline.report.audit.tables import of_bias, of_errors, of_evidence, of_groups, of_interventions
from sightline.report.benchmark import wording
from sightline.report.page import Page, write_page
from sightline.report.run_report import RunReport
from sightline.studies.auditing import Audit

__all__ = ["Report"]

COMPARED = "comparison.html"
AGAINST = "against"
"""The folder, inside a run, of the audit that it is compared with."""


@dataclass(frozen=True)
class Report(RunReport):
    """A run's report.

    Args:
        audit: The run.
        other: An audit of the same images to compare with.
    """

    audit: Audit
    other: Audit | None = None

    @classmethod
    def of(cls, run: str | os.PathLike[str], against: str | os.PathLike[str] | None = None) -> "Report":
        """The report of the run in a folder; compared with another one if that is named or lies in it.

        Raises:
            StorageError: No run, one of another study, or one without a finished row.
        """
        inside = Path(run) / AGAINST
        if against is None and (inside / "manifest.json").exists():
            against = inside
        return cls(_opened(run), None if against is None else _opened(against))

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.audit.path

    def write(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the page; a comparison as `comparison.html` beside it.

        Raises:
            StorageError: It cannot be written, or the run is broken.
        """
        written = super().write(path)
        if self.other is not None:
            write_page(written.parent / COMPARED, compared.page(self.audit, self.other))
        return written

    check_suffix = staticmethod(check_suffix)

    def table(self, path: str | os.PathLike[str]) -> str:
        """A derived table as CSV, by the file's name (`errors.csv`, `findings.csv`, ...), or all of them as JSON."""
        return text(path, self.audit)

    def page(self) -> Page:
        """The page."""
        audit, manifest = self.audit, self.audit.manifest
        pictures = Pictures(audit)
        parts = [
            of_findings(audit, pictures),
            of_errors(audit),
            of_evidence(audit),
            of_mean_maps(audit, pictures),
            of_bias(audit),
            of_groups(audit),
            of_interventions(audit),
            of_examples(audit),
            of_failures(audit),
            of_protocol(audit),
        ]
        return Page(
            title=f"Audit of {manifest['name']}",
            lead="What the yes-or-no decisions of this classifier rest on: how often they are wrong and for whom, "
            "where the evidence lies, and how much of a decision is a constant that no image can change.",
            facts=_facts(audit),
            sections=[part for part in parts if part is not None],
            footer=f"Made with Sightline from the run `{audit.path.resolve().name}`. `sightline report RUN` makes it "
            "again; `--export errors.csv` (or findings, evidence, bias, groups, interventions) and "
            "`--export audit.json` write the figures.",
        )


def _opened(run: str | os.PathLike[str]) -> Audit:
    audit = Audit(Path(run))
    kind = audit.manifest.get("study")
    if kind != "audit":
        raise StorageError(f"{run} is the run of a study {kind!r}; this report is for 'audit'")
    if not len(audit.decisions()):
        raise StorageError(f"{run} has no finished rows yet; let `sightline audit` go on, then ask again")
    return audit


def _facts(audit: Audit) -> list[tuple[str, str]]:
    manifest: dict[str, Any] = audit.manifest
    model, images = manifest["settings"]["model"], audit.images()
    good = int((images["status"] == "ok").sum())
    unread = len(images) - good
    return [
        ("model", f"{manifest['name']} ({model.get('weights', 'a black box')})"),
        ("images", f"{good:,}" + (f", and {unread:,} that could not be read" if unread else "")),
        ("attributes", f"{len(audit.attributes)}"),
        ("made", str(manifest.get("created", "-"))),
        ("versions", wording.settings(manifest.get("versions", {}))),
    ]

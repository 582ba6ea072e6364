"""The report of a generalisation study: one self-contained page, and its tables as files.

`headline` says whether relevance carries over, between which models, how sure that is and whether the rule can be
trusted; `matrix`, `groups`, `asymmetric`, `curves`, `controls`, `trust`, `similar`, `parts`, `pictures` and `records`
follow with everything behind it; `export` writes CSV and JSON.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sightline.errors import StorageError
from sightline.report.benchmark import wording
from sightline.report.generalisation import (
    asymmetric,
    controls,
    curves,
    groups,
    headline,
    matrix,
    parts,
    pictures,
    records,
    similar,
    trust,
)
from sightline.report.generalisation.export import check_suffix, text
from sightline.report.generalisation.figures import RESAMPLES, Figures
from sightline.report.page import Page
from sightline.report.run_report import RunReport
from sightline.studies.generalising.reading import Generalisation

__all__ = ["Report"]

_FEWEST = 2


@dataclass(frozen=True)
class Report(RunReport):
    """A run's report.

    Args:
        study: The run.
        resamples: Of every interval.
    """

    study: Generalisation
    resamples: int = RESAMPLES

    @classmethod
    def of(cls, run: str | os.PathLike[str], *, resamples: int = RESAMPLES) -> "Report":
        """The report of the run in a folder; of one that is still going, what is finished so far.

        Raises:
            StorageError: No run, one of another study, or one in which fewer than two images are finished.
        """
        from sightline import store

        kind = store.read_manifest(Path(run)).get("study")
        if kind != "generalise":
            raise StorageError(f"{run} is the run of a study {kind!r}; this report is for 'generalise'")
        study = Generalisation(Path(run))
        if len(study.images) < _FEWEST:
            raise StorageError(
                f"{run} has {wording.many(len(study.images), 'finished image')}, and a report takes {_FEWEST}; let "
                "`sightline generalise` go on, then ask again"
            )
        return cls(study, resamples)

    @cached_property
    def figures(self) -> Figures:
        """All derived tables."""
        return Figures(self.study, resamples=self.resamples)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.study.path

    check_suffix = staticmethod(check_suffix)

    def table(self, path: str | os.PathLike[str]) -> str:
        """A derived table as CSV, by the file's name (`index.csv`, `groups.csv`, ...), or all of them as JSON."""
        return text(path, self.figures)

    def page(self) -> Page:
        """The page."""
        study, figures = self.study, self.figures
        sections = [
            headline.of_findings(figures),
            records.of_family(figures),
            matrix.of_matrix(figures),
            groups.of_groups(figures),
            asymmetric.of_asymmetry(figures),
            curves.of_curves(figures),
            controls.of_controls(figures),
            trust.of_trust(figures),
            similar.of_similarity(figures),
            parts.of_parts(figures),
            pictures.of_examples(figures),
            pictures.of_means(figures),
            records.of_failures(figures),
            records.of_protocol(figures),
        ]
        return Page(
            title=f"Does relevance carry over? {study.manifest['family']['name']}",
            lead="Images are masked by the relevance of one model and shown to another: if it still decides as it did, "
            "what the first rests on serves the second too.",
            facts=self._facts(),
            sections=[section for section in sections if section is not None],
            footer=f"Made with Sightline from the run `{study.path.resolve().name}`. `sightline report RUN` makes it "
            "again; `--export index.csv` (or groups, factors, asymmetry, controls, similarity, agreement, validity, "
            "parts) and `--export generalisation.json` write the figures.",
        )

    def _facts(self) -> list[tuple[str, str]]:
        study, manifest = self.study, self.study.manifest
        varied = [f"{f} ({len({study.factors[m][f] for m in study.members})})" for f in self.figures.factors]
        levels = ", ".join(f"{q:g}" for q in study.levels)
        return [
            ("models", f"{len(study.members)}"),
            ("factors (values)", ", ".join(varied) or "none that differs"),
            ("images", f"{len(study.images):,} of {manifest['data']['images']:,}"),
            ("methods", ", ".join(study.methods)),
            ("masks", f"{' and '.join(study.modes)} the top {levels} %"),
            ("fill", ", ".join(study.fills)),
            ("made", str(manifest.get("created", "-"))),
            ("versions", wording.settings(manifest.get("versions", {}))),
        ]

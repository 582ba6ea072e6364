"""The report of a study of confusions: one self-contained page from a run's folder, and its errors as CSV."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import InputError, StorageError
from sightline.report.benchmark import wording
from sightline.report.confusions import sections
from sightline.report.page import Page
from sightline.report.run_report import RunReport
from sightline.studies.confusions import Confusion

if TYPE_CHECKING:
    import polars

__all__ = ["Report"]


@dataclass(frozen=True)
class Report(RunReport):
    """A run's report.

    Args:
        study: The run.
    """

    study: Confusion

    @classmethod
    def of(cls, run: str | os.PathLike[str]) -> "Report":
        """The report of the run in a folder.

        Raises:
            StorageError: No run, one of another study, or one without a finished row.
        """
        study = Confusion(Path(run))
        kind = study.manifest.get("study")
        if kind != "confusion":
            raise StorageError(f"{run} is the run of a study {kind!r}; this report is for 'confusion'")
        if not len(study.rows()):
            raise StorageError(f"{run} has no finished rows yet; let `sightline confusion` go on, then ask again")
        return cls(study)

    @cached_property
    def rows(self) -> "polars.DataFrame":
        """A row an image."""
        return self.study.rows()

    @cached_property
    def wrong(self) -> "polars.DataFrame":
        """Misclassified images, the surest errors first."""
        return self.study.wrong()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.study.path

    @staticmethod
    def check_suffix(path: str | os.PathLike[str]) -> None:
        """Check what the errors are to be written as, before anything is computed.

        Raises:
            InputError: Not `.csv`.
        """
        if Path(path).suffix.lower() != ".csv":
            raise InputError(f"{path}: the misclassified images are written as .csv; end the file's name in it")

    def table(self, path: str | os.PathLike[str]) -> str:
        """The misclassified images with all figures, the surest errors first."""
        return self.wrong.write_csv()

    def page(self) -> Page:
        """The page."""
        study, manifest = self.study, self.study.manifest
        known = self.rows["status"].is_in(["correct", "wrong"]).sum()
        share = f"{len(self.wrong):,} of {known:,} images are misclassified"
        parts = [
            sections.of_kinds(study, self.wrong),
            sections.of_pairs(study),
            sections.of_images(study, self.wrong),
            sections.of_errors(study, self.wrong),
            sections.of_failures(self.rows),
            sections.of_protocol(study),
        ]
        return Page(
            title=f"Confusions of {manifest['name']}",
            lead=f"{share}. For each of them the map of the predicted and that of the true class, how far they agree, "
            "what masking by them does, and what kind of confusion that speaks for.",
            facts=self._facts(manifest),
            sections=[part for part in parts if part is not None],
            footer=f"Made with Sightline from the run `{study.path.resolve().name}`. `sightline report RUN` makes it "
            "again; `--export errors.csv` writes all figures.",
        )

    @staticmethod
    def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
        settings = manifest["settings"]
        return [
            ("model", f"{manifest['name']} ({settings['model'].get('weights', 'a black box')})"),
            ("method", f"{settings['method']}, layer {manifest['protocol']['layer']}"),
            ("images", f"{manifest['data']['images']:,}"),
            ("made", str(manifest.get("created", "-"))),
            ("versions", wording.settings(manifest.get("versions", {}))),
        ]

"""The report of a benchmark: one self-contained page from a run's folder, and its table as CSV, LaTeX or Markdown.

`results` reads the folder, `numbers` has the means and curves; what stands on the page is made by `tables`, `plots`,
`examples` and `records`; `export` writes the table to a file of its own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sightline.report.benchmark import boxes, numbers, plots, records, tables, wording
from sightline.report.benchmark.examples import Examples
from sightline.report.benchmark.export import check_suffix, text
from sightline.report.benchmark.numbers import Cells
from sightline.report.benchmark.results import Judge, Results
from sightline.report.page import Block, Choice, Page, Section, Text
from sightline.report.run_report import RunReport

__all__ = ["Report", "Results"]


@dataclass(frozen=True)
class Report(RunReport):
    """A run's report.

    Args:
        results: The run.
    """

    results: Results

    @classmethod
    def of(cls, run: str | os.PathLike[str]) -> "Report":
        """The report of the run in a folder.

        Raises:
            StorageError: No run, or a broken one; the text says what is wrong.
        """
        return cls(Results(run))

    @cached_property
    def cells(self) -> Cells:
        """Means with intervals, by model, metric and method."""
        return numbers.cells(self.results)

    @cached_property
    def boxes(self) -> boxes.Found:
        """MaxBoxAcc over the data set, by model, metric and method."""
        return boxes.found(self.results)

    @cached_property
    def _picked(self) -> list[str]:
        return plots.pick(self.results, self.cells)

    @cached_property
    def _leading(self) -> Judge:
        """The metric that best and worst are by: the first one of faithfulness, or the first one."""
        with_rows = [m for m in self.results.metrics.values() if any(key[1] == m.label for key in self.cells)]
        curves = [m for m in with_rows if m.label.startswith("insertion")]
        faithful = [m for m in with_rows if m.family == "faithfulness"]
        return [*curves, *faithful, *with_rows][0]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.results.path

    check_suffix = staticmethod(check_suffix)

    def table(self, path: str | os.PathLike[str]) -> str:
        """The table as CSV, LaTeX or Markdown, by the file's ending."""
        return text(path, self.results, self.cells, self.boxes, records.line(self.results))

    def page(self) -> Page:
        """The page."""
        results, manifest = self.results, self.results.manifest
        sections = [self._table(), self._order(), self._curves(), self._trade_off(), self._examples()]
        facts = [
            ("models", ", ".join(results.models)),
            ("images", f"{results.rows['image'].n_unique():,}"),
            ("data", wording.value({k: v for k, v in manifest.get("data", {}).items() if isinstance(v, str)})),
            ("seed", str(manifest.get("seed", "-"))),
            ("made", str(manifest.get("created", "-"))),
            ("versions", wording.settings(manifest.get("versions", {}))),
        ]
        return Page(
            title=f"Benchmark of explanations: {results.path.resolve().name}",
            lead=f"Which method says best what its classifier looks at, and is it more than the controls say? "
            f"{tables.tally(results)}",
            facts=facts,
            sections=[
                *(section for section in sections if section is not None),
                records.failures(results),
                records.asked(results),
            ],
            footer=f"Made with Sightline from the run `{results.path.resolve().name}`. `sightline report RUN` makes it "
            "again; `--export table.csv` (or `.tex`, `.md`) writes the table.",
        )

    def _by_model(self, blocks: dict[str, Sequence[Block]]) -> list[Block]:
        options = [(model, part) for model, part in blocks.items() if part]
        return [Choice(label="model", options=options)] if options else []

    def _table(self) -> Section:
        parts: dict[str, Sequence[Block]] = {}
        for model in self.results.models:
            blocks: list[Block] = []
            for family in self.results.families:
                protocol = records.line(self.results, model)
                table, callout = tables.of_family(self.results, self.cells, model, family, self._picked, protocol)
                blocks += [table, *([callout] if callout else [])] if table.rows else []
                made = (
                    boxes.table(self.results, self.boxes, model, metric, self._picked, protocol)
                    for metric in self.results.families[family]
                )
                blocks += [table for table in made if table]
            parts[model] = blocks
        return Section(
            title="The table",
            lead="Press a title to sort, a method to make it stand out everywhere on this page.",
            blocks=self._by_model(parts),
        )

    def _order(self) -> Section | None:
        parts: dict[str, Sequence[Block]] = {}
        for model in self.results.models:
            table = tables.order(self.results, self.cells, model, self._picked, records.line(self.results, model))
            parts[model] = [table] if table else []
        blocks = self._by_model(parts)
        lead = "How often each method would come first if the images were others of the same kind."
        return Section(title="How sure the order is", lead=lead, blocks=blocks) if blocks else None

    def _curves(self) -> Section | None:
        found = numbers.curves(self.results)
        parts: dict[str, Sequence[Block]] = {}
        for model in self.results.models:
            charts = plots.curves(self.results, found, model, self._picked, records.line(self.results, model))
            parts[model] = [charts] if charts else []
        blocks = self._by_model(parts)
        return Section(title="Curves", lead="What the values are made of.", blocks=blocks) if blocks else None

    def _trade_off(self) -> Section | None:
        metrics = [m for m in self.results.metrics.values() if m.family == "faithfulness"]
        parts: dict[str, Sequence[Block]] = {}
        for model in self.results.models:
            protocol = records.line(self.results, model)
            options: list[tuple[str, Sequence[Block]]] = []
            for metric in sorted(metrics, key=lambda m: m is not self._leading):
                chart = plots.trade_off(self.results, self.cells, model, metric, self._picked, protocol)
                options += [(metric.label, [chart])] if chart else []
            parts[model] = [Choice(label="metric", options=options)] if options else []
        blocks = self._by_model(parts)
        lead = "What faithfulness costs: an explanation's time against each metric of faithfulness."
        return Section(title="Faithfulness and cost", lead=lead, blocks=blocks) if blocks else None

    def _examples(self) -> Section:
        examples = Examples(self.results, self._leading)
        parts: dict[str, Sequence[Block]] = {model: [examples.of_model(model)] for model in self.results.models}
        return Section(
            title="Best and worst images",
            lead=f"By {self._leading.label}, among the images of which the run kept pictures. The worst are worth "
            "more: they show where a method fails.",
            blocks=[block for block in self._by_model(parts) if not isinstance(block, Text) or block.text],
        )

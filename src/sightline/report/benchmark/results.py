"""A finished (or unfinished) benchmark run, as the report reads it."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import store
from sightline.errors import StorageError
from sightline.studies import statistics

if TYPE_CHECKING:
    import polars

_COLUMNS = (
    "model", "image", "image_index", "target", "label", "method", "metric", "value", "status", "error",
    "explain_seconds", "seed", "chance",
)  # fmt: skip
_LATER = {"chance"}  # columns that earlier versions did not write


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A method as the manifest has it."""

    label: str
    control: bool
    settings: Mapping[str, Any]
    forwards: Any


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A metric as the manifest has it.

    Attributes:
        name: In the registry.
        label: As in the rows.
        better: 1 where greater is better, -1 where less is.
        arrow: The same to look at.
    """

    name: str
    label: str
    family: str
    better: int
    range: tuple[float, float]
    summary: str
    settings: Mapping[str, Any]

    @property
    def arrow(self) -> str:
        """The better direction."""
        return "↑" if self.better > 0 else "↓"

    @property
    def title(self) -> str:
        """The label with the better direction."""
        return f"{self.label} {self.arrow}"


class Results:
    """What a run holds.

    Args:
        path: The folder of a run of `sightline bench`.

    Attributes:
        manifest: What was asked of what, under which protocol.
        methods: By label, in the manifest's order: methods first, then controls.
        metrics: By label, in the manifest's order.

    Raises:
        StorageError: No run, not a benchmark's, broken, or without a single row.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = store.read_manifest(path)
        if self.manifest.get("study") != "benchmark":
            study = self.manifest.get("study")
            raise StorageError(f"{path} is the run of a study {study!r}; this report is for 'benchmark'")
        try:
            methods = [_judged(entry) for entry in self.manifest["methods"]]
            metrics = [_judge(entry) for entry in self.manifest["metrics"]]
        except (KeyError, TypeError, ValueError) as reason:
            text = f"{self.path / 'manifest.json'} lacks what a benchmark's manifest has ({reason!r})"
            raise StorageError(f"{text}; run it again into another folder") from reason
        self.methods = {m.label: m for m in sorted(methods, key=lambda m: m.control)}
        self.metrics = {m.label: m for m in metrics}

    @cached_property
    def rows(self) -> "polars.DataFrame":
        """One row an image, target, method and metric."""
        import polars as pl

        parts = [_read(file, _COLUMNS) for file in store.table_files(self.path, "rows")]
        if not parts:
            raise StorageError(f"{self.path} has no finished rows yet; let `sightline bench` go on, then ask again")
        rows = pl.concat(parts)
        for column, known in (("method", self.methods), ("metric", self.metrics)):
            strange = [name for name in rows[column].unique().to_list() if name not in known]
            if strange:
                raise StorageError(f"rows/ of {self.path} have a {column} {strange[0]!r} that the manifest lacks")
        return rows

    @cached_property
    def models(self) -> list[str]:
        """Models with rows, in the manifest's order."""
        there = set(self.rows["model"].unique().to_list())
        named = [name for name in self.manifest.get("models", {}) if name in there]
        return named + sorted(there - set(named))

    @property
    def controls(self) -> list[str]:
        """Labels of the controls."""
        return [label for label, method in self.methods.items() if method.control]

    @property
    def directions(self) -> dict[str, str]:
        """Metric -> `up` or `down`."""
        return {label: "up" if metric.better > 0 else "down" for label, metric in self.metrics.items()}

    @property
    def families(self) -> dict[str, list[Judge]]:
        """Metrics by family."""
        found: dict[str, list[Judge]] = {}
        for metric in self.metrics.values():
            found.setdefault(metric.family, []).append(metric)
        return found

    def curves(self) -> "Iterator[polars.DataFrame]":
        """Curves of rows that count in a mean, a finished part at a time: all of them may not fit into memory."""
        keys = ["model", "image", "target", "method", "metric"]
        for file in store.table_files(self.path, "curves"):
            rows = _read(self.path / "rows" / file.name, [*keys, "value", "status"])
            yield _read(file, [*keys, "curve"]).join(rows.filter(statistics.counts(["ok"])), on=keys, how="semi")

    def photograph(self, index: int) -> Path:
        """Where the small picture of an image is, if the run kept it."""
        return self.path / store.PICTURES / f"{index}.jpg"

    def map(self, index: int, model: str, method: str) -> Path:
        """Where the picture of a map is, if the run kept it."""
        return self.path / store.PICTURES / f"{index}-{store.slug(model)}-{store.slug(method)}.png"


def _read(file: Path, columns: Sequence[str]) -> "polars.DataFrame":
    import polars as pl

    try:
        found = pl.scan_parquet(file)
        lacks = _LATER.intersection(columns) - set(found.collect_schema().names())
        return found.with_columns(pl.lit(None, pl.Float64).alias(name) for name in lacks).select(columns).collect()
    except (OSError, pl.exceptions.PolarsError) as reason:
        raise StorageError(f"{file} cannot be read ({reason}); run again into another folder") from reason


def _judged(entry: Mapping[str, Any]) -> Judged:
    return Judged(
        label=entry.get("label") or entry["name"],
        control=bool(entry.get("control")),
        settings=entry.get("settings") or {},
        forwards=entry.get("forwards"),
    )


def _judge(entry: Mapping[str, Any]) -> Judge:
    if entry["direction"] not in ("up", "down"):
        raise ValueError(f"direction {entry['direction']!r}")
    low, high = (math.nan if end is None else float(end) for end in entry.get("range") or (None, None))
    return Judge(
        name=entry["name"],
        label=entry.get("label") or entry["name"],
        family=entry.get("family") or "metrics",
        better=1 if entry["direction"] == "up" else -1,
        range=(low, high),
        summary=entry.get("summary") or "",
        settings=entry.get("settings") or {},
    )

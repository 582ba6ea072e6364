"""Benchmark: which method explains a model's decisions best, on these images, by these metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sightline import store
from sightline.classifier import BlackBox, Classifier
from sightline.data.annotations.record import Record
from sightline.data.fitting import How
from sightline.data.images import find_images
from sightline.errors import InputError
from sightline.explainers.masking._options import Options
from sightline.progress import shown
from sightline.studies import statistics
from sightline.studies.benchmarking.estimate import Cost, estimate
from sightline.studies.benchmarking.plan import CONTROLS, METRICS, Plan, check, contender, judge_of
from sightline.studies.benchmarking.work import TIMES, units, work
from sightline.studies.box_accuracy import COUNTED, METRIC, box_accuracy
from sightline.target import AnyTarget

if TYPE_CHECKING:
    import polars

__all__ = ["CONTROLS", "METRICS", "Benchmark", "Cost", "benchmark", "plan_of", "run_plan"]

Images = str | Path | Sequence[str | Path] | Sequence[Record]


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark: a view on its folder."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked of what, under which protocol."""
        return store.read_manifest(self.path)

    def rows(self, metric: str | None = None) -> "polars.DataFrame":
        """One row an image, target, method, metric and seed, in one order whatever interruptions there were.

        Args:
            metric: Only the rows of one metric: all rows of a large run may not fit into memory.
        """
        import polars

        where = None if metric is None else polars.col("metric") == metric
        frame = store.read_table(self.path, "rows", where=where)
        keys = ["model", "image_index", "seed", "target", "method", "metric"]
        return frame.sort(keys, maintain_order=True) if len(frame) else frame

    def curves(self) -> "polars.DataFrame":
        """What values were computed from, for metrics that have a curve."""
        return store.read_table(self.path, "curves")

    def table(self, **settings: Any) -> "polars.DataFrame":
        """Means with intervals; see `sightline.studies.statistics.table`."""
        return self._each_metric(lambda rows: statistics.table(rows, **settings))

    def against_controls(self, **settings: Any) -> "polars.DataFrame":
        """Which controls each method beats; see `sightline.studies.statistics.against_controls`."""
        controls = [m["label"] for m in self.manifest["methods"] if m["control"]]
        ways = statistics.directions(self.manifest["metrics"])
        return self._each_metric(lambda rows: statistics.against_controls(rows, controls, ways, **settings))

    def box_accuracy(self) -> "polars.DataFrame":
        """MaxBoxAcc of each model and method, at one threshold for the data set, read a method at a time.

        Returns:
            As `sightline.studies.box_accuracy.box_accuracy`; no line where `max-box-acc` has no value.
        """
        import polars as pl

        parts = []
        for metric in (m for m in self.manifest["metrics"] if m["name"] == METRIC):
            rows = self.rows(metric["label"]).filter(pl.col("status").is_in(list(COUNTED)))
            for method in rows["method"].unique(maintain_order=True) if len(rows) else ():
                where = (pl.col("metric") == metric["label"]) & (pl.col("method") == method)
                curves = store.read_table(self.path, "curves", where=where)
                given = {"overlap": metric["settings"]["overlap"], "metric": metric["label"]}
                parts.append(box_accuracy(rows.filter(method=method), curves, **given))
        return pl.concat(parts).sort("model", "method", "metric") if parts else pl.DataFrame()

    def _each_metric(self, make: Callable[["polars.DataFrame"], "polars.DataFrame"]) -> "polars.DataFrame":
        """A table made metric by metric, so that only the rows of one are held at a time."""
        import polars

        parts = [make(self.rows(m["label"])) for m in self.manifest["metrics"]]
        return polars.concat(parts, how="diagonal").sort("model", "method", "metric")

    def errors(self) -> "polars.DataFrame":
        """Rows that ended in an error, with the reason."""
        import polars

        return store.read_table(self.path, where=polars.col("status") == "error").drop(*TIMES)


def plan_of(
    models: Mapping[str, Classifier | BlackBox] | Classifier | BlackBox,
    images: Images,
    *,
    methods: Sequence[Any] = ("grad-cam",),
    metrics: Sequence[Any] = METRICS,
    controls: Sequence[Any] = CONTROLS,
    target: AnyTarget = None,
    seeds: Sequence[int] = (0,),
    batch: int = 8,
    fit: How = "crop",
    precision: str | None = None,
    backend: str = "auto",
    pictures: int = 24,
    root: str | Path | None = None,
) -> Plan:
    """A checked plan; settings as for `benchmark`.

    Raises:
        InputError, MethodError, MetricError: What cannot be asked; the text names it.
    """
    if not controls:
        raise InputError("a table without controls proves nothing; keep at least one of " + ", ".join(CONTROLS))
    if not isinstance(models, Mapping):
        models = {"model": models}
    asked = [contender(m) for m in methods]
    there = {m.label for m in asked}
    asked += [m for c in controls if (m := contender(c, control=True)).label not in there]
    records, folder = _records(images)
    plan = Plan(
        models=dict(models),
        records=records,
        methods=tuple(asked),
        judges=tuple(judge_of(m) for m in metrics),
        target=target,
        seeds=tuple(seeds),
        batch=batch,
        fit=fit,
        options=Options(precision=precision, backend=backend, progress=False),  # type: ignore[arg-type]
        pictures=pictures,
        root=folder if root is None else str(root),
    )
    check(plan)
    return plan


def _records(images: Images) -> tuple[Sequence[Record], str | None]:
    """Records, and the folder that their paths are told from."""
    if not isinstance(images, str | Path):
        if not len(images):
            raise InputError("there are no images")
        if isinstance(images[0], Record):
            return cast("Sequence[Record]", images), None
    single = images if isinstance(images, str | Path) else images[0] if len(images) == 1 else None
    paths = find_images(cast("Any", images))
    root = str(Path(str(single)).expanduser()) if single and Path(str(single)).expanduser().is_dir() else None
    return [Record(path=path) for path in paths], root


def run_plan(
    plan: Plan,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Benchmark:
    """Do what is left of a plan in a folder; see `benchmark`."""
    manifest = {**plan.manifest(), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    with store.Run(out, manifest, grows=("methods", "files"), overwrite=overwrite) as run:
        left = units(plan, run)
        total = sum(len(u.places) * len(u.methods) for u in left)
        if announce is not None:
            done = len(plan.records) * len(plan.methods) * len(plan.models) * len(plan.seeds) - total
            announce(f"{done:,} images x methods are finished" if done else "nothing is finished yet")
            if left:
                announce(str(estimate(plan, left)))
        with shown(total, progress, "images x methods", "map") as advance:
            work(plan, run, left, advance)
    return Benchmark(Path(out))


def benchmark(
    models: Mapping[str, Classifier | BlackBox] | Classifier | BlackBox,
    images: Images,
    *,
    out: str | Path,
    methods: Sequence[Any] = ("grad-cam",),
    metrics: Sequence[Any] = METRICS,
    controls: Sequence[Any] = CONTROLS,
    target: AnyTarget = None,
    seeds: Sequence[int] = (0,),
    batch: int = 8,
    fit: How = "crop",
    precision: str | None = None,
    backend: str = "auto",
    pictures: int = 24,
    root: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Benchmark:
    """Judge methods by metrics on many images, on disk: the same call goes on where a killed one stopped.

    The work is done in blocks of `batch` images. Within a block all methods and metrics share one session, so what two
    of them need is asked once. A block's composition does not depend on interruptions, hence neither do the numbers.
    More images, or more methods, may be asked of the same folder later; finished rows are kept.

    Args:
        models: A classifier, or several by name.
        images: Files, a folder (with all below it), patterns, or records of `sightline.data.annotations`, whose boxes
            and masks metrics of localisation use.
        out: The run's folder.
        methods: Names of `sl.methods()`, pairs (name, settings), or mappings with `name`, `label`, `layer` (one, or
            model -> layer) and settings; `weights` may be a mapping model -> file.
        metrics: Names of `sl.metrics()`, pairs, or mappings with `name`, `label` and settings.
        controls: Maps that know nothing of the decision, always in the table. `other-image` is the first method's map
            of the next image of the block.
        target: As for `sl.explain`; resolved once an image and held for every method and altered image.
        seeds: Of methods and metrics that draw random numbers; all of it is done for each.
        batch: Images a block, at least 2.
        fit: How images become the input: `crop`, `squash` or `pad`.
        precision: Of the metrics' forward passes; as for `sl.evaluate`.
        backend: What runs them; as for `sl.evaluate`.
        pictures: For how many images the folder gets small pictures of the maps.
        root: The folder from which the rows name the images; by default the one that was given, if it was one.
        overwrite: Remove what an earlier run left in the folder.
        progress: Whether to show a bar, or what to call with (done, in all), images x methods; by default a bar on a
            terminal.
        announce: Called with lines to print before the work: what is finished, and what the rest costs.

    Returns:
        A view on the folder: `.rows()`, `.table()`, `.curves()`, `.errors()`.

    Raises:
        InputError, MethodError, MetricError: What cannot be asked, before any work.
        StorageError: A folder of other settings, one that another process writes to, a full disk (the same call goes on
            when there is room).
    """
    plan = plan_of(
        models,
        images,
        methods=methods,
        metrics=metrics,
        controls=controls,
        target=target,
        seeds=seeds,
        batch=batch,
        fit=fit,
        precision=precision,
        backend=backend,
        pictures=pictures,
        root=root,
    )
    return run_plan(plan, out, overwrite=overwrite, progress=progress, announce=announce)

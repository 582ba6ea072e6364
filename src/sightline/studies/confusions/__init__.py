"""Confusions: why a classifier takes one class for another, on labelled images, by the maps of both classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import store
from sightline.classifier import BlackBox, Classifier
from sightline.data.annotations.record import Record
from sightline.data.fitting import How
from sightline.errors import InputError
from sightline.explainers.masking._options import Options
from sightline.metrics.faithfulness._curves import Fill
from sightline.progress import shown
from sightline.studies.benchmarking.work import names_of
from sightline.studies.blocks import units
from sightline.studies.confusions import tables
from sightline.studies.confusions.estimate import estimate
from sightline.studies.confusions.kinds import KINDS
from sightline.studies.confusions.plan import Plan, Thresholds, records_of
from sightline.studies.confusions.work import labelled, work

if TYPE_CHECKING:
    import polars

__all__ = ["KINDS", "Confusion", "Plan", "Thresholds", "confusion", "run_plan"]


@dataclass(frozen=True)
class Confusion:
    """A study of confusions: a view on its folder. Kinds are told when it is read, by the manifest's thresholds."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked of what, under which protocol."""
        return store.read_manifest(self.path)

    @property
    def thresholds(self) -> Thresholds:
        """The limits of the kinds, as the manifest has them."""
        return Thresholds(**self.manifest["thresholds"])

    def rows(self, thresholds: Thresholds | None = None) -> "polars.DataFrame":
        """A row an image, the right ones too, in the order of the images.

        Args:
            thresholds: Other limits than the manifest's; nothing is computed again.
        """
        frame = store.read_table(self.path, "rows")
        if not len(frame):
            return frame
        frame = frame.sort("image_index")
        return tables.with_kinds(frame, self.manifest["labels"], thresholds or self.thresholds)

    def wrong(self, thresholds: Thresholds | None = None) -> "polars.DataFrame":
        """Misclassified images, the surest errors first (probability of the predicted class minus the true one's)."""
        import polars as pl

        rows = self.rows(thresholds)
        if not len(rows):
            return rows
        lead = pl.col("p_predicted") - pl.col("p_true")
        found = rows.filter(pl.col("status") == "wrong").with_columns(lead=lead)
        return found.sort("lead", "image_index", descending=[True, False])

    def kinds(self, thresholds: Thresholds | None = None) -> "polars.DataFrame":
        """A line a kind of confusion: images, share of the errors with an interval, mean figures."""
        return tables.of_kinds(self.wrong(thresholds))

    def pairs(self, thresholds: Thresholds | None = None) -> "polars.DataFrame":
        """A line a pair (true class, predicted class), the most frequent first."""
        return tables.of_pairs(self.rows(thresholds))

    def means(self, **settings: Any) -> "polars.DataFrame":
        """Mean figures over the misclassified images with 95 % intervals; see `tables.means`."""
        return tables.means(self.wrong(), **settings)


def run_plan(
    plan: Plan,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Confusion:
    """Do what is left of a plan in a folder; see `confusion`."""
    if not labelled(plan.records):
        raise InputError("no image has a label, so none can be called misclassified; give images with their classes")
    manifest = {**plan.manifest(), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    with store.Run(out, manifest, overwrite=overwrite) as run:
        left = units(run, *names_of(plan.records, plan.root), batch=plan.batch)
        count = sum(len(u.places) for u in left)
        if announce is not None:
            done = len(plan.records) - count
            announce(f"{done:,} of {len(plan.records):,} images are finished" if done else "nothing is finished yet")
            if left:
                announce(str(estimate(plan, [place for u in left for place in u.places])))
        with shown(count, progress, "images", "image") as advance:
            work(plan, run, left, advance)
    return Confusion(Path(out))


def confusion(
    classifier: Classifier | BlackBox,
    images: str | Path | Sequence[Record],
    *,
    out: str | Path,
    method: str = "grad-cam",
    settings: Mapping[str, Any] | None = None,
    layer: str | Sequence[str] | None = None,
    keep: float = 0.15,
    mask: float = 0.35,
    fill: Fill = "mean",
    thresholds: Thresholds | Mapping[str, float] | None = None,
    seed: int = 0,
    batch: int = 32,
    fit: How = "crop",
    precision: str | None = None,
    backend: str = "auto",
    pictures: int = 120,
    name: str = "model",
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Confusion:
    """Find the misclassified images, explain the true and the predicted class of each, and tell why they are confused.

    Every image costs one forward pass; a misclassified one also an explanation of both classes at once (and of a third,
    unlike one as control), and up to 10 passes of masked images. The error analysis is that of section 5 of Gkartzonika
    et al. 2022 (L-CAM, arXiv 2209.11189), which looks at pictures; the measurements and their limits are ours. Images
    may be added to a folder later, and thresholds changed; finished rows are kept.

    Args:
        classifier: One that chooses a category.
        images: Records of `sightline.data.annotations` with labels, in the order of the outputs; their boxes or masks
            are used as the true object. Or a folder with a folder for each class.
        out: The run's folder.
        method: A name of `sl.methods()`. One that ignores the class (Eigen-CAM, SIDU) tells nothing, and its maps of an
            unrelated class show that.
        settings: Of the method.
        layer: As for `sl.explain`.
        keep: Share of hottest pixels whose overlap is taken.
        mask: Share of hottest pixels that masking keeps or takes out.
        fill: What takes the place of masked pixels: `mean` (the image's mean colour), `black`, `blur` or `noise`.
        thresholds: Limits of the kinds.
        seed: Of what draws random numbers.
        batch: Images a block.
        fit: How images become the input: `crop`, `squash` or `pad`.
        precision: Of masked forward passes; as for `sl.evaluate`.
        backend: What runs them; as for `sl.evaluate`.
        pictures: For how many misclassified images the folder gets small pictures.
        name: What the classifier is called in tables.
        overwrite: Remove what an earlier run left in the folder.
        progress: Whether to show a bar, or what to call with (done, in all); by default a bar on a terminal.
        announce: Called with lines to print before the work.

    Returns:
        A view on the folder: `.wrong()`, `.kinds()`, `.pairs()`, `.means()`, `.rows()`.

    Raises:
        InputError: Another kind of decision, images without labels, labels of other classes than the outputs.
        MethodError: The method does not fit the classifier.
        StorageError: A folder of other settings, one that another process writes to, a full disk.
    """
    records, root = records_of(images, classifier)
    limits = thresholds if isinstance(thresholds, Thresholds) else Thresholds(**(thresholds or {}))
    plan = Plan(
        classifier=classifier,
        records=records,
        method=method,
        settings=dict(settings or {}),
        layer=layer,
        name=name,
        keep=keep,
        mask=mask,
        fill=fill,
        thresholds=limits,
        seed=seed,
        batch=batch,
        fit=fit,
        options=Options(precision=precision, backend=backend, progress=False),  # type: ignore[arg-type]
        pictures=pictures,
        root=root,
    )
    return run_plan(plan, out, overwrite=overwrite, progress=progress, announce=announce)

"""The bias audit: what the decisions of an attribute classifier rest on, for its majorities and its minorities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sightline import store
from sightline.classifier import BlackBox, Classifier
from sightline.data.alignment import Preparation
from sightline.data.annotations.record import Record
from sightline.data.faces import Faces
from sightline.errors import InputError
from sightline.progress import shown
from sightline.studies.audit import examples, means
from sightline.studies.audit.plan import METHODS, Plan, told_preparation
from sightline.studies.audit.readout import Asked

if TYPE_CHECKING:
    import numpy as np
    import polars

    from sightline.data.regions import Regions
    from sightline.studies.audit.comparison import Comparison

__all__ = ["METHODS", "Audit", "Plan", "audit", "compare", "run_plan"]

Outcome = Literal["all", "yes", "no", "TP", "FP", "FN", "TN"]
Reference = Literal["balanced", "plain"]


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit: a view on its folder. Tables are computed from the raw rows when they are asked for.

    Args:
        path: The folder.
        reference: What evidence is common to all images: the mean of z over a reference in which both answers are as
            frequent (`balanced`), or over all audited images alike (`plain`), without the bias of the head. By default
            as the run was made.
        resamples: Of the bootstrap over images.
        seed: Of the bootstrap and of permutations.
    """

    path: Path
    reference: Reference | None = None
    resamples: int = 2000
    seed: int = 0

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked of what, under which protocol."""
        return store.read_manifest(self.path)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The audited attributes, in the order of the classifier."""
        return tuple(self.manifest["attributes"])

    @property
    def common(self) -> Reference:
        """The reference that is used."""
        told: Reference = self.reference or self.manifest.get("reference", "balanced")
        return told

    @property
    def min_group(self) -> int:
        """Images that a group, and each class in it, needs to be ranked."""
        return int(self.manifest["min_group"])

    @cached_property
    def _images(self) -> "polars.DataFrame":
        return store.read_table(self.path, "images")

    def images(self) -> "polars.DataFrame":
        """A row an image: `status` and `error`, group columns, whether it is frontal."""
        return self._images

    def decisions(self) -> "polars.DataFrame":
        """A row an image and attribute: truth, z, outcome, and z = b_head + e_common + e_own; see `bias`."""
        return self._decisions

    @cached_property
    def _decisions(self) -> "polars.DataFrame":
        from sightline.studies.audit.bias import with_evidence

        return with_evidence(store.read_table(self.path, "rows"), self.common)

    def maps(self) -> "polars.DataFrame":
        """A row an image, attribute, method and layer: proportional energy of the map of the decision made."""
        return self._maps

    @cached_property
    def _maps(self) -> "polars.DataFrame":
        return store.read_table(self.path, "maps")

    def edits(self) -> "polars.DataFrame":
        """A row an image, attribute, edit and place: the decision before and after."""
        return store.read_table(self.path, "edits")

    @cached_property
    def _errors(self) -> "polars.DataFrame":
        from sightline.studies.audit.errors import errors

        rates = self.manifest["training_rates"]
        return errors(self._decisions, self.attributes, rates, resamples=self.resamples, seed=self.seed)

    def errors(self) -> "polars.DataFrame":
        """A row an attribute, the rarest minority first; see `sightline.studies.audit.errors.errors`."""
        return self._errors

    @cached_property
    def _evidence(self) -> "polars.DataFrame":
        from sightline.studies.audit.evidence import evidence

        return evidence(self._maps, self._errors, resamples=self.resamples, seed=self.seed)

    def evidence(self) -> "polars.DataFrame":
        """A row an attribute, method, layer, side and outcome; see `sightline.studies.audit.evidence.evidence`."""
        return self._evidence

    @cached_property
    def _bias(self) -> "polars.DataFrame":
        from sightline.studies.audit.bias import bias

        layers = store.read_table(self.path, "biases")
        return bias(
            self._decisions, layers, self._errors, reference=self.common, resamples=self.resamples, seed=self.seed
        )

    def bias(self) -> "polars.DataFrame":
        """A row an attribute and side: how much of the decision is bias; see `sightline.studies.audit.bias.bias`."""
        return self._bias

    def bias_layers(self) -> "polars.DataFrame":
        """A row an attribute, side and layer: the share of the decision that the layer's biases make."""
        from sightline.studies.audit.bias import of_layers

        return of_layers(store.read_table(self.path, "biases"))

    @cached_property
    def _groups(self) -> "polars.DataFrame":
        from sightline.studies.audit.groups import groups

        return groups(
            self._decisions, self._images, self.attributes, self.manifest["settings"]["groups"],
            min_group=self.min_group, seed=self.seed,
        )  # fmt: skip

    def groups(self) -> "polars.DataFrame":
        """A row a group and attribute; see `sightline.studies.audit.groups.groups`."""
        return self._groups

    @cached_property
    def _interventions(self) -> "polars.DataFrame":
        from sightline.studies.audit import edits

        return edits.interventions(self.edits(), seed=self.seed, min_group=self.min_group)

    def interventions(self) -> "polars.DataFrame":
        """A row an attribute, edit and direction: what changing the region does, against regions elsewhere."""
        return self._interventions

    def findings(self) -> "polars.DataFrame":
        """What stands out, in sentences; see `sightline.studies.audit.findings.findings`."""
        return self._findings

    @cached_property
    def _findings(self) -> "polars.DataFrame":
        from sightline.studies.audit.findings import findings

        return findings(self)

    def mean_maps(
        self, attribute: str, method: str, layer: str = "after", outcome: Outcome = "all"
    ) -> "np.ndarray[Any, Any] | None":
        """The mean (h, w) of the scaled maps of some decisions, at low resolution; None where there are none.

        Args:
            attribute: Which.
            method: Which.
            layer: Its label; `pixels` for methods that stand there.
            outcome: `TP`, `FP`, `FN`, `TN`, decisions `yes` or `no` whatever the truth, or `all`.
        """
        import polars as pl

        rows = self._means.filter(
            pl.col("kind") == means.MAP,
            pl.col("attribute") == attribute,
            pl.col("method") == method,
            pl.col("layer") == layer,
        )
        if outcome in ("yes", "no"):
            rows = rows.filter(pl.col("sign") == (1 if outcome == "yes" else -1))
        elif outcome != "all":
            rows = rows.filter(pl.col("outcome") == outcome)
        return means.mean(rows)

    @cached_property
    def _means(self) -> "polars.DataFrame":
        return store.read_table(self.path, "means")

    def mean_input(self) -> "np.ndarray[Any, Any] | None":
        """The mean of all images, (3, H, W) in [0, 1]."""
        import polars as pl

        return means.mean(self._means.filter(pl.col("kind") == means.INPUT))

    def mean_region(self, attribute: str) -> "np.ndarray[Any, Any] | None":
        """In which share of the images each pixel belongs to the attribute's region, (H, W); None without a region."""
        import polars as pl

        region = self.manifest["settings"]["regions_of"].get(attribute)
        if region is None:
            return None
        rows = self._means.filter(pl.col("kind") == means.REGION, pl.col("attribute") == region)
        return means.mean(rows)


def compare(a: Audit, b: Audit) -> "Comparison":
    """Compare two audits image by image; differences are b - a.

    Raises:
        InputError: They share no image or no attribute; the text says which.
    """
    from sightline.studies.audit.comparison import Comparison

    found = Comparison(a, b)
    _ = found.pairs
    return found


def run_plan(
    plan: Plan,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Audit:
    """Do what is left of a plan in a folder; see `audit`."""
    from sightline.studies.audit.estimate import estimate
    from sightline.studies.audit.work import units, work

    manifest = {**plan.manifest(), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    with store.Run(out, manifest, overwrite=overwrite) as run:
        left = units(plan, run)
        count = sum(len(u.places) for u in left)
        if announce is not None:
            total = len(plan.source.keys)
            announce(
                f"{total - count:,} of {total:,} images are finished" if count < total else "nothing is finished yet"
            )
            if left:
                announce(str(estimate(plan, [place for u in left for place in u.places])))
        with shown(count, progress, "images", "image") as advance:
            work(plan, run, left, advance)
        if plan.pictures:
            examples.keep(plan, Audit(Path(out)))
    return Audit(Path(out))


def audit(
    classifier: Classifier | BlackBox,
    records: Sequence[Record] | Faces,
    *,
    out: str | Path,
    attributes: Asked = None,
    regions: "Regions | None" = None,
    preparation: Preparation | None = None,
    methods: Sequence[str] = METHODS,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    groups: Sequence[str] = (),
    reference: Reference = "balanced",
    edits: Sequence[Any] | None = None,
    rates: Mapping[str, float] | None = None,
    bias_images: int | None = None,
    limit: int | None = None,
    batch: int = 64,
    seed: int = 0,
    min_group: int = 20,
    pictures: bool = True,
    name: str = "model",
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Audit:
    """Audit the yes-or-no decisions of a classifier: errors, evidence, bias, groups, and what edits do.

    After Zhang, Bieri, Günther 2024 (arXiv 2403.14435), with what their figures leave open: empty maps beside
    energies, chance, intervals, both layers, and bias measured instead of inferred. Every image costs one forward pass
    for all attributes, CAM methods and layers; other methods make their own. Finished blocks are kept: the same call
    goes on where a killed one stopped, and more images may be added later.

    Args:
        classifier: Yes-or-no outputs; or categories, of which `attributes` contrasts pairs.
        records: Images with attributes (`annotations.celeba`, `annotations.manifest`), or rendered faces.
        out: The run's folder.
        attributes: Names that data and labels share (by default all of them), or for each name of the data a target:
            `sl.Attribute(output)`, or `sl.Contrast("male", "female")` of a categorical classifier.
        regions: Where each attribute is; by default masks that come with the images, the exact ones of rendered faces,
            or the paper's rectangles (`default_regions`).
        preparation: How records become inputs; by default as the network's file says, else the centre is cropped.
        methods: Names of `sl.methods()`.
        settings: Method -> its settings.
        layers: Label -> layer for the CAMs, or layers; by default `after` (the last layer with a map) and `before` (the
            same before its last ReLU, where there is one).
        groups: Group columns, or attributes by which images are grouped.
        reference: What is common to all images; see `Audit`.
        edits: Interventions (`sightline.studies.audit.edits`).
        rates: Attribute -> share of the training images that have it; orders the tables.
        bias_images: For how many images the bias of every layer is told apart (a backward pass through all layers for
            each attribute); by default none where the head is affine, else 32.
        limit: Take so many images, from the start.
        batch: Images a block.
        seed: Of what draws random numbers.
        min_group: Images that a group, and each class in it, needs to be ranked.
        pictures: Whether the folder gets small pictures of the surest decisions of each outcome, with their maps.
        name: What the classifier is called.
        overwrite: Remove what an earlier run left in the folder.
        progress: Whether to show a bar, or what to call with (done, in all); by default a bar on a terminal.
        announce: Called with lines to print before the work.

    Returns:
        A view on the folder: `.errors()`, `.evidence()`, `.bias()`, `.groups()`, `.interventions()`, `.findings()`.

    Raises:
        InputError: Attributes, groups or outputs that do not fit each other; the text names them.
        LayerError: A layer that cannot be explained.
        MethodError: A method that does not fit the classifier.
        StorageError: A folder of other settings, one that another process writes to, a full disk.
    """
    if limit is not None:
        if limit < 1:
            raise InputError(f"limit is a number of images, 1 or more, not {limit!r}")
        records = records[:limit]
    plan = Plan(
        classifier=classifier,
        records=records,
        attributes=attributes,
        regions=regions,
        preparation=preparation or told_preparation(classifier),
        methods=tuple(methods) if not isinstance(methods, str) else methods,
        settings=settings or {},
        layers=layers if isinstance(layers, Mapping | None) else {layer: layer for layer in layers},
        groups=tuple(groups),
        edits=tuple(edits or ()),
        rates=rates,
        bias_images=bias_images,
        batch=batch,
        seed=seed,
        min_group=min_group,
        pictures=pictures,
        reference=reference,
        name=name,
    )
    run_plan(plan, out, overwrite=overwrite, progress=progress, announce=announce)
    return Audit(Path(out))

"""The bias audit: what the decisions of an attribute classifier rest on, for its majorities and its minorities."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import store
from sightline.classifier import BlackBox, Classifier
from sightline.data.alignment import Preparation
from sightline.data.annotations.record import Record
from sightline.data.faces import Faces
from sightline.errors import InputError
from sightline.progress import shown
from sightline.studies.auditing import examples
from sightline.studies.auditing.bias import Reference
from sightline.studies.auditing.comparison import Comparison
from sightline.studies.auditing.estimate import estimate
from sightline.studies.auditing.plan import METHODS, Plan, told_preparation
from sightline.studies.auditing.reading import Audit
from sightline.studies.auditing.readout import Asked
from sightline.studies.auditing.work import work
from sightline.studies.blocks import units

if TYPE_CHECKING:
    from sightline.data.regions import Regions

__all__ = ["METHODS", "Audit", "Comparison", "Plan", "audit", "compare", "run_plan"]


def compare(a: Audit, b: Audit) -> Comparison:
    """Compare two audits image by image; differences are b - a.

    Raises:
        InputError: They share no image or no attribute; the text says which.
    """
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
    manifest = {**plan.manifest(), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    with store.Run(out, manifest, overwrite=overwrite) as run:
        left = units(run, plan.source.keys, plan.source.sizes, batch=plan.batch)
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
        edits: Interventions (`sightline.studies.auditing.edits`).
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

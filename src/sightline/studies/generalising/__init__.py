"""The generalisation study: does what is relevant to one model carry over to another?

After Crawford, Margalit, Grill-Spector, Poltoratski 2020 (arXiv 2006.16795), whose instrument is masking of images by
relevance; the index, its intervals, the controls and the tests are this project's own.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import store
from sightline.data.alignment import Preparation
from sightline.explainers.masking._options import Options
from sightline.progress import shown
from sightline.studies.generalising.estimate import Cost, estimate
from sightline.studies.generalising.family import Family, Member, read_family, read_study
from sightline.studies.generalising.job import passes_left
from sightline.studies.generalising.masks import CONTROLS
from sightline.studies.generalising.plan import FILLS, LEVELS, METHODS, MODES, Plan, plan_of
from sightline.studies.generalising.protocol import manifest as manifest_of
from sightline.studies.generalising.reading import Generalisation
from sightline.studies.generalising.source import Given
from sightline.studies.generalising.work import work

if TYPE_CHECKING:
    from sightline.data.regions import Regions

__all__ = [
    "CONTROLS",
    "FILLS",
    "LEVELS",
    "METHODS",
    "MODES",
    "Cost",
    "Family",
    "Generalisation",
    "Member",
    "Plan",
    "estimate",
    "generalise",
    "plan_of",
    "read_family",
    "read_study",
    "run_plan",
]


def run_plan(
    plan: Plan,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
) -> Generalisation:
    """Do what is left of a plan in a folder; see `generalise`."""
    manifest = {**manifest_of(plan), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    with store.Run(out, manifest, overwrite=overwrite) as run:
        total = passes_left(plan, run)
        if announce is not None:
            announce("nothing is finished yet" if not run.parts else f"{len(run.parts):,} blocks are finished")
            if total:
                announce(str(estimate(plan, run)))
        with shown(total, progress, "passes", "pass") as advance:
            work(plan, run, advance)
    return Generalisation(Path(out))


def generalise(
    family: Family | Sequence[Member],
    records: Given,
    *,
    out: str | Path,
    methods: Sequence[Any] = METHODS,
    levels: Sequence[float] = LEVELS,
    fills: Sequence[str] = FILLS[:1],
    modes: Sequence[str] = MODES[:1],
    controls: Sequence[str] = CONTROLS,
    preparation: Preparation | None = None,
    regions: "Regions | None" = None,
    validity: int = 32,
    parts: bool = True,
    smooth: float = 0.0,
    grid: int = 48,
    limit: int | None = None,
    batch: int = 16,
    seed: int = 0,
    options: Options | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Callable[[str], object] | None = None,
    overwrite: bool = False,
) -> Generalisation:
    """Mask images by what is relevant to each model, and ask every model of the family about them.

    Each member's map of its own decision is made once and kept. For each image, source s, target t and level q the top
    q % of the pixels by the map of s are kept (or removed), the rest is filled, and t is asked. Finished blocks stay:
    the same call goes on where a killed one stopped, and its tables are those of a run that nobody killed.

    Args:
        family: Models with factors.
        records: Records of `sightline.data.annotations`, rendered faces, or `(pixels, labels)` with pixels (N, C, H, W)
            in [0, 1] and labels (N,), a mapping of attributes to (N,), or None. The order does not matter.
        out: The run's folder.
        methods: Names of `sl.methods()`, pairs (name, settings), or mappings with `name`, `label`, `layer`, settings.
        levels: Percent of the pixels, rising.
        fills: What stands where pixels are taken away: `dataset-mean` (the mean colour of the study's images),
            `image-mean`, `grey`, `blur`, `black`.
        modes: `keep` the top pixels, or `remove` them.
        controls: Sources that are no models: `random` pixels, a Gaussian in the `centre`, `edges` of the image; and of
            each target's own maps the `bottom` (the least relevant first), the `mean-map` over images, that of an
            `other-image`, of the model with weights that are all random (`randomised`) or random in the upper half
            (`upper-random`), and of the decision against it (`other-class`).
        preparation: How records become inputs; by default as the members' files say, else the centre is cropped.
        regions: For `parts`; by default masks that come with the images, or what fits the data.
        validity: For how many images class swap and the cascade of random weights are done; 0 for none.
        parts: Whether relevance is told apart by region.
        smooth: Standard deviation of a Gaussian over the maps before they rank pixels, as a share of their width.
        grid: Cells a side on which maps are compared.
        limit: Take so many images, from the start.
        batch: Images a block.
        seed: Of all that is random.
        options: Precision and backend of the masked forward passes.
        progress: Whether to show a bar, or what to call with (done, in all), forward passes; by default a bar on a
            terminal.
        announce: Called with lines to print before the work: what is finished, and what the rest costs.
        overwrite: Remove what an earlier run left in the folder.

    Returns:
        A view on the folder: `.index()`, `.groups()`, `.factor_effects()`, `.asymmetry()`, `.sentences()` and so on.

    Raises:
        InputError, TargetError, MethodError: What cannot be asked, before any work.
        StorageError: A folder of other settings, one that another process writes to, a full disk (the same call goes on
            when there is room).
    """
    plan = plan_of(
        family,
        records,
        methods=methods,
        levels=levels,
        fills=fills,
        modes=modes,
        controls=controls,
        preparation=preparation,
        regions=regions,
        validity=validity,
        parts=parts,
        smooth=smooth,
        grid=grid,
        limit=limit,
        batch=batch,
        seed=seed,
        options=options,
    )
    return run_plan(plan, out, overwrite=overwrite, progress=progress, announce=announce)

"""A trainer from a job: attention, mask, optimiser and batches, on Fabric's devices."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sightline import store
from sightline.explainers.learned._attention import attention_for
from sightline.explainers.learned._warm import warm_start
from sightline.training.attention.job import Job
from sightline.training.attention.loop import Stepper, optimiser_of
from sightline.training.attention.masking import Features, Image, private
from sightline.training.attention.masks import Masks
from sightline.training.attention.run import Trainer
from sightline.training.attention.source import Source, seed_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def trainer_of(
    job: Job,
    fabric: "Fabric",
    run: store.Run | None,
    out: Path,
    digest: str,
    *,
    workers: int,
    every: int,
    keep: bool,
) -> Trainer:
    """A trainer for a job: the attention drawn from the seed, on Fabric's device."""
    recipe = job.recipe
    switches = {"bfloat16": recipe.precision == "bf16-mixed", "unnormalised": recipe.unnormalised}
    classifier = private(job.classifier, fabric.device, dropout=recipe.dropout_active, **switches)
    helper = job.auxiliary
    if helper is not None:
        switches["unnormalised"] = False
        helper = private(helper, fabric.device, dropout=False, **switches)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("weights", recipe.seed))
        attention = attention_for(
            job.method, classifier, job.layers, job.directions, auxiliary=helper, **dict(job.variant)
        )
    if recipe.warm_start:
        warm_start(attention, classifier)
    masker: Features | Image
    if job.method == "l-cam-fm":
        masker = Features(classifier, job.layers[0], dropout=recipe.dropout_active)
    else:
        source = {"p-tame": helper, "constant": None}.get(job.method, classifier)
        masker = Image(classifier, source, job.layers, mask_space=recipe.mask_space, dropout=recipe.dropout_active)
    masks = Masks(attention, recipe.regularise)
    optimiser = optimiser_of(masks, recipe)
    wrapped, stepping = fabric.setup(masks, optimiser)
    source_of_batches = Source(
        job.material,
        masker,
        batch=recipe.batch,
        seed=recipe.seed,
        augment=recipe.augment,
        device=fabric.device,
        workers=workers,
    )
    return Trainer(
        fabric=fabric,
        masks=masks,
        optimiser=optimiser,
        stepping=stepping,
        stepper=Stepper(wrapped, recipe, job.directions, job.material.labels),
        source=source_of_batches,
        recipe=recipe,
        run=run,
        out=out,
        about=job.about(attention),
        digest=digest,
        every=every,
        keep=keep,
    )

"""Images under each model's mask, and each model's mean map."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from sightline import picture, store
from sightline.errors import InputError, StorageError
from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures
from sightline.report.page import Block, Choice, Figure, Section
from sightline.report.page import Figures as Shown
from sightline.studies.generalising import masks
from sightline.studies.generalising.reading import Generalisation

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

IMAGES, ABOUT = 6, 10.0
"""How many images, and the level in per cent that is drawn: the one nearest to it."""
_SIDE, _CHUNK, _METHODS = 112, 64, 2


def of_examples(figures: Figures) -> Section | None:
    """The first images with what each model's map keeps of them; None where no small pictures are there."""
    study = figures.study
    there = [index for index in study.images if (study.path / store.PICTURES / f"{index}.jpg").exists()][:IMAGES]
    if not there:
        return None
    q = min(study.levels, key=lambda level: abs(level - ABOUT))
    options: list[tuple[str, Sequence[Block]]] = []
    for view in figures.by_method[:_METHODS]:
        answers = _own_answers(study, view.method, there)
        options.append((view.label, [_example(figures, index, view.method, q, answers) for index in there]))
    lead = (
        f"What is left of an image when the {q:g} % most relevant pixels of each model's own map are kept. Below: "
        "whether the model decides as on the whole image (same, other), and the probability of that decision under the "
        "mask and on the whole. Drawn on a small copy and filled with grey; the study masks at each model's own size."
    )
    return Section(title="Images under each mask", lead=lead, blocks=[Choice(label="figures", options=options)])


def _own_answers(study: Generalisation, method: str, indices: Sequence[int]) -> dict[tuple[str, int], dict[str, Any]]:
    """(model, image) -> what it answered under its own masks; empty where pixels were only removed."""
    import polars as pl

    own = (pl.col("source") == pl.col("target_model")) & pl.col("image_index").is_in(indices)
    rows = study.masked().filter(own, method=method, fill=study.fills[0], mode="keep")
    return {(row["target_model"], row["image_index"]): row for row in rows.iter_rows(named=True)}


def _example(figures: Figures, index: int, method: str, q: float, answers: Mapping[tuple[str, int], Any]) -> Block:
    study = figures.study
    photo = _opened(study.path / store.PICTURES / f"{index}.jpg")
    decisions = {r["model"]: r for r in study.decisions().filter(image_index=index).iter_rows(named=True)}
    name = str(next(iter(decisions.values()))["image"]).rpartition("/")[2]
    items = [Figure(picture=photo, alt=f"Image {name}, as it is.", title="the image")]
    for member in figures.members:
        kept = _kept(study, photo, index, member, method, q)
        if kept is None:
            continue
        said = _said(answers.get((member, index)), study.levels.index(q), decisions[member])
        alt = f"The {q:g} % of {name} that are most relevant to {member}."
        items.append(Figure(picture=kept, alt=alt, title=f"{figures.number(member)} {member}", caption=said))
    return Shown(items=items, title=name, width=92)


def _kept(study: Generalisation, photo: "Array", index: int, member: str, method: str, q: float) -> "Array | None":
    """The photograph with the rest in grey; None where there is no map."""
    try:
        found = np.array(study.maps(member, method)[index])
    except InputError:
        return None
    if not np.isfinite(found).all():
        return None
    height, width = photo.shape[:2]
    fitted = masks.fitted(torch.from_numpy(found)[None], (height, width))
    ranked = masks.order(fitted, masks.shuffled([index], height * width, 0))
    taken = masks.steps(ranked, [q])[0].reshape(height, width).numpy() == 0
    grey = np.full_like(photo, 128)
    drawn: Array = np.where(taken[..., None], photo, grey)
    return drawn


def _said(answer: Mapping[str, Any] | None, at: int, decided: Mapping[str, Any]) -> str:
    """What the member decides of its own mask."""
    if answer is None:
        return ""
    same = "same" if answer["decision"][at] == decided["decision"] else "other"
    return f"{same}: {answer['p'][at]:.2f}, whole {decided['p']:.2f}"


def of_means(figures: Figures) -> Section | None:
    """The mean map of each model, for each method."""
    study = figures.study
    options: list[tuple[str, Sequence[Block]]] = []
    for view in figures.by_method:
        items = [one for one in (_mean(figures, member, view.method) for member in figures.members) if one]
        if items:
            options.append((view.label, [Shown(items=items, width=116)]))
    if not options:
        return None
    lead = (
        f"The mean of each model's maps over {wording.many(len(study.images), 'image')}, each on its own scale: red "
        "speaks for the decision, blue against it. This is what all images have in common; it is taken off before maps "
        "are compared."
    )
    return Section(title="Mean maps", lead=lead, blocks=[Choice(label="figures", options=options)])


def _mean(figures: Figures, member: str, method: str) -> Figure | None:
    study = figures.study
    try:
        kept = study.maps(member, method)
    except InputError:
        return None
    total, count = np.zeros(kept.shape[1:]), 0
    for start in range(0, len(study.images), _CHUNK):  # a few at a time: what is held does not grow with the images
        some = np.asarray(kept[list(study.images[start : start + _CHUNK])], dtype=np.float64)
        good = np.isfinite(some).all((1, 2))
        total, count = total + some[good].sum(0), count + int(good.sum())
    if not count:
        return None
    mean = torch.from_numpy(total / count)[None, None]
    wide = F.interpolate(mean, (_SIDE, _SIDE), mode="bilinear", antialias=max(kept.shape[1:]) > _SIDE)[0, 0].numpy()
    most = float(np.abs(wide).max())
    drawn = picture.colourise(wide / (most or 1.0), signed=True)
    values = ", ".join(figures.study.factors[member][f] for f in figures.factors)
    return Figure(
        picture=drawn,
        alt=f"Mean map of {member} over {count:,} images.",
        title=f"{figures.number(member)} {member}",
        caption=words.joined([values]),
        empty=most == 0,
    )


def _opened(path: Path) -> "Array":
    try:
        image = Image.open(path).convert("RGB")
    except OSError as reason:
        raise StorageError(f"{path} cannot be read ({reason}); remove it, and the page is made without") from reason
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)

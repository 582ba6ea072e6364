"""How alike models find images: from the penultimate layer, from it under a mask of relevance, and from maps."""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.data.fitting import How
from sightline.data.images import find_images, load_images
from sightline.errors import InputError
from sightline.explainers import Explainer
from sightline.explainers.masking._fill import blurred
from sightline.studies.generalising import masks
from sightline.studies.people.embeddings import embeddings
from sightline.studies.people.similarity import Measure, SimilarityMatrix, of_embeddings, of_maps
from sightline.target import AnyTarget

if TYPE_CHECKING:
    from sightline.studies.generalising.reading import Generalisation

Seen = Literal["embedding", "masked", "map"]
Fill = Literal["dataset-mean", "image-mean", "grey", "blur", "black"]


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Images that people and models judge.

    Attributes:
        names: What they are called in triads and ratings.
        paths: Their files; empty where pixels are given.
        pixels: (N, 3, H, W) in [0, 1] where they come from no file; every model gets them at this size.
        fit: How a file becomes a model's input: crop, squash or pad.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    pixels: Tensor | None = None
    fit: How = "squash"

    def __post_init__(self) -> None:
        given = len(self.paths) if self.pixels is None else len(self.pixels)
        if given != len(self.names) or not self.names:
            raise InputError(f"{len(self.names)} names do not fit {given} images; there must be as many, at least one")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f"two images are called {twice!r}; names must differ")

    def at(self, size: tuple[int, int]) -> Tensor:
        """(N, 3, H, W) in [0, 1], at a model's size.

        Raises:
            InputError: A file that cannot be read.
        """
        if self.pixels is not None:
            return self.pixels
        return torch.cat([batch.pixels for batch in load_images(self.paths, size=size, how=self.fit)])

    def only(self, names: Sequence[str]) -> "Stimuli":
        """Some of the images, in that order.

        Raises:
            InputError: One is not there; the text names it.
        """
        place = {name: i for i, name in enumerate(self.names)}
        missing = [name for name in names if name not in place]
        if missing:
            raise InputError(f"there is no image {missing[0]!r}; names are like {self.names[0]!r}")
        at = [place[name] for name in names]
        paths = tuple(self.paths[i] for i in at) if self.paths else ()
        return Stimuli(tuple(names), paths, None if self.pixels is None else self.pixels[at], self.fit)


def stimuli(folder: str | os.PathLike[str], *, fit: How = "squash") -> Stimuli:
    """The images of a folder and all below it, called by their paths from there, such as `faces/012.png`.

    Raises:
        InputError: There are none.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder} is no folder; images of an experiment lie in one")
    paths = find_images(root)
    return Stimuli(tuple(path.relative_to(root).as_posix() for path in paths), tuple(paths), fit=fit)


def relevance_masked(
    pixels: Tensor,
    maps: Any,
    *,
    keep: float = 20,
    fill: Fill = "dataset-mean",
    smooth: float = 0.0,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Tensor:
    """Images of which only the pixels with the highest relevance are left, as in the generalisation study.

    Args:
        pixels: (N, C, H, W) in [0, 1].
        maps: (N, h, w) raw maps, resampled to the images' size and ranked there.
        keep: Percent of the pixels that stay.
        fill: What stands in place of the others.
        smooth: Standard deviation of a Gaussian over the maps, as a share of their width.
        names: Of the images; ties are broken at random by name, whatever the order.
        seed: Of these ties.

    Returns:
        (N, C, H, W). An image whose map holds NaN is NaN throughout.

    Raises:
        InputError: Not one map an image, a share out of range, or an unknown fill.
    """
    values = torch.as_tensor(np.array(maps, dtype=np.float32))
    if values.ndim != 3 or len(values) != len(pixels):
        raise InputError(f"{len(pixels)} images need maps ({len(pixels)}, h, w), not {tuple(values.shape)}")
    if not 0 < keep <= 100 or fill not in get_args(Fill):
        raise InputError(f"keep must lie in (0, 100] and fill be one of {', '.join(get_args(Fill))}: {keep}, {fill!r}")
    H, W = int(pixels.shape[-2]), int(pixels.shape[-1])
    identities = [zlib.crc32(str(name).encode()) for name in (names or range(len(pixels)))]
    order = masks.order(masks.fitted(values, (H, W), smooth), masks.shuffled(identities, H * W, seed))
    stays = (masks.steps(order, [keep]) == 0).reshape(-1, 1, H, W)
    out = torch.where(stays, pixels, _fill(pixels, fill))
    return out.masked_fill(values.isnan().flatten(1).any(1).reshape(-1, 1, 1, 1), torch.nan)


def _fill(x: Tensor, fill: Fill) -> Tensor:
    match fill:
        case "dataset-mean":
            return x.mean((0, 2, 3)).reshape(1, -1, 1, 1)
        case "image-mean":
            return x.mean((2, 3), keepdim=True)
        case "blur":
            return blurred(x)
        case "grey":
            return torch.full((1, 1, 1, 1), 0.5)
        case "black":
            return torch.zeros(1, 1, 1, 1)


def relevance(
    classifier: Classifier | BlackBox,
    pixels: Tensor,
    *,
    method: str = "lrp",
    target: AnyTarget = None,
    layer: Any = None,
    batch: int = 16,
    **settings: Any,
) -> NDArray[np.float32]:
    """Maps (N, h, w) of a classifier's decisions, where there is no run to read them from.

    Args:
        classifier: Whose.
        pixels: (N, C, H, W) in [0, 1].
        method: As `sl.methods()` lists them.
        target: One target for all images; the decision made by default.
        layer: For methods that look at one.
        batch: Images at a time.
        settings: Of the method.

    Raises:
        SightlineError: What the method refuses.
    """
    explain = Explainer(method, classifier, layer=layer, **settings)
    return torch.cat([explain(part, target).maps.float().cpu() for part in torch.split(pixels, batch)]).numpy()


def run_maps(
    run: "Generalisation", names: Sequence[str], *, method: str | None = None, variant: str = "own"
) -> dict[str, NDArray[np.float32]]:
    """The maps of a generalisation study for images by name: member -> (N, h, w); NaN where one failed.

    Args:
        run: The study.
        names: Of images, as the run calls them, or by the end of that path, where it is clear.
        method: Label of a method; the run's first unless given.
        variant: own, other-class or randomised.

    Raises:
        InputError: An image that the run does not know, or knows more than once.
    """
    table = run.decisions().unique("image_index", maintain_order=True)
    known = {str(image): int(index) for image, index in table.select("image", "image_index").iter_rows()}
    rows = [_index(known, name) for name in names]
    label = method or run.methods[0]
    return {m: np.asarray(run.maps(m, label, variant=variant)[rows], dtype=np.float32) for m in run.members}


def _index(known: Mapping[str, int], name: str) -> int:
    if name in known:
        return known[name]
    fits = [index for image, index in known.items() if image.endswith(f"/{name}")]
    if len(fits) != 1:
        raise InputError(f"the run knows {'no' if not fits else 'more than one'} image {name!r}")
    return fits[0]


def model_similarities(
    classifiers: Mapping[str, Classifier | BlackBox],
    images: Stimuli,
    *,
    seen: Sequence[Seen] = ("embedding",),
    maps: Mapping[str, Any] | None = None,
    masked_by: Mapping[str, str] | None = None,
    keep: float = 20,
    fill: Fill = "dataset-mean",
    layers: Mapping[str, str] | None = None,
    measure: Measure = "cosine",
    batch: int = 32,
) -> list[SimilarityMatrix]:
    """The similarity matrices of several models on the same images.

    Args:
        classifiers: Name -> classifier.
        images: What they see.
        seen: `embedding` (of the whole image), `masked` (of what relevance leaves of it), `map` (the maps themselves).
        maps: Name -> (N, h, w), for `masked` and `map`: of `relevance`, or of `run_maps`.
        masked_by: Model -> the model whose maps mask its images; its own by default.
        keep: See `relevance_masked`.
        fill: See `relevance_masked`.
        layers: Model -> layer of its embedding; the penultimate one by default. See `embeddings`.
        measure: How two embeddings are compared.
        batch: Images at a time.

    Returns:
        One matrix a model and kind, by model.

    Raises:
        InputError: An unknown kind, or maps that are needed and not given.
        LayerError, ModelError: An embedding that is not clear; the text says what to do.
    """
    unknown = [kind for kind in seen if kind not in get_args(Seen)]
    if unknown or not seen:
        raise InputError(f"seen must hold some of {', '.join(get_args(Seen))}, not {list(seen)}")
    found = []
    for name, classifier in classifiers.items():
        pixels = images.at(classifier.size)
        layer = (layers or {}).get(name)
        for kind in seen:
            if kind == "map":
                found.append(of_maps(name, images.names, _given(maps, name)))
                continue
            title, shown = name, pixels
            if kind == "masked":
                by = (masked_by or {}).get(name, name)
                title = name if by == name else f"{name} masked by {by}"
                shown = relevance_masked(pixels, _given(maps, by), keep=keep, fill=fill, names=images.names)
            vectors = _finite(classifier, shown, layer, batch)
            found.append(of_embeddings(title, images.names, vectors, measure=measure, kind=kind))
    return found


def _finite(classifier: Classifier | BlackBox, pixels: Tensor, layer: str | None, batch: int) -> NDArray[np.float32]:
    """Embeddings (N, D), NaN for images that have none because their maps failed."""
    there = ~pixels.flatten(1).isnan().any(1)
    if not bool(there.any()):
        raise InputError("no image is left: all maps hold NaN")
    values = embeddings(classifier, pixels[there], layer=layer, batch=batch)
    out = np.full((len(pixels), values.shape[1]), np.nan, dtype=np.float32)
    out[there.numpy()] = values
    return out


def _given(maps: Mapping[str, Any] | None, name: str) -> Any:
    if maps is None or name not in maps:
        raise InputError(f"maps of {name!r} are needed; make them with `relevance`, or read them with `run_maps`")
    return maps[name]

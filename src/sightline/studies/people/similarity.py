"""How alike a model finds images: matrices from embeddings, class scores and maps, and as tables."""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.files import atomic_write

Array = NDArray[np.float64]
Measure = Literal["cosine", "pearson", "euclidean"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityMatrix:
    """How alike images are to one model.

    Attributes:
        name: Of the model, or of what else says so.
        images: N names.
        values: (N, N) float64, [target, other], more is more alike; it need not be symmetric. NaN where it is not
            defined; the diagonal is not read.
        kind: Where it comes from: `embedding`, `masked`, `map`, `scores`, `given`.
        measure: How two vectors are compared; empty where none are.

    Raises:
        InputError: A matrix that does not fit the names, or names twice.
    """

    name: str
    images: tuple[str, ...]
    values: Array
    kind: str = "given"
    measure: str = ""

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.values.shape != (n, n):
            raise InputError(f"similarity {self.name!r}: {self.values.shape} values do not fit {n} images")
        if len(set(self.images)) < n:
            raise InputError(f"similarity {self.name!r} names an image twice")
        if np.isinf(self.values).any():
            raise InputError(f"similarity {self.name!r} holds an infinite value")

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Where images stand.

        Raises:
            InputError: One is not there; the text names it.
        """
        where = {name: i for i, name in enumerate(self.images)}
        missing = [name for name in dict.fromkeys(names) if name not in where]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"similarity {self.name!r} knows {len(where)} images, not {missing[0]!r}{more}; images in the "
                "judgements must be called as they are there"
            )
        return np.array([where[name] for name in names], dtype=np.int64)

    def to(self, images: Sequence[str]) -> "SimilarityMatrix":
        """The same for some of the images, in that order."""
        at = self.places(images)
        return SimilarityMatrix(
            name=self.name,
            images=tuple(images),
            values=self.values[np.ix_(at, at)],
            kind=self.kind,
            measure=self.measure,
        )


def of_embeddings(
    name: str, images: Sequence[str], vectors: Any, *, measure: Measure = "cosine", kind: str = "embedding"
) -> SimilarityMatrix:
    """Similarity of vectors: `cosine`, `pearson` (cosine after removing a vector's own mean) or `euclidean` (minus d).

    Args:
        name: Of the model.
        images: N names.
        vectors: (N, D) of any array type. A vector with NaN, or without length, has no similarity to any other.
        measure: How two are compared.
        kind: Where they come from.

    Raises:
        InputError: Not one vector an image, or an unknown measure.
    """
    X: Array = np.asarray(vectors, dtype=np.float64)
    if X.ndim != 2 or len(X) != len(images):
        raise InputError(f"{len(images)} images need vectors ({len(images)}, D), not {X.shape}")
    if measure not in get_args(Measure):
        raise InputError(f"measure must be one of {', '.join(get_args(Measure))}, not {measure!r}")
    if measure == "euclidean":
        squares = (X * X).sum(1)
        values: Array = -np.sqrt(np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))
        return SimilarityMatrix(name=name, images=tuple(images), values=values, kind=kind, measure=measure)
    if measure == "pearson":
        X = X - X.mean(1, keepdims=True)
    length = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, length, out=np.full_like(X, np.nan), where=length > 1e-12)
    return SimilarityMatrix(name=name, images=tuple(images), values=unit @ unit.T, kind=kind, measure=measure)


def of_scores(name: str, images: Sequence[str], outputs: Any, categories: Sequence[int]) -> SimilarityMatrix:
    """Similarity to a classifier of identities: s(t, o) = its score for the category of image o, shown image t.

    So the image most like t is the one whose identity the classifier ranks second, after t's own.

    Args:
        name: Of the model.
        images: N names.
        outputs: (N, C) scores before softmax.
        categories: The true category of each image.

    Raises:
        InputError: Shapes that do not fit, or a category out of range.
    """
    z: Array = np.asarray(outputs, dtype=np.float64)
    at = np.asarray(categories)
    if z.ndim != 2 or len(z) != len(images) or at.shape != (len(images),):
        raise InputError(f"{len(images)} images need outputs ({len(images)}, C) and a category each, not {z.shape}")
    if at.size and not (at.min() >= 0 and at.max() < z.shape[1]):
        raise InputError(f"categories must lie in 0 ... {z.shape[1] - 1}, not {int(at.min())} ... {int(at.max())}")
    return SimilarityMatrix(name=name, images=tuple(images), values=z[:, at], kind="scores")


def of_maps(name: str, images: Sequence[str], maps: Any, *, grid: int = 48, centred: bool = True) -> SimilarityMatrix:
    """Similarity of relevance maps: Pearson's correlation of two images' maps.

    Every map is pooled by area to `grid` x `grid` (where it is larger), divided by its L2 norm, and the mean over
    images of these is taken off: without that the layout that all images share makes everything alike.

    Args:
        name: Of the model.
        images: N names.
        maps: (N, h, w) raw maps; one with NaN or without energy has no similarity to any other.
        grid: Side to which maps are pooled.
        centred: Whether the mean map is taken off.

    Raises:
        InputError: Not one map an image.
    """
    import torch

    values = torch.as_tensor(np.array(maps, dtype=np.float64))  # a copy: a memory map may be read-only
    if values.ndim != 3 or len(values) != len(images) or grid < 1:
        raise InputError(f"{len(images)} images need maps ({len(images)}, h, w), not {tuple(values.shape)}")
    size = (min(grid, values.shape[1]), min(grid, values.shape[2]))
    X: Array = torch.nn.functional.adaptive_avg_pool2d(values[:, None], size).flatten(1).numpy()
    length = np.linalg.norm(X, axis=1, keepdims=True)
    X = np.divide(X, length, out=np.full_like(X, np.nan), where=length > 0)
    there = ~np.isnan(X).any(1)
    if centred and there.any():
        X = X - X[there].mean(0)
    return of_embeddings(name, images, X, measure="pearson", kind="map")


def pooled(name: str, similarities: Sequence[SimilarityMatrix]) -> SimilarityMatrix:
    """What a group of models says: the mean of ranks of all pairs within each model, scaled to (0, 1).

    Scales of models differ, so ranks are averaged. A pair that one model does not define is not defined.

    Raises:
        InputError: No model, or other images.
    """
    from scipy.stats import rankdata

    if not similarities:
        raise InputError(f"group {name!r} has no model")
    images = similarities[0].images
    off = ~np.eye(len(images), dtype=bool)
    total: Array = np.zeros((len(images), len(images)))
    for found in similarities:
        values = found.to(images).values[off]
        there = ~np.isnan(values)
        ranks = np.full(len(values), np.nan)
        ranks[there] = (rankdata(values[there]) - 0.5) / max(1, there.sum())
        total[off] += ranks / len(similarities)
    kinds, measures = ({getattr(s, what) for s in similarities} for what in ("kind", "measure"))
    return SimilarityMatrix(
        name=name,
        images=images,
        values=total,
        kind=kinds.pop() if len(kinds) == 1 else "given",
        measure=measures.pop() if len(measures) == 1 else "",
    )


def write_similarity(path: str | os.PathLike[str], similarity: SimilarityMatrix) -> None:
    """Write a matrix as a table (.csv): names in the first line and the first column, empty cells for NaN.

    Raises:
        StorageError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *similarity.images])
    for image, row in zip(similarity.images, similarity.values, strict=True):
        writer.writerow([image, *("" if math.isnan(v) else repr(float(v)) for v in row)])
    data = text.getvalue().encode("utf-8")
    with atomic_write(path, size=len(data)) as file:
        file.write(data)


def read_similarity(path: str | os.PathLike[str], *, name: str | None = None) -> SimilarityMatrix:
    """A matrix from a table as `write_similarity` writes it; `name` is the file's unless given.

    Raises:
        InputError: It cannot be read, or is not square with the same names in the first line and column.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"))) if row]
    except (OSError, UnicodeDecodeError) as reason:
        raise InputError(f"{path} cannot be read as a table of UTF-8 text: {reason}") from reason
    images = tuple(cell.strip() for cell in rows[0][1:]) if rows else ()
    if not images or [row[0].strip() for row in rows[1:]] != list(images) or any(len(r) != len(rows[0]) for r in rows):
        raise InputError(f"{path} must be square, with the same names of images in its first line and first column")
    try:
        values = np.array([[float(cell) if cell.strip() else math.nan for cell in row[1:]] for row in rows[1:]])
    except ValueError as reason:
        raise InputError(f"{path} holds something that is no number: {reason}") from reason
    return SimilarityMatrix(name=name or Path(path).stem, images=images, values=values)

"""A study's folder, read: tables are computed from raw rows when they are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline import store
from sightline.errors import InputError
from sightline.studies.generalising.derived import Derived, Measure
from sightline.studies.generalising.maps import OWN, Kept

if TYPE_CHECKING:
    import polars

    from sightline.studies.generalising.statistics.areas import Curves

MEASURES = ("accuracy", "agreement", "score")


@dataclass(frozen=True, eq=False)
class Generalisation(Derived):
    """A generalisation study: a view on its folder. Of a run that is still going, what is finished so far.

    Args:
        path: The folder.
    """

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked of what, under which protocol."""
        found = store.read_manifest(self.path)
        if found.get("study") != "generalise":
            raise InputError(f"{self.path} holds a run of another study ({found.get('study')})")
        return found

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.manifest["family"]["members"])

    @property
    def factors(self) -> Mapping[str, Mapping[str, str]]:
        """Model -> factor -> value."""
        found: dict[str, dict[str, str]] = self.manifest["family"]["members"]
        return found

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(self.manifest["family"]["factors"])

    @property
    def methods(self) -> tuple[str, ...]:
        """Labels of the methods."""
        return tuple(m["label"] for m in self.manifest["methods"])

    @property
    def levels(self) -> tuple[float, ...]:
        """Percent of the pixels."""
        return tuple(self.manifest["levels"])

    @property
    def fills(self) -> tuple[str, ...]:
        """What stands where pixels are taken away."""
        return tuple(self.manifest["fills"])

    @property
    def modes(self) -> tuple[str, ...]:
        """Whether the top pixels are kept, or removed."""
        return tuple(self.manifest["modes"])

    @property
    def controls(self) -> tuple[str, ...]:
        """Sources that are no models."""
        return tuple(self.manifest["controls"])

    @cached_property
    def images(self) -> tuple[int, ...]:
        """Numbers of the images that are complete: every model answered, under all masks."""
        return tuple(sorted(self.masked()["image_index"].unique())) if len(self.masked()) else ()

    def decisions(self) -> "polars.DataFrame":
        """A row a model and image: decision, truth, probability and margin on the unaltered image, or the error."""
        return self._decisions

    @cached_property
    def _decisions(self) -> "polars.DataFrame":
        return self._sorted("decisions", "model", "image_index")

    def masked(self) -> "polars.DataFrame":
        """A row a target, image, method, source, fill and mode: p and decision at every level."""
        return self._masked

    @cached_property
    def _masked(self) -> "polars.DataFrame":
        return self._sorted("masked", "target_model", "image_index", "method", "source", "fill", "mode")

    def similarity_rows(self) -> "polars.DataFrame":
        """A row a pair of models, method and image: how alike their maps are."""
        return self._sorted("similarity", "model_a", "model_b", "method", "image_index")

    def validity_rows(self) -> "polars.DataFrame":
        """A row a model, method, image and check: how alike a map is to that of another question, or other weights."""
        return self._sorted("validity", "model", "method", "image_index", "check", "share")

    def parts_rows(self) -> "polars.DataFrame":
        """A row a model, method, image and region: its share of the positive relevance, and of the pixels."""
        return self._sorted("parts", "model", "method", "image_index", "region")

    def errors(self) -> "polars.DataFrame":
        """Rows of `decisions` that ended in an error, with the reason."""
        import polars as pl

        found = self.decisions()
        return found.filter(pl.col("status") != "ok") if len(found) else found

    def _sorted(self, table: str, *keys: str) -> "polars.DataFrame":
        found = store.read_table(self.path, table)
        return found.sort(keys, maintain_order=True) if len(found) else found

    def maps(self, model: str, method: str | None = None, variant: str = OWN) -> "np.memmap[Any, Any]":
        """Kept maps (N, h, w) float32, by number of the image; NaN where an image failed, or is not done.

        Args:
            model: Which.
            method: Its label; by default the first one.
            variant: `own`, `other-class`, `randomised` or `upper-random`.

        Raises:
            InputError: There are none of that name.
        """
        _known("models", model, self.members)
        kept = Kept(self.path, self.manifest["data"]["images"])
        found: np.memmap[Any, Any] = kept.read(model, method or self.methods[0], variant)
        return found

    @property
    def measure(self) -> Measure:
        """What is measured unless another measure is asked: accuracy where the truth is known to every model."""
        known = self.decisions().filter(status="ok").drop_nulls("truth") if len(self.decisions()) else self.decisions()
        every = len(known) and set(known["model"]) == set(self.members)
        return "accuracy" if every else "agreement"


def curves(
    run: Generalisation,
    method: str | None = None,
    *,
    fill: str | None = None,
    mode: str | None = None,
    measure: Measure | None = None,
) -> "Curves":
    """What every target answers on images under every source's masks.

    Args:
        run: The study.
        method: A label; by default the first method.
        fill: By default the first one.
        mode: By default the first one.
        measure: `accuracy` (the decision on the masked image is the truth), `agreement` (it is that on the
            unaltered image), `score` (the probability of the decision explained); by default accuracy where every
            model's truth is known, else agreement.

    Raises:
        InputError: A name that the run has not, or nothing is finished.
    """
    from sightline.studies.generalising.statistics.areas import Curves

    method, fill, mode = method or run.methods[0], fill or run.fills[0], mode or run.modes[0]
    for what, name, known in (
        ("methods", method, run.methods),
        ("fills", fill, run.fills),
        ("modes", mode, run.modes),
        ("measures", measure or run.measure, MEASURES),
    ):
        _known(what, name, known)
    if not run.images:
        raise InputError(f"{run.path}: no image is finished under all masks yet; let the run go on")
    measure = measure or run.measure
    values, unaltered = _values(run, method, fill, mode, measure)
    return Curves(
        values=values,
        sources=(*run.members, *run.controls),
        targets=run.members,
        levels=run.levels,
        images=run.images,
        factors=run.factors,
        mode=mode,
        measure=measure,
        unaltered=unaltered,
    )


def _values(run: Generalisation, method: str, fill: str, mode: str, measure: Measure) -> tuple[Any, Any]:
    """(N, S, T, Q) and (N, T)."""
    import polars as pl

    place = {index: n for n, index in enumerate(run.images)}
    source = {name: s for s, name in enumerate((*run.members, *run.controls))}
    target = {name: t for t, name in enumerate(run.members)}
    N, T = len(place), len(target)
    right, unaltered = np.full((N, T), np.nan), np.full((N, T), np.nan)
    decided = run.decisions().filter(pl.col("status") == "ok", pl.col("image_index").is_in(run.images))
    for row in decided.iter_rows(named=True):
        at = place[row["image_index"]], target[row["model"]]
        truth = row["truth"] if measure == "accuracy" else row["decision"]
        right[at] = np.nan if truth is None else truth
        unaltered[at] = row["p"] if measure == "score" else np.nan if truth is None else row["decision"] == truth
    rows = run.masked().filter(method=method, fill=fill, mode=mode)
    n = np.array([place[i] for i in rows["image_index"]])
    s = rows["source"].replace_strict(source, return_dtype=pl.Int64).to_numpy()
    t = rows["target_model"].replace_strict(target, return_dtype=pl.Int64).to_numpy()
    column = np.array(rows["p" if measure == "score" else "decision"].to_list(), dtype=np.float64)
    if measure != "score":
        truth = right[n, t][:, None]
        column = np.where(np.isnan(truth), np.nan, column == truth)
    values = np.full((N, len(source), T, len(run.levels)), np.nan)
    values[n, s, t] = column
    return values, unaltered


def _known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InputError(f"{what}: there is no {name!r}; there are {', '.join(known)}")

"""The work: read a block of images, ask once, write decisions, maps, sums of maps and edits; block by block."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.data._ahead import read_ahead
from sightline.data.alignment import frontal
from sightline.errors import SightlineError
from sightline.store import Run
from sightline.studies.audit import tables
from sightline.studies.audit.bias import UNEXPLAINED
from sightline.studies.audit.energy import Lowered, lowered, proportional, reading
from sightline.studies.audit.engine import Maps, cam_maps, other_maps
from sightline.studies.audit.layers import layer_biases
from sightline.studies.audit.means import Sums
from sightline.studies.audit.plan import Plan
from sightline.studies.audit.readout import signs
from sightline.studies.audit.source import Loaded
from sightline.studies.benchmarking import pictures
from sightline.studies.benchmarking.work import numbers_of

_WORKERS = 4
_OUTCOMES = np.array([["TN", "FP"], ["FN", "TP"]])  # truth, decision


@dataclass(frozen=True)
class Unit:
    """A block of images: places in the source, names, numbers in the run, stamps of the files."""

    name: str
    places: tuple[int, ...]
    keys: tuple[str, ...]
    indices: tuple[int, ...]
    stamps: tuple[int, ...]


def units(plan: Plan, run: Run) -> list[Unit]:
    """What is left, in the order of the source; finished images stay finished.

    Raises:
        StorageError: The run has images that are not asked, or that changed since.
    """
    keys, sizes = plan.source.keys, plan.source.sizes
    place = {key: i for i, key in enumerate(keys)}
    numbers = numbers_of(run, keys, place, sizes)
    done = {key for part in run.parts for key in part["images"]}
    left = [key for key in keys if key not in done]
    found = []
    for start in range(0, len(left), plan.batch):
        images = tuple(left[start : start + plan.batch])
        indices = tuple(numbers[key] for key in images)
        content = hashlib.sha256("\0".join(images).encode(errors="surrogateescape")).hexdigest()[:12]
        where = tuple(place[key] for key in images)
        found.append(Unit(f"{indices[0]:07d}-{content}", where, images, indices, tuple(sizes[i] for i in where)))
    return found


def work(plan: Plan, run: Run, left: Sequence[Unit], advance: Callable[[int], object]) -> None:
    """Do what is left; after each block its rows are on the disk.

    Raises:
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    for unit, read in _read(plan, left):
        good = [i for i, one in enumerate(read) if isinstance(one, Loaded)]
        frames: dict[str, pl.DataFrame] = {"images": _images(plan, unit, read)}
        if good:
            block = Block(plan, unit, good, [read[i] for i in good])  # type: ignore[misc]
            frames |= block.frames()
            block.draw(run)
        part = {"name": unit.name, "images": unit.keys, "indices": unit.indices, "stamps": unit.stamps}
        run.finish({**part, "errors": len(read) - len(good)}, frames)
        advance(len(unit.places))
    run.tidy()


def _read(plan: Plan, left: Sequence[Unit]) -> Iterator[tuple[Unit, list[Loaded | Exception]]]:
    """Blocks with their images, which threads read ahead."""
    places = [place for unit in left for place in unit.places]
    source = read_ahead(places, plan.source.load, workers=_WORKERS, ready=plan.batch)
    try:
        for unit in left:
            yield unit, [next(source)[1] for _ in unit.places]
    finally:
        source.close()


def _images(plan: Plan, unit: Unit, read: Sequence[Loaded | Exception]) -> pl.DataFrame:
    """A row an image, also where it cannot be read."""
    rows = []
    for key, index, one in zip(unit.keys, unit.indices, read, strict=True):
        row: dict[str, Any] = {"image": key, "image_index": index, "status": "ok", "error": None}
        if isinstance(one, Loaded):
            known = tuple(one.landmarks.shape) == (5, 2) and bool(one.landmarks.isfinite().all())
            row |= {"landmarks": known, "frontal": bool(frontal(one.landmarks[None])[0]) if known else None}
            row |= {f"group_{name}": value for name, value in one.groups.items()}
        else:
            row |= {"status": "error", "error": " ".join(str(one).split())[:500], "landmarks": False}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.images_schema(tuple(plan.groups)), orient="row")


class Block:
    """A block of images that could be read.

    Attributes:
        plan: What is asked.
        pixels: (B, 3, H, W) on the classifier's device.
        z: (B, A) float64 on the CPU.
        truth: (B, A) int8: 1, 0, or -1 for unknown.
        landmarks: B times (k, 2), in pixels of the input.
        indices, places: Numbers of the images in the run, and their places in the source.
        names: The attributes.
    """

    def __init__(self, plan: Plan, unit: Unit, good: Sequence[int], loaded: Sequence[Loaded]) -> None:
        self.plan, self.loaded = plan, list(loaded)
        self.keys = tuple(unit.keys[i] for i in good)
        self.indices = tuple(unit.indices[i] for i in good)
        self.places = tuple(unit.places[i] for i in good)
        self.names = plan.readout.names
        self.landmarks = [one.landmarks for one in loaded]
        self.pixels = plan.classifier.check_pixels(torch.stack([one.pixels for one in loaded]))
        values = [[one.truth.get(name, -1) for name in self.names] for one in loaded]
        self.truth = torch.tensor(values, dtype=torch.int8)
        self.z = torch.zeros(len(loaded), len(self.names), dtype=torch.float64)
        self._masks: dict[str, Tensor | None] = {}
        self._lowered: dict[tuple[str, tuple[int, int]], Lowered | None] = {}

    def region(self, name: str) -> str | None:
        """What the region of an attribute is called; None where it has none."""
        return self.plan.source.region(name)

    def masks(self, name: str) -> Tensor | None:
        """(B, H, W) bool: where an attribute is; attributes of one region share their masks."""
        region = self.region(name)
        if region is None:
            return None
        if region not in self._masks:
            self._masks[region] = self.plan.source.masks(self.loaded, name)
        return self._masks[region]

    def lowered(self, name: str, cells: tuple[int, int]) -> Lowered | None:
        """The region of an attribute as cells of a map see it."""
        key = (self.region(name) or "", cells)
        if key not in self._lowered:
            masks = self.masks(name)
            self._lowered[key] = None if masks is None else lowered(masks, cells)
        return self._lowered[key]

    @cached_property
    def outcomes(self) -> "np.ndarray[Any, Any]":
        """(B, A) TP, FP, FN or TN; None where the truth is unknown."""
        truth, yes = self.truth.numpy(), (self.z.numpy() >= 0).astype(int)
        named: np.ndarray[Any, Any] = _OUTCOMES[np.maximum(truth, 0), yes].astype(object)
        named[truth < 0] = None
        return named

    def frames(self) -> dict[str, pl.DataFrame]:
        """All tables of the block but `images`."""
        sums, parts = Sums(self), []
        if self.plan.cams and isinstance(self.plan.classifier, Classifier):
            answers = torch.zeros(self.z.shape, dtype=torch.float32, device=self.pixels.device)
            for maps in cam_maps(self.plan, self.pixels, answers):
                if maps.attribute == 0:
                    self.z = answers.double().cpu()
                parts.append(self._measured(maps, sums))
        else:
            with torch.no_grad():
                self.z = self.plan.readout.z(self.plan.classifier(self.pixels)).double().cpu()
        parts += [self._measured(maps, sums) for maps in other_maps(self.plan, self.pixels, self.z)]
        biases = self._biases()
        found = {"rows": self._decisions(biases), "means": sums.frame(), "biases": biases}
        if parts:
            found["maps"] = pl.concat(parts)
        if self.plan.edits:
            from sightline.studies.audit import edits

            found["edits"] = pl.DataFrame(edits.rows(self, self.plan), schema=edits.SCHEMA, orient="row")
        return found

    def _biases(self) -> pl.DataFrame:
        """A row an image, attribute and layer, of the first images of the run: what the layer's biases add to |z|."""
        rows = [i for i, index in enumerate(self.indices) if index < self.plan.biased]
        if not rows:
            return pl.DataFrame(schema=tables.BIASES)
        z, sign = self.z[rows], signs(self.z[rows])
        frames = [
            pl.DataFrame(
                {
                    "image_index": np.repeat([self.indices[i] for i in rows], len(self.names)),
                    "attribute": list(self.names) * len(rows),
                    "layer": [layer] * value.numel(),
                    "sign": sign.flatten().to(torch.int8).numpy(),
                    "value": value.flatten().numpy(),
                    "z": z.flatten().numpy(),
                },
                schema=tables.BIASES,
            )
            for layer, value in layer_biases(self.plan, self.pixels[rows], z).items()
        ]
        return pl.concat(frames)

    def _decisions(self, biases: pl.DataFrame) -> pl.DataFrame:
        B, A = self.z.shape
        truth = self.truth.numpy().reshape(-1)
        bias = None if self.plan.head.bias is None else np.tile(self.plan.head.bias.numpy(), B)
        frame = pl.DataFrame(
            {
                "image": np.repeat(np.array(self.keys, dtype=object), A),
                "image_index": np.repeat(np.array(self.indices), A),
                "attribute": np.tile(np.array(self.names, dtype=object), B),
                "truth": pl.Series(truth).replace(-1, None),
                "z": self.z.numpy().reshape(-1),
                "outcome": pl.Series(self.outcomes.reshape(-1).tolist(), dtype=pl.String),
                "b_head": pl.Series([None] * (B * A), dtype=pl.Float64) if bias is None else bias,
                "b_layers": pl.Series([None] * (B * A), dtype=pl.Float64),
                "status": pl.Series(["ok"] * (B * A)),
                "error": pl.Series([None] * (B * A), dtype=pl.String),
            },
            schema=tables.DECISIONS,
        )
        if not len(biases):
            return frame
        told = biases.filter(pl.col("layer") != UNEXPLAINED).group_by("image_index", "attribute")
        whole = told.agg(whole=(pl.col("sign") * pl.col("value")).sum())
        frame = frame.join(whole, on=["image_index", "attribute"], how="left", maintain_order="left")
        return frame.with_columns(b_layers=pl.col("whole")).drop("whole")

    def _measured(self, maps: Maps, sums: Sums) -> pl.DataFrame:
        """Rows of one method, layer and attribute; its scaled maps are added to the sums."""
        a, name = maps.attribute, self.names[maps.attribute]
        values = maps.values.detach().cpu()
        heat = reading(values, maps.polarity)
        region = self.lowered(name, (heat.shape[-2], heat.shape[-1]))
        empty = heat.flatten(1).amax(1) <= 0
        pe = proportional(heat, region).double() if region is not None else torch.full((len(heat),), torch.nan)
        area = region.area.double() if region is not None else torch.full((len(heat),), torch.nan)
        pe = torch.where(area > 0, pe, torch.nan)  # a region outside of the image is none
        outcome = self.outcomes[:, a]
        sign = signs(self.z[:, a])
        sums.add(maps, heat, outcome, sign)
        energy = values.abs() if maps.polarity == "absolute" else values.relu()
        count = len(heat)
        return pl.DataFrame(
            {
                "image_index": np.array(self.indices),
                "attribute": pl.repeat(name, count, eager=True),
                "method": pl.repeat(maps.method, count, eager=True),
                "layer": pl.repeat(maps.layer, count, eager=True),
                "outcome": pl.Series(outcome.tolist(), dtype=pl.String),
                "sign": sign.to(torch.int8).numpy(),
                "pe": pe.numpy(),
                "empty": empty.numpy(),
                "area": area.numpy(),
                "energy": energy.double().sum((1, 2)).numpy(),
                "total": values.double().sum((1, 2)).numpy(),
            },
            schema=tables.MAPS,
        ).with_columns(pl.col("pe", "area").fill_nan(None))

    def draw(self, run: Run) -> None:
        """Small pictures of the run's first images."""
        for index, one in zip(self.indices, self.loaded, strict=True):
            if index < self.plan.pictures:
                pictures.photograph(run.path, index, one.pixels)


def known_error(reason: object) -> str:
    """What stands in a table for an error."""
    text = " ".join(str(reason).split())[:500]
    return text if isinstance(reason, SightlineError | str) else f"{type(reason).__name__}: {text}"

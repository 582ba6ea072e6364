"""A block of images that could be read: asked once, measured, and told as the rows of all tables."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.studies.auditing import tables
from sightline.studies.auditing.bias import UNEXPLAINED
from sightline.studies.auditing.energy import Lowered, lowered, proportional, reading
from sightline.studies.auditing.engine import Maps, cam_maps, other_maps
from sightline.studies.auditing.layers import layer_biases
from sightline.studies.auditing.means import Sums
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.readout import signs
from sightline.studies.auditing.source import Loaded

_OUTCOMES = np.array([["TN", "FP"], ["FN", "TP"]], dtype=object)  # truth, decision


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

    def __init__(self, plan: Plan, keys: Sequence[str], indices: Sequence[int], loaded: Sequence[Loaded]) -> None:
        self.plan, self.loaded = plan, list(loaded)
        self.keys, self.indices = tuple(keys), tuple(indices)
        self.places = tuple(one.place for one in loaded)
        self.names = plan.readout.names
        self.landmarks = [one.landmarks for one in loaded]
        self.pixels = plan.classifier.check_pixels(torch.stack([one.pixels for one in loaded]))
        values = [[one.truth.get(name, -1) for name in self.names] for one in loaded]
        self.truth = torch.tensor(values, dtype=torch.int8)
        self.z = torch.zeros(len(loaded), len(self.names), dtype=torch.float64)
        self._lowered: dict[tuple[str, tuple[int, int]], Lowered | None] = {}

    def region(self, name: str) -> str | None:
        """What the region of an attribute is called; None where it has none."""
        return self.plan.source.region(name)

    def masks(self, name: str) -> Tensor | None:
        """(B, H, W) bool: where an attribute is; attributes of one region share their masks."""
        region = self.region(name)
        return None if region is None else self._painted[region]

    @cached_property
    def _painted(self) -> dict[str, Tensor]:
        """All regions at once."""
        regions = dict.fromkeys(r for r in map(self.region, self.names) if r is not None)
        return self.plan.source.masks(self.loaded, list(regions))

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
        sums, rows = Sums(self), Rows(self)
        if self.plan.cams and isinstance(self.plan.classifier, Classifier):
            answers = torch.zeros(self.z.shape, dtype=torch.float32, device=self.pixels.device)
            for n, maps in enumerate(cam_maps(self.plan, self.pixels, answers)):
                if not n:
                    self.z = answers.double().cpu()
                rows.add(maps, sums)
        else:
            with torch.no_grad():
                self.z = self.plan.readout.z(self.plan.classifier(self.pixels)).double().cpu()
        for maps in other_maps(self.plan, self.pixels, self.z):
            rows.add(maps, sums)
        biases = self._biases()
        found = {"rows": self._decisions(biases), "maps": rows.frame(), "means": sums.frame(), "biases": biases}
        if self.plan.edits:
            from sightline.studies.auditing import edits

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


class Rows:
    """The rows of `maps/` of one block, gathered as arrays: a frame for each of some hundred maps would take longer."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.labels: list[tuple[str, str, str, int]] = []
        self.numbers: list[Tensor] = []

    def add(self, maps: Maps, sums: Sums) -> None:
        """Measure the maps of one method, layer and attribute; scaled, they are added to the sums."""
        block, name = self.block, self.block.names[maps.attribute]
        values = maps.values.detach().cpu()
        heat = reading(values, maps.polarity)
        sums.add(maps, heat)
        region = block.lowered(name, (heat.shape[-2], heat.shape[-1]))
        numbers = torch.full((5, len(heat)), torch.nan, dtype=torch.float64)
        if region is not None:
            numbers[0] = torch.where(region.area > 0, proportional(heat, region), torch.nan)  # a region out of sight
            numbers[1] = region.area
        numbers[2] = heat.flatten(1).amax(1) <= 0
        numbers[3] = (values.abs() if maps.polarity == "absolute" else values.relu()).double().sum((1, 2))
        numbers[4] = values.double().sum((1, 2))
        self.numbers.append(numbers)
        self.labels.append((name, maps.method, maps.layer, maps.attribute))

    def frame(self) -> pl.DataFrame:
        """All of them."""
        if not self.labels:
            return pl.DataFrame(schema=tables.MAPS)
        B, block = len(self.block.indices), self.block
        pe, area, empty, energy, total = torch.cat(self.numbers, 1).numpy()
        columns = [label[3] for label in self.labels]
        names = (pl.Series([label[k] for label in self.labels]) for k in range(3))
        attribute, method, layer = (s.gather(np.repeat(np.arange(len(s)), B)) for s in names)
        return pl.DataFrame(
            {
                "image_index": np.tile(np.array(block.indices), len(self.labels)),
                "attribute": attribute,
                "method": method,
                "layer": layer,
                "outcome": pl.Series(block.outcomes[:, columns].T.flatten().tolist(), dtype=pl.String),
                "sign": signs(block.z[:, columns]).T.flatten().to(torch.int8).numpy(),
                "pe": pl.Series(pe).fill_nan(None),
                "empty": empty > 0,
                "area": pl.Series(area).fill_nan(None),
                "energy": energy,
                "total": total,
            },
            schema=tables.MAPS,
        )

"""An audit's folder, read: tables are computed from raw rows when they are asked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sightline import store
from sightline.studies.auditing import means
from sightline.studies.auditing.bias import Reference

if TYPE_CHECKING:
    import numpy as np
    import polars

Outcome = Literal["all", "yes", "no", "TP", "FP", "FN", "TN"]


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
        from sightline.studies.auditing.bias import with_evidence

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
        from sightline.studies.auditing.errors import errors

        rates = self.manifest["training_rates"]
        return errors(self._decisions, self.attributes, rates, resamples=self.resamples, seed=self.seed)

    def errors(self) -> "polars.DataFrame":
        """A row an attribute, the rarest minority first; see `sightline.studies.auditing.errors.errors`."""
        return self._errors

    @cached_property
    def _evidence(self) -> "polars.DataFrame":
        from sightline.studies.auditing.evidence import evidence

        return evidence(self._maps, self._errors, resamples=self.resamples, seed=self.seed)

    def evidence(self) -> "polars.DataFrame":
        """A row an attribute, method, layer, side and outcome; see `sightline.studies.auditing.evidence.evidence`."""
        return self._evidence

    @cached_property
    def _bias(self) -> "polars.DataFrame":
        from sightline.studies.auditing.bias import bias

        layers = store.read_table(self.path, "biases")
        return bias(
            self._decisions, layers, self._errors, reference=self.common, resamples=self.resamples, seed=self.seed
        )

    def bias(self) -> "polars.DataFrame":
        """A row an attribute and side: how much of the decision is bias; see `sightline.studies.auditing.bias.bias`."""
        return self._bias

    def bias_layers(self) -> "polars.DataFrame":
        """A row an attribute, side and layer: the share of the decision that the layer's biases make."""
        from sightline.studies.auditing.bias import of_layers

        return of_layers(store.read_table(self.path, "biases"))

    @cached_property
    def _groups(self) -> "polars.DataFrame":
        from sightline.studies.auditing.groups import groups

        return groups(
            self._decisions, self._images, self.attributes, self.manifest["settings"]["groups"],
            min_group=self.min_group, seed=self.seed,
        )  # fmt: skip

    def groups(self) -> "polars.DataFrame":
        """A row a group and attribute; see `sightline.studies.auditing.groups.groups`."""
        return self._groups

    @cached_property
    def _interventions(self) -> "polars.DataFrame":
        from sightline.studies.auditing import edits

        return edits.interventions(self.edits(), seed=self.seed, min_group=self.min_group)

    def interventions(self) -> "polars.DataFrame":
        """A row an attribute, edit and direction: what changing the region does, against regions elsewhere."""
        return self._interventions

    def findings(self) -> "polars.DataFrame":
        """What stands out, in sentences; see `sightline.studies.auditing.findings.findings`."""
        return self._findings

    @cached_property
    def _findings(self) -> "polars.DataFrame":
        from sightline.studies.auditing.findings import findings

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

"""Tables that are computed from a study's curves and rows, with intervals; what they mean stands in `statistics`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from sightline.studies.generalising import statistics

if TYPE_CHECKING:
    import polars

    from sightline.studies.generalising.statistics.areas import Curves

Measure = Literal["accuracy", "agreement", "score"]


class Derived:
    """The tables of a `Generalisation`. `method`, `fill`, `mode` and `measure` as for its `curves`."""

    def curves(
        self: Any,
        method: str | None = None,
        *,
        fill: str | None = None,
        mode: str | None = None,
        measure: Measure | None = None,
    ) -> "Curves":
        """What every target answers on images under every source's masks; see `reading.curves`."""
        from sightline.studies.generalising.reading import curves

        return curves(self, method, fill=fill, mode=mode, measure=measure)

    def _of(
        self: Any, make: Callable[..., "polars.DataFrame"], chosen: tuple[Any, ...], **settings: Any
    ) -> "polars.DataFrame":
        method, fill, mode, measure = chosen
        return make(self.curves(method, fill=fill, mode=mode, measure=measure), **settings)

    def index(
        self, method: str | None = None, *, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """G(s -> t) of every source and target; see `statistics.index`."""
        settings = {"resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.index, (method, fill, mode, measure), **settings)

    def groups(
        self, factor: str | None = None, *, method: str | None = None, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """Mean G of pairs that differ in the same factors; see `statistics.groups`."""
        settings = {"factor": factor, "resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.groups, (method, fill, mode, measure), **settings)

    def factor_effects(
        self, method: str | None = None, *, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """How much differing in each factor lowers G, with a permutation test; see `statistics.factor_effects`."""
        settings = {"resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.factor_effects, (method, fill, mode, measure), **settings)

    def asymmetry(
        self, factor: str | None = None, *, method: str | None = None, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """G(a -> b) - G(b -> a) of pairs of models, or of the values of a factor; see `statistics.asymmetry`."""
        settings = {"factor": factor, "resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.asymmetry, (method, fill, mode, measure), **settings)

    def control_table(
        self, method: str | None = None, *, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """How much a model's own masks keep beyond each control's; see `statistics.control_table`."""
        settings = {"resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.control_table, (method, fill, mode, measure), **settings)

    def curve_table(
        self, method: str | None = None, *, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """The measure at every level; see `statistics.curve_table`."""
        settings = {"resamples": resamples, "level": level, "seed": seed}
        return self._of(statistics.curve_table, (method, fill, mode, measure), **settings)

    def agreement(
        self: Any, method: str | None = None, *, fill: str | None = None, mode: str | None = None,
        measure: Measure | None = None, resamples: int = 2000, level: float = 0.95, seed: int = 0,
    ) -> "polars.DataFrame":  # fmt: skip
        """Whether models with similar maps serve each other; see `statistics.agreement`."""
        found = self.curves(method, fill=fill, mode=mode, measure=measure)
        label, rows = method or self.methods[0], self.similarity_rows()
        return statistics.agreement(found, rows, label, resamples=resamples, level=level, seed=seed)

    def similarity(self: Any, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> "polars.DataFrame":
        """How alike the maps of each pair of models are; see `statistics.similarity_pairs`."""
        rows = self.similarity_rows()
        return statistics.similarity_pairs(rows, self.factors, resamples=resamples, level=level, seed=seed)

    def similarity_groups(
        self: Any, factor: str | None = None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
    ) -> "polars.DataFrame":
        """The same of pairs that differ in the same factors; see `statistics.similarity_groups`."""
        settings: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}
        return statistics.similarity_groups(self.similarity_rows(), self.factors, factor, **settings)

    def parts(self: Any, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> "polars.DataFrame":
        """Relevance in each region against its area, by the values of each factor; see `parts.table`."""
        from sightline.studies.generalising import parts

        return parts.table(self, resamples=resamples, level=level, seed=seed)

    def validity(self: Any) -> "polars.DataFrame":
        """How alike maps stay when the weights or the question change; see `validity.table`."""
        from sightline.studies.generalising import validity

        return validity.table(self)

    def sentences(self: Any) -> list[Any]:
        """What the study found, in words, each with its figures; see `validity.sentences`."""
        from sightline.studies.generalising import validity

        found: list[Any] = validity.sentences(self)
        return found

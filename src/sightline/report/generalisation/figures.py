"""The figures of a study, computed once for all parts of its page, and the order in which models are shown."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sightline.studies.generalising import parts, statistics, validity
from sightline.studies.generalising.reading import MEASURES, Generalisation

if TYPE_CHECKING:
    import polars

    from sightline.studies.generalising.statistics import Curves

RESAMPLES = 2000


@dataclass(frozen=True)
class View:
    """What is looked at: the maps of a method, a fill, a mode and a measure; `label` is how a reader tells it apart."""

    method: str
    fill: str
    mode: str
    measure: str
    label: str


class Figures:
    """Derived tables of a run, each computed when it is first asked for.

    Args:
        study: The run.
        resamples: Of every interval.
    """

    def __init__(self, study: Generalisation, *, resamples: int = RESAMPLES) -> None:
        self.study, self.resamples = study, resamples
        self._kept: dict[tuple[str, View, str | None], Any] = {}

    @cached_property
    def views(self) -> list[View]:
        """The first fill and mode with each method and measure; then other fills and modes with the first measure.

        The first is what the page speaks of unless it says otherwise.
        """
        study, first = self.study, self.study.measure
        known = [first, *(m for m in MEASURES if m != first and (m != "accuracy" or self._truths))]
        asked = [(m, study.fills[0], study.modes[0], measure) for measure in known for m in study.methods]
        asked += [(m, f, mode, first) for f in study.fills for mode in study.modes for m in study.methods]
        asked = sorted(dict.fromkeys(asked), key=lambda one: study.methods.index(one[0]))
        return [View(*one, self._label(*one)) for one in asked]

    @cached_property
    def main(self) -> View:
        """The first view."""
        return self.views[0]

    @cached_property
    def by_method(self) -> list[View]:
        """The first view of each method, under the method's name."""
        found = {view.method: view for view in reversed(self.views) if self._plain(view)}
        return [found[method] for method in self.study.methods]

    @cached_property
    def conditions(self) -> list[View]:
        """All views of the first measure: each method, fill and mode."""
        return [view for view in self.views if view.measure == self.study.measure]

    def _plain(self, view: View) -> bool:
        study = self.study
        return (view.fill, view.mode, view.measure) == (study.fills[0], study.modes[0], study.measure)

    @cached_property
    def _truths(self) -> bool:
        """Whether what is right is known to every model."""
        return self.study.measure == "accuracy"

    def _label(self, method: str, fill: str, mode: str, measure: str) -> str:
        """The method, and the rest where the study has more than one of it."""
        parts = [method, measure]
        parts += [f"{mode} the top pixels"] if len(self.study.modes) > 1 else []
        parts += [f"fill {fill}"] if len(self.study.fills) > 1 else []
        return ", ".join(parts)

    def curves(self, view: View) -> "Curves":
        """See `Generalisation.curves`."""
        ask: Any = self.study.curves
        found: Curves = self._get("curves", view, lambda v: ask(v.method, fill=v.fill, mode=v.mode, measure=v.measure))
        return found

    def index(self, view: View) -> "polars.DataFrame":
        """See `statistics.index`."""
        return self._table("index", view, statistics.index)

    def groups(self, view: View, factor: str | None = None) -> "polars.DataFrame":
        """See `statistics.groups`."""
        return self._table("groups", view, statistics.groups, factor)

    def effects(self, view: View) -> "polars.DataFrame":
        """See `statistics.factor_effects`."""
        return self._table("effects", view, statistics.factor_effects)

    def asymmetry(self, view: View, factor: str | None = None) -> "polars.DataFrame":
        """See `statistics.asymmetry`."""
        return self._table("asymmetry", view, statistics.asymmetry, factor)

    def controls(self, view: View) -> "polars.DataFrame":
        """See `statistics.control_table`."""
        return self._table("controls", view, statistics.control_table)

    def agreement(self, view: View) -> "polars.DataFrame":
        """See `statistics.agreement`."""
        rows = self.study.similarity_rows()
        make = lambda curves, **more: statistics.agreement(curves, rows, method=view.method, **more)  # noqa: E731
        return self._table("agreement", view, make)

    @cached_property
    def similarity(self) -> "polars.DataFrame | None":
        """See `statistics.similarity_groups`; None where maps were not compared."""
        rows = self.study.similarity_rows()
        if not len(rows):
            return None
        return statistics.similarity_groups(rows, self.study.factors, resamples=self.resamples)

    @cached_property
    def similarity_pairs(self) -> "polars.DataFrame":
        """See `statistics.similarity_pairs`."""
        rows = self.study.similarity_rows()
        return statistics.similarity_pairs(rows, self.study.factors, resamples=self.resamples)

    @cached_property
    def parts(self) -> "polars.DataFrame":
        """See `parts.table`."""
        return parts.table(self.study, resamples=self.resamples)

    @cached_property
    def part_differences(self) -> "polars.DataFrame":
        """See `parts.differences`."""
        return parts.differences(self.study, resamples=self.resamples)

    def _table(
        self, what: str, view: View, make: Callable[..., "polars.DataFrame"], factor: str | None = None
    ) -> "polars.DataFrame":
        given = {} if factor is None else {"factor": factor}
        return self._get(what, view, lambda v: make(self.curves(v), resamples=self.resamples, **given), factor)  # type: ignore[no-any-return]

    def _get(self, what: str, view: View, make: Callable[[View], Any], factor: str | None = None) -> Any:
        key = (what, view, factor)
        if key not in self._kept:
            self._kept[key] = make(view)
        return self._kept[key]

    @cached_property
    def factors(self) -> list[str]:
        """Factors that tell models apart: the one that lowers the index most first; those without a rank last."""
        study = self.study
        varied = [f for f in study.factor_names if len({study.factors[m][f] for m in study.members}) > 1]
        if len(study.members) < 3:
            return varied
        ranks = {row["factor"]: row["rank"] for row in self.effects(self.main).iter_rows(named=True)}
        return sorted(varied, key=lambda f: (ranks.get(f) is None, ranks.get(f) or 0))

    @cached_property
    def members(self) -> list[str]:
        """Models, those with the same value of the first factor together, within them of the second, and so on."""
        study = self.study
        seen = {f: list(dict.fromkeys(study.factors[m][f] for m in study.members)) for f in self.factors}
        return sorted(study.members, key=lambda m: [seen[f].index(study.factors[m][f]) for f in self.factors])

    def number(self, member: str) -> str:
        """The number by which the page calls a model where there is no room for its name."""
        return str(self.members.index(member) + 1)

    def group(self, member: str) -> str:
        """The value of the first factor: which models stand together; "" where that parts nothing."""
        if not self.factors:
            return ""
        values = {self.study.factors[m][self.factors[0]] for m in self.members}
        if len(values) == len(self.members):
            return ""
        return f"{self.factors[0]}: {self.study.factors[member][self.factors[0]]}"

    @cached_property
    def trust(self) -> "polars.DataFrame":
        """See `validity.table`."""
        return validity.table(self.study)

    @cached_property
    def findings(self) -> list[validity.Finding]:
        """See `validity.findings`."""
        return validity.findings(self.study)

    @cached_property
    def sentences(self) -> list[validity.Sentence]:
        """See `validity.sentences`."""
        return validity.sentences(self.study, self.findings)

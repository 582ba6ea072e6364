"""How alike maps are, by what models differ in, and whether models with similar maps serve each other."""

from typing import Any

from sightline.report.bars import Bars, Line, axis_of
from sightline.report.benchmark import wording
from sightline.report.benchmark.plots import padded
from sightline.report.chart import Axis, Chart, Charts, Series
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Choice, Fold, Section, Table

FIRST = "spearman"
_NAMES = {"nothing": "no factor"}
_LEAD = (
    "Maps of two models of the same image, after each model's mean map over all images is taken off: without that, the "
    "layout that all images share is alike by itself. Similar maps are no proof that pixels carry over, so both are "
    "set against each other."
)


def of_similarity(figures: Figures) -> Section | None:
    """Bars, a cloud of pairs, and the rank correlation of the two; None where maps were not compared."""
    if figures.similarity is None:
        return None
    options = [(view.label, _of_view(figures, view)) for view in figures.by_method]
    return Section(title="Similar maps", lead=_LEAD, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View) -> list[Block]:
    assert figures.similarity is not None  # noqa: S101 - the section is left away then
    rows = figures.similarity.filter(method=view.method)
    lines = [_line(r) for r in rows.filter(measure=FIRST).iter_rows(named=True)]
    bars = Bars(
        title=f"How alike maps are, {view.method}",
        axis=axis_of("Spearman's rank correlation, mean over images and pairs", lines, 0, 1),
        lines=lines,
        marks=[(0.0, "not alike")],
        note="Interval over images and models. Chance: one model's map against the other's of another image.",
    )
    blocks: list[Block] = [bars, *_against(figures, view)]
    return [*blocks, Fold(title="All measures of similarity", blocks=[_table(rows.iter_rows(named=True))])]


def _line(row: dict[str, Any]) -> Line:
    counts = f"{wording.many(row['pairs'], 'pair')} of {wording.many(row['models'], 'model')}"
    raw = f"with the mean map {words.told(row, 'raw', 'raw_low', 'raw_high')}"
    return Line(
        name=words.differing(row["differs"]),
        value=row["value"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "value"),
        note=words.joined([counts, raw, f"chance {words.number(row['chance'])}", row["note"] or ""]),
        faint=words.spans(row["low"], row["high"]),
    )


def _against(figures: Figures, view: View) -> list[Block]:
    """Similarity against the symmetrised index, and their rank correlation."""
    index = {(r["source"], r["target"]): r["g"] for r in figures.index(view).iter_rows(named=True)}
    groups: dict[str, list[tuple[float, float, str]]] = {}
    for r in figures.similarity_pairs.filter(method=view.method, measure=FIRST).iter_rows(named=True):
        both = [index.get((r["a"], r["b"])), index.get((r["b"], r["a"]))]
        if words.known(r["value"]) and all(words.known(g) for g in both):
            g = sum(both) / 2  # type: ignore[arg-type]
            said = f"{r['a']} and {r['b']}: similarity {r['value']:.2f}, G {g:.2f}"
            groups.setdefault(_NAMES.get(r["differs"], r["differs"]), []).append((r["value"], g, said))
    if not groups:
        return []
    points = [point for some in groups.values() for point in some]
    xs, ys = padded(*_ends([p[0] for p in points])), padded(*_ends([p[1] for p in points]))
    series = [
        Series(name=name, x=[p[0] for p in some], y=[p[1] for p in some], labels=[p[2] for p in some], picked=True)
        for name, some in groups.items()
    ]
    agreement = figures.agreement(view)
    first = agreement.filter(measure=FIRST).to_dicts()[0]
    found = f"rho = {words.told(first, 'rho')}, {words.probability(first['p'])} (Mantel, {first['pairs']} pairs)"
    text = f"Over pairs of models, Spearman's {found}." if words.known(first["rho"]) else f"{first['note']}."
    chart = Chart(
        title="Do models with similar maps serve each other? Colours: what they differ in",
        alt=f"A cloud of {len(points)} pairs of models: G over similarity. {text}",
        form="cloud",
        x=Axis(label="Spearman's correlation of the maps (mean map taken off)", low=xs[0], high=xs[1]),
        y=Axis(label="G, mean of both directions", low=ys[0], high=ys[1]),
        series=series,
    )
    lines = [
        [r["measure"].replace("_raw", ", with the mean map"), words.told(r, "rho"), words.probability(r["p"]),
         str(r["pairs"]), r["note"] or ""]
        for r in agreement.iter_rows(named=True)
    ]  # fmt: skip
    table = Table(
        caption="Rank correlation of similarity and G over pairs of models",
        columns=["measure", "rho [95 %]", "p", "pairs", "note"],
        rows=lines,
        text_columns=[4],
        note="p of a Mantel test, which relabels the models; interval over images and models.",
    )
    return [Charts(items=[chart], text=text), Fold(title="With other measures of similarity", blocks=[table])]


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _table(rows: Any) -> Table:
    lines = [
        [r["measure"], words.differing(r["differs"]), words.told(r, "value"),
         words.told(r, "raw", "raw_low", "raw_high"), words.number(r["chance"]), str(r["pairs"]), str(r["models"])]
        for r in rows
    ]  # fmt: skip
    return Table(
        caption="Similarity of maps, by measure and by what differs",
        columns=["measure", "models that", "mean map off [95 %]", "with it [95 %]", "chance", "pairs", "models"],
        rows=lines,
        text_columns=[1],
    )

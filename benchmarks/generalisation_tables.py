"""Figures of a generalisation study as Markdown: `python benchmarks/generalisation_tables.py RUN`.

Everything is computed from the run's rows: how good the models are, G by what models differ in, what each factor takes
off, asymmetry between values of a factor, controls, how alike maps are, the controls of the rule, and the sentences.
"""

import argparse
from pathlib import Path

import polars as pl

from sightline.studies.generalising import Generalisation


def number(value: object, digits: int = 2) -> str:
    """A number for a table; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def between(row: dict[str, object], value: str, low: str = "low", high: str = "high", digits: int = 2) -> str:
    """A value with its interval."""
    if row[value] is None or row[low] is None:
        return number(row[value], digits)
    return f"{number(row[value], digits)} [{number(row[low], digits)}, {number(row[high], digits)}]"


def table(head: list[str], lines: list[list[str]]) -> None:
    """Print a table of Markdown."""
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def models(found: Generalisation) -> None:
    """How often each model is right on the unaltered images."""
    known = found.decisions().filter(status="ok").drop_nulls("truth")
    rows = known.group_by("model").agg((pl.col("decision") == pl.col("truth")).mean().alias("right"), pl.len())
    table(
        ["model", "right", "images"],
        [[r["model"], number(r["right"], 3), str(r["len"])] for r in rows.sort("model").iter_rows(named=True)],
    )


def carried(found: Generalisation, method: str) -> None:
    """G by what differs, and by each factor."""
    rows = list(found.groups(method=method).iter_rows(named=True))
    table(
        ["models differ in", "G", "ordered pairs", "note"],
        [[r["differs"], between(r, "g"), str(r["pairs"]), r["note"] or ""] for r in rows],
    )
    lines = []
    for r in found.factor_effects(method).iter_rows(named=True):
        tested = [number(r["p"], 4), number(r["p_holm"], 4), number(r["p_least"], 4)]
        same = [number(r["same"]), number(r["different"])]
        lines.append([r["factor"], between(r, "effect"), *same, *tested, number(r["first"]), r["note"] or ""])
    table(["factor", "takes off", "G same", "G different", "p", "Holm", "least p", "first", "note"], lines)


def sides(found: Generalisation, method: str) -> None:
    """Asymmetry between values of factors, and how many pairs of models are uneven."""
    lines = []
    for factor in found.factor_names:
        for r in found.asymmetry(factor, method=method).iter_rows(named=True):
            ways = [number(r["g_ab"]), number(r["g_ba"])]
            lines.append([factor, r["a"], r["b"], *ways, between(r, "difference"), number(r["p_holm"], 4)])
    table(["factor", "a", "b", "a to b", "b to a", "difference", "Holm"], lines)
    pairs = found.asymmetry(method=method).drop_nulls("p_holm")
    print(f"\nUneven pairs of models (Holm, 5 %): {int((pairs['p_holm'] < 0.05).sum())} of {len(pairs)}.")


def controls(found: Generalisation, method: str) -> None:
    """What a model's own pixels are worth beyond each control's, means over the models, and G of the controls."""
    rows = found.control_table(method).filter(pl.col("target").is_null())
    index = found.index(method).filter(kind="control").group_by("source").agg(pl.col("g").mean())
    g = dict(index.iter_rows())
    table(
        ["control", "own pixels' area beyond it", "mean G of the control"],
        [
            [r["control"], between(r, "excess", digits=3), number(g.get(r["control"]))]
            for r in rows.iter_rows(named=True)
        ],
    )


def alike(found: Generalisation, method: str) -> None:
    """How alike maps are, with and without the mean map, and how that goes with G."""
    rows = found.similarity_groups().filter(method=method, measure="spearman")
    table(
        ["models differ in", "Spearman, mean map off", "as they are", "other images", "pairs"],
        [
            [r["differs"], between(r, "value"), number(r["raw"]), number(r["chance"]), str(r["pairs"])]
            for r in rows.iter_rows(named=True)
        ],
    )
    for r in found.agreement(method).iter_rows(named=True):
        p = "" if r["p"] is None else f", p = {r['p']:.4f}"
        print(f"\nSimilarity ({r['measure']}) against G over {r['pairs']} pairs: rho {between(r, 'rho')}{p}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    found = Generalisation(parser.parse_args().run)
    print(f"{len(found.members)} models, {len(found.images)} images, measure {found.measure}")
    models(found)
    for method in found.methods:
        print(f"\n## {method}")
        for tell in (carried, sides, controls, alike):
            tell(found, method)
    print("\n## Validity\n")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=250, fmt_str_lengths=60):
        print(found.validity())
    print("\n## Sentences\n")
    for sentence in found.sentences():
        print(f"- {sentence.text}")


if __name__ == "__main__":
    main()

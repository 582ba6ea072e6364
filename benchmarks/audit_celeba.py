"""Does the published finding hold on networks trained here? Two audits on CelebA, beside the published table.

    python benchmarks/audit_celeba.py CELEBA runs/attributes/unbalanced runs/attributes/balanced --out runs/audit

Audits the test part (resumable; minutes a network), then prints Markdown: means by how rare the rarer answer is, with
95 % intervals over images, and the 40 rows. Published: Zhang, Bieri, Guenther 2024 (arXiv 2403.14435) as re-run from
their code and weights, `benchmarks/published/affact.csv`; these are ResNet-50s at 224 px on 10,458 frontal faces, and
their layer is the one before the last ReLU. `--lrp 48` adds LRP at the pixels for the first 48 images.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import polars as pl

import sightline as sl
from sightline.data import annotations
from sightline.studies.auditing import Audit, audit
from sightline.studies.auditing.errors import errors
from sightline.studies.auditing.evidence import dense
from sightline.studies.statistics.intervals import drawn_ratios, ends

GROUPS = ("Male", "Young")
CLASSES = (("under 10 %", 0.0, 0.1), ("10 to 25 %", 0.1, 0.25), ("25 to 51 %", 0.25, 0.52))
VIEWS = (("grad-cam", "before"), ("hires-cam", "before"), ("grad-cam++", "before"), ("grad-cam", "after"))
PUBLISHED = Path(__file__).with_name("published") / "affact.csv"


def audited(path: Path, records: annotations.Records, out: Path, lrp: int) -> tuple[Audit, Audit | None]:
    model = sl.load(str(path))
    found = audit(model, records, out=out / path.name, name=path.name, groups=GROUPS, announce=print)
    if not lrp:
        return found, None
    some = audit(
        model, records, out=out / f"{path.name}-lrp", methods=["lrp"], limit=lrp, name=path.name, announce=print
    )
    return found, some


def part(found: Audit, *, frontal: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decisions and maps, of frontal faces if so asked."""
    kept = found.images().filter(pl.col("status") == "ok")
    kept = kept.filter(pl.col("frontal")) if frontal else kept
    return tuple(f.join(kept.select("image_index"), on="image_index") for f in (found.decisions(), found.maps()))


def sides(
    maps: pl.DataFrame, names: list[str], rare: dict[str, str], method: str, layer: str
) -> dict[str, tuple[np.ndarray, ...]]:
    """Minority and majority (predicted) -> PE and empty rate: value (A,) and resamples (r, A)."""
    of = dense(maps.filter(pl.col("method") == method, pl.col("layer") == layer), names)
    few = np.array([1 if rare[name] == "yes" else -1 for name in names])
    found = {}
    for side, sign in (("minority", few), ("majority", -few)):
        chosen = ((of.sign == sign) & ~np.isnan(of.pe)).astype(float)
        pe = drawn_ratios(np.nan_to_num(of.pe) * chosen, chosen, resamples=1000, seed=0)
        empty = drawn_ratios(of.empty * chosen, chosen, resamples=1000, seed=0)
        found[side] = (*pe, *empty)
    return found


def mean(value: np.ndarray, drawn: np.ndarray, pick: list[int]) -> str:
    """The mean over attributes with its interval over images."""
    low, high = ends(np.nanmean(drawn[:, pick], axis=1)[:, None])
    return f"{np.nanmean(value[pick]):.3f} [{low[0]:.3f}, {high[0]:.3f}]"


def published() -> dict[str, dict[str, float]]:
    with PUBLISHED.open() as file:
        return {
            row["attribute"]: {k: float(v) for k, v in row.items() if k not in ("attribute", "region")}
            for row in csv.DictReader(file)
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba")
    parser.add_argument("runs", nargs=2, type=Path, help="the unbalanced and the balanced network")
    parser.add_argument("--out", type=Path, default=Path("runs/audit"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--lrp", type=int, default=0)
    parser.add_argument("--frontal", action="store_true", help="frontal faces only, as published")
    options = parser.parse_args()
    records = annotations.celeba(options.celeba, part="test")[: options.limit]
    told = published()
    studies = [audited(path, records, options.out, options.lrp) for path in options.runs]
    first = studies[0][0]
    names = [n for n in first.errors()["attribute"] if n in told]
    rates = first.manifest["training_rates"]
    rare = {n: "yes" if rates[n] < 0.5 else "no" for n in names}
    picks = {
        label: [i for i, n in enumerate(names) if low <= min(rates[n], 1 - rates[n]) < high]
        for label, low, high in CLASSES
    }
    rows: dict[str, dict[str, list[str]]] = {}
    lines: dict[str, list[str]] = {n: [f"{rates[n]:.3f}", f"{told[n]['area']:.3f}"] for n in names}
    for (found, lrp), letter in zip(studies, "ub", strict=True):
        decisions, maps = part(found, frontal=options.frontal)
        e = {r["attribute"]: r for r in errors(decisions, names, rates, resamples=50).iter_rows(named=True)}
        b = {(r["attribute"], r["side"]): r for r in found.bias().iter_rows(named=True)}
        wrong = {
            "minority": np.array([e[n]["minority_error"] for n in names], float),
            "majority": np.array([e[n]["majority_error"] for n in names], float),
        }
        views = [(*view, maps) for view in VIEWS] + ([("lrp", "pixels", lrp.maps())] if lrp else [])
        seen = {(m, layer): sides(frame, names, rare, m, layer) for m, layer, frame in views}
        for label, pick in picks.items():
            box = rows.setdefault(label, {})
            for side in ("minority", "majority"):
                fnr = [
                    told[n][f"{'fnr' if (rare[n] == 'yes') == (side == 'minority') else 'fpr'}_{letter}"]
                    for n in np.array(names)[pick]
                ]
                box[f"error, {side}, {letter}"] = [f"{np.nanmean(wrong[side][pick]):.3f}", f"{np.mean(fnr):.3f}"]
                for (method, layer), values in seen.items():
                    pe, pe_drawn, empty, empty_drawn = values[side]
                    key = {"grad-cam": "gradcam", "hires-cam": "hirescam"}.get(method)
                    answer = ["yes" if (rare[n] == "yes") == (side == "minority") else "no" for n in names]
                    theirs = (
                        [told[names[i]][f"{key}_{letter}_{answer[i]}"] for i in pick]
                        if key and layer == "before"
                        else None
                    )
                    box[f"PE, {method} {layer}, {side}, {letter}"] = [
                        mean(pe, pe_drawn, pick),
                        f"{np.mean(theirs):.3f}" if theirs else "",
                    ]
                    box[f"empty maps, {method} {layer}, {side}, {letter}"] = [mean(empty, empty_drawn, pick), ""]
                answer = {n: rare[n] if side == "minority" else {"yes": "no", "no": "yes"}[rare[n]] for n in names}
                for share in ("share_bias", "share_common"):
                    values = [b[names[i], answer[names[i]]][share] for i in pick]
                    box[f"{share}, {side}, {letter} (median)"] = [
                        f"{np.median([v for v in values if v is not None]):.3f}",
                        "",
                    ]
            box["chance (area)"] = [f"{np.mean([told[names[i]]['area'] for i in pick]):.3f}"] * 2
        for i, n in enumerate(names):
            t = told[n]
            lines[n] += [f"{e[n][k]:.3f} ({t[f'{k.lower()}_{letter}']:.3f})" for k in ("FNR", "FPR")]
            for method, key in (("grad-cam", "gradcam"), ("hires-cam", "hirescam")):
                both = {rare[n]: "minority", {"yes": "no", "no": "yes"}[rare[n]]: "majority"}
                lines[n] += [
                    f"{seen[method, 'before'][both[s]][0][i]:.3f} ({t[f'{key}_{letter}_{s}']:.3f})"
                    for s in ("yes", "no")
                ]
    shown = f"{len(first.images().filter(pl.col('status') == 'ok')):,} images" + (
        ", frontal ones only" if options.frontal else ""
    )
    print(f"\n{shown}; u unbalanced, b balanced; here | published\n")
    print("| | " + " | ".join(f"{label} ({len(picks[label])}) | published" for label in rows) + " |")
    print("|---" * (1 + 2 * len(rows)) + "|")
    for what in next(iter(rows.values())):
        print(f"| {what} | " + " | ".join(" | ".join(rows[label][what]) for label in rows) + " |")
    heads = [f"{k} {x}" for x in "ub" for k in ("FNR", "FPR", "GC yes", "GC no", "HR yes", "HR no")]
    print("\n| attribute | rate | area | " + " | ".join(heads) + " |\n" + "|---" * (3 + len(heads)) + "|")
    for n in names:
        print(f"| {n.replace('_', ' ')} | " + " | ".join(lines[n]) + " |")


if __name__ == "__main__":
    main()

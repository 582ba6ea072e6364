"""What failed, what was asked, and under which protocol."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.report.benchmark import wording
from sightline.report.benchmark.results import Results
from sightline.report.page import Block, Callout, Section, Table

_LINES = 100
_STATUSES = {
    "empty": "the map has no energy",
    "flat": "the map is the same everywhere",
    "undefined": "the formula has no value",
    "refused": "a precondition is not met",
    "error": "the method or the metric raised an error",
}


def failures(results: Results) -> Section:
    """Rows without a value that counts, grouped by what happened."""
    import polars as pl

    rows = results.rows
    bad = rows.filter(pl.col("status") != "ok")
    if bad.is_empty():
        text = f"None: all {len(rows):,} rows have a value that counts."
        return Section(title="Failures", blocks=[Callout(text=text, tone="finding")])
    rank = {status: i for i, status in enumerate(("error", "refused", "undefined", "empty", "flat"))}
    grouped = (
        bad.with_columns(pl.col("error").fill_null(""))
        .group_by("status", "model", "method", "error")
        .agg(
            pl.len(),
            pl.col("metric").unique().sort(),
            pl.col("image").n_unique().alias("images"),
            pl.col("image").min(),
        )
        .with_columns(pl.col("status").replace_strict(rank, default=9).alias("rank"))
        .sort("rank", "len", "model", "method", "error", descending=[False, True, False, False, False])
    )
    lines = [
        [
            group["method"],
            group["model"],
            group["status"],
            f"{group['len']:,}",
            f"{group['images']:,}",
            wording.listed(group["metric"], most=3) if len(group["metric"]) < len(results.metrics) else "all",
            group["error"] or _STATUSES.get(group["status"], ""),
            group["image"],
        ]
        for group in grouped.head(_LINES).iter_rows(named=True)
    ]
    left = len(grouped) - len(lines)
    table = Table(
        caption="Rows that are not part of any mean",
        columns=["method", "model", "status", "rows", "images", "metrics", "why", "for example"],
        rows=lines,
        text_columns=[1, 2, 5, 6, 7],
        sort=["words", "words", "words", "up", "up", "words", "words", "words"],
        controls=[i for i, line in enumerate(lines) if results.methods[line[0]].control],
        note=f"And {wording.many(left, 'group')} more, in the rows of the run." if left > 0 else "",
    )
    share = f"{len(bad):,} of {len(rows):,} rows ({100 * len(bad) / len(rows):.2g} %)"
    return Section(
        title="Failures",
        lead=f"{share} have no value that counts. They are counted, never averaged in.",
        blocks=[table],
    )


def line(results: Results, model: str | None = None) -> str:
    """The protocol in one line, as it stands under every table."""
    manifest = results.manifest
    parts = [f"{name.replace('_', ' ')} {wording.value(entry)}" for name, entry in manifest.get("protocol", {}).items()]
    if model is not None and isinstance(
        fingerprint := manifest.get("models", {}).get(model, {}).get("fingerprint"), str
    ):
        parts.insert(0, f"weights {fingerprint}")
    if "seed" in manifest:
        parts.append(f"seed {manifest['seed']}")
    return f"Protocol: {'; '.join(parts)}."


def asked(results: Results) -> Section:
    """Models, methods, metrics, data, protocol and versions, as the manifest has them."""
    manifest = results.manifest
    blocks: list[Block] = [
        _two("Protocol", "switch", manifest.get("protocol", {})),
        _two("Data", "entry", manifest.get("data", {})),
        *(_two(f"Model {name}", "entry", entry) for name, entry in manifest.get("models", {}).items()),
        Table(
            caption="Methods",
            columns=["method", "kind", "forward passes", "settings"],
            rows=[
                [m.label, "control" if m.control else "method", wording.value(m.forwards), wording.settings(m.settings)]
                for m in results.methods.values()
            ],
            text_columns=[1, 3],
            controls=[i for i, m in enumerate(results.methods.values()) if m.control],
            note="Forward passes an explanation.",
        ),
        Table(
            caption="Metrics",
            columns=["metric", "family", "better", "range", "what it is", "settings"],
            rows=[
                [
                    m.label, m.family, "greater" if m.better > 0 else "less", _span(*m.range),
                    m.summary, wording.settings(m.settings),
                ]
                for m in results.metrics.values()
            ],
            text_columns=[1, 2, 4, 5],
        ),
        _two("Versions", "library", manifest.get("versions", {})),
    ]  # fmt: skip
    return Section(
        title="Protocol",
        lead="What was asked of what. Numbers under another value of any of these do not belong into one column.",
        blocks=[block for block in blocks if not isinstance(block, Table) or block.rows],
    )


def _two(caption: str, first: str, entries: Mapping[str, Any]) -> Table:
    rows: Sequence[Sequence[str]] = [[name.replace("_", " "), wording.value(entry)] for name, entry in entries.items()]
    return Table(caption=caption, columns=[first, "value"], rows=rows, text_columns=[1])


def _span(low: float, high: float) -> str:
    """From which value to which one; an end that is not finite is none."""
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:g} to {high:g}"
    return f"{low:g} and more" if math.isfinite(low) else f"{high:g} and less" if math.isfinite(high) else "any number"

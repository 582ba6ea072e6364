"""What could not be read, and the protocol."""

from collections import Counter
from typing import Any

from sightline.report.benchmark import wording
from sightline.report.page import Block, Callout, Section, Table
from sightline.studies.auditing import Audit
from sightline.studies.auditing.findings import described

_LINES = 200


def of_failures(audit: Audit) -> Section:
    """Images that take no part, and what is unknown of the others."""
    import polars as pl

    images, errors = audit.images(), audit.errors()
    bad, blocks = images.filter(pl.col("status") != "ok"), list[Block]()
    if bad.is_empty():
        blocks.append(Callout(text=f"All {len(images):,} images could be read.", tone="finding"))
    else:
        rows = [[r["image"], r["error"] or r["status"]] for r in bad.head(_LINES).iter_rows(named=True)]
        note = f"The first {_LINES} of {len(bad):,}." if len(bad) > _LINES else ""
        blocks.append(
            Table(
                caption="Images that could not be read",
                columns=["image", "why"],
                rows=rows,
                text_columns=[1],
                note=note,
            )
        )
    missing = [f"{r['attribute'].replace('_', ' ')}: {r['note']}" for r in errors.iter_rows(named=True) if r["note"]]
    if missing:
        text = "What follows from images whose truth is unknown, or that are all of one kind:"
        blocks.append(Callout(title="Not known, or not defined", text=text, items=missing, tone="note"))
    refused = _refused(audit)
    if refused:
        text = "Maps of images in which the region is not known or not visible are left out of the energies:"
        blocks.append(Callout(title="Regions that are not known", text=text, items=refused, tone="note"))
    lead = f"{len(bad):,} of {len(images):,} images take no part." if len(bad) else ""
    return Section(title="What could not be read", lead=lead, blocks=blocks)


def _refused(audit: Audit) -> list[str]:
    evidence = audit.evidence()
    if "refused" not in evidence.columns:
        return []
    found: Counter[str] = Counter()
    first = evidence.filter(outcome="all").unique(["attribute", "side"], keep="first", maintain_order=True)
    for line in first.iter_rows(named=True):
        found[line["attribute"]] += line["refused"] or 0
    return [f"{name.replace('_', ' ')}: {wording.many(n, 'image')}" for name, n in found.items() if n]


def of_protocol(audit: Audit) -> Section:
    """What was asked, and the limits of the findings."""
    manifest: dict[str, Any] = audit.manifest
    settings = manifest["settings"]
    parts = {
        "Protocol": manifest["protocol"],
        "Limits of the findings": described(),
        "Regions": {k: v or "none" for k, v in settings.get("regions_of", {}).items()},
        "How z is read": settings.get("attributes", {}),
        "Layers": settings.get("layers", {}),
        "Head": {k: v for k, v in manifest.get("head", {}).items() if k != "bias" and v != ""},
        "Model": settings["model"],
        "Data": manifest["data"],
        "Versions": manifest["versions"],
    }
    blocks: list[Block] = [
        Table(
            caption=caption,
            columns=["entry", "value"],
            rows=[[str(name).replace("_", " "), wording.value(_listed(entry))] for name, entry in entries.items()],
            text_columns=[1],
        )
        for caption, entries in parts.items()
        if entries
    ]
    lead = "The limits are conventions: others sort the same figures anew, without any new pass."
    return Section(title="Protocol", lead=lead, blocks=blocks)


def _listed(entry: Any) -> Any:
    return list(entry) if isinstance(entry, tuple) else entry

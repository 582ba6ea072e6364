"""What was found, in sentences with pictures: the first thing on the page, and the only one that some will read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightline.report.audit.pictures import Pictures
from sightline.report.benchmark import wording
from sightline.report.page import Block, Callout, Choice, Figures, Section, Table
from sightline.studies.auditing import Audit
from sightline.studies.auditing._sentences import percent
from sightline.studies.auditing.kinds import KINDS
from sightline.studies.auditing.thresholds import Thresholds

if TYPE_CHECKING:
    import polars

WITH_PICTURES = 8
"""Attributes whose findings stand with pictures; the others follow in a list."""
_SEVERITY = {1: "notable", 2: "serious", 3: "grave"}
_DRAWN = {
    "bias-decides",
    "common-evidence-decides",
    "majority-without-evidence",
    "evidence-outside-region",
    "shortcut",
    "companion-decides",
}
_GALLERY, _OTHERS, _WHOLE = 60, 10, 0.9


def of_findings(audit: Audit, pictures: Pictures) -> Section:
    """The findings, the gravest attribute first."""
    import polars as pl

    found = audit.findings()
    real, doubtful = found.filter(pl.col("severity") > 0), found.filter(pl.col("severity") == 0)
    blocks: list[Block] = [_summary(audit, real)]
    names = real["attribute"].unique(maintain_order=True).to_list()
    for name in names[:WITH_PICTURES]:
        blocks += _of_attribute(real.filter(attribute=name), name, pictures)
    if len(names) > WITH_PICTURES:
        blocks.append(_further(real.filter(pl.col("attribute").is_in(names[WITH_PICTURES:]))))
    if len(doubtful):
        items = [f"{_spoken(r)}: {r['sentence']}" for r in doubtful.iter_rows(named=True)]
        text = "The maps say so, and an experiment says otherwise. They count as no findings."
        blocks.append(Callout(title="Contradicted by an intervention", text=text, items=items, tone="note"))
    if len(real):
        blocks.append(_meaning(real))
    return Section(title="What was found", lead=_lead(), blocks=blocks)


def _lead() -> str:
    limits = Thresholds()
    return (
        "A finding is both large and more than chance: its effect reaches a stated limit, and all tests of this audit "
        f"together have at most a {percent(limits.alpha)} chance of a false one. Brackets are 95 % intervals."
    )


def _further(rest: "polars.DataFrame") -> Table:
    """Findings of the other attributes, an attribute's together."""
    lines = [
        [
            row["attribute"].replace("_", " "),
            KINDS[row["kind"]].title,
            f"{row['severity']} ({_SEVERITY[row['severity']]})",
            row["sentence"],
        ]
        for part in rest.partition_by("attribute", maintain_order=True)
        for row in part.iter_rows(named=True)
    ]
    return Table(
        caption="Findings of further attributes",
        columns=["attribute", "finding", "how grave", "in words"],
        rows=lines,
        text_columns=[1, 2, 3],
        sort=["words"] * 4,
    )


def _summary(audit: Audit, real: "polars.DataFrame") -> Callout:
    count = len(audit.attributes)
    missing = _not_asked(audit)
    if not len(real):
        text = (
            f"None of the tests on {wording.many(count, 'attribute')} shows an effect that is both large and more than "
            "chance. This does not prove that the classifier is sound: smaller effects, and what was not asked, remain "
            "possible."
        )
        return Callout(title="Nothing stands out", text=text, items=missing, tone="finding")
    names = real["attribute"].unique(maintain_order=True).to_list()
    worst = [f"{wording.many(n, 'finding')} {word}" for k, word in sorted(_SEVERITY.items(), reverse=True)
             if (n := int((real["severity"] == k).sum()))]  # fmt: skip
    spoken = [name.replace("_", " ") for name in names]
    text = f"On {len(names)} of {wording.many(count, 'attribute')}: {wording.listed(spoken, most=8)}. {_joined(worst)}."
    title = wording.many(len(real), "finding")
    return Callout(title=title, text=text, items=[*_by_kind(real), *missing], tone="warning")


def _by_kind(real: "polars.DataFrame") -> list[str]:
    """How many attributes have findings of each kind."""
    there = {name: part["attribute"].n_unique() for (name,), part in real.group_by("kind")}
    return [f"{kind.title}: {wording.many(there[name], 'attribute')}." for name, kind in KINDS.items() if name in there]


def _joined(parts: Sequence[str]) -> str:
    """`2 findings grave, 1 finding serious` -> `2 grave, 1 serious`."""
    return ", ".join(part.replace(" findings", "").replace(" finding", "") for part in parts)


def _not_asked(audit: Audit) -> list[str]:
    """What this audit cannot say, because it was not asked or nothing is known."""
    found = []
    if not len(audit.interventions()):
        found.append("No interventions were made, so nothing that maps say is confirmed by an experiment.")
    if not len(audit.groups()):
        found.append("No groups were named, so nothing is said about who bears the errors.")
    if whole := _everywhere(audit):
        found.append(
            f"The region of {wording.listed(whole, most=8)} is nearly the whole image: where it looks is open."
        )
    regions = audit.manifest["settings"].get("regions_of", {})
    without = [name.replace("_", " ") for name, region in regions.items() if region is None]
    if without:
        found.append(f"No region is known for {wording.listed(without, most=8)}: nothing is said of where they look.")
    if not audit.manifest.get("head", {}).get("affine", True):
        found.append(
            "The head of this network is not affine, so its bias is told apart from the evidence by layers only, and "
            "on some images only."
        )
    return found


def _everywhere(audit: Audit) -> list[str]:
    """Attributes whose region covers so much that any map lies in it."""
    import polars as pl

    frame = audit.evidence()
    if not len(frame):
        return []
    wide = frame.filter((pl.col("outcome") == "all") & (pl.col("chance") >= _WHOLE))
    return [name.replace("_", " ") for name in wide["attribute"].unique(maintain_order=True)]


def _spoken(row: Mapping[str, Any]) -> str:
    name = row["attribute"].replace("_", " ")
    return f"{name} ({_SEVERITY[row['severity']]})" if row["severity"] else name


def _of_attribute(rows: "polars.DataFrame", name: str, pictures: Pictures) -> list[Block]:
    lines = list(rows.iter_rows(named=True))
    items = [f"{KINDS[r['kind']].title}. {r['sentence']}" for r in lines[1:]]
    first = lines[0]
    title = f"{name.replace('_', ' ')}: {KINDS[first['kind']].title[0].lower()}{KINDS[first['kind']].title[1:]}"
    worst = _SEVERITY[max(r["severity"] for r in lines)]
    found: list[Block] = [
        Callout(title=f"{title} ({worst})", text=first["sentence"], items=items, tone="warning"),
    ]
    pair = pictures.pair(name)
    if pair and any(r["kind"] in _DRAWN or r["kind"] == "neglected-minority" for r in lines):
        method, layer = pictures.reference or ("", "")
        note = f"Mean map ({method}, layer {layer}) on the mean image, both on one scale; the outline is the region."
        found.append(Figures(items=pair, group=2, width=190, note=note))
    return found


def _meaning(real: "polars.DataFrame") -> Callout:
    there = set(real["kind"])
    items = [f"{kind.title}. {kind.meaning} {kind.advice}" for name, kind in KINDS.items() if name in there]
    return Callout(
        title="What these findings mean, and what may be done",
        text="What each kind of finding says, and a first step:",
        items=items,
        tone="note",
    )


def of_mean_maps(audit: Audit, pictures: Pictures) -> Section | None:
    """Mean maps of all attributes, for each method and layer."""
    evidence = audit.evidence()
    if not len(evidence) or pictures.face is None:
        return None
    pairs = evidence.select("method", "layer").unique(maintain_order=True).iter_rows()
    order = sorted(pairs, key=lambda pair: pair != pictures.reference)
    names = audit.errors()["attribute"].to_list()
    options: list[tuple[str, Sequence[Block]]] = []
    for method, layer in order:
        shown = names[: _OTHERS if options else _GALLERY]
        items = [figure for name in shown for figure in _whole(pictures.pair(name, method, layer))]
        if items:
            options.append((f"{method}, layer {layer}", [Figures(items=items, group=2, width=150)]))
    if not options:
        return None
    lead = "The mean of all maps of one decision on the mean image, the rarer answer on the left, the usual one on the "
    lead += "right, both on one scale of colours. White outline: the region."
    if len(options) > 1 and len(names) > _OTHERS:
        lead += f" Of further methods and layers, the {_OTHERS} attributes whose rarer side is rarest."
    return Section(title="Mean maps", lead=lead, blocks=[Choice(label="method", options=options)])


def _whole(pair: Sequence[Any]) -> Sequence[Any]:
    """Pairs only, so that two stay side by side."""
    return pair if len(pair) == 2 else []

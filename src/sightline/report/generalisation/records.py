"""The family, what could not be read, and the protocol."""

from typing import Any

from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures
from sightline.report.page import Block, Callout, Fold, Section, Table
from sightline.studies.statistics import wilson

_LINES = 200


def of_family(figures: Figures) -> Section:
    """Who is compared: factors, decision, accuracy, and what its own pixels are worth."""
    study = figures.study
    own = {r["target"]: r for r in figures.index(figures.main).iter_rows(named=True) if r["source"] == r["target"]}
    rows = [_member(figures, name, own[name]) for name in figures.members]
    factors = list(figures.factors)
    told = len(study.factor_names) - len(factors)
    table = Table(
        caption="The models, those alike in the first factor together",
        columns=["model", *factors, "decision explained", "accuracy [95 %]", "gain of its own pixels", "input"],
        rows=rows,
        text_columns=[*range(1, len(factors) + 2)],
        note="Accuracy on the unaltered images of the study, with Wilson's interval. Gain: area under the curve of its "
        f"own maps minus that of random pixels ({figures.main.label}); where it is nearly 0, nothing can be said of "
        "the model as a target." + (f" {told} factors are the same for all." if told else ""),
    )
    return Section(title="The family", blocks=[table])


def _member(figures: Figures, name: str, own: dict[str, Any]) -> list[str]:
    study = figures.study
    told = study.manifest["models"][name]
    decided = study.decisions().filter(model=name, status="ok")
    known = decided.filter(decided["truth"].is_not_null())
    right = int((known["decision"] == known["truth"]).sum())
    accuracy = "truth not known"
    if len(known):
        low, high = wilson(right, len(known))
        accuracy = f"{right / len(known):.3f} [{low:.3f}, {high:.3f}]"
    areas = words.known(own["area_own"]) and words.known(own["area_random"])
    gain = words.number(own["area_own"] - own["area_random"], 3) if areas else "-"
    values = [study.factors[name][f] for f in figures.factors]
    side = "x".join(str(v) for v in told.get("size", [])) or "-"
    return [f"{figures.number(name)} {name}", *values, str(told.get("target", "-")), accuracy, gain, side]


def of_failures(figures: Figures) -> Section:
    """Images that take no part, and why."""
    study = figures.study
    bad, total = study.errors(), study.manifest["data"]["images"]
    blocks: list[Block]
    if not len(bad):
        blocks = [Callout(text=f"Every model answered all {len(study.images):,} images.", tone="finding")]
    else:
        names = bad.select("image", "error").unique(maintain_order=True)
        models = bad.group_by("image", "error", maintain_order=True).agg(n="model")
        counts = {(r["image"], r["error"]): len(r["n"]) for r in models.iter_rows(named=True)}
        rows = [
            [r["image"], f"{counts[r['image'], r['error']]} of {len(study.members)}", r["error"] or "-"]
            for r in names.head(_LINES).iter_rows(named=True)
        ]
        note = f"The first {_LINES} of {len(names):,}. " if len(names) > _LINES else ""
        blocks = [
            Table(
                caption="Images without an answer",
                columns=["image", "models", "why"],
                rows=rows,
                text_columns=[2],
                note=f"{note}An image that one model cannot answer is left out for all, so that all see the same ones.",
            )
        ]
    left = total - len(study.images)
    lead = f"{left:,} of {total:,} images take no part." if left else ""
    if left and not len(bad):
        blocks = [
            Callout(text="They are not finished yet: this page was made of what is there so far.", tone="warning")
        ]
    return Section(title="What could not be read", lead=lead, blocks=blocks)


def of_protocol(figures: Figures) -> Section:
    """What was asked, and where the measures come from."""
    manifest: dict[str, Any] = figures.study.manifest
    blocks: list[Block] = [
        Callout(
            title="Whose measures these are",
            text="The question, and masking images by relevance to answer it, are those of Crawford, Margalit, "
            "Grill-Spector and Poltoratski (2020, arXiv 2006.16795), of whose protocol only the abstract is certain. "
            "The index G, its levels, fills, controls and tests are this project's own.",
        ),
        _entries("Protocol", manifest["protocol"]),
    ]
    parts = {
        "Methods": {
            m["label"]: {k: v for k, v in m.items() if k not in ("name", "label")} for m in manifest["methods"]
        },
        "Models": manifest["models"],
        "Data": manifest["data"],
        "Versions": manifest["versions"],
    }
    blocks += [Fold(title=name, blocks=[_entries(name, entries)]) for name, entries in parts.items() if entries]
    return Section(title="Protocol", blocks=blocks)


def _entries(caption: str, entries: dict[str, Any]) -> Table:
    rows = [[str(name).replace("_", " "), wording.value(entry)] for name, entry in entries.items()]
    return Table(caption=caption, columns=["entry", "value"], rows=rows, text_columns=[1])

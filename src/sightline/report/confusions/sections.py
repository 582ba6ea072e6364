"""The parts of the page: kinds, pairs, images, all errors, what failed, the protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sightline import picture, store
from sightline.errors import StorageError
from sightline.report.benchmark import wording
from sightline.report.page import Bar, Block, Callout, Choice, Estimate, Figure, Figures, Section, Table, Text
from sightline.studies.confusions import KINDS, Confusion

if TYPE_CHECKING:
    import polars

_SHOWN = 12  # images of a kind
_LINES = 500  # of a table: beyond that a page is slow
_SIDE = 168


def protocol(study: Confusion) -> str:
    """The protocol in one line, as it stands under every table."""
    parts = [f"{name} {wording.value(entry)}" for name, entry in study.manifest["protocol"].items()]
    return f"Protocol: {'; '.join(parts)}. Limits: {wording.settings(study.manifest['thresholds'])}."


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else wording.number(value, digits)


def of_kinds(study: Confusion, wrong: "polars.DataFrame") -> Section:
    """How many errors are of which kind, and whether the two maps agree more than any two do."""
    if wrong.is_empty():
        return Section(title="Kinds", blocks=[Callout(text="No image is misclassified.", tone="finding")])
    lines = list(study.kinds().iter_rows(named=True))
    rows: list[list[str | Bar | Estimate]] = [
        [
            line["kind"],
            f"{line['images']:,}",
            _share(line),
            *(_number(line[f"mean_{name}"]) for name in ("overlap", "overlap_control", "pearson")),
            *(_number(line[f"mean_{name}"]) for name in ("drop_predicted", "drop_true")),
            KINDS[line["kind"]],
        ]
        for line in lines
    ]
    names = ("overlap", "overlap, unrelated class", "Pearson", "drop of the predicted map", "drop of the true map")
    table = Table(
        caption="Kinds of confusion",
        columns=["kind", "images", "share", *names, "what it says"],
        rows=rows,
        text_columns=[8],
        note=f"Share of the errors with Wilson's 95 % interval; means over the images of a kind. {protocol(study)}",
    )
    return Section(
        title="Kinds",
        lead="Told by measurement, not by looking; each error's reason stands in the list of all errors.",
        blocks=[_agreement(study), table],
    )


def _share(line: dict[str, Any]) -> Estimate:
    low, high, share = line["low"], line["high"], line["share"]
    text = f"{100 * share:.0f} %"
    return Estimate(
        text=text, value=share, mean=share, low=low, high=high, detail=f"95 % interval {low:.1%} to {high:.1%}"
    )


def _agreement(study: Confusion) -> Callout:
    """Whether maps of the confused classes agree more than maps of unrelated ones do."""
    found = {line["figure"]: line for line in study.means().iter_rows(named=True)}
    own, other = found["overlap"], found["overlap_control"]

    def said(line: dict[str, Any]) -> str:
        if line["mean"] is None:
            return "not known"
        ends = "" if line["low"] is None else f" [{line['low']:.2f}, {line['high']:.2f}]"
        return f"{line['mean']:.2f}{ends}"

    keep = study.manifest["settings"]["keep"]
    text = (
        f"Mean overlap of the predicted and the true class's hottest {keep:.0%}: {said(own)}. With the map of an "
        f"unrelated class: {said(other)}; by chance {keep:.2f}. Brackets: 95 % interval over images."
    )
    if own["mean"] is None or other["mean"] is None:
        return Callout(title="How far the maps agree", text=text, tone="note")
    apart = own["low"] is not None and other["high"] is not None and own["low"] > other["high"]
    if apart:
        return Callout(title="The maps of confused classes agree more than those of unrelated ones", text=text)
    more = " The kinds that rest on overlap are not to be relied on with this method."
    return Callout(title="Maps of unrelated classes agree as much", text=text + more, tone="warning")


def of_pairs(study: Confusion) -> Section | None:
    """The confused pairs, sortable."""
    pairs = study.pairs()
    if pairs.is_empty():
        return None
    rows = [
        [
            f"{line['true_name']} → {line['predicted_name']}",
            str(line["count"]),
            str(line["of"]),
            str(line["reverse"]),
            _number(line["alike"]),
            _number(line["mean_overlap"]),
            _number(line["mean_pearson"]),
            _number(line["mean_lead"]),
            line["kinds"],
        ]
        for line in pairs.head(_LINES).iter_rows(named=True)
    ]
    table = Table(
        caption="True class → predicted class",
        columns=["pair", "errors", "of images", "other way", "cosine", "overlap", "Pearson", "lead", "kinds"],
        rows=rows,
        text_columns=[8],
        sort=["words", "up", "up", "up", "up", "up", "up", "up", "words"],
        note="Errors: images of the true class that got the predicted one, of how many images of the class; other way: "
        "images of the predicted class that got the true one. Cosine of the two classes in the head. Lead: probability "
        f"of the predicted class minus that of the true one. {_more(len(pairs))}{protocol(study)}",
    )
    return Section(title="Confused pairs", lead="Press a title to sort.", blocks=[table])


def _more(count: int) -> str:
    return f"The first {_LINES} of {count:,}. " if count > _LINES else ""


def of_images(study: Confusion, wrong: "polars.DataFrame") -> Section | None:
    """The surest errors of each kind with both maps side by side."""
    import polars as pl

    options: list[tuple[str, list[Block]]] = []
    for kind in KINDS:
        mine = wrong.filter(pl.col("pictures") & (pl.col("kind") == kind)).head(_SHOWN)
        items = [figure for row in mine.iter_rows(named=True) for figure in _three(study, row)]
        if items:
            counted = wording.many(len(wrong.filter(pl.col("kind") == kind)), "image")
            text = f"The surest {len(mine)} of {counted}: {KINDS[kind]}."
            options.append((kind, [Figures(items=items, title=kind, text=text, group=3, width=112)]))
    if wrong.is_empty():
        return None
    if not options:
        return Section(title="Images", blocks=[Text("The run kept no pictures.")])
    lead = "The image, the map of what was predicted, the map of what is true."
    return Section(title="Images", lead=lead, blocks=[Choice(label="kind", options=options)])


def _three(study: Confusion, row: dict[str, Any]) -> list[Figure]:
    folder, index = study.path / store.PICTURES, row["image_index"]
    method = store.slug(study.manifest["settings"]["method"])
    name, true, predicted = Path(row["image"]).name, row["true_name"], row["predicted_name"]
    found = [
        Figure(
            picture=_small(folder / f"{index}.jpg"),
            alt=f"Image {row['image']}, labelled {true}, classified as {predicted}.",
            title=name,
            caption=f"overlap {_number(row['overlap'])}, Pearson {_number(row['pearson'])}",
        )
    ]
    for role, title in (("predicted", predicted), ("true", true)):
        drop = _number(row[f"drop_{role}"])
        found.append(
            Figure(
                picture=_small(folder / f"{index}-{role}-{method}.png"),
                alt=f"Map of the {role} class {title} on {row['image']}: probability {row[f'p_{role}']:.2f}.",
                title=title,
                caption=f"{role}, p = {row[f'p_{role}']:.2f}, drop {drop}",
                empty=bool(row[f"empty_{role}"]),
            )
        )
    return found


def _small(path: Path) -> str:
    try:
        image = Image.open(path).convert("RGB")
    except OSError as reason:
        raise StorageError(f"{path} cannot be read ({reason}); run again into another folder") from reason
    image.thumbnail((_SIDE, _SIDE))
    return picture.to_data_uri(image, format="webp", quality=78)


def of_errors(study: Confusion, wrong: "polars.DataFrame") -> Section | None:
    """The ranked list."""
    if wrong.is_empty():
        return None
    rows = [
        [
            row["image"],
            row["true_name"],
            row["predicted_name"],
            row["kind"],
            _number(row["p_true"], 3),
            _number(row["p_predicted"], 3),
            str(row["rank"]),
            *(_number(row[name]) for name in ("overlap", "overlap_control", "iou", "pearson", "spearman")),
            *(_number(row[name]) for name in ("drop_predicted", "drop_true")),
            row["why"],
        ]
        for row in wrong.head(_LINES).iter_rows(named=True)
    ]
    figures = ("overlap", "unrelated", "IoU", "Pearson", "Spearman", "drop predicted", "drop true")
    table = Table(
        caption="Misclassified images, the surest errors first",
        columns=["image", "true", "predicted", "kind", "p true", "p predicted", "rank", *figures, "why"],
        rows=rows,
        text_columns=[1, 2, 3, 14],
        sort=["words", "words", "words", "words", "up", "up", "up", *("up" for _ in figures), "words"],
        note="Rank: of the true class by probability. Unrelated: overlap of the predicted map with that of an "
        f"unrelated class. {_more(len(wrong))}{protocol(study)}",
    )
    return Section(title="All errors", lead="Press a title to sort.", blocks=[table])


def of_failures(rows: "polars.DataFrame") -> Section:
    """Images without a verdict."""
    import polars as pl

    bad = rows.filter(pl.col("status").is_in(["error", "unlabelled"]))
    if bad.is_empty():
        text = (
            f"None: all {len(rows):,} images were read, had a label, and were explained where they are misclassified."
        )
        return Section(title="Failures", blocks=[Callout(text=text, tone="finding")])
    lines = [[r["image"], r["status"], r["error"] or "it has no label"] for r in bad.head(_LINES).iter_rows(named=True)]
    table = Table(
        caption="Images without a verdict",
        columns=["image", "status", "why"],
        rows=lines,
        text_columns=[1, 2],
        note=_more(len(bad)).strip(),
    )
    return Section(title="Failures", lead=f"{len(bad):,} of {len(rows):,} images take no part.", blocks=[table])


def of_protocol(study: Confusion) -> Section:
    """What was asked, and the limits of the kinds."""
    manifest = study.manifest
    parts = {
        "Protocol": manifest["protocol"],
        "Limits of the kinds": manifest["thresholds"],
        "Method": manifest["settings"]["method_settings"],
        "Model": manifest["settings"]["model"],
        "Data": manifest["data"],
        "Versions": manifest["versions"],
    }
    blocks = [
        Table(
            caption=caption,
            columns=["entry", "value"],
            rows=[[name.replace("_", " "), wording.value(entry)] for name, entry in entries.items()],
            text_columns=[1],
        )
        for caption, entries in parts.items()
        if entries
    ]
    lead = "The limits are conventions: other limits sort the same figures anew, without any new pass."
    return Section(title="Protocol", lead=lead, blocks=blocks)

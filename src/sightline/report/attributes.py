"""The page of a training of attributes: curves, the epoch that was kept, errors by attribute, all it depended on."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sightline.errors import SightlineError
from sightline.loading.trained import NAME, read_about
from sightline.report import training
from sightline.report.page import Block, Callout, Code, Page, Section, Table, Text

STUDY = "train attributes"
_MEASURES = (
    ("weighted", "weighted loss", "what is minimised: less is better"),
    ("unweighted", "unweighted loss", "the same without weights of answers: less is better"),
    ("error", "error", "mean over attributes, at the threshold 0: less is better"),
    ("balanced_error", "balanced error", "mean over attributes of (FNR + FPR) / 2: less is better; guessing has 0.5"),
)
_WORDS = {
    "valid_weighted": "weighted loss",
    "valid_unweighted": "unweighted loss",
    "valid_balanced_error": "balanced error",
}

Row = Mapping[str, Any]


class Report(training.Report):
    """The report of a run of `sl.training.fit_attributes`."""

    study: ClassVar[str] = STUDY

    def page(self) -> Page:
        """The page from what lies in the folder."""
        settings, manifest, rows = self.manifest["settings"], self.manifest, self.rows
        images, recipe, name = settings["images"], settings["recipe"], self.path.resolve().name
        side = " x ".join(str(v) for v in settings["size"])
        facts = [
            (
                "network",
                ", ".join([settings["backbone"], *(f"{k}={v}" for k, v in settings["options"].items())]),
            ),
            ("begins", "from scratch" if settings["begins"] is None else f"at weights {settings['begins']}"),
            ("attributes", str(len(settings["labels"]))),
            ("loss", str(recipe["loss"])),
            ("images", f"{images['train']:,} trained on, {images['validation']:,} to choose by"),
            ("input", f"{side} pixels, {settings['preparation']['described']}"),
            ("made", str(manifest.get("created", "-"))),
            ("versions", ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items())),
        ]
        about = self._about()
        sections = [Section(title="What was found", blocks=_findings(manifest, rows, about))]
        if rows:
            lead = "Means over the images of each epoch; those that are trained on are augmented."
            sections.append(Section(title="Curves", blocks=[training.curves(rows, _MEASURES)], lead=lead))
        if about is not None:
            sections.append(Section(title="Attributes", blocks=[_attributes(about)]))
        if rows:
            sections.append(Section(title="Epochs", blocks=[_epochs(rows, manifest.get("best"))]))
        sections += [
            Section(title="What it depended on", blocks=[_settings(settings)]),
            Section(title="Use it", blocks=_use(name)),
        ]
        return Page(
            title=f"Training of attributes: {name}",
            lead=f"Does {settings['backbone']} learn {len(settings['labels'])} attributes, and whose errors does it "
            "accept for that? The curves, the epoch that was kept, and what it depended on.",
            facts=facts,
            sections=sections,
            footer=f"Made with Sightline from the run `{name}`. `sightline report RUN` makes it again.",
        )

    def _about(self) -> dict[str, Any] | None:
        try:
            return read_about(self.path / NAME)
        except SightlineError:  # no epoch is finished, or the file was moved away
            return None


def _findings(manifest: Mapping[str, Any], rows: Sequence[Row], about: Mapping[str, Any] | None) -> list[Block]:
    best = manifest.get("best")
    row = next((r for r in rows if r["epoch"] == best), None)
    if row is None:
        return [Callout(text="No epoch is finished yet.", tone="note")]
    recipe = manifest["settings"]["recipe"]
    measure = {
        "loss": "valid_weighted",
        "unweighted": "valid_unweighted",
        "balanced-error": "valid_balanced_error",
    }.get(recipe["select"])
    why = f"It has the least {_WORDS[measure]} ({row[measure]:.4g})" if measure else "It is the last one"
    blocks: list[Block] = [
        Callout(
            title=f"Epoch {best} of {len(rows)}",
            text=f"{why} on images that were not trained on, and is what `{NAME}` holds. Its mean balanced error there "
            f"is {row['valid_balanced_error']:.3f}, its mean error {row['valid_error']:.3f}.",
            tone="finding",
        )
    ]
    if about is not None:
        blocks.append(Text(_rare(about)))
    gap = row["valid_weighted"] - row["train_weighted"]
    if gap > 0.5 * abs(row["train_weighted"]):
        text = (
            f"The loss on validation data is {row['valid_weighted']:.4g}, on what is trained on "
            f"{row['train_weighted']:.4g}: the network knows its training images by heart. Weights of "
            "answers change little then; fewer epochs, more images or more augmentation do."
        )
        blocks.append(Callout(text=text, tone="warning"))
    if best == rows[-1]["epoch"] and len(rows) == recipe["epochs"]:
        blocks.append(Callout(text="The last epoch was the best one: more epochs may bring more.", tone="note"))
    failed = manifest.get("failed", {"count": 0, "images": {}})
    if failed["count"]:
        named = "; ".join(f"{path}: {why}" for path, why in list(failed["images"].items())[:10])
        title = f"{failed['count']} images could not be read and were left out"
        blocks.append(Callout(title=title, text=named, tone="warning"))
    return blocks


def _rare(about: Mapping[str, Any]) -> str:
    """A sentence on the two answers of rare attributes."""
    rare = {"minority": [0.0, 0.0], "majority": [0.0, 0.0]}
    for name, row in about["training"]["validation"].items():
        rate = about["training_rates"][name]
        if rate is None or row["fnr"] is None or row["fpr"] is None:
            continue
        few, many = ("fnr", "fpr") if rate < 0.5 else ("fpr", "fnr")
        for side, key in (("minority", few), ("majority", many)):
            rare[side][0] += row[key]
            rare[side][1] += 1
    if not rare["minority"][1]:
        return "No attribute has both answers among the images that choose the epoch: nothing is known of its errors."
    least, most = (total / count for total, count in rare.values())
    return (
        f"Of the rarer answer of an attribute it gets {least:.1%} wrong, of the more frequent one {most:.1%} (means "
        f"over {rare['minority'][1]:.0f} attributes, on the images that choose the epoch). Balanced data and "
        "balanced errors do not make a classifier fair: `sightline audit` asks further."
    )


def _attributes(about: Mapping[str, Any]) -> Table:
    rates, rows = about["training_rates"], []

    def rarity(name: str) -> float:
        rate = rates[name]
        return 1.0 if rate is None else min(rate, 1 - rate)

    for name in sorted(rates, key=rarity):
        row, (no, yes) = about["training"]["validation"][name], about["answer_weights"][name]
        cells = [_number(rates[name]), f"{yes:.3g}", f"{no:.3g}", str(row["positives"]), str(row["negatives"])]
        rows.append([name, *cells, *(_number(row[key]) for key in ("fnr", "fpr", "balanced_error"))])
    columns = ["attribute", "yes in training", "weight of yes", "weight of no", "yes", "no", "FNR", "FPR"]
    caption = "On the images that choose the epoch, rarest answer first, at the threshold 0."
    return Table(columns=[*columns, "balanced error"], rows=rows, caption=caption)


def _epochs(rows: Sequence[Row], best: int | None) -> Table:
    names = [key for key in rows[0] if key.startswith(("train_", "valid_"))]
    cells = [
        [
            f"{row['epoch']}{' (kept)' if row['epoch'] == best else ''}",
            f"{row['rate']:.3g}",
            *(f"{row[name]:.4g}" for name in names),
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    spoken = [name.replace("_", " ") for name in names]
    return Table(columns=["epoch", "rate", *spoken, "seconds"], rows=cells, caption="One line an epoch.")


def _settings(settings: Mapping[str, Any]) -> Table:
    flat = {key: settings[key] for key in ("backbone", "options", "begins", "size", "mean", "std", "processes")}
    flat |= {"preparation": settings["preparation"]["described"], "images": settings["images"]["digest"]}
    flat |= {f"recipe: {key}": value for key, value in settings["recipe"].items()}
    rows = [[name, _spoken(value)] for name, value in flat.items()]
    return Table(columns=["setting", "value"], rows=rows, caption="All that the weights depend on.", text_columns=[1])


def _use(name: str) -> list[Block]:
    return [
        Code(text=f'classifier = sl.load("{name}/{NAME}")', title="In Python"),
        Code(text=f"sightline audit DATA --model {name} --out audited", title="What do its decisions rest on?"),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

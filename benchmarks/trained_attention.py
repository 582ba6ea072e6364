"""Attention trained beside real networks and judged by the evaluation of the L-CAM papers, beside other methods.

    python benchmarks/trained_attention.py cifar10_resnet20 --out runs/trained
    python benchmarks/trained_attention.py NETWORK --out DIR [--test 500] [--only L-CAM-Fm ...] [--stop-after train]

NETWORK is one of cifar10_resnet20, cifar10_resnet56, mobilenet_v2, gender, faces (`_trained_studies.py` has them all).
Three stages, each of which goes on where it was stopped:

1. search: rate, balance, regularised maps and warm start are tried one after the other, each trial a short training;
   the best by the *validation images'* mean average drop at 100, 50 and 15 % of the pixels stays. They are a part of
   the training images that is never trained on, and no judged image is looked at.
2. train: with what was found, on all training images; the epoch is chosen by the same figure on the same images.
   Where that is too long, the best trial itself is judged (`epochs=None`).
3. judge: `--protocol lcam` on the test images, all its methods, the learned constant among the controls.

The last lines are the table in Markdown, with 95 % intervals over images.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

import sightline as sl
from _trained_studies import HALF, STUDIES, Attention, Images, Study, spread
from sightline.errors import SightlineError
from sightline.explainers.learned import about_of, attention_for, default_layers, save, warm_start
from sightline.files import atomic_write
from sightline.report.benchmark import lcam
from sightline.studies.benchmarking import Plan, plan_of, protocols, run_plan
from sightline.training.attention import fit_attention

DROPS = [("average-drop", {"keep": keep, "space": "pixels"}) for keep in protocols.KEEPS]
METHOD = {"constant": "learned-constant"}


def validation(classifier: sl.Classifier, file: Path, method: str, pixels: torch.Tensor, target: Any) -> float:
    """Mean average drop at 100, 50 and 15 % of the pixels, the map times the image, in per cent."""
    explainer = sl.explainer(METHOD.get(method, method), classifier, weights=file)
    values = []
    for x in pixels.split(100):
        found = sl.evaluate(classifier, x, explainer(x, target), metrics=DROPS, backend="eager")
        values += [row["value"] for row in found.rows()]
    told = [v for v in values if v is not None]
    return 100 * sum(told) / len(told) if told else math.inf


class Trainer:
    """Trains beside one network and keeps what came out; a finished training is not done again."""

    def __init__(self, study: Study, images: Images, out: Path) -> None:
        self.study, self.images, self.out = study, images, out
        self.classifier = study.network()
        size, how = self.classifier.size, study.fit
        self.target = study.target(self.classifier)
        self.pixels = torch.stack([r.load(size, how=how).pixels for r in images.valid])
        self.journal = out / "trials.json"
        self.known: dict[str, Any] = {}
        self._read()

    def fitted(self, label: str, attention: Attention, settings: Mapping[str, Any], *, trial: bool) -> dict[str, Any]:
        """One training: its epochs' validation figures and the file of the best of them."""
        given = dict(attention.settings) | dict(settings)
        key = json.dumps([label, given, trial], sort_keys=True)
        if key in self.known:
            return self.known[key]
        if attention.epochs == 0:
            return self._keep(key, self._untrained(label, attention))
        epochs = self.study.trial_epochs if trial else attention.epochs
        train = spread(self.images.train, self.study.searched) if trial else self.images.train
        name = "-".join([label, *(f"{k}={v}" for k, v in sorted(settings.items()))]).replace("*", "-star")
        folder = self.out / ("trials" if trial else "trained") / name.replace(" ", "")
        begun = time.perf_counter()
        try:
            found = fit_attention(
                self.classifier, train, out=folder, method=attention.method, epochs=epochs, fit=self.study.fit,
                validation_images=self.images.valid, exclude=[r.path for r in self.images.test], keep_epochs=True,
                cache=self.out / "features", cache_limit=16 * 2**30, progress=False, workers=1, **given,
            )  # fmt: skip
        except SightlineError as reason:  # the loss is no longer finite, or the head fits no warm start
            row = {"label": label, "settings": dict(settings), "best": math.inf, "error": str(reason)}
            return self._keep(key, row)
        drops = {}
        for epoch in range(epochs if trial else 1, len(found.history) + 1):  # of a trial only the last one
            file = folder / "epochs" / f"epoch-{epoch:04d}.safetensors"
            drops[epoch] = validation(self.classifier, file, attention.method, self.pixels, self.target)
        best = min(drops, key=drops.__getitem__)
        row = {
            "label": label, "settings": dict(settings), "best": drops[best], "epoch": best, "drops": drops,
            "loss": [r["valid_loss"] for r in found.history], "seconds": round(time.perf_counter() - begun, 1),
            "epoch_seconds": [r["seconds"] for r in found.history],
            "file": str(folder / "epochs" / f"epoch-{best:04d}.safetensors"),
        }  # fmt: skip
        return self._keep(key, row)

    def _untrained(self, label: str, attention: Attention) -> dict[str, Any]:
        """The classifier's own weights as an attention: CAM, read as a learned map is."""
        made = attention_for(attention.method, self.classifier, default_layers(attention.method, self.classifier))
        start, file = warm_start(made, self.classifier), self.out / "trained" / "untrained.safetensors"
        save(file, start, about_of(start, self.classifier))
        drop = validation(self.classifier, file, attention.method, self.pixels, self.target)
        return {"label": label, "settings": {}, "best": drop, "epoch": 0, "drops": {0: drop}, "file": str(file)}

    def _keep(self, key: str, row: dict[str, Any]) -> dict[str, Any]:
        self._read()  # another process may have added something, with another --only
        self.known[key] = row
        data = json.dumps(self.known, indent=1).encode()
        with atomic_write(self.journal, size=len(data)) as file:
            file.write(data)
        print({k: v for k, v in row.items() if k not in ("file", "loss", "epoch_seconds")}, flush=True)
        return row

    def _read(self) -> None:
        if self.journal.exists():
            self.known |= json.loads(self.journal.read_text())

    def searched(self, label: str, attention: Attention) -> dict[str, Any]:
        """The settings that stay: one after the other, the others as they are by then."""
        chosen = {name: values[0] for name, values in attention.trials.items()}
        for name, values in attention.trials.items():
            if len(values) > 1:
                trials = {v: self.fitted(label, attention, {**chosen, name: v}, trial=True)["best"] for v in values}
                chosen[name] = min(trials, key=trials.__getitem__)
        print(label, "takes", chosen, flush=True)
        return chosen


def planned(study: Study, classifier: sl.Classifier, images: Images, name: str, files: Mapping[str, str]) -> Plan:
    """The preset with the trained maps; masking methods in bfloat16, the judging in float32."""
    specs = [
        {"name": METHOD.get(kind, kind), "label": label, "weights": files[label]}
        for label, kind in ((k, a.method) for k, a in study.attentions.items())
        if label in files
    ]
    half = dict.fromkeys(("score-cam", "sidu", "sise", "ada-sise"), HALF)
    learned = [s for s in specs if s["name"] != "learned-constant"]
    given = protocols.arguments("lcam", methods=learned, settings={**half, "rise": {"masks": study.masks, **HALF}})
    if study.beside is not None:
        left_out = {m for m, _ in protocols.LCAM.methods} - set(study.beside)
        given["methods"] = [m for m in given["methods"] if m["name"] not in left_out]
    given["controls"] = (*given["controls"], *(s for s in specs if s not in learned))
    given["target"] = study.target(classifier)
    return plan_of(
        {name: classifier}, images.test, fit=study.fit, batch=study.batch, root=images.root, pictures=0, **given
    )


def judged(plan: Plan, out: Path) -> str:
    """The table; with yes-or-no outputs one for each side."""
    found = run_plan(plan, out, progress=False, announce=lambda line: print(line, flush=True))
    lcam.write_passes(found.path, protocols.forward_passes(plan))
    passes, rows = lcam.read_passes(found.path), found.rows()
    texts = []
    for side in _sides(rows):
        part = rows if side is None else rows.filter(pl.col("target").str.ends_with(side))
        made = lcam.lines(part, found.manifest, passes)
        texts.append(lcam.as_markdown(made, "" if side is None else f"Only targets with the answer{side[1:]}."))
        if side is None:
            lcam.write(found.path, made, "")
    return "\n".join(texts)


def _sides(rows: pl.DataFrame) -> Sequence[str | None]:
    """All rows, and where attributes are explained those of each answer."""
    return [None, ": yes", ": no"] if rows["target"].str.contains(": (yes|no)$").all() else [None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=list(STUDIES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--test", type=int, help="images judged")
    parser.add_argument("--only", nargs="*", help="attentions")
    parser.add_argument("--stop-after", choices=["search", "train"])
    given = parser.parse_args()
    study, out = STUDIES[given.network], given.out / given.network
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    images = study.images(given.test or study.test, out / "images")
    trainer = Trainer(study, images, out)
    files = {}
    for label in given.only or study.attentions:
        attention = study.attentions[label]
        chosen = trainer.searched(label, attention)
        if given.stop_after != "search":
            files[label] = trainer.fitted(label, attention, chosen, trial=attention.epochs is None)["file"]
    if given.stop_after is None:
        print(judged(planned(study, trainer.classifier, images, given.network, files), out / "judged"))


if __name__ == "__main__":
    main()

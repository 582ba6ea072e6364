"""The work: find the misclassified images of a block, explain both classes at once, measure, write."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from sightline.data.annotations.record import Record, Sample
from sightline.errors import SightlineError
from sightline.explainers.question import generator_for
from sightline.explanation import Explanation
from sightline.metrics.session import Session
from sightline.store import Run
from sightline.studies.benchmarking import pictures
from sightline.studies.blocks import Unit, read
from sightline.studies.confusions.classes import unlike
from sightline.studies.confusions.measures import ROLES, measure
from sightline.studies.confusions.plan import Plan
from sightline.target import Category, each

_PARTS = ("whole", "keep_predicted", "keep_true", "cut_predicted", "cut_true", "object", "rest")
FIGURES = (
    "pearson", "spearman", "overlap", "overlap_control", "iou", "drop_predicted", "drop_true", "increase_predicted",
    "increase_true", "inside_predicted", "inside_true", "lift_predicted", "lift_true", "pointed_predicted",
    "pointed_true", "object_area", *(f"{part}_{what}" for part in _PARTS for what in ("margin", "predicted", "true")),
)  # fmt: skip
FLAGS = ("empty_predicted", "empty_true")
SCHEMA: dict[str, Any] = {
    "image": pl.String,
    "image_index": pl.Int64,
    "status": pl.String,
    "error": pl.String,
    "true": pl.Int64,
    "predicted": pl.Int64,
    "p_true": pl.Float64,
    "p_predicted": pl.Float64,
    "rank": pl.Int64,
    "alike": pl.Float64,
    "alike_deviations": pl.Float64,
    **dict.fromkeys(FLAGS, pl.Boolean),
    **dict.fromkeys(FIGURES, pl.Float64),
    "pictures": pl.Boolean,
    "seconds": pl.Float64,
}


def work(plan: Plan, run: Run, left: Sequence[Unit], advance: Callable[[int], object]) -> None:
    """Do what is left; after each block its rows are on the disk.

    Raises:
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    drawn = sum(part["pictures"] for part in run.parts)

    def load(place: int) -> Sample:
        return plan.records[place].load(plan.classifier.size, how=plan.fit)

    for unit, loaded in read(left, load, ready=plan.batch):
        block = Block(plan, run, unit, loaded, room=plan.pictures - drawn)
        frame = pl.DataFrame(block.rows(), schema=SCHEMA, orient="row")
        shown = int(frame["pictures"].sum())
        drawn += shown
        run.finish({**unit.part(), "pictures": shown}, {"rows": frame})
        advance(len(unit.places))
    run.tidy()


class Block:
    """A block of images, read.

    Args:
        plan: What is asked.
        run: Where pictures go.
        unit: The images.
        loaded: For each image the sample, or why it cannot be read.
        room: How many images may still get pictures.
    """

    def __init__(self, plan: Plan, run: Run, unit: Unit, loaded: Sequence[Sample | Exception], *, room: int) -> None:
        self.plan, self.run, self.unit, self.room = plan, run, unit, room
        self.lines: list[dict[str, Any]] = [
            dict.fromkeys(SCHEMA) | {"image": key, "image_index": index, "pictures": False, "seconds": 0.0}
            for key, index in zip(unit.keys, unit.indices, strict=True)
        ]
        self.samples: dict[int, Sample] = {}
        width = plan.classifier.width
        for i, sample in enumerate(loaded):
            if isinstance(sample, Exception):
                self._fail(i, sample)
            elif sample.record.label is None:
                self.lines[i]["status"] = "unlabelled"
            elif not 0 <= sample.record.label < width:
                self._fail(i, f"its label {sample.record.label} is none of the {width} outputs")
            else:
                self.samples[i] = sample

    def _fail(self, i: int, reason: object) -> None:
        text = " ".join(str(reason).split())[:500]
        known = isinstance(reason, SightlineError | str)
        self.lines[i] |= {"status": "error", "error": text if known else f"{type(reason).__name__}: {text}"}

    def rows(self) -> list[dict[str, Any]]:
        """A row an image, whatever happened."""
        if self.samples:
            wrong, session = self._judge()
            if wrong:
                start = time.perf_counter()
                self._measure(wrong, session)
                for i in wrong:
                    self.lines[i]["seconds"] = (time.perf_counter() - start) / len(wrong)
        return self.lines

    def _judge(self) -> tuple[list[int], Session]:
        """Who is misclassified, from one forward pass an image, and a session of these that knows its answers."""
        places = list(self.samples)
        classifier = self.plan.classifier
        pixels = torch.stack([self.samples[i].pixels for i in places]).to(classifier.device)
        session = self._session(pixels)
        outputs = session.outputs().double().cpu()
        y = torch.tensor([self.samples[i].record.label for i in places])
        p, probability = outputs.argmax(1), outputs.softmax(1)
        rank = 1 + (outputs > outputs.gather(1, y[:, None])).sum(1)
        wrong = []
        for n, i in enumerate(places):
            right = int(p[n]) == int(y[n])
            self.lines[i] |= {
                "status": "correct" if right else "wrong",
                "true": int(y[n]),
                "predicted": int(p[n]),
                "p_true": float(probability[n, y[n]]),
                "p_predicted": float(probability[n, p[n]]),
                "rank": int(rank[n]),
            }
            if not right:
                self.lines[i] |= self._alike(int(y[n]), int(p[n]))
                wrong.append(n)
        if wrong:
            answers = session.outputs()[wrong] if session.asking.own_precision else None
            session = self._session(pixels[wrong])
            if answers is not None:
                session.once("answers", lambda: answers)
        return [places[n] for n in wrong], session

    def _session(self, pixels: Tensor) -> Session:
        plan = self.plan
        return Session(plan.classifier, pixels, seed=plan.seed, options=plan.options, expected=plan.expected)

    def _alike(self, y: int, p: int) -> dict[str, float]:
        found = self.plan.alike
        if found is None:
            return {}
        cosine = float(found.of(y)[p])
        return {"alike": cosine, "alike_deviations": cosine / found.spread if found.spread > 0 else 0.0}

    def _measure(self, wrong: list[int], session: Session) -> None:
        """Explain and measure; where that fails for all at once, image by image."""
        try:
            self._fill(wrong, session)
        except Exception:  # noqa: BLE001 - whatever a method raises is a row of the table, not the end of the run
            for n, i in enumerate(wrong):
                try:
                    self._fill([i], self._session(session.pixels[n : n + 1]))
                except Exception as reason:  # noqa: BLE001 - as above
                    self._fail(i, reason)

    def _fill(self, wrong: list[int], session: Session) -> None:
        asked = [each(Category(c) for c in self._classes(session.pixels[n], i)) for n, i in enumerate(wrong)]
        found = self.plan.explainer()(session.pixels, asked)
        count = len(asked[0].items)
        maps = {role: found.select(slice(k, None, count)) for k, role in enumerate(ROLES[:count])}
        regions = torch.stack([self.samples[i].region for i in wrong]).to(session.pixels.device)
        with torch.inference_mode(False):
            figures = measure(session, maps, regions, keep=self.plan.keep, mask=self.plan.mask, fill=self.plan.fill)
        for n, i in enumerate(wrong):
            self.lines[i] |= figures[n]
            if self.room > 0:
                self._draw(i, session.pixels[n], {role: pictures.alone(maps[role], n) for role in ROLES[:2]})
                self.room -= 1

    def _classes(self, pixels: Tensor, i: int) -> list[int]:
        """The predicted class, the true one, and for control one of the unlike others, drawn by the image's content."""
        p, y = int(self.lines[i]["predicted"]), int(self.lines[i]["true"])
        others = unlike(self.plan.alike, p, y, self.plan.classifier.width)
        if not others:
            return [p, y]
        drawn = int(torch.randint(len(others), (), generator=generator_for(pixels, self.plan.seed * 1009 + 7)))
        return [p, y, others[drawn]]

    def _draw(self, i: int, pixels: Tensor, maps: dict[str, Explanation]) -> None:
        index, pixels = self.unit.indices[i], pixels.cpu()
        pictures.photograph(self.run.path, index, pixels)
        for role, one in maps.items():
            pictures.overlay(self.run.path, index, role, self.plan.method, pixels, dataclasses.replace(one, parts={}))
        self.lines[i]["pictures"] = True


def labelled(records: Sequence[Record], *, most: int = 1000) -> bool:
    """Whether one of the first records has a label."""
    for i in range(min(most, len(records))):
        try:
            if records[i].label is not None:
                return True
        except SightlineError:  # a broken annotation is a row of its own later
            continue
    return False

"""A block: a few images before one model. Its methods share one session, and so the forward passes of all metrics."""

import dataclasses
import math
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sightline import target as targets
from sightline.classifier import BlackBox, Classifier
from sightline.data.annotations.record import Record, Sample
from sightline.errors import SightlineError, TargetError
from sightline.explainers import Explainer
from sightline.explanation import Explanation
from sightline.metrics.evaluation import judge, unmet
from sightline.metrics.metric import Values
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial
from sightline.studies.benchmarking.plan import OTHER_IMAGE, Contender, Judge, Plan
from sightline.target import Target

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Explained:
    """Rows of a method, and why some images have none.

    Attributes:
        explanation: Rows; None where no image could be explained.
        errors: Place in the batch -> reason.
        seconds: An explained row.
        refused: The errors are refusals: the method has no answer there by its nature.
    """

    explanation: Explanation | None
    errors: dict[int, str]
    seconds: float = 0.0
    refused: bool = False


class Block:
    """Images of one composition, read, with their targets resolved once for all methods.

    Args:
        plan: What is asked.
        model: Which of its models.
        seed: Of methods and metrics.
        keys, indices: What the images are called, and their numbers in the run.
        read: For each image the sample, or why it cannot be read.
    """

    def __init__(
        self,
        plan: Plan,
        model: str,
        seed: int,
        keys: Sequence[str],
        indices: Sequence[int],
        read: Sequence[Sample | Exception],
    ) -> None:
        self.plan, self.model, self.seed = plan, model, seed
        self.classifier: Classifier | BlackBox = plan.models[model]
        self.keys, self.indices = list(keys), list(indices)
        self.failed: dict[int, str] = {i: _reason(r) for i, r in enumerate(read) if isinstance(r, Exception)}
        self.samples: dict[int, Sample] = {i: r for i, r in enumerate(read) if isinstance(r, Sample)}
        self.records: dict[int, Record] = {i: s.record for i, s in self.samples.items()}
        self.targets: list[tuple[Target, ...]] = []
        self.places: list[int] = []  # batch position -> place in the composition
        self.session: Session | None = None
        self._resolve()

    def _resolve(self) -> None:
        """Fix the targets; images on which a target does not exist leave the batch, with the reason."""
        places = sorted(self.samples)
        if not places:
            return
        session = self._session(places)
        rows: dict[int, tuple[Target, ...]] = {}
        outputs, head = session.outputs(), self.classifier.head()
        for position, place in enumerate(places):
            try:
                truth = _truth(self.records[place], self.classifier)
                asked = self.plan.target
                rows[place] = targets.resolve(asked, outputs[position : position + 1], head, truth)[1]
            except TargetError as reason:
                self.failed[place] = _reason(reason)
        self.places = sorted(rows)
        self.targets = [rows[place] for place in self.places]
        if self.places:
            self.session = session if len(self.places) == len(places) else self._session(self.places)

    def _session(self, places: Sequence[int]) -> Session:
        pixels = torch.stack([self.samples[place].pixels for place in places]).to(self.classifier.device)
        each = sum(j.record.forwards(j.settings, (pixels.shape[-2], pixels.shape[-1])) for j in self.plan.judges)
        expected = each * self.plan.batch * len(self.plan.methods)  # of any block, so that all go the same way
        return Session(self.classifier, pixels, seed=self.seed, options=self.plan.options, expected=expected)

    @property
    def pixels(self) -> Tensor:
        """(B, C, H, W) of the images that can be explained."""
        assert self.session is not None  # noqa: S101 - asked only where there is an image
        return self.session.pixels

    @cached_property
    def donor(self) -> Explained:
        """What the first method says, for the control that shows it of another image."""
        method = self.plan.donor
        assert method is not None  # noqa: S101 - see `plan.check`
        return self._explained(method.explainer(self.model, self.classifier, self.seed))

    def explained(self, method: Contender) -> Explained:
        """The rows of one method."""
        if not self.places:
            return Explained(None, {})
        if method.name == OTHER_IMAGE:
            return _shifted(self.donor, len(self.places))
        if method is self.plan.donor:
            return self.donor
        return self._explained(method.explainer(self.model, self.classifier, self.seed))

    def _explained(self, explainer: Explainer) -> Explained:
        asked = [targets.each(rows) for rows in self.targets]
        start = time.perf_counter()
        try:
            found = explainer(self.pixels, asked)
            return Explained(found, {}, (time.perf_counter() - start) / len(found))
        except Exception:  # noqa: BLE001 - whatever a method raises is a row of the table, not the end of the run
            pass
        parts: list[Explanation] = []
        errors: dict[int, str] = {}
        start = time.perf_counter()
        for i in range(len(self.places)):
            try:
                part = explainer(self.pixels[i : i + 1], asked[i])
            except Exception as reason:  # noqa: BLE001 - as above
                errors[i] = _reason(reason)
            else:
                parts.append(dataclasses.replace(part, image=part.image + i, parts={}, conservation=None))
        joined = _joined(parts) if parts else None
        return Explained(joined, errors, (time.perf_counter() - start) / max(1, sum(map(len, parts))))

    def trial(self, method: Contender, explanation: Explanation) -> Trial:
        """The rows before the judges, with what is known of the images."""
        assert self.session is not None  # noqa: S101
        samples = [self.samples[self.places[i]] for i in explanation.image.tolist()]
        explainer = None
        if method.name != OTHER_IMAGE:
            explainer = method.explainer(self.model, self.classifier, self.seed)
        regions = torch.stack([s.region for s in samples]).to(self.classifier.device)
        return Trial(self.session, explanation, regions, [s.boxes for s in samples], explainer)

    def rows(self, method: Contender, found: Explained) -> list[Row]:
        """Tidy rows of one method: one for each image, target and metric, whatever happened."""
        status = "refused" if found.refused else "error"
        rows = [
            self._row(place, method, j, None, Judged("error", reason))
            for place, reason in sorted(self.failed.items())
            for j in self.plan.judges
        ]
        rows += [
            self._row(self.places[i], method, j, target, Judged(status, reason))
            for i, reason in sorted(found.errors.items())
            for target in self.targets[i]
            for j in self.plan.judges
        ]
        if found.explanation is not None:
            trial = self.trial(method, found.explanation)
            for j in self.plan.judges:
                rows += self.judged(method, j, trial, found.seconds)
        return rows

    def judged(self, method: Contender, j: Judge, trial: Trial, explain_seconds: float) -> list[Row]:
        """Tidy rows of one method and one metric."""
        start = time.perf_counter()
        with torch.inference_mode(False):
            values = _values(trial, j)
        seconds = (time.perf_counter() - start) / len(trial)
        rows = []
        for n, judged in enumerate(values):
            row = self._row(self.places[int(trial.image[n])], method, j, trial.targets[n], judged)
            rows.append({**row, "seconds": seconds, "explain_seconds": explain_seconds})
        return rows

    def _row(self, place: int, method: Contender, j: Judge, target: Target | None, judged: "Judged") -> Row:
        record = self.records.get(place)
        index = getattr(target, "category", getattr(target, "attribute", None))
        return {
            "model": self.model,
            "image": self.keys[place],
            "image_index": self.indices[place],
            "target": "" if target is None else str(target),
            "category": index if isinstance(index, int) else None,
            "label": None if record is None else record.name or (None if record.label is None else str(record.label)),
            "method": method.label,
            "metric": j.label,
            **dataclasses.asdict(judged),
            "seconds": 0.0,
            "explain_seconds": 0.0,
            "seed": self.seed,
        }


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a metric says of one row; the names are those of the columns."""

    status: str
    error: str | None = None
    value: float | None = None
    chance: float | None = None
    curve: list[float] | None = None


def _values(trial: Trial, j: Judge) -> list[Judged]:
    """Value, status, error and curve of each row; where a metric fails for all at once, row by row."""
    if (reason := unmet(trial, j.record)) is not None:
        return [Judged("refused", reason)] * len(trial)
    try:
        return _listed(judge(trial, j.record, j.settings))
    except Exception:  # noqa: BLE001 - whatever a metric raises is a row of the table, not the end of the run
        return [_single(trial, j, n) for n in range(len(trial))]


def _single(trial: Trial, j: Judge, n: int) -> Judged:
    regions = None if trial.regions is None else trial.regions[n : n + 1]
    boxes = None if trial.boxes is None else trial.boxes[n : n + 1]
    alone = Trial(trial.session, trial.explanation.select(n), regions, boxes, trial.explainer)
    try:
        return _listed(judge(alone, j.record, j.settings))[0]
    except Exception as reason:  # noqa: BLE001 - as above
        return Judged("error", _reason(reason))


def _listed(values: Values) -> list[Judged]:
    nothing: list[Any] = [None] * len(values.status)
    curves = nothing if values.curve is None else values.curve.tolist()
    chances = nothing if values.chance is None else values.chance.tolist()
    columns = zip(values.status, values.value.tolist(), chances, curves, strict=True)
    return [Judged(status, None, _known(value), _known(chance), curve) for status, value, chance, curve in columns]


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value + 0.0  # + 0.0 makes 0 of -0


def _shifted(found: Explained, images: int) -> Explained:
    """Each image gets the map of the next one; its own targets, scores and probabilities stay."""
    none = "there is no other image beside this one"
    if images < 2 or found.explanation is None:
        return Explained(None, found.errors or dict.fromkeys(range(images), none), refused=not found.errors)
    rows: dict[int, list[int]] = {}
    for n, image in enumerate(found.explanation.image.tolist()):
        rows.setdefault(image, []).append(n)
    source, kept, errors = [], [], {}
    for image in range(images):
        other = (image + 1) % images
        if image not in rows or other not in rows:
            errors[image] = found.errors.get(image) or f"the other image has no map: {found.errors[other]}"
            continue
        kept += rows[image]
        source += [rows[other][k % len(rows[other])] for k in range(len(rows[image]))]
    if not kept:
        return Explained(None, errors)
    own = found.explanation.select(kept)
    return Explained(
        dataclasses.replace(own, maps=found.explanation.maps[source], method=OTHER_IMAGE, parts={}, conservation=None),
        errors,
    )


def _joined(parts: Sequence[Explanation]) -> Explanation:
    """Explanations of single images as one of the batch."""
    tensors: dict[str, Any] = {
        name: torch.cat([getattr(p, name) for p in parts]) for name in ("maps", "image", "score", "probability")
    }
    return dataclasses.replace(parts[0], **tensors, targets=tuple(t for p in parts for t in p.targets))


def _truth(record: Record, classifier: Classifier | BlackBox) -> Tensor | None:
    """True labels of one image as targets want them: (1,) or (1, C); None where nothing is known."""
    if record.attributes and classifier.decision in ("binary", "multilabel"):
        known = record.attributes
        if all(name in known for name in classifier.labels):
            return torch.tensor([[known[name] for name in classifier.labels]])
    return None if record.label is None else torch.tensor([record.label])


def _reason(reason: BaseException) -> str:
    text = " ".join(str(reason).split())[:500]
    return text if isinstance(reason, SightlineError) else f"{type(reason).__name__}: {text}"

"""`sl.evaluate`: metrics of one explanation as tidy rows."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import InputError, MetricError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Options
from sightline.explanation import Explanation
from sightline.metrics._again import check_made_by
from sightline.metrics.metric import Metric, Values, check_settings, find
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial

if TYPE_CHECKING:
    import polars

Spec = str | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """Values of several metrics for the rows of one explanation.

    Attributes:
        records: For each metric its record, its settings and its values.
        explanation: What was judged.
        seconds: What each metric took.
    """

    records: tuple[tuple[Metric, Mapping[str, Any], Values], ...]
    explanation: Explanation
    seconds: tuple[float, ...]

    def __getitem__(self, name: str) -> Values:
        """The values of the first metric of this name."""
        for record, _, values in self.records:
            if record.name == name:
                return values
        raise MetricError(f"{name!r} was not asked; asked were {', '.join(r.name for r, _, _ in self.records)}")

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one for each row of the explanation and each metric; `value` is None where it is not defined."""
        out = self.explanation
        return [
            {
                "image": int(out.image[n]),
                "target": str(out.targets[n]),
                "method": out.method,
                "metric": record.name,
                "settings": label(record, settings),
                "value": None if math.isnan(value) else value,
                "chance": None if values.chance is None or math.isnan(values.chance[n]) else float(values.chance[n]),
                "status": status,
            }
            for record, settings, values in self.records
            for n, (value, status) in enumerate(zip(values.value.tolist(), values.status, strict=True))
        ]

    def frame(self) -> "polars.DataFrame":
        """The rows as a Polars data frame."""
        import polars

        return polars.DataFrame(self.rows(), infer_schema_length=None)

    def __str__(self) -> str:
        lines = [f"{'metric':44} {'mean':>9}  better  rows not counted"]
        for record, settings, values in self.records:
            counted = torch.tensor([s == "ok" for s in values.status])
            mean = f"{float(values.value[counted].mean()):9.4f}" if bool(counted.any()) else f"{'-':>9}"
            kinds = sorted(set(values.status) - {"ok"})
            others = ", ".join(f"{sum(s == k for s in values.status)} {k}" for k in kinds)
            lines.append(
                f"{f'{record.name} {label(record, settings)}'.strip():44} {mean}  {record.better(settings):6}  {others}"
            )
        return "\n".join(lines)


def label(record: Metric, settings: Mapping[str, Any]) -> str:
    """The settings that differ from the metric's defaults, as text."""
    changed = {k: v for k, v in settings.items() if v != record.settings[k]}
    return ", ".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in sorted(changed.items()))


def asked(specs: Sequence[Spec]) -> list[tuple[Metric, dict[str, Any]]]:
    """Records and complete settings of the metrics that are asked.

    Raises:
        MetricError: Unknown metric or setting.
    """
    found = []
    for spec in specs:
        name, settings = (spec, {}) if isinstance(spec, str) else spec
        record = find(name)
        found.append((record, check_settings(record, settings)))
    return found


def unmet(trial: Trial, record: Metric) -> str | None:
    """What a metric needs and does not have here, or None."""
    has = {
        "regions": trial.regions is not None,
        "boxes": trial.boxes is not None,
        "explainer": trial.explainer is not None,
        "model": isinstance(trial.session.classifier, Classifier),
        "signed": trial.explanation.signed,
    }
    fixes = {
        "regions": "give regions=, a mask (N, H, W) a row",
        "boxes": "give boxes=, for each row (k, 4) left, top, right, bottom in pixels",
        "explainer": "give explainer=, what made the maps: it explains again",
        "model": "it needs the inside of a model, which a BlackBox does not show",
        "signed": f"it needs signed maps whose sum means something, which {trial.explanation.method} does not give",
    }
    missing = next((need for need in sorted(record.needs) if not has[need]), None)
    if missing is not None:
        return f"{record.name}: {fixes[missing]}"
    decision = trial.session.classifier.decision_on(trial.session.pixels)
    if record.decisions and decision not in record.decisions:
        return f"{record.name} is for {' or '.join(sorted(record.decisions))} classifiers, not {decision}"
    return None


def judge(trial: Trial, record: Metric, settings: Mapping[str, Any]) -> Values:
    """Compute one metric.

    Raises:
        MetricError: It needs what is not there.
    """
    if (reason := unmet(trial, record)) is not None:
        raise MetricError(reason)
    return record.function(trial, **settings)


def evaluate(
    classifier: Classifier | BlackBox,
    pixels: Tensor,
    explanation: Explanation,
    metrics: Sequence[Spec] = ("average-drop", "increase-in-confidence", "insertion", "deletion"),
    *,
    regions: Tensor | None = None,
    boxes: Sequence[Tensor] | None = None,
    explainer: Explainer | None = None,
    seed: int = 0,
    precision: str | None = None,
    backend: str = "auto",
    session: Session | None = None,
) -> Evaluation:
    """Judge an explanation by metrics; masked images and curves that several of them need are asked once.

    Args:
        classifier: What was explained.
        pixels: (B, C, H, W) in [0, 1], the batch that was explained.
        explanation: N rows.
        metrics: Names of `sl.metrics()`, or pairs of a name and its settings.
        regions: (N, H, W) bool, for localisation; without them the pixels in the boxes.
        boxes: For each row (k, 4) left, top, right, bottom in pixels.
        explainer: What made the maps, for metrics that explain again.
        seed: Of tie-breaks, noise and random sets.
        precision: `float32` or `bfloat16`; by default the classifier's own.
        backend: What runs the forward passes: `auto`, `eager`, `openvino` or `compiled`.
        session: Shares forward passes with other explanations of the same batch.

    Returns:
        Tidy rows (`.rows()`, `.frame()`), and `print(...)` for a look.

    Raises:
        MetricError: Unknown metric or setting, one that needs what is not given, or another explainer than the one
            that made the maps.
        InputError: Another batch, or regions of another shape.
    """
    chosen = asked(metrics)
    options = Options(precision=precision, backend=backend, progress=False)  # type: ignore[arg-type]
    if session is None:
        each = sum(record.forwards(settings, explanation.size) for record, settings in chosen)
        session = Session(classifier, pixels, seed=seed, options=options, expected=each * len(explanation))
    if regions is not None and tuple(regions.shape) != (len(explanation), *session.size):
        raise InputError(
            f"regions must be one mask a row, {(len(explanation), *session.size)}, not {tuple(regions.shape)}"
        )
    if boxes is not None and len(boxes) != len(explanation):
        raise InputError(f"boxes must have one entry a row: {len(explanation)}, not {len(boxes)}")
    if explainer is not None:
        check_made_by(explainer, explanation)
    trial = Trial(session, explanation, None if regions is None else regions.bool(), boxes, explainer)
    for record, _ in chosen:  # before minutes of work for the others
        if (reason := unmet(trial, record)) is not None:
            raise MetricError(reason)
    records, seconds = [], []
    with torch.inference_mode(False):
        for record, settings in chosen:
            start = time.perf_counter()
            records.append((record, settings, judge(trial, record, settings)))
            seconds.append(time.perf_counter() - start)
    return Evaluation(tuple(records), explanation, tuple(seconds))

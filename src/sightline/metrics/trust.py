"""The trust card: whether one explanation can be relied upon, in seconds and in words."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline import registry
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MetricError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Options
from sightline.explanation import Explanation
from sightline.metrics import _verdicts as verdicts
from sightline.metrics._again import check_made_by, explain_again
from sightline.metrics._verdicts import Card, Check
from sightline.metrics.evaluation import asked, judge
from sightline.metrics.metric import Values
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial
from sightline.target import Contrast

CONTROLS = ("uniform", "random", "centre", "edges")


@dataclass(frozen=True)
class Trust:
    """Cards of all rows of an explanation; prints as text, shows as HTML in a notebook.

    Attributes:
        cards: One a row.
        protocol: How it was checked.
        seconds: What it took.
    """

    cards: tuple[Card, ...]
    protocol: Mapping[str, Any]
    seconds: float

    def __len__(self) -> int:
        return len(self.cards)

    def __getitem__(self, row: int) -> Card:
        return self.cards[row]

    def __iter__(self) -> Iterator[Card]:
        return iter(self.cards)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "format": "sightline trust 1",
            "protocol": dict(self.protocol),
            "seconds": round(self.seconds, 2),
            "cards": [card.as_dict() for card in self.cards],
        }

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.cards))

    def _repr_html_(self) -> str:
        from html import escape

        parts = []
        for card in self.cards:
            rows = "".join(
                f"<tr><td>{escape(c.title)}</td><td><b>{escape(c.verdict)}</b></td><td>{escape(c.text)}</td></tr>"
                for c in card.checks
            )
            head = escape(f"{card.target} (p = {card.probability:.3f}), {card.method}")
            parts.append(f"<p><b>{head}</b><br>{escape(card.summary)}</p><table>{rows}</table>")
        return "".join(parts)


def trust(
    classifier: Classifier | BlackBox,
    pixels: Tensor,
    explanation: Explanation,
    *,
    explainer: Explainer | None = None,
    samples: int = 3,
    steps: int = 8,
    noise: float = 0.02,
    seed: int = 0,
    precision: str | None = None,
    backend: str = "auto",
) -> Trust:
    """Check an explanation on its own image: against controls, random weights, other classes, and noise.

    | check | what is compared | passes |
    |---|---|---|
    | controls | insertion minus deletion, with uniform, random, centre and edges | where it is higher than each |
    | weights | the map, with those of the classifier with all weights random (mean absolute Spearman) | below 0.5 |
    | class | the map, with those of other outputs or of the other answer (mean Spearman) | below 0.5 |
    | noise | the map, with those of the image with Gaussian noise (mean Spearman) | from 0.8 |

    The limits are conventions. A map fails from 0.8 on weights, from 0.9 on class, and below 0.5 under noise unless
    the answer moves as well; a method that ignores the class by construction is a doubt, no failure. One image
    decides nothing about a method: for that, run a benchmark. Passing is no proof.

    It takes three explanations a sample, and 10 x `steps` forward passes a row.

    Args:
        classifier: What was explained.
        pixels: (B, C, H, W) in [0, 1], the batch that was explained.
        explanation: N rows.
        explainer: What made the maps; by default the method that the explanation names, with its settings.
        samples: Random networks, other classes and noisy images that are tried.
        steps: Of insertion and deletion.
        noise: Standard deviation of the noise, in pixels of [0, 1].
        seed: Of everything random.
        precision: `float32` or `bfloat16`, of the forward passes; by default the classifier's own.
        backend: What runs the forward passes: `auto`, `eager`, `openvino` or `compiled`.

    Returns:
        A card a row: `print(...)`, `.as_dict()`, and `sightline.report.trust` for a page.

    Raises:
        MetricError: The explanation does not tell how it was made (give explainer=), or `samples` is no count.
        InputError: Another batch.
    """
    start = time.perf_counter()
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise MetricError(f"samples is a whole number from 1, not {samples!r}")
    if explainer is not None:
        check_made_by(explainer, explanation)
    explainer = explainer or bound_as(classifier, explanation)
    options = Options(precision=precision, backend=backend, progress=False)  # type: ignore[arg-type]
    session = Session(classifier, pixels, seed=seed, options=options)
    trial = Trial(session, explanation, explainer=explainer)
    with torch.inference_mode(False):
        columns = (
            _answered("controls", len(trial), lambda: _controls(trial, steps)),
            _answered("weights", len(trial), lambda: _weights(trial, samples)),
            _answered("class", len(trial), lambda: _class(trial, samples)),
            _answered("noise", len(trial), lambda: _noise(trial, samples, noise)),
        )
    cards = tuple(_card(trial, row, checks) for row, checks in enumerate(zip(*columns, strict=True)))
    protocol = {"controls": list(CONTROLS), "samples": samples, "steps": steps, "noise": noise, "seed": seed}
    return Trust(cards, protocol, time.perf_counter() - start)


def bound_as(classifier: Classifier | BlackBox, explanation: Explanation) -> Explainer:
    """The explainer that an explanation's record tells of.

    Raises:
        MetricError: The record does not say enough.
    """
    known = {m.name: m for m in registry.everything()}
    method, record = known.get(explanation.method), explanation.provenance
    settings = record.get("settings", {})
    told = (
        method is not None
        and "seed" in record
        and all(
            not isinstance(value, str)
            or method.settings.get(name) is None
            or isinstance(method.settings.get(name), str)
            for name, value in settings.items()
        )
    )
    if method is None or not told or any(str(v).startswith("tensor (") for v in settings.values()):
        raise MetricError(
            f"the explanation by {explanation.method!r} does not tell all of how it was made; give explainer="
        )
    looks = method.needs & {"features", "layer"} and explanation.layers
    return Explainer(
        method.name,
        classifier,
        layer=explanation.layers if looks else None,
        fuse=record.get("fuse"),
        seed=record["seed"],
        **settings,
    )


def _answered(name: str, rows: int, ask: Callable[[], list[Check]]) -> list[Check]:
    """A check of all rows; where it cannot be made at all, the reason."""
    try:
        return ask()
    except MetricError as reason:
        return [verdicts.unchecked(name, f"Not possible: {reason}.")] * rows


def _card(trial: Trial, row: int, checks: Sequence[Check]) -> Card:
    out = trial.explanation
    verdict, summary = verdicts.together(checks, trial.states()[row])
    return Card(
        image=int(out.image[row]),
        target=str(out.targets[row]),
        probability=float(out.probability[row]),
        method=out.method,
        verdict=verdict,
        summary=summary,
        checks=tuple(checks),
    )


def _value(trial: Trial, name: str, **settings: Any) -> Values:
    record, complete = asked([(name, settings)])[0]
    return judge(trial, record, complete)


def _controls(trial: Trial, steps: int) -> list[Check]:
    """Insertion minus deletion of the map and of each control."""

    def score(judged: Trial) -> tuple[Tensor, Tensor]:
        up, down = (_value(judged, name, steps=steps) for name in ("insertion", "deletion"))
        assert up.curve is not None  # noqa: S101 - both have one
        assert down.curve is not None  # noqa: S101
        whole = down.curve[:, 0]
        return up.value - down.value, torch.maximum((whole - down.curve[:, -1]).abs(), (whole - up.curve[:, 0]).abs())

    mine, span = score(trial)
    others: dict[str, Tensor] = {}
    for name in CONTROLS:
        control = Explainer(name, trial.session.classifier, seed=trial.session.seed)
        again = explain_again(Trial(trial.session, trial.explanation, explainer=control))
        others[name] = score(Trial(trial.session, dataclasses.replace(again, image=trial.image)))[0]
    return [
        verdicts.on_controls(float(mine[row]), {n: float(v[row]) for n, v in others.items()}, float(span[row]))
        for row in range(len(trial))
    ]


def _weights(trial: Trial, samples: int) -> list[Check]:
    """Spearman's correlation with the maps of `samples` networks all of whose weights are random."""
    found = []
    for draw in range(samples):
        session = Session(trial.session.classifier, trial.session.pixels, seed=trial.session.seed + draw)
        values = _value(
            Trial(session, trial.explanation, explainer=trial.explainer), "parameter-randomisation", steps=1
        )
        found.append(values.value)
    curve = torch.stack(found, 1)
    constant = _constant(trial)
    return [
        verdicts.unchecked("weights", _CONSTANT) if constant[row] else verdicts.on_weights(curve[row].tolist())
        for row in range(len(trial))
    ]


def _class(trial: Trial, samples: int) -> list[Check]:
    """Spearman's correlation with the maps of other outputs; of the other answer where there is no other output."""
    others = trial.session.outputs().shape[1] - 1 - any(isinstance(t, Contrast) for t in trial.targets)
    found: list[Check | None] = [None] * len(trial)
    if others >= 1:
        values = _value(trial, "random-logit", draws=min(samples, others))
        assert values.curve is not None  # noqa: S101 - it has one
        for row, status in enumerate(values.status):
            if status != "refused":
                found[row] = _on_class(values.curve[row].tolist(), "other classes", status)
    if None in found:
        values = _value(trial, "class-swap", similarity="spearman")
        for row, status in enumerate(values.status):
            found[row] = found[row] or _on_class([float(values.value[row])], "the opposite answer", status)
    return [check for check in found if check is not None]


def _on_class(similarities: Sequence[float], other: str, status: str) -> Check:
    if status == "refused":
        return verdicts.unchecked("class", "There is no other decision to compare it with.")
    if any(s != s for s in similarities):  # NaN
        return verdicts.unchecked("class", _CONSTANT)
    return verdicts.on_class(similarities, other)


def _noise(trial: Trial, samples: int, level: float) -> list[Check]:
    """Spearman's correlation with the maps of noisy images, and how far the probability goes."""
    values = _value(trial, "noise-stability", samples=samples, level=level)
    shift = _value(trial, "probability-shift", samples=samples, level=level, noise="gaussian").value
    assert values.curve is not None  # noqa: S101 - it has one
    return [
        verdicts.unchecked("noise", _CONSTANT)
        if status == "undefined"
        else verdicts.on_noise(values.curve[row].tolist(), float(shift[row]))
        for row, status in enumerate(values.status)
    ]


_CONSTANT = "A map that is the same everywhere is like no other."


def _constant(trial: Trial) -> list[bool]:
    flat = trial.explanation.maps.flatten(1)
    found: list[bool] = (flat.amax(1) == flat.amin(1)).tolist()
    return found

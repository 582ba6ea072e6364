"""Presets of the benchmark: the evaluations of papers, to be repeated on the user's own model and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline import registry
from sightline.errors import InputError, MethodError
from sightline.studies.benchmarking.plan import CONTROLS, Plan

KEEPS = (1.0, 0.5, 0.15)
"""Shares of hottest pixels that stay in L-CAM's evaluation."""

_ALL_LAYERS = ("sise", "ada-sise")  # they look at a layer of each resolution; a named one would not be them any more


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A preset.

    Attributes:
        name: As it is typed.
        title: What its table is called.
        methods: Pairs (name, settings) that are always asked; others may be added.
        metrics: Mappings as for `benchmark`.
        controls: Likewise.
    """

    name: str
    title: str
    methods: tuple[tuple[str, Mapping[str, Any]], ...]
    metrics: tuple[Mapping[str, Any], ...]
    controls: tuple[str, ...] = CONTROLS


def _soft(name: str) -> tuple[dict[str, Any], ...]:
    short = {"average-drop": "AD", "increase-in-confidence": "IC"}[name]
    return tuple({"name": name, "keep": keep, "space": "pixels", "label": f"{short}{keep:.0%}"[:-1]} for keep in KEEPS)


LCAM = Protocol(
    name="lcam",
    title="Average drop (AD, down) and increase in confidence (IC, up) in percent at 100, 50 and 15 % of the pixels "
    "(L-CAM, arXiv 2209.11189)",
    methods=(
        ("grad-cam", {}),
        ("grad-cam++", {}),
        ("score-cam", {"variant": "l-cam"}),
        ("rise", {"masks": 4000}),
        ("sidu", {}),
        ("sise", {}),
        ("ada-sise", {}),
    ),
    metrics=tuple(m for pair in zip(_soft("average-drop"), _soft("increase-in-confidence"), strict=True) for m in pair),
)
"""Evaluation of Gkartzonika et al. 2022: soft maps times raw pixels, the predicted class, FW forward passes a map."""

PROTOCOLS = {p.name: p for p in (LCAM,)}


def find(name: str) -> Protocol:
    """The preset of a name.

    Raises:
        InputError: There is none; the text says what there is.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; there is {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def arguments(
    name: str,
    *,
    methods: Sequence[Any] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    layer: Any = None,
) -> dict[str, Any]:
    """Arguments of `benchmark` that a preset fills in: methods, metrics, controls, and the predicted class.

    >>> sl.studies.benchmark(classifier, images, out="run", **arguments("lcam", methods=[("l-cam-fm", {"weights": f})]))

    Args:
        name: Of the preset.
        methods: To be judged beside those of the preset, as for `benchmark`. A mapping that names one of the preset and
            has no label gives this one other settings.
        settings: Method of the preset -> settings that differ, such as `{"rise": {"masks": 8000}}`.
        layer: For those methods of the preset that look at one layer; as for `benchmark`.

    Raises:
        InputError: There is no such preset.
        MethodError: Settings of a method that the preset does not have.
    """
    protocol = find(name)
    own = [n for n, _ in protocol.methods]
    changed = {n: dict(s) for n, s in (settings or {}).items()}
    if strange := [n for n in changed if n not in own]:
        raise MethodError(f"settings name {strange[0]!r}; the protocol {name} has {', '.join(own)}")
    added = []
    for spec in methods:
        if isinstance(spec, Mapping) and spec.get("name") in own and "label" not in spec:
            changed.setdefault(spec["name"], {}).update({k: v for k, v in spec.items() if k != "name"})
        else:
            added.append(spec)
    asked: list[Any] = []
    for method, given in protocol.methods:
        looks = layer if method not in _ALL_LAYERS and registry.find(method).needs & {"features", "layer"} else None
        settled = {**given, **changed.get(method, {})}
        asked.append({"name": method, "layer": looks, "label": _label(method, settled), **settled})
    return {
        "methods": [*asked, *added],
        "metrics": [dict(m) for m in protocol.metrics],
        "controls": protocol.controls,
        "target": None,
    }


def _label(method: str, settings: Mapping[str, Any]) -> str:
    """RISE's name says how many masks: the figure depends on it."""
    return f"rise ({settings['masks']})" if method == "rise" else method


def forward_passes(plan: Plan, *, images: int = 2) -> dict[tuple[str, str], float]:
    """FW: forward passes a map takes, by model and label, counted on the first images that can be explained.

    For methods on masked images these are the masked ones, as the paper counts; 0 for controls, which ask nothing of
    the classifier. A method that gives no count there has no entry.
    """
    import torch

    from sightline.errors import SightlineError
    from sightline.studies.benchmarking.plan import OTHER_IMAGE

    found: dict[tuple[str, str], float] = {}
    for model, classifier in plan.models.items():
        pixels = []
        for i in range(min(len(plan.records), 4 * images)):
            try:
                pixels.append(plan.records[i].load(classifier.size, how=plan.fit).pixels)
            except SightlineError:  # it is a row of its own in the run
                continue
            if len(pixels) == images:
                break
        if not pixels:
            continue
        batch = torch.stack(pixels).to(classifier.device)
        for m in plan.methods:
            if m.control or m.name == OTHER_IMAGE:
                found[model, m.label] = 0.0
                continue
            try:
                counts = [m.explainer(model, classifier, plan.seeds[0]).estimate(x[None]).passes for x in batch]
            except SightlineError:
                continue
            found[model, m.label] = sum(counts) / len(counts)
    return found

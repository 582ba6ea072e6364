"""From what was typed to a job: methods with their settings, targets, layers, and the settings on record."""

import ast
import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch

from sightline import __version__, registry
from sightline.cli import _options as options
from sightline.cli._job import Job
from sightline.data.images import How
from sightline.errors import InputError, MethodError
from sightline.explainers import Explainer
from sightline.layers import default_layer
from sightline.target import parse, together


def build_job(
    model: str,
    given: Mapping[str, Any],
    *,
    methods: Sequence[str],
    targets: Sequence[str],
    layers: Sequence[str],
    settings: Sequence[str],
    seed: int,
    fit: str,
    box: str | None,
    batch: int,
) -> Job:
    """Check everything that was typed, cheap things first, then load the model.

    Raises:
        SightlineError: What cannot be used; the text names it.
    """
    how = next((known for known in get_args(How) if known == fit), None)
    if how is None:
        raise InputError(f"--fit must be {', '.join(get_args(How))}, not {fit!r}")
    cut = options.numbers(box)
    if cut is not None and (len(cut) != 4 or not (0 <= cut[0] < cut[2] <= 1 and 0 <= cut[1] < cut[3] <= 1)):
        raise InputError(f"--box must be x0,y0,x1,y1 with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, not {box}")
    found = [registry.find(name) for name in dict.fromkeys(methods)]
    chosen = read_settings(settings, [m.name for m in found])
    for m in found:
        registry.check_settings(m, chosen[m.name])
    if layers and not any(m.needs & {"features", "layer"} for m in found):
        raise MethodError(f"none of {', '.join(m.name for m in found)} looks at a layer; leave --layer away")
    parsed = [parse(text) for text in targets]
    classifier = options.load_classifier(model, **given)
    explainers = {
        m.name: Explainer(
            m.name,
            classifier,
            layer=list(layers) if layers and m.needs & {"features", "layer"} else None,
            seed=seed,
            **chosen[m.name],
        )
        for m in found
    }
    job = Job(
        classifier=classifier,
        explainers=explainers,
        target=together(parsed, classifier.decision),
        how=how,
        box=cut,
        batch=batch,
        seed=seed,
    )
    job.note = _note(job, model)
    return job


def read_settings(texts: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`method.setting=value`, each value read as a Python literal where it is one.

    Raises:
        MethodError: Another form, or a method that is not asked for.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for text in texts:
        where, equals, value = text.partition("=")
        method, dot, setting = where.rpartition(".")
        if not equals or not dot or not setting:
            raise MethodError(f"cannot read --set {text!r}; write METHOD.SETTING=VALUE, such as grad-cam++.eps=1e-7")
        if method not in found:
            raise MethodError(f"--set {text!r} is for {method!r}, but the methods are {', '.join(methods)}")
        try:
            found[method][setting] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[method][setting] = value
    return found


def _note(job: Job, model: str) -> str:
    """The protocol in a line: model, weights, layer, how the photos were fitted."""
    classifier = job.classifier
    layers = {name: e.layer for name, e in job.explainers.items() if "features" in e.method.needs}
    where = ""
    if layers:
        named = next(iter(layers.values())) or (default_layer(classifier, classifier.size),)
        where = f", layer {' + '.join(named)}"
    height, width = classifier.size
    cut = f", box {','.join(f'{v:g}' for v in job.box)}" if job.box else ""
    name = model.rpartition("/")[2]
    return f"{name} ({classifier.fingerprint()}){where}, {job.how} to {height} x {width}{cut}"


def settings_of(
    job: Job, model: str, weights: str | None, texts: Sequence[str], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides about the numbers (compared when a run goes on), and what else is put on record."""
    described = job.classifier.describe()
    device = described.pop("device")
    labels = "\n".join(job.classifier.labels).encode()
    settings = {
        **described,
        "labels": hashlib.sha256(labels).hexdigest()[:16],
        "size": list(job.classifier.size),
        "fit": job.how,
        "box": list(job.box) if job.box else None,
        "methods": list(job.explainers),
        "method_settings": {name: _plain(e.settings) for name, e in job.explainers.items()},
        "layers": {name: list(e.layer) for name, e in job.explainers.items()},
        "targets": list(texts),
        "signed": job.signed,
        "seed": seed,
    } | ({"trust": True} if job.trust else {})
    versions = {"sightline": __version__, "torch": torch.__version__, "python": platform.python_version()}
    about = {"model_spec": model, "weights_file": weights, "device": device, "versions": versions}
    return settings, about


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, int | float | str | None) else str(v) for k, v in settings.items()}

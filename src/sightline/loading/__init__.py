"""From a model's name to a classifier: torchvision, timm, transformers, your own code, the networks shipped here."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightline.classifier import Classifier, Precision
from sightline.data.labels import read_labels
from sightline.errors import ModelError, SightlineWarning
from sightline.loading.code import from_faces, from_python, source_of
from sightline.loading.hub import from_transformers
from sightline.loading.source import Source, closest
from sightline.loading.trained import from_trained, trained_file
from sightline.loading.weights import State, fit_state, read_state
from sightline.loading.zoos import from_timm, from_torchvision
from sightline.target import Decision

__all__ = ["load", "read_state"]

_SOURCES = ("torchvision", "timm", "hf", "python", "faces")
_SHAPES = (
    "torchvision:resnet50, timm:convnext_tiny, hf:FOLDER_OR_NAME, python:FILE.py:FUNCTION, faces:balanced, "
    "FILE.safetensors or RUN (of `sightline train attributes`), or a torch.nn.Module"
)


def load(
    spec: str | nn.Module | Classifier,
    *,
    weights: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    decision: Decision | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | tuple[int, int] | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    output: str | int | Callable[[Any], Tensor] | None = None,
) -> Classifier:
    """Make a classifier from the name of a model. What is given here goes before what the source knows.

    | spec | model | mean, std, size, labels |
    |---|---|---|
    | `torchvision:NAME` | built without a download | those of its published weights |
    | `timm:NAME` | built without a download | its default configuration |
    | `hf:FOLDER_OR_NAME` | transformers, safetensors only, no remote code | its config files |
    | `python:FILE_OR_MODULE:CALLABLE[:ARG...]` | what the call returns | from (model, mean, std, size) |
    | `faces:balanced`, `faces:unbalanced` | networks shipped with Sightline (or `faces:FILE`) | theirs |
    | `FOLDER/classifier.safetensors`, or its folder | trained by `sightline train attributes` | those of the file |

    Args:
        spec: A row of the table, or a `torch.nn.Module`.
        weights: A file: `.safetensors`, or one that `torch.load(weights_only=True)` reads. A training checkpoint is
            unwrapped; where only the head's size differs, the head is rebuilt. "random" asks for random weights.
        labels: Names of the outputs, or a file of them (see `read_labels`). A source's own names are left out where
            their number does not fit the outputs.
        decision: As for `Classifier`.
        mean: Subtracted from pixels in [0, 1], one value a channel.
        std: Divides them afterwards, one value a channel.
        size: Side, or (height, width), in pixels. Vision transformers are built for it.
        device: `cpu`, `cuda`, `cuda:1`, ..., or `auto` (CUDA where there is one); by default where the model is.
        precision: `float32` or `bfloat16`.
        output: As for `Classifier`.

    Returns:
        A classifier.

    Raises:
        ModelError: An unknown source or name, weights that do not fit or are refused, a device that is not there.
        StorageError: A file of weights that is missing or broken.
        MissingExtraError: timm or transformers is needed.
        InputError: A file of labels that cannot be read.
    """
    chosen = _device(device)
    random = weights is not None and str(weights) == "random"
    state = None if weights is None or random else read_state(weights)
    source = _source(spec, state, size, random)
    if isinstance(labels, str | os.PathLike):
        labels = read_labels(labels)
    return Classifier(
        source.model,
        labels=labels if labels is not None else source.labels,
        decision=decision or source.decision,
        mean=mean if mean is not None else source.mean,
        std=std if std is not None else source.std,
        size=size or source.size or 224,
        device=chosen,
        precision=precision,
        output=output if output is not None else source.output,
    )


def _source(spec: Any, state: State | None, size: Any, random: bool) -> Source:
    if not isinstance(spec, str):
        return _loaded(source_of(spec, "load(...)"), state, type(spec).__name__)
    kind, colon, name = spec.partition(":")
    file = trained_file(spec) if kind not in _SOURCES else None
    if file is not None:
        return _loaded(from_trained(file), state, spec)
    if not colon or not name or kind not in _SOURCES:
        hint = closest(kind, _SOURCES, otherwise="") if colon else ""
        raise ModelError(f"cannot read the model {spec!r}; {hint + ' ' if hint else ''}write {_SHAPES}")
    if kind == "python":
        return _loaded(from_python(name), state, spec)
    if kind == "faces":
        return _loaded(from_faces(name), state, spec)
    if kind == "hf":
        return from_transformers(name, state, random)
    source = from_torchvision(name, state, size) if kind == "torchvision" else from_timm(name, state, size)
    if state is None and not random:
        warnings.warn(
            f"{spec} has RANDOM weights: what it says means nothing. Give weights=FILE (--weights FILE), or "
            "weights='random' if that is meant",
            SightlineWarning,
            stacklevel=3,
        )
    return source


def _loaded(source: Source, state: State | None, what: str) -> Source:
    if state is not None:
        fit_state(source.model, state, rebuild=None, what=what)
    return source


def _device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        text = str(reason).splitlines()[0]
        raise ModelError(
            f"device {str(device)!r} cannot be used here ({text}); write cpu, or leave it away"
        ) from reason
    return chosen

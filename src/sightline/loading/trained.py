"""The file of a trained classifier: weights and all that is needed to ask it, in one safetensors file without code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from sightline.data.alignment import Alignment, Preparation
from sightline.errors import ModelError, StorageError
from sightline.files import atomic_write
from sightline.loading.backbones import backbone
from sightline.loading.source import Source
from sightline.loading.weights import fit_state, read_state
from sightline.replica import fingerprint

FORMAT: Final = "sightline classifier 1"
NAME: Final = "classifier.safetensors"
_KEY: Final = "sightline"
_NEEDED: Final = ("backbone", "options", "labels", "mean", "std", "size", "decision")


def write_trained(path: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Write a classifier, whole or not at all.

    `fingerprint`, that of its weights, is added.

    Args:
        path: The file.
        model: Its state dict is written.
        about: `backbone`, `options`, `labels`, `mean`, `std`, `size`, `decision`, and whatever else is known of it, as
            plain values.

    Raises:
        StorageError: It cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    said = {"format": FORMAT, **about, "fingerprint": fingerprint(tensors)}
    data = save(tensors, metadata={"format": "pt", _KEY: json.dumps(said)})
    with atomic_write(path, size=len(data)) as file:
        file.write(data)


def trained_file(spec: str) -> Path | None:
    """The file that a text names: itself, or that in a run's folder; None where the text names neither."""
    path = Path(spec).expanduser()
    if path.is_dir():
        return path / NAME
    return path if path.suffix == ".safetensors" else None


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a trained classifier's file says of itself: labels, preparation, recipe, rates, and so on.

    Args:
        path: The file, or the folder of the run that made it.

    Raises:
        StorageError: The file is missing or broken.
        ModelError: It holds weights alone, or something else of ours.
    """
    from safetensors import SafetensorError, safe_open

    file = trained_file(str(path)) or Path(path)
    if not file.is_file():
        what = "the run has no classifier yet: no epoch is finished" if file.parent.is_dir() else "check the path"
        raise StorageError(f"{file}: there is no such file; {what}")
    try:
        with safe_open(file, framework="pt") as opened:
            header = (opened.metadata() or {}).get(_KEY, "{}")
        about: dict[str, Any] = json.loads(header)
    except (SafetensorError, OSError, ValueError) as reason:
        raise StorageError(f"{file}: is truncated or no safetensors file ({reason}); copy or make it again") from reason
    if about.get("format") != FORMAT:
        raise ModelError(
            f"{file} is no classifier that `sightline train attributes` wrote (its header says {_said(about)}); name "
            "the architecture and give the file as weights: --model torchvision:NAME --weights FILE"
        )
    missing = [key for key in _NEEDED if key not in about]
    if missing:
        raise ModelError(f"{file}: its header lacks {', '.join(missing)}; train it again")
    return about


def _said(about: Mapping[str, Any]) -> str:
    if not about:
        return "nothing"
    return repr(about["format"]) if "format" in about else f"it is a {about.get('model', 'file of another kind')}"


def from_trained(file: Path) -> Source:
    """The classifier that a file holds; its model has the header as `metadata`.

    Only architectures of torchvision, timm and Sightline are built by name: no code is run that the file names.

    Raises:
        StorageError, ModelError: As `read_about`, or weights that do not fit.
        MissingExtraError: The architecture is timm's, which is not installed.
    """
    about = read_about(file)
    labels, size = tuple(about["labels"]), (int(about["size"][0]), int(about["size"][1]))
    if about["backbone"] == "module":
        raise ModelError(
            f"{file} was trained from a module of your own, which a file cannot rebuild; give the module: "
            "sl.load(module, weights=FILE, labels=..., decision='multilabel'), or --model python:FILE.py:FUNCTION"
        )
    source, state = backbone(about["backbone"], len(labels), size=size, options=about["options"]), read_state(file)
    if "fingerprint" in about and fingerprint(state) != about["fingerprint"]:
        raise StorageError(f"{file}: its weights are not those that its header tells of; copy or make it again")
    model = fit_state(source.model, state, rebuild=None, what=about["backbone"])
    model.metadata = about  # type: ignore[assignment]
    return Source(
        model=model,
        mean=about["mean"],
        std=about["std"],
        size=size,
        labels=labels,
        decision=about["decision"],
    )


def preparation_of(about: Mapping[str, Any]) -> Preparation:
    """How images were prepared for a classifier, from what its file says: an audit prepares them alike."""
    said = dict(about["preparation"])
    box = None if said["box"] is None else tuple(said["box"])
    return Preparation(fit=said["fit"], box=box, alignment=Alignment(**said["alignment"]), crop=said["crop"])

"""The file of a trained attention: weights as safetensors, and in the header a manifest of what they belong to."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import MethodError, StorageError
from sightline.explainers.learned._attention import Attention, Constant, Directions, Kind, LCam, Tame
from sightline.explainers.learned._fits import check_fit
from sightline.files import atomic_write

FORMAT = "sightline attention 1"
_KEY = "sightline"
_PINNED = re.compile(r"(?P<file>.+) \(weights (?P<digest>[0-9a-f]{16})\)")
_NEEDED = {"kind": str, "layers": list, "channels": list, "maps": int, "directions": str, "variant": dict}
_NEEDED |= {"outputs": int, "labels": list, "decision": str, "backbone": dict}


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained attention with its manifest: what `weights=` takes besides a path.

    Attributes:
        attention: The module. Explaining works on a frozen copy, so it may go on being trained.
        about: The manifest: `format`, `kind`, `layers`, `channels`, `maps`, `directions`, `variant`, `outputs`,
            `labels`, `decision`, `backbone` (`Classifier.describe()` with the weights' fingerprint), `size`,
            `mask_space`, `auxiliary`, `recipe`, `training`, `versions`.
        path: The file that it was read from, if it was.
    """

    attention: Attention
    about: Mapping[str, Any]
    path: str | None = None

    @property
    def digest(self) -> str:
        """The first 16 hex digits of SHA-256 over the names, shapes and values of the attention's weights."""
        return digest_of(self.attention)

    def __str__(self) -> str:
        """As it stands in manifests; where there is a file, this text may be given as `weights=` again."""
        return f"{self.path or 'unsaved ' + str(self.about['kind'])} (weights {self.digest})"


def digest_of(attention: Attention) -> str:
    """The first 16 hex digits of SHA-256 over an attention's weights and buffers."""
    found = hashlib.sha256()
    for name, value in sorted(attention.state_dict().items()):
        found.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def about_of(
    attention: Attention, classifier: Classifier | BlackBox, *, auxiliary: Classifier | None = None, **more: Any
) -> dict[str, Any]:
    """The manifest of an attention for a classifier.

    Args:
        attention: As `attention_for` made it.
        classifier: What it explains.
        auxiliary: For `p-tame`: whose features it reads.
        **more: What else is known: `mask_space`, `recipe`, `training`.

    Returns:
        What JSON can hold.
    """
    from sightline import __version__

    return {
        "format": FORMAT,
        "kind": attention.kind,
        "layers": list(attention.layers),
        "channels": list(attention.channels),
        "maps": attention.maps,
        "directions": attention.directions,
        "variant": attention.variant,
        "outputs": classifier.width,
        "labels": list(classifier.labels),
        "decision": classifier.decision,
        "backbone": classifier.describe(),
        "size": list(classifier.size),
        "auxiliary": None if auxiliary is None else auxiliary.describe(),
        "versions": {"sightline": __version__, "torch": torch.__version__},
        **more,
    }


def save(path: str | os.PathLike[str], attention: Attention, about: Mapping[str, Any]) -> None:
    """Write an attention with its manifest; readers see the old file or the whole new one.

    Args:
        path: The file, by custom `*.safetensors`.
        attention: The module, on any device.
        about: The manifest; see `about_of`.

    Raises:
        MethodError: The manifest lacks something, is of another attention, or holds what JSON cannot.
        StorageError: The file cannot be written.
    """
    from safetensors.torch import save as to_bytes

    _check_manifest(about, str(path))
    own = {"kind": attention.kind, "channels": list(attention.channels), "maps": attention.maps}
    for name, value in own.items():
        if about[name] != value:
            raise MethodError(f"the manifest says {name} {about[name]!r}, the attention has {value!r}")
    try:
        header = json.dumps(dict(about), allow_nan=False)
    except (TypeError, ValueError) as reason:
        raise MethodError(f"the manifest of an attention must be plain JSON: {reason}") from reason
    state = {n: v.detach().cpu().contiguous() for n, v in attention.state_dict().items()}
    data = to_bytes(state, metadata={"format": "pt", _KEY: header})
    with atomic_write(path, size=len(data)) as file:
        file.write(data)


def load(
    path: str | os.PathLike[str], classifier: Classifier | BlackBox, *, auxiliary: Classifier | None = None
) -> Learned:
    """Read an attention and make sure that it belongs to a classifier.

    An attention is for the network it was trained beside, weight for weight. A classifier that stands in for another
    one (`Classifier.like(model, stands_in=True)`: the randomised networks of `parameter-randomisation`) counts as that
    one. A `BlackBox` shows no weights, so only its outputs are compared.

    Args:
        path: The file; with ` (weights DIGEST)` after it, as manifests have it, it must hold just those weights.
        classifier: What is to be explained.
        auxiliary: For `p-tame`: the classifier whose features it reads; checked where it is given.

    Raises:
        StorageError: There is no such file, or it is broken.
        MethodError: It is no attention, or one for another backbone, other outputs, labels or layers; the text names
            both sides and what to do.
    """
    text = os.fspath(path)
    pinned = _PINNED.fullmatch(text)
    if text.startswith("unsaved ") and pinned:
        raise MethodError(f"{text} was never written to a file: give the attention itself, or save it first")
    learned = read(pinned["file"] if pinned else text)
    if pinned and learned.digest != pinned["digest"]:
        raise MethodError(
            f"{pinned['file']} holds the weights {learned.digest}, not {pinned['digest']}: it was trained again since; "
            "give the path alone to use what is there now"
        )
    check_fit(learned.about, text, classifier, auxiliary)
    return learned


def read(path: str | os.PathLike[str]) -> Learned:
    """Read an attention's file without asking whom it belongs to; errors as for `load`."""
    about, state = _content(Path(path))
    _check_manifest(about, str(path))
    try:
        with torch.device("meta"):
            attention = _built(about)
        attention.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, ValueError, KeyError) as reason:
        raise MethodError(f"{path}: its weights do not fit its own manifest ({reason}); train it again") from reason
    bad = next((n for n, v in state.items() if v.is_floating_point() and not bool(v.isfinite().all())), None)
    if bad is not None:
        raise MethodError(f"{path}: the weights {bad!r} hold NaN or infinity; train it again with a lower rate")
    return Learned(attention.requires_grad_(False).eval(), about, str(path))


def _content(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StorageError(
            f"{path}: there is no such file; `sightline train attention` (sl.training.fit_attention) writes one"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get(_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as reason:
        raise StorageError(
            f"{path}: is truncated or no safetensors file ({reason}); copy it again, or train it again"
        ) from reason
    try:
        about = json.loads(header or "null")
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise MethodError(
            f"{path}: is no attention that Sightline trained (its header does not say {FORMAT!r}); "
            "`sightline train attention` (sl.training.fit_attention) writes one"
        )
    return about, state


def _built(about: Mapping[str, Any]) -> Attention:
    kind, variant, maps, channels = about["kind"], dict(about["variant"]), about["maps"], about["channels"]
    made: Attention
    if kind == "constant":
        made = Constant(tuple(variant["size"]), maps)
    elif kind in ("l-cam-fm", "l-cam-img"):
        (P,) = channels
        made = LCam(P, maps)
    else:
        made = Tame(channels, maps, **variant)
    made.kind, made.layers, made.directions = kind, tuple(about["layers"]), about["directions"]
    return made


def _check_manifest(about: Mapping[str, Any], where: str) -> None:
    wrong = next((n for n, kind in _NEEDED.items() if not isinstance(about.get(n), kind)), None)
    known = {"kind": get_args(Kind), "directions": get_args(Directions)}
    wrong = wrong or next((n for n, names in known.items() if about[n] not in names), None)
    if wrong is None and about["maps"] != about["outputs"] * (2 if about["directions"] == "two" else 1):
        wrong = "maps"
    if wrong is None and len(about["labels"]) != about["outputs"]:
        wrong = "labels"
    if wrong is None and not all(isinstance(c, int) and 0 < c < math.inf for c in about["channels"]):
        wrong = "channels"
    if wrong is not None:
        raise MethodError(f"{where}: the manifest of an attention has no usable {wrong!r}: {about.get(wrong)!r}")

"""Architectures by name with as many outputs as are wanted: what training begins with and its file is read into."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from sightline.errors import ModelError
from sightline.loading.source import Source, built, closest
from sightline.loading.weights import State
from sightline.loading.zoos import known_timm

_SHAPES = "torchvision:NAME, timm:NAME or facenet"
Size = tuple[int, int]


def backbone(
    spec: str,
    outputs: int,
    *,
    size: Size,
    options: Mapping[str, Any] | None = None,
    state: State | None = None,
) -> Source:
    """An architecture with a head of so many outputs; nothing is downloaded.

    Args:
        spec: `torchvision:NAME`, `timm:NAME`, or `facenet` (the small network of the rendered faces).
        outputs: How many.
        size: (height, width) of its input; vision transformers are built for it.
        options: Further arguments of the library's builder: `{"output_stride": 16}` keeps the last map of a timm ResNet
            twice as fine.
        state: Weights to begin with: everything but a head of another number of outputs.

    Returns:
        The model in eval mode, its mean and std; random weights are the same at every call (seed 0).

    Raises:
        ModelError: An unknown name, options that the builder refuses, weights of another architecture.
        MissingExtraError: timm is not installed.
    """
    kind, _, name = spec.partition(":")
    if kind == "torchvision" and name:
        found = _torchvision(name, outputs, size, dict(options or {}))
    elif kind == "timm" and name:
        found = _timm(name, outputs, size, dict(options or {}))
    elif spec == "facenet":
        found = _facenet(outputs, dict(options or {}))
    else:
        raise ModelError(f"cannot read the backbone {spec!r}; write {_SHAPES}")
    if state is not None:
        _begin(found.model, state, spec)
    return found


def _torchvision(name: str, outputs: int, size: Size, options: dict[str, Any]) -> Source:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        hint = closest(name, known, otherwise="torchvision.models.list_models() has all names")
        raise ModelError(f"torchvision has no classifier {name!r}; {hint}")
    builder = models.get_model_builder(name)
    settings: dict[str, Any] = {"num_classes": outputs, **options}
    if name in ("googlenet", "inception_v3"):
        settings = {"aux_logits": False, "init_weights": True, **settings}
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise ModelError(f"torchvision:{name} takes square images only, not {size[0]} x {size[1]}")
        settings = {"image_size": size[0], **settings}
    preset = models.get_model_weights(builder).DEFAULT.transforms()
    model = built(lambda: builder(weights=None, **settings), f"torchvision:{name}")
    return Source(model=model, mean=preset.mean, std=preset.std, size=size)


def _timm(name: str, outputs: int, size: Size, options: dict[str, Any]) -> Source:
    timm, data = known_timm(name)
    settings = {"num_classes": outputs, **options}
    if timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        settings = {"img_size": size, **settings}
    model = built(lambda: timm.create_model(name, pretrained=False, **settings), f"timm:{name}")
    made_for = data.resolve_model_data_config(model)
    return Source(model=model, mean=made_for["mean"], std=made_for["std"], size=size)


def _facenet(outputs: int, options: dict[str, Any]) -> Source:
    from sightline.models.facenet import MEAN, STD, FaceNet

    strange = [key for key in options if key not in inspect.signature(FaceNet).parameters]
    if strange:
        raise ModelError(f"facenet takes no option {strange[0]!r}; it takes none")
    return Source(model=built(lambda: FaceNet(outputs), "facenet"), mean=MEAN, std=STD)


def _begin(model: nn.Module, state: State, spec: str) -> None:
    """Load weights; a head of another number of outputs stays random, nothing else may differ."""
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    shapes = [k for k in own if k in state and state[k].shape != own[k].shape]
    heads = {k.rpartition(".")[0] for k in shapes}
    tails = all(state[k].shape[1:] == own[k].shape[1:] for k in shapes)
    unexpected = [k for k in state if k not in own and not k.lower().startswith("aux")]
    if missing or unexpected or len(heads) > 1 or not tails:
        wrong = (missing or unexpected or shapes)[:4]
        raise ModelError(
            f"the weights do not fit {spec}: {len(missing)} missing, {len(unexpected)} unexpected, {len(shapes)} of "
            f"another shape ({', '.join(wrong)}); take weights of the same architecture and options"
        )
    kept = {k: v for k, v in state.items() if k in own and k not in shapes}
    model.load_state_dict({**own, **kept})

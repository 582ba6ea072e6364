"""Models by name: torchvision and timm. Both are built without downloading anything."""

import importlib
import inspect
from typing import Any

from torch import nn

from sightline.errors import MissingExtraError, ModelError
from sightline.loading.source import Source, built, closest
from sightline.loading.weights import State, fit_state

Size = int | tuple[int, int] | None

_REFUSED = {
    "detection": "it finds objects and gives boxes; Sightline explains classifiers and segmentations",
    "video": "it takes films; Sightline takes images",
    "optical_flow": "it takes pairs of images; Sightline takes one",
    "quantization": "quantised weights have no gradients; take the model of the same name without quantized_",
}


def from_torchvision(name: str, state: State | None, size: Size) -> Source:
    """A classifier or segmentation of torchvision; normalisation, size and labels as its published weights say.

    GoogLeNet and Inception v3 with a file of weights swap the input's normalisation as the published weights do.

    Raises:
        ModelError: An unknown name, a model that is no classifier, weights that do not fit.
    """
    from torchvision import models

    if name not in (known := models.list_models()):
        hint = closest(name, known, otherwise="torchvision.models.list_models() has all names")
        raise ModelError(f"torchvision has no model {name!r}; {hint}")
    builder = models.get_model_builder(name)
    room = builder.__module__.removeprefix("torchvision.models.").partition(".")[0]
    if room in _REFUSED:
        raise ModelError(f"torchvision:{name} cannot be explained: {_REFUSED[room]}")
    settings = _torchvision_settings(name, builder, state, size)

    def make(**more: Any) -> nn.Module:
        return built(lambda: builder(weights=None, **settings, **more), f"torchvision:{name}")

    outputs = 21 if room == "segmentation" else 1000

    def rebuild(count: int) -> nn.Module:
        nonlocal outputs
        outputs = count
        return make(num_classes=count)

    model = make()
    if state is not None:
        model = fit_state(model, state, rebuild=rebuild, what=f"torchvision:{name}")
    published = models.get_model_weights(builder).DEFAULT
    preset, labels = published.transforms(), tuple(published.meta["categories"])
    side = getattr(preset, "crop_size", preset.resize_size)[0]
    fits = len(labels) == outputs
    return Source(model=model, mean=preset.mean, std=preset.std, size=side, labels=labels if fits else None)


def _torchvision_settings(name: str, builder: Any, state: State | None, size: Size) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "weights_backbone" in inspect.signature(builder).parameters:
        settings["weights_backbone"] = None
    names = list(state or ())
    if "aux_loss" in inspect.signature(builder).parameters:
        settings["aux_loss"] = any(k.startswith("aux_classifier.") for k in names)
    if name in ("googlenet", "inception_v3"):
        settings["init_weights"] = state is None
        settings["aux_logits"] = any(k.lower().startswith("aux") for k in names)
        settings["transform_input"] = state is not None
    if name.startswith("vit_") and size is not None:
        sides = {size} if isinstance(size, int) else set(size)
        if len(sides) > 1:
            raise ModelError(f"torchvision:{name} takes square images only, not {size}")
        settings["image_size"] = sides.pop()
    return settings


def known_timm(name: str) -> tuple[Any, Any]:
    """`timm` and `timm.data`, for a model that is there.

    Raises:
        MissingExtraError: timm is not installed.
        ModelError: An unknown name.
    """
    try:
        timm: Any = importlib.import_module("timm")
        data: Any = importlib.import_module("timm.data")
    except ImportError as reason:
        raise MissingExtraError('timm: models need timm; install it with: pip install "sightline[timm]"') from reason
    if not timm.is_model(name):
        hint = closest(name, timm.list_models(), otherwise="timm.list_models('*part*') finds names")
        raise ModelError(f"timm has no model {name!r}; {hint}")
    return timm, data


def from_timm(name: str, state: State | None, size: Size) -> Source:
    """A classifier of timm; normalisation, size and labels as its default configuration says.

    Raises:
        MissingExtraError: timm is not installed.
        ModelError: An unknown name, or weights that do not fit.
    """
    timm, data = known_timm(name)
    settings: dict[str, Any] = {}
    if size is not None and timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        settings["img_size"] = size

    def make(**more: Any) -> nn.Module:
        return built(lambda: timm.create_model(name, pretrained=False, **settings, **more), f"timm:{name}")

    model = make()
    if state is not None:
        model = fit_state(model, state, rebuild=lambda n: make(num_classes=n), what=f"timm:{name}")
    made_for = data.resolve_model_data_config(model)
    height, width = made_for["input_size"][1:]
    labels = _timm_labels(model, data)
    return Source(model=model, mean=made_for["mean"], std=made_for["std"], size=(height, width), labels=labels)


def _timm_labels(model: Any, data: Any) -> tuple[str, ...] | None:
    subset = data.infer_imagenet_subset(model)
    if subset is None:
        return None
    info = data.ImageNetInfo(subset)
    if info.num_classes() != model.num_classes:
        return None
    return tuple(info.index_to_description(i).partition(",")[0] for i in range(model.num_classes))

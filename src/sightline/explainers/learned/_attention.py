"""New attention whose shapes fit a classifier, and the layers that it reads unless told."""

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from sightline import layers as layering
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MethodError
from sightline.explainers.learned._channels import Directions, channel_of, directions_for, maps_for
from sightline.explainers.learned._features import layouts, seen_by
from sightline.explainers.learned._modules import Attention, Constant, LCam, Tame

__all__ = [
    "Attention", "Constant", "Directions", "Kind", "LCam", "Tame", "attention_for", "channel_of", "default_layers",
]  # fmt: skip

Kind = Literal["l-cam-fm", "l-cam-img", "tame", "t-tame", "p-tame", "constant"]
TAMES = ("tame", "t-tame", "p-tame")
_NO_STAGE = ("Pool", "Softmax")  # smaller already, or weights of an attention that look like maps
_STAGES = 3  # layers that a TAME reads, as in the paper


def attention_for(
    kind: Kind,
    classifier: Classifier | BlackBox,
    layers: Sequence[str],
    directions: Directions | None = None,
    *,
    auxiliary: Classifier | None = None,
    **variant: Any,
) -> Attention:
    """New attention whose shapes fit a classifier: its layers are looked at in one pass on a blank image.

    Args:
        kind: What for.
        classifier: What is to be explained.
        layers: One layer for `l-cam-*`, one or more for the TAMEs (shallow first), none for `constant`.
        directions: See `channel_of`; by default `category`, or `two` for yes-or-no outputs.
        auxiliary: For `p-tame`: the classifier whose features are read.
        **variant: Settings of `Tame`, or `size` of `Constant`. `p-tame` has no bias in the fusion unless told.

    Returns:
        A module on the classifier's device, its weights drawn from PyTorch's global generator.

    Raises:
        MethodError: An unknown kind or setting, a number of layers that does not fit, directions that do not.
        LayerError: A layer that does not exist or has no spatial map.
    """
    maps = maps_for(classifier, directions)
    count = len(layers)
    if kind not in get_args(Kind):
        raise MethodError(f"there is no attention of the kind {kind!r}; there are {', '.join(get_args(Kind))}")
    fits = {"constant": count == 0, "l-cam-fm": count == 1, "l-cam-img": count == 1}.get(kind, count > 0)
    if not fits:
        wanted = {"constant": "no layer", "l-cam-fm": "one layer", "l-cam-img": "one layer"}.get(kind, "at least one")
        raise MethodError(f"{kind} reads {wanted}, not {count}: {list(layers)}")
    if kind == "p-tame":
        variant = {"fusion_bias": False, **variant}
    source = seen_by(kind, classifier, auxiliary)
    channels = [layout.channels for layout in layouts(source, layers)] if source is not None else []
    made: Attention
    try:
        if kind == "constant":
            made = Constant(maps=maps, **{"size": (7, 7), **variant})
        else:
            made = Tame(channels, maps, **variant) if kind in TAMES else LCam(channels[0], maps, **variant)
    except TypeError as reason:
        raise MethodError(f"{kind} cannot be built with {variant}: {reason}") from reason
    made.kind, made.layers, made.directions = kind, tuple(layers), directions_for(classifier, directions)
    return made.to(classifier.device)


def default_layers(
    kind: Kind, classifier: Classifier | BlackBox, *, auxiliary: Classifier | None = None
) -> tuple[str, ...]:
    """The layers that a kind of attention reads unless told: those of the papers, as far as a rule can find them.

    One layer: the last one with a spatial map, as for Grad-CAM. Several: that one and the last ones of the stages
    before it, a stage being a resolution (ResNet: `layer2`, `layer3`, `layer4`); four for `p-tame`. In a network of
    one resolution (ViT): the layers of the same name in the blocks before.

    Raises:
        LayerError: There is no layer with a spatial map.
        MethodError: See `attention_for`.
    """
    source = seen_by(kind, classifier, auxiliary)
    if source is None:
        return ()
    last = layering.default_layer(source, source.size)
    if kind not in TAMES:
        return (last,)
    count = _STAGES + 1 if kind == "p-tame" else _STAGES
    known = [info for info in source.layers() if info.connected and info.layout is not None]
    names = [info.name for info in known]
    found: dict[tuple[int, int], str] = {}
    for info in known[: names.index(last) + 1]:
        assert info.layout is not None  # noqa: S101 - filtered above
        size = info.layout.height, info.layout.width
        outer = info.name.count(".") <= found.get(size, info.name).count(".")  # a stage's own name is the shortest
        if outer and not any(part in info.module for part in _NO_STAGE):
            found[size] = info.name
    found.pop(size, None)  # the last layer's own resolution
    stages = [found[larger] for larger in sorted(found, reverse=True) if larger > size] + [last]
    if len(stages) == 1:
        stages = _same_in_blocks_before(last, names)
    return tuple(stages[-count:])


def _same_in_blocks_before(last: str, names: Sequence[str]) -> list[str]:
    """`blocks.11.norm1` -> [`blocks.0.norm1`, ..., `blocks.11.norm1`], as far as there are such layers."""
    fits = re.fullmatch(r"(.*?)(\d+)(\D*\d?)", last)
    if fits is None:
        return [last]
    head, number, tail = fits.groups()
    return [name for name in (f"{head}{i}{tail}" for i in range(int(number) + 1)) if name in names]

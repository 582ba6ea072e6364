"""One step's look at a batch: features and outputs without a graph, then outputs of the masked batch with one.

`Features` (L-CAM-Fm) multiplies all channels of the tapped layer by a and runs the tail of the model. `Image`
(L-CAM-Img, the TAMEs) multiplies the image by a, upsampled bilinearly, and runs the whole model. The frozen
classifier's parameters get no gradients in either.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sightline import layers as layering
from sightline.classifier import Classifier
from sightline.errors import InputError, SightlineError
from sightline.explainers.learned._features import tapped
from sightline.explainers.masking._tail import _STATE, Tail, _Replay
from sightline.explainers.question import Question

_SAME = 1e-3  # relative: outputs of a tail that is given features alone, against the whole model's


@dataclass(frozen=True)
class Looked:
    """What is known of a batch before it is masked.

    Attributes:
        outputs: (N, C) of the unaltered images, float32.
        features: What the attention reads: [(N, C_l, h_l, w_l), ...], float32.
        masked: a (N, 1, h, w) -> outputs of the masked batch (N, C), differentiable in a.
        stored: What a cache keeps of it: the tapped layers' outputs.
    """

    outputs: Tensor
    features: list[Tensor]
    masked: Callable[[Tensor], Tensor]
    stored: list[Tensor]


class Image:
    """Masks the image.

    Args:
        classifier: What is explained.
        source: Whose features the attention reads: itself, an auxiliary classifier, or nobody.
        layers: The tapped layers, with an optional `@nchw` and so on.
        mask_space: `pixels`: up(a) * x, then normalised; `normalised`: up(a) * normalised x.
        dropout: Whether the classifier's dropout stays on behind the mask.
    """

    needs_pixels = True

    def __init__(
        self,
        classifier: Classifier,
        source: Classifier | None,
        layers: Sequence[str],
        *,
        mask_space: str = "pixels",
        dropout: bool = False,
    ) -> None:
        self.classifier, self.source, self.layers = classifier, source, tuple(layers)
        self.mask_space, self.dropout = mask_space, dropout
        if dropout:
            refuse_without_dropout(classifier)

    def look(self, pixels: Tensor) -> Looked:
        """One forward pass without a graph (two, where the features are an auxiliary classifier's)."""
        if self.source is self.classifier:
            outputs, features = tapped(self.classifier, pixels, self.layers)
        else:
            outputs = self.classifier(pixels)
            features = [] if self.source is None else tapped(self.source, pixels, self.layers)[1]
        return self.known(outputs, features, pixels)

    def known(self, outputs: Tensor, stored: Sequence[Tensor], pixels: Tensor | None) -> Looked:
        """The same from what a cache kept of it."""
        assert pixels is not None  # noqa: S101 - needs_pixels
        found = pixels
        return Looked(outputs, list(stored), lambda a: self._masked(found, a), list(stored))

    def _masked(self, pixels: Tensor, a: Tensor) -> Tensor:
        twin = self.classifier.twin()
        up = F.interpolate(a, size=pixels.shape[2:], mode="bilinear", align_corners=False)
        with torch.inference_mode(False), torch.enable_grad(), _dropout(twin, self.dropout):
            if self.mask_space == "normalised":
                return self.classifier.scores(twin, self.classifier.normalise(pixels) * up)
            return self.classifier.run(twin, pixels * up)


class Features:
    """Masks the features of one layer.

    Args:
        classifier: What is explained; its tail is run.
        layer: The layer, with an optional `@nchw` and so on.
        dropout: Whether the tail's dropout stays on.
    """

    needs_pixels = False

    def __init__(self, classifier: Classifier, layer: str, *, dropout: bool = False) -> None:
        self.classifier, self.layers, self.dropout = classifier, (layer,), dropout
        if dropout:
            refuse_without_dropout(classifier)
        self._alone: Tail | None = None

    def look(self, pixels: Tensor) -> Looked:
        """One forward pass without a graph, which keeps what the tail needs."""
        tail = self._tail(pixels)
        index = torch.arange(len(pixels), device=tail.A.device)

        def masked(a: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad(), _dropout(tail.twin, self.dropout):
                return tail(tail.A * a, index)

        return Looked(tail.outputs, [tail.A], masked, [tail._first])

    def known(self, outputs: Tensor, stored: Sequence[Tensor], pixels: Tensor | None = None) -> Looked:
        """The same from the layer's output alone; see `stands_alone`."""
        assert self._alone is not None  # noqa: S101 - stands_alone was asked
        tail, (first,) = self._alone, stored
        A = tail.layout.to_maps(first).float()

        def masked(a: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad(), _dropout(tail.twin, self.dropout):
                return _replayed(tail, A * a, first)

        return Looked(outputs, [A], masked, [first])

    @property
    def ready(self) -> bool:
        """Whether `known` can be called."""
        return self._alone is not None

    def stands_alone(self, pixels: Tensor) -> bool:
        """Whether the tail needs nothing but the layer's output, so that a cache of it is enough.

        Everything else that was computed before the layer is replaced by NaN on a few images: what came out would be
        NaN too if any of it went into the outputs.
        """
        tail = self._tail(pixels[:2])
        with torch.no_grad():
            try:
                twice = tail._first.repeat(2, *[1] * (tail._first.ndim - 1))  # another number of images than was seen
                again = _replayed(tail, tail.A.repeat(2, 1, 1, 1), twice)
            except SightlineError:
                return False
        scale = tail.outputs.abs().amax().clamp(min=1e-6)
        self._alone = tail
        return bool((again - tail.outputs.repeat(2, 1)).abs().amax() / scale <= _SAME)

    def _tail(self, pixels: Tensor) -> Tail:
        question = Question(self.classifier, pixels, named=self.layers)
        return Tail(question, layering.split_name(self.layers[0])[0])


def _replayed(tail: Tail, maps: Tensor, first: Tensor) -> Tensor:
    """Outputs for activations (N, K, h, w), everything before the layer unknown; `first` as the layer gives it."""
    N, old = len(maps), len(tail.values)

    def unknown(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            return value
        shape = (N, *value.shape[1:]) if value.ndim and len(value) == old else tuple(value.shape)
        filled = value.new_full((), torch.nan).expand(shape)
        return filled.clone() if tail._copy else filled  # the model may write into it

    altered = tail.layout.from_maps(maps, first).to(first.dtype).clone()  # the model may write into it
    script = []
    for module, kind, out in tail._steps:
        given = tree_map(lambda v: altered if v is tail._first else unknown(v), out) if kind != "run" else out
        script.append((module, kind != "run", given))
    token = _STATE.set(_Replay(script))
    try:
        return tail.classifier.scores(tail.twin, unknown(tail.values))
    finally:
        _STATE.reset(token)


def _dropouts(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]


def refuse_without_dropout(classifier: Classifier) -> None:
    """Raise where there is no dropout to keep on.

    Raises:
        InputError: The text says so.
    """
    if not _dropouts(classifier.source):
        raise InputError(
            f"dropout_active=True, but {type(classifier.source).__name__} has no dropout layer; leave it away"
        )


@contextlib.contextmanager
def _dropout(twin: nn.Module, on: bool) -> Iterator[None]:
    """The dropout layers of a private replica switched on for one pass."""
    layers = _dropouts(twin) if on else []
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer in layers:
            layer.training = False


def private(
    classifier: Classifier, device: torch.device, *, unnormalised: bool, dropout: bool, bfloat16: bool
) -> Classifier:
    """The classifier to train beside: itself, or one of our own on its parameters where switches would alter it.

    Args:
        classifier: The user's.
        device: Where training runs.
        unnormalised: Leave the normalisation away.
        dropout: Its dropout layers are switched on and off.
        bfloat16: Run it in bfloat16.
    """
    if not (unnormalised or dropout or (bfloat16 and classifier.precision == "float32")) and (
        device == classifier.device
    ):
        return classifier
    mean, std = (None if v is None else v.flatten().tolist() for v in (classifier.mean, classifier.std))
    return Classifier(
        classifier.source,
        labels=classifier._labels,
        decision=classifier.decision,
        mean=None if unnormalised else mean,
        std=None if unnormalised else std,
        size=classifier.size,
        device=device,
        precision="bfloat16" if bfloat16 else classifier.precision,
        output=classifier._output,
        channels_last=classifier._channels_last,
    )

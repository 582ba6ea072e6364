"""The classifier: a user's model plus what is needed to ask it a question, on a private frozen replica."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sightline import layers, replica
from sightline.asked import Asked
from sightline.blackbox import BlackBox
from sightline.capture import INPUT, taped
from sightline.errors import ModelError, OutOfMemoryError, out_of_memory
from sightline.passes import Pass, refuse_probabilities
from sightline.target import Decision

__all__ = ["BlackBox", "Classifier", "Precision"]

Precision = Literal["float32", "bfloat16"]


class Classifier(Asked):
    """A model that can be explained.

    Args:
        model: Any `torch.nn.Module` that maps normalised images to scores *before* softmax or sigmoid. It is never
            touched: Sightline works on a replica that shares the parameters' storage and follows later training.
        labels: Names of the outputs.
        decision: `categorical`, `binary`, `multilabel`, `segmentation` or `embedding`. By default one output is
            binary, outputs (B, C, H, W) are a segmentation, and everything else is categorical.
        mean, std: Normalisation of pixels in [0, 1], one value a channel; none by default.
        size: Height and width (or one number) that the model was made for; used where no image tells it.
        device: Where to run; by default where the model's parameters are (elsewhere they are copied).
        precision: `float32`, or `bfloat16` (autocast; maps still come out as float32).
        output: Picks the scores out of what the model returns: a key, a position, or a function. By default a
            tensor, the first tensor of a tuple, or the entry `logits` or `out`.
        channels_last: Run images in channels-last memory order (faster convolutions, the same numbers up to rounding).
        fold: Use folded batch norms where that is exact and the explained layer does not see it.

    Raises:
        ModelError: A model that cannot be replicated, or settings that do not fit together.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        labels: Sequence[str] | None = None,
        decision: Decision | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: int | tuple[int, int] = 224,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        output: str | int | Callable[[Any], Tensor] | None = None,
        channels_last: bool = True,
        fold: bool = True,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"a Classifier wraps a torch.nn.Module, not {type(model).__name__}; for any callable use sl.BlackBox"
            )
        if precision not in get_args(Precision):
            raise ModelError(f"precision must be 'float32' or 'bfloat16', not {precision!r}")
        super().__init__(labels=labels, decision=decision, size=size)
        self.source = replica.unwrap(model)
        first = next(self.source.parameters(), None)
        home = first.device if first is not None else torch.device("cpu")
        self.device = torch.device(device) if device is not None else home
        self.precision: Precision = precision
        self._dtype = first.dtype if first is not None and first.dtype.is_floating_point else torch.float32
        self.channels = len(mean) if mean is not None and len(mean) > 1 else _input_channels(self.source)
        self.mean, self.std = _normalisation(mean, std, self.channels)
        self._output, self._channels_last, self._fold = output, channels_last, fold
        self._lock = threading.RLock()
        self._stamp: tuple[int, ...] | None = None
        self._twins: dict[str, nn.Module] = {}
        self._folded: frozenset[tuple[str, str]] = frozenset()
        self._cache: dict[Any, Any] = {}
        self.original: Classifier | None = None  # the one that this one stands in for; see `like`
        self.refresh()

    def refresh(self) -> None:
        """Rebuild the replica if the model's parameters or buffers were written to since; called before every pass."""
        stamp = replica.versions(self.source)
        if stamp == self._stamp:
            return
        with self._lock, torch.inference_mode(False):
            if stamp == self._stamp:
                return
            base = replica.replicate(self.source)
            self._twins = {"base": base.to(self.device) if self.device != _home(base) else base}
            self._folded, self._cache, self._stamp = frozenset(), {}, stamp

    def twin(self, *, untouched: Sequence[str] | None = ()) -> nn.Module:
        """The replica to run.

        Args:
            untouched: Layers whose outputs must be the original's; None for all of them. Where that allows it, batch
                norms are folded and activations stay in place (a tapped layer hands on a copy of its output).
        """
        self.refresh()
        with self._lock, torch.inference_mode(False):
            if "fast" not in self._twins:
                fast = replica.replicate(self._twins["base"])
                self._folded = replica.fold_batch_norms(fast) if self._fold else frozenset()
                self._twins["fast"] = fast
            if untouched is not None and not any(_between(u, *pair) for u in untouched for pair in self._folded):
                return self._twins["fast"]
            if "plain" not in self._twins:
                self._twins["plain"] = replica.out_of_place(replica.replicate(self._twins["base"]))
            return self._twins["plain"]

    def normalise(self, pixels: Tensor, *, order: bool = True) -> Tensor:
        """Pixels in [0, 1] -> what the model takes; differentiable. `order`: in the memory order that suits it."""
        values = pixels
        if self.mean is not None and self.std is not None:
            values = (values - self.mean.to(values.device)) / self.std.to(values.device)
        if self._channels_last and order:
            values = values.contiguous(memory_format=torch.channels_last)
        return values.to(self._dtype)

    def run(self, twin: nn.Module, pixels: Tensor) -> Tensor:
        """Scores of checked pixels under a given replica; differentiable where the pixels or a tapped layer are."""
        return self.scores(twin, self.normalise(pixels))

    def scores(self, twin: nn.Module, values: Tensor, precision: Precision | None = None) -> Tensor:
        """Scores of normalised images under a given replica, in the classifier's precision or another one.

        Raises:
            OutOfMemoryError: There is not enough memory for so many images.
            ModelError: The model fails, or its outputs cannot be used.
        """
        bf16 = (precision or self.precision) == "bfloat16"
        try:
            with torch.autocast(self.device.type, dtype=torch.bfloat16 if bf16 else None, enabled=bf16):
                outputs = self.select(twin(values))
        except (RuntimeError, MemoryError) as reason:
            if out_of_memory(reason):
                raise OutOfMemoryError(
                    f"out of memory for {len(values)} images of {tuple(values.shape[2:])}; explain fewer at a time"
                ) from reason
            if isinstance(reason, MemoryError):
                raise
            raise ModelError(
                f"the model failed on pixels of shape {tuple(values.shape)}: {reason}. "
                f"If the size is wrong, this classifier was told size={self.size}; sightline.data.images.fit resizes"
            ) from reason
        return self.check_outputs(outputs, len(values))

    def select(self, outputs: Any) -> Any:
        """Pick the scores out of what the model returns, as `output=` says."""
        if self._output is None:
            return outputs
        if callable(self._output):
            return self._output(outputs)
        try:
            if isinstance(outputs, Tensor):
                raise TypeError("a tensor has no parts")
            return outputs[self._output]
        except (KeyError, IndexError, TypeError) as reason:
            has = list(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise ModelError(f"output={self._output!r} is not in what the model returns ({has})") from reason

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scores before softmax or sigmoid: (B, C), or (B, C, h, w) for a segmentation; float32, without a graph."""
        pixels = self.check_pixels(pixels)
        with torch.inference_mode(False), torch.no_grad():
            return self.run(self.twin(), pixels)

    @contextlib.contextmanager
    def differentiable(self) -> Iterator[None]:
        """Gradients on, whatever mode the caller is in."""
        with torch.inference_mode(False), torch.enable_grad():
            yield

    def forward(self, pixels: Tensor, *, layers: Sequence[str] = (), fold: bool = True) -> Pass:
        """One forward pass of checked pixels, inside `differentiable`: with a graph from the given layers on."""
        twin = self.twin(untouched=layers if fold else None)
        with taped(twin, layers) as tape:
            outputs = self.run(twin, pixels)
        if self._decision != "embedding":
            refuse_probabilities(outputs)
        return Pass(pixels=pixels, outputs=outputs, seen=tape.seen, layers=tuple(layers))

    def layers(self, size: int | tuple[int, int] | None = None) -> tuple["layers.LayerInfo", ...]:
        """What can be explained: every layer with a spatial map, in the order they run; see `sightline layers`."""
        size = self.size if size is None else (size, size) if isinstance(size, int) else size
        found: tuple[layers.LayerInfo, ...] = self.cached(("layers", size), lambda: layers.survey(self, size))
        return found

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """A value that stays true until the model changes."""
        with self._lock:
            if key not in self._cache:
                self._cache[key] = make()
            return self._cache[key]

    def holds(self, key: Any) -> bool:
        """Whether `cached` has this value already."""
        return key in self._cache

    def like(self, model: nn.Module, *, stands_in: bool = False) -> "Classifier":
        """Another model asked in the same way: the same labels, decision, normalisation, size, device and precision.

        Its batch norms are not folded, so that it holds no copy of the weights.

        Args:
            model: The other model.
            stands_in: It stands in for this one, altered on purpose (weights made random, to check a method): what was
                learned for this one is accepted for it.
        """
        mean, std = (None if v is None else v.flatten().tolist() for v in (self.mean, self.std))
        other = Classifier(
            model,
            labels=self._labels,
            decision=self.decision,
            mean=mean,
            std=std,
            size=self.size,
            device=self.device,
            precision=self.precision,
            output=self._output,
            channels_last=self._channels_last,
            fold=False,
        )
        other.original = (self.original or self) if stands_in else None
        return other

    def fingerprint(self) -> str:
        """The first 16 hex digits of SHA-256 over the names, shapes and values of all weights."""
        found: str = self.cached("fingerprint", lambda: replica.fingerprint(self._twins["base"].state_dict()))
        return found

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the classifier."""
        flat = [None if v is None else v.flatten().tolist() for v in (self.mean, self.std)]
        return {
            "model": type(self.source).__name__,
            "weights": self.fingerprint(),
            "decision": self.decision,
            "outputs": self.width,
            "mean": flat[0],
            "std": flat[1],
            "precision": self.precision,
            "device": str(self.device),
        }

    def __repr__(self) -> str:
        name = type(self.source).__name__
        return f"Classifier({name}, decision={self._decision!r}, size={self.size}, device={str(self.device)!r})"


def _between(layer: str, convolution: str, norm: str) -> bool:
    """Whether a layer may end on a convolution whose batch norm comes after it: folding would change its output.

    The input of a layer (`@input`) is such a value where the layer begins with the norm.
    """
    if layer.endswith(INPUT):
        name = layer.removesuffix(INPUT)
        return f"{norm}.".startswith(f"{name}.") and not convolution.startswith(f"{name}.")
    return f"{convolution}.".startswith(f"{layer}.") and not norm.startswith(f"{layer}.")


def _home(module: nn.Module) -> torch.device:
    first = next(module.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


def _input_channels(model: nn.Module) -> int:
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3, 4) else 3


def _normalisation(mean: Any, std: Any, channels: int) -> tuple[Tensor | None, Tensor | None]:
    if mean is None and std is None:
        return None, None
    m = torch.as_tensor(0.0 if mean is None else mean, dtype=torch.float32).reshape(-1)
    s = torch.as_tensor(1.0 if std is None else std, dtype=torch.float32).reshape(-1)
    for name, value in (("mean", m), ("std", s)):
        if len(value) not in (1, channels) or not bool(value.isfinite().all()):
            raise ModelError(
                f"{name} must hold one finite value, or one for each of {channels} channels, not {value.tolist()}"
            )
    if bool((s <= 0).any()):
        raise ModelError(f"std must be positive, not {s.tolist()}")
    return m.expand(channels).reshape(1, -1, 1, 1), s.expand(channels).reshape(1, -1, 1, 1)

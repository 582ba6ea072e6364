"""Explainers: a method bound to a classifier, `explainer(pixels, target) -> Explanation`."""

import importlib
import pkgutil
import time
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sightline import registry
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MethodError, ModelError
from sightline.explainers.method import Maps, explains, run_cam
from sightline.explainers.method import cam as cam_method
from sightline.explainers.question import Estimate, Probed, Question
from sightline.explanation import Explanation
from sightline.registry import Fuse, Method, Paper
from sightline.target import AnyTarget
from sightline.versions import versions

__all__ = [
    "Explainer",
    "Maps",
    "Paper",
    "Question",
    "cam_method",
    "explain",
    "explainer",
    "explains",
    "methods",
    "partial",
    "recorded",
]


def _discover() -> None:
    """Import every file of every room below this one: adding a method is adding a file."""
    for room in pkgutil.iter_modules(__path__, f"{__name__}."):
        if room.ispkg:
            package = importlib.import_module(room.name)
            for file in pkgutil.iter_modules(package.__path__, f"{room.name}."):
                importlib.import_module(file.name)


def methods() -> tuple[Method, ...]:
    """Records of all methods: name, family, paper, summary, cost, what they need, settings."""
    return registry.everything()


class Explainer:
    """A method bound to a classifier with its settings; made by `explainer`, safe to call from many threads."""

    def __init__(
        self,
        method: str,
        classifier: Classifier | BlackBox,
        *,
        layer: str | Sequence[str] | None = None,
        fuse: Fuse | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        self.method = registry.find(method)
        if not isinstance(classifier, Classifier | BlackBox):
            raise ModelError(
                f"explain a sl.Classifier (or sl.BlackBox), not {type(classifier).__name__}: wrap it, "
                "sl.Classifier(model, ...)"
            )
        if self.method.needs and isinstance(classifier, BlackBox):
            raise MethodError(
                f"{method} needs the model's {' and '.join(sorted(self.method.needs))}, which a BlackBox does not show"
            )
        if layer is not None and not self.method.needs & {"features", "layer"}:
            raise MethodError(f"{method} looks at no layer; leave layer= away")
        self.classifier, self.seed = classifier, seed
        self.layer = (layer,) if isinstance(layer, str) else tuple(layer or ())
        self.fuse: Fuse = fuse or self.method.fuse
        self.settings = registry.check_settings(self.method, settings)
        if self.method.bind is not None:
            self.layer, self.settings = self.method.bind(classifier, self.layer, self.settings)

    def __call__(self, pixels: Tensor, target: AnyTarget = None, *, truth: Tensor | None = None) -> Explanation:
        """Explain decisions.

        Args:
            pixels: (B, C, H, W) in [0, 1].
            target: None (the decision made), one target for all images, a list of one an image, or `each(...)`.
            truth: True labels (B,) or (B, C) for targets that ask for them.

        Returns:
            One row an image and target, image-major.

        Raises:
            InputError, TargetError, LayerError, ModelError, MethodError: Each names the thing and what to do.
        """
        # The formulas run in float32 and may differentiate, whatever mode the caller is in.
        with torch.inference_mode(False), torch.autocast(self.classifier.device.type, enabled=False):
            pixels = self.classifier.check_pixels(pixels)
            question = Question(self.classifier, pixels, target, truth, self.layer, self.seed, self.fuse)
            try:
                return self._explanation(question, self._answer(question))
            except BaseException as reason:
                maps: Maps | None = getattr(reason, "sightline_maps", None)
                if maps is not None:
                    reason.sightline_maps = None  # type: ignore[attr-defined]
                    reason.sightline_partial = self._explanation(question, maps)  # type: ignore[attr-defined]
                raise

    def estimate(self, pixels: Tensor, target: AnyTarget = None, *, truth: Tensor | None = None) -> Estimate:
        """How many forward passes an explanation takes and roughly how long, before it is made.

        A method on masked images asks a few of them; any other is simply timed once.

        Args:
            pixels: As for the call.
            target: As for the call.
            truth: As for the call.

        Returns:
            An estimate that prints as a sentence.
        """
        with torch.inference_mode(False), torch.autocast(self.classifier.device.type, enabled=False):
            pixels = self.classifier.check_pixels(pixels)
            question = Question(self.classifier, pixels, target, truth, self.layer, self.seed, self.fuse, probe=True)
            start = time.perf_counter()
            try:
                self._answer(question)
            except Probed as found:
                return found.estimate
            return Estimate(self.method.forwards * len(pixels), time.perf_counter() - start)

    def _answer(self, question: Question) -> Maps:
        method = self.method
        if method.decisions and (decision := self.classifier.decision_on(question.pixels)) not in method.decisions:
            kinds = " or ".join(sorted(method.decisions))
            raise MethodError(f"{method.name} is for {kinds} classifiers, not {decision}")
        if method.runner == "cam":
            return run_cam(method, question, self.fuse, self.settings)
        result: Maps = method.function(question, **self.settings)
        question.ask()
        return result

    def _explanation(self, question: Question, result: Maps) -> Explanation:
        layers = question.layers if question.named or "features" in self.method.needs else ()
        shared: dict[str, Any] = {
            "image": question.image,
            "targets": question.targets,
            "score": question.score,
            "probability": question.probability,
            "method": self.method.name,
            "polarity": self.method.polarity,
            "signed": self.method.signed,
            "size": question.size,
            "provenance": self._provenance(result),
        }
        parts = {
            n: Explanation(maps=_finite(m, self.method.name), layers=(n,), **shared) for n, m in result.parts.items()
        }
        return Explanation(
            maps=_finite(result.maps, self.method.name),
            layers=layers,
            parts=parts,
            conservation=result.conservation,
            **shared,
        )

    def _provenance(self, result: Maps) -> dict[str, Any]:
        paper = str(self.method.paper) if self.method.paper else None
        return {
            "settings": recorded(self),
            "paper": paper,
            "fuse": self.fuse if len(self.layer) > 1 else None,
            "seed": self.seed,
            "classifier": self.classifier.describe(),
            "versions": versions(),
            **result.record,
        }

    def __repr__(self) -> str:
        return f"Explainer({self.method.name!r}, {self.classifier!r}, layer={list(self.layer) or None})"


def recorded(explainer: Explainer) -> dict[str, int | float | str | None]:
    """The settings of an explainer as its explanations record them."""
    return {k: _plain(v) for k, v in explainer.settings.items() if k not in explainer.method.unrecorded}


def _plain(setting: Any) -> int | float | str | None:
    """A setting as it stands in a manifest."""
    if isinstance(setting, Tensor):
        content = setting.detach().cpu().contiguous().numpy().tobytes()
        return f"tensor {tuple(setting.shape)}, CRC-32 {zlib.crc32(content):08x}"
    return setting if isinstance(setting, int | float | str | None) else str(setting)


def _finite(maps: Tensor, method: str) -> Tensor:
    maps = maps.detach().float().contiguous()
    if not bool(maps.isfinite().all()):
        row = int((~maps.flatten(1).isfinite().all(1)).nonzero()[0])
        raise ModelError(
            f"{method} gives NaN or infinity for row {row}: the model's activations or gradients overflow (try "
            "precision='float32')"
        )
    return maps


def partial(reason: BaseException) -> Explanation | None:
    """What was computed before an exception ended an explanation: the map so far, or None where there is none.

    Methods that ask about many masked images keep what they have on Ctrl-C and on an error of the model:

        try:
            out = sl.explain(classifier, pixels, method="rise")
        except KeyboardInterrupt as stop:
            out = sl.partial(stop)
    """
    return getattr(reason, "sightline_partial", None)


def explainer(
    method: str,
    classifier: Classifier | BlackBox,
    *,
    layer: str | Sequence[str] | None = None,
    fuse: Fuse | None = None,
    seed: int = 0,
    **settings: Any,
) -> Explainer:
    """Bind a method to a classifier once and reuse it.

    Args:
        method: A name of `sl.methods()`.
        classifier: What is explained.
        layer: A layer, or several (shallow first); by default the last one that still has a spatial map.
        fuse: `mean`, `max` or `layer-cam`, for several layers; each layer's own maps stay in `explanation.parts`.
        seed: For methods that draw random numbers.
        **settings: The method's own settings; an unknown one is an error that lists them.

    Raises:
        MethodError: Unknown method or setting, or one that does not fit the classifier.
    """
    return Explainer(method, classifier, layer=layer, fuse=fuse, seed=seed, **settings)


def explain(
    classifier: Classifier | BlackBox,
    pixels: Tensor,
    *,
    method: str = "grad-cam",
    target: AnyTarget = None,
    layer: str | Sequence[str] | None = None,
    fuse: Fuse | None = None,
    seed: int = 0,
    truth: Tensor | None = None,
    **settings: Any,
) -> Explanation:
    """Explain decisions of a classifier: `explainer(method, classifier, ...)(pixels, target)`.

    Args:
        classifier: What is explained.
        pixels: (B, C, H, W) in [0, 1].
        method: A name of `sl.methods()`.
        target: None (the decision made), one target, a list of one an image, or `each(...)`.
        layer: See `explainer`.
        fuse: See `explainer`.
        seed: See `explainer`.
        truth: True labels, for targets that ask for them.
        **settings: The method's own settings.

    Returns:
        Rows of raw maps, image-major.
    """
    bound = Explainer(method, classifier, layer=layer, fuse=fuse, seed=seed, **settings)
    return bound(pixels, target, truth=truth)


_discover()

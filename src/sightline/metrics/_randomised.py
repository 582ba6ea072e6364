"""Classifiers whose weights are random in part: private copies that share all other weights with the user's model."""

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MetricError

Initialiser = Literal["normal", "permuted"]
Statistics = Literal["kept", "reset"]


class Randomiser:
    """Draws random weights for one classifier: one draw a parameter and initialiser, whichever modules are asked for.

    Args:
        classifier: What is copied; it is never written to.
        pixels: (1, C, H, W) in [0, 1], an image that the classifier takes: it tells the order in which modules run.
        seed: Of the weights.

    Raises:
        MetricError: A BlackBox.
    """

    def __init__(self, classifier: Classifier | BlackBox, pixels: Tensor, seed: int = 0) -> None:
        if isinstance(classifier, BlackBox):
            raise MetricError("a BlackBox shows no weights that could be randomised")
        self.classifier, self.pixels, self.seed = classifier, pixels, seed
        self._drawn: dict[tuple[str, str], Tensor] = {}

    @cached_property
    def _base(self) -> nn.Module:
        return replica.replicate(self.classifier.source).to(self.classifier.device)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names of the modules that hold parameters of their own and run, the last to run first.

        A module that is not called but read by its parent (the projection of an attention) follows its parent.

        Raises:
            MetricError: There is none.
        """
        net = replica.replicate(self._base)
        ran: dict[str, int] = {}  # in the order of the first call
        names = {module: name for name, module in net.named_modules()}

        def note(module: nn.Module, _inputs: object) -> None:
            ran.setdefault(names[module], len(ran))

        for module in names:
            module.register_forward_pre_hook(note)
        with torch.inference_mode(False), torch.no_grad():
            self.classifier.run(net, self.pixels)
        place: dict[str, tuple[int, int]] = {}
        for name, module in net.named_modules():
            parent = name.rpartition(".")[0]
            if not any(p is not None for p in module._parameters.values()):
                continue
            if name in ran:
                place[name] = (ran[name], 0)
            elif parent and parent in ran:
                place[name] = (ran[parent], 1)
        if not place:
            raise MetricError(f"{type(self.classifier.source).__name__} has no parameters that could be randomised")
        return tuple(sorted(place, key=place.__getitem__, reverse=True))

    def share(self, names: Sequence[str]) -> float:
        """How much of all parameters the named modules hold, in [0, 1]; what is tied counts once."""
        held = {
            id(p): p.numel()
            for name in names
            for p in self._base.get_submodule(name)._parameters.values()
            if p is not None
        }
        return sum(held.values()) / sum(p.numel() for p in self._base.parameters())

    def classifier_with(
        self, names: Sequence[str], initialiser: Initialiser = "normal", statistics: Statistics = "kept"
    ) -> Classifier:
        """The classifier with random weights in the named modules; all others are shared with the user's model."""
        net = replica.replicate(self._base)
        drawn: dict[int, nn.Parameter] = {}
        for name in names:
            module = net.get_submodule(name)
            for key, value in module._parameters.items():
                if value is not None and id(value) not in drawn:
                    drawn[id(value)] = nn.Parameter(self._draw(f"{name}.{key}", value, initialiser), False)
            if statistics == "reset" and isinstance(module, nn.modules.batchnorm._NormBase):
                module.reset_running_stats()
        for module in net.modules():  # all of them: weights may be tied
            for key, value in module._parameters.items():
                if value is not None and id(value) in drawn:
                    module._parameters[key] = drawn[id(value)]
        return self.classifier.like(net, stands_in=True)

    def _draw(self, name: str, value: Tensor, initialiser: Initialiser) -> Tensor:
        """Random values for one parameter: the same whenever it is asked for."""
        key = (name, initialiser)
        if key not in self._drawn:
            self._drawn[key] = _values(self.seed, name, value, initialiser)
        return self._drawn[key]


def _values(seed: int, name: str, value: Tensor, initialiser: Initialiser) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 4_294_967_291 % 2**62 + zlib.crc32(name.encode()))
    if initialiser == "permuted":
        order = torch.randperm(value.numel(), generator=generator)
        return value.detach().flatten()[order.to(value.device)].reshape(value.shape)
    noise = torch.randn(value.shape, generator=generator).to(value.device)
    flat = value.detach().float()
    return (flat.mean() + flat.std(correction=0) * noise).to(value.dtype)

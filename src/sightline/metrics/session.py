"""A batch of images and its classifier, shared by all methods and metrics that are asked about it."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.explainers.masking._options import Options, Space
from sightline.explainers.question import generator_for
from sightline.metrics._asking import Asking

T = TypeVar("T")


class Session:
    """One batch of images and its classifier, shared by all methods and metrics that are asked about it.

    Attributes:
        classifier: What is asked.
        pixels: (B, C, H, W) checked, in [0, 1].
        seed: Of tie-breaks, noise and random sets; the same for all methods.
        asking: The forward passes.

    Args:
        expected: How many altered images will be asked in all: from a few hundred on an accelerated graph is made.
    """

    def __init__(
        self,
        classifier: Classifier | BlackBox,
        pixels: Tensor,
        *,
        seed: int = 0,
        options: Options | None = None,
        expected: int = 0,
    ) -> None:
        self.classifier, self.seed = classifier, seed
        self.pixels = classifier.check_pixels(pixels)
        self.asking = Asking(classifier, self.size, options or Options(), expected)
        self._kept: dict[Hashable, Any] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """A value that several metrics need, computed when the first one asks."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def generator(self, image: int, extra: int = 0) -> torch.Generator:
        """Random numbers that depend on the seed and the image's content alone, so that all methods meet the same."""
        return generator_for(self.pixels[image], self.seed * 1009 + extra)

    def inputs(self, space: Space) -> Tensor:
        """The images in the space in which they are altered: (B, C, H, W)."""
        if space == "pixels" or isinstance(self.classifier, BlackBox):
            return self.pixels
        return self.once(("inputs", space), lambda: self.inner(self.pixels, "pixels"))

    @property
    def inside(self) -> Space:
        """The space that the forward pass takes; images altered in it need no normalisation of their own."""
        return "pixels" if isinstance(self.classifier, BlackBox) else "normalised"

    def inner(self, images: Tensor, space: Space) -> Tensor:
        """Images (m, C, H, W) of a space in the space `inside`."""
        if space == "normalised" or isinstance(self.classifier, BlackBox):
            return images
        return self.classifier.normalise(images, order=False)

    def outputs(self) -> Tensor:
        """Outputs for the unaltered images (B, C, ...), in the classifier's own precision: they make the decision."""
        if self.asking.own_precision:
            return self.answers()
        return self.once("outputs", lambda: self.classifier(self.pixels))

    def answers(self) -> Tensor:
        """The same from the forward pass that takes the altered images: only rounding may tell two such apart."""

        def ask() -> Tensor:
            x = self.pixels
            return self.asking.ask(len(x), lambda i: x[i.to(x.device)], lambda _, outputs: outputs)

        return self.once("answers", ask)

    def blurred(self, space: Space, kernel: int = 11, sigma: float = 5.0) -> Tensor:
        """The images under a Gaussian blur with zeros around them, as in RISE's evaluation: (B, C, H, W)."""

        def make() -> Tensor:
            x = self.inputs(space)
            k = torch.arange(kernel, device=x.device) - (kernel - 1) / 2
            g = torch.exp(-(k**2) / (2 * sigma**2))
            g = (g / g.sum()).to(x.dtype)
            C = x.shape[1]
            rows = F.conv2d(x, g.reshape(1, 1, -1, 1).expand(C, 1, -1, 1), padding=(kernel // 2, 0), groups=C)
            return F.conv2d(rows, g.reshape(1, 1, 1, -1).expand(C, 1, 1, -1), padding=(0, kernel // 2), groups=C)

        return self.once(("blurred", space, kernel, sigma), make)

    def noise(self, space: Space) -> Tensor:
        """Images of random colours, each pixel and channel uniform in [0, 1]: (B, C, H, W)."""

        def make() -> Tensor:
            shape = self.pixels.shape[1:]
            drawn = torch.stack([torch.rand(shape, generator=self.generator(i, 51)) for i in range(len(self.pixels))])
            drawn = drawn.to(self.pixels)
            return (
                drawn
                if isinstance(self.classifier, BlackBox) or space == "pixels"
                else self.classifier.normalise(drawn)
            )

        return self.once(("noise", space), make)

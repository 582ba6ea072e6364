"""What an explainer is given: pixels, resolved rows, and gradients of their scores, each forward pass paid once."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from sightline import layers as layering
from sightline import target as targets
from sightline.classifier import BlackBox, Classifier
from sightline.errors import LayerError, MethodError
from sightline.layout import Kind, Layout
from sightline.passes import Pass
from sightline.target import AnyTarget, Target


@dataclass(frozen=True)
class Round:
    """Rows that one backward pass serves: at most one an image.

    Attributes:
        rows: Positions among all rows.
        images: The images they explain, in the same order.
        last: Whether the graph may be freed afterwards.
    """

    rows: Tensor
    images: Tensor
    last: bool


class Seen(Protocol):
    """A forward pass that kept the outputs of its tapped layers."""

    seen: dict[str, Tensor]


@dataclass
class Question:
    """One call of an explainer.

    Attributes:
        classifier: What is asked.
        pixels: (B, C, H, W) checked.
        asked: The target as the caller gave it.
        truth: True labels, where a target wants them.
        named: Layers that the caller named (with an optional `@nchw`, `@nhwc`, `@tokens`), or none.
        seed: For methods that draw random numbers.
        fuse: How the maps of several layers become one.
        probe: Only find out what the answer would cost; a method that can tell raises `Probed`.
        image: Row -> image, known after the first pass.
        targets: Row -> resolved target.
        score, probability: (N,) of the unaltered images.
    """

    classifier: Classifier | BlackBox
    pixels: Tensor
    asked: AnyTarget = None
    truth: Tensor | None = None
    named: tuple[str, ...] = ()
    seed: int = 0
    fuse: Literal["mean", "max", "layer-cam"] = "mean"
    probe: bool = False
    image: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    targets: tuple[Target, ...] = ()
    score: Tensor = field(default_factory=lambda: torch.empty(0))
    probability: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def model(self) -> Classifier:
        """The classifier, for methods that need its inside.

        Raises:
            MethodError: It is a black box.
        """
        if isinstance(self.classifier, BlackBox):
            raise MethodError(
                "this method needs the inside of a model, which a BlackBox does not show; give a Classifier"
            )
        return self.classifier

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers to explain: those named, or the default one."""
        if self.named:
            return tuple(layering.split_name(name)[0] for name in self.named)
        return (layering.default_layer(self.model, self.size),)

    def resolve(self, outputs: Tensor) -> None:
        """Fix the rows on the outputs of the unaltered images; a second call changes nothing."""
        if self.targets:
            return
        image, self.targets = targets.resolve(self.asked, outputs, self.classifier.head(), self.truth)
        device = outputs.device
        self.image = torch.tensor(image, device=device)
        self.score, self.probability = (torch.empty(len(image), device=device) for _ in range(2))
        with torch.no_grad():
            for turn in self.rounds():
                part, rows = [self.targets[r] for r in turn.rows.tolist()], outputs[turn.images]
                self.score[turn.rows] = targets.scores(part, rows)
                self.probability[turn.rows] = targets.probabilities(part, rows)

    def ask(self) -> None:
        """Resolve the rows by a plain forward pass, for methods that make none of their own on the unaltered images."""
        if not self.targets:
            self.resolve(self.classifier(self.pixels))

    def rounds(self) -> Iterator[Round]:
        """Split the rows so that in each round an image appears at most once: one backward pass serves a round."""
        turn = torch.zeros(len(self.image), dtype=torch.long)
        counts: dict[int, int] = {}
        for row, image in enumerate(self.image.tolist()):
            turn[row] = counts.get(image, 0)
            counts[image] = int(turn[row]) + 1
        rounds = max(counts.values(), default=0)
        for r in range(rounds):
            rows = (turn == r).nonzero().flatten().to(self.image.device)
            yield Round(rows, self.image[rows], last=r == rounds - 1)

    def summed_score(self, turn: Round, outputs: Tensor) -> Tensor:
        """The sum over a round's rows of their scores: its gradient holds each image's own gradient."""
        whole = len(turn.images) == len(outputs)  # rows are image-major, so a full round is in the images' order
        return targets.scores(
            [self.targets[r] for r in turn.rows.tolist()], outputs if whole else outputs[turn.images]
        ).sum()

    def read(self, run: "Seen", name: str, position: int) -> Layout:
        """The layout of a tapped layer."""
        kind: Kind | None = layering.split_name(self.named[position])[1] if self.named else None
        return layering.layout_of(self.model, name, kind, run.seen[name], self.size)

    def gradients(self, run: Pass, *, create_graph: bool = False) -> Iterator[tuple[Round, list[Tensor]]]:
        """For each round the gradients of its scores at all tapped layers, as the layers give them.

        Raises:
            LayerError: A layer that the score does not depend on; the text names the one to take.
        """
        self.resolve(run.outputs)
        tensors = [run.seen[name] for name in run.layers]
        for turn in self.rounds():
            score = self.summed_score(turn, run.outputs)
            found = run.gradients(score, tensors, keep=not turn.last, create_graph=create_graph)
            for name, gradient in zip(run.layers, found, strict=True):
                if gradient is None:
                    raise layering.disconnected(self.model, name, self.size)
            yield turn, [g for g in found if g is not None]

    def check_tokens(self, name: str, layout: Layout, gradient: Tensor) -> None:
        """Refuse a token layer of which only the class token is read.

        Raises:
            LayerError: All patch tokens have zero gradient although a leading token has some, or the survey says so.
        """
        if not layout.prefix or bool(gradient[:, layout.prefix :].any()):
            return
        known = {n: info.connected for info in self.model.layers(self.size) for n in (info.name, *info.aliases)}
        if bool(gradient[:, : layout.prefix].any()) or not known.get(name, True):
            raise layering.disconnected(self.model, name, self.size)

    def pixel_gradients(self, pixels: Tensor) -> Iterator[tuple[Round, Tensor]]:
        """For each round the gradient of its scores at some version of the images: (n, C, H, W)."""
        with self.model.differentiable():
            leaf = pixels.detach().requires_grad_()
            run = self.model.forward(leaf)
            self.resolve(run.outputs)
            for turn in self.rounds():
                gradient = run.gradients(self.summed_score(turn, run.outputs), [leaf], keep=not turn.last)[0]
                if gradient is None:
                    raise LayerError(
                        "the score does not depend on the pixels: the model cuts the graph (no_grad, detach) "
                        "before its outputs"
                    )
                yield turn, gradient if len(turn.images) == len(pixels) else gradient[turn.images]

    def generator(self, extra: int = 0) -> torch.Generator:
        """A seeded source of noise on the CPU, the same on every device; noise is shared by the images of a batch."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + extra)


@dataclass(frozen=True)
class Estimate:
    """What an explanation costs.

    Attributes:
        passes: Masked forward passes, or those that the method's record states.
        seconds: Roughly how long.
        how: What runs them.
    """

    passes: int
    seconds: float
    how: str = ""

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        time = f"{minutes} min {seconds:02d} s" if minutes else f"{self.seconds:.1f} s"
        return f"{self.passes} passes" + (f" ({self.how})" if self.how else "") + f", about {time}"


class Probed(Exception):  # noqa: N818 - an answer, not an error
    """Carries the estimate out of a method that was only probed."""

    def __init__(self, estimate: Estimate) -> None:
        super().__init__(str(estimate))
        self.estimate = estimate


def generator_for(image: Tensor, seed: int) -> torch.Generator:
    """A generator for one image (C, H, W) and a seed, the same on every device.

    It depends on the image's content: a batch gives what a loop gives, and images do not share their noise.
    """
    content = zlib.crc32(image.detach().cpu().contiguous().numpy().tobytes())
    return torch.Generator().manual_seed(seed * 4_294_967_291 % 2**62 + content)


def broadcast_rows(per_image: Tensor, image: Tensor) -> Tensor:
    """Maps an image -> maps a row."""
    return (
        per_image
        if len(image) == len(per_image) and bool((image == torch.arange(len(image), device=image.device)).all())
        else per_image[image]
    )


def stack_rows(count: int, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Put (rows, values) pairs back into row order."""
    if len(parts) == 1:
        return parts[0][1]
    out = parts[0][1].new_empty((count, *parts[0][1].shape[1:]))
    for rows, values in parts:
        out[rows] = values
    return out

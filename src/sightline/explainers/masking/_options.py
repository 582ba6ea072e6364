"""The settings that every method on masked images has, beside its own."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from sightline.errors import InputError, MethodError

Fill = Literal["black", "mean", "blur", "noise"]
Space = Literal["pixels", "normalised"]
Backend = Literal["auto", "eager", "openvino", "compiled"]

ANYTIME = ("budget", "tolerance")
"""Settings of methods of which a part of the masks makes an approximate map."""
ASKED = (*ANYTIME, "backend", "checkpoint")
"""Settings of methods whose masks are known beforehand, so that scores can be kept and no gradient is needed."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How masked images are made and asked.

    Attributes:
        fill: What a mask of 0 shows: `black`, the image's `mean` colour, the image under a Gaussian `blur`, `noise`,
            or an image (C, H, W) or (B, C, H, W) in [0, 1].
        space: Where the mask multiplies: `pixels`, or the `normalised` tensor (in which black is the mean colour of
            the training set and noise is normal). It moves scores a lot, so it is recorded.
        precision: `float32` or `bfloat16`; by default the classifier's own.
        backend: What runs the forward passes: `eager`, `openvino` (the extra of that name), `compiled`
            (torch.compile), or `auto`: OpenVINO on a CPU where it is installed and agrees with eager, else eager.
        chunk: Masked images a forward pass; by default found from their size, and halved when memory runs out.
        budget: Stop after so many masked passes an image, or after `"20s"` (of the whole call).
        tolerance: Stop when the estimated relative error of the map against the full one falls below this.
        progress: Whether to show a progress bar, or what to call with (passes done, passes in all); by default a bar on
            a terminal after a few seconds.
        checkpoint: A folder that takes every score as it comes: a killed call that is repeated reads it and goes on.
    """

    fill: str | Tensor = "black"
    space: Space = "pixels"
    precision: Literal["float32", "bfloat16"] | None = None
    backend: Backend = "auto"
    chunk: int | None = None
    budget: int | str | None = None
    tolerance: float | None = None
    progress: bool | Callable[[int, int], None] | None = None
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.fill, Tensor) and self.fill not in get_args(Fill):
            raise MethodError(f"fill must be {', '.join(get_args(Fill))} or an image as a tensor, not {self.fill!r}")
        if self.space not in get_args(Space):
            raise MethodError(f"space must be 'pixels' or 'normalised', not {self.space!r}")
        if self.precision not in (None, "float32", "bfloat16"):
            raise MethodError(f"precision must be 'float32' or 'bfloat16', not {self.precision!r}")
        if self.backend not in get_args(Backend):
            raise MethodError(f"backend must be one of {', '.join(get_args(Backend))}, not {self.backend!r}")
        if self.chunk is not None and (not isinstance(self.chunk, int) or self.chunk < 1):
            raise MethodError(f"chunk must be a whole number of at least 1, not {self.chunk!r}")
        if self.tolerance is not None and not self.tolerance > 0:
            raise MethodError(f"tolerance is a relative error above 0, not {self.tolerance!r}")
        _ = self.passes, self.seconds

    @property
    def passes(self) -> int | None:
        """The budget in masked passes an image, if it is one."""
        if self.budget is None or (isinstance(self.budget, str) and self.budget.strip().endswith("s")):
            return None
        try:
            passes = int(self.budget)
        except ValueError:
            passes = 0
        if passes < 1:
            raise MethodError(f"budget is a number of passes an image (500) or seconds ('20s'), not {self.budget!r}")
        return passes

    @property
    def seconds(self) -> float | None:
        """The budget in seconds, if it is one."""
        if not isinstance(self.budget, str) or not self.budget.strip().endswith("s"):
            return None
        try:
            seconds = float(self.budget.strip()[:-1])
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            raise MethodError(f"budget in seconds reads '20s', not {self.budget!r}")
        return seconds

    def images(self, pixels: Tensor) -> Tensor | None:
        """The given fill as (B, C, H, W), if it is an image.

        Raises:
            InputError: It does not fit the images, or has values outside [0, 1].
        """
        if not isinstance(self.fill, Tensor):
            return None
        fill = self.fill.to(pixels)
        fill = fill if fill.ndim == 4 else fill[None]
        if fill.ndim != 4 or fill.shape[1:] != pixels.shape[1:] or len(fill) not in (1, len(pixels)):
            raise InputError(
                f"fill has shape {tuple(self.fill.shape)}; give one image {tuple(pixels.shape[1:])}, or one each"
            )
        if not bool(((fill >= 0) & (fill <= 1)).all()):
            raise InputError("fill must be an image in [0, 1]: do not normalise it yourself")
        return fill.expand_as(pixels)


def defaults(**changed: Any) -> dict[str, Any]:
    """The options with their defaults, some of them changed for a method."""
    return {f.name: changed.get(f.name, f.default) for f in fields(Options)}

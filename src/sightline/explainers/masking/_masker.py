"""Masked images, in the order and the space that the forward pass wants."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.classifier import BlackBox
from sightline.explainers.masking._fill import fill_for
from sightline.explainers.masking._options import Options
from sightline.explainers.masking._plan import Job
from sightline.explainers.question import Question


class Masker:
    """Makes masked images M * x + (1 - M) * fill in the order and space that the forward pass wants.

    Normalisation is affine, so masking pixels is fill' + M * (x' - fill') on normalised tensors.
    """

    def __init__(self, question: Question, options: Options, generators: list[torch.Generator]) -> None:
        classifier, x = question.classifier, question.pixels
        self.inside = not isinstance(classifier, BlackBox)
        if isinstance(classifier, BlackBox):
            fill = fill_for(x, options, generators)
        elif options.space == "normalised" and options.fill == "black":
            x = classifier.normalise(x)
            fill = torch.zeros_like(x)
        elif options.space == "normalised" and options.fill == "noise":
            noise = [torch.randn(x.shape[1:], generator=g) for g in generators]
            x = classifier.normalise(x)
            fill = torch.stack(noise).to(x)
        else:  # a mean, a blur and an image are the same in both spaces
            fill = classifier.normalise(fill_for(x, options, generators))
            x = classifier.normalise(x)
        self.base, self.change = fill, x - fill
        self._forms: dict[bool, tuple[Tensor, Tensor]] = {}

    def form(self, channels_last: bool) -> tuple[Tensor, Tensor, Any]:
        """The fill, the image minus the fill, and their memory format."""
        memory = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last not in self._forms:
            self._forms = {
                channels_last: (
                    self.base.contiguous(memory_format=memory),
                    self.change.contiguous(memory_format=memory),
                )
            }
        return *self._forms[channels_last], memory

    def masked(self, parts: Sequence[tuple[Job, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """Masks (m, 1, H, W) of one image, its base and its change (1, C, H, W); masked it is base + M * change."""
        with torch.no_grad():
            base, change, _ = self.form(False)
            masks = [job.plan.masks(index.to(base.device)).to(base) for job, index in parts]
            b = parts[0][0].image
            return torch.cat(masks)[:, None], base[b : b + 1], change[b : b + 1]

    def __call__(self, parts: Sequence[tuple[Job, Tensor]], channels_last: bool, room: int = 0) -> Tensor:
        """(m, C, H, W), filled up with unmasked images to `room` where every call must be of one size."""
        base, change, memory = self.form(channels_last)
        count = sum(len(index) for _, index in parts)
        out = torch.empty(
            (max(count, room), *base.shape[1:]), dtype=base.dtype, device=base.device, memory_format=memory
        )
        start = 0
        for job, index in parts:
            b, part = job.image, out[start : start + len(index)]
            masks = job.plan.masks(index.to(base.device)).to(base)
            torch.addcmul(base[b : b + 1], masks[:, None], change[b : b + 1], out=part)
            start += len(index)
        if start < len(out):
            out[start:] = (base + change)[:1]
        return out if self.inside else out.clamp_(0, 1)

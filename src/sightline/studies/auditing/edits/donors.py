"""Images from which regions are taken: a small pool in which every attribute has both answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline.data.faces import Faces
from sightline.data.warping import Warp
from sightline.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Donors:
    """D images with their truth.

    Attributes:
        pixels: (D, 3, H, W) uint8.
        truth: (D, A) int8: 1, 0, or -1 where nothing is known.
        landmarks: D tensors (k, 2) in pixels of the input.
        places: Their places among the study's records.
    """

    pixels: Tensor
    truth: Tensor
    landmarks: Sequence[Tensor]
    places: tuple[int, ...]

    def fitted(self, donor: int, landmarks: Tensor) -> Tensor:
        """A donor's face laid over another face by the least-squares similarity of their landmarks.

        Args:
            donor: Which.
            landmarks: (k, 2) of the image that takes; where either has none, the donor stays in its own frame.

        Returns:
            (3, H, W) float32 in [0, 1].
        """
        pixels, own = self.pixels[donor].float() / 255, self.landmarks[donor]
        if len(own) < 2 or len(own) != len(landmarks) or torch.equal(own, landmarks):
            return pixels
        size = (pixels.shape[-2], pixels.shape[-1])
        return Warp(size, size, similarity(landmarks, own)).pixels(pixels[None])[0]


def similarity(points: Tensor, seen: Tensor) -> Tensor:
    """The turn, scale and shift that takes points nearest to others: min sum |A p + b - q|^2, A = [[c, -s], [s, c]].

    With p, q about their means: c = sum p.q / sum |p|^2, s = sum p x q / sum |p|^2, b = mean q - A mean p.

    Args:
        points: (k, 2) p.
        seen: (k, 2) q.

    Returns:
        (2, 3) float64 [A | b].
    """
    p, q = points.double(), seen.double()
    p0, q0 = p.mean(0), q.mean(0)
    p, q = p - p0, q - q0
    spread = float(p.square().sum())
    c = float((p * q).sum()) / spread if spread > 0 else 1.0
    s = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / spread if spread > 0 else 0.0
    A = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return torch.cat([A, (q0 - A @ p0)[:, None]], 1)


def drawn(plan: Any, *, least: int) -> Donors:
    """Draw a pool from a study's own images: in a random order, those that some attribute still needs.

    Args:
        plan: The study.
        least: How many images of each answer an attribute should have; it may get fewer where there are no more.

    Raises:
        InputError: No image can be read.
    """
    names = plan.readout.names
    order = torch.randperm(len(plan.records), generator=torch.Generator().manual_seed(plan.seed * 1009 + 11))
    have = torch.zeros(2, len(names), dtype=torch.int64)
    found, columns = [], torch.arange(len(names))
    for place in order.tolist():
        try:
            truth = _truth(plan, place)
            known = truth >= 0
            if not bool((have[truth.clamp(min=0).long(), columns][known] < least).any()):
                continue
            loaded = plan.source.load(place)
        except InputError:  # it is named where the study itself reads it
            continue
        have[truth.clamp(min=0).long()[known], columns[known]] += 1
        found.append((place, loaded, truth))
        if bool((have >= least).all()):
            break
    if not found:
        raise InputError("no image can be read from which a region could be taken")
    return Donors(
        pixels=torch.stack([(one.pixels.cpu() * 255).round().to(torch.uint8) for _, one, _ in found]),
        truth=torch.stack([truth for _, _, truth in found]),
        landmarks=[one.landmarks for _, one, _ in found],
        places=tuple(place for place, _, _ in found),
    )


def _truth(plan: Any, place: int) -> Tensor:
    """(A,) int8, without decoding an image."""
    names = plan.readout.names
    if isinstance(plan.records, Faces):
        known = dict(zip(plan.records.names, plan.records.attributes[place].tolist(), strict=True))
    else:
        known = plan.records[place].attributes
    return torch.tensor([int(known.get(name, -1)) for name in names], dtype=torch.int8)

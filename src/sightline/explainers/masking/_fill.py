"""What a mask of 0 shows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.explainers.masking._options import Options


def fill_for(pixels: Tensor, options: Options, generators: list[torch.Generator]) -> Tensor:
    """The fill of each image (B, C, H, W), in [0, 1]."""
    given = options.images(pixels)
    if given is not None:
        return given
    if options.fill == "mean":
        return pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    if options.fill == "blur":
        return blurred(pixels)
    if options.fill == "noise":
        return torch.stack([torch.rand(pixels.shape[1:], generator=g) for g in generators]).to(pixels)
    return torch.zeros_like(pixels)


def blurred(pixels: Tensor, share: float = 25 / 224) -> Tensor:
    """The images under a Gaussian of 51 x 51 px and a standard deviation of 50 px at 224 px, as Group-CAM has it.

    Other sizes scale it with the shorter side; borders are mirrored.
    """
    radius = max(1, round(share * min(pixels.shape[-2:])))
    at = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-(at**2) / (2 * (2 * radius) ** 2))
    kernel = (kernel / kernel.sum()).expand(pixels.shape[1], 1, 1, -1)
    out = F.conv2d(F.pad(pixels, (radius, radius, 0, 0), mode="reflect"), kernel, groups=pixels.shape[1])
    kernel = kernel.transpose(2, 3)
    return F.conv2d(F.pad(out, (0, 0, radius, radius), mode="reflect"), kernel, groups=pixels.shape[1]).clamp(0, 1)

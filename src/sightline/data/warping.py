"""From an image's size to a network's input where an upright box is not enough: a similarity with rotation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.errors import InputError

_FINEST = 8  # samples a side of an output pixel; where it sees more, blocks of pixels are averaged first


@dataclass(frozen=True, eq=False)
class Warp:
    """Where the pixels of an image go in a network's input, by an affine map.

    Attributes:
        image: (height, width) of the image.
        size: (height, width) of the input.
        matrix: (2, 3) float64 [A | b]: the point A p + b of the image is seen at the point p of the input. Points are
            x, y, where 0, 0 is the centre of the top left pixel.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    matrix: Tensor

    def pixels(self, pixels: Tensor) -> Tensor:
        """Bring (B, C, H, W) along, by bilinear sampling; beyond the image's edge its outermost pixels are repeated.

        Where the image shrinks, s > 1 of its pixels a pixel of the input, each pixel of the input is the mean of n x n
        samples over its own square, n = ceil(s): the filter is as wide as the pixel that it makes, so that nothing
        finer survives as a pattern. (For s > 8 blocks of floor(s / 4) pixels a side are averaged first and counted as
        pixels.) Where it does not shrink, n is 1; a map that moves whole pixels gives them back exactly.

        Returns:
            (B, C, height, width) in the range of what was given, in its dtype.
        """
        return self._sampled(pixels, beyond="border").to(pixels.dtype)

    def mask(self, mask: Tensor) -> Tensor:
        """Bring a mask (H, W) along: a pixel of the input belongs to it when at least half of it does.

        Returns:
            (height, width) bool; False beyond the image's edge.

        Raises:
            InputError: A mask of another size than the image.
        """
        if tuple(mask.shape) != self.image:
            raise InputError(f"a mask of {tuple(mask.shape)} (H, W) does not fit an image of {self.image}")
        return self._sampled(mask.double()[None, None], beyond="zeros")[0, 0] >= 0.5

    def points(self, points: Tensor) -> Tensor:
        """Bring points (..., 2) x, y along.

        Returns:
            (..., 2) float64; points beyond the input's edge stay.
        """
        A, b = self.matrix[:, :2], self.matrix[:, 2]
        placed: Tensor = (points.double() - b) @ torch.linalg.inv(A).T
        return placed

    def boxes(self, boxes: Tensor) -> Tensor:
        """Bring boxes (k, 4) left, top, right, bottom along: the upright box around the four corners of each.

        Returns:
            (m, 4) in pixels of the input, clipped to it; boxes of which nothing is left are dropped.
        """
        edges = boxes.double().reshape(-1, 4)
        if not len(edges):
            return edges
        corners = edges[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        placed = self.points(corners - 0.5) + 0.5  # edges are counted from the corner of the top left pixel
        height, width = self.size
        most = torch.tensor([width, height], dtype=torch.float64)
        low, high = placed.amin(1).clamp(min=0), torch.minimum(placed.amax(1), most)
        out = torch.cat([low, high], 1)
        return out[(out[:, 2] > out[:, 0]) & (out[:, 3] > out[:, 1])]

    def _sampled(self, pixels: Tensor, *, beyond: str) -> Tensor:
        s = float(torch.linalg.matrix_norm(self.matrix[:, :2], ord=2))
        block = 1 if s <= _FINEST else math.floor(s / (_FINEST / 2))
        n = max(1, math.ceil(s / block - 1e-9))
        x = pixels.double()
        if block > 1:
            below, right = (-side % block for side in self.image)
            x = F.pad(x, (0, right, 0, below), mode="replicate" if beyond == "border" else "constant")
            x = F.avg_pool2d(x, block)
        height, width = self.size
        y, u = (((torch.arange(side * n, dtype=torch.float64) + 0.5) / n - 0.5) for side in (height, width))
        grid = torch.stack(torch.meshgrid(y, u, indexing="ij")[::-1], -1)
        seen = grid @ self.matrix[:, :2].T + self.matrix[:, 2]
        # Pooled cell (0, 0) covers pixels 0 to block - 1; grid_sample counts from -1 to 1 between the outer edges.
        extent = torch.tensor([x.shape[-1], x.shape[-2]], dtype=torch.float64)
        seen = 2 * (seen + 0.5) / block / extent - 1
        many = seen[None].expand(len(x), -1, -1, -1)
        out = F.grid_sample(x, many, mode="bilinear", padding_mode=beyond, align_corners=False)
        return F.avg_pool2d(out, n) if n > 1 else out

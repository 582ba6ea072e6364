"""Draws docs/images/regions.png: both definitions of regions on the mean of aligned rendered faces.

python docs/images/regions.py
"""

from pathlib import Path

import torch
from PIL import Image

from sightline.data import faces
from sightline.data.alignment import Alignment
from sightline.data.regions import Regions

SIDE = 224


def mean_face(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, 224, 224) the mean of rendered faces, aligned, and (5, 2) the mean of their landmarks."""
    drawn = faces.sample(count, seed=7, size=160)
    geometry, pixels, marks = Alignment(), torch.zeros(3, SIDE, SIDE), torch.zeros(5, 2).double()
    for image, points in zip(drawn.pixels, drawn.landmarks, strict=True):
        warp = geometry.warp(points, (drawn.size, drawn.size), SIDE)
        pixels += warp.pixels(image[None])[0] / count
        marks += warp.points(points) / count
    return pixels, marks


def main() -> None:
    """Both sheets, one above the other."""
    face, marks = mean_face()
    sheets = [Regions.grid().drawn(face), Regions.landmarks().drawn(face, marks)]
    page = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    page.quantize(256).save(Path(__file__).with_name("regions.png"), optimize=True)


if __name__ == "__main__":
    main()

"""Tiny data and networks for tests of the audit: images in a folder, attributes, landmarks, groups and masks."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import sightline as sl
from nets import ConvNet, seeded
from sightline.data.annotations.record import Record
from sightline.data.regions import Regions
from sightline.picture import write_png

NAMES = ("Hat", "Tie", "Ring")
SIDE = 16


class Given:
    """A mask that is there already."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def pixels(self, height: int, width: int) -> Tensor:
        return self.mask


def _pixels(i: int, draw: torch.Generator) -> Tensor:
    pixels = torch.rand(3, SIDE, SIDE, generator=draw)
    pixels[:, :6] = pixels[:, :6] / 2 + (0.5 if i % 3 == 0 else 0.0)
    return pixels


def folder(path: Path, count: int = 10, seed: int = 0, *, masks: bool = True) -> list[Record]:
    """Images of noise at 16 px; Hat is bright above, Tie is known of all but one, Ring is never there."""
    path.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        pixels, hat, tie = _pixels(i, draw), i % 3 == 0, i % 2 == 0
        file = path / f"{i:03d}.png"
        write_png(file, (pixels * 255).round().byte().permute(1, 2, 0).numpy())
        attributes = {"Hat": int(hat), "Tie": int(tie), "Ring": 0}
        if i == 1:
            del attributes["Tie"]
        points = torch.tensor([[5.0, 6], [10, 6], [7.5, 9], [5.5, 12], [9.5, 12]]) + (i == 4) * torch.tensor([3.0, 0])
        regions: dict[str, Given] = {}
        if masks:
            top, left = torch.zeros(SIDE, SIDE, dtype=torch.bool), torch.zeros(SIDE, SIDE, dtype=torch.bool)
            top[: 5 + i % 3], left[:, :4] = True, True
            regions = {"Hat": Given(top), "Tie": Given(left)}
        groups = {"light": "day" if i < count // 2 else "night"}
        found.append(Record(path=file, attributes=attributes, landmarks=points, groups=groups, masks=regions))
    return found


def regions() -> Regions:
    """Masks that come with the images, for two of three attributes."""
    return Regions.exact(["Hat", "Tie"])


def network(outputs: int = 3, seed: int = 0) -> nn.Module:
    """A ConvNet whose decisions differ between the images of `folder`."""
    net = seeded(ConvNet, outputs, seed=seed)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.stack([_pixels(i, draw) for i in range(10)])
    with torch.no_grad():
        net.head.bias.zero_()
        net.head.weight *= 2 / net(pixels).std(0)[:, None]
        net.head.bias.copy_(0.2 - net(pixels).mean(0))
    return net


def classifier(net: nn.Module | None = None, labels: Sequence[str] = NAMES) -> sl.Classifier:
    """A multi-label classifier at 16 px."""
    return sl.Classifier(net or network(len(labels)), labels=labels, decision="multilabel", size=SIDE)

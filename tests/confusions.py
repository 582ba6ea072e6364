"""A classifier of colours and drawn images whose confusions are known, for tests of the study of confusions."""

import torch
from torch import Tensor, nn

import sightline as sl

NAMES = ("red", "green", "blue", "crimson", "rust")
SIDE = 32


class Colours(nn.Module):
    """Detectors of pure red, green and blue (1 x 1), 8 x 8 maps, pooling, a linear head.

    crimson is red but for noise in the head; rust stands on red and green, and its row is unlike that of red.
    """

    def __init__(self) -> None:
        super().__init__()
        self.detect = nn.Conv2d(3, 3, 1, bias=False)
        self.relu, self.pool = nn.ReLU(), nn.AvgPool2d(4)
        self.head = nn.Linear(3, 5, bias=False)
        with torch.no_grad():
            self.detect.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])
            noise = torch.tensor([0.3, -0.2, 0.25])
            rows = [[60, 0, 0], [0, 60, 0], [0, 0, 60], [59.5, 0, 0], [40, 25, 0]]
            self.head.weight.copy_(torch.tensor(rows))
            self.head.weight[3] += noise

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.detect(x))).mean((2, 3)))


def classifier() -> sl.Classifier:
    """The network as a classifier."""
    return sl.Classifier(Colours().eval(), labels=NAMES, size=SIDE, decision="categorical")


def drawn(background: tuple[float, float, float] = (0.0, 0.0, 0.0), **squares: tuple[int, int, int]) -> Tensor:
    """(3, SIDE, SIDE): squares of pure colours at (top, left, side) on a background."""
    image = torch.tensor(background)[:, None, None].repeat(1, SIDE, SIDE)
    for i, name in enumerate(("red", "green", "blue")):
        if name in squares:
            top, left, side = squares[name]
            image[:, top : top + side, left : left + side] = 0.0
            image[i, top : top + side, left : left + side] = 1.0
    return image


OBJECT = (18, 18, 9)
"""Where the true object lies in `CASES`, if it is alone."""

CASES: dict[str, tuple[Tensor, int, str]] = {
    "two-objects": (drawn(red=(2, 2, 11), green=OBJECT), 1, "several-objects"),
    "duplicate": (drawn(red=OBJECT), 3, "near-identical"),
    "other-name": (drawn(red=OBJECT), 4, "same-place"),
    "background": (drawn(background=(0.6, 0.1, 0.1), green=OBJECT), 1, "context"),
}
"""Name -> image, true class, kind of confusion: all are called red."""

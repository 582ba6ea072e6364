"""Draws the four constructed confusions of the documentation: python docs/images/confusions.py."""

import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import sightline as sl
from sightline import picture
from sightline.data.annotations import Record

HERE = Path(__file__).parent
NAMES = ["red", "green", "blue", "crimson", "rust"]
SIDE, SHOWN = 32, 144


def classifier() -> sl.Classifier:
    """Three detectors of colours, and a head in which crimson is nearly red."""
    detect, head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 5, bias=False)
    detect.weight.data = (2 * torch.eye(3) - 1)[:, :, None, None]
    rows = [[60, 0, 0], [0, 60, 0], [0, 0, 60], [59.8, -0.2, 0.2], [40, 25, 0]]
    head.weight.data = torch.tensor(rows)
    net = nn.Sequential(detect, nn.ReLU(), nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return sl.Classifier(net, labels=NAMES, size=SIDE, decision="categorical")


def drawn(background: tuple[float, float, float], **squares: tuple[int, int, int]) -> torch.Tensor:
    """Squares of pure colours at (top, left, side)."""
    image = torch.tensor(background)[:, None, None].repeat(1, SIDE, SIDE)
    for name, (top, left, side) in squares.items():
        colour = torch.zeros(3)
        colour[NAMES.index(name)] = 1.0
        image[:, top : top + side, left : left + side] = colour[:, None, None]
    return image


CASES = [
    (drawn((0.0, 0.0, 0.0), red=(18, 18, 9)), "crimson"),
    (drawn((0.0, 0.0, 0.0), red=(18, 18, 9)), "rust"),
    (drawn((0.0, 0.0, 0.0), red=(2, 2, 11), green=(18, 18, 9)), "green"),
    (drawn((0.6, 0.1, 0.1), green=(18, 18, 9)), "green"),
]


def main() -> None:
    """Each image with both maps, its kind below."""
    clf = classifier()
    with tempfile.TemporaryDirectory() as place:
        records = []
        for i, (pixels, label) in enumerate(CASES):
            path = Path(place) / f"{i}.png"
            Image.fromarray((255 * pixels).round().byte().permute(1, 2, 0).numpy()).save(path)
            records.append(Record(path=path, label=NAMES.index(label), name=label))
        rows = sl.studies.confusion(clf, records, out=Path(place) / "run", fit="squash", progress=False).rows()
    sheet = []
    for (pixels, label), row in zip(CASES, rows.iter_rows(named=True), strict=True):
        out = sl.explain(clf, pixels[None], target=sl.each([row["predicted_name"], label]))
        large = nn.functional.interpolate(pixels[None], (SHOWN, SHOWN))[0]
        heat = out.heatmaps((SHOWN, SHOWN))
        captions = (row["kind"], f"predicted: {row['predicted_name']}", f"true: {label}")
        maps = [picture.cell(large, h, caption=c) for h, c in zip(heat, captions[1:], strict=True)]
        sheet.append([picture.cell(large, caption=captions[0]), *maps])
    titles = ["image", "map of the predicted class", "map of the true class"]
    picture.write_png(HERE / "confusions.png", picture.contact_sheet(sheet, column_titles=titles, note="Grad-CAM"))


if __name__ == "__main__":
    main()

"""Tables of images for the plans beside this file: `python benchmarks/plans/prepare.py`, in the project's folder.

Reads the folder that SIGHTLINE_ASSETS names (`../shared/assets` unless it is set) and writes to `runs/data`:

- `cifar10.csv`: 60 test images of each of the ten classes, class after class in turn;
- `faces/`: the first 400 test images of CelebA, cropped as the network wants them (112 px, the square of side 0.6 W
  around (0.5 W, 0.545 H)), with the class male or female;
- `ilsvrc.csv`: 20 validation images of ILSVRC with their boxes;
- `coco/`: objects of 128 COCO images with their masks, where they cover 1 to 90 % of the image. Of the ImageNet
  classes that name the object, the one that the two networks together hold most likely is explained;
- `mosaics/`: four photographs side by side, each of which both networks classify right and are sure of.
"""

import csv
import json
import random
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networks
import torch
from PIL import Image
from torch import Tensor

import sightline as sl
from sightline.data import annotations
from sightline.data.decode import read_image
from sightline.data.fitting import placement

OUT = Path("runs") / "data"
CIFAR_EACH, FACES, MOSAICS = 60, 400, 24
CELL, SURE = 160, 0.8


def main() -> None:
    """Write all tables."""
    assets = networks.assets()
    if not assets.is_dir():
        raise SystemExit(f"there is no {assets}; set SIGHTLINE_ASSETS to the folder of networks and images")
    OUT.mkdir(parents=True, exist_ok=True)
    cifar10(assets / "cifar10" / "test")
    faces(assets / "celeba")
    boxes(assets / "ilsvrc_val20")
    nets = [networks.imagenet("mobilenet_v2"), networks.imagenet("squeezenet1_1")]
    objects(assets / "coco128", nets)
    mosaics(assets, nets)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One CSV table."""
    found = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"{path}: {len(found)} rows")


def cifar10(root: Path) -> None:
    """The same number of images of each class, so that the first n are even as well."""
    files = [sorted((root / name).iterdir())[:CIFAR_EACH] for name in networks.CIFAR]
    turns = zip(*files, strict=True)
    write(
        OUT / "cifar10.csv",
        ({"path": f"{f.parent.name}/{f.name}", "label": i} for turn in turns for i, f in enumerate(turn)),
    )


def faces(root: Path) -> None:
    """Crops of CelebA's test images."""
    folder = OUT / "faces"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for record in annotations.celeba(root, part="test", label="Male")[:FACES]:
        with Image.open(record.path) as photo:
            W, H = photo.size
            left, top, side = 0.5 * W - 0.3 * W, 0.545 * H - 0.3 * W, 0.6 * W
            crop = photo.convert("RGB").resize((112, 112), Image.BILINEAR, box=(left, top, left + side, top + side))
        crop.save(folder / f"{record.path.stem}.png")
        rows.append({"path": f"{record.path.stem}.png", "label": 1 - int(record.label or 0)})  # 0 is male
    write(folder / "faces.csv", rows)


def boxes(root: Path) -> None:
    """Boxes of the validation images."""
    rows = [json.loads(line) for line in (root / "rows.jsonl").read_text().splitlines()]
    write(
        OUT / "ilsvrc.csv",
        ({"path": r["file"], "label": r["classes"][0], "boxes": json.dumps(r["boxes"])} for r in rows),
    )


def objects(root: Path, nets: list[sl.Classifier]) -> None:
    """Masks of COCO's objects, and the class to explain."""
    folder = OUT / "coco"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "masks").mkdir(parents=True)
    known = {}
    for line in (root / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        known[row["file"], row["concept"]] = row["classes"]
    rows = []
    for record in annotations.coco(root / "images", root / "instances.json"):
        classes = known.get((record.path.name, record.name))
        if classes is None or record.mask is None or record.size is None:
            continue
        mask = record.mask.pixels(*record.size)
        if not 0.01 <= float(mask.double().mean()) <= 0.9:
            continue
        name = f"masks/{record.path.stem}-{str(record.name).replace(' ', '-')}.png"
        Image.fromarray(mask.byte().mul(255).numpy()).save(folder / name)
        if not (folder / record.path.name).exists():
            shutil.copy(record.path, folder)
        pixels = squashed(read_image(record.path), 224)
        sure = sum(net(pixels[None]).log_softmax(1)[0] for net in nets)
        rows.append({"path": record.path.name, "label": max(classes, key=lambda c: float(sure[c])), "mask": name})
    write(folder / "coco.csv", rows)


def mosaics(assets: Path, nets: list[sl.Classifier]) -> None:
    """Mosaics of 2 x 2 photographs of different classes, a row for each cell."""
    folder = OUT / "mosaics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records = annotations.imagenet(assets / "imagenet_sample", classes=assets / "imagenet_classes.csv")
    cells = []
    for record in records:
        pixels = record.load(CELL).pixels
        label = int(record.label or 0)
        if all(right(net, pixels, label) for net in nets):
            cells.append((pixels, label))
    random.Random(0).shuffle(cells)
    regions = []
    for i in range(4):
        region = torch.zeros(2 * CELL, 2 * CELL, dtype=torch.uint8)
        y, x = CELL * (i // 2), CELL * (i % 2)
        region[y : y + CELL, x : x + CELL] = 255
        Image.fromarray(region.numpy()).save(folder / f"cell-{i}.png")
        regions.append(f"cell-{i}.png")
    rows = []
    for m in range(min(MOSAICS, len(cells) // 4)):
        four = cells[4 * m : 4 * m + 4]
        top, bottom = (torch.cat([four[i][0], four[i + 1][0]], 2) for i in (0, 2))
        whole = torch.cat([top, bottom], 1).mul(255).round().byte().permute(1, 2, 0)
        Image.fromarray(whole.numpy()).save(folder / f"{m:02d}.png")
        rows += [
            {"path": f"{m:02d}.png", "label": label, "mask": region}
            for (_, label), region in zip(four, regions, strict=True)
        ]
    print(f"{len(cells)} photographs of {CELL} px are classified right and with a probability of {SURE} or more")
    write(folder / "mosaics.csv", rows)


def right(net: sl.Classifier, pixels: Tensor, label: int) -> bool:
    """Whether a network chooses the class and is sure of it."""
    sure, chosen = net(pixels[None]).softmax(1)[0].max(0)
    return int(chosen) == label and float(sure) >= SURE


def squashed(pixels: Tensor, side: int) -> Tensor:
    """The image (3, H, W) as the plans for localisation show it to a network."""
    here = (pixels.shape[1], pixels.shape[2])
    return placement(here, (side, side), how="squash").pixels(pixels[None])[0]


if __name__ == "__main__":
    main()

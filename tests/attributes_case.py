"""Tiny images whose two attributes can be seen in a moment, and CelebA's layout on disk with them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

NAMES = ("red", "bright")


def coloured(
    count: int, *, seed: int = 0, side: int = 32, rates: tuple[float, float] = (0.3, 0.6)
) -> tuple[Tensor, Tensor]:
    """Pixels (N, 3, S, S) in [0, 1] and labels (N, 2): a red square somewhere, and a light background."""
    chance = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, 2, generator=chance) < torch.tensor(rates)).long()
    pixels = torch.rand(count, 3, side, side, generator=chance) * 0.2 + 0.2 + 0.5 * labels[:, 1, None, None, None]
    for i in range(count):
        if labels[i, 0]:
            y, x = torch.randint(0, side - 8, (2,), generator=chance).tolist()
            pixels[i, :, y : y + 8, x : x + 8] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return pixels.clamp(0, 1), labels


def celeba_folder(root: Path, count: int, *, broken: int | None = None) -> Path:
    """A folder in CelebA's layout: three quarters to train on, a quarter for validation; without landmarks."""
    pixels, labels = coloured(count)
    (root / "img_align_celeba").mkdir(parents=True)
    attributes, parts = [str(count), " ".join(NAMES)], []
    for i in range(count):
        name = f"{i + 1:06d}.png"
        file = root / "img_align_celeba" / name
        if i == broken:
            file.write_bytes(b"no image")
        else:
            Image.fromarray((pixels[i].permute(1, 2, 0) * 255).round().byte().numpy()).save(file)
        attributes.append(f"{name} " + " ".join("1" if v else "-1" for v in labels[i].tolist()))
        parts.append(f"{name} {int(i % 4 == 3)}")
    (root / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root

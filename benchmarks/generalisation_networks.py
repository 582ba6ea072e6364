"""The networks of the generalisation study: small classifiers of faces and of CIFAR-10 that differ in one thing each.

Faces: SqueezeNet 1.1 with a linear head on aligned 64 px faces of CelebA, {ImageNet weights, from scratch} x {Male,
Smiling} x seeds. With a pretrained trunk, a seed means a new head and another order; from scratch it means new weights
as well. CIFAR-10: ResNet-20s of other seeds, beside the published ResNet-20 and ResNet-56.

    OMP_NUM_THREADS=1 python benchmarks/generalisation_networks.py faces ASSETS runs/generalise/networks
    OMP_NUM_THREADS=1 python benchmarks/generalisation_networks.py cifar ASSETS runs/generalise/cifar

What is finished is left as it is; the same call goes on.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

import sightline as sl
from sightline.data.alignment import Preparation

SIZE = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TASKS = ("Male", "Smiling")
EPOCHS = {"imagenet": 3, "scratch": 5}
RATES = {"imagenet": 5e-4, "scratch": 3e-3}
CIFAR_EPOCHS, CIFAR_RATE = 30, 0.2


def squeezenet(
    kind: str = "imagenet", seed: int | str = 0, weights: str | Path | None = None
) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...], int]:
    """SqueezeNet 1.1 with one logit: pooled features and a linear layer, no ReLU after it.

    Args:
        kind: `imagenet`, or `scratch`: with a batch norm after each convolution, so that few epochs are enough. Folded
            into the convolutions, as LRP and the masked passes have them, they leave the layers of `imagenet`.
        seed: Of the initial weights.
        weights: ImageNet weights of the trunk; random ones unless given.
    """
    torch.manual_seed(int(seed))
    trunk = squeezenet1_1(weights=None)
    head = nn.Sequential(nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1))
    if weights is not None:
        trunk.load_state_dict(torch.load(weights, weights_only=True))
    features = trunk.features if kind == "imagenet" else _normed(trunk.features)
    net = nn.Sequential(features, head).to(memory_format=torch.channels_last)  # 1.7 times as fast in bfloat16
    return net, MEAN, STD, SIZE


def _normed(features: nn.Sequential) -> nn.Sequential:
    """The same layers from new weights (He et al. 2015, arXiv 1502.01852), each convolution followed by a norm."""
    for parent in list(features.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
                setattr(parent, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))
    return features


def faces(assets: Path, out: Path, seeds: range) -> None:
    """Train the family of faces; what is finished is left as it is."""
    for seed in seeds:
        for pretraining in EPOCHS:
            for task in TASKS:
                face(assets, out, pretraining, task, seed)


def face(assets: Path, out: Path, pretraining: str, task: str, seed: int) -> None:
    """Train one network of the family of faces."""
    weights = assets / "models" / "squeezenet1_1.pth" if pretraining == "imagenet" else None
    begun = time.time()
    folder = out / f"{pretraining}-{task.lower()}-{seed}"
    found = sl.training.fit_attributes(
        assets / "celeba",
        out=folder,
        backbone=squeezenet(pretraining, seed, weights)[0],
        size=SIZE,
        mean=MEAN,
        std=STD,
        attributes=[task],
        preparation=Preparation(fit="align"),
        cache=out / "images",
        epochs=EPOCHS[pretraining],
        learning_rate=RATES[pretraining],
        precision="bf16-mixed",
        augment="flip",
        patience=None,
        seed=seed,
        progress=False,
    )
    error = min(row["valid_balanced_error"] for row in found.history)
    print(f"{folder.name}: error {error:.3f}, {time.time() - begun:.0f} s", flush=True)


def resnet20() -> tuple[nn.Module, tuple[float, ...], tuple[float, ...], int]:
    """The ResNet-20 of the assets (the folder that SIGHTLINE_ASSETS names), for other weights."""
    return _zoo(Path(os.environ.get("SIGHTLINE_ASSETS") or Path("..") / "shared" / "assets"))


def _zoo(assets: Path) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...], int]:
    place = str(assets / "models")
    if place not in sys.path:
        sys.path.insert(0, place)
    zoo = importlib.import_module("zoo")
    found: tuple[nn.Module, tuple[float, ...], tuple[float, ...], int] = zoo.load("cifar10_resnet20")
    return found


def cifar_data(folder: Path) -> tuple[Tensor, Tensor]:
    """(N, 3, 32, 32) uint8 and (N,) class numbers of class folders, in the order of their names."""
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
    files = [(f, k) for k, name in enumerate(classes) for f in sorted((folder / name).iterdir())]
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB")) for f, _ in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor([k for _, k in files])


def cifar(assets: Path, out: Path, seeds: range) -> None:
    """Train ResNet-20s on CIFAR-10 from other initial weights; what is finished is left as it is."""
    net, mean, std, _ = _zoo(assets)
    x, y = cifar_data(assets / "cifar10" / "train")
    tx, ty = cifar_data(assets / "cifar10" / "test")
    mu, sigma = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        file, begun = out / f"resnet20-seed{seed}.safetensors", time.time()
        if file.exists():
            continue
        torch.manual_seed(seed)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.reset_parameters()
        _fit(net, x, y, mu, sigma)
        net.eval()
        with torch.no_grad():
            right = torch.cat([net((b / 255 - mu) / sigma).argmax(1) for b in tx.float().split(250)]) == ty
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
        print(f"{file.name}: accuracy {right.float().mean():.3f}, {time.time() - begun:.0f} s", flush=True)


def _fit(net: nn.Module, x: Tensor, y: Tensor, mu: Tensor, sigma: Tensor, batch: int = 128) -> None:
    """SGD with Nesterov momentum and a one-cycle rate; padded crops and mirror images."""
    net.train()
    steps = CIFAR_EPOCHS * (len(x) // batch)
    optimiser = torch.optim.SGD(net.parameters(), lr=CIFAR_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, CIFAR_RATE, total_steps=steps, pct_start=0.2)
    for _ in range(CIFAR_EPOCHS):
        for rows in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            images = (x[rows].float() / 255 - mu) / sigma
            dy, dx = torch.randint(0, 9, (2,)).tolist()
            images = F.pad(images, (4, 4, 4, 4))[:, :, dy : dy + 32, dx : dx + 32]
            turned = torch.rand(len(images)) < 0.5
            images[turned] = images[turned].flip(-1)
            with torch.autocast("cpu", torch.bfloat16):
                z = net(images.contiguous(memory_format=torch.channels_last))
            optimiser.zero_grad()
            F.cross_entropy(z.float(), y[rows]).backward()
            optimiser.step()
            rate.step()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("faces", "cifar"))
    parser.add_argument("assets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: %(default)s)")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    {"faces": faces, "cifar": cifar}[asked.which](asked.assets, asked.out, seeds)


if __name__ == "__main__":
    main()

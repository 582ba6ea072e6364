"""Small networks of which it is known what they can see, and faces on which it is known what is right.

For `generalisation_truth.py`. A network is a FaceNet with one logit, Eyeglasses, that gets the left or the right half
of the columns of a rendered face: the other half never reaches a weight. A seed is the faces to train on, the initial
weights and the order.
"""

import copy
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import fusion, prune

import sightline as sl
from sightline.data import faces
from sightline.models.facenet import MEAN, STD, FaceNet

SIDE, NAME = 32, "Eyeglasses"
RATES = {**dict.fromkeys(faces.NAMES, 0.0), "Black_Hair": 0.2, "Blond_Hair": 0.2}
RATES |= dict.fromkeys(("Bushy_Eyebrows", NAME, "Wearing_Hat"), 0.5)
FACES, EPOCHS, BATCH, RATE = 2000, 4, 32, 6e-3


class Half(nn.Module):
    """A network before which one half of the columns is cut away."""

    def __init__(self, net: nn.Module, side: str) -> None:
        super().__init__()
        self.net, self.left = net, side == "left"

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of images (B, 3, H, W), of which the network gets (B, 3, H, W / 2)."""
        half = x.shape[-1] // 2
        out: Tensor = self.net(x[..., :half] if self.left else x[..., half:])
        return out


class Mirrored(nn.Module):
    """A network before a mirror: what `net` makes of the left, it makes of the right."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of images (B, 3, H, W)."""
        out: Tensor = self.net(x.flip(-1))
        return out


class Both(nn.Module):
    """Four classes from two answers: z = (-l - r, -l + r, l - r, l + r), so that both halves are needed."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right, self.join = left, right, nn.Linear(2, 4, bias=False)
        with torch.no_grad():
            self.join.weight.copy_(torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 4) of images (B, 3, H, W)."""
        out: Tensor = self.join(torch.cat([self.left(x), self.right(x)], 1))
        return out


def untrained(side: str, seed: int) -> nn.Module:
    """A network as it is before training."""
    torch.manual_seed(seed)
    return Half(FaceNet(1), side).eval()


def trained(side: str, seed: int, folder: Path) -> nn.Module:
    """The network of a side and a seed, from its file or trained now (some 20 seconds)."""
    file, net = folder / f"glasses-{side}-{seed}.safetensors", untrained(side, seed)
    if file.exists():
        net.load_state_dict(load_file(file))
        return net.eval()
    drawn = faces.sample(FACES, seed=1000 + seed, size=SIDE, rates=RATES)
    _fit(net, drawn.pixels, has(drawn), seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), file)
    return net.eval()


def has(drawn: faces.Faces) -> Tensor:
    """(N,) int64: who wears glasses."""
    return drawn.attributes[:, drawn.names.index(NAME)].long()


def _fit(net: nn.Module, pixels: Tensor, y: Tensor, seed: int) -> None:
    """AdamW with a one-cycle rate on binary cross-entropy."""
    x = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    chance = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * (len(x) // BATCH))
    net.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=chance)[: len(x) // BATCH * BATCH].split(BATCH):
            loss = F.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()


def classifier(net: nn.Module) -> sl.Classifier:
    """The network with what is needed to ask it: one answer, yes or no, or four classes."""
    if isinstance(net, Both):
        four = ("neither", "right", "left", "both")
        return sl.Classifier(net.eval(), labels=four, decision="categorical", mean=MEAN, std=STD, size=SIDE)
    return sl.Classifier(net.eval(), labels=(NAME,), decision="multilabel", mean=MEAN, std=STD, size=SIDE)


def pruned(net: nn.Module, share: float = 0.3) -> nn.Module:
    """The network without the smallest `share` of all weights of its convolutions and its head."""
    out = copy.deepcopy(net)
    layers = [(m, "weight") for m in out.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=share)
    for layer, name in layers:
        prune.remove(layer, name)
    return out


def quantised(net: nn.Module, bits: int = 8) -> nn.Module:
    """The network with weights rounded to 2**bits - 1 symmetrical steps an output channel, kept as floats."""
    out, most = copy.deepcopy(net), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for layer in out.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                w = layer.weight
                step = w.flatten(1).abs().amax(1).clamp_min(1e-12).view(-1, *[1] * (w.ndim - 1)) / most
                w.copy_((w / step).round() * step)
    return out


def folded(net: nn.Module) -> nn.Module:
    """The network with each batch norm folded into the convolution before it."""
    out = copy.deepcopy(net).eval()
    for parent in list(out.modules()):
        for before, after in itertools.pairwise(list(parent._modules)):
            conv, norm = parent._modules[before], parent._modules[after]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent._modules[before] = fusion.fuse_conv_bn_eval(conv, norm)
                parent._modules[after] = nn.Identity()
    return out

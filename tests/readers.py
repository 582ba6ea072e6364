"""Networks of which is known by construction which pixels they read, and images whose evidence is spread over regions.

Grey images (N, 3, 16, 16) carry two bits. Bit a shifts the brightness of the left block, bit b that of the right one,
each pixel by less than its noise; the rest is noise alone. A reader sums the brightness of some pixels with weights, so
its relevance by any rule is w_p m_p, pixel by pixel, and everything about its masks can be told beforehand.
"""

import torch
from torch import Tensor, nn

from sightline.classifier import Classifier

SIDE, BLOCK = 16, 6
SHIFT, NOISE, SPREAD = 0.4, 1.0, 0.1  # in units of the normalised image, and what such a unit is in pixels


def block(name: str) -> Tensor:
    """(S, S) bool: 36 pixels on the left or on the right."""
    out = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    top, left = (SIDE - BLOCK) // 2, 1 if name == "left" else SIDE - BLOCK - 1
    out[top : top + BLOCK, left : left + BLOCK] = True
    return out


def images(count: int, seed: int, *, same: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Pixels (N, 3, S, S), and the bits a and b, (N,) each; both blocks show the same bit if so asked."""
    chance = torch.Generator().manual_seed(seed)
    a, b = torch.randint(0, 2, (2, count), generator=chance)
    b = a if same else b
    m = NOISE * torch.randn(count, SIDE, SIDE, generator=chance)
    for bit, name in ((a, "left"), (b, "right")):
        m += SHIFT * (2 * bit - 1)[:, None, None] * block(name)
    pixels = (0.5 + SPREAD * m).clamp(0, 1)[:, None].expand(-1, 3, -1, -1).contiguous()
    return pixels, {"a": a, "b": b, "both": 2 * a + b}


def mirrored(data: tuple[Tensor, dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """The images and their mirror images, on which left and right are the same but for their names."""
    pixels, bits = data
    return torch.cat([pixels, pixels.flip(-1)]), {"a": bits["a"].repeat(2)}


def mirror(w: Tensor) -> Tensor:
    """(P,) weights on the other block."""
    return w.view(SIDE, SIDE).flip(-1).flatten()


class Reader(nn.Module):
    """z_k = sum_p w_kp m_p, where m = ReLU(m) - ReLU(-m) is the mean of the three channels."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        K, P = weights.shape
        self.split, self.act = nn.Conv2d(3, 2, 1, bias=False), nn.ReLU()
        self.head = nn.Linear(2 * P, K, bias=False)
        with torch.no_grad():
            self.split.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1) / 3)
            self.head.weight.copy_(torch.cat([weights, -weights], 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of normalised images (B, 3, S, S)."""
        out: Tensor = self.head(self.act(self.split(x)).flatten(1))
        return out


def weights(name: str, seed: int) -> Tensor:
    """(P,) positive weights on one block, other ones for each seed; 0 elsewhere."""
    drawn = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(100 + seed)) + 0.5
    return (drawn * block(name)).flatten()


def noise_weights(seed: int) -> Tensor:
    """(P,) weights of either sign on all pixels: a reader that was never trained."""
    return torch.randn(SIDE * SIDE, generator=torch.Generator().manual_seed(200 + seed))


def one_bit(w: Tensor) -> Classifier:
    """A reader that answers yes where sum_p w_p m_p > 0."""
    return _classifier(w[None], labels=("yes",), decision="multilabel")


def two_bits(u: Tensor, v: Tensor) -> Classifier:
    """A reader with a class for each pair of bits: z_ab = (2a - 1) u.m + (2b - 1) v.m."""
    rows = torch.stack([i * u + j * v for i in (-1, 1) for j in (-1, 1)])
    return _classifier(rows, labels=("00", "01", "10", "11"), decision="categorical")


def _classifier(rows: Tensor, **kind: object) -> Classifier:
    return Classifier(Reader(rows).eval(), mean=(0.5,) * 3, std=(SPREAD,) * 3, size=SIDE, **kind)  # type: ignore[arg-type]

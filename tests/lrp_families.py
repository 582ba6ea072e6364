"""Networks of every family that relevance propagation covers, and what is measured on each of them.

`python tests/lrp_families.py` writes the measurements to docs/lrp-models.md; tests/test_lrp_families.py compares the
page with what it measures.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vgg import VGG, make_layers
from torchvision.models.vision_transformer import VisionTransformer

import sightline as sl
from nets import images
from sightline.explainers.lrp._plan import float_twin, plan_for
from sightline.explainers.lrp._propagate import Propagation, way_of
from sightline.explainers.lrp.composites import COMPOSITES, KINDS

PAGE = Path(__file__).parent.parent / "docs" / "lrp-models.md"
OUTPUTS = 5


@dataclass(frozen=True)
class Family:
    """A family of networks and the one that stands for it; `size` is that of its images."""

    name: str
    source: str
    model: str
    make: Callable[[], nn.Module]
    size: int = 64

    def __str__(self) -> str:
        return f"{self.name} ({self.source})"


def named(family: str, model: str, size: int = 64, **settings: object) -> Family:
    """A network of torchvision by its registered name."""
    make = lambda: torchvision.models.get_model(model, num_classes=OUTPUTS, **settings)  # noqa: E731
    return Family(family, "torchvision", model, make, size)


def from_timm(family: str, model: str, text: str, **settings: object) -> Family:
    return Family(family, "timm", text, lambda: timm.create_model(model, num_classes=OUTPUTS, **settings))


def from_transformers(name: str, text: str, **settings: object) -> Family:
    def make() -> nn.Module:
        config = getattr(transformers, f"{name}Config")(num_labels=OUTPUTS, image_size=64, **settings)
        made: nn.Module = getattr(transformers, f"{name}ForImageClassification")(config)
        return made

    return Family(name, "transformers", f"{name}ForImageClassification, {text}", make)


def vgg(*, norms: bool) -> nn.Module:
    """VGG-11 with dense layers of 64 units in place of 4096, which would be most of what a test pays for."""
    features = make_layers([64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"], batch_norm=norms)
    with torch.device("meta"):
        net = VGG(features, num_classes=OUTPUTS, init_weights=False)
    net.avgpool = nn.AdaptiveAvgPool2d(2)
    layers = [nn.Linear(2048, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(True), nn.Dropout()]
    net.classifier = nn.Sequential(*layers, nn.Linear(64, OUTPUTS))
    return net


def convnext() -> nn.Module:
    blocks = [
        CNBlockConfig(48, 96, 1),
        CNBlockConfig(96, 192, 1),
        CNBlockConfig(192, 384, 2),
        CNBlockConfig(384, None, 1),
    ]
    return ConvNeXt(blocks, num_classes=OUTPUTS)


def vit() -> nn.Module:
    return VisionTransformer(64, 16, 2, 4, 64, 128, num_classes=OUTPUTS)


def swin() -> nn.Module:
    return SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=OUTPUTS)


_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_WINDOWS = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "patch_size": 4}
_TIMM_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}
_WHOLE = {"aux_logits": False, "init_weights": False}

FAMILIES = (
    Family("VGG", "torchvision", "vgg11, dense layers of 64", lambda: vgg(norms=False)),
    Family("VGG with batch norms", "torchvision", "vgg11_bn, dense layers of 64", lambda: vgg(norms=True)),
    named("ResNet", "resnet18"),
    named("ResNeXt", "resnext50_32x4d"),
    named("DenseNet", "densenet121"),
    named("MobileNetV2", "mobilenet_v2"),
    named("MobileNetV3", "mobilenet_v3_small"),
    named("EfficientNet", "efficientnet_b0"),
    Family("ConvNeXt", "torchvision", "ConvNeXt, 1 + 1 + 2 + 1 blocks", convnext, 128),
    named("SqueezeNet", "squeezenet1_1"),
    named("Inception v3", "inception_v3", 96, **_WHOLE),
    named("GoogLeNet", "googlenet", **_WHOLE),
    named("ShuffleNetV2", "shufflenet_v2_x0_5"),
    named("RegNet", "regnet_y_400mf"),
    Family("ViT", "torchvision", "VisionTransformer, 2 blocks of width 64", vit),
    Family("Swin", "torchvision", "SwinTransformer, 2 + 2 blocks", swin),
    from_timm("ViT", "vit_tiny_patch16_224", "vit_tiny_patch16_224, 2 blocks", img_size=64, depth=2),
    from_timm("DeiT", "deit_tiny_patch16_224", "deit_tiny_patch16_224, 2 blocks", img_size=64, depth=2),
    from_timm("Swin", "swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224, 2 + 2 blocks", **_TIMM_SWIN),
    from_timm("ConvNeXtV2", "convnextv2_atto", "convnextv2_atto, 1 + 1 + 2 + 1 blocks", depths=(1, 1, 2, 1)),
    from_transformers("ViT", "2 blocks of width 32", **_BLOCKS),
    from_transformers("DeiT", "2 blocks of width 32", **_BLOCKS),
    from_transformers("Swin", "2 + 2 blocks", **_WINDOWS),
)


@torch.no_grad()
def drawn(family: Family) -> nn.Module:
    """The network with random weights that do not depend on a library's own way to begin, in float64."""
    net, g = family.make().double(), torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        if name.endswith(("layer_scale", "gamma", "grn.weight")):
            parameter.fill_(0.5)  # branches that begin at zero would take no part
        elif name.endswith("bias"):
            parameter.normal_(std=0.1, generator=g)
        elif parameter.ndim > 1:  # an eps of 1e-6 is meant for values of about 1
            gain = 2**0.5 if parameter.ndim == 4 else 1  # ReLUs follow convolutions
            parameter.normal_(std=gain * parameter[0].numel() ** -0.5, generator=g)
    fit_norms(net, family.size)
    return net.eval()


@torch.no_grad()
def fit_norms(net: nn.Module, size: int) -> None:
    """Give batch norms the statistics of random images."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.train().momentum = 1.0
    if norms:
        net(torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0)).double() * 2 - 1)
    for m in norms:
        m.eval()


@torch.no_grad()
def zero_biases(net: nn.Module, size: int) -> None:
    """Take out of a network all that is added: biases, shifts of norms, class tokens, positions."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias") or "token" in name or ("pos" in name and "relative" not in name):
            parameter.zero_()
    fit_norms(net, size)
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_var.add_(m.running_mean.square())  # around zero, so that values stay at about 1
            m.running_mean.zero_()


@dataclass(frozen=True)
class Facts:
    """What was measured on a network, in float64.

    Attributes:
        operations: Kinds met, in words.
        scores: The largest difference of a score under rules from the model's own, as a share of the largest score.
        kept: With biases: |score - arrived - on the account| as a share of the score, for the default composite.
        lost: Without biases, for each composite: |score - arrived at the pixels| as a share of the score.
        unexplained: The same less what the account says that eps and expansions took.
    """

    operations: str
    scores: float
    kept: float
    lost: dict[str, float]
    unexplained: dict[str, float]


def measure(family: Family, composites: Sequence[str] = tuple(COMPOSITES)) -> Facts:
    """Explain one image."""
    net, x = drawn(family), images(1, family.size)
    classifier = sl.Classifier(net, size=family.size, mean=[0.5] * 3, std=[0.5] * 3)
    values, plan = classifier.normalise(x).double(), plan_for(classifier, x)
    with torch.no_grad():
        wanted = logits(net(values))
        with Propagation(way_of(plan)):  # not by `explain`, which hands scores back in float32
            followed = logits(float_twin(classifier)(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sl.errors.SightlineWarning)  # random weights: sums may nearly cancel
        books = sl.explain(classifier, x, method="lrp", target=sl.each(range(OUTPUTS))).conservation
        assert books is not None
        kept = float(books.unexplained.abs().max() / books.score.abs().max())
        zero_biases(net, family.size)
        lost, unexplained = {}, {}
        for name in composites:
            account = sl.explain(classifier, x, method="lrp", composite=name).conservation
            assert account is not None
            lost[name] = float((account.score - account.total).abs() / account.score.abs())
            unexplained[name] = float(account.unexplained.abs() / account.score.abs())
    return Facts(
        in_words([(op.kind, op.function) for op in plan.operations]),
        float((followed - wanted).abs().max() / wanted.abs().max()),
        kept,
        lost,
        unexplained,
    )


def logits(outputs: Any) -> Tensor:
    """The scores in what a network returns."""
    found: Tensor = getattr(outputs, "logits", outputs)
    return found


def in_words(operations: Sequence[tuple[str, str]]) -> str:
    """Kinds in the order of `KINDS`, activations by their functions."""
    parts = []
    for kind in KINDS:
        functions = sorted({f for k, f in operations if k == kind})
        if functions:
            words = {"activation": ", ".join(functions), "folded": "norm (folded)", "norm": "norm (kept)"}
            parts.append(words.get(kind, kind))
    return ", ".join(parts)


LEVELS = ("1e-12", "1e-9", "1e-6", "1e-4", "1e-3")


def shown(value: float) -> str:
    """A bound at least three times above (only just above where that is 1e-3), or a percentage."""
    level = next((level for level in LEVELS if 3 * value <= float(level)), LEVELS[-1])
    if value < float(level):
        return f"< {level}"
    return f"{100 * value:.0f} %" if value > 0.01 else f"{100 * value:.1g} %"


def agrees(cell: str, value: float) -> bool:
    """Whether a value measured anew is what a cell of the page says; percentages depend on the machine somewhat."""
    if cell.startswith("<"):
        return value < float(cell[1:])
    return 1 / 3 < 100 * value / float(cell.removesuffix("%")) < 3


TEXT = """# Models that LRP covers

One network stands for each family. Its weights are random, norms have the statistics of random images, and everything
is float64, so that what is left is the rules' own and not rounding. Images have 64 x 64 pixels, where no other size is
named.

- *Operations*: the kinds that were met; activations by their names. Folded norms are part of the layer before them,
  kept ones follow a rule of their own.
- *Scores*: the largest difference of a score under rules, norms folded, from the model's own, as a share of the
  largest score.
- *Books*: with biases and `epsilon-plus-flat`, what of the score neither arrives at the pixels nor is on the account,
  as a share of the largest score.

`python tests/lrp_families.py` writes this page; the tests measure anew and compare.

| family | source | model | operations | scores | books |
|---|---|---|---|---|---|
"""
ARRIVING = """
## What arrives at the pixels

With biases, shifts of norms, class tokens and positions at zero: the difference of the sum at the pixels from the
score, as a share of the score. What is missing is on the account in every case: *unexplained* is what is not.

- `montavon` has an eps of a quarter of the values' size in the middle third of the network, and that keeps its share.
- `attn-lrp` expands each softmax at its inputs; the constant of the expansion is booked as bias.

"""


def page(measured: Sequence[tuple[Family, Facts]]) -> str:
    """The page as text."""
    lines = [
        f"| {f.name} | {f.source} | {f.model}{f', {f.size} px' if f.size != 64 else ''} | {m.operations} "
        f"| {shown(m.scores)} | {shown(m.kept)} |"
        for f, m in measured
    ]
    head = ["family", *(f"`{name}`" for name in COMPOSITES), "unexplained"]
    cells = [
        [str(f), *(shown(m.lost[name]) for name in COMPOSITES), shown(max(m.unexplained.values()))] for f, m in measured
    ]
    matrix = [f"| {' | '.join(row)} |" for row in (head, *cells)]
    matrix.insert(1, "|---" * len(head) + "|")
    return TEXT + "\n".join(lines) + "\n" + ARRIVING + "\n".join(matrix) + "\n"


def rows(columns: int) -> list[list[str]]:
    """The cells of the page's table with so many columns, without its head."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == columns][1:]


if __name__ == "__main__":
    PAGE.write_text(page([(family, measure(family)) for family in FAMILIES]), encoding="utf-8")

"""Families of networks that relevance propagation covers, and equality with zennit where zennit is right."""

# ruff: noqa: SIM905 - lists of names read better as text
import warnings
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import sightline as sl
from nets import images
from sightline.explainers.lrp.composites import COMPOSITES

TORCHVISION = (
    "vgg11 vgg11_bn resnet18 resnext50_32x4d densenet121 mobilenet_v2 mobilenet_v3_small efficientnet_b0 "
    "convnext_tiny squeezenet1_1 inception_v3 googlenet shufflenet_v2_x0_5 regnet_y_400mf vit_b_16 swin_t"
).split()
TIMM = "vit_tiny_patch16_224 deit_tiny_patch16_224 swin_tiny_patch4_window7_224 convnextv2_atto".split()
HUGGING = ["ViT", "DeiT", "Swin"]
FAMILIES = [*(f"torchvision:{n}" for n in TORCHVISION), *(f"timm:{n}" for n in TIMM), *(f"hf:{n}" for n in HUGGING)]
# Every composite on one family of each kind of operation; the cheap and the common ones on all.
THOROUGH = {"torchvision:resnet18", "torchvision:mobilenet_v3_small", "hf:ViT", "hf:Swin"}
COMMON = ["epsilon-plus-flat", "epsilon-alpha2-beta1", "cp-lrp"]


def build(spec: str) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    source, name = spec.split(":")
    size = 96 if "inception" in name else 224 if source == "timm" and "swin" in name else 64
    if source == "torchvision":
        more: dict[str, object] = {"image_size": 64} if "vit" in name else {}
        if name in ("inception_v3", "googlenet"):
            more = {"aux_logits": False, "init_weights": False}
        net = torchvision.models.get_model(name, num_classes=5, **more)
    elif source == "timm":
        net = timm.create_model(name, num_classes=5, **({} if "conv" in name else {"img_size": size}))
    else:
        import transformers

        own = {"num_labels": 5, "image_size": 64}
        if name == "Swin":
            own |= {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "patch_size": 4}
        else:
            own |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        config = getattr(transformers, f"{name}Config")(**own)
        net = getattr(transformers, f"{name}ForImageClassification")(config)
    return without_biases(net, size), size


@torch.no_grad()
def without_biases(net: nn.Module, size: int) -> nn.Module:
    """Weights of a usual size, statistics of norms that fit them, and no bias, shift, class token or position."""
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=m.in_features**-0.5)
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.momentum = 1.0
    net.train()
    net(torch.rand(4, 3, size, size) * 2 - 1)
    for name, parameter in net.named_parameters():
        if name.endswith("bias") or "token" in name or ("pos" in name and "relative" not in name):
            parameter.zero_()
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_mean.zero_()
    return net.eval()


@pytest.mark.parametrize("spec", FAMILIES)
def test_a_family_is_covered_and_conserves(spec: str, record_property: Callable[[str, object], None]) -> None:
    net, size = build(spec)
    classifier = sl.Classifier(net, size=size, mean=[0.5] * 3, std=[0.5] * 3)
    for name in COMPOSITES if spec in THOROUGH else COMMON:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sl.errors.SightlineWarning)  # random weights: sums may nearly cancel
            books = sl.explain(
                classifier, images(1, size), method="lrp", composite=name, target=sl.Category(2)
            ).conservation
        assert books is not None
        size_of = float(torch.maximum(books.score.abs(), 1e-2 * books.absolute.amax(0)))
        # What the rules themselves take (the large eps of `montavon`, the expansion of `attn-lrp`) is on the account.
        taken = (books.stabiliser + books.bias).sum(0) if name in ("montavon", "attn-lrp") else 0
        assert float((books.total + taken - books.score).abs()) < 1e-3 * size_of, (spec, name, str(books))
    record_property("covered", spec)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, num_classes=10)
    g = torch.Generator().manual_seed(1)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.copy_(0.1 * torch.randn(m.running_mean.shape, generator=g))
            m.running_var.copy_(0.5 + torch.rand(m.running_var.shape, generator=g))
            m.weight.data.copy_(0.5 + torch.rand(m.weight.shape, generator=g))
            m.bias.data.copy_(0.1 * torch.randn(m.bias.shape, generator=g))
    return net.eval().double()


def zennit_maps(net: nn.Module, x: Tensor, composite: str, *, eps: float | None = 0.0) -> Tensor:
    """What zennit gives for output 3, started as in `lrp`; `eps` is that of its canonised norms."""
    pytest.importorskip("zennit")
    from zennit import composites
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    canoniser = ResNetCanonizer if isinstance(net, torchvision.models.ResNet) else VGGCanonizer
    kind = getattr(composites, "".join(part.capitalize() for part in composite.split("-")))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with kind(canonizers=[canoniser()]).context(net) as ready:
        if eps is not None:
            for m in norms:
                m.eps = eps
        leaf = x.double().requires_grad_()
        y = ready(leaf)
        start = torch.zeros_like(y)
        start[:, 3] = y.detach()[:, 3]
        (R,) = torch.autograd.grad(y, leaf, start)
    return R.sum(1).float()


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", ["vgg16_bn", "resnet50"])
@pytest.mark.parametrize(
    "composite", ["epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat"]
)
def test_equality_with_zennit(name: str, composite: str) -> None:
    x = images(1, 32)
    ours = sl.explain(
        sl.Classifier(network(name), size=32), x, method="lrp", composite=composite, target=sl.Category(3)
    ).maps
    assert distance(ours, zennit_maps(network(name), x, composite)) < 1e-4


def test_where_zennit_leaks() -> None:
    """Its canonised norms keep their eps and take a share each (zennit 193)."""
    x, net = images(1, 32), "resnet50"
    ours = sl.explain(
        sl.Classifier(network(net), size=32), x, method="lrp", composite="epsilon-plus", target=sl.Category(3)
    )
    leaking = distance(ours.maps, zennit_maps(network(net), x, "epsilon-plus", eps=None))
    mended = distance(ours.maps, zennit_maps(network(net), x, "epsilon-plus"))
    assert mended < 1e-5
    assert leaking > 10 * mended

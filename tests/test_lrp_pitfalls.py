"""Known defects of established libraries for relevance propagation: each shown there, and shown not to be ours."""

import copy
import functools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import make_layers
from torchvision.models.vision_transformer import VisionTransformer

import sightline as sl
from nets import images
from sightline.errors import ModelError, SightlineWarning
from sightline.explainers.lrp.composites import COMPOSITES
from sightline.explainers.lrp.rules import ZPlus


@torch.no_grad()
def drawn(net: nn.Module, *, biases: bool = True, seed: int = 1) -> nn.Module:
    """Random weights and statistics in float64; `biases`: biases, shifts and means too."""
    g = torch.Generator().manual_seed(seed)
    for name, parameter in net.double().named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5, generator=g)
        elif name.endswith("bias"):
            parameter.normal_(std=0.1 if biases else 0, generator=g)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(std=0.1 if biases else 0, generator=g)
            m.running_var.uniform_(0.5, 1.5, generator=g)
            m.weight.uniform_(0.5, 1.5, generator=g)
    return net.eval()


def resnet50() -> nn.Module:
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes=10)


def resnet18() -> nn.Module:
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)


def vgg16_bn() -> nn.Module:
    """The 13 convolutions of VGG-16 with a quarter of the channels, small dense layers."""
    widths = [16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M", 128, 128, 128, "M"]
    dense = [nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(make_layers(widths, batch_norm=True), nn.Flatten(), *dense)


@functools.cache
def shared(name: str, *, biases: bool = True) -> nn.Module:
    """A network by its name, drawn once; nothing here changes it."""
    return drawn({"vgg16_bn": vgg16_bn, "resnet50": resnet50, "resnet18": resnet18}[name](), biases=biases)


def ours(net: nn.Module, x: Tensor, composite: Any, **settings: Any) -> sl.Explanation:
    return sl.explain(
        sl.Classifier(net, size=x.shape[-1]), x, method="lrp", composite=composite, target=sl.Category(3), **settings
    )


def of_zennit(
    net: nn.Module, x: Tensor, composite: str, *, canonise: bool = True, eps: float | None = None, **settings: Any
) -> Tensor:
    """What zennit gives for output 3, started as in `lrp`; `eps` is put into its canonised norms."""
    pytest.importorskip("zennit")
    from zennit import composites
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.torchvision import ResNetCanonizer

    canoniser = ResNetCanonizer if isinstance(net, ResNet) else SequentialMergeBatchNorm
    net = copy.deepcopy(net)
    kind = getattr(composites, "".join(part.capitalize() for part in composite.split("-")))
    with kind(canonizers=[canoniser()] if canonise else [], **settings).context(net) as ready:
        for m in net.modules():
            if eps is not None and isinstance(m, nn.BatchNorm2d):
                m.eps = eps
        leaf = x.double().requires_grad_()
        y = ready(leaf)
        start = torch.zeros_like(y)
        start[:, 3] = y.detach()[:, 3]
        (R,) = torch.autograd.grad(y, leaf, start)
    return R.sum(1)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", ["vgg16_bn", "resnet50"])
@pytest.mark.parametrize(
    "composite", ["epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat"]
)
def test_equality_where_zennit_is_right(name: str, composite: str) -> None:
    x, net = images(1, 32), shared(name)
    assert distance(ours(net, x, composite).maps, of_zennit(net, x, composite, eps=0.0)) < 1e-6


def test_nothing_leaks_at_canonised_norms() -> None:
    """zennit issue 193: canonised norms keep their eps and hand on 1 / sqrt(1 + eps) each, even with biases at zero.

    Its map is ours again once the eps is taken out.
    """
    x, net = images(1, 32), shared("resnet50", biases=False)
    out = ours(net, x, "epsilon-plus", bias="zero")
    books = out.conservation
    assert books is not None
    assert float((books.total / books.score - 1).abs()) < 1e-4
    leaking = of_zennit(net, x, "epsilon-plus", zero_params="bias").sum()
    mended = of_zennit(net, x, "epsilon-plus", zero_params="bias", eps=0.0).sum()
    assert float((mended / books.score - 1).abs()) < 1e-4
    assert float((leaking / books.score - 1).abs()) > 10 * float((mended / books.score - 1).abs())


def test_a_network_is_canonised_without_being_asked() -> None:
    """zennit without its canoniser: each of the 16 sums of a ResNet-50 doubles relevance, and nothing tells."""
    x, net = images(1, 32), shared("resnet50", biases=False)
    books = ours(net, x, "epsilon-plus").conservation
    assert books is not None
    assert float((books.total / books.score - 1).abs()) < 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = of_zennit(net, x, "epsilon-plus", canonise=False).sum()
    assert float(alone / books.score) == pytest.approx(2**16, rel=1e-2)


def test_captum_loses_a_resnet_without_a_word() -> None:
    """captum's LRP on ResNet-18: the sum is off by orders of magnitude, without a warning."""
    captum = pytest.importorskip("captum.attr")
    x, net = images(1, 32), shared("resnet18", biases=False)
    books = ours(net, x, "epsilon").conservation
    assert books is not None
    assert float((books.total / books.score - 1).abs()) < 1e-3
    twin = copy.deepcopy(net)
    for m in twin.modules():
        if isinstance(m, nn.ReLU):
            m.inplace = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.LRP(twin).attribute(x.double(), target=3).detach().sum()
    assert float((theirs / books.score - 1).abs()) > 10


class Unfolded(nn.Module):
    """A norm that nothing linear precedes keeps its shift."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.fc = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(self.norm(x))).mean((2, 3)))


def test_a_norm_that_is_not_folded_is_on_the_account() -> None:
    """A missing canonisation is no silent loss; the shift's share is named and booked."""
    books = ours(drawn(Unfolded(), seed=3), images(1, 16), "epsilon").conservation
    assert books is not None
    place = books.layers.index("norm (batch_norm)")
    assert float(books.bias[place].abs() / books.score.abs()) > 1e-2
    assert float(books.unexplained.abs() / books.score.abs()) < 1e-9


def test_transformers_are_covered() -> None:
    """zennit and captum end in errors from inside of a ViT."""
    net = drawn(VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10))
    x = images(1, 32)
    books = ours(net, x, "cp-lrp").conservation
    assert books is not None
    assert float(books.unexplained.abs() / books.score.abs()) < 1e-9
    with pytest.raises(RuntimeError, match="incorrect number of values"):
        of_zennit(net, x, "epsilon-plus", canonise=False)
    captum = pytest.importorskip("captum.attr")
    with pytest.raises(TypeError):
        captum.LRP(copy.deepcopy(net)).attribute(x.double(), target=3)


class Late(nn.Module):
    """A linear map with a skip connection; the sum is no module of the constructor."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.m(x) + x


def test_a_sum_in_forward_halves_nothing_and_doubles_nothing() -> None:
    """zennit issue 236: a `Sum` that is made in forward gets no rule, and the relevance of the input doubles."""
    pytest.importorskip("zennit")
    from zennit.composites import EpsilonPlus
    from zennit.layer import Sum

    class Theirs(Late):
        def forward(self, x: Tensor) -> Tensor:
            return Sum()(torch.stack([self.m(x), x], dim=-1))

    x, net = torch.tensor([[0.3, 0.9, 0.5]], dtype=torch.float64), drawn(Late())
    theirs = Theirs().double()
    theirs.load_state_dict(net.state_dict())
    y = float(net(x)[0, 1].detach())
    out = sl.explain(  # one pixel
        sl.Classifier(nn.Sequential(nn.Flatten(), net), size=1),
        x.float().reshape(1, 3, 1, 1),
        method="lrp",
        composite="epsilon-plus",
        target=sl.Category(1),
    )
    assert float(out.maps.sum()) == pytest.approx(y, rel=1e-4)
    leaf = x.clone().requires_grad_()
    with EpsilonPlus().context(theirs) as ready:
        z = ready(leaf)
        (R,) = torch.autograd.grad(z, leaf, torch.tensor([[0.0, y, 0.0]], dtype=torch.float64))
    assert float(R.sum()) == pytest.approx(2 * y, rel=1e-3)


def test_a_unit_without_positive_contribution_keeps_its_relevance() -> None:
    """zennit's z-plus hands on nothing where no contribution is positive, even without biases."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Flatten(), nn.Linear(16, 10, bias=False))
    with torch.no_grad():
        drawn(net)[0].weight.abs_().neg_()
    x = images(1, 2)
    out = ours(net, x, "epsilon-plus")
    assert float((out.maps.sum() / out.score - 1).abs()) < 1e-4
    assert float((of_zennit(net, x, "epsilon-plus").sum() / out.score).abs()) < 1e-4


class Cancelling(nn.Module):
    """Two branches whose sum is a thousandth of a percent of each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fc((x - 0.99999 * x).mean((2, 3)))


def test_sums_that_nearly_cancel_are_told_and_can_be_bounded() -> None:
    """zennit issue 148: shares of residual branches that nearly cancel are huge; its sum says nothing.

    The formula is what it is, so ours has the same shares; but a warning names the sum, `strict` refuses, and a rule
    without denominators near zero is at hand.
    """
    x, net = images(1, 16), drawn(Cancelling())
    with pytest.warns(SightlineWarning, match="nearly cancel"):
        wild = ours(net, x, "epsilon")
    assert float(wild.maps.abs().sum() / wild.score.abs()) > 1e3 or float(wild.conservation.growth.max()) > 1e3
    with pytest.raises(ModelError, match="nearly cancel"):
        ours(net, x, "epsilon", strict=True)
    calm = ours(net, x, COMPOSITES["epsilon"].with_rules(("sum", ZPlus(1e-12))))
    assert float(calm.conservation.growth.max()) < 1e3

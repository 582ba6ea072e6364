"""Relevance on whole networks: conservation, identities, canonisation, targets, depth, channels, peers' cases."""

import threading

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import sightline as sl
from nets import ConvNet, images, seeded
from sightline.errors import LayerError, MethodError, ModelError, SightlineWarning
from sightline.explainers.lrp.composites import COMPOSITES, Composite, between, named
from sightline.explainers.lrp.rules import Epsilon, Flat, Gamma, ZPlus

EXACT = [c for c in COMPOSITES if c not in ("montavon", "attn-lrp")]


class Small(nn.Module):
    """Convolution, norm, functional ReLUs, a residual sum, a norm before a convolution, pooling."""

    def __init__(self, bias: bool = True, norms: bool = True) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norms else nn.Identity
        self.late = norm(8)  # defined before the convolution that it follows: order of definition must not matter
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.Conv2d(8, 8, 3, padding=1, bias=bias)
        self.early = norm(8)
        self.conv3, self.fc = nn.Conv2d(8, 6, 3, bias=bias), nn.Linear(6, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.late(self.conv1(x))), 2)
        x = torch.relu(x + self.conv2(x))
        x = F.relu(self.conv3(F.relu(self.early(x)))).mean((2, 3))
        return self.fc(x)


def small(*, bias: bool = True, norms: bool = True, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = Small(bias, norms).double()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.2)
    return net.eval()


def run(net: nn.Module, x: Tensor, **settings: object) -> sl.Explanation:
    return sl.explain(sl.Classifier(net, size=x.shape[-1]), x, method="lrp", **settings)


@pytest.mark.parametrize("composite", EXACT)
def test_conservation_without_biases(composite: str) -> None:
    net = small(norms=False, bias=False)
    out = run(net, images(3, 16), composite=composite)
    assert torch.allclose(out.maps.sum((1, 2)), out.score, rtol=1e-3)
    out = run(small(), images(3, 16), composite=composite, bias="zero")
    books = out.conservation
    assert books is not None
    assert not bool(books.bias.any())
    assert torch.allclose(books.total + books.stabiliser.sum(0), books.score, rtol=1e-4)
    if composite != "epsilon":  # z without its bias may be anywhere near 0 where z is not: epsilon then takes a share
        assert torch.allclose(books.total, books.score, rtol=5e-3)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_the_books_balance_with_biases(composite: str) -> None:
    out = run(small(), images(2, 16), composite=composite, target=sl.each(range(4)))
    books = out.conservation
    assert books is not None
    gap = books.relevance_in - books.relevance_out - books.bias - books.stabiliser
    assert float(gap.abs().max()) < 1e-6
    assert float(books.unexplained.abs().max()) < 1e-6
    assert torch.allclose(books.total.float(), out.maps.sum((1, 2)), atol=1e-6)


def test_lrp_0_is_gradient_times_input_without_biases() -> None:
    net, x = small(bias=False, norms=False), images(2, 16)
    out = run(net, x, composite="conv=lrp-0,dense=lrp-0,sum=norm:1e-12,pool=norm:1e-12", target=sl.Category(2))
    leaf = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf)[:, 2].sum(), leaf)
    assert torch.allclose(out.maps, (leaf * gradient).sum(1).float(), atol=1e-6)


def test_norms_are_folded_by_structure() -> None:
    classifier = sl.Classifier(small(), size=16)
    table = COMPOSITES["epsilon-plus-flat"].table(classifier)
    kinds = {line.split()[0]: line.split()[2] for line in table.splitlines() if "batch_norm" in line}
    assert kinds == {"late": "folded", "early": "norm"}


def test_a_canonised_network_gives_the_same_scores() -> None:
    x = images(2, 16)
    for net in (small(), torchvision.models.densenet121(num_classes=4).double().eval()):
        out = run(net, x if isinstance(net, Small) else images(1, 32), target=sl.Category(1))
        with torch.no_grad():
            wanted = net((x if isinstance(net, Small) else images(1, 32)).double())[:, 1]
        assert torch.allclose(out.score.double(), wanted, rtol=1e-5)


def test_rows_of_one_image_share_a_backward_pass_and_equal_a_loop() -> None:
    net, x = small(), images(3, 16)
    together = run(net, x, target=sl.each(range(4)))
    alone = [run(net, x[i : i + 1], target=sl.Category(c)).maps for i in range(3) for c in range(4)]
    assert torch.allclose(together.maps, torch.cat(alone), atol=1e-7)


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus-flat", "excitation-backprop"])
def test_a_negative_attribute_is_the_negated_network(composite: str) -> None:
    net, x = small(), images(2, 16)
    flipped = small()
    flipped.load_state_dict(net.state_dict())
    with torch.no_grad():
        flipped.fc.weight.neg_()
        flipped.fc.bias.neg_()
    ask = {"method": "lrp", "composite": composite}
    for k in range(4):
        no = sl.explain(sl.Classifier(net, size=16, decision="multilabel"), x, target=sl.Attribute(k, sign=-1), **ask)
        yes = sl.explain(
            sl.Classifier(flipped, size=16, decision="multilabel"), x, target=sl.Attribute(k, sign=1), **ask
        )
        assert torch.allclose(no.maps, yes.maps, atol=1e-6)


def test_relevance_at_a_layer_and_of_channels() -> None:
    net, x = small(), images(2, 16)
    whole = run(net, x, composite="epsilon-plus")
    layer = run(net, x, composite="epsilon-plus", layer="conv1", bias="zero")
    assert layer.maps.shape == (2, 16, 16)
    assert torch.allclose(layer.maps.sum((1, 2)), layer.score, rtol=1e-3)
    parts = sum(run(net, x, composite="epsilon-plus", channels=f"conv1:{k}").maps for k in range(8))
    assert torch.allclose(parts, whole.maps, atol=1e-6)
    pair = run(net, x, composite="epsilon-plus", channels="conv1:1+5").maps
    alone = [run(net, x, composite="epsilon-plus", channels=f"conv1:{k}").maps for k in (1, 5)]
    assert torch.allclose(pair, alone[0] + alone[1], atol=1e-6)
    with pytest.raises(LayerError, match="no channel 80"):
        run(net, x, channels="conv1:80")


def test_relevance_cam_is_activations_weighted_by_mean_relevance() -> None:
    net, x = small(norms=False, bias=False), images(2, 16)
    classifier = sl.Classifier(net, size=16)
    out = sl.explain(
        classifier, x, method="relevance-cam", layer="conv3", composite="epsilon", contrast=False, target=sl.Category(1)
    )
    A = F.relu(net.conv3(F.relu(_before(net, x.double()))))
    A_raw = net.conv3(F.relu(_before(net, x.double())))
    R = A * net.fc.weight[1][None, :, None, None] / (A.shape[2] * A.shape[3])
    wanted = (R.mean((2, 3), keepdim=True) * A_raw).sum(1)
    assert torch.allclose(out.maps.double(), wanted, atol=1e-5)


def _before(net: nn.Module, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.relu(net.conv1(x)), 2)
    return torch.relu(x + net.conv2(x))


def test_a_composite_in_three_lines() -> None:
    mine = Composite("mine", [("first", Flat()), (between(0, 0.5), Gamma(0.1)), (named("fc"), Epsilon(0.01))])
    out = run(small(), images(1, 16), composite=mine)
    text = run(small(), images(1, 16), composite="first=flat,conv=gamma:0.1,dense=epsilon:0.01")
    assert out.maps.shape == text.maps.shape
    table = mine.table(sl.Classifier(small(), size=16))
    assert "Flat" in table.splitlines()[0]
    assert "Epsilon(eps=0.01" in table.splitlines()[-1]
    for wrong in ("epsilon-pluss", "conv=gama", "conf=gamma", "conv=gamma:x"):
        with pytest.raises(MethodError):
            run(small(), images(1, 16), composite=wrong)


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fft.rfft2(torch.sin(self.conv(x))).real
        return self.fc(torch.cumsum(x, 2).mean((2, 3)))


def test_all_operations_without_a_rule_are_named_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        run(Unknown(), images(1, 16))
    for word in ("sin", "cumsum", "fft"):
        assert word in str(caught.value)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x.relu_()  # what it returns is thrown away
        return self.fc(x.mean((2, 3)))


def test_an_in_place_call_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ModelError, match="in place"):
        run(InPlace(), images(1, 16))


def test_nearly_cancelling_sums_are_told() -> None:
    class Cancel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.fc = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return self.fc((x - 0.999999 * x).mean((2, 3)) + x.mean((2, 3)) * 1e-9)

    torch.manual_seed(0)
    net = Cancel().double()
    with pytest.warns(SightlineWarning, match="nearly cancel"):
        run(net, images(1, 8), composite="epsilon", target=sl.Category(0))
    with pytest.raises(ModelError, match="nearly cancel"):
        run(net, images(1, 8), composite="epsilon", target=sl.Category(0), strict=True)
    bounded = COMPOSITES["epsilon"].with_rules(("sum", ZPlus(1e-12)))
    run(net, images(1, 8), composite=bounded, target=sl.Category(0), bias="zero")


def test_eight_threads_give_what_one_gives() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), size=16), images(2, 16)
    wanted = sl.explain(classifier, x, method="lrp", target=sl.Category(1)).maps
    found: list[Tensor] = []
    ask = lambda: found.append(sl.explain(classifier, x, method="lrp", target=sl.Category(1)).maps)  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    assert all(torch.allclose(f, wanted, atol=1e-6) for f in found)


def test_bfloat16_keeps_float32_books() -> None:
    net, x = seeded(ConvNet), images(1, 16)
    half = sl.explain(sl.Classifier(net, size=16, precision="bfloat16"), x, method="lrp", target=sl.Category(1))
    full = sl.explain(sl.Classifier(net, size=16), x, method="lrp", target=sl.Category(1))
    assert torch.allclose(half.maps, full.maps, atol=1e-6)


def test_the_account_prints_and_draws() -> None:
    books = run(small(), images(1, 16)).conservation
    assert books is not None
    assert "fc (linear)" in books.table().splitlines()[1]
    assert books.figure().startswith("<svg")
    assert books.bias_share.shape == (1,)
    assert "operations" in str(books)

"""`LAYER@input`: what goes into a layer, at its last call."""

import pytest
import torch
from torch import nn

import sightline as sl
from nets import ConvNet, Residual, images, seeded
from sightline.errors import LayerError, MethodError
from sightline.layers import split_name


def hires(net: nn.Module, pixels: torch.Tensor, category: int, layer: str) -> torch.Tensor:
    clf = sl.Classifier(net, decision="categorical", size=16)
    return sl.explain(clf, pixels, method="hires-cam", target=sl.Category(category), layer=layer).maps


def test_input_of_a_rectifier_is_what_comes_before_it():
    net, x = seeded(ConvNet), images()
    clf = sl.Classifier(net, size=16)
    with torch.enable_grad():
        f = net.bn2(net.conv2(net.relu1(net.bn1(net.conv1(x))))).detach().requires_grad_()
        score = net.head(torch.relu(f).mean((2, 3)))[:, 3].sum()
        (g,) = torch.autograd.grad(score, f)
    for method, wanted in (
        ("hires-cam", (g * f).sum(1)),
        ("grad-cam", (g.mean((2, 3), keepdim=True) * f).sum(1)),
    ):
        out = sl.explain(clf, x, method=method, target=sl.Category(3), layer="relu2@input")
        assert torch.allclose(out.maps, wanted.detach(), atol=1e-6)
        assert out.layers == ("relu2@input",)


def test_input_with_a_reading_and_beside_the_output():
    net, x = seeded(ConvNet), images()
    assert torch.equal(hires(net, x, 1, "relu2@input"), hires(net, x, 1, "relu2@input@nchw"))
    clf = sl.Classifier(net, size=16)
    both = sl.explain(clf, x, method="grad-cam", target=sl.Category(1), layer=["relu2@input", "relu2"])
    for name in ("relu2@input", "relu2"):
        alone = sl.explain(clf, x, method="grad-cam", target=sl.Category(1), layer=name)
        assert torch.allclose(both.parts[name].maps, alone.maps, atol=1e-6)
    # after the ReLU gradient and activation differ, but evidence is the same: g = 0 where f < 0
    assert torch.allclose(hires(net, x, 1, "relu2@input"), hires(net, x, 1, "relu2"), atol=1e-6)


def test_last_call_counts_where_a_module_runs_twice():
    net, x = seeded(Residual), images()
    with torch.enable_grad():
        stem = torch.relu(net.stem(x))
        f = (net.block(torch.relu(net.block(stem))) + stem).detach().requires_grad_()
        (g,) = torch.autograd.grad(net.head(torch.relu(f).mean((2, 3)))[:, 0].sum(), f)
    assert torch.allclose(hires(net, x, 0, "relu@input"), (g * f).sum(1).detach(), atol=1e-6)


def test_input_of_a_norm_is_not_folded_away():
    net, x = seeded(ConvNet), images()
    with torch.enable_grad():
        f = net.conv2(net.relu1(net.bn1(net.conv1(x)))).detach().requires_grad_()
        (g,) = torch.autograd.grad(net.head(torch.relu(net.bn2(f)).mean((2, 3)))[:, 2].sum(), f)
    wanted = (g * f).sum(1).detach()
    assert torch.allclose(hires(net, x, 2, "bn2@input"), wanted, atol=1e-6)
    assert torch.allclose(hires(net, x, 2, "conv2"), wanted, atol=1e-6)


def test_model_is_untouched_and_errors_name_the_layer():
    net, x = seeded(ConvNet), images()
    before = [len(m._forward_pre_hooks) for m in net.modules()]
    hires(net, x, 0, "relu2@input")
    assert [len(m._forward_pre_hooks) for m in net.modules()] == before
    with pytest.raises(LayerError, match=r"no layer 'rely2'.*relu2"):
        hires(net, x, 0, "rely2@input")
    with pytest.raises(LayerError, match="after @ comes input, nchw"):
        split_name("relu2@inputs")
    with pytest.raises(LayerError, match="after @ comes"):
        split_name("relu2@nchw@input")
    assert split_name("a.b@input@nhwc") == ("a.b@input", "nhwc")
    assert split_name("a.b@tokens") == ("a.b", "tokens")
    clf = sl.Classifier(net, size=16)
    with pytest.raises((LayerError, MethodError), match="relu2@input"):
        sl.explain(clf, x, method="ablation-cam", target=sl.Category(0), layer="relu2@input")

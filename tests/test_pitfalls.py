"""Defects of existing libraries that Sightline must not have; each test carries the number of its defect."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformer

import learned_weights
import sightline as sl
from nets import ConvNet, Residual, images, seeded
from sightline.errors import LayerError, SightlineError, TargetError

METHODS = [m.name for m in sl.methods()]
SETTINGS: dict[str, dict[str, Any]] = {
    "smooth-grad": {"samples": 2},
    "smooth-grad-cam++": {"samples": 2},
    "integrated-gradients": {"steps": 2},
    "rise": {"masks": 16, "cells": 4},
    "ss-cam": {"samples": 2},
    "is-cam": {"steps": 2},
    "opti-cam": {"iterations": 3},
    "extremal-perturbation": {"iterations": 3},
    "kernel-shap": {"segments": 6, "samples": 20},
    "lime": {"segments": 6, "samples": 20},
    **learned_weights.SETTINGS,
}


def settings(method: str) -> dict[str, Any]:
    return SETTINGS.get(method, {})


def everything(model: nn.Module) -> dict[str, Any]:
    """All of a model that a caller could find changed."""
    modules = dict(model.named_modules())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modules": {n: id(m) for n, m in modules.items()},
        "classes": {n: type(m) for n, m in modules.items()},
        "flags": {n: (m.training, getattr(m, "inplace", None)) for n, m in modules.items()},
        "hooks": {n: [list(getattr(m, h).items()) for h in hooks] for n, m in modules.items()},
        "ids": {n: id(p) for n, p in model.named_parameters()},
        "requires": {n: p.requires_grad for n, p in model.named_parameters()},
        "grads": {n: (id(p.grad), None if p.grad is None else p.grad.clone()) for n, p in model.named_parameters()},
        "values": {n: v.clone() for n, v in model.state_dict().items()},
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)


@contextmanager
def intact(model: nn.Module) -> Iterator[None]:
    before, grad_mode = everything(model), torch.is_grad_enabled()
    yield
    assert same(before, everything(model))
    assert torch.is_grad_enabled() == grad_mode


def in_use() -> nn.Module:
    """A model in the middle of training: half frozen, with gradients and hooks of its user."""
    net = seeded(ConvNet)
    net.train()
    net.bn1.eval()
    net.conv1.requires_grad_(False)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    net.relu1.register_forward_hook(lambda m, a, out: None)
    net.conv2.register_full_backward_hook(lambda m, i, o: None)
    return net


@dataclass(frozen=True)
class Raising(sl.Category):
    """A target whose score fails at its n-th call."""

    fails_at: int = 1

    def resolve(self, outputs: Tensor, head: Any, truth: Tensor | None = None) -> "Raising":
        return Raising(0, fails_at=self.fails_at)

    @classmethod
    def scores(cls, targets: Sequence[Any], outputs: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == targets[0].fails_at:
            raise ZeroDivisionError("raised on purpose")
        return super().scores(targets, outputs)


calls: list[int] = []


def test_d01_counts_of_targets() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(3)
    one = sl.explain(classifier, x, target=sl.Category(2))
    for i in range(3):
        assert torch.allclose(
            one.maps[i], sl.explain(classifier, x[i : i + 1], target=sl.Category(2)).maps[0], atol=1e-7
        )
    with pytest.raises(TargetError, match="2 targets do not fit 3 images"):
        sl.explain(classifier, x, target=[sl.Category(0), sl.Category(1)])
    several = sl.explain(classifier, x, target=sl.each([0, 1]))
    assert several.image.tolist() == [0, 0, 1, 1, 2, 2]
    assert [t.category for t in several.targets] == [0, 1, 0, 1, 0, 1]  # type: ignore[attr-defined]


def test_d02_a_target_out_of_range_reaches_the_caller() -> None:
    for net, options, target in [
        (seeded(ConvNet), {}, sl.Category(999)),
        (seeded(ConvNet), {"decision": "multilabel"}, sl.Attribute(5)),
        (seeded(ConvNet), {}, sl.Category(-1)),
    ]:
        classifier, after = sl.Classifier(net, **options), []  # type: ignore[arg-type]
        with pytest.raises(SightlineError, match=r"out of range.* 5 outputs"):
            after.append(sl.explain(classifier, images(), target=target))
        assert not after


@pytest.mark.parametrize("method", METHODS)
def test_d03_the_model_is_intact(method: str) -> None:
    net = in_use()
    with intact(net):
        out = sl.explain(sl.Classifier(net), images(), method=method, target=sl.each([0, 3]), **settings(method))
    assert len(out) == 4


def test_d04_forty_attributes_in_both_directions_from_one_forward() -> None:
    forwards = []

    class Counted(ConvNet):
        def forward(self, x: Tensor) -> Tensor:
            forwards.append(len(x))
            return super().forward(x)

    classifier, x = sl.Classifier(seeded(Counted, 40), decision="multilabel"), images(2)
    questions = [sl.Attribute(i, s) for i in range(40) for s in (1, -1)]
    sl.explain(classifier, x, target=questions[0])  # surveys the layers and folds, once a classifier
    forwards.clear()
    out = sl.explain(classifier, x, target=sl.each(questions))
    assert forwards == [2]
    assert len(out) == 160
    for row in (0, 1, 79, 80, 159):
        single = sl.explain(classifier, x[out.image[row]][None], target=questions[row % 80])
        assert torch.allclose(out.maps[row], single.maps[0], atol=1e-7)
        assert torch.allclose(out.score[row], single.score[0], atol=1e-5)


def test_d05_a_single_logit_explains_the_side_it_chose() -> None:
    for shift, sign in ((-100.0, -1), (100.0, 1)):
        net = seeded(ConvNet, 1)
        with torch.no_grad():
            net.head.bias += shift
        classifier, x = sl.Classifier(net), images()
        out = sl.explain(classifier, x)
        assert [t.sign for t in out.targets] == [sign, sign]  # type: ignore[attr-defined]
        assert bool((out.score > 0).all())
        assert bool((out.probability > 0.5).all())
        assert torch.equal(out.maps, sl.explain(classifier, x, target=sl.Attribute(0, sign)).maps)  # type: ignore[arg-type]
        assert torch.equal(out.maps, -sl.explain(classifier, x, target=sl.Attribute(0, -sign)).maps)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_d07_an_exception_inside_leaves_nothing_behind(method: str, fails_at: int) -> None:
    net, x = in_use(), images()
    classifier = sl.Classifier(net)
    wanted = sl.explain(classifier, x, method=method, target=0, **settings(method))
    calls.clear()
    with intact(net):
        try:
            sl.explain(
                classifier, x, method=method, target=sl.each([Raising(fails_at=fails_at)] * 3), **settings(method)
            )
        except (ZeroDivisionError, SightlineError):
            pass
        else:
            assert len(calls) < fails_at
        again = sl.explain(classifier, x, method=method, target=0, **settings(method))
    assert torch.equal(again.maps, wanted.maps)


def test_d08_in_place_modules_that_run_twice_keep_their_flags() -> None:
    for make in (ConvNet, Residual):
        net = seeded(make)
        with intact(net):
            out = sl.explain(sl.Classifier(net), images(), method="guided-backprop")
        assert not out.empty.any()
        assert next(m.inplace for m in net.modules() if isinstance(m, nn.ReLU))


def test_d09_half_precision_and_foreign_modes() -> None:
    net, x = seeded(ConvNet), images(4, 32)
    wanted = sl.explain(sl.Classifier(net), x, target=1).maps
    top = float(wanted.abs().max())
    classifier = sl.Classifier(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(sl.explain(classifier, x, target=1).maps, wanted, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(sl.explain(classifier, x, target=1).maps, wanted, atol=1e-6)
    with torch.inference_mode():
        assert torch.allclose(sl.explain(sl.Classifier(net), x.clone(), target=1).maps, wanted, atol=1e-6)
    for precision in (sl.Classifier(net, precision="bfloat16"), sl.Classifier(seeded(ConvNet).bfloat16())):
        for method in METHODS:
            out = sl.explain(precision, x, method=method, target=1, **settings(method))
            assert out.maps.dtype == torch.float32
        assert torch.allclose(sl.explain(precision, x, target=1).maps, wanted, atol=0.1 * top)


def test_d09_bfloat16_keeps_the_order_on_a_trained_network() -> None:
    from scipy.stats import spearmanr

    from sightline.data import faces

    x = faces.sample(8, seed=3).pixels
    full, half = (sl.load("faces:balanced", precision=p) for p in ("float32", "bfloat16"))
    target = [sl.Attribute("Smiling", 1)]
    a, b = (sl.explain(c, x, target=target).maps.flatten(1) for c in (full, half))
    ranks = [spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)]
    assert min(ranks) > 0.99


class ChannelsFirst(nn.Module):
    """A network that permutes what a channels-last norm gives, so that a layer with the plain reading exists."""

    def __init__(self, swin: nn.Module) -> None:
        super().__init__()
        self.swin, self.first = swin, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.swin.norm(self.swin.features(x)).permute(0, 3, 1, 2))
        return self.swin.head(x.mean((2, 3)))


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_d10_channels_last_equals_channels_first(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    swin = SwinTransformer([4, 4], 24, [1, 1, 1], [1, 2, 4], [4, 4], num_classes=5).eval()
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    last = sl.explain(sl.Classifier(swin, size=size), x, layer="norm", target=2)
    first = sl.explain(sl.Classifier(ChannelsFirst(swin), size=size), x, layer="first", target=2)
    assert last.maps.shape[1:] == (size[0] // 16, size[1] // 16)
    assert torch.allclose(last.maps, first.maps, atol=1e-7)
    assert torch.allclose(sl.explain(sl.Classifier(swin, size=size), x, target=2).maps, last.maps, atol=1e-7)


def transformers_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(image_size=48, patch_size=16, num_labels=4, **tiny))


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(48, 16, 2, 2, 32, 32, num_classes=4)


def timm_vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=48, embed_dim=32, depth=2, num_heads=2, num_classes=4, reg_tokens=3)


VITS = {
    torchvision_vit: ("encoder.layers.encoder_layer_1", "encoder.layers.encoder_layer_1.ln_1"),
    timm_vit: ("blocks.1", "blocks.1.norm1"),
    transformers_vit: ("vit.layers.1", "vit.layers.1.layernorm_before"),
}


@pytest.mark.parametrize("make", VITS, ids=lambda make: make.__name__)
def test_d10_the_last_block_of_a_transformer_is_refused_with_the_layer_to_take(make: Any) -> None:
    torch.manual_seed(0)
    net, x = make().eval(), images(2, 48)
    classifier = sl.Classifier(net, size=48)
    last, good = VITS[make]
    with pytest.raises(LayerError, match=f"take '{good}' instead"):
        sl.explain(classifier, x, layer=last)
    with torch.no_grad():
        for weight in net.parameters():  # heads that start at zero give no gradient
            if not weight.any():
                nn.init.normal_(weight, std=0.1)
    out = sl.explain(classifier, x)
    assert out.layers == (good,)
    assert out.maps.shape == (2, 3, 3)
    assert bool(out.maps.abs().amax((1, 2)).gt(0).all())
    assert torch.equal(sl.explain(classifier, x, layer=good).maps, out.maps)


def test_d10_two_readings_are_an_error_that_names_both() -> None:
    class Turn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(1, 3)

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.turn, self.head = nn.Conv2d(3, 8, 3, 2, 1), Turn(), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.turn(self.conv(x))).mean((1, 2)))

    torch.manual_seed(0)
    classifier, x = sl.Classifier(Turned()), images(2, 16)
    with pytest.raises(LayerError, match=r"8 channels of 8x8 \(nchw\) or 8 channels of 8x8 \(nhwc\).*turn@nchw"):
        sl.explain(classifier, x, layer="turn")
    last, first = (sl.explain(classifier, x, layer=f"turn@{k}").maps for k in ("nhwc", "nchw"))
    assert last.shape == first.shape == (2, 8, 8)
    assert not torch.allclose(last, first)


def test_d12_a_category_of_a_single_logit_says_what_to_use() -> None:
    with pytest.raises(TargetError, match=r"one output: use Attribute\(0, sign=\+1\)"):
        sl.explain(sl.Classifier(seeded(ConvNet, 1)), images(), target=sl.Category(1))


def test_d18_eight_threads_give_the_maps_of_one() -> None:
    classifier = sl.Classifier(seeded(ConvNet, 6))
    batches = [images(2, 16, seed=s) for s in range(4)]
    explainers = {m: sl.explainer(m, classifier, **settings(m)) for m in METHODS}
    work = [(m, b) for m in METHODS for b in range(4)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wanted = {(m, b): explainers[m](batches[b], sl.each([0, 1 + b])).maps for m, b in work}
        wrong: list[Any] = []

        def run(worker: int) -> None:
            for step in range(2 * len(work)):
                m, b = work[(7 * worker + step * (2 * worker + 1)) % len(work)]
                try:
                    if not torch.equal(explainers[m](batches[b], sl.each([0, 1 + b])).maps, wanted[m, b]):
                        wrong.append((m, b))
                except Exception as reason:  # noqa: BLE001 - a thread's exception would be lost
                    wrong.append((m, b, reason))

        pool = [threading.Thread(target=run, args=(w,)) for w in range(8)]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    finally:
        torch.set_num_threads(threads)
    assert not wrong

"""Learned attention: maps against slow references, the laws of maps, which channel answers which target."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer

import reference_learned as slow
import sightline as sl
from learned_weights import LEARNED, SETTINGS, drawn, helper
from nets import ConvNet, images, seeded
from sightline.errors import LayerError, MethodError, ModelError, TargetError
from sightline.explainers.learned import attention_for, channel_of, default_layers, warm_start
from sightline.explainers.learned._features import tapped
from test_pitfalls import timm_vit, torchvision_vit, transformers_vit

LAYERS = {"l-cam-fm": ("relu2",), "l-cam-img": ("relu2",), "learned-constant": (), "p-tame": ("relu1", "relu2")}
BOTH = ("relu1", "relu2")


def network(outputs: int = 5, **options: Any) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs), mean=[0.4], std=[0.3], size=16, **options)


def activations(classifier: sl.Classifier, layers: tuple[str, ...], x: torch.Tensor) -> list[Any]:
    """What the layers give, by hooks of our own on the user's model, in float64."""
    seen: dict[str, torch.Tensor] = {}
    net = classifier.source.double()
    handles = [
        net.get_submodule(n).register_forward_hook(lambda m, a, out, n=n: seen.__setitem__(n, out.detach().clone()))
        for n in layers
    ]
    with torch.no_grad():
        net((x.double() - 0.4) / 0.3)
    for handle in handles:
        handle.remove()
    net.float()
    return [seen[n].numpy() for n in layers]


@pytest.mark.parametrize("method", ["l-cam-fm", "l-cam-img"])
def test_l_cam_equals_its_formula(method: str) -> None:
    classifier, x = network(), images(3)
    learned = drawn(method, classifier, layers=("relu2",))
    out = sl.explain(classifier, x, method=method, target=sl.each([4, 1]), weights=learned)
    (A,) = activations(classifier, ("relu2",), x)
    W, b = (
        v.detach().double().numpy() for v in (learned.attention.last.weight[:, :, 0, 0], learned.attention.last.bias)
    )
    assert out.maps.shape == (6, 8, 8)
    for row, (image, category) in enumerate(zip(out.image.tolist(), [4, 1] * 3, strict=True)):
        assert np.abs(out.maps[row].numpy() - slow.l_cam(W, b, A[image])[category]).max() < 1e-5


@pytest.mark.parametrize(
    "variant",
    [{}, {"skip": False}, {"skip": False, "norm": False}, {"activation": "sigmoid"}, {"side": 5, "fusion_bias": False}],
    ids=str,
)
@pytest.mark.parametrize("method", ["tame", "t-tame"])
def test_tame_equals_its_formula(method: str, variant: dict[str, Any]) -> None:
    classifier, x = network(), images(2)
    learned = drawn(method, classifier, layers=BOTH, **variant)
    features = activations(classifier, BOTH, x)
    wanted = [slow.tame(learned.attention, [A[i] for A in features], variant.get("side", 56)) for i in range(2)]
    side = min(16, variant.get("side", 56))
    out = sl.explain(classifier, x, method=method, target=sl.each([0, 3]), weights=learned)
    assert out.maps.shape == (4, side, side)
    assert out.layers == BOTH
    every = learned.attention([torch.from_numpy(A).float() for A in features])
    for i in range(2):
        assert np.abs(every[i].detach().numpy() - wanted[i]).max() < 1e-4
        for k, category in enumerate((0, 3)):
            assert np.abs(out.maps[2 * i + k].numpy() - wanted[i][category]).max() < 1e-4


def test_p_tame_reads_the_auxiliary_network_and_explains_a_black_box() -> None:
    classifier, other, x = network(), helper(), images(2)
    learned = drawn("p-tame", classifier, layers=BOTH, auxiliary=other)
    assert learned.attention.last.bias is None
    out = sl.explain(classifier, x, method="p-tame", target=2, weights=learned, auxiliary=other)
    _, features = tapped(other, x, BOTH)
    for i in range(2):
        A = [f[i].double().numpy() for f in features]
        assert np.abs(out.maps[i].numpy() - slow.tame(learned.attention, A, 56)[2]).max() < 1e-4
    box = sl.BlackBox(lambda pixels: classifier(pixels), size=16)
    again = sl.explain(box, x, method="p-tame", target=2, weights=learned, auxiliary=other)
    assert torch.equal(again.maps, out.maps)
    assert out.layers == again.layers == BOTH
    with pytest.raises(MethodError, match=r"auxiliary=, a sl\.Classifier"):
        sl.explainer("p-tame", box, weights=learned)


def test_a_constant_is_the_same_for_every_image() -> None:
    classifier, x = network(), images(3)
    learned = drawn("learned-constant", classifier, size=(4, 6))
    out = sl.explain(classifier, x, method="learned-constant", target=sl.each([1, 0]), weights=learned)
    assert torch.equal(out.maps, learned.attention.c.detach()[[1, 0]].repeat(3, 1, 1))  # type: ignore[index]
    assert out.layers == ()


@pytest.mark.parametrize("make", [torchvision_vit, timm_vit, transformers_vit], ids=lambda make: make.__name__)
def test_tokens_are_read_without_the_class_token(make: Any) -> None:
    torch.manual_seed(0)
    net, x = make().eval(), images(2, 48)
    with torch.no_grad():
        for weight in net.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.1)
    classifier = sl.Classifier(net, size=48)
    layers = default_layers("t-tame", classifier)
    assert len(layers) == 2
    learned = drawn("t-tame", classifier, layers=layers)
    seen: dict[str, torch.Tensor] = {}
    handles = [
        net.get_submodule(n).register_forward_hook(lambda m, a, out, n=n: seen.__setitem__(n, out.detach()))
        for n in layers
    ]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    grids = [seen[n][:, -9:].reshape(2, 3, 3, 32).permute(0, 3, 1, 2).double().numpy() for n in layers]
    out = sl.explain(classifier, x, method="t-tame", target=1, weights=learned)
    for i in range(2):
        assert np.abs(out.maps[i].numpy() - slow.tame(learned.attention, [g[i] for g in grids], 56)[1]).max() < 1e-4


def test_channels_last_stages_of_a_swin() -> None:
    torch.manual_seed(0)
    net = SwinTransformer([4, 4], 24, [1, 1, 1], [1, 2, 4], [4, 4], num_classes=5).eval()
    classifier, x = sl.Classifier(net, size=64), images(2, 64)
    layers = default_layers("t-tame", classifier)
    assert [f.shape[1:] for f in tapped(classifier, x, layers)[1]] == [(24, 16, 16), (48, 8, 8), (96, 4, 4)]
    learned = drawn("t-tame", classifier, layers=("features.3", "norm@nhwc"))
    with torch.no_grad():
        A = [net.features[:4](x), net.norm(net.features(x))]
    out = sl.explain(classifier, x, method="t-tame", target=1, weights=learned)
    assert out.layers == ("features.3", "norm")
    for i in range(2):
        grids = [a[i].permute(2, 0, 1).double().numpy() for a in A]
        assert np.abs(out.maps[i].numpy() - slow.tame(learned.attention, grids, 56)[1]).max() < 1e-4


@pytest.mark.parametrize("method", LEARNED)
def test_a_batch_equals_a_loop_and_uneven_rows_even_ones(method: str) -> None:
    classifier, x, settings = network(), images(3), SETTINGS[method]
    explainer = sl.explainer(method, classifier, **settings)
    both = explainer(x, sl.each([sl.Category(1), sl.Contrast(0, 3)]))
    for i in range(3):
        alone = explainer(x[i : i + 1], sl.each([sl.Category(1), sl.Contrast(0, 3)]))
        assert torch.allclose(both.maps[2 * i : 2 * i + 2], alone.maps, atol=1e-6)
    uneven = explainer(x, [sl.each([1, 2]), sl.Category(1), sl.Contrast(0, 3)])
    wanted = torch.stack([both.maps[0], explainer(x[:1], 2).maps[0], both.maps[2], both.maps[5]])
    assert torch.allclose(uneven.maps, wanted, atol=1e-6)


@pytest.mark.parametrize("method", LEARNED)
def test_targets_have_their_channels(method: str) -> None:
    classifier, x, settings = network(), images(2), SETTINGS[method]
    explainer = sl.explainer(method, classifier, **settings)
    every = explainer(x, sl.each(range(5))).maps.unflatten(0, (2, 5))
    chosen = classifier(x).argmax(1).tolist()
    assert torch.allclose(explainer(x).maps, torch.stack([every[i, c] for i, c in enumerate(chosen)]), atol=1e-6)
    contrast = explainer(x, sl.Contrast(3, 1)).maps
    assert torch.allclose(contrast, every[:, 3] - every[:, 1], atol=1e-6)
    with pytest.raises(TargetError, match="does not fit a categorical"):
        explainer(x, sl.Attribute(0))
    with pytest.raises(MethodError, match="none for Similarity"):
        explainer(x, sl.Similarity(classifier(x)[0]))


@pytest.mark.parametrize("method", LEARNED)
@pytest.mark.parametrize(("outputs", "decision"), [(1, None), (3, "multilabel")])
def test_both_directions_of_yes_or_no(method: str, outputs: int, decision: Any) -> None:
    classifier, x = network(outputs, decision=decision), images(2)
    other = helper() if method == "p-tame" else None
    extra = {} if other is None else {"auxiliary": other}
    questions = [sl.Attribute(i, s) for i in range(outputs) for s in (1, -1)]
    layers = LAYERS.get(method, BOTH)
    for directions in ("two", "signed"):
        learned = drawn(method, classifier, layers=layers, directions=directions, auxiliary=other)
        assert learned.attention.maps == outputs * (2 if directions == "two" else 1)
        explainer = sl.explainer(method, classifier, weights=learned, **extra)
        out = explainer(x, sl.each(questions))
        yes, no = out.maps[::2], out.maps[1::2]
        assert torch.equal(no, -yes) == (directions == "signed")
        features = tapped(other or classifier, x, layers)[1]
        c = learned.attention(features).detach().expand(2, -1, -1, -1)
        for row, (i, target) in enumerate(zip(out.image.tolist(), out.targets, strict=True)):
            channel, sign = channel_of(target, outputs, directions)  # type: ignore[arg-type]
            assert torch.allclose(out.maps[row], sign * c[i, channel], atol=1e-5)
        sides = [sl.Attribute(0, 1 if float(y) >= 0 else -1) for y in classifier(x)[:, 0]]  # type: ignore[arg-type]
        assert torch.allclose(explainer(x, sl.Attribute(0)).maps, explainer(x, sides).maps, atol=1e-6)
        if outputs > 1:
            assert torch.allclose(explainer(x, sl.Contrast(2, 0)).maps, c[:, 2] - c[:, 0], atol=1e-5)


def test_channels_of_targets() -> None:
    assert channel_of(sl.Category(3), 5, "category") == (3, 1)
    assert channel_of(sl.Attribute(2, 1), 5, "two") == (2, 1)
    assert channel_of(sl.Attribute(2, -1), 5, "two") == (7, 1)
    assert channel_of(sl.Attribute(2, -1), 5, "signed") == (2, -1)
    refused = [
        (sl.Attribute(0, 1), "category"), (sl.Category(0), "two"), (sl.Contrast(0, 1), "category"),
        (sl.Region(0, torch.ones(2, 2) > 0), "category"), (sl.Similarity(torch.ones(3)), "signed"),
        (sl.Attribute(0), "two"),
    ]  # fmt: skip
    for target, directions in refused:
        with pytest.raises(MethodError, match="learned attention"):
            channel_of(target, 5, directions)  # type: ignore[arg-type]


def test_heat_maps_are_min_max_scaled_so_that_the_bias_cancels() -> None:
    classifier, x = network(), images(2)
    learned = drawn("l-cam-fm", classifier, layers=("relu2",))
    out = sl.explain(classifier, x, method="l-cam-fm", target=1, weights=learned)
    with torch.no_grad():
        learned.attention.last.bias -= 50  # every value of the map is now far below zero
    low = sl.explain(classifier, x, method="l-cam-fm", target=1, weights=learned)
    assert float(low.maps.max()) < 0
    assert not low.empty.any()
    assert torch.allclose(out.heatmaps(), low.heatmaps(), atol=1e-4)
    c = out.maps[0]
    assert torch.allclose(out.heatmaps((8, 8))[0], (c - c.min()) / (c.max() - c.min()), atol=1e-6)


@pytest.mark.parametrize("directions", ["category", "two", "signed"])
@pytest.mark.parametrize("method", ["l-cam-fm", "l-cam-img"])
def test_a_warm_start_is_cam(method: Any, directions: Any) -> None:
    classifier, x = network(4, decision=None if directions == "category" else "multilabel"), images(3)
    learned = drawn(method, classifier, layers=("relu2",), directions=directions)
    assert warm_start(learned.attention, classifier) is learned.attention
    questions: list[Any] = [0, 3] if directions == "category" else [sl.Attribute(1, 1), sl.Attribute(2, -1)]
    wanted = sl.explain(classifier, x, method="cam", target=sl.each(questions), layer="relu2").maps
    found = sl.explain(classifier, x, method=method, target=sl.each(questions), weights=learned).maps
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_warm_start_needs_an_affine_head() -> None:
    class Squared(ConvNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) ** 2

    class Weighed(ConvNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
            return self.head((x * torch.linspace(0, 1, 8)).mean((2, 3)))

    for make, text in ((Squared, "no affine function"), (Weighed, "positions differently")):
        classifier = sl.Classifier(seeded(make), size=16)
        with pytest.raises(MethodError, match=text):
            warm_start(attention_for("l-cam-fm", classifier, ["relu2"]), classifier)
    classifier = network()
    with pytest.raises(MethodError, match="only an L-CAM"):
        warm_start(attention_for("tame", classifier, BOTH), classifier)
    with pytest.raises(MethodError, match="5 maps, the classifier 3 outputs"):
        warm_start(attention_for("l-cam-fm", classifier, ["relu2"]), network(3))


def test_eight_threads_share_an_explainer() -> None:
    classifier, batches = network(), [images(2, seed=s) for s in range(4)]
    explainer = sl.explainer("tame", classifier, weights=drawn("tame", classifier, layers=BOTH))
    wanted = [explainer(x, sl.each([0, 2])).maps for x in batches]
    wrong: list[Any] = []

    def run(worker: int) -> None:
        for step in range(24):
            b = (worker + step) % 4
            if not torch.equal(explainer(batches[b], sl.each([0, 2])).maps, wanted[b]):
                wrong.append(b)

    pool = [threading.Thread(target=run, args=(w,)) for w in range(8)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert not wrong


def test_the_attention_itself_is_not_touched() -> None:
    classifier, x = network(), images(2)
    learned = drawn("tame", classifier, layers=BOTH)
    module = learned.attention.train()
    before = {n: v.clone() for n, v in module.state_dict().items()}
    sl.explain(classifier, x, method="tame", weights=learned)
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())
    assert module.variant["skip"]


def test_attention_that_cannot_be_built() -> None:
    classifier = network()
    for kind, layers, options, text in [
        ("l-cam", ["relu2"], {}, "no attention of the kind 'l-cam'"),
        ("l-cam-fm", BOTH, {}, "l-cam-fm reads one layer, not 2"),
        ("tame", [], {}, "at least one"),
        ("constant", ["relu2"], {}, "no layer, not 1"),
        ("tame", BOTH, {"depth": 2}, "cannot be built with"),
        ("tame", BOTH, {"activation": "gelu"}, "'relu' or 'sigmoid'"),
        ("tame", BOTH, {"auxiliary": helper()}, "auxiliary= is for p-tame"),
        ("p-tame", BOTH, {}, "give auxiliary="),
        ("tame", BOTH, {"directions": "two"}, "does not fit a categorical classifier; use 'category'"),
    ]:
        with pytest.raises(MethodError, match=text):
            attention_for(kind, classifier, layers, **options)  # type: ignore[arg-type]
    with pytest.raises(LayerError, match="there is no layer 'relu3'; did you mean"):
        attention_for("l-cam-fm", classifier, ["relu3"])
    with pytest.raises(LayerError, match="no spatial map"):
        attention_for("l-cam-fm", classifier, ["head"])
    sure = sl.Classifier(nn.Sequential(seeded(ConvNet), nn.Softmax(1)), size=16)
    with pytest.raises(ModelError, match="ends in a softmax"):
        attention_for("l-cam-fm", sure, ["0.relu2"])
    pixels = sl.Classifier(nn.Conv2d(3, 4, 3), size=16)
    with pytest.raises(MethodError, match="not segmentation"):
        attention_for("l-cam-fm", pixels, ["0"])

"""Only the tail runs: it equals the whole model, for any architecture, and so do the methods made of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import reference
import reference_masking_tail as twin
import sightline as sl
from nets import ConvNet, Residual, Segmenter, images, seeded
from sightline.errors import LayerError, MethodError
from sightline.explainers.masking._affine import is_affine
from sightline.explainers.masking._tail import Tail
from sightline.explainers.question import Question
from sightline.layout import first_tensor, replace_first

KINDS = ("category", "+1", "-1")
INDEX = 2
V = torchvision.models


class Gated(nn.Module):
    """Affine calls only, but a comparison steers them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).mean((2, 3))
        return self.head(x * (x.detach() > x.detach().mean()).float())


def vit() -> nn.Module:
    net = V.VisionTransformer(32, 8, 3, 2, 24, 48, num_classes=7)
    nn.init.normal_(net.heads[0].weight)
    return net


def inception() -> nn.Module:
    return V.GoogLeNet(num_classes=7, aux_logits=False, init_weights=False)


# network, layer, side, whether the tail is affine
CASES = [
    (ConvNet, "relu2", 16, True),
    (ConvNet, "bn2@nchw", 16, False),
    (ConvNet, "conv1", 16, False),
    (Residual, "stem", 16, False),
    (Residual, "block", 16, False),  # runs twice: its last output counts; the model writes into it
    (Residual, "relu", 16, True),
    (Segmenter, "body", 16, True),
    (Gated, "body", 16, False),
    (lambda: V.resnet18(num_classes=7), "layer3", 64, False),
    (lambda: V.resnet18(num_classes=7), "layer4.1.conv1", 64, False),  # inside a residual block
    (lambda: V.resnet18(num_classes=7), "layer4", 64, True),
    (lambda: V.DenseNet(8, (2, 2, 2, 2), 16, num_classes=7), "features.denseblock4.denselayer2.conv2", 64, False),
    (lambda: V.squeezenet1_1(num_classes=7), "features", 64, False),
    (inception, "inception5b", 64, True),
    (lambda: V.SwinTransformer([4, 4], 24, [1, 1, 1], [1, 2, 4], [4, 4], num_classes=7), "norm", 64, True),
    (vit, "encoder.layers.encoder_layer_1.ln_1", 32, False),
]


def made(make: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make().eval()  # type: ignore[operator]
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return net


def plain(net: nn.Module, x: Tensor) -> Tensor:
    return first_tensor(net(x))  # type: ignore[return-value]


def near(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


@pytest.mark.parametrize(("make", "layer", "side", "affine"), CASES)
def test_the_tail_equals_the_whole_model(make: object, layer: str, side: int, affine: bool) -> None:
    net, x, name = made(make), images(3, side), layer.split("@")[0]
    tail = Tail(Question(sl.Classifier(net, size=side), x, named=(layer,)), name)
    image = torch.tensor([2, 0, 0, 1])
    noise = torch.rand(4, 1, *tail.A.shape[2:], generator=torch.Generator().manual_seed(4))
    B = tail.A[image] * noise
    runs: list[int] = []

    def replaced(module: nn.Module, args: object, output: object) -> object:
        runs.append(1)
        value = first_tensor(output)
        if len(runs) < last:
            return None
        return replace_first(output, value, tail.layout.from_maps(B, value).clone())  # type: ignore[arg-type]

    with torch.no_grad():
        last, hook = 10**6, net.get_submodule(name).register_forward_hook(replaced)
        whole = plain(net, x)
        last = len(runs)
        runs.clear()
        altered = plain(net, x[image])
        hook.remove()
        assert near(tail.outputs, whole)
        assert near(tail(tail.A[image], image), whole[image])
        found = tail(B, image)
        assert near(found, altered)
        assert near(tail(B[:1], image[:1]), altered[:1])  # one row
        assert near(tail(B[1:3], image[1:3]), altered[1:3])  # rows of one image share what came before
        assert near(tail(B, image), found)  # nothing was written into what is kept
    assert not near(whole[image], altered)
    assert is_affine(tail) == affine


def test_what_comes_before_the_layer_does_not_run() -> None:
    calls: list[str] = []
    real = F.conv2d

    def counted(x: Tensor, *args: object, **kwargs: object) -> Tensor:
        calls.append("conv")
        return real(x, *args, **kwargs)

    net = made(lambda: V.resnet18(num_classes=7))
    tail = Tail(Question(sl.Classifier(net, size=64), images(1, 64), named=("layer3",)), "layer3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "conv2d", counted)
        with torch.no_grad():
            tail(tail.A.repeat(3, 1, 1, 1), torch.zeros(3, dtype=torch.long))
    assert len(calls) == 5  # layer4 alone: two blocks of two, and the shortcut


def test_a_layer_that_cannot_be_run_from_is_an_error() -> None:
    classifier, x = sl.Classifier(made(vit), size=32), images(1, 32)
    for method in ("ablation-cam", "recipro-cam"):
        with pytest.raises(LayerError, match="only the class token"):
            sl.explain(classifier, x, method=method, layer="encoder.layers.encoder_layer_2")
        with pytest.raises(LayerError, match="there is no layer 'nowhere'"):
            sl.explain(classifier, x, method=method, layer="nowhere")


def ask(net: nn.Module, kind: str, method: str, pixels: Tensor, **settings: object) -> np.ndarray:
    decision = "categorical" if kind == "category" else "multilabel"
    target = sl.Category(INDEX) if kind == "category" else sl.Attribute(INDEX, int(kind))  # type: ignore[arg-type]
    classifier = sl.Classifier(net, decision=decision, size=12)  # type: ignore[arg-type]
    return sl.explain(classifier, pixels, method=method, target=target, layer="features", **settings).maps.numpy()


def close(found: np.ndarray, wanted: list[np.ndarray]) -> None:
    stack = np.stack(wanted)
    assert found.shape == stack.shape
    assert np.abs(stack).max() > 0
    assert np.abs(found - stack).max() <= 2e-5 * np.abs(stack).max()


def probability(kind: str) -> object:
    return {
        "category": lambda y: y.softmax(0)[INDEX],
        "+1": lambda y: y[INDEX].sigmoid(),
        "-1": lambda y: (-y[INDEX]).sigmoid(),
    }[kind]


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", ["gap", "mlp", "conv"])
def test_ablation_cam(tail: str, kind: str, pixels: Tensor) -> None:
    net, read = reference.Net(tail), reference.score_of(kind, INDEX)
    cut = [reference.activations(net, image) for image in pixels]
    close(ask(net, kind, "ablation-cam", pixels), [twin.ablation_cam(net, A, read) for A in cut])
    close(ask(net, kind, "ablation-cam", pixels, divide=True), [twin.ablation_cam(net, A, read, True) for A in cut])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", ["gap", "mlp", "conv"])
def test_recipro_cam(tail: str, kind: str, pixels: Tensor) -> None:
    net, p = reference.Net(tail), probability(kind)
    cut = [reference.activations(net, image) for image in pixels]
    close(ask(net, kind, "recipro-cam", pixels), [twin.recipro_cam(net, A, p) for A in cut])
    close(ask(net, kind, "recipro-cam", pixels, spread=False), [twin.recipro_cam(net, A, p, False) for A in cut])
    score = reference.score_of(kind, INDEX)
    close(ask(net, kind, "recipro-cam", pixels, reading="score"), [twin.recipro_cam(net, A, score) for A in cut])


class Pooled(nn.Module):
    """A net whose tail has a max pooling before a squashing, and negative activations at the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 7, 3, 2, 1)
        self.tail = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(63, 6), nn.Tanh(), nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.features(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", ["gap", "mlp", "conv", "pooled"])
def test_lift_cam(tail: str, kind: str, pixels: Tensor) -> None:
    net = made(Pooled).double() if tail == "pooled" else reference.Net(tail)
    sign = -1.0 if kind == "-1" else 1.0
    direction = torch.zeros(4, dtype=torch.float64)
    direction[INDEX] = sign
    cut = [reference.activations(net, image) for image in pixels]
    close(ask(net, kind, "lift-cam", pixels), [twin.lift_cam(list(net.tail), A, direction) for A in cut])
    for A in cut:  # the twin itself is complete
        change = net.tail(A[None]) - net.tail(torch.zeros_like(A)[None])
        total = twin.deep_lift(list(net.tail), A, direction).sum()
        assert total == pytest.approx(sign * float(change[0, INDEX].detach()))


class InPlace(nn.Module):
    """A tail whose activation writes into its input and returns nothing that is used."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.features, self.inner, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1), nn.Linear(6, 5)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.features(x))
        if self.inplace:
            F.relu_(x)
        else:
            x = F.relu(x)
        return self.head(x.mean((2, 3)))


def test_lift_cam_follows_what_is_written_in_place() -> None:
    a, b = (
        sl.explain(
            sl.Classifier(seeded(InPlace, inplace), size=16), images(), method="lift-cam", layer="features", target=1
        )
        for inplace in (True, False)
    )
    assert torch.allclose(a.maps, b.maps, atol=1e-7)
    assert float(b.maps.abs().max()) > 0


def test_lift_cam_names_the_operation_that_it_has_no_rule_for() -> None:
    with pytest.raises(MethodError, match=r"no DeepLIFT rule for '.*' in the tail; take a later layer"):
        sl.explain(sl.Classifier(made(vit), size=32), images(1, 32), method="lift-cam")
    with pytest.raises(MethodError, match="no DeepLIFT rule for"):
        sl.explain(sl.Classifier(seeded(Gated)), images(1), method="lift-cam", layer="body")


@pytest.mark.parametrize("method", ["ablation-cam", "recipro-cam", "lift-cam"])
@pytest.mark.parametrize("layer", ["relu2", "conv1"])
def test_a_batch_of_targets_gives_what_a_loop_gives(method: str, layer: str) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), decision="multilabel"), images(3)
    questions = [sl.Attribute(0, 1), sl.Attribute(0, -1), sl.Attribute(4, 1)]
    out = sl.explain(classifier, x, method=method, layer=layer, target=sl.each(questions))
    for row in range(9):
        one = sl.explain(classifier, x[row // 3][None], method=method, layer=layer, target=questions[row % 3])
        assert torch.allclose(out.maps[row], one.maps[0], rtol=1e-4, atol=1e-5 * float(out.maps.abs().max()))


@pytest.mark.parametrize("method", ["ablation-cam", "lift-cam"])
@pytest.mark.parametrize("layer", ["relu2", "conv1"])
def test_d06_the_direction_and_a_constant(method: str, layer: str) -> None:
    net, x = seeded(ConvNet, 1), images()
    yes, no = (
        sl.explain(sl.Classifier(net), x, method=method, layer=layer, target=sl.Attribute(0, s)).maps for s in (1, -1)
    )
    top = float(yes.abs().max())
    assert top > 0
    assert torch.allclose(yes, -no, atol=1e-6 * top)
    with torch.no_grad():
        net.head.bias += 5
    moved = sl.explain(sl.Classifier(net), x, method=method, layer=layer, target=sl.Attribute(0, 1)).maps
    assert torch.allclose(moved, yes, atol=3e-6)  # float32 keeps so much of a score near 5


def test_d06_the_papers_division_fails_both_as_documented() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet, 1)), images()
    a, b = (
        sl.explain(classifier, x, method="ablation-cam", target=sl.Attribute(0, s), divide=True).maps for s in (1, -1)
    )
    assert torch.allclose(a, b, rtol=1e-5)


def test_identities_of_a_linear_head(pixels: Tensor) -> None:
    net = reference.Net("gap")
    ablation, lift = (ask(net, "category", m, pixels) for m in ("ablation-cam", "lift-cam"))
    assert np.allclose(ablation, lift, rtol=1e-5, atol=1e-7)
    A = torch.stack([reference.activations(net, image) for image in pixels])
    w = net.tail[2].weight[INDEX].detach()
    wanted = torch.einsum("nk,nkhw->nhw", w * A.mean((2, 3)), A)
    assert np.allclose(ablation, wanted.numpy(), rtol=1e-4, atol=1e-6)
    cam = torch.einsum("k,nkhw->nhw", w, A) / 36 + net.tail[2].bias[INDEX].detach()
    recipro = ask(net, "category", "recipro-cam", pixels, spread=False, reading="score")
    assert np.allclose(recipro, cam.numpy(), rtol=1e-4, atol=1e-6)


def test_dead_channels_weigh_nothing() -> None:
    net = seeded(ConvNet)
    with torch.no_grad():
        net.bn2.weight[:] = 0
        net.bn2.bias[:] = -1
    for method in ("ablation-cam", "lift-cam", "recipro-cam"):
        maps = sl.explain(sl.Classifier(net), images(), method=method, layer="relu2", target=0).maps
        assert maps.isfinite().all()
        assert bool((maps == 0).all()) or method == "recipro-cam"


def test_a_similarity_takes_the_loop() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), decision="embedding"), images(2)
    target = sl.Similarity(images(1, seed=9)[0])
    out = sl.explain(classifier, x, method="ablation-cam", layer="relu2", target=target)
    assert not out.empty.all()
    with pytest.raises(MethodError, match="lift-cam explains sums of outputs"):
        sl.explain(classifier, x, method="lift-cam", layer="relu2", target=target)


def test_an_unknown_reading_is_an_error() -> None:
    with pytest.raises(MethodError, match="'score' or 'probability'"):
        sl.explain(sl.Classifier(seeded(ConvNet)), images(), method="recipro-cam", reading="logit")

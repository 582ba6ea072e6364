"""Methods that optimise a mask or fit a model of superpixels: each against its slow twin, and the laws they keep."""

import itertools
import signal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reference
import reference_masking_optimised as twin
import sightline as sl
from nets import ConvNet, images, seeded
from sightline.errors import MethodError, MissingExtraError

KINDS = ("category", "+1", "-1")
INDEX = 2
FILL = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(8))
OPTIMISED = {"opti-cam": {"iterations": 4}, "extremal-perturbation": {"iterations": 4}}
FEW = {"segments": 6, "samples": 40, "backend": "eager"}
SUPERPIXELS = {"lime": FEW, "kernel-shap": FEW}


def ask(net: nn.Module, kind: str, method: str, pixels: Tensor, **settings: object) -> np.ndarray:
    decision = "categorical" if kind == "category" else "multilabel"
    target = sl.Category(INDEX) if kind == "category" else sl.Attribute(INDEX, int(kind))  # type: ignore[arg-type]
    classifier = sl.Classifier(net, decision=decision, size=12)  # type: ignore[arg-type]
    return sl.explain(classifier, pixels, method=method, target=target, **settings).maps.numpy()


def close(found: np.ndarray, wanted: list[np.ndarray], tolerance: float) -> None:
    stack = np.stack(wanted)
    assert found.shape == stack.shape
    assert np.abs(stack).max() > 0
    assert np.abs(found - stack).max() <= tolerance * np.abs(stack).max()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", ["gap", "conv"])
def test_opti_cam(tail: str, kind: str, pixels: Tensor) -> None:
    net, read = reference.Net(tail), reference.score_of(kind, INDEX)
    for fill, given in ((torch.zeros(3, 12, 12), "black"), (FILL, FILL)):
        found = ask(net, kind, "opti-cam", pixels, layer="features", iterations=6, fill=given)
        cut = [reference.activations(net, image) for image in pixels]
        wanted = [twin.opti_cam(net, x.double(), A, read, fill.double(), 6) for x, A in zip(pixels, cut, strict=True)]
        close(found, wanted, 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_extremal_perturbation(kind: str, pixels: Tensor) -> None:
    net, read = reference.Net("conv"), reference.score_of(kind, INDEX)
    settings = {"iterations": 6, "areas": 0.3, "step": 38, "sigma": 38.0}  # a grid of 6 at 12 px, a cell wide
    found = ask(net, kind, "extremal-perturbation", pixels[:1], fill=FILL, **settings)
    close(found, [twin.extremal(net, pixels[0].double(), read, FILL.double(), 6, 1.0, 0.3, 6)], 1e-4)


class Corner(nn.Module):
    """Sees one corner only."""

    def __init__(self, rows: slice, columns: slice) -> None:
        super().__init__()
        self.part, self.body = (rows, columns), nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            self.body.weight.fill_(0.05)
            self.body.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)[:, :, *self.part].mean((2, 3))
        return 30 * torch.stack([x.sum(1), -x.sum(1)], 1)


@pytest.mark.parametrize("rows", [slice(0, 8), slice(8, 16)])
@pytest.mark.parametrize("columns", [slice(0, 8), slice(8, 16)])
def test_extremal_perturbation_finds_what_is_seen(rows: slice, columns: slice) -> None:
    x = 0.3 + 0.7 * images(1)
    out = sl.explain(
        sl.Classifier(Corner(rows, columns).eval(), size=16),
        x,
        method="extremal-perturbation",
        target=0,
        fill="black",
        areas=0.25,
        iterations=80,
        step=28,
        sigma=28.0,
    )
    heat = out.heatmaps(size=(16, 16))[0]
    assert float(heat[rows, columns].sum() / heat.sum()) > 0.6
    assert float(out.maps.mean()) == pytest.approx(0.25, abs=0.15)  # the area that was asked for


def test_opti_cam_raises_the_score_and_survives_constant_maps() -> None:
    net, x = seeded(ConvNet), images(2)
    classifier = sl.Classifier(net)

    def masked(S: Tensor) -> Tensor:
        return classifier(x * S[:, None])[:, 1]

    runs = [sl.explain(classifier, x, method="opti-cam", layer="relu2", target=1, iterations=i).maps for i in (1, 60)]
    assert bool((masked(runs[1]) > masked(runs[0])).all())
    with torch.no_grad():  # every channel is constant
        net.conv2.weight.zero_()
    flat = sl.explain(sl.Classifier(net), x, method="opti-cam", layer="relu2", target=1, iterations=3).maps
    assert bool((flat == 0).all())  # no mask is better than another


@pytest.mark.parametrize(("method", "settings"), [*OPTIMISED.items(), *SUPERPIXELS.items()])
def test_a_batch_gives_what_a_loop_gives_whatever_the_chunk(method: str, settings: dict) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), decision="multilabel"), images(2)
    questions = [sl.Attribute(0, 1), sl.Attribute(3, -1)]
    out = sl.explain(classifier, x, method=method, target=sl.each(questions), chunk=3, **settings)
    for row in range(4):
        one = sl.explain(classifier, x[row // 2][None], method=method, target=questions[row % 2], **settings)
        assert torch.allclose(out.maps[row], one.maps[0], rtol=1e-3, atol=1e-4 * float(out.maps.abs().max()))


@pytest.mark.parametrize(("method", "settings"), OPTIMISED.items())
def test_ctrl_c_keeps_the_map_so_far(method: str, settings: dict) -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, of: int) -> None:
        seen.append((done, of))
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        sl.explain(sl.Classifier(seeded(ConvNet)), images(1), method=method, target=0, iterations=30, progress=progress)
    assert seen == [(1, 30), (2, 30), (3, 30)]
    found = sl.partial(caught.value)
    assert found is not None
    whole = sl.explain(sl.Classifier(seeded(ConvNet)), images(1), method=method, target=0, iterations=3)
    assert torch.allclose(found.maps, whole.maps, atol=1e-6)


@pytest.mark.parametrize("method", ["opti-cam", "extremal-perturbation"])
def test_the_cost_is_told_before(method: str) -> None:
    estimate = sl.explainer(method, sl.Classifier(seeded(ConvNet)), iterations=50).estimate(images(2), target=0)
    assert estimate.passes == 100
    assert estimate.seconds > 0


def quarters(side: int = 16) -> Tensor:
    """An image of four colours, which superpixels follow."""
    x, half = torch.zeros(1, 3, side, side), side // 2
    colours = ((1.0, 0.1, 0.1), (0.1, 1.0, 0.1), (0.2, 0.2, 1.0), (0.9, 0.9, 0.2))
    for (i, j), colour in zip(itertools.product((0, 1), (0, 1)), colours, strict=True):
        x[0, :, i * half : (i + 1) * half, j * half : (j + 1) * half] = torch.tensor(colour)[:, None, None]
    return x


def players(maps: Tensor) -> list[Tensor]:
    """The superpixels, as the map shows them: pixels of one value."""
    return [maps == v for v in maps.unique()]


def test_kernel_shap_gives_shapley_values() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), quarters()
    S = sl.explain(
        classifier, x, method="kernel-shap", target=1, segments=4, samples=2000, fill="black", backend="eager"
    ).maps[0]
    parts = players(S)
    assert 3 <= len(parts) <= 8

    def value(shown: tuple[int, ...]) -> float:
        mask = sum((parts[i] for i in shown), torch.zeros(16, 16, dtype=torch.bool))
        return float(classifier(x * mask)[0, 1])

    found = np.array([float(S[part][0]) for part in parts])
    wanted = twin.shapley(value, len(parts))
    assert np.abs(found - wanted).max() <= 0.05 * np.abs(wanted).max()
    everything, nothing = value(tuple(range(len(parts)))), value(())
    assert found.sum() == pytest.approx(everything - nothing, rel=1e-2)


class Linear(nn.Module):
    """A score that adds up over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(2)))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize(("method", "tolerance"), [("kernel-shap", 1e-3), ("lime", 0.1)])
def test_of_a_sum_superpixels_get_their_parts(method: str, tolerance: float) -> None:
    net, x = Linear().eval(), quarters()
    for box in (sl.Classifier(net, size=16), sl.BlackBox(net, size=16)):
        maps = sl.explain(box, x, method=method, target=0, segments=4, samples=600, fill="black", backend="eager").maps[
            0
        ]
        terms = (x[0] * net.weight.detach()).sum(0)
        for part in players(maps):
            wanted = float(terms[part].sum())
            assert float(maps[part][0]) == pytest.approx(wanted, abs=tolerance * float(maps.abs().max()))


@pytest.mark.parametrize("method", SUPERPIXELS)
def test_superpixels_respect_the_direction_and_the_seed(method: str) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet, 1)), images()
    yes, no = (
        sl.explain(classifier, x, method=method, target=sl.Attribute(0, s), **SUPERPIXELS[method]).maps for s in (1, -1)
    )
    assert torch.allclose(yes, -no, atol=1e-4 * float(yes.abs().max()))
    state = torch.get_rng_state()
    other = sl.explain(classifier, x, method=method, target=sl.Attribute(0, 1), seed=1, **SUPERPIXELS[method]).maps
    assert not torch.equal(other, yes)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are his own


@pytest.mark.parametrize("method", SUPERPIXELS)
def test_without_captum_the_extra_is_named(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"sightline\[captum\]"):
        sl.explain(sl.Classifier(seeded(ConvNet)), images(1), method=method)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("opti-cam", {"iterations": 0}),
        ("opti-cam", {"rate": 0.0}),
        ("opti-cam", {"layer": ["relu1", "relu2"]}),
        ("extremal-perturbation", {"areas": 1.5}),
        ("extremal-perturbation", {"areas": []}),
        ("lime", {"segments": 1}),
        ("kernel-shap", {"samples": 1}),
    ],
)
def test_settings_out_of_range_are_errors(method: str, settings: dict) -> None:
    with pytest.raises(MethodError):
        sl.explain(sl.Classifier(seeded(ConvNet)), images(1), method=method, **settings)

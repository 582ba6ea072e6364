"""Methods that optimise a mask or fit a model of superpixels: each against its slow twin, and the laws they keep."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reference
import reference_masking_optimised as twin
import sightline as sl
from nets import ConvNet, images, seeded
from sightline.errors import MethodError, MissingExtraError, ModelError

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
    cut = [(x.double(), reference.activations(net, x)) for x in pixels]
    for fill, given, keep in ((torch.zeros(3, 12, 12), "black", "best"), (FILL, FILL, "last"), (FILL, FILL, "best")):
        found = ask(net, kind, "opti-cam", pixels, layer="features", iterations=6, fill=given, keep=keep)
        close(found, [twin.opti_cam(net, x, A, read, fill.double(), 6, keep) for x, A in cut], 1e-4)


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


def test_opti_cam_keeps_the_best_it_saw() -> None:
    """With steps that are too long the score goes up and down, and the last mask is not the best one."""
    classifier, x = sl.Classifier(seeded(ConvNet)), images(3)

    def score(iterations: int, keep: str) -> Tensor:
        settings = {"iterations": iterations, "rate": 5.0, "keep": keep, "layer": "relu2", "space": "pixels"}
        S = sl.explain(classifier, x, method="opti-cam", target=1, **settings).maps  # type: ignore[arg-type]
        return classifier(x * S[:, None])[:, 1]

    last, best = (torch.stack([score(i, keep) for i in range(1, 9)]) for keep in ("last", "best"))
    assert bool((best >= last.cummax(0).values - 1e-5).all())
    assert bool((best[1:] >= best[:-1] - 1e-5).all())  # more steps never make it worse
    assert bool((best > last + 1e-3).any())


class Cramped(nn.Module):
    """A network that says how many images come at once, to someone who may find them too many."""

    def __init__(self, meet: Callable[[int], None]) -> None:
        super().__init__()
        self.net, self.meet = seeded(ConvNet), meet

    def forward(self, x: Tensor) -> Tensor:
        self.meet(len(x))
        return self.net(x)


@pytest.mark.parametrize(("method", "settings"), OPTIMISED.items())
def test_memory_that_is_short_halves_the_rows_at_once(method: str, settings: dict) -> None:
    targets, x = sl.each([0, 1, 2, 3]), images(1)
    plain = sl.explain(sl.Classifier(seeded(ConvNet)), x, method=method, target=targets, **settings)
    calls: list[int] = []
    told: list[tuple[int, int]] = []

    def meet(count: int) -> None:
        if count > 2 and calls.count(4) == 3:  # in the middle of the work: its three steps are lost
            raise torch.OutOfMemoryError("out of memory, on purpose")
        calls.append(count)

    classifier = sl.Classifier(Cramped(meet).eval(), size=16)
    settings = {**settings, "chunk": 4, "progress": lambda *passes: told.append(passes)}
    if method == "opti-cam":
        settings["layer"] = "net.relu2"
    found = sl.explain(classifier, x, method=method, target=targets, **settings)
    assert torch.allclose(found.maps, plain.maps, atol=1e-6)
    record = found.provenance["masking"]
    assert (record["chunk"], record["passes"], record["masks"]) == (2, [16], [16])
    assert [done for done, _ in told] == [4, 8, 12, 0, *range(2, 17, 2)]
    assert max(calls[-8:]) == 2


@pytest.mark.parametrize("method", OPTIMISED)
def test_memory_too_small_for_one_row_says_what_to_do(method: str) -> None:
    calls: list[int] = []
    x, full = images(1), False

    def meet(count: int) -> None:
        calls.append(count)
        if full:
            raise torch.OutOfMemoryError("out of memory, on purpose")

    classifier = sl.Classifier(Cramped(meet).eval(), size=16)
    explainer = sl.explainer(method, classifier, iterations=2, progress=lambda *_: switch())

    def switch() -> None:
        nonlocal full
        full = True

    with pytest.raises(ModelError, match=f"{method}: there is not enough memory for one masked image"):
        explainer(x, target=sl.each([0, 1]))


@pytest.mark.parametrize(("method", "settings"), SUPERPIXELS.items())
def test_superpixels_when_memory_is_short(method: str, settings: dict) -> None:
    x, sizes = images(2), []
    plain = sl.explain(sl.Classifier(seeded(ConvNet)), x, method=method, target=1, **settings)

    def meet(count: int) -> None:
        if count > 3:
            raise torch.OutOfMemoryError("out of memory, on purpose")
        sizes.append(count)

    box = sl.BlackBox(Cramped(meet).eval(), size=16)
    found = sl.explain(box, x, method=method, target=1, chunk=16, **settings)
    assert torch.allclose(found.maps, plain.maps, atol=1e-4 * float(plain.maps.abs().max()))
    assert found.provenance["masking"]["chunk"] == max(sizes) == 2


@pytest.mark.parametrize(("method", "settings"), SUPERPIXELS.items())
def test_targets_of_an_image_share_its_passes(method: str, settings: dict) -> None:
    """Every masked image is asked once, for all targets, and so is a set of superpixels that is drawn again."""
    x, sizes, targets = quarters().repeat(2, 1, 1, 1), [], [0, 1, 2]
    x[1] = x[1].flip(0)
    box = sl.BlackBox(Cramped(sizes.append).eval(), size=16)
    found = sl.explain(box, x, method=method, target=sl.each(targets), chunk=64, **settings)
    record = found.provenance["masking"]
    assert sizes[0] == 2  # the images as they are
    assert sum(sizes[1:]) == sum(record["passes"]) == sum(record["masks"])
    assert all(4 <= passes < 40 for passes in record["passes"])  # of 40 samples of so few superpixels
    for row in range(6):
        one = sl.explain(box, x[row // 3][None], method=method, target=targets[row % 3], **settings)
        assert torch.allclose(found.maps[row], one.maps[0], atol=1e-5)


@pytest.mark.parametrize(("method", "settings"), SUPERPIXELS.items())
def test_superpixels_lose_nothing_when_they_are_stopped(method: str, settings: dict, tmp_path: Path) -> None:
    sizes: list[int] = []
    fail_at = 6

    def meet(count: int) -> None:
        sizes.append(count)
        if len(sizes) == fail_at:
            raise ValueError("on purpose")

    x, settings = images(2), {"segments": 20, "samples": 60, "chunk": 8}
    box = sl.BlackBox(Cramped(meet).eval(), size=16)
    with pytest.raises(ValueError, match="on purpose") as caught:
        sl.explain(box, x, method=method, target=1, checkpoint=tmp_path, **settings)
    partial = sl.partial(caught.value)
    assert partial is not None
    assert partial.maps.isfinite().all()
    assert not partial.provenance["masking"]["complete"]
    before = sum(sizes[1:-1])
    sizes.clear()
    fail_at = 0
    found = sl.explain(box, x, method=method, target=1, checkpoint=tmp_path, **settings)
    assert sum(sizes[1:]) == sum(found.provenance["masking"]["masks"]) - before  # nothing was asked twice
    assert torch.equal(found.maps, sl.explain(box, x, method=method, target=1, **settings).maps)
    again = sl.explain(box, x, method=method, target=2, checkpoint=tmp_path, **settings)  # another question
    assert not torch.equal(again.maps, found.maps)


@pytest.mark.parametrize("method", SUPERPIXELS)
def test_superpixels_stop_early(method: str) -> None:
    """A part of the passes comes nearer to the whole than a regression on so many samples alone; the error is told."""
    classifier, x = sl.Classifier(seeded(ConvNet)), images(3)
    ask = {"method": method, "target": 1, "segments": 20, "backend": "eager", "chunk": 16}
    full = sl.explain(classifier, x, samples=400, **ask)  # type: ignore[arg-type]
    part = sl.explain(classifier, x, samples=400, budget=80, **ask)  # type: ignore[arg-type]
    plain = sl.explain(classifier, x, samples=80, **ask)  # type: ignore[arg-type]
    record = part.provenance["masking"]
    assert record["passes"] == [80] * 3

    def error(maps: Tensor) -> Tensor:
        whole = full.maps - full.maps.mean((1, 2), keepdim=True)
        return (maps - maps.mean((1, 2), keepdim=True) - whole).flatten(1).norm(dim=1) / whole.flatten(1).norm(dim=1)

    assert float(error(part.maps).mean()) < float(error(plain.maps).mean())
    assert 0.4 < float((error(part.maps) / torch.tensor(record["error"])).median()) < 1.6
    near = sl.explain(classifier, x, samples=400, tolerance=0.3, **ask)  # type: ignore[arg-type]
    assert sum(near.provenance["masking"]["passes"]) < sum(full.provenance["masking"]["passes"])
    assert max(near.provenance["masking"]["error"]) <= 0.3


@pytest.mark.parametrize(
    ("methods", "settings"),
    [
        (OPTIMISED, {"backend": "eager"}),
        (OPTIMISED, {"checkpoint": "folder"}),
        ([*OPTIMISED, "group-cam", "cluster-cam"], {"budget": 5}),
        ([*OPTIMISED, "group-cam", "cluster-cam"], {"tolerance": 0.1}),
    ],
)
def test_a_setting_that_would_do_nothing_is_an_error(methods: list[str], settings: dict) -> None:
    for method in methods:
        with pytest.raises(MethodError, match=f"{method} has no setting '{next(iter(settings))}'; it has: .*fill="):
            sl.explain(sl.Classifier(seeded(ConvNet)), images(1), method=method, **settings)


@pytest.mark.parametrize(("method", "settings"), [*OPTIMISED.items(), *SUPERPIXELS.items()])
def test_a_setting_that_is_accepted_does_something(method: str, settings: dict) -> None:
    """Fill, space, precision and seed change the map; chunk changes the number of images at once."""
    sizes: list[int] = []
    classifier = sl.Classifier(Cramped(sizes.append).eval(), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))

    def maps(**changed: object) -> Tensor:
        return sl.explain(classifier, quarters(), method=method, target=1, **{**settings, **changed}).maps

    plain = maps(fill="black", space="pixels")
    for changed in ({"fill": "mean"}, {"space": "normalised"}, {"precision": "bfloat16"}, {"fill": "noise"}):
        assert not torch.equal(maps(**{"fill": "black", "space": "pixels", **changed}), plain)
    assert torch.equal(maps(fill="noise"), maps(fill="noise"))
    assert not torch.equal(maps(fill="noise", seed=1), maps(fill="noise"))
    sizes.clear()
    out = sl.explain(classifier, images(1), method=method, target=sl.each([0, 1, 2, 3]), chunk=3, **settings)
    assert max(sizes) == 3
    assert out.provenance["masking"]["chunk"] == 3


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
        ("opti-cam", {"keep": "first"}),
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

"""Robustness metrics against slow float64 references, laws, statuses, and Quantus on the same maps."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from skimage.metrics import structural_similarity
from torch import nn

import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.errors import MetricError
from sightline.metrics import Session, Trial
from sightline.metrics._again import explain_again
from sightline.metrics._similarity import pearson, ranks, ssim
from sightline.metrics.robustness._altered import moved, noisy, shifted

MEAN, STD = [0.4, 0.5, 0.3], [0.2, 0.25, 0.3]
NAMES = ("max-sensitivity", "average-sensitivity", "noise-stability", "jpeg-stability", "flip-equivariance")
QUICK = {
    "max-sensitivity": {"samples": 2},
    "average-sensitivity": {"samples": 2},
    "noise-stability": {"samples": 2},
    "probability-shift": {"samples": 2},
    "shift-equivariance": {"shift": 3},
}


def quick(*names):
    return [(name, QUICK.get(name, {})) for name in names]


def classifier(outputs=5, **settings) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs), mean=MEAN, std=STD, size=16, **settings)


def slow_map(x, c, net=None, sign=1):
    """Grad-CAM's raw map (h, w) of one image in pixel space, in float64 and with loops."""
    net = (net or seeded(ConvNet, 5)).double().eval()
    seen = {}
    handle = net.relu2.register_forward_hook(lambda m, a, out: seen.update(A=out.clone()))
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        net((x.double()[None] - mean) / std)
    handle.remove()
    A = seen["A"].clone().requires_grad_()
    score = sign * net.head(A.mean((2, 3)))[0, c]
    (G,) = torch.autograd.grad(score, A)
    S = torch.zeros(A.shape[2:], dtype=torch.float64)
    for k in range(A.shape[1]):
        S += G[0, k].mean() * A[0, k].detach()
    return S


def setting(count=2, target=None, **settings):
    clf, x = classifier(**settings), images(count)
    explainer = sl.explainer("grad-cam", clf, layer="relu2")
    return clf, x, explainer, explainer(x, target)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("space", ["pixels", "normalised"])
def test_sensitivities_equal_their_definition(scaled, space):
    clf, x, explainer, out = setting()
    asked = {"radius": 0.1, "samples": 3, "space": space, "scaled": scaled}
    found = sl.evaluate(
        clf, x, out, [("max-sensitivity", asked), ("average-sensitivity", asked)], explainer=explainer, backend="eager"
    )
    session = Session(clf, x)
    for n in range(2):
        c, each = out.targets[n].category, []
        for draw in range(3):
            a, b = slow_map(x[n], c), slow_map(noisy(session, draw, "uniform", 0.1, space)[n], c)
            if scaled:
                a, b = a / a.norm(), b / b.norm()
            each.append(float((a - b).norm() / a.norm()))
        assert found["max-sensitivity"].curve[n].tolist() == pytest.approx(each, rel=1e-3)
        assert float(found["max-sensitivity"].value[n]) == pytest.approx(max(each), rel=1e-3)
        assert float(found["average-sensitivity"].value[n]) == pytest.approx(sum(each) / 3, rel=1e-3)


def test_sensitivity_equals_quantus_on_the_same_noise():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    clf, x = classifier(), images()
    explainer = sl.explainer("input-x-gradient", clf)
    out = explainer(x)
    asked = {"radius": 0.1, "samples": 1, "scaled": False}
    found = sl.evaluate(clf, x, out, [("max-sensitivity", asked)], explainer=explainer, backend="eager")
    other = noisy(Session(clf, x), 0, "uniform", 0.1, "pixels")
    maps = explainer(other, list(out.targets)).maps

    judge = quantus.MaxSensitivity(
        nr_samples=1,
        normalise=False,
        abs=False,
        perturb_func=lambda arr, indices=None, **_: other.flatten(1).numpy(),
        disable_warnings=True,
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    theirs = judge(
        model,
        x.numpy(),
        np.zeros(2, dtype=int),
        a_batch=out.maps.numpy()[:, None],
        explain_func=lambda *_, **__: maps.numpy()[:, None],
    )
    assert found["max-sensitivity"].value.tolist() == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(("similarity", "reading"), [("spearman", "raw"), ("pearson", "energy"), ("ssim", "energy")])
def test_stabilities_equal_their_definition(similarity, reading):
    clf, x, explainer, out = setting()
    shared = {"similarity": similarity, "reading": reading}
    asked = [
        ("noise-stability", {"samples": 2, "level": 0.2, **shared}),
        ("jpeg-stability", {"quality": 30, **shared}),
        ("flip-equivariance", shared),
        ("flip-equivariance", {"axis": "vertical", **shared}),
    ]
    found = sl.evaluate(clf, x, out, asked, explainer=explainer, backend="eager")
    session = Session(clf, x)

    def alike(a, b):
        if similarity == "ssim":
            a, b = (large(heat(v)) for v in (a, b))
            return structural_similarity(a.numpy(), b.numpy(), data_range=1.0)
        a, b = ((v.clamp(min=0) if reading == "energy" else v).flatten().numpy() for v in (a, b))
        return stats.spearmanr(a, b).statistic if similarity == "spearman" else stats.pearsonr(a, b).statistic

    for n in range(2):
        c = out.targets[n].category
        S = slow_map(x[n], c)
        noise = [alike(S, slow_map(noisy(session, k, "gaussian", 0.2, "pixels")[n], c)) for k in range(2)]
        file = io.BytesIO()
        Image.fromarray((x[n].permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "JPEG", quality=30)
        back = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
        wanted = [
            sum(noise) / 2,
            alike(S, slow_map(back, c)),
            alike(S.flip(1), slow_map(x[n].flip(2), c)),
            alike(S.flip(0), slow_map(x[n].flip(1), c)),
        ]
        assert [float(v.value[n]) for _, _, v in found.records] == pytest.approx(wanted, abs=2e-4)


def heat(S):
    S = S.clamp(min=0)
    return (S - S.min()) / (S.max() - S.min())


def large(S):
    return nn.functional.interpolate(S[None, None], size=(16, 16), mode="bilinear", align_corners=False)[0, 0]


def test_shift_equivariance_equals_its_definition():
    clf, x, explainer, out = setting()
    asked = [("shift-equivariance", {"shift": 2, "similarity": "pearson"})]
    found = sl.evaluate(clf, x, out, asked, explainer=explainer, backend="eager")["shift-equivariance"]
    for n in range(2):
        c = out.targets[n].category
        wanted = []
        for dy, dx in ((-2, 0), (2, 0), (0, -2), (0, 2)):
            other = torch.empty_like(x[n])
            for i in range(16):
                for j in range(16):
                    y, z = i - dy, j - dx
                    y, z = (abs(v) if v < 16 else 30 - v for v in (y, z))  # mirrored at the edge
                    other[:, i, j] = x[n, :, y, z]
            S, T = large(slow_map(x[n], c)), large(slow_map(other, c))
            pairs = [
                (float(S[i - dy, j - dx]), float(T[i, j]))
                for i in range(16)
                for j in range(16)
                if 0 <= i - dy < 16 and 0 <= j - dx < 16
            ]
            wanted.append(stats.pearsonr(*zip(*pairs, strict=True)).statistic)
        assert found.curve[n].tolist() == pytest.approx(wanted, abs=1e-4)
        assert float(found.value[n]) == pytest.approx(sum(wanted) / 4, abs=1e-4)


def test_a_scorer_without_place_is_equivariant():
    """Convolutions of 1 x 1 see every pixel by itself: maps move with the image."""

    class Pointwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU()), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))

    clf, x = sl.Classifier(seeded(Pointwise), size=16), images(2)
    explainer = sl.explainer("hires-cam", clf, layer="body.1")
    out = explainer(x)
    asked = ["flip-equivariance", ("flip-equivariance", {"axis": "vertical"}), *quick("shift-equivariance")]
    found = sl.evaluate(clf, x, out, asked, explainer=explainer)
    for _, _, values in found.records:
        assert values.value.tolist() == pytest.approx([1, 1], abs=1e-6)


def test_no_noise_no_change_and_more_noise_more_change():
    clf, x, explainer, out = setting()
    asked = [("average-sensitivity", {"radius": r, "samples": 4}) for r in (1e-7, 0.01, 0.2)]
    values = [float(v.value.mean()) for _, _, v in sl.evaluate(clf, x, out, asked, explainer=explainer).records]
    assert values[0] < 1e-3
    assert values[0] < values[1] < values[2]


def test_sensitivities_share_explanations_and_the_noise_belongs_to_the_image():
    clf, x, explainer, out = setting()
    calls = []

    class Counted:
        def __call__(self, pixels, target):
            calls.append(pixels)
            return explainer(pixels, target)

    trial = Trial(Session(clf, x), out, explainer=Counted())
    for record in sl.metrics():
        if record.name in ("max-sensitivity", "average-sensitivity"):
            record.function(trial, samples=3)
    assert len(calls) == 3
    assert all(float((c - x).abs().max()) <= 0.02 + 1e-6 for c in calls)
    assert not torch.equal(calls[0], calls[1])
    alone = noisy(Session(clf, x[1:]), 2, "uniform", 0.02, "pixels")
    assert torch.equal(calls[2][1:], alone)
    assert not torch.equal(noisy(Session(clf, x, seed=1), 2, "uniform", 0.02, "pixels"), calls[2])


def test_noise_has_the_size_that_was_asked_for_and_pixels_stay_legal():
    clf = classifier()
    grey = torch.full((1, 3, 64, 64), 0.5)
    uniform = noisy(Session(clf, grey), 0, "uniform", 0.1, "pixels") - grey
    gaussian = noisy(Session(clf, grey), 0, "gaussian", 0.1, "pixels") - grey
    scaled = noisy(Session(clf, grey), 0, "uniform", 0.1, "normalised") - grey
    assert float(uniform.abs().max()) <= 0.1
    assert float(uniform.std()) == pytest.approx(0.1 / math.sqrt(3), rel=0.03)
    assert float(gaussian.std()) == pytest.approx(0.1, rel=0.03)
    assert torch.allclose(scaled, uniform * torch.tensor(STD).reshape(1, 3, 1, 1), atol=1e-6)
    for edge in (0.0, 1.0):
        found = noisy(Session(clf, torch.full_like(grey, edge)), 0, "gaussian", 0.5, "pixels")
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1


def test_rows_in_any_order_get_their_own_maps():
    clf, x, explainer, _ = setting()
    whole = explainer(x, sl.each([0, 1, 2]))
    out = whole.select([4, 1, 0])
    trial = Trial(Session(clf, x), out, explainer=explainer)
    assert torch.allclose(explain_again(trial).maps, out.maps, atol=1e-6)
    names = quick(*NAMES, "shift-equivariance", "probability-shift")
    some = sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager")
    every = sl.evaluate(clf, x, whole, names, explainer=explainer, backend="eager")
    for (record, _, a), (_, _, b) in zip(some.records, every.records, strict=True):
        assert torch.allclose(a.value, b.value[[4, 1, 0]], atol=1e-5), record.name


def test_batch_is_loop_and_the_model_is_as_before():
    net = seeded(ConvNet, 5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    clf, x = sl.Classifier(net, mean=MEAN, std=STD, size=16), images(3)
    explainer, names = sl.explainer("grad-cam", clf), quick(*NAMES, "shift-equivariance", "probability-shift")
    whole = sl.evaluate(clf, x, explainer(x), names, explainer=explainer, backend="eager")
    for n in range(3):
        one = sl.evaluate(clf, x[n : n + 1], explainer(x[n : n + 1]), names, explainer=explainer, backend="eager")
        for name, _ in names:
            assert float(one[name].value[0]) == pytest.approx(float(whole[name].value[n]), abs=1e-4), name
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_an_attribute_and_its_opposite_on_the_negated_model():
    class Negated(ConvNet):
        def forward(self, x):
            return -super().forward(x)

    x, names = images(), quick(*NAMES, "shift-equivariance", "probability-shift")
    found = []
    for make, sign in ((ConvNet, 1), (Negated, -1)):
        clf = sl.Classifier(seeded(make, 5), mean=MEAN, std=STD, size=16, decision="multilabel")
        explainer = sl.explainer("grad-cam", clf, layer="relu2")
        out = explainer(x, sl.Attribute(1, sign))
        found.append(sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager"))
    for name, _ in names:
        assert torch.allclose(found[0][name].value, found[1][name].value, atol=1e-5), name


def test_a_single_logit_and_a_region_are_asked_like_a_category():
    names = quick(*NAMES, "shift-equivariance", "probability-shift")
    clf, x = classifier(1), images()
    explainer = sl.explainer("grad-cam", clf)
    for sign in (1, -1):
        found = sl.evaluate(clf, x, explainer(x, sl.Attribute(0, sign)), names, explainer=explainer)
        assert all(set(v.status) == {"ok"} for _, _, v in found.records)
        assert all(bool((v.value != 0).all()) for _, _, v in found.records)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:9, 3:7] = True
    clf = sl.Classifier(seeded(Segmenter), size=16)
    explainer = sl.explainer("grad-cam", clf)
    out = explainer(x, sl.Region(1, mask))
    found = sl.evaluate(clf, x, out, names, explainer=explainer)
    assert all(set(v.status) == {"ok"} for _, _, v in found.records)
    trial = Trial(Session(clf, x), out)
    targets, gone = moved(trial, lambda m: m.flip(-1))
    assert torch.equal(targets[0].pixels, mask.flip(-1))
    assert not gone.any()
    edge = torch.zeros_like(mask)
    edge[:2] = True
    out = explainer(x[:1], sl.Region(1, edge))
    lost = sl.evaluate(clf, x[:1], out, quick("shift-equivariance"), explainer=explainer)["shift-equivariance"]
    assert lost.status == ("refused",)
    assert math.isnan(float(lost.value[0]))


def test_every_status():
    clf, x, explainer, out = setting(4)
    maps = out.maps.clone()
    maps[0], maps[1], maps[2] = 0, 2, 0
    maps[2, 3, 3] = 1
    maps[3] = -maps[3].abs()  # energy, the positive part, is zero: empty, but not constant
    out = dataclasses.replace(out, maps=maps)
    found = sl.evaluate(clf, x, out, quick(*NAMES, "shift-equivariance", "probability-shift"), explainer=explainer)
    wanted = ("undefined", "flat", "ok", "empty")
    for name in ("max-sensitivity", "average-sensitivity"):
        assert found[name].status == wanted
        assert found[name].value.isnan().tolist() == [True, False, False, False]
    for name in ("noise-stability", "jpeg-stability", "flip-equivariance", "shift-equivariance"):
        assert found[name].status == ("undefined", "undefined", "ok", "empty"), name
        assert found[name].value.isnan().tolist() == [True, True, False, False]
    assert found["probability-shift"].status == ("empty", "flat", "ok", "empty")


def test_settings_are_checked_and_an_explainer_is_needed():
    clf, x, explainer, out = setting()

    def ask(name, **settings):
        return sl.evaluate(clf, x, out, [(name, settings)], explainer=explainer)

    with pytest.raises(MetricError, match="give explainer="):
        sl.evaluate(clf, x, out, ["max-sensitivity"])
    with pytest.raises(MetricError, match="samples is how often"):
        ask("max-sensitivity", samples=0)
    with pytest.raises(MetricError, match="noise has a size above 0"):
        ask("max-sensitivity", radius=-1)
    with pytest.raises(MetricError, match="space must be"):
        ask("noise-stability", space="lab")
    with pytest.raises(MetricError, match="similarity must be 'spearman' or 'pearson' or 'ssim'"):
        ask("noise-stability", similarity="hog")
    with pytest.raises(MetricError, match="SSIM is for heat maps"):
        ask("noise-stability", similarity="ssim")
    with pytest.raises(MetricError, match="quality is a number from 1 to 95"):
        ask("jpeg-stability", quality=0)
    with pytest.raises(MetricError, match="axis must be"):
        ask("flip-equivariance", axis="x")
    with pytest.raises(MetricError, match="below half the image, 8"):
        ask("shift-equivariance", shift=8)
    black = sl.BlackBox(clf, channels=3)
    uniform = sl.explainer("centre", black)
    with pytest.raises(MetricError, match="no normalised space"):
        sl.evaluate(black, x, uniform(x), [("max-sensitivity", {"space": "normalised"})], explainer=uniform)


def test_similarities_equal_scipy_and_scikit_image():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 6, (5, 40), generator=generator).double()  # many ties
    b = torch.randint(0, 9, (5, 40), generator=generator).double()
    for n in range(5):
        assert ranks(a)[n].tolist() == stats.rankdata(a[n]).tolist()
    assert pearson(ranks(a), ranks(b)).tolist() == pytest.approx(
        [stats.spearmanr(a[n], b[n]).statistic for n in range(5)]
    )
    tiny = 1e-200 * b
    assert pearson(a, tiny).tolist() == pytest.approx([stats.pearsonr(a[n], b[n]).statistic for n in range(5)])
    maps = torch.rand(3, 2, 11, 13, generator=generator, dtype=torch.float64)
    theirs = [structural_similarity(m[0].numpy(), m[1].numpy(), data_range=1.0) for m in maps]
    assert ssim(maps[:, 0], maps[:, 1]).tolist() == pytest.approx(theirs)
    with pytest.raises(MetricError, match="at least 7 x 7"):
        ssim(maps[:, 0, :5], maps[:, 1, :5])


def test_shifted_images_move_by_whole_pixels():
    x = images(1)
    assert torch.equal(shifted(x, 3, 0)[..., 3:, :], x[..., :-3, :])
    assert torch.equal(shifted(x, -3, 2)[..., :-3, 2:], x[..., 3:, :-2])
    assert shifted(x, 3, -5).shape == x.shape

"""Curves of regions, sufficiency and correlational faithfulness against slow float64 references."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

import reference_metrics_faithfulness as slow
import sightline as sl
from metrics_case import MEAN, SIZE, STD, Linear, Scorer, classifier, maps_of, margin, pixels, planted, probability
from sightline.errors import MetricError
from sightline.metrics import Session


@pytest.mark.parametrize(("region", "fill_", "steps"), [(5, "black", None), (4, "mean", 4), (3, "blur", 16)])
def test_curves_of_regions_equal_their_definition(region, fill_, steps):
    clf, x, maps = classifier(), pixels(2), maps_of(2)
    out = planted(clf, x, maps)
    settings = {"region": region, "fill": fill_, "steps": steps}
    found = sl.evaluate(clf, x, out, [("pixel-flipping", settings), ("aopc", settings)], backend="eager")
    for n in range(2):
        c, other = out.targets[n].category, slow.fills(x[n])[fill_]
        squares = slow.regions_by_heat(maps[n].double(), region)
        L = steps or min(len(squares), math.ceil(SIZE / region))
        flipped = []
        for t in range(L + 1):
            gone = list(chain(*squares[: math.ceil(len(squares) * t / L)]))
            flipped.append(probability(slow.replaced(x[n].double(), other, gone), c))
        assert found["pixel-flipping"].curve[n].tolist() == pytest.approx(flipped, abs=1e-5)
        mean = (sum(flipped) - (flipped[0] + flipped[-1]) / 2) / L
        assert float(found["pixel-flipping"].value[n]) == pytest.approx(mean, abs=1e-5)
        gone = [list(chain(*squares[:k])) for k in range((steps or len(squares)) + 1)]
        f = [probability(slow.replaced(x[n].double(), other, places), c) for places in gone]
        assert found["aopc"].curve[n].tolist() == pytest.approx(f, abs=1e-5)
        assert float(found["aopc"].value[n]) == pytest.approx(sum(f[0] - v for v in f) / len(f), abs=1e-5)


def test_regions_of_one_pixel_are_deletion():
    clf, x, maps = classifier(), pixels(), maps_of()
    asked = [("pixel-flipping", {"region": 1, "steps": 9, "fill": "black"}), ("deletion", {"steps": 9})]
    found = sl.evaluate(clf, x, planted(clf, x, maps), asked, backend="eager")
    assert torch.equal(found["pixel-flipping"].curve, found["deletion"].curve)


def test_noise_fills_every_method_alike_in_both_spaces():
    clf, x = classifier(), pixels()
    session = Session(clf, x)
    assert torch.allclose(session.noise("normalised"), clf.normalise(session.noise("pixels")))
    assert not torch.equal(session.noise("pixels")[0], session.noise("pixels")[1])
    ends = []
    for maps in (maps_of(), 1 - maps_of()):
        for space in ("pixels", "normalised"):
            settings = {"fill": "noise", "steps": 3, "space": space}
            ends.append(
                sl.evaluate(clf, x, planted(clf, x, maps), [("pixel-flipping", settings)])["pixel-flipping"].curve
            )
    assert all(torch.allclose(end[:, -1], ends[0][:, -1], atol=1e-5) for end in ends)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("aopc", {"region": 0}, "side of a square"),
        ("aopc", {"steps": 999}, "number of regions"),
        ("aopc", {"score": "logit"}, "'probability' or 'log-odds'"),
        ("aopc", {"fill": "red"}, "'noise'"),
        ("pixel-flipping", {"steps": -1}, "number of regions"),
        ("sufficiency", {"percentages": (0,)}, "above 0"),
        ("faithfulness-correlation", {"sets": 2}, "3 or more"),
        ("faithfulness-correlation", {"count": 144}, "1 to 143"),
        ("infidelity", {"side": 13}, "1 to 12"),
        ("infidelity", {"samples": 0}, "1 or more"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name, settings, said):
    clf, x = classifier(), pixels()
    out = planted(clf, x, maps_of())
    with pytest.raises(MetricError, match=said):
        sl.evaluate(clf, x, out, [(name, settings)], backend="eager")


def test_sufficiency_equals_its_definition():
    clf, x, maps = classifier(), pixels(2), maps_of(2)
    out = planted(clf, x, maps)
    shares = (5, 33, 100)
    found = sl.evaluate(clf, x, out, [("sufficiency", {"percentages": shares})], backend="eager")["sufficiency"]
    for n in range(2):
        c, other = out.targets[n].category, slow.fills(x[n])["blur"]
        terms = []
        for q in shares:
            kept = slow.hottest(maps[n], math.ceil(SIZE * SIZE * q / 100))
            terms.append(probability(x[n], c) - probability(slow.replaced(other, x[n].double(), kept), c))
        assert found.curve[n].tolist() == pytest.approx(terms, abs=1e-5)
        assert float(found.value[n]) == pytest.approx(sum(terms) / 3, abs=1e-5)
        assert float(found.curve[n, -1]) == pytest.approx(0, abs=1e-6)


def test_the_curve_of_single_pixels_agrees_with_quantus():
    """Its `black` is the image's smallest value, so 0 is given; its curve lacks the unaltered image."""
    quantus = pytest.importorskip("quantus")

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Scorer().eval()

        def forward(self, x):
            mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (MEAN, STD))
            return self.net((x - mean) / std)

    clf, x, maps = classifier(), pixels(), maps_of()
    out = planted(clf, x, maps)
    settings = {"region": 1, "steps": SIZE, "fill": "black"}
    found = sl.evaluate(clf, x, out, [("pixel-flipping", settings)], backend="eager")["pixel-flipping"]
    theirs = quantus.PixelFlipping(
        features_in_step=3 * SIZE, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )(
        model=Whole().eval(),
        x_batch=x.numpy(),
        y_batch=np.array([t.category for t in out.targets]),
        a_batch=maps[:, None].numpy(),
        softmax=True,
        device="cpu",
    )
    assert torch.allclose(found.curve[:, 1:], torch.tensor(np.array(theirs)).double(), atol=1e-5)


# Correlational faithfulness


def drawn(session, image, number, ends):
    """What the metrics draw for an image, from the seeds that they state."""
    generator = session.generator(image, number)
    return [torch.randint(end, (7,), generator=generator).tolist() for end in ends]


@pytest.mark.parametrize("score", ["probability", "log-odds"])
def test_infidelity_equals_its_definition(score):
    clf, x = classifier(), pixels(2)
    maps = torch.randn(2, SIZE, SIZE, generator=torch.Generator().manual_seed(8))
    out, session, f = planted(clf, x, maps), Session(clf, x), margin if score == "log-odds" else probability
    settings = {"samples": 7, "side": 4, "score": score}
    asked = [("infidelity", settings | {"scaled": scaled}) for scaled in (False, True)]
    found = [v.value for _, _, v in sl.evaluate(clf, x, out, asked, backend="eager").records]
    for n in range(2):
        c = out.targets[n].category
        s, d = [], []
        for top, left in zip(*drawn(session, n, 54, (SIZE - 3, SIZE - 3)), strict=True):
            places = [(top + i, left + j) for i in range(4) for j in range(4)]
            s.append(sum(float(maps[n][p]) for p in places))
            d.append(f(x[n], c) - f(slow.replaced(x[n], torch.zeros_like(x[n]), places), c))
        beta = sum(a * b for a, b in zip(s, d, strict=True)) / sum(a * a for a in s)
        for value, scale in zip(found, (1.0, beta), strict=True):
            wanted = sum((scale * a - b) ** 2 for a, b in zip(s, d, strict=True)) / 7
            assert float(value[n]) == pytest.approx(wanted, abs=2e-5, rel=1e-4)


@pytest.mark.parametrize("score", ["probability", "log-odds"])
def test_faithfulness_correlation_equals_its_definition(score):
    clf, x = classifier(), pixels(2)
    maps = torch.randn(2, SIZE, SIZE, generator=torch.Generator().manual_seed(8))
    out, session, f = planted(clf, x, maps), Session(clf, x), margin if score == "log-odds" else probability
    settings = {"sets": 9, "count": 20, "score": score}
    name = "faithfulness-correlation"
    found = sl.evaluate(clf, x, out, [(name, settings)], backend="eager")[name]
    for n in range(2):
        c, generator = out.targets[n].category, session.generator(n, 53)
        s, d = [], []
        for _ in range(9):
            places = [divmod(p, SIZE) for p in torch.randperm(SIZE * SIZE, generator=generator)[:20].tolist()]
            s.append(sum(float(maps[n][p]) for p in places))
            d.append(f(x[n], c) - f(slow.replaced(x[n], torch.zeros_like(x[n]), places), c))
        assert float(found.value[n]) == pytest.approx(slow.pearson(s, d), abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_linear_scorer_adds_up_is_explained_exactly(sign):
    clf = classifier(net=Linear, decision="binary", mean=None, std=None)
    x = pixels()
    given = (x * Linear().w.detach()).sum(1) * sign  # what each pixel gives
    out = planted(clf, x, given, sl.Attribute(0, sign))
    names = ["faithfulness-correlation", ("infidelity", {"scaled": False}), "infidelity"]
    found = sl.evaluate(clf, x, out, names, backend="eager").records
    assert torch.allclose(found[0][2].value, torch.ones(3, dtype=torch.float64), atol=1e-6)
    assert float(found[1][2].value.max()) < 1e-10
    assert float(found[2][2].value.max()) < 1e-10
    tripled = sl.evaluate(clf, x, planted(clf, x, 3 * given, sl.Attribute(0, sign)), names, backend="eager").records
    assert float(tripled[2][2].value.max()) < 1e-10  # the scale is removed
    assert float(tripled[1][2].value.min()) > 1e-4


def test_a_map_without_information_has_no_correlation_and_all_of_the_variance():
    clf, x = classifier(), pixels()
    maps = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 0.3), torch.rand(4, 4)])
    out = planted(clf, x, maps)
    found = sl.evaluate(clf, x, out, ["faithfulness-correlation", "infidelity"], backend="eager")
    assert found["faithfulness-correlation"].status == ("undefined", "undefined", "ok")
    assert found["faithfulness-correlation"].value.isnan().tolist() == [True, True, False]
    assert found["infidelity"].status == ("empty", "flat", "ok")
    zero = sl.evaluate(
        clf, x, planted(clf, x, torch.zeros(3, 4, 4)), [("infidelity", {"scaled": False})], backend="eager"
    )
    assert float(found["infidelity"].value[0]) == pytest.approx(float(zero["infidelity"].value[0]))
    assert float(found["infidelity"].value[0]) > 0

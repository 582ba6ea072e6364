"""Metrics of segmentations against slow float64 references, and the controls without which they say nothing."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import sightline as sl
from nets import ConvNet, images, seeded
from sightline.errors import MetricError, TargetError
from sightline.metrics import Session, Trial
from sightline.metrics.segmentation._altered import entropy, highlighted

NAMES = ("segmentation-m1", "segmentation-m2", "segmentation-m3", "segmentation-m3-entropy")
SIDE = 16


class Segmenter(nn.Module):
    """Pixel outputs at half the images' size."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU()), nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, x):
        return 4 * self.head(self.body(x))


def classifier(outputs=3) -> sl.Classifier:
    return sl.Classifier(seeded(Segmenter, outputs), mean=[0.4, 0.5, 0.3], std=[0.2, 0.25, 0.3], size=SIDE)


def square() -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[4:10, 6:12] = True
    return mask


def planted(clf, x, maps, target=None, polarity="positive") -> sl.Explanation:
    out = sl.explain(clf, x, method="uniform", target=target or sl.Region(1 if clf.width > 1 else 0, square()))
    return dataclasses.replace(out, maps=maps, polarity=polarity, method="planted")


def maps_of(count=2, side=SIDE):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(5))


def slow(outputs, x, c, T):
    """Mean probability over T and the entropy a pixel, one pixel after the other, in float64."""
    net = seeded(Segmenter, outputs).double()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in ([0.4, 0.5, 0.3], [0.2, 0.25, 0.3]))
    with torch.no_grad():
        y = net((x.double()[None] - mean) / std)[0]
    Y, E = [], torch.zeros(y.shape[1:], dtype=torch.float64)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            if outputs == 1:
                p = 1 / (1 + math.exp(-float(y[0, i, j])))
                P = [p, 1 - p]
            else:
                total = sum(math.exp(float(v)) for v in y[:, i, j])
                P = [math.exp(float(v)) / total for v in y[:, i, j]]
            E[i, j] = -sum(p * math.log(p) for p in P if p > 0) / math.log(len(P))
            if T[i, j]:
                Y.append(P[c])
    return sum(Y) / len(Y), E


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize(("threshold", "area"), [(0.4, None), (0.8, None), (0.4, 0.1)])
def test_all_equal_their_definition(outputs, threshold, area):
    clf, x, maps = classifier(outputs), images(), maps_of() + 0.2
    c, T = min(1, outputs - 1), square()[::2, ::2]
    asked = {"threshold": threshold, "area": area}
    specs = [(name, asked) for name in NAMES]
    specs += [("segmentation-m3-entropy", {"part": part, **asked}) for part in ("inside", "outside")]
    found = sl.evaluate(clf, x, planted(clf, x, maps), specs, backend="eager")
    for n in range(2):
        ordered = sorted(maps[n].flatten().tolist(), reverse=True)
        least = threshold * ordered[0] if area is None else ordered[math.ceil(area * SIDE * SIDE) - 1]
        B = (maps[n] >= least).double()
        M = torch.maximum(B, square().double())
        (Y, E), (Y3, E3) = slow(outputs, x[n], c, T), slow(outputs, x[n] * M, c, T)
        Y1, Y2 = slow(outputs, x[n] * (1 - B), c, T)[0], slow(outputs, x[n] * B, c, T)[0]
        wanted = [(Y - Y1) / Y, (Y - Y2) / Y, (Y - Y3) / Y]
        wanted += [float((b.mean() - a.mean()) / a.mean()) for a, b in ((E, E3), (E[T], E3[T]), (E[~T], E3[~T]))]
        assert [float(v.value[n]) for _, _, v in found.records] == pytest.approx(wanted, abs=1e-4)
    curve = found["segmentation-m3-entropy"].curve
    assert torch.allclose((curve[:, 5] - curve[:, 4]) / curve[:, 4], found["segmentation-m3-entropy"].value)


def test_entropy_of_known_distributions():
    y = torch.zeros(1, 4, 2, 2)
    assert torch.allclose(entropy(y), torch.ones(1, 2, 2, dtype=torch.float64))  # uniform
    y[0, 1] = 1e4
    assert entropy(y).abs().max() == 0  # certain, and 0 log 0 = 0
    p = torch.tensor(0.2, dtype=torch.float64)
    wanted = -(p * p.log2() + (1 - p) * (1 - p).log2())
    assert torch.allclose(entropy(torch.logit(p).reshape(1, 1, 1, 1)), wanted)


class Sees(nn.Module):
    """Says class 1 where red is above one half, and class 0 elsewhere: a segmentation with a known reason."""

    def forward(self, x):
        red = 12 * (x[:, :1] - 0.5)
        return torch.cat([-red, red], 1)


def test_controls():
    """All ones win M1 and M2, a copy of the mask does so nearly, and the empty map has the lowest entropy on T."""
    x = torch.full((1, 3, SIDE, SIDE), 0.1) + 0.05 * images(1)
    x[0, 0][square()] = 0.9
    clf, random = sl.Classifier(Sees(), size=SIDE), maps_of(1)
    controls = {
        "all ones": torch.ones(1, SIDE, SIDE),
        "empty": torch.zeros(1, SIDE, SIDE),
        "mask copy": square()[None].float(),
        "random": random,
        "inverted": (~square())[None].float(),
    }
    table = {}
    for name, maps in controls.items():
        specs = [*NAMES, *((n, {"area": square().float().mean().item()}) for n in NAMES[:2])]
        found = sl.evaluate(clf, x, planted(clf, x, maps), specs)
        table[name] = [float(v.value[0]) for _, _, v in found.records]
        assert found.records[0][2].status == ({"all ones": "flat", "empty": "empty"}.get(name, "ok"),)
    ones, empty, copy, noise, inverted = table.values()
    assert ones[0] > 0.99  # M1: nothing is left
    assert ones[1] == pytest.approx(0, abs=1e-6)
    assert ones[2] == pytest.approx(0, abs=1e-6)
    assert ones[3] == pytest.approx(0, abs=1e-6)
    assert empty[0] == pytest.approx(0, abs=1e-6)
    assert empty[1] > 0.99
    assert copy[0] > 0.99
    assert copy[1] == pytest.approx(0, abs=1e-6)
    assert 0.1 < noise[0] < copy[0]
    assert copy[1] < noise[1] < empty[1]
    assert inverted[0] == pytest.approx(0, abs=1e-6)
    assert inverted[1] > 0.99
    assert ones[4] < 0.5 < copy[4]  # at equal area all ones are no better than chance
    assert ones[5] > copy[5] + 0.3


def test_empty_flat_and_signed_maps_have_a_highlighted_part():
    clf, x = classifier(), images(4)
    maps = maps_of(4) - 0.5
    maps[0], maps[1], maps[2] = 0, 3, 0
    maps[2, 2, 3] = 1
    trial = Trial(Session(clf, x), planted(clf, x, maps))
    B = highlighted(trial, 0.4, None)
    assert B.flatten(1).sum(1).tolist()[:3] == [0, SIDE * SIDE, 1]
    assert torch.equal(B[3], maps[3] >= 0.4 * maps[3].max())
    absolute = Trial(Session(clf, x), planted(clf, x, maps, polarity="absolute"))
    assert torch.equal(highlighted(absolute, 0.4, None)[3], maps[3].abs() >= 0.4 * maps[3].abs().max())
    assert highlighted(trial, 0.4, 0.25).flatten(1).sum(1).tolist() == [64] * 4
    found = sl.evaluate(clf, x, planted(clf, x, maps), NAMES)
    for name in NAMES:
        assert found[name].status == ("empty", "flat", "ok", "ok")
        assert bool(found[name].value.isfinite().all())


def test_small_maps_are_divided_by_their_maximum_before_they_grow():
    clf, x = classifier(), images(1)
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 5
    B = highlighted(Trial(Session(clf, x), planted(clf, x, maps)), 0.4, None)
    grown = nn.functional.interpolate(maps[:, None] / 5, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    assert torch.equal(B, grown >= 0.4)


def test_undefined_and_refused():
    class Sure(Sees):
        def forward(self, x):
            return 1e6 * super().forward(x)

    x = torch.zeros(1, 3, SIDE, SIDE)
    x[0, 0][square()] = 1
    sure = sl.Classifier(Sure(), size=SIDE)
    specs = ["segmentation-m3-entropy", ("segmentation-m3-entropy", {"change": "difference"}), "segmentation-m1"]
    relative, difference, _ = (v for *_, v in sl.evaluate(sure, x, planted(sure, x, maps_of(1)), specs).records)
    assert relative.status == ("undefined",)  # E = 0
    assert math.isnan(float(relative.value[0]))
    assert difference.status == ("ok",)
    assert float(difference.value[0]) == 0
    wrong = planted(sure, x, maps_of(1), sl.Region(0, square()))  # Y = 0
    assert sl.evaluate(sure, x, wrong, ["segmentation-m1"])["segmentation-m1"].status == ("undefined",)
    clf = classifier()
    whole = planted(clf, x, maps_of(1), sl.Region(1, torch.ones(SIDE, SIDE)))
    asked = [("segmentation-m3-entropy", {"part": p}) for p in ("outside", "all")]
    outside, every = (v for *_, v in sl.evaluate(clf, x, whole, asked).records)
    assert outside.status == ("refused",)
    assert every.status == ("ok",)
    with pytest.raises(TargetError, match="holds no pixel"):
        sl.explain(clf, x, method="uniform", target=sl.Region(1, torch.zeros(SIDE, SIDE)))


def test_rows_of_one_image_batches_and_shared_passes():
    clf, x = classifier(), images()
    out = sl.explain(clf, x, method="edges", target=sl.each([sl.Region(1, square()), sl.Region(2, ~square())]))
    session = Session(clf, x)
    whole = sl.evaluate(clf, x, out, NAMES, session=session, backend="eager")
    assert session.asking.passes == len(x) + 3 * len(out)  # score and entropy of M3 come from one pass
    for row in range(4):
        n = row // 2
        one = sl.explain(clf, x[n : n + 1], method="edges", target=out.targets[row])
        alone = sl.evaluate(clf, x[n : n + 1], one, NAMES, backend="eager")
        for name in NAMES:
            assert float(whole[name].value[row]) == pytest.approx(float(alone[name].value[0]), abs=1e-5), name


def test_real_methods_and_the_spaces():
    clf, x = classifier(), images()
    out = sl.explain(clf, x, method="hires-cam", layer="body.1", target=sl.Region(1, square()))
    specs = [(n, {"space": space}) for n in NAMES for space in ("pixels", "normalised")]
    values = [v.value for *_, v in sl.evaluate(clf, x, out, specs).records]
    assert all(bool(v.isfinite().all()) for v in values)
    assert not torch.allclose(values[0], values[1])


def test_errors_name_the_fix():
    clf, x = classifier(), images()
    out = planted(clf, x, maps_of())

    def ask(name, **settings):
        return sl.evaluate(clf, x, out, [(name, settings)])

    with pytest.raises(MetricError, match="threshold is a share above 0"):
        ask("segmentation-m1", threshold=0)
    with pytest.raises(MetricError, match="area is a share above 0"):
        ask("segmentation-m2", area=1.5)
    with pytest.raises(MetricError, match="space must be"):
        ask("segmentation-m3", space="lab")
    with pytest.raises(MetricError, match="part must be 'inside'"):
        ask("segmentation-m3-entropy", part="edge")
    with pytest.raises(MetricError, match="change must be"):
        ask("segmentation-m3-entropy", change="log")
    other = sl.Classifier(seeded(ConvNet, 5), size=SIDE)
    with pytest.raises(MetricError, match="is for segmentation classifiers, not categorical"):
        sl.evaluate(other, x, sl.explain(other, x, method="uniform"), ["segmentation-m1"])

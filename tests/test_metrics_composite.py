"""Coherency, complexity, ADCC and ARCC against slow float64 references."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import reference_metrics_faithfulness as slow
import sightline as sl
from metrics_case import MEAN, SIZE, STD, Linear, Scorer, classifier, maps_of, pixels, planted
from sightline.errors import MetricError


def linear_case():
    """A linear scorer whose maps are known in closed form: (classifier, explainer, pixels, explanation, map of)."""
    clf = classifier(net=Linear, decision="binary")
    explainer = sl.explainer("input-x-gradient", clf)
    x = pixels()
    out = explainer(x)
    w = Linear().w.detach().double() / torch.tensor(STD, dtype=torch.float64)[:, None, None]

    def heat(image, n):
        raw = (w * image.double()).sum(0) * out.targets[n].sign
        energy = raw.abs() if out.polarity == "absolute" else raw.clamp(min=0)
        return (energy - energy.min()) / (energy.max() - energy.min())

    return clf, explainer, x, out, heat


@pytest.mark.parametrize("space", ["pixels", "normalised"])
def test_coherency_and_its_composites_equal_their_definitions(space):
    clf, explainer, x, out, heat = linear_case()
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
    w, settings = Linear().w.detach().double(), {"space": space}
    asked = [("coherency", settings), "complexity", ("adcc", settings), ("arcc", settings | {"noise": 0.0})]
    found = sl.evaluate(clf, x, out, asked, explainer=explainer, backend="eager")

    def p(image, n):
        return float(torch.sigmoid(out.targets[n].sign * ((image - mean) / std * w).sum()))

    for n in range(3):
        image = x[n].double()
        S = heat(image, n)
        masked = image * S + (mean * (1 - S) if space == "normalised" else 0)
        coh = (slow.pearson(S.flatten().tolist(), heat(masked, n).flatten().tolist()) + 1) / 2
        com = sum(S.flatten().tolist()) / SIZE**2
        ad = max(0.0, p(image, n) - p(masked, n)) / p(image, n)
        road = 0.0
        for q in (20, 40, 60, 80):
            for T, sign in ((-S, 1), (S, -1)):
                hole = slow.mask_of(S, slow.hottest(T, round(SIZE * SIZE * q / 100)))
                road += sign * p(slow.imputed(image, hole), n) / 4
        assert float(found["coherency"].value[n]) == pytest.approx(coh, abs=1e-5)
        assert float(found["complexity"].value[n]) == pytest.approx(com, abs=1e-6)
        assert float(found["adcc"].value[n]) == pytest.approx(3 / (1 / coh + 1 / (1 - com) + 1 / (1 - ad)), abs=1e-4)
        assert found["adcc"].curve[n].tolist() == pytest.approx([coh, 1 - com, 1 - ad], abs=1e-4)
        R = max(0.0, min(1.0, road))
        arcc = 3 / (1 / coh + 1 / (1 - com) + 1 / R) if R > 0 else 0.0
        assert float(found["arcc"].value[n]) == pytest.approx(arcc, abs=2e-4)


def test_composites_of_maps_that_say_nothing():
    """Empty, all ones, one pixel, signed: an empty map never looks simple and good."""
    clf, explainer, x, *_ = linear_case()
    x = torch.cat([x, x[:1]])
    maps = torch.zeros(4, SIZE, SIZE)
    maps[1] = 0.7
    maps[2, 3, 4] = 2
    maps[3] = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    out = planted(clf, x, maps)
    names = ["coherency", "complexity", "adcc", "arcc", ("coherency", {"protocol": "as-published"})]
    found = sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager")
    assert found["coherency"].status == ("undefined", "undefined", "ok", "ok")
    assert found["complexity"].status == ("empty", "flat", "ok", "ok")
    assert found["complexity"].value[:3].tolist() == pytest.approx([0, 1, 1 / SIZE**2])
    for name in ("adcc", "arcc"):
        assert found[name].status == ("empty", "flat", "ok", "ok")
        assert found[name].value[:2].tolist() == [0, 0]
    assert found.records[-1][2].value[:2].tolist() == [0, 0]


def test_a_second_map_without_information_leaves_coherency_undefined():
    clf = classifier()
    x = pixels()
    out = planted(clf, x, maps_of())
    asked = ["coherency", "adcc", ("adcc", {"protocol": "as-published"}), "arcc"]
    found = sl.evaluate(clf, x, out, asked, explainer=sl.explainer("uniform", clf), backend="eager").records
    assert set(found[0][2].status) == set(found[1][2].status) == {"undefined"}
    assert found[1][2].value.isnan().all()
    assert found[2][2].value.tolist() == [0, 0, 0]
    with pytest.raises(MetricError, match="explains again"):
        sl.evaluate(clf, x, out, ["coherency"])
    with pytest.raises(MetricError, match="as-published"):
        sl.evaluate(clf, x, out, [("adcc", {"protocol": "published"})], explainer=sl.explainer("uniform", clf))


def test_parts_of_arcc_agree_with_pytorch_grad_cam():
    theirs = pytest.importorskip("pytorch_grad_cam.metrics.arcc")
    clf, explainer, x, out, _ = linear_case()
    found = sl.evaluate(clf, x, out, ["coherency", "complexity"], explainer=explainer, backend="eager")
    S = out.heatmaps()
    again = explainer(x * S[:, None], list(out.targets)).heatmaps()
    coh = (theirs.batch_pearson_coherency(S.numpy(), again.numpy()) + 1) / 2
    assert found["coherency"].value.tolist() == pytest.approx(coh.tolist(), abs=1e-5)
    assert found["complexity"].value.tolist() == pytest.approx(theirs.Complexity()(S.numpy()).tolist(), abs=1e-5)


def test_composites_of_a_batch_are_a_loop_and_leave_the_model_alone():
    net = Scorer().eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    clf = sl.Classifier(net, decision="multilabel", mean=MEAN, std=STD)
    x, target = pixels(), sl.each([sl.Attribute(0, -1), sl.Attribute(2, +1)])
    explainer = sl.explainer("grad-cam", clf, layer="features.2")
    names = ["coherency", "adcc", "arcc", "road", "aopc", "infidelity", "faithfulness-correlation"]
    whole = sl.evaluate(clf, x, explainer(x, target), names, explainer=explainer, backend="eager")
    for n in range(3):
        one = sl.evaluate(
            clf, x[n : n + 1], explainer(x[n : n + 1], target), names, explainer=explainer, backend="eager"
        )
        for name in names:
            a, b = whole[name].value[2 * n : 2 * n + 2], one[name].value
            assert torch.allclose(a, b, atol=2e-5, equal_nan=True), name
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_every_metric_judges_regions_of_a_segmentation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 1)).eval()
    clf = sl.Classifier(net, decision="segmentation", mean=MEAN, std=STD)
    x = pixels()
    explainer = sl.explainer("grad-cam", clf, layer="0")
    out = explainer(x)
    names = [m.name for m in sl.metrics() if m.family in ("faithfulness", "composite") or m.name == "complexity"]
    found = sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager")
    for record, _, values in found.records:
        low, high = record.range
        defined = values.value[~values.value.isnan()]
        assert len(defined) == sum(status in ("ok", "empty", "flat") for status in values.status), record.name
        assert len(defined) > 0, record.name
        if math.isfinite(high):
            assert float(defined.min()) >= low - 1e-9, record.name
            assert float(defined.max()) <= high + 1e-9, record.name


def test_eight_threads_agree():
    clf, explainer, x, out, _ = linear_case()
    names = ["adcc", "arcc", "road-combined", "aopc", "pixel-flipping", "infidelity", "sufficiency"]

    def values(_):
        found = sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager")
        return torch.stack([v.value for _, _, v in found.records])

    alone = values(0)
    with ThreadPoolExecutor(8) as pool:
        assert all(torch.allclose(alone, other, atol=1e-6) for other in pool.map(values, range(8)))

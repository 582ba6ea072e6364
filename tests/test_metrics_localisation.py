"""Localisation and complexity against slow references, laws, statuses, and Quantus on the same maps."""

import importlib.util
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars
import pytest
import torch

import reference_localisation as slow
import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.data import annotations
from sightline.errors import InputError, MetricError
from sightline.metrics.localisation.max_box_acc import best_threshold
from sightline.metrics.localisation.mosaics import mosaics
from sightline.studies.box_accuracy import box_accuracy

SIDE = 16
LOCAL = (
    "pointing-game",
    "energy-pointing-game",
    "energy-pointing-lift",
    "relevance-mass",
    "relevance-rank",
    "top-k-intersection",
    "iou",
)
SPREAD = ("sparseness", "entropy", "effective-complexity")
SHARES = LOCAL[:6]  # those that refuse a region of all pixels


def classifier(outputs=5, **settings) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs), size=SIDE, **settings)


def explanation(clf, x, maps, target=None, polarity="positive") -> sl.Explanation:
    """Any maps (N, h, w) as an explanation."""
    out = sl.explain(clf, x, method="uniform", target=target)
    assert len(out) == len(maps)
    kept = {n: getattr(out, n) for n in ("image", "targets", "score", "probability", "layers", "size")}
    return sl.Explanation(maps=maps, method="planted", polarity=polarity, signed=True, **kept)


def judge(maps, names, regions=None, boxes=None, polarity="positive", side=SIDE):
    clf, x = classifier(), images(len(maps), side)
    return sl.evaluate(clf, x, explanation(clf, x, maps, polarity=polarity), names, regions=regions, boxes=boxes)


def signed_maps(count=4, side=SIDE, seed=5):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def blobs(count=4, seed=6):
    """A rectangle a row, none of them the whole image."""
    M = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    places = torch.Generator().manual_seed(seed)
    for m in M:
        y, x, h, w = (int(torch.randint(1, 8, (), generator=places)) for _ in range(4))
        m[y : y + h, x : x + w] = True
    return M


@pytest.mark.parametrize("polarity", ["positive", "absolute"])
@pytest.mark.parametrize("side", [5, SIDE])
def test_regions_equal_their_definition(polarity, side):
    maps, M = signed_maps(side=side), blobs()
    names = [
        ("pointing-game", {"tolerance": 0}),
        ("pointing-game", {"tolerance": 3}),
        "energy-pointing-game",
        ("energy-pointing-game", {"corrected": True}),
        "energy-pointing-lift",
        "relevance-mass",
        ("iou", {"threshold": 0.3}),
        ("iou", {"rule": "best"}),
    ]
    found = judge(maps, names, M, polarity=polarity)
    for n in range(4):
        E, m = slow.energy(maps[n], polarity), M[n].tolist()
        S, R = slow.enlarged(slow.scaled(E), SIDE, SIDE), slow.enlarged(E, SIDE, SIDE)
        a = sum(map(sum, m)) / SIDE**2
        high = max(map(max, S))
        wanted = [
            slow.pointing(S, m, 0),
            slow.pointing(S, m, 3),
            slow.share(S, m),
            slow.share(S, m) * (1 - a),
            slow.share(S, m) / a,
            slow.share(R, m),
            slow.overlap(S, m, 0.3 * high),
            slow.best_overlap(S, m),
        ]
        got = [float(values.value[n]) for _, _, values in found.records]
        assert got == pytest.approx(wanted, abs=1e-6)


def test_a_miss_by_the_tolerance_is_a_miss():
    maps, M = torch.zeros(2, SIDE, SIDE), torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    maps[0, 5, 8], maps[1, 5, 7] = 1, 1
    M[:, 5, 5] = True  # 3 and 2 pixels away
    found = judge(maps, [("pointing-game", {"tolerance": t}) for t in (2, 3, 3.1)], M)
    assert [v.value.tolist() for _, _, v in found.records] == [[0, 0], [0, 1], [1, 1]]


def test_ranks_equal_their_definition():
    maps, M = signed_maps().abs() + 0.1, blobs()  # no two values are equal
    found = judge(maps, ["relevance-rank", ("top-k-intersection", {"k": 20}), ("iou", {"rule": "area"})], M)
    for n in range(4):
        S, m = slow.scaled(slow.rows(maps[n])), M[n].tolist()
        k = int(M[n].sum())
        t = sorted((v for line in S for v in line), reverse=True)[k - 1]
        wanted = [slow.top(S, m, k), slow.top(S, m, 20), slow.overlap(S, m, t)]
        assert [float(v.value[n]) for _, _, v in found.records] == pytest.approx(wanted, abs=1e-6)


def test_equals_count_as_a_random_order_would():
    maps, M = torch.zeros(1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.bool)
    maps[0, 0, :5] = torch.tensor([3.0, 1, 1, 1, 0.5])
    M[0, 0, [0, 2, 4]] = True
    orders = [o for o in itertools.permutations(range(5)) if [float(maps[0, 0, i]) for i in o] == [3, 1, 1, 1, 0.5]]
    assert len(orders) == 6
    for k in range(1, 6):
        wanted = sum(sum(bool(M[0, 0, i]) for i in o[:k]) for o in orders) / len(orders)
        found = judge(maps, [("top-k-intersection", {"k": k})], M)["top-k-intersection"]
        assert float(found.value) * k == pytest.approx(wanted)


@pytest.mark.parametrize("side", [4, SIDE])
def test_boxes_equal_their_definition(side):
    maps = signed_maps(side=side)
    boxes = [torch.tensor([[1.0, 2, 9, 13]]), torch.tensor([[0, 0, 5.5, 6], [4, 3, 15, 15.5]])] * 2
    found = judge(maps, [("max-box-acc", {"steps": 10, "overlap": 0.3, "threshold": None})], boxes=boxes)
    found = found["max-box-acc"]
    for n in range(4):
        S = slow.enlarged(slow.scaled(slow.energy(maps[n], "positive")), SIDE, SIDE)
        high = max(map(max, S))
        curve = []
        for step in range(11):
            guessed = slow.largest_box(S, min(step / 10 * high, high))
            curve.append(max(slow.box_overlap(guessed, box) for box in boxes[n].tolist()))
        assert found.curve[n].tolist() == pytest.approx(curve, abs=1e-6)
        assert float(found.value[n]) == float(max(curve) >= 0.3)


def test_one_threshold_for_all_images():
    curve = torch.tensor([[0.2, 0.6, 0.1], [0.1, 0.4, 0.7], [0.1, 0.5, 0.5]])
    assert best_threshold(curve) == (pytest.approx(2 / 3), 0.5)
    assert best_threshold(curve, overlap=0.65) == (pytest.approx(1 / 3), 1.0)
    maps, boxes = signed_maps(), [torch.tensor([[1.0, 2, 9, 13]])] * 4
    settings = [{"threshold": None}, {"threshold": 0.4}, {}]
    found = judge(maps, [("max-box-acc", s) for s in settings], boxes=boxes)
    best, fixed, default = (values for _, _, values in found.records)
    assert fixed.value.tolist() == (best.curve[:, 40] >= 0.5).double().tolist()
    assert default.value.tolist() == (best.curve[:, 20] >= 0.5).double().tolist()
    assert bool((best.value >= fixed.value).all())
    assert float(fixed.value.mean()) <= best_threshold(best.curve)[0] <= float(best.value.mean())
    with pytest.raises(MetricError, match="one row or more"):
        best_threshold(torch.zeros(0, 3))


def runs(curves, status=None):
    """Rows and curves of a benchmark of two methods, as it keeps them."""
    keys = [{"model": "m", "image_index": i, "target": "t", "method": name, "metric": "max-box-acc", "seed": 0}
            for name in curves for i in range(len(curves[name]))]  # fmt: skip
    found = [c for name in curves for c in curves[name]]
    rows = polars.DataFrame([k | {"status": (status or {}).get(k["image_index"], "ok")} for k in keys])
    return rows, polars.DataFrame([k | {"curve": c} for k, c in zip(keys, found, strict=True)])


def test_box_accuracy_of_a_benchmark():
    curves = {
        "a": [[0.6, 0.1, 0.1], [0.1, 0.9, 0.1], [0.7, 0.1, 0.1], [0.1, 0.8, 0.6], [0.9, 0.9, 0.9]],
        "b": [[0.1, 0.1, 0.5]] * 5,
    }
    a, b = box_accuracy(*runs(curves)).to_dicts()
    # a: thresholds 0, 0.5, 1 hit 3, 3, 2 of 5. The even images would take 0, which hits no odd one; the odd ones
    # would take 0.5, which hits the last even one.
    assert (a["method"], a["threshold"], a["max_box_acc"], a["held_out"]) == ("a", 0.0, 0.6, 0.2)
    assert (b["method"], b["threshold"], b["max_box_acc"], b["held_out"], b["rows"]) == ("b", 1.0, 1.0, 1.0, 5)
    a, _ = box_accuracy(*runs(curves), overlap=0.85).to_dicts()
    assert (a["threshold"], a["max_box_acc"]) == (0.5, 0.4)
    a, _ = box_accuracy(*runs(curves, {1: "refused", 3: "error", 4: "empty"})).to_dicts()
    assert (a["rows"], a["max_box_acc"], a["held_out"]) == (3, 1.0, None)
    with pytest.raises(InputError, match="no value of max-box-acc"):
        box_accuracy(*runs(curves, dict.fromkeys(range(5), "refused")))


@pytest.mark.parametrize("polarity", ["positive", "absolute"])
def test_spread_equals_its_definition(polarity):
    maps = signed_maps(2, 7)
    names = [
        *((name, {"at": "map"}) for name in SPREAD),
        *SPREAD,
        ("entropy", {"normalised": True}),
        ("effective-complexity", {"eps": 0.3, "share": True, "at": "map"}),
    ]
    found = judge(maps, names, polarity=polarity)
    for n in range(2):
        E = slow.energy(maps[n], polarity)
        wanted = []
        for S in (E, slow.enlarged(E, SIDE, SIDE)):
            high = max(map(max, S))
            wanted += [slow.gini(S), slow.entropy(S), sum(v > 0.01 * high for line in S for v in line)]
        wanted.append(slow.entropy(S) / math.log(SIDE**2))
        wanted.append(sum(v > 0.3 * max(map(max, E)) for line in E for v in line) / 49)
        assert [float(v.value[n]) for _, _, v in found.records] == pytest.approx(wanted, rel=1e-5)


def test_a_flat_map_gets_chance_everywhere():
    M = blobs()
    found = judge(torch.full((4, 3, 3), 0.7), [n for n in LOCAL if n != "iou"], M)
    for record, _, values in found.records:
        assert torch.allclose(values.value, values.chance, atol=1e-6), record.name
        assert set(values.status) == {"flat"}
    a = M.double().mean((1, 2))
    assert torch.allclose(found["energy-pointing-game"].chance, a)
    assert torch.allclose(found["energy-pointing-lift"].chance, torch.ones(4, dtype=torch.float64))
    assert bool((found["pointing-game"].chance > a).all())  # the tolerance counts
    assert found.rows()[0]["chance"] == pytest.approx(float(found["pointing-game"].chance[0]))


def test_random_maps_get_chance_on_average():
    M = blobs(1, seed=2).expand(300, -1, -1)
    found = judge(torch.rand(300, SIDE, SIDE, generator=torch.Generator().manual_seed(0)), list(SHARES), M)
    for record, _, values in found.records:
        spread = float(values.value.std()) / math.sqrt(300)
        assert abs(float((values.value - values.chance).mean())) < 4 * spread + 1e-9, record.name


def test_every_status():
    zero, flat, dot = torch.zeros(SIDE, SIDE), torch.ones(SIDE, SIDE), torch.zeros(SIDE, SIDE)
    dot[3, 4] = 2.0
    maps, M = torch.stack([zero, flat, dot, -dot]), torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    M[:, 2:6, 2:6] = True
    boxes = [torch.tensor([[2.0, 2, 6, 6]])] * 4
    found = judge(maps, [*LOCAL, "max-box-acc", *SPREAD], M, boxes)
    for record, _, values in found.records:
        undefined = record.name in ("sparseness", "entropy")
        empty = "undefined" if undefined else "empty"
        assert values.status == (empty, "flat", "ok", empty), record.name
        assert values.value.isnan().tolist() == [undefined, False, False, undefined], record.name
        if not undefined:
            assert values.value[0] == values.value[3] == 0, record.name
        if record.name in ("pointing-game", "energy-pointing-game", "relevance-mass"):
            assert values.value[2] == 1, record.name
    P = SIDE**2
    assert found["sparseness"].value[1:3].tolist() == pytest.approx([0, 1 - 1 / P])
    assert found["entropy"].value[1:3].tolist() == pytest.approx([math.log(P), 0])
    assert found["effective-complexity"].value[1:3].tolist() == [P, 1]
    assert found["top-k-intersection"].value[2] == pytest.approx(1 / 6 + 5 / 6 * 15 / (P - 1))
    absolute = judge(maps, list(LOCAL), M, polarity="absolute")
    assert all(values.status[3] == "ok" for _, _, values in absolute.records)
    assert absolute["relevance-mass"].value[3] == 1


@pytest.mark.parametrize("name", [*LOCAL, "grid-pointing-game"])
def test_regions_of_nothing_and_of_everything(name):
    M = blobs(3)
    M[0], M[1] = False, True
    values = judge(signed_maps(3), [name], M)[name]
    full = "ok" if name == "iou" else "refused"
    assert values.status == ("refused", full, "refused" if name.startswith("grid") else "ok")
    assert values.value.isnan().tolist() == [s == "refused" for s in values.status]
    if values.chance is not None:
        assert values.chance.isnan().tolist() == [s == "refused" for s in values.status]


def test_an_image_without_boxes_is_refused():
    boxes = [torch.empty(0, 4), torch.tensor([[1.0, 1, 8, 8]])]
    found = judge(signed_maps(2), ["max-box-acc", *LOCAL], boxes=boxes)
    for record, _, values in found.records:
        assert values.status == ("refused", "ok"), record.name


def test_boxes_stand_in_for_regions():
    boxes = [torch.tensor([[1.2, 2.5, 8.6, 9]]), torch.tensor([[0.0, 0, 4, 4], [3, 3, 7, 16]])]
    M = torch.stack([slow.as_mask(slow.inside_boxes(b.tolist(), SIDE, SIDE)) for b in boxes])
    a, b = judge(signed_maps(2), list(LOCAL), boxes=boxes), judge(signed_maps(2), list(LOCAL), M)
    for name in LOCAL:
        assert torch.equal(a[name].value, b[name].value), name


def test_what_scaling_and_offsets_change():
    maps, M = signed_maps().abs(), blobs()
    base = judge(maps, list(LOCAL), M)
    scaled, offset = judge(3 * maps, list(LOCAL), M), judge(maps + 5, list(LOCAL), M)
    bent = judge(maps**3, list(LOCAL), M)
    for name in LOCAL:
        assert torch.allclose(base[name].value, scaled[name].value, atol=1e-5), name
        assert torch.allclose(base[name].value, offset[name].value, atol=1e-5) == (name != "relevance-mass"), name
    for name in ("pointing-game", "relevance-rank", "top-k-intersection"):
        assert torch.allclose(base[name].value, bent[name].value, atol=1e-6), name


def test_an_offset_drowns_mass():
    M = torch.zeros(1, 20, 20, dtype=torch.bool)
    M[:, 4:8, 4:8] = True  # 0.04 of the image
    for offset, wanted in ((0, 1.0), (0.1, 0.31), (1.0, 0.08)):
        found = judge(M.float() + offset, ["relevance-mass", "energy-pointing-game"], M, side=20)
        assert float(found["relevance-mass"].value) == pytest.approx(wanted, abs=0.015)
        assert float(found["energy-pointing-game"].value) == pytest.approx(1.0)


def test_truth_beats_chance_and_chance_beats_the_contrary():
    M = blobs()
    boxes = [
        torch.tensor([[int(m.any(0).nonzero()[0]), int(m.any(1).nonzero()[0]),
                       int(m.any(0).nonzero()[-1]) + 1, int(m.any(1).nonzero()[-1]) + 1]]) for m in M
    ]  # fmt: skip
    noise = torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    names = [("pointing-game", {"tolerance": 0}), *LOCAL[1:], ("max-box-acc", {"threshold": 0.5})]
    means = [
        [float(v.value.mean()) for _, _, v in judge(maps, names, M, boxes).records]
        for maps in (M + 0.5 * noise, noise, ~M + 0.5 * noise)
    ]
    for name, truth, chance, contrary in zip(names, *means, strict=True):
        assert truth > chance >= contrary, name
        assert truth > contrary, name


def test_a_batch_is_a_loop_and_eight_threads_agree():
    net, x, maps, M = seeded(ConvNet, 5), images(3), signed_maps(3), blobs(3)
    clf = sl.Classifier(net, size=SIDE)
    boxes = [torch.tensor([[1.0, 2, 9, 13]])] * 3
    names = [*LOCAL, "max-box-acc", *SPREAD]
    before = {k: v.clone() for k, v in net.state_dict().items()}

    def ask(rows):
        out = explanation(clf, x[rows], maps[rows])
        return sl.evaluate(clf, x[rows], out, names, regions=M[rows], boxes=boxes[rows])

    whole = ask(slice(0, 3))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, [slice(n % 3, n % 3 + 1) for n in range(8)]))
    for n, one in enumerate(found):
        for name in names:
            assert torch.equal(whole[name].value[n % 3], one[name].value[0]), name
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_every_kind_of_target():
    M = blobs(2)
    settings = [
        (classifier(), sl.Category(2)),
        (classifier(1, decision="binary"), sl.Attribute(0, +1)),
        (classifier(1, decision="binary"), sl.Attribute(0, -1)),
        (classifier(decision="multilabel"), sl.Attribute(3, -1)),
        (sl.Classifier(seeded(Segmenter), decision="segmentation", size=SIDE), sl.Region(1, M[0])),
    ]
    found = []
    for clf, target in settings:
        out = explanation(clf, images(2), signed_maps(2), target)
        found.append(sl.evaluate(clf, images(2), out, [*LOCAL, *SPREAD], regions=M))
    for other in found[1:]:
        for name in (*LOCAL, *SPREAD):
            assert torch.equal(found[0][name].value, other[name].value), name


def test_quantus_agrees_on_the_same_maps():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    maps, M = signed_maps().abs() + 0.01, blobs()
    names = ["relevance-mass", "relevance-rank", ("top-k-intersection", {"k": 30}), ("pointing-game", {"tolerance": 0})]
    names += ["sparseness", "entropy", ("effective-complexity", {"eps": 0.2})]
    found = judge(maps, names, M)
    theirs = [
        (quantus.RelevanceMassAccuracy, {}, maps),
        (quantus.RelevanceRankAccuracy, {}, maps),
        (quantus.TopKIntersection, {"k": 30}, maps),
        (quantus.PointingGame, {}, maps),
        (quantus.Sparseness, {}, maps),
        (quantus.Complexity, {}, maps),
        (quantus.EffectiveComplexity, {"eps": 0.2}, maps / maps.amax((1, 2), keepdim=True)),
    ]
    for (record, _, values), (kind, settings, given) in zip(found.records, theirs, strict=True):
        judge_of_theirs = kind(**settings, disable_warnings=True, normalise=False, abs=False)
        arrays = {"s_batch": M.numpy(), "x_batch": np.zeros((4, 3, SIDE, SIDE))}
        wanted = judge_of_theirs.evaluate_batch(a_batch=given.double().numpy().copy(), **arrays)
        wanted = np.asarray(wanted, dtype=float)
        np.testing.assert_allclose(values.value.numpy(), wanted, rtol=1e-5, atol=1e-5, err_msg=record.name)


def test_quantus_lets_a_flat_map_hit():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    M, flat = blobs(), torch.ones(4, SIDE, SIDE)
    theirs = quantus.PointingGame(disable_warnings=True).evaluate_batch(a_batch=flat.numpy(), s_batch=M.numpy())
    assert np.asarray(theirs).all()
    ours = judge(flat, [("pointing-game", {"tolerance": 0})], M)["pointing-game"].value
    assert torch.allclose(ours, M.double().mean((1, 2)))


class Colours(torch.nn.Module):
    """Sure of the class whose colour an image has most of: four classes, red, green, blue and dark."""

    def forward(self, x):
        mean = x.mean((2, 3))
        return 40 * torch.cat([mean, 0.5 - mean.amax(1, keepdim=True)], 1)


def colours(count=12):
    """Images of one colour, of classes 0, 1, 2, 3, 0, 1, ..., and how sure the net is of them grows."""
    x = 0.02 * images(count, 8)
    for i in range(count):
        if i % 4 < 3:
            x[i, i % 4] += 0.5 + 0.02 * i
    return x


def test_mosaics_show_what_they_say():
    clf, x = sl.Classifier(Colours().eval(), size=16), colours()
    grid = mosaics(clf, x)
    assert grid.pixels.shape == (3, 3, 16, 16)
    assert sorted(grid.sources.flatten().tolist()) == list(range(12))  # each image once
    for m in range(3):
        classes = [int(i) % 4 for i in grid.sources[m]]
        assert sorted(classes) == [0, 1, 2, 3]
        assert [t.category for t in grid.targets[m].items] == classes
        for cell, i in enumerate(grid.sources[m].tolist()):
            r = grid.regions[4 * m + cell]
            assert int(r.sum()) == 64
            y, x0 = (int(v) for v in r.nonzero()[0])
            assert (y, x0) == (cell // 2 * 8, cell % 2 * 8)
            assert torch.equal(grid.pixels[m][:, y : y + 8, x0 : x0 + 8], x[i])
    again = mosaics(clf, x)
    assert torch.equal(again.sources, grid.sources)
    assert not torch.equal(mosaics(clf, x, seed=1).sources, grid.sources)
    assert mosaics(clf, x, size=(16, 12)).pixels.shape == (3, 3, 16, 12)
    assert len(mosaics(clf, x, count=8).pixels) == 8
    assert len(mosaics(clf, x, count=2).pixels) == 2


def test_mosaics_take_only_images_that_the_classifier_is_sure_of():
    clf, x = sl.Classifier(Colours().eval(), size=16), colours()
    wrong = torch.arange(12) % 4
    wrong[0] = 1
    assert 0 not in mosaics(clf, x, truth=wrong).sources.flatten().tolist()
    x[1] = 0.4  # grey: no class is likely
    assert 1 not in mosaics(clf, x).sources.flatten().tolist()
    with pytest.raises(MetricError, match="needs 9 classes, but of 12 images"):
        mosaics(clf, x, cells=3)
    with pytest.raises(MetricError, match="multiples of 2"):
        mosaics(clf, x, size=(15, 16))
    with pytest.raises(MetricError, match="chooses one category, not a multilabel one"):
        mosaics(classifier(decision="multilabel"), images(4))


def test_the_grid_pointing_game():
    clf = sl.Classifier(Colours().eval(), size=16)
    grid = mosaics(clf, colours())
    uniform = sl.explain(clf, grid.pixels, method="uniform", target=grid.targets)
    assert len(uniform) == 12
    kept = {n: getattr(uniform, n) for n in ("image", "targets", "score", "probability", "layers", "size")}
    noise = torch.randn(12, 16, 16, generator=torch.Generator().manual_seed(4))
    maps = {"truth": grid.regions.float() - 0.2, "blind": noise[::4].repeat_interleave(4, 0), "noise": noise}
    for name, given in maps.items():
        out = sl.Explanation(maps=given, method=name, polarity="positive", signed=True, **kept)
        found = sl.evaluate(clf, grid.pixels, out, ["grid-pointing-game"], regions=grid.regions)["grid-pointing-game"]
        assert set(found.status) == {"ok"}
        assert found.chance.tolist() == [0.25] * 12
        wanted = [slow.share(slow.energy(g, "positive"), r.tolist()) for g, r in zip(given, grid.regions, strict=True)]
        assert found.value.tolist() == pytest.approx(wanted, abs=1e-6)
        if name == "truth":
            assert found.value.tolist() == [1] * 12
        if name == "blind":  # a map that does not know the class shares all of its heat among the four
            assert float(found.value.mean()) == pytest.approx(0.25)


def test_maps_with_nan_are_refused_before_anything_is_asked():
    for wrong in (math.nan, math.inf):
        maps = signed_maps(3)
        maps[1, 2, 3] = wrong
        with pytest.raises(InputError, match=r"maps of rows \[1\] hold NaN"):
            judge(maps, ["pointing-game"], blobs(3))


def test_settings_and_needs_are_checked():
    maps, M = signed_maps(1), blobs(1)
    wrong = {
        "tolerance is a distance": ("pointing-game", {"tolerance": -1}),
        "k is a number of pixels": ("top-k-intersection", {"k": 0}),
        "k is a number of pixels from 1 to 256": ("top-k-intersection", {"k": 257}),
        "rule must be": ("iou", {"rule": "otsu"}),
        "threshold is a share": ("iou", {"threshold": 0}),
        "eps is a share": ("effective-complexity", {"eps": 1}),
        "at must be": ("sparseness", {"at": "layer"}),
    }
    for text, spec in wrong.items():
        with pytest.raises(MetricError, match=text):
            judge(maps, [spec], M)
    for settings in ({"steps": 0}, {"overlap": 0}, {"threshold": 2}):
        with pytest.raises(MetricError, match=r"from 0 to 1|steps is 1 or more"):
            judge(maps, [("max-box-acc", settings)], boxes=[torch.tensor([[1.0, 1, 3, 3]])])
    with pytest.raises(MetricError, match="give regions="):
        judge(maps, ["pointing-game"])
    with pytest.raises(MetricError, match="give boxes="):
        judge(maps, ["max-box-acc"], M)
    with pytest.raises(InputError, match="left < right"):
        judge(maps, ["max-box-acc"], boxes=[torch.tensor([[5.0, 1, 3, 3]])])


@pytest.mark.real
def test_a_real_network_plays_the_grid_pointing_game(assets):
    spec = importlib.util.spec_from_file_location("zoo", assets / "models" / "zoo.py")
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    net, mean, std, size = zoo.load("mobilenet_v2")
    clf = sl.Classifier(net, mean=mean, std=std, size=size)
    records = annotations.imagenet(assets / "imagenet_sample", classes=assets / "imagenet_classes.csv")[::25]
    (batch,) = annotations.load(records, size=size, batch_size=12)
    truth = [record.label for record in batch.records]
    grid = mosaics(clf, batch.pixels, truth=truth, confidence=0.5, size=(size, size))
    assert len(grid.pixels) >= 2
    means = {}
    for method in ("grad-cam", "uniform"):
        out = sl.explain(clf, grid.pixels, method=method, target=grid.targets)
        found = sl.evaluate(clf, grid.pixels, out, ["grid-pointing-game"], regions=grid.regions)
        means[method] = float(found["grid-pointing-game"].value.mean())
    assert means["uniform"] == pytest.approx(0.25)
    assert means["grad-cam"] > 0.4

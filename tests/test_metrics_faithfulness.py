"""Perturbation curves, imputation, correlational faithfulness and composites against slow float64 references."""

import math
from itertools import chain

import pytest
import torch
from torch import nn

import reference_metrics_faithfulness as slow
import sightline as sl
from sightline.errors import MetricError
from sightline.metrics import Session, Trial
from sightline.metrics.faithfulness._multigrid import fill
from sightline.metrics.metric import find

SIZE = 12
MEAN, STD = [0.4, 0.5, 0.3], [0.2, 0.25, 0.3]


class Scorer(nn.Module):
    """A small network without symmetries."""

    def __init__(self, outputs=4):
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(5, outputs)

    def forward(self, x):
        return 4 * self.head(self.features(x).mean((2, 3)))


class Linear(nn.Module):
    """One logit, a weighted sum of the pixels."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) / SIZE)

    def forward(self, x):
        return (x * self.w).sum((1, 2, 3))[:, None]


def classifier(outputs=4, net=Scorer, **settings):
    settings = {"decision": "categorical", "mean": MEAN, "std": STD} | settings
    return sl.Classifier((net(outputs) if net is Scorer else net()).eval(), **settings)


def pixels(count=3):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def maps_of(count=3, side=SIZE):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(5))


def planted(clf, x, maps, target=None):
    """Any maps (N, h, w) as an explanation."""
    out = sl.explain(clf, x, method="uniform", target=target)
    assert len(out) == len(maps)
    kept = {n: getattr(out, n) for n in ("image", "targets", "score", "probability", "layers", "size")}
    return sl.Explanation(maps=maps, method="planted", polarity="positive", signed=True, **kept)


def margin(image, c):
    """Slow float64 log-odds of class c of one image in pixel space."""
    net = Scorer().double().eval()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        y = net((image.double()[None] - mean) / std)[0]
    return float(y[c] - torch.cat([y[:c], y[c + 1 :]]).logsumexp(0))


def probability(image, c):
    return float(torch.tensor(margin(image, c), dtype=torch.float64).sigmoid())


# Imputation


def holes_of(kind, H=37, W=50):
    rows, columns = torch.arange(H)[:, None].expand(H, W), torch.arange(W).expand(H, W)
    generator = torch.Generator().manual_seed(4)
    blobs = torch.nn.functional.interpolate(torch.rand(1, 1, 5, 5, generator=generator), (H, W), mode="bilinear")[0, 0]
    return {
        "dust": torch.rand(H, W, generator=generator) < 0.6,
        "blobs": blobs > blobs.median(),
        "almost all": blobs > blobs.flatten().kthvalue(20).values,
        "stripes": columns % 2 == 0,
        "two pixels known": ~(((rows == 3) & (columns == 5)) | ((rows == 30) & (columns == 44))),
        "one pixel": (rows == 0) & (columns == 0),
        "none": torch.zeros(H, W, dtype=torch.bool),
    }[kind]


@pytest.mark.parametrize("kind", ["dust", "blobs", "almost all", "stripes", "two pixels known", "one pixel", "none"])
def test_imputation_equals_a_direct_solution(kind):
    hole = holes_of(kind)
    image = torch.rand(3, *hole.shape, generator=torch.Generator().manual_seed(6))
    found = fill(image[None], hole[None])[0]
    assert torch.equal(found[:, ~hole], image[:, ~hole])
    assert float((found - slow.imputed(image, hole)).abs().max()) < 1e-4


@pytest.mark.parametrize("size", [(1, 9), (2, 2), (3, 5), (17, 4), (8, 64)])
def test_imputation_of_any_size(size):
    image = torch.rand(2, *size, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    hole = torch.rand(size, generator=torch.Generator().manual_seed(7)) < 0.5
    hole[0, 0] = False
    found = fill(image[None], hole[None], accuracy=1e-9)[0]
    assert float((found - slow.imputed(image, hole)).abs().max()) < 1e-8


def test_imputation_of_a_batch_is_a_loop_and_stops_for_each_image():
    kinds = ["dust", "blobs", "almost all", "two pixels known"]
    holes = torch.stack([holes_of(kind) for kind in kinds])
    images = torch.rand(4, 3, *holes.shape[1:], generator=torch.Generator().manual_seed(6))
    whole = fill(images, holes)
    for n in range(4):
        assert torch.allclose(whole[n], fill(images[n : n + 1], holes[n : n + 1])[0], atol=1e-5)


def test_imputation_keeps_to_the_values_around_it():
    hole = holes_of("blobs")
    image = torch.rand(3, *hole.shape, generator=torch.Generator().manual_seed(6))
    image[:, hole] = 1e3  # what stands in holes does not matter
    found = fill(image[None], hole[None])[0]
    known = image[:, ~hole]
    assert float(found.max()) <= float(known.max()) + 1e-4
    assert float(found.min()) >= float(known.min()) - 1e-4


def test_imputation_refuses_what_it_cannot_fill():
    hole = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(MetricError, match="without a single known pixel"):
        fill(torch.rand(1, 3, 4, 4), hole)
    hole[0, 0] = False
    with pytest.raises(MetricError, match="finite"):
        fill(torch.full((1, 3, 4, 4), torch.nan), hole)


def test_imputation_agrees_with_pytorch_grad_cam():
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    hole = holes_of("blobs", 24, 31)
    image = torch.rand(3, 24, 31, generator=torch.Generator().manual_seed(6))
    theirs = road.NoisyLinearImputer(noise=0.0)(image, (~hole).float())
    assert float((fill(image[None], hole[None], accuracy=1e-6)[0] - theirs).abs().max()) < 1e-5


# ROAD


def test_road_equals_its_definition():
    clf, x, maps, shares = classifier(), pixels(2), maps_of(2), (0, 25, 60)
    out = planted(clf, x, maps)
    asked = [("road", {"order": o, "percentages": shares, "noise": 0.0}) for o in ("morf", "lerf")]
    asked.append(("road-combined", {"percentages": shares, "noise": 0.0}))
    found = sl.evaluate(clf, x, out, asked, backend="eager").records
    for n in range(2):
        c, curves = out.targets[n].category, []
        for S in (maps[n], -maps[n]):
            holes = [slow.mask_of(S, slow.hottest(S, round(SIZE * SIZE * q / 100))) for q in shares]
            curves.append([probability(slow.imputed(x[n], hole), c) for hole in holes])
        morf, lerf = torch.tensor(curves, dtype=torch.float64)
        assert torch.allclose(found[0][2].curve[n], morf, atol=1e-4)
        assert torch.allclose(found[1][2].curve[n], lerf, atol=1e-4)
        assert float(found[0][2].value[n]) == pytest.approx(float(morf.mean()), abs=1e-4)
        assert float(found[2][2].value[n]) == pytest.approx(float((lerf - morf).mean() / 2), abs=1e-4)


def test_road_without_removal_is_the_probability_bit_for_bit():
    clf, x = classifier(), pixels()
    out = planted(clf, x, maps_of())
    trial = Trial(Session(clf, x), out)
    found = find("road").function(trial, percentages=(0,))
    assert torch.equal(found.value, trial.margin().sigmoid())
    assert trial.session.asking.passes == 0


def test_road_draws_one_noise_an_image_and_percentage():
    """Two maps that remove the same pixels in another order see the same noise; another seed or share sees another."""
    clf, x, maps = classifier(), pixels(), maps_of()
    half = maps > maps.flatten(1).median(1).values[:, None, None]
    warped = torch.where(half, 0.5 + maps / 2, maps**3 / 8)
    settings = {"percentages": (50, 25), "noise": 0.2}

    def road(maps, **more):
        return sl.evaluate(clf, x, planted(clf, x, maps), [("road", settings)], backend="eager", **more)["road"].curve

    assert torch.equal(road(maps), road(warped))
    assert not torch.allclose(road(maps), road(maps, seed=1), atol=1e-4)


def test_road_runs_once_for_all_that_use_it():
    clf, x = classifier(), pixels()
    session = Session(clf, x)
    trial = Trial(session, planted(clf, x, maps_of()))
    for name in ("road", "road-combined"):
        find(name).function(trial)
    assert session.asking.passes == 2 * 4 * 3


@pytest.mark.parametrize("shares", [(100,), (-1,), (20, 99.9), ()])
def test_road_refuses_percentages_that_leave_nothing(shares):
    clf, x = classifier(), pixels()
    with pytest.raises(MetricError, match="percentages"):
        sl.evaluate(clf, x, planted(clf, x, maps_of()), [("road", {"percentages": shares})])


def test_road_knows_its_direction_and_its_cost():
    record = find("road")
    assert record.better({"order": "morf"}) == "down"
    assert record.better({"order": "lerf"}) == "up"
    assert record.forwards({**record.settings, "percentages": (0, 20, 40)}, (8, 8)) == 2
    clf, x = classifier(), pixels()
    out = planted(clf, x, maps_of())
    with pytest.raises(MetricError, match="most relevant first"):
        sl.evaluate(clf, x, out, [("road", {"order": "most"})])


# Regions


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


# Composites


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

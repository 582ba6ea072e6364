"""Metrics against slow float64 references, and the laws that every one of them obeys."""

import math

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InputError, MetricError
from sightline.explainers.masking._options import Options
from sightline.metrics import Session, Trial, metrics
from sightline.metrics.faithfulness._curves import area

SIZE = 12


class Scorer(nn.Module):
    """A small network without symmetries."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(5, outputs)

    def forward(self, x):
        return 4 * self.head(self.features(x).mean((2, 3)))


def classifier(outputs: int = 4, **settings) -> sl.Classifier:
    settings = {"decision": "categorical"} | settings
    return sl.Classifier(Scorer(outputs).eval(), mean=[0.4, 0.5, 0.3], std=[0.2, 0.25, 0.3], **settings)


def pixels(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def explanation(clf, x, maps, target=None) -> sl.Explanation:
    """Any maps (N, h, w) as an explanation."""
    out = sl.explain(clf, x, method="uniform", target=target)
    assert len(out) == len(maps)
    kept = {n: getattr(out, n) for n in ("image", "targets", "score", "probability", "layers", "size")}
    return sl.Explanation(maps=maps, method="planted", polarity="positive", signed=True, **kept)


def probability(clf, x, c):
    """Slow float64 softmax of one image in pixel space."""
    net = Scorer(clf.width).double().eval()
    mean, std = (v.double().reshape(1, 3, 1, 1) for v in (clf.mean, clf.std))
    with torch.no_grad():
        return float(net((x.double()[None] - mean) / std).softmax(1)[0, c])


def maps_of(count=3, side=SIZE):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(5))


def scaled(S):
    return (S - S.min()) / (S.max() - S.min())


def kept_top(S, keep):
    """The ceil(keep * n) hottest pixels stay soft (all values differ here)."""
    values = sorted(S.flatten().tolist(), reverse=True)
    least = values[math.ceil(keep * len(values)) - 1]
    return S * (least <= S)


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.15])
def test_soft_masking_equals_its_definition(keep):
    clf, x, maps = classifier(), pixels(), maps_of()
    out = explanation(clf, x, maps)
    names = ("average-drop", "increase-in-confidence", "average-gain", "average-drop-deletion")
    found = sl.evaluate(clf, x, out, [(n, {"keep": keep}) for n in names], backend="eager")
    for n in range(len(out)):
        c = out.targets[n].category
        S = kept_top(scaled(maps[n].double()), keep)
        o, p = probability(clf, x[n], c), probability(clf, x[n] * S, c)
        q = probability(clf, x[n] * (1 - S), c)
        wanted = max(0, o - p) / o, float(p > o), max(0, p - o) / (1 - o), max(0, o - q) / o
        got = [float(found[name].value[n]) for name in names]
        assert got == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("name", ["insertion", "deletion"])
@pytest.mark.parametrize("steps", [5, 12, 144])
def test_curves_equal_their_definition(name, steps):
    clf, x, maps = classifier(), pixels(2), maps_of(2)
    out = explanation(clf, x, maps)
    found = sl.evaluate(clf, x, out, [(name, {"steps": steps, "fill": "black"})], backend="eager")[name]
    for n in range(2):
        order = maps[n].flatten().argsort(descending=True)
        curve = []
        for t in range(steps + 1):
            top = torch.zeros(SIZE * SIZE)
            top[order[: math.ceil(SIZE * SIZE * t / steps)]] = 1
            M = top.reshape(SIZE, SIZE) if name == "insertion" else 1 - top.reshape(SIZE, SIZE)
            curve.append(probability(clf, x[n] * M, out.targets[n].category))
        assert found.curve[n].tolist() == pytest.approx(curve, abs=1e-5)
        h = torch.tensor(curve)
        assert float(found.value[n]) == pytest.approx(float(torch.trapezoid(h) / steps), abs=1e-5)


def test_all_ones_and_end_points():
    clf, x = classifier(), pixels()
    out = sl.explain(clf, x, method="uniform")
    found = sl.evaluate(
        clf, x, out, ["average-drop", "average-gain", "increase-in-confidence", "deletion", "insertion"]
    )
    for name in ("average-drop", "average-gain", "increase-in-confidence"):
        assert float(found[name].value.abs().max()) < 1e-6
        assert set(found[name].status) == {"flat"}
    o = out.probability.double()
    assert torch.allclose(found["deletion"].curve[:, 0], o, atol=1e-6)
    assert torch.allclose(found["insertion"].curve[:, -1], o, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_a_map_of_ones_changes_nothing_whatever_runs_the_passes(backend, precision):
    """The unaltered image is asked as the altered ones are; rounding is no drop, and above all no increase."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    clf, x = classifier(), pixels(7)
    session = Session(clf, x, options=Options(precision=precision, backend=backend, chunk=3))
    found = sl.evaluate(
        clf, x, sl.explain(clf, x, method="uniform"), ["average-drop", "increase-in-confidence"], session=session
    )
    assert found["average-drop"].value.tolist() == [0] * 7
    assert found["increase-in-confidence"].value.tolist() == [0] * 7
    rounded = not torch.equal(session.answers(), session.outputs())
    assert rounded == (precision == "bfloat16")  # decisions are made in the classifier's own precision


def test_batch_is_loop():
    clf, x = classifier(), pixels()
    names = [m.name for m in metrics() if not m.needs and m.family in ("faithfulness", "complexity")]
    whole = sl.evaluate(clf, x, explanation(clf, x, maps_of()), names, backend="eager")
    for n in range(3):
        one = sl.evaluate(
            clf, x[n : n + 1], explanation(clf, x[n : n + 1], maps_of()[n : n + 1]), names, backend="eager"
        )
        for name in names:
            assert torch.allclose(whole[name].value[n], one[name].value[0], atol=1e-5, equal_nan=True), name


def test_an_attribute_and_its_opposite_on_the_negated_model():
    class Negated(Scorer):
        def forward(self, x):
            return -super().forward(x)

    x, maps = pixels(), maps_of()
    settings = {"decision": "multilabel", "mean": [0.4, 0.5, 0.3], "std": [0.2, 0.25, 0.3]}
    plus, minus = sl.Classifier(Scorer().eval(), **settings), sl.Classifier(Negated().eval(), **settings)
    names = [
        m.name for m in metrics() if not m.needs and m.family in ("faithfulness", "complexity") and not m.decisions
    ]
    a = sl.evaluate(plus, x, explanation(plus, x, maps, sl.Attribute(1, +1)), names, backend="eager")
    b = sl.evaluate(minus, x, explanation(minus, x, maps, sl.Attribute(1, -1)), names, backend="eager")
    for name in names:
        assert torch.allclose(a[name].value, b[name].value, atol=1e-5, equal_nan=True), name


def test_saturated_probabilities_still_have_a_gain():
    class Sure(Scorer):
        def forward(self, x):
            return 60 * super().forward(x)

    clf = sl.Classifier(Sure().eval(), decision="categorical")
    x = pixels()
    out = explanation(clf, x, maps_of())
    assert float(out.probability.max()) == 1.0  # float32 has no room above
    found = sl.evaluate(clf, x, out, ["average-gain", "average-drop", "increase-in-confidence"])
    assert all(bool(v.value.isfinite().all()) for _, _, v in found.records)


def test_single_logit_in_both_directions_is_not_constant():
    clf = classifier(1, decision="binary")
    x = pixels()
    for sign in (1, -1):
        out = explanation(clf, x, maps_of(), sl.Attribute(0, sign))
        found = sl.evaluate(clf, x, out, ["deletion", "average-drop"], backend="eager")
        assert float(found["deletion"].curve.std()) > 1e-4
        assert found["deletion"].value.unique().numel() == 3


def test_ties_are_broken_by_the_image_alone_and_not_in_raster_order():
    clf, x = classifier(), pixels()
    maps = torch.zeros(3, SIZE, SIZE)
    maps[:, 5:7, 5:7] = 1
    a = Trial(Session(clf, x), explanation(clf, x, maps)).order()
    b = Trial(Session(clf, x), explanation(clf, x, 2 * maps)).order()
    assert torch.equal(a, b)
    assert not torch.equal(a[0, 4:], a[0, 4:].sort().values)
    assert set(a[0, :4].tolist()) == {5 * SIZE + 5, 5 * SIZE + 6, 6 * SIZE + 5, 6 * SIZE + 6}
    assert not torch.equal(a[0], a[1])


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_hottest_pixels_are_the_first_of_the_order(levels):
    clf, x = classifier(), pixels()
    trial = Trial(Session(clf, x), explanation(clf, x, (maps_of() * levels).floor()))
    for count in (1, 20, 72, 143, 144):
        assert torch.equal(trial.hottest(count), trial.ranks() < count)


def test_shared_masked_images_are_asked_once():
    clf, x = classifier(), pixels()
    session = Session(clf, x)
    out = explanation(clf, x, maps_of())
    trial = Trial(session, out)
    for record in metrics():
        if record.name in ("average-drop", "increase-in-confidence", "average-gain"):
            record.function(trial)
    assert session.asking.passes == len(x) + len(out)  # and the images as they are


def test_rows_are_tidy_and_errors_name_the_fix():
    clf, x = classifier(), pixels()
    out = explanation(clf, x, maps_of())
    found = sl.evaluate(clf, x, out, ["average-drop", ("average-drop", {"keep": 0.5})])
    rows = found.rows()
    assert len(rows) == 6
    assert rows[0].keys() >= {"image", "target", "method", "metric", "settings", "value", "status"}
    assert {r["settings"] for r in rows} == {"", "keep=0.5"}
    assert "average-drop" in str(found)
    assert len(found.frame()) == 6
    with pytest.raises(MetricError, match="did you mean 'average-drop'"):
        sl.evaluate(clf, x, out, ["average-dorp"])
    with pytest.raises(MetricError, match="has no setting 'kept'; it has: keep"):
        sl.evaluate(clf, x, out, [("average-drop", {"kept": 1})])
    with pytest.raises(MetricError, match="keep is the share"):
        sl.evaluate(clf, x, out, [("average-drop", {"keep": 0})])
    with pytest.raises(InputError, match="give the batch that was explained"):
        sl.evaluate(clf, x[:2], out, ["average-drop"])
    assert {m.direction for m in metrics()} <= {"up", "down"}


def test_the_area_is_the_trapezoid_rule():
    h = torch.rand(4, 9, dtype=torch.float64)
    assert torch.allclose(area(h), torch.trapezoid(h, dx=1 / 8))

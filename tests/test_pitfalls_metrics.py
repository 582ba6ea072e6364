"""Defects of existing metric libraries that Sightline must not have; each test carries the number of its defect."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from metrics_case import MEAN, SIZE, STD, Linear, Scorer, classifier, maps_of, pixels, planted
from sightline.cli import app
from sightline.errors import MetricError
from sightline.metrics import Trial, Values
from sightline.metrics import metric as add_metric
from sightline.metrics.metric import _METRICS
from sightline.studies.benchmarking import CONTROLS, Benchmark


def logit(image: torch.Tensor) -> float:
    """The single logit of the linear net, by a loop over its pixels in float64."""
    w, total = Linear().w.detach().double(), 0.0
    for c in range(3):
        total += float((((image[c].double() - MEAN[c]) / STD[c]) * w[c]).sum())
    return total


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def yes_or_no() -> sl.Classifier:
    return classifier(net=Linear, decision="binary")


@pytest.mark.parametrize("sign", [1, -1])
def test_d11_a_single_logit_has_a_drop_and_an_increase(sign: int) -> None:
    """Elsewhere the softmax of one logit is 1: no drop and no increase, whatever the map."""
    clf, x = yes_or_no(), pixels()
    S = maps_of()
    S = (S - S.amin((1, 2), keepdim=True)) / (S.amax((1, 2), keepdim=True) - S.amin((1, 2), keepdim=True))
    out = planted(clf, x, S, sl.Attribute(0, sign))
    found = sl.evaluate(clf, x, out, ["average-drop", "increase-in-confidence"])
    for n in range(3):
        o, p = sigmoid(sign * logit(x[n])), sigmoid(sign * logit(x[n] * S[n]))
        assert float(found["average-drop"].value[n]) == pytest.approx(max(0, o - p) / o, abs=1e-5)
        assert float(found["increase-in-confidence"].value[n]) == float(p > o)


def test_d11_drops_stay_between_0_and_1_and_tell_maps_apart() -> None:
    """Elsewhere negative raw logits give a drop of -0.73."""
    x = pixels()
    for seed in range(8):
        net = Scorer(1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(0.3 * torch.randn(p.shape, generator=generator))
        clf = sl.Classifier(net.eval(), decision="binary", mean=MEAN, std=STD)
        maps = torch.rand(2, 3, SIZE, SIZE, generator=generator)
        for sign in (1, -1):
            drops = [
                sl.evaluate(clf, x, planted(clf, x, m, sl.Attribute(0, sign)), ["average-drop", "average-gain"])
                for m in maps
            ]
            for found in drops:
                for _, _, values in found.records:
                    assert bool(((values.value >= 0) & (values.value <= 1)).all())
            changes = [d["average-drop"].value - d["average-gain"].value for d in drops]
            assert not torch.allclose(changes[0], changes[1], rtol=0, atol=1e-7)


def test_d11_ratios_of_raw_logits_cannot_be_asked() -> None:
    clf, x = yes_or_no(), pixels()
    out = planted(clf, x, maps_of(), sl.Attribute(0))
    for name in ("average-drop", "average-gain", "increase-in-confidence", "average-drop-deletion"):
        with pytest.raises(MetricError, match="no setting 'score'"):
            sl.evaluate(clf, x, out, [(name, {"score": "log-odds"})])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("name", "more"), [("pixel-flipping", {"region": 3}), ("deletion", {})])
def test_d16_the_curve_of_a_single_logit_moves(name: str, more: dict[str, int], sign: int) -> None:
    """Elsewhere it is 1 from end to end, and the category y = 1 is an IndexError."""
    clf, x = yes_or_no(), pixels()
    out = planted(clf, x, maps_of(), sl.Attribute(0, sign))
    (_, settings, values), *_ = sl.evaluate(clf, x, out, [(name, {"steps": 9, "fill": "black"} | more)]).records
    assert values.curve is not None
    assert settings["steps"] == 9
    for n in range(3):
        curve = values.curve[n].tolist()
        assert curve[0] == pytest.approx(sigmoid(sign * logit(x[n])), abs=1e-5)
        assert curve[-1] == pytest.approx(sigmoid(sign * logit(torch.zeros_like(x[n]))), abs=1e-5)
        assert all(abs(a - b) > 1e-6 for a, b in itertools.pairwise(curve))


@pytest.fixture
def fragile() -> Iterator[str]:
    """A metric that raises on the picture that is all blue."""

    @add_metric("fragile", family="sanity", paper=None, summary="raises on blue", direction="up", range=(0, 1))
    def fragile(trial: Trial) -> Values:
        colour = trial.session.pixels[trial.image].mean((2, 3))
        if bool((colour[:, 2] > 0.9).any()):
            raise ValueError("too blue")
        return trial.values(colour[:, 0])

    yield "fragile"
    del _METRICS["fragile"]


def test_d17_a_metric_that_raises_loses_its_own_rows_only(
    fragile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere one metric that does not apply ends in a KeyError, and all that was finished is lost."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for i in range(10):
        noise = np.random.default_rng(i).integers(0, 200, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"photos/{i}.png")
    Image.new("RGB", (9, 9), (90, 90, 255)).save("photos/3.png")
    Path("net.py").write_text(
        "import torch\nfrom torch import nn\ndef build():\n    torch.manual_seed(0)\n"
        "    body = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*body, nn.Linear(4, 3))\n"
    )
    asked = ["bench", "photos", "-m", "python:net.py:build", "--size", "8", "--fit", "squash", "--method", "grad-cam"]
    result = CliRunner().invoke(app, [*asked, "--metric", "average-drop", "--metric", fragile, "--metric", "entropy"])
    assert result.exit_code == 1, result.output
    assert "too blue" in result.output
    rows = Benchmark(tmp_path / "run").rows()
    for method in ("grad-cam", *CONTROLS):
        mine = rows.filter(method=method, metric=fragile)
        assert mine.filter(status="error").select("image", "error").rows() == [("3.png", "ValueError: too blue")]
        assert mine["value"].is_not_null().sum() == 9
    others = rows.filter(rows["metric"] != fragile)
    assert len(others) == 10 * (1 + len(CONTROLS)) * 2
    assert not set(others["status"]) & {"error", "refused"}


def test_d17_what_a_metric_lacks_is_told_before_any_work(fragile: str) -> None:
    """`sl.evaluate` is one call: it must not compute for minutes and then raise for want of an argument."""
    clf, x, asked = yes_or_no(), pixels(), []

    @add_metric(fragile, family="sanity", paper=None, summary="notes that it ran", direction="up", range=(0, 1))
    def noted(trial: Trial) -> Values:
        asked.append(trial)
        return trial.values(torch.zeros(len(trial)))

    with pytest.raises(MetricError, match="give boxes="):
        sl.evaluate(clf, x, planted(clf, x, maps_of(), sl.Attribute(0)), [fragile, "max-box-acc"])
    assert asked == []

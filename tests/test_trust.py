"""The trust card: each check against its metric, verdicts in words, what cannot be checked, text, JSON and HTML."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.cli import app
from sightline.data.images import fit
from sightline.errors import InputError, MetricError
from sightline.metrics import _verdicts as verdicts
from sightline.metrics.trust import CONTROLS
from sightline.report.trust import trust_page, write_trust

QUICK = {"samples": 2, "steps": 4, "backend": "eager"}


def classifier(outputs=5, **settings) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs), size=16, **settings)


class Bright(nn.Module):
    """Says yes where one patch of the image is bright, and nothing else counts."""

    def __init__(self, gain: float = 16.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.gain = gain
        with torch.no_grad():
            self.body[0].weight.copy_(torch.randn(4, 3, 3, 3) * 0.02)
            self.body[0].weight[0, :, 1, 1] = 1
            self.body[0].bias.copy_(torch.tensor([-1.5, 0.01, 0.01, 0.01]))

    def forward(self, x):
        A = self.body(x)
        score = self.gain * (A[:, 0].mean((1, 2)) - 0.05) + 0.1 * A[:, 1:].mean((1, 2, 3))
        return torch.stack([score, -score], 1)


def bright() -> torch.Tensor:
    x = 0.3 * images(1)
    x[0, :, 9:15, 9:15] = 1.0
    return x


def test_every_check_is_its_metric():
    clf, x = classifier(), images()
    explainer = sl.explainer("hires-cam", clf)
    out = explainer(x, sl.each([0, 3]))
    found = sl.trust(clf, x, out, explainer=explainer, seed=5, **QUICK)
    assert len(found) == len(out) == 4
    asked = [("insertion", {"steps": 4}), ("deletion", {"steps": 4})]
    settings = {"explainer": explainer, "seed": 5, "backend": "eager"}
    mine = sl.evaluate(clf, x, out, asked, **settings)
    controls = {}
    for name in CONTROLS:
        other = sl.explain(clf, x, method=name, target=sl.each([0, 3]), seed=5)
        judged = sl.evaluate(clf, x, other, asked, seed=5, backend="eager")
        controls[name] = judged["insertion"].value - judged["deletion"].value
    more = sl.evaluate(
        clf,
        x,
        out,
        [
            ("random-logit", {"draws": 2}),
            ("noise-stability", {"samples": 2, "level": 0.02}),
            ("probability-shift", {"samples": 2, "level": 0.02, "noise": "gaussian"}),
        ],
        **settings,
    )
    weights = torch.stack(
        [
            sl.evaluate(clf, x, out, [("parameter-randomisation", {"steps": 1})], explainer=explainer, seed=5 + k)[
                "parameter-randomisation"
            ].value
            for k in range(2)
        ]
    )
    for row, card in enumerate(found):
        numbers = {check.name: check.numbers for check in card.checks}
        score = float(mine["insertion"].value[row] - mine["deletion"].value[row])
        assert numbers["controls"]["insertion - deletion"] == pytest.approx(score, abs=1e-6)
        for name in CONTROLS:
            assert numbers["controls"][name] == pytest.approx(float(controls[name][row]), abs=1e-6)
        assert numbers["weights"]["similarity"] == pytest.approx(float(weights[:, row].abs().mean()), abs=1e-6)
        assert numbers["class"]["similarity"] == pytest.approx(float(more["random-logit"].value[row]), abs=1e-6)
        assert numbers["noise"]["similarity"] == pytest.approx(float(more["noise-stability"].value[row]), abs=1e-6)
        assert numbers["noise"]["probability shift"] == pytest.approx(float(more["probability-shift"].value[row]))


def test_a_map_of_the_reason_beats_the_controls_and_its_opposite_does_not():
    clf, x = sl.Classifier(Bright(), size=16), bright()
    explainer = sl.explainer("hires-cam", clf, layer="body.1")
    out = explainer(x)
    assert float(out.probability[0]) > 0.8
    good = sl.trust(clf, x, out, explainer=explainer, **QUICK)[0]
    assert good.checks[0].verdict == "pass"
    wrong = dataclasses.replace(out, maps=(out.maps.max() - out.maps))
    bad = sl.trust(clf, x, wrong, explainer=explainer, **QUICK)[0]
    assert bad.checks[0].verdict == "fail"
    assert bad.verdict == "fail"
    assert "luck finds what matters as well" in bad.summary


def test_a_control_is_recognised_as_one():
    clf, x = classifier(), images(1)
    card = sl.trust(clf, x, sl.explain(clf, x, method="edges"), **QUICK)[0]
    by = {check.name: check for check in card.checks}
    assert by["weights"].verdict == "fail"
    assert by["weights"].numbers["similarity"] == pytest.approx(1)
    assert "not what this classifier learned" in by["weights"].text
    assert by["class"].verdict == "doubt"
    assert "does not tell decisions apart" in by["class"].text
    assert by["controls"].verdict != "pass"  # it is no better than itself
    assert card.verdict == "fail"
    assert card.summary.startswith("Do not rely on this map")


def test_a_single_logit_is_compared_with_the_opposite_answer():
    clf, x = classifier(1), images()
    found = sl.trust(clf, x, sl.explain(clf, x, method="grad-cam"), **QUICK)
    for card in found:
        check = next(c for c in card.checks if c.name == "class")
        assert check.numbers["similarity"] == pytest.approx(-1, abs=1e-6)
        assert "the opposite answer" in check.text
        assert check.verdict == "pass"


@pytest.mark.parametrize("kind", ["multilabel", "region", "contrast", "similarity", "blackbox"])
def test_every_kind_of_target(kind):
    clf, x, method, target = classifier(), images(), "grad-cam", None
    if kind == "multilabel":
        clf, target = classifier(decision="multilabel"), sl.each([sl.Attribute(1, 1), sl.Attribute(2, -1)])
    elif kind == "region":
        mask = torch.zeros(16, 16, dtype=torch.bool)
        mask[3:9, 4:12] = True
        clf, target = sl.Classifier(seeded(Segmenter), size=16), sl.Region(1, mask)
    elif kind == "contrast":
        target = sl.Contrast(0, 1)
    elif kind == "similarity":
        target = sl.Similarity(torch.tensor([1.0, 0, 0, 2, 0]))
    else:
        clf, method = sl.BlackBox(classifier(), size=16), "occlusion"
    settings = {"window": 8, "stride": 4} if kind == "blackbox" else {}
    out = sl.explain(clf, x, method=method, target=target, **settings)
    found = sl.trust(clf, x, out, **{**QUICK, "samples": 1})
    assert len(found) == len(out)
    for card in found:
        by = {check.name: check for check in card.checks}
        assert list(by) == ["controls", "weights", "class", "noise"]
        assert (by["weights"].verdict == "not checked") == (kind == "blackbox")
        assert (by["class"].verdict == "not checked") == (kind == "similarity")
        assert by["noise"].verdict != "not checked"
    json.dumps(found.as_dict(), allow_nan=False)


def test_empty_and_flat_maps_say_so():
    clf, x = classifier(), images(2)
    out = sl.explain(clf, x)
    maps = out.maps.clone()
    maps[0], maps[1] = 0, 1
    found = sl.trust(clf, x, dataclasses.replace(out, maps=maps), **QUICK)
    assert [card.verdict for card in found] == ["fail", "fail"]
    assert "the map is empty" in found[0].summary
    assert "the same everywhere" in found[1].summary
    for card in found:
        assert {c.verdict for c in card.checks if c.name != "controls"} == {"not checked"}


def test_curves_without_room_are_not_judged():
    clf, x = sl.Classifier(Bright(gain=0.01), size=16), bright()
    card = sl.trust(clf, x, sl.explain(clf, x, layer="body.1"), **QUICK)[0]
    assert card.checks[0].verdict == "not checked"
    assert "cannot tell good maps from bad ones" in card.checks[0].text


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("grad-cam++", {"layer": "relu1"}),
        ("smooth-grad", {"seed": 3, "samples": 4}),
        ("layer-cam", {"layer": ["relu1", "relu2"]}),
    ],
)
def test_the_explainer_is_known_from_the_explanation(method, settings):
    clf, x = classifier(), images(1)
    explainer = sl.explainer(method, clf, **settings)
    out = explainer(x)
    given = sl.trust(clf, x, out, explainer=explainer, **QUICK)
    found = sl.trust(clf, x, out, **QUICK)
    assert found.cards == given.cards
    with pytest.raises(MetricError, match="'planted' does not tell all of how it was made; give explainer="):
        sl.trust(clf, x, dataclasses.replace(out, method="planted"))
    with pytest.raises(MetricError, match="does not tell all"):
        sl.trust(clf, x, dataclasses.replace(out, provenance={}))


def test_a_check_that_is_not_possible_is_no_end():
    clf, x = classifier(), images(1)
    out = sl.explain(clf, x)
    card = sl.trust(clf, x, out, noise=-1.0, **QUICK)[0]
    by = {check.name: check for check in card.checks}
    assert by["noise"].verdict == "not checked"
    assert "noise has a size above 0" in by["noise"].text
    assert by["weights"].verdict != "not checked"
    with pytest.raises(MetricError, match="samples is a whole number"):
        sl.trust(clf, x, out, samples=0)
    with pytest.raises(InputError, match="give the batch that was explained"):
        sl.trust(clf, x, dataclasses.replace(out, image=torch.tensor([1])))


def test_the_same_seed_gives_the_same_card_and_the_model_is_as_before():
    net = seeded(ConvNet, 5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    clf, x = sl.Classifier(net, size=16), images(2)
    out = sl.explain(clf, x)
    one, two = (sl.trust(clf, x, out, seed=3, **QUICK) for _ in range(2))
    assert one.cards == two.cards
    alone = sl.trust(clf, x[1:], sl.explain(clf, x[1:]), seed=3, **QUICK)[0]
    for a, b in zip(alone.checks, one[1].checks, strict=True):
        assert a.verdict == b.verdict
        assert list(a.numbers.values()) == pytest.approx(list(b.numbers.values()), abs=1e-4)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_verdicts_at_their_limits():
    luck = {"uniform": 0.1, "random": 0.2, "centre": 0.3, "edges": 0.0}
    assert verdicts.on_controls(0.4, luck, 0.9).verdict == "pass"
    assert verdicts.on_controls(0.3, luck, 0.9).verdict == "doubt"  # as good is not better
    assert "but the control centre explains this image as well" in verdicts.on_controls(0.25, luck, 0.9).text
    assert verdicts.on_controls(0.15, luck, 0.9).verdict == "fail"
    assert verdicts.on_controls(0.4, luck, 0.04).verdict == "not checked"
    assert verdicts.on_controls(0.4, luck, math.nan).verdict == "not checked"
    assert [verdicts.on_weights([v]).verdict for v in (0.49, -0.49, 0.5, -0.79, 0.8, -1.0)] == [
        "pass", "pass", "doubt", "doubt", "fail", "fail"
    ]  # fmt: skip
    assert verdicts.on_weights([math.nan, math.nan]).verdict == "pass"
    assert verdicts.on_weights([math.nan, 0.9]).numbers == {"similarity": 0.9, "vanished": 1.0}
    assert [verdicts.on_class([v], "other classes").verdict for v in (-1.0, 0.49, 0.5, 0.9, 0.99995)] == [
        "pass", "pass", "doubt", "fail", "doubt"
    ]  # fmt: skip
    assert [verdicts.on_noise([v], s).verdict for v, s in ((0.8, 0), (0.79, 0), (0.49, 0), (0.1, 0.1))] == [
        "pass", "doubt", "fail", "doubt"
    ]  # fmt: skip


def test_text_json_and_html():
    clf = classifier(labels=["<cat>", "dog", "owl", "bat", "emu"])
    x = images(1)
    found = sl.trust(clf, x, sl.explain(clf, x, target=sl.Category(0)), **QUICK)
    text = str(found)
    assert text.startswith("<cat> (p = ")
    for check in found[0].checks:
        assert check.title in text
        assert check.text in text
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert stored["cards"][0]["summary"] == found[0].summary
    assert stored["protocol"]["steps"] == 4
    html = found._repr_html_()
    assert "&lt;cat&gt;" in html
    assert "<cat>" not in html


def test_the_page_holds_the_card_and_fetches_nothing(tmp_path):
    clf = classifier(labels=["<cat>", "dog", "owl", "bat", "emu"])
    x = images(2)
    out = sl.explain(clf, x, target=sl.each([0, 3]))
    found = sl.trust(clf, x, out, **QUICK)
    write_trust(tmp_path / "trust.html", found, out, x)
    html = (tmp_path / "trust.html").read_text(encoding="utf-8")
    assert len(trust_page(found, out, x).sections) == 4
    for card in found:
        for check in card.checks:
            assert check.text in html
    assert "&lt;cat&gt;" in html
    assert "<cat>" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html


NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)), None, None, 24
"""


def test_the_shell_checks_every_map_and_goes_on(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    (tmp_path / "photos").mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 255, (30, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"p{i}.png")

    def run(*more):
        fixed = ["explain", tmp_path / "photos", "-m", f"python:{tmp_path / 'net.py'}:build", "--device", "cpu"]
        labels = ["--labels", tmp_path / "labels.txt", "--out", tmp_path / "out"]
        return CliRunner().invoke(app, list(map(str, [*fixed, *labels, *more])))

    first = run("--method", "hires-cam", "--method", "edges", "--trust", "--seed", "7")
    assert first.exit_code == 0, first.output
    words = " ".join(first.stdout.split())
    for method in ("hires-cam", "edges"):
        for name in ("p0", "p1"):
            folder = tmp_path / "out" / method / name
            stored = json.loads((folder / "trust.json").read_text(encoding="utf-8"))
            (card,) = stored["cards"]
            assert stored["protocol"]["seed"] == 7
            assert card["method"] == method
            assert card["summary"] in words
            assert card["checks"][0]["text"] in (folder / "trust.html").read_text(encoding="utf-8")
    assert "Do not rely on this map" in words  # edges know nothing of the network
    again = run("--method", "hires-cam", "--method", "edges", "--trust", "--seed", "7")
    assert again.exit_code == 0, again.output
    assert "2 photos finished by an earlier run" in again.stderr
    assert stored["cards"][0]["summary"] in " ".join(again.stdout.split())
    without = run("--method", "hires-cam", "--method", "edges", "--seed", "7")
    assert without.exit_code == 2
    assert "trust was true and is now null" in without.output


@pytest.mark.real
def test_a_real_network_tells_gradients_from_edges(assets):
    clf = sl.load("torchvision:squeezenet1_1", weights=str(assets / "models" / "squeezenet1_1.pth"))
    photo = sl.read_image(assets / "imagenet_sample" / "n01580077_jay.JPEG")
    x = fit(photo, 224)[None]
    assert clf(x).argmax(1).tolist() == [17]  # a jay
    verdict = {}
    for method in ("grad-cam", "edges"):
        card = sl.trust(clf, x, sl.explain(clf, x, method=method), samples=1, steps=2, backend="eager")[0]
        verdict[method] = {check.name: check.verdict for check in card.checks}
    assert verdict["edges"]["weights"] == "fail"
    assert verdict["edges"]["class"] == "doubt"
    assert verdict["grad-cam"]["weights"] != "fail"
    assert verdict["grad-cam"]["class"] == "pass"
    assert verdict["grad-cam"]["noise"] == "pass"

"""Audits of networks whose truth is known by construction: a tag that decides, a constant that decides, and neither."""

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from sightline.classifier import Classifier
from sightline.data import faces
from sightline.studies.auditing import Audit, audit
from sightline.studies.auditing.findings import findings

SIDE = 32
ASKED = ("Smiling", "Eyeglasses")
TAG = faces.Shortcut(attribute="Smiling", strength=0.95)
RATES = {**dict.fromkeys(faces.NAMES, 0.0), "Smiling": 0.5, "Eyeglasses": 0.25}


class Probe(nn.Module):
    """A channel that fires on the tag's magenta, its mean, and a linear head: Smiling by the tag, Eyeglasses never."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.act = nn.Conv2d(3, 1, 1), nn.ReLU()
        self.classifier = nn.Linear(1, 2)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, -2.0, 1.0]).view(1, 3, 1, 1))
            self.features.bias.fill_(-1.0)
            self.classifier.weight.copy_(torch.tensor([[900.0], [0.0]]))
            self.classifier.bias.copy_(torch.tensor([-4.0, -2.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.act(self.features(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def drawn() -> faces.Faces:
    return faces.sample(160, seed=11, size=SIDE, rates=RATES, shortcut=TAG)


@pytest.fixture(scope="module")
def found(drawn: faces.Faces, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    probe = Classifier(Probe().eval(), labels=ASKED, decision="multilabel", size=SIDE)
    edits = ["counterfactual", "cue", "sweep"]
    folder = tmp_path_factory.mktemp("truth") / "run"
    return audit(probe, drawn, out=folder, methods=["hires-cam"], edits=edits, progress=False)


def test_the_probe_is_what_it_should_be(drawn: faces.Faces, found: Audit):
    said = found.decisions().filter(attribute="Smiling").sort("image_index")["z"] >= 0
    assert (torch.tensor(said.to_list()) == drawn.cue).float().mean() > 0.97
    assert (found.decisions().filter(attribute="Eyeglasses")["z"] == -2.5).all()


def test_the_tag_is_found_with_its_size_also_by_an_edit_that_is_told_nothing(drawn: faces.Faces, found: Audit):
    lines = found.interventions()
    z = {
        index: float(z) for index, z in found.decisions().filter(attribute="Smiling").select("image_index", "z").rows()
    }
    with torch.no_grad():
        after = Probe().eval()(drawn.counterfactual_cue().pixels)[:, 0].double()
    before = torch.tensor([z[i] for i in sorted(z)], dtype=torch.float64)
    for direction, on in (("remove", True), ("insert", False)):
        rows = drawn.cue == on
        rise = (after.sigmoid() - before.sigmoid())[rows] * (-1 if on else 1)
        line = lines.filter(edit="cue", attribute="Smiling", direction=direction).row(0, named=True)
        assert line["n"] == int(rows.sum())
        assert line["effect_region"] == pytest.approx(float(rise.mean()), abs=1e-5)
        assert line["confirmed"]
    swept = lines.filter(pl.col("p").is_not_null(), edit="sweep", attribute="Smiling", direction="remove")
    assert swept.filter(pl.col("confirmed"))["region"].to_list() == ["row 1, column 1 of 4 x 4"]
    told = findings(found).filter(attribute="Smiling")
    assert set(told["kind"]) >= {"shortcut", "companion-decides"}
    assert told.filter(kind="shortcut")["severity"].max() == 3


def test_the_attribute_itself_does_nothing_where_the_tag_decides(found: Audit):
    lines = found.interventions().filter(edit="counterfactual", attribute="Smiling")
    assert lines.height == 2
    assert lines["flip_region"].max() < 0.05
    assert not lines["confirmed"].any()


def test_a_constant_that_decides_is_found_and_is_all_of_the_decision(found: Audit):
    line = found.bias().filter(attribute="Eyeglasses", side="no").row(0, named=True)
    assert line["share_bias"] == pytest.approx(1, abs=1e-6)
    assert line["share_own"] == pytest.approx(0, abs=1e-6)
    lines = found.interventions().filter(attribute="Eyeglasses", edit="counterfactual")
    assert lines["effect_region"].abs().max() == 0
    kinds = set(findings(found).filter(attribute="Eyeglasses")["kind"])
    assert {"bias-decides", "neglected-minority"} <= kinds
    assert not findings(found).filter(attribute="Eyeglasses", kind="shortcut").height


def test_a_network_that_looks_where_it_should_raises_nothing(tmp_path):
    import sightline as sl

    rates = {**dict.fromkeys(faces.NAMES, 0.0), "Eyeglasses": 0.5, "Wearing_Necktie": 0.5, "Wearing_Hat": 0.5}
    some = faces.sample(120, seed=12, size=64, rates=rates)
    asked = ("Eyeglasses", "Wearing_Hat", "Wearing_Necktie")
    clean = audit(
        sl.load("faces:balanced"), some, out=tmp_path, attributes=asked, methods=["hires-cam"],
        rates=dict.fromkeys(asked, 0.5), edits=["occlude", "counterfactual"], progress=False,
    )  # fmt: skip
    assert findings(clean).rows() == []
    switched = clean.interventions().filter(edit="counterfactual")
    assert switched["confirmed"].all()
    assert switched["flip_region"].min() > 0.8

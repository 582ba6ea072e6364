"""Models or rule, seen through the whole study, on networks made by hand so that the answer is known.

Each network reads the sign of a red blob in one half of the image; networks of other seeds have other weights. Plain
epsilon LRP shows that blob; edges show all blobs, whatever the network is.
"""

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.studies.generalising import Family, Member, generalise, validity

SIDE = 12


class Half(nn.Module):
    """Bright or dark red in one half; with the weights of two seeds."""

    def __init__(self, half: str, seed: int, trunk: int) -> None:
        super().__init__()
        self.trunk, self.relu = nn.Conv2d(3, 8, 1), nn.ReLU()
        self.head = nn.Linear(8 * SIDE * SIDE, 2)
        g = torch.Generator().manual_seed(100 + trunk)
        sign = torch.tensor([1.0, -1.0]).repeat_interleave(4)
        w = torch.zeros(8, 3, 1, 1)
        w[:, 0, 0, 0] = sign * (0.7 + 0.6 * torch.rand(8, generator=g))
        g.manual_seed(200 + seed)
        v = torch.zeros(2, 8, SIDE, SIDE)
        columns = slice(0, SIDE // 2) if half == "left" else slice(SIDE // 2, SIDE)
        v[0, :, :, columns] = sign[:, None, None]
        v[1] = -v[0]
        with torch.no_grad():
            self.trunk.weight.copy_(w)
            self.trunk.bias.fill_(-0.1)
            self.head.weight.copy_((v * (0.7 + 0.6 * torch.rand(v.shape, generator=g))).flatten(1) * 0.1)
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(self.relu(self.trunk(x)).flatten(1))


def pictures(count: int) -> torch.Tensor:
    """A little noise in green and blue; in each half a blob that is more or less red, by a throw of a coin."""
    g = np.random.default_rng(0)
    x = np.full((count, 3, SIDE, SIDE), 0.5)
    x[:, 1:] += 0.1 * g.choice([-1, 1], size=(count, 2, SIDE, SIDE))
    for i in range(count):
        for half in (0, SIDE // 2):
            y, c = g.integers(0, SIDE - 3), half + g.integers(0, SIDE // 2 - 3)
            x[i, 0, y : y + 3, c : c + 3] += 0.4 * g.choice([-1, 1])
    return torch.tensor(x).float()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    members = [
        Member(
            name=f"{half}-{seed}",
            classifier=sl.Classifier(
                Half(half, seed, trunk=seed), mean=[0.5] * 3, std=[0.5] * 3, size=SIDE, labels=["bright", "dark"]
            ),
            factors={"half": half, "seed": str(seed)},
        )
        for half in ("left", "right")
        for seed in range(3)
    ]
    return generalise(
        Family(name="halves", members=members),
        (pictures(32), None),
        out=tmp_path_factory.mktemp("halves") / "run",
        methods=[("lrp", {"composite": "epsilon"}), "edges"],
        levels=[1, 2],
        validity=32,
        grid=SIDE,
        progress=False,
    )


def found(study, method, factor):
    (one,) = [f for f in validity.findings(study) if (f.method, f.factor, f.within) == (method, factor, None)]
    return one


def test_networks_that_share_what_they_look_at_are_found_to(study):
    one = found(study, study.methods[0], "seed")
    assert one.ruling.verdict == "models", one
    assert one.alike.value > 0.8
    (said,) = [
        s.text
        for s in validity.sentences(study)
        if s.kind == "validity" and s.figures["method"] == study.methods[0] and s.figures["factor"] == "seed"
        if s.figures["within"] is None
    ]
    assert "That maps stay alike over seed is the models' doing" in said


def test_networks_that_look_elsewhere_are_not_alike(study):
    assert found(study, study.methods[0], "half").ruling is None


def test_a_rule_that_sees_no_weights_is_found_out(study):
    for factor in ("seed", "half"):
        one = found(study, "edges", factor)
        assert one.alike.value == pytest.approx(1)
        assert one.ruling.verdict == "rule"


def test_the_table_has_every_check_of_every_method(study):
    frame = study.validity_rows()
    assert set(frame["check"]) == {"class-swap", "cascade"}
    assert set(frame.filter(check="cascade")["stage"]) == {"head", "all"}
    table = validity.table(study)
    for method in study.methods:
        what = table.filter(method=method).select("check", "what").rows()
        assert what == [
            ("models", "half"),
            ("other image", "half"),
            ("models", "seed"),
            ("other image", "seed"),
            ("class-swap", ""),
            ("cascade", "head"),
            ("cascade", "all"),
        ]
    swap = table.filter(method="edges", check="class-swap")
    assert swap["value"].item() == pytest.approx(1)

"""Families in Python and in TOML, with the errors that say what to do."""

import textwrap
import tomllib
from pathlib import Path

import pytest
import torch

import sightline as sl
from generalised import classifier, data
from nets import images
from sightline.data.alignment import Preparation
from sightline.errors import InputError, ModelError
from sightline.picture import write_png
from sightline.studies.benchmarking.plan import contender
from sightline.studies.benchmarking.reading import FORMATS
from sightline.studies.generalising import Family, Member, family, plan_of, read_family, read_study

NET = """
import torch
from torch import nn

def build(seed):
    torch.manual_seed(int(seed))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), head)
"""

FAMILY = """
name = "tiny"
out = "runs/tiny"
methods = ["input-x-gradient", { name = "lrp", composite = "epsilon" }]
levels = [5, 20]
fills = ["blur"]
modes = ["keep", "remove"]
controls = ["random"]
batch = 4
seed = 3
validity = 0
smooth = 0.02
fit = "squash"
precision = "float32"
backend = "eager"
[models.a]
model = "python:net.py:build:0"
labels = ["yes", "no"]
decision = "categorical"
size = 12
target = "category:yes"
truth = "Hat"
factors = { task = "Hat", seed = 0 }
[models.b]
model = "python:net.py:build:1"
labels = ["Hat", "Tie"]
decision = "multilabel"
size = [12, 10]
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
target = "Tie"
factors = { task = "Tie" }
[data]
"""
MANIFEST = 'format = "manifest"\ntable = "photos/table.csv"\nattributes = ["Hat", "Tie"]\n'


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a network, photographs and their table, where the shell stands."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "photos").mkdir()
    for i, one in enumerate(images(4, 14)):
        write_png(tmp_path / "photos" / f"{i}.png", (one * 255).round().byte().permute(1, 2, 0).numpy())
    rows = "".join(f"{i}.png,{i % 2},{i // 2}\n" for i in range(4))
    (tmp_path / "photos" / "table.csv").write_text("path,Hat,Tie\n" + rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    """A family's file in a folder of its own: files are looked for from where the shell stands."""
    (folder / "families").mkdir(exist_ok=True)
    path = folder / "families" / "tiny.toml"
    path.write_text(textwrap.dedent(text))
    return path


def test_a_family_fills_in_factors_and_keeps_the_order_of_first_use():
    members = [
        Member(name="a", classifier=classifier(), factors={"task": "x", "seed": 0}),
        Member(name="b", classifier=classifier(1), factors={"pruned": "yes"}),
    ]
    family = Family(name="f", members=members)
    assert family.factors == ("task", "seed", "pruned")
    assert dict(family[0].factors) == {"task": "x", "seed": "0", "pruned": "-"}
    assert dict(family[1].factors) == {"task": "-", "seed": "-", "pruned": "yes"}
    assert family.names == ("a", "b")
    assert [m.name for m in family] == ["a", "b"]
    assert len(family[0:1]) == 1
    assert sl.studies.Family is Family


def test_what_is_no_family_is_told():
    one = Member(name="a", classifier=classifier())
    with pytest.raises(InputError, match="two models or more"):
        Family(members=[one])
    with pytest.raises(InputError, match="two models of the family are called 'a'"):
        Family(members=[one, Member(name="a", classifier=classifier(1))])
    with pytest.raises(InputError, match="letters, digits"):
        Member(name="a b", classifier=classifier())
    with pytest.raises(InputError, match=r"give a sl\.Classifier, not BlackBox"):
        Member(name="a", classifier=sl.BlackBox(lambda x: x.mean((1, 2, 3))))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another decision of the same model is another member"):
        Member(name="a", classifier=classifier(), target=sl.each([0, 1]))


def test_a_study_is_read_from_a_file(here):
    arguments, out = read_study(written(here, FAMILY + MANIFEST))
    assert out == "runs/tiny"
    plan = plan_of(**arguments)
    assert plan.family.name == "tiny"
    assert plan.family.factors == ("task", "seed")
    assert dict(plan.family[1].factors) == {"task": "Tie", "seed": "-"}
    assert plan.family[1].classifier.size == (12, 10)
    assert plan.sizes == ((12, 12), (12, 10))
    assert plan.labels == ("input-x-gradient", "lrp (composite=epsilon)")
    assert (plan.levels, plan.fills, plan.modes, plan.controls) == ((5, 20), ("blur",), ("keep", "remove"), ("random",))
    assert (plan.batch, plan.seed, plan.validity, plan.smooth) == (4, 3, 0, 0.02)
    assert plan.preparation == Preparation(fit="squash")
    assert (plan.options.precision, plan.options.backend) == ("float32", "eager")
    assert plan.source.keys == ["0.png", "1.png", "2.png", "3.png"]
    assert plan.source.known == ("Hat", "Tie")
    image = plan.source.load(3)
    assert image.truth == {"Hat": 1, "Tie": 1}
    assert {size: tuple(view.pixels.shape) for size, view in image.views.items()} == {
        (12, 12): (3, 12, 12),
        (12, 10): (3, 12, 10),
    }
    assert plan.settings()["models"]["b"]["truth"] == "Tie"
    found = sl.studies.generalise(
        **{k: v for k, v in arguments.items() if k != "root"}, out=here / "run", progress=False
    )
    assert found.measure == "accuracy"
    assert found.curves(mode="remove").values.shape == (4, 3, 2, 2)


def test_a_family_alone_is_read_without_its_data(here):
    family = read_family(written(here, FAMILY))
    assert family.names == ("a", "b")
    assert family[0].truth == "Hat"


def test_the_smaller_limit_counts(here):
    path = written(here, "limit = 3\n" + FAMILY + MANIFEST)
    assert len(read_study(path)[0]["records"]) == 3
    assert len(read_study(path, limit=2)[0]["records"]) == 2
    assert len(read_study(path, limit=9)[0]["records"]) == 3


def test_rendered_faces_in_a_file(here):
    path = written(here, FAMILY + 'format = "faces"\ncount = 5\nsize = 16\nrates = { Smiling = 0.5 }\n')
    arguments, _ = read_study(path, limit=4)
    assert len(arguments["records"]) == 4
    with pytest.raises(InputError, match="takes count, a number of faces"):
        read_study(written(here, FAMILY + 'format = "faces"\n'))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("levels =", "level =", "there is no 'level'; known are methods, levels"),
        ('truth = "Hat"', 'truht = "Hat"', "models.a: there is no 'truht'"),
        ('factors = { task = "Tie" }', 'factors = "Tie"', "models.b: factors and settings are tables"),
        ('target = "Tie"', 'target = ["Tie"]', "models.b: target is one text"),
        ('model = "python:net.py:build:1"', "", "models.b has no entry model"),
        ('format = "manifest"', 'format = "table"', "the format of data must be images"),
        ('fit = "squash"', 'fit = "stretch"', "fit must be one of crop, squash, pad, align"),
        ('name = "tiny"', 'regions = "eyes"', "regions must be grid, face-grid, landmarks"),
        ("batch = 4", "batch = ", "the family cannot be read"),
    ],
)
def test_what_a_file_gets_wrong_is_named(here, old, new, match):
    text = FAMILY + MANIFEST
    assert old in text
    with pytest.raises(InputError, match=match):
        read_study(written(here, text.replace(old, new, 1)))


def test_files_are_looked_for_from_where_the_shell_stands(here, monkeypatch):
    path = written(here, FAMILY + MANIFEST)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    with pytest.raises((InputError, ModelError), match=r"net\.py|table\.csv"):
        read_study(path)


def test_members_that_were_trained_otherwise_need_to_be_told_how(monkeypatch):
    from sightline.studies.generalising import plan as planning

    told = {3: Preparation(fit="align"), 4: Preparation(fit="crop")}
    members = [Member(name=f"m{s}", classifier=classifier(s)) for s in told]
    by_net = {id(m.classifier): told[s] for m, s in zip(members, told, strict=True)}
    monkeypatch.setattr(planning, "told_preparation", lambda net: by_net[id(net)])
    with pytest.raises(InputError, match=r"m3 and m4 were trained on images .*; say by preparation="):
        plan_of(members, data())
    plan = plan_of(members, data(), preparation=Preparation(fit="pad"))
    assert plan.preparation.fit == "pad"
    assert torch.equal(plan.source.load(0).views[12, 12].pixels, data()[0][plan.source.places[0]])


FAMILIES = sorted((Path(__file__).parent.parent / "benchmarks" / "families").glob("*.toml"))


@pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
def test_the_families_of_the_documentation_name_what_there_is(path):
    given = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(given) <= {*family._STUDY, *family._OTHERS}
    assert len({contender(spec).label for spec in given["methods"]}) == len(given["methods"])
    factors = [tuple(model["factors"]) for model in given["models"].values()]
    assert len(factors) >= 4
    assert set(factors) == {factors[0]}
    for model in given["models"].values():
        assert set(model) <= set(family._MEMBER)
        file = model["model"].split(":")[1]
        assert (path.parent.parent.parent / file).is_file()
    _, keys = FORMATS[given["data"]["format"]]
    assert set(given["data"]) <= {"format", "limit", *keys}

"""`sightline generalise` as it is typed: a family file, what overrides it, resuming, exit codes, and what is said."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.cli._generalise import methods_of
from sightline.errors import MethodError

NET = """
import torch
from torch import nn

def build(seed):
    torch.manual_seed(int(seed))
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 1),
    )
"""
MODEL = """
[models.net-{seed}]
model = "python:net.py:build:{seed}"
weights = "random"
labels = ["Eyeglasses"]
decision = "binary"
size = 32
target = "Eyeglasses"
factors = {{ seed = "{seed}", kind = "{kind}" }}
"""
FAMILY = """
name = "tiny"
out = "runs/tiny"
levels = [10, 50]
controls = ["random", "bottom"]
batch = 4
validity = 2
grid = 6
methods = [{ name = "lrp", composite = "epsilon-plus" }]
fit = "squash"
[data]
format = "faces"
count = 8
size = 64
rates = { Eyeglasses = 0.5 }
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("net.py").write_text(NET)
    models = [MODEL.format(seed=seed, kind="ab"[seed % 2]) for seed in range(3)]
    Path("family.toml").write_text(FAMILY + "".join(models))
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_a_family_file_makes_a_run_a_page_and_tables_and_goes_on(place):
    said = shell("generalise", "family.toml")
    assert "3 models x 8 images, lrp (composite=epsilon-plus); 2 controls, 2 levels -> runs/tiny" in said
    assert "nothing is finished yet" in said
    assert "differ in seed" in said
    assert "report.html" in said
    page = Path("runs/tiny/report.html")
    assert "Does relevance carry over? tiny" in page.read_text(encoding="utf-8")
    again = shell("generalise", "family.toml")
    assert "blocks are finished" in again
    page.unlink()
    said = shell("report", "runs/tiny", "--export", "index.csv", "--export", "generalisation.json")
    assert page.is_file()
    frame = pl.read_csv("index.csv").filter(pl.col("measure") == "accuracy")
    assert len(frame) == 5 * 3  # sources x targets
    assert json.loads(Path("generalisation.json").read_text(encoding="utf-8"))["family"]["name"] == "tiny"
    # Other settings are another run.
    assert "levels" in shell("generalise", "family.toml", "--levels", "20,60", code=2)
    assert "index.csv" in shell("report", "runs/tiny", "--export", "table.tex", code=2)


def test_what_is_typed_stands_over_the_file(place):
    typed = ("--limit", "4", "--levels", "20,60", "--fill", "grey", "--fill", "black", "--mode", "remove")
    how = ("--method", "input-x-gradient", "--out", "other")
    said = shell("generalise", "family.toml", *typed, *how)
    assert "3 models x 4 images, input-x-gradient; 2 controls, 2 levels -> other" in said
    manifest = json.loads(Path("other/manifest.json").read_text(encoding="utf-8"))
    assert manifest["levels"] == [20, 60]
    assert manifest["fills"] == ["grey", "black"]
    assert manifest["modes"] == ["remove"]
    assert not Path("runs/tiny").exists()


def test_settings_are_laid_over_methods():
    file = [{"name": "lrp", "composite": "epsilon-plus", "label": "plus"}, "grad-cam"]
    found = methods_of(file, ["lrp.composite=epsilon"])
    assert found == [{"name": "lrp", "composite": "epsilon", "label": "plus"}, {"name": "grad-cam"}]
    assert methods_of([("lrp", {"composite": "epsilon"})], []) == [{"name": "lrp", "composite": "epsilon"}]
    with pytest.raises(MethodError, match="rise"):
        methods_of(file, ["rise.masks=3"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nothing.toml",), "cannot be read"),
        (("family.toml", "--levels", "50,20"), "rising"),
        (("family.toml", "--levels", "a,b"), "must be numbers"),
        (("family.toml", "--fill", "pink"), "fills: there is no 'pink'"),
        (("family.toml", "--mode", "hide"), "modes: there is no 'hide'"),
        (("family.toml", "--method", "none-such"), "none-such"),
        (("family.toml", "--set", "rise.masks=3"), "rise"),
    ],
)
def test_slips_are_told_before_any_work(place, words, text):
    assert text in shell("generalise", *words, code=2)
    assert not Path("runs").exists()


def test_the_help_teaches_a_family():
    said = shell("generalise", "--help")
    for word in ("[models.imagenet-male-0]", "[data]", "factors", "--levels", "--mode", "Exit codes", "epsilon-plus"):
        assert word in said

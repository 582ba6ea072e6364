"""`sightline audit` as it is typed: three kinds of data, exit codes, files, and what is said of slips."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from audited import NAMES, drawn
from sightline import picture
from sightline.cli import app
from sightline.cli._audit import layers_of, name_of

NET = """
import sys
sys.path.insert(0, {tests!r})
from audited import build
"""
MODEL = ("-m", "python:net.py:build", "--labels", "labels.txt", "--decision", "multilabel", "--method", "hires-cam")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("net.py").write_text(NET.format(tests=str(Path(__file__).parent)))
    Path("labels.txt").write_text("\n".join(NAMES))
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def images(folder: Path, count: int) -> list[list[int]]:
    """Rendered faces as files 0.png ..., and their attributes."""
    folder.mkdir(parents=True)
    faces = drawn(count)
    for i, pixels in enumerate(faces.pixels):
        Image.fromarray(picture.photograph(pixels)).save(folder / f"{i}.png")
    columns = [faces.names.index(name) for name in NAMES]
    return faces.attributes[:, columns].int().tolist()


RATES = ("--rate", "Eyeglasses=0.4", "--rate", "Wearing_Hat=0.3")


def test_rendered_faces_conditions_and_json(place):
    said = shell(
        "audit", "faces:60", *MODEL, *RATES, "--fail-if", "FNR(Eyeglasses) > 0.5", "--fail-if", "FNR(Smiling) > 0.5",
        "--json", "out.json", "--out", "run", code=3,
    )  # fmt: skip
    assert "60 images, hires-cam -> run" in said
    assert "The rarer side bears the errors (grave). Of the" in said
    assert "holds: FNR(Eyeglasses) > 0.5 (FNR(Eyeglasses) = " in said
    assert "does not hold: FNR(Smiling) > 0.5" in said
    found = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [c["holds"] for c in found["conditions"]] == [True, False]
    assert found["name"] == "build"
    again = shell("audit", "faces:60", *MODEL, *RATES, "--out", "run")
    assert "60 of 60 images are finished" in again
    assert "report.html" in shell("report", "run", "--export", "bias.csv")
    assert Path("bias.csv").read_text(encoding="utf-8").startswith("attribute,side,")
    # Another network into a folder of its own, compared; then the same against the finished run.
    said = shell("audit", "faces:60", *MODEL, *RATES, "--against", "python:net.py:build:0", "--out", "run")
    assert "comparison.html" in said
    assert "“build” against “build-0”" in Path("run/comparison.html").read_text(encoding="utf-8")
    said = shell("audit", "faces:60", *MODEL, *RATES, "--against", "run/against", "--out", "run")
    assert "comparison.html" in said
    Path("run/comparison.html").unlink()
    shell("report", "run/against", "--against", "run")
    assert Path("run/against/comparison.html").is_file()


def test_an_undefined_figure_is_an_error_and_the_file_is_there_all_the_same(place):
    rates = ("--rate", "Eyeglasses=0", "--attribute", "Eyeglasses")
    said = shell("audit", "faces:30", *MODEL, *rates, "--fail-if", "FNR(Eyeglasses) > 0.5", "--json", "o.json", code=2)
    assert "FNR(Eyeglasses) is not defined" in said
    assert json.loads(Path("o.json").read_text(encoding="utf-8"))["errors"][0]["FNR"] is None


def test_a_table_with_groups_unknown_values_and_a_broken_image(place):
    truth = images(place / "faces", 40)
    (place / "faces" / "torn.png").write_bytes(b"none")
    lines = [f"path,{','.join(NAMES)},region"]
    lines += [f"{i}.png,{','.join(str(2 * v - 1) for v in row)},{'north' if i % 2 else 'south'}"
              for i, row in enumerate(truth)]  # fmt: skip
    lines += ["torn.png,1,,-1,north", "gone.png,1,1,1,north"]
    Path("faces/all.csv").write_text("\n".join(lines))
    assert "needs masks" in shell("audit", "faces/all.csv", *MODEL, "--regions", "exact", code=2)
    said = shell("audit", "faces/all.csv", *MODEL, "--group", "region", "--fit", "squash", "--out", "run", code=1)
    assert "gone.png" in said
    assert "torn.png" in said
    assert "41 images" in said
    text = Path("run/report.html").read_text(encoding="utf-8")
    assert "region: north" in text
    assert "torn.png" in text


def test_celeba_takes_the_test_part(place):
    truth = images(place / "celeba" / "img_align_celeba", 24)
    rows = [f"{i}.png {' '.join(str(2 * v - 1) for v in row)}" for i, row in enumerate(truth)]
    Path("celeba/list_attr_celeba.txt").write_text("\n".join([str(len(rows)), " ".join(NAMES), *rows]))
    parts = [f"{i}.png {2 if i >= 8 else 0}" for i in range(len(rows))]
    Path("celeba/list_eval_partition.txt").write_text("\n".join(parts))
    said = shell("audit", "celeba", *MODEL, "--fit", "squash", "--group", "Smiling", "--out", "run")
    assert "16 images" in said
    assert "8 images" in shell("audit", "celeba", *MODEL, "--fit", "squash", "--part", "train", "--out", "train")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nothing", *MODEL), "is no CelebA folder"),
        (("faces:many", *MODEL), "write faces:N"),
        (("faces:9", *MODEL, "--part", "test"), "--part does not belong to rendered faces"),
        (("faces:9", *MODEL, "--rate", "Bald"), "cannot read --rate"),
        (("faces:9", *MODEL, "--regions", "boxes"), "--regions must be grid"),
        (("faces:9", *MODEL, "--fit", "zoom"), "--fit must be crop"),
        (("faces:9", *MODEL, "--box", "0.5,0,0.1,1"), "--box must be"),
        (("faces:9", *MODEL, "--positive", "a"), "needs --positive, --negative and the one --attribute"),
        (("faces:9", *MODEL, "--group", "Tall"), "there is no group column 'Tall'"),
        (("faces:9", *MODEL, "--edit", "hide"), "there is no edit 'hide'"),
        (("faces:9", *MODEL, "--attribute", "Tall"), "no output 'Tall'"),
        (("faces:9", *MODEL, "--fail-if", "FNR(Bald"), "cannot read the condition"),
        (("faces:9", *MODEL, "--json", "out.txt"), "must end in .json"),
        (("faces:9", *MODEL, "--method", "grad-kam"), "did you mean"),
        (("faces:9", *MODEL, "--against-weights", "x.pth"), "belongs to a model that is named by --against"),
    ],
)
def test_what_cannot_be_asked_is_said(place, words, text):
    assert text in shell("audit", *words, code=2)


def test_names_and_layers():
    specs = {
        "runs/attributes/balanced": "balanced",
        "runs/x/classifier.safetensors": "x",
        "python:nets/a.py:build:small": "build-small",
        "timm:vit_b.16": "vit_b.16",
    }
    assert {spec: name_of(spec) for spec in specs} == specs
    assert layers_of([]) is None
    assert layers_of(["after=layer4", "layer3"]) == {"after": "layer4", "layer3": "layer3"}


def test_two_outputs_are_a_contrast(place):
    Path("pair.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), *pool)\n"
        "    return net.eval(), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 64\n"
    )
    Path("two.txt").write_text("with\nwithout")
    typed = ("-m", "python:pair.py:build", "--labels", "two.txt", "--decision", "categorical", "--method", "hires-cam")
    assert "which of them mean yes and no" in shell("audit", "faces:20", *typed, code=2)
    pair = ("--attribute", "Eyeglasses", "--positive", "with", "--negative", "without")
    shell("audit", "faces:20", *typed, *pair, "--rate", "Eyeglasses=0.5", "--out", "run")
    assert "output 0 - output 1" in Path("run/report.html").read_text(encoding="utf-8")

"""`sightline bench` and `sightline metrics`, as they are typed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from sightline import store
from sightline.cli import app
from sightline.errors import InputError
from sightline.studies.benchmarking import Benchmark
from sightline.studies.benchmarking.reading import read_data, read_plan
from sightline.studies.benchmarking.work import TIMES

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and photographs, made the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


TYPED = ("bench", "photos", "-m", "python:net.py:build", "--size", "8", "--fit", "squash", "--method", "grad-cam",
         "--metric", "insertion", "--set", "insertion.steps=3", "--metric", "average-drop")  # fmt: skip


def test_options_and_a_plan_give_the_same_table(place):
    said = shell(*TYPED, "--out", "typed")
    assert "nothing is finished yet" in said
    assert "28 images x methods:" in said
    assert "build" in said  # the model's name
    for label in (
        "grad-cam",
        "uniform",
        "other-image",
        "insertion (steps=3) ↑",
        "average-drop ↓",
        "mask space: pixels",
    ):
        assert label in said
    Path("plan.toml").write_text(
        """
        out = "planned"
        fit = "squash"
        methods = ["grad-cam"]
        metrics = [{ name = "insertion", steps = 3 }, "average-drop"]
        [models.build]
        model = "python:net.py:build"
        size = 8
        [data]
        images = "photos"
        """
    )
    shell("bench", "--plan", "plan.toml")
    rows = [Benchmark(place / name).rows().drop(TIMES) for name in ("typed", "planned")]
    assert rows[0].equals(rows[1])
    assert "28 images x methods are finished" in shell(*TYPED, "--out", "typed")


def test_errors_of_rows_are_exit_code_1(place):
    (place / "photos" / "2.png").write_bytes(b"broken")
    said = shell(*TYPED, code=1)
    assert "2.png, grad-cam: photos/2.png" in said
    assert len(store.read_table(place / "run")) == 4 * 7 * 2


def test_tables_of_images_and_targets(place):
    Path("images.csv").write_text("path,label,boxes\n" + "".join(f"photos/{i}.png,{i % 2},0 0 4 9\n" for i in range(4)))
    shell("bench", "--table", "images.csv", *TYPED[2:], "--metric", "energy-pointing-game", "--target", "each:0,1",
          "--limit", "3", "--seed", "4")  # fmt: skip
    rows = store.read_table(place / "run")
    assert len(rows) == 3 * 7 * 3 * 2
    assert rows["seed"].unique().to_list() == [4]
    assert rows["label"].unique().sort().to_list() == ["0", "1"]
    uniform = rows.filter(method="uniform", metric="energy-pointing-game")
    assert uniform["value"].to_list() == pytest.approx([4 / 9] * 6, abs=0.06)  # the share of the box


def test_a_limit_takes_images_of_all_folders_and_a_larger_one_adds_to_them(place):
    for name, count in (("a", 4), ("b", 2), ("c", 4), ("d", 4), ("e", 4)):
        (place / "classes" / name).mkdir(parents=True)
        for i in range(count):
            (place / "classes" / name / f"{i}.png").write_bytes((place / "photos" / f"{i}.png").read_bytes())

    def taken(limit, **data):
        records, _ = read_data({**data, "limit": limit}, "here")
        return [f"{r.path.parent.name}{r.path.stem}" for r in records]

    for data in ({"format": "folders", "root": "classes"}, {"images": "classes"}):
        assert taken(2, **data) == ["a0", "e0"]  # spread even where there are fewer than folders
        assert sorted(taken(5, **data)) == ["a0", "b0", "c0", "d0", "e0"]
        assert sorted(taken(14, **data)) == sorted(f"{c}{i}" for c in "abcde" for i in range(3) if c != "b" or i < 2)
        for few in range(1, 18):
            assert set(taken(few, **data)) < set(taken(few + 1, **data))
        assert len(taken(99, **data)) == 18
    typed = ("bench", "classes", *TYPED[2:], "--out", "run")
    shell(*typed, "--limit", "4")
    assert "28 images x methods are finished" in shell(*typed, "--limit", "7")  # goes on with the first four
    assert Benchmark(place / "run").rows()["image"].n_unique() == 7


def test_variables_in_the_paths_of_a_plan_are_filled_in(place, monkeypatch):
    (place / "nested").mkdir()
    (place / "photos").rename(place / "nested" / "photos")
    plan = '[models.a]\nmodel = "faces:balanced"\n[data]\nimages = ["%s/photos"]'
    for text in ("$PHOTO_ROOT", "${PHOTO_ROOT}", "~/nested"):
        (place / "plan.toml").write_text(plan % text)
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.setenv("PHOTO_ROOT", str(place / "nested"))
        arguments, _ = read_plan("plan.toml")
        assert [r.path for r in arguments["images"]] == [place / "nested" / "photos" / f"{i}.png" for i in range(4)]
        assert arguments["root"] == str(place / "nested" / "photos")
    monkeypatch.delenv("PHOTO_ROOT")
    (place / "plan.toml").write_text(plan % "$PHOTO_ROOT")
    with pytest.raises(InputError, match=r"data.images.*PHOTO_ROOT, which is not set; export PHOTO_ROOT="):
        read_plan("plan.toml")


def test_what_was_typed_wrongly_is_told(place):
    for words, text in (
        (("bench", "photos"), "name a model with --model, or a plan with --plan"),
        ((*TYPED, "--metric", "insertoin"), "did you mean 'insertion'"),
        ((*TYPED, "--set", "rise.masks=3"), "is for 'rise'"),
        (("bench", *TYPED[2:]), "data names no images"),
        (("bench", "--plan", "none.toml"), "the plan cannot be read"),
    ):
        assert text in shell(*words, code=2)
    assert "--model stands in the plan" in shell("bench", "--plan", "x.toml", "-m", "faces:balanced", code=2)
    for text, wrong in (
        ("there is no 'metods'", 'metods = ["grad-cam"]'),
        ("name at least one model", 'methods = ["grad-cam"]'),
        ("there is no 'modle'", '[models.a]\nmodle = "x"\n[data]\nimages = "photos"'),
        ("has no entry model", '[models.a]\nsize = 8\n[data]\nimages = "photos"'),
        ("the format of data must be", '[models.a]\nmodel = "faces:balanced"\n[data]\nformat = "voc"'),
        ("takes images, instances", '[models.a]\nmodel = "faces:balanced"\n[data]\nformat = "coco"'),
        ("limit must be", '[models.a]\nmodel = "faces:balanced"\n[data]\nimages = "photos"\nlimit = 0'),
    ):
        Path("plan.toml").write_text(wrong)
        assert text in shell("bench", "--plan", "plan.toml", code=2)


def test_metrics_are_listed_with_their_formulas(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    said = shell("metrics")
    assert all(m.name in said for m in sl.metrics())
    assert "insertion" not in shell("metrics", "--family", "complexity")
    one = shell("metrics", "insertion")
    assert "AUC = (sum_t h_t - (h_0 + h_L) / 2) / L" in one
    assert "Petsiuk" in one
    assert "up, from 0 to 1" in one
    assert "did you mean 'deletion'" in shell("metrics", "deletoin", code=2)
    assert "there is no family 'cam'" in shell("metrics", "--family", "cam", code=2)


def test_the_shell_starts_without_torch():
    code = "import sys, sightline.cli.bench, sightline.cli.metrics; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

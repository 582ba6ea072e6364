"""`sightline train attributes` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sightline as sl
from attributes_case import celeba_folder
from sightline import store
from sightline.cli import app

TYPED = ("train", "attributes", "celeba", "--backbone", "timm:test_resnet", "--option", "drop_rate=0.1", "--size", "32",
         "--fit", "squash", "--set", "epochs=2", "--set", "batch=8", "--loss", "moon", "--device", "cpu")  # fmt: skip

FACES = ("train", "attributes", "faces:24", "--backbone", "facenet", "--size", "32", "--set", "epochs=1",
         "--set", "batch=8", "--attribute", "Smiling", "--attribute", "Bangs", "--device", "cpu")  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with faces in CelebA's layout, made the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    celeba_folder(tmp_path / "celeba", 40, broken=5)
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_a_training_is_told_before_done_kept_and_opened(place: Path) -> None:
    said = shell(*TYPED, "--out", "run", "--cache", "kept")
    for part in (
        "29 images to train on, 10 to choose the epoch by",
        "left out: celeba/img_align_celeba/000006.png",
        "weights of answers from",
        "8 steps to the end of epoch 2, at most about",
        "epoch 2: loss",
        "unweighted",
        "The classifier: run/classifier.safetensors",
    ):
        assert part in said
    assert store.read_manifest("run")["settings"]["options"] == {"drop_rate": 0.1}
    again = shell(*TYPED, "--out", "run", "--cache", "kept")
    assert "epoch 1: loss" not in again
    assert sl.load("run").labels == ("red", "bright")
    shell("explain", "celeba/img_align_celeba/000001.png", "-m", "run", "--target", "attribute:red", "--out", "maps")
    (place / "run/report.html").unlink()
    assert "The page" in shell("report", "run")
    assert "000006.png" in (place / "run/report.html").read_text(encoding="utf-8")


def test_weights_of_images_come_from_a_table(place: Path) -> None:
    names = [f"{i:06d}.png" for i in range(1, 41)]
    lines = [f"{name},{1 + (i % 3)}" for i, name in enumerate(names)]
    (place / "w.csv").write_text("path,weight\n" + "\n".join(lines))
    shell(*TYPED, "--out", "run", "--image-weights", "w.csv", "--set", "epochs=1")
    plain = shell(*TYPED, "--out", "other", "--set", "epochs=1")
    assert "epoch 1: loss" in plain
    first, other = (
        json.loads((place / run / "finished.jsonl").read_text())["train_weighted"] for run in ("run", "other")
    )
    assert first > 1.5 * other  # the mean weight is 2
    (place / "w.csv").write_text("path,weight\n" + "\n".join(lines[:4]))
    assert "has no weight for" in shell(*TYPED, "--out", "run2", "--image-weights", "w.csv", code=2)
    (place / "w.csv").write_text("file,weight\na,1")
    assert "it needs 'path' and 'weight'" in shell(*TYPED, "--out", "run2", "--image-weights", "w.csv", code=2)
    assert "must be a table" in shell(*TYPED, "--out", "run2", "--image-weights", "none.csv", code=2)


def test_what_was_typed_wrongly_is_said(place: Path) -> None:
    assert "list_attr_celeba.txt" in shell("train", "attributes", "img", "--out", "run", code=2)
    assert "loss must be one of" in shell(*TYPED, "--loss", "fair", "--out", "run", code=2)
    assert "landmarks" in shell(*TYPED, "--fit", "align", "--out", "run", code=2)
    assert "no attribute 'blue'" in shell(*TYPED, "--attribute", "blue", "--out", "run", code=2)
    assert "--backbone" in shell("train", "attributes", "--help")


def test_two_processes_part_each_batch(place: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sightline", *FACES, "--devices", "2", "--out", "two"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    manifest = store.read_manifest("two")
    assert manifest["settings"]["processes"] == 2
    assert store.read_parts("two")[0]["step"] == 3
    assert sl.load("two").labels == ("Smiling", "Bangs")
    assert not (place / "two/.images").exists()

"""`sightline train attention` as it is typed, and the page of a training."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sightline import store
from sightline.cli import app
from sightline.errors import StorageError
from sightline.report.training import Report

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""
TYPED = ("train", "attention", "photos", "-m", "python:net.py:build", "--size", "8", "--fit", "squash",
         "--set", "epochs=2", "--set", "validation=0.3", "--set", "batch=8", "--set", "balance=auto")  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and photographs, made the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "net.py").write_text(NET)
    for i in range(24):
        folder = tmp_path / "photos" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_a_training_is_told_before_done_kept_and_used(place: Path) -> None:
    said = shell(*TYPED, "--out", "run")
    assert "images to train on" in said
    assert "steps to the end of epoch 2, about" in said
    assert "epoch 2: loss" in said
    assert "The attention: run/attention.safetensors" in said
    assert "2 of 2 epochs are finished" in shell(*TYPED, "--out", "run")
    used = ("--method", "l-cam-fm", "--set", "l-cam-fm.weights=run/attention.safetensors", "--out", "maps")
    shell("explain", "photos/a", "-m", "python:net.py:build", "--size", "8", "--fit", "squash", *used)
    assert list((place / "maps").rglob("*.png"))


def test_the_page_holds_every_epoch_and_opens_alone(place: Path) -> None:
    shell(*TYPED, "--out", "run", "--set", "augment=False")
    text = (place / "run/report.html").read_text()
    for words in ("Training of an attention: run", "chooses the epoch", "increase in %", "balanced from", "lambda: l4"):
        assert words in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    for row in store.read_parts(place / "run"):
        assert f"{row['train_loss']:.4g}" in text
    said = shell("report", "run", "--export", "epochs.csv")
    assert "The table: epochs.csv" in said
    lines = (place / "epochs.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "train_tv" in lines[0]
    store.Run(place / "other", {"study": "other", "settings": {}}).close()
    with pytest.raises(StorageError, match="study 'other'"):
        Report.of(place / "other")


def test_the_page_of_one_epoch_shows_its_points(place: Path) -> None:
    shell(*TYPED, "--out", "run", "--set", "epochs=1")
    text = (place / "run/report.html").read_text()
    assert text.count('<span class="point') >= 2
    assert '<path class="line"' not in text


def test_labels_come_from_folders_and_are_checked_against_the_head(place: Path) -> None:
    labelled = ("train", "attention", "--classes", "photos", *TYPED[3:], "--set", "targets=label")
    shell(*labelled, "--out", "run")
    assert store.read_manifest(place / "run")["settings"]["recipe"]["targets"] == "label"
    (place / "photos/d").mkdir()
    Image.new("RGB", (9, 9)).save(place / "photos/d/x.png")
    said = shell(*labelled, "--out", "other", code=2)
    assert "its label is 3, but this classifier has the outputs 0 to 2" in said


def test_what_cannot_be_asked_is_told(place: Path) -> None:
    assert "name the images to train on" in shell("train", "attention", "-m", "python:net.py:build", code=2)
    assert "no 'epoch'" in shell(*TYPED, "--set", "epoch=3", code=2)
    assert "there is no recipe 'papre'" in shell(*TYPED, "--recipe", "papre", code=2)
    helped = shell("train", "attention", "--help")
    assert "Examples:" in helped
    assert "--exclude" in helped
    assert "attention" in shell("train", "--help")


def test_ctrl_c_keeps_a_checkpoint(place: Path) -> None:
    command = [sys.executable, "-m", "sightline", *TYPED, "--set", "epochs=100000", "--cache", "off", "--out", "run"]
    found = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert found.stderr is not None
    while not found.stderr.readline().startswith("epoch 1"):
        assert found.poll() is None
    os.kill(found.pid, signal.SIGINT)
    rest = found.communicate(timeout=120)[1]
    assert found.returncode == 130, rest
    assert "the same command goes on" in rest
    assert store.read_parts(place / "run")
    assert (place / "run/checkpoint.safetensors").exists()


def test_two_processes_share_a_batch(place: Path) -> None:
    several = subprocess.run(
        [sys.executable, "-m", "sightline", *TYPED, "--devices", "2", "--device", "cpu", "--out", "two"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert several.returncode == 0, several.stderr
    manifest = json.loads((place / "two/manifest.json").read_text())
    assert manifest["settings"]["processes"] == 2
    assert len(store.read_parts(place / "two")) == 2

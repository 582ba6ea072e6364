"""The shell: what it writes, how it goes on after a stop, and what it says when something is wrong."""

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import sightline as sl
from sightline.cli import app

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.features = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))

def build():
    return Net(), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 32

def silent():
    net = Net()
    nn.init.zeros_(net.features[3].weight)
    nn.init.constant_(net.features[3].bias, -1.0)
    return net, None, None, 32
"""

Run = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (40, 52, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"p{i}.jpg")
    return folder


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    return f"python:{tmp_path / 'net.py'}:build"


@pytest.fixture
def run(photos: Path, net: str, tmp_path: Path) -> Run:
    """Run `sightline explain photos -m net --out tmp/out` with more arguments."""

    def explain(*more: object, out: str = "out", model: str = net) -> Result:
        fixed = [photos, "-m", model, "--labels", tmp_path / "labels.txt", "--device", "cpu", "--out", tmp_path / out]
        return CliRunner().invoke(app, ["explain", *map(str, (*fixed, *more))])

    return explain


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "explanations.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def error_of(result: Result, says: str) -> None:
    """Exit code 2, one red line, no traceback."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in result.output


def test_photos_times_methods(run: Run, tmp_path: Path) -> None:
    result = run("--method", "grad-cam", "--method", "hires-cam", "--batch", "2")
    assert result.exit_code == 0, result.output
    assert "3 photos x 2 methods (grad-cam, hires-cam)" in result.stderr
    assert "the first 2 photos took" in result.stderr
    assert "3 photos explained: 6 maps" in result.stdout
    rows = table(tmp_path / "out")
    assert [(row["name"], row["method"]) for row in rows] == [
        (f"p{i}", method) for i in range(3) for method in ("grad-cam", "hires-cam")
    ]
    for row in rows:
        assert row["predicted"] in ("cat", "dog", "owl")
        assert row["target"] == row["predicted"]
        stored = sl.Explanation.load((tmp_path / "out" / row["maps"]).parent)
        assert stored.method == row["method"]
        assert len(stored) == 1
        assert float(stored.probability[0]) == pytest.approx(float(row["probability"]))
        assert Image.open(tmp_path / "out" / row["overlay"]).size == (32, 32)
    for i in range(3):
        assert Image.open(tmp_path / "out" / "sheets" / f"p{i}.png").width > 3 * 224
    assert (tmp_path / "out" / "overview-001.png").is_file()


def test_maps_of_any_batch_equal_the_library(run: Run, tmp_path: Path, net: str, photos: Path) -> None:
    from sightline.data.images import fit

    for batch in ("1", "3"):
        assert run("--batch", batch, "--fit", "squash", "--box", "0,0,0.5,1", out=batch).exit_code == 0
    clf = sl.load(net)
    for i in range(3):
        pixels = fit(sl.read_image(photos / f"p{i}.jpg"), 32, how="squash", box=(0, 0, 0.5, 1))[None]
        expected = sl.explain(clf, pixels).maps
        for batch in ("1", "3"):
            found = sl.Explanation.load(tmp_path / batch / "grad-cam" / f"p{i}").maps
            assert (found - expected).abs().max() < 1e-6


def test_several_targets_and_a_setting(run: Run, tmp_path: Path) -> None:
    targets = ["--target", "contrast:cat:dog", "--target", "each:cat,owl", "--target", "predicted"]
    result = run(*targets, "--method", "grad-cam++", "--set", "grad-cam++.eps=1e-3", "--layer", "features.1")
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "out")
    assert [row["target"] for row in rows[:3]] == ["cat rather than dog", "cat", "owl"]
    assert rows[3]["target"] == rows[3]["predicted"]
    stored = sl.Explanation.load(tmp_path / "out" / "grad-cam++" / "p0")
    assert stored.provenance["settings"]["eps"] == 1e-3
    assert stored.layers == ("features.1",)
    assert (tmp_path / "out" / "grad-cam++" / "p0" / "overlay-0003.png").is_file()


def test_broken_photos_are_named_and_the_others_go_on(run: Run, photos: Path, tmp_path: Path) -> None:
    whole = (photos / "p1.jpg").read_bytes()
    (photos / "p1.jpg").write_bytes(whole[: len(whole) // 2])
    result = run("--batch", "1")
    assert result.exit_code == 1
    assert "1 photo failed" in result.stderr
    assert "p1.jpg: is truncated" in result.stderr
    assert [row["name"] for row in table(tmp_path / "out")] == ["p0", "p2"]
    (photos / "p1.jpg").write_bytes(whole)
    result = run("--batch", "1")
    assert result.exit_code == 0
    assert "2 photos finished by an earlier run; 1 to go" in result.stderr
    assert [row["name"] for row in table(tmp_path / "out")] == ["p0", "p1", "p2"]


def test_no_photo_at_all_can_be_read(run: Run, photos: Path) -> None:
    for file in photos.iterdir():
        file.write_bytes(b"no image")
    result = run()
    assert result.exit_code == 1
    assert "3 photos failed" in result.stderr


def test_the_same_command_again_does_nothing(run: Run, tmp_path: Path) -> None:
    assert run().exit_code == 0
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*.npz")}
    assert len(before) == 3
    result = run()
    assert result.exit_code == 0
    assert "0 to go" in result.stderr
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*.npz")} == before


def test_going_on_after_a_kill(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run().exit_code == 0
    out = tmp_path / "out"
    whole, lines = table(out), (out / "finished.jsonl").read_bytes().splitlines(keepends=True)
    (out / "finished.jsonl").write_bytes(lines[0] + lines[1][:40])  # the second line was cut off
    (out / "grad-cam" / "p2" / "maps.npz").unlink()
    (out / "explanations.csv").unlink()
    result = run()
    assert result.exit_code == 0, result.output
    assert "1 photo finished by an earlier run; 2 to go" in result.stderr
    assert table(out) == whole
    Image.new("RGB", (40, 40), "red").save(photos / "p0.jpg")  # another photo under the same name
    assert "2 photos finished by an earlier run; 1 to go" in run().stderr


def test_one_run_at_a_time_and_what_a_killed_one_left(run: Run, tmp_path: Path) -> None:
    from sightline.cli._folder import Folder

    pytest.importorskip("fcntl")
    assert run().exit_code == 0
    left = tmp_path / "out" / "grad-cam" / ".tmp-0123456789abcdef"
    left.mkdir()
    (left / "maps.npz").write_bytes(b"half")
    settings = json.loads((tmp_path / "out" / "explain.json").read_text())["settings"]
    with Folder(tmp_path / "out", settings, {}, overwrite=False):
        assert not left.exists()
        error_of(run(), "another process is writing to")
    assert run().exit_code == 0


def test_an_interruption_keeps_what_is_finished(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.cli._job import Job

    usual, calls = Job._ask, []

    def interrupted(self: Job, pixels: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return usual(self, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(Job, "_ask", interrupted)
    result = run("--batch", "1")
    assert result.exit_code == 130
    assert "2 of 3 photos are finished" in result.stderr
    assert "Traceback" not in result.output
    assert len(table(tmp_path / "out")) == 2
    monkeypatch.undo()
    assert "2 photos finished by an earlier run; 1 to go" in run("--batch", "1").stderr


def test_other_settings_are_refused_unless_overwritten(run: Run, tmp_path: Path) -> None:
    assert run().exit_code == 0
    error_of(run("--size", "40"), "size was [32, 32] and is now [40, 40]. Choose another --out, or --overwrite")
    error_of(run("--target", "cat"), 'targets was [] and is now ["cat"]')
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run("--method", "hires-cam", "--overwrite").exit_code == 0
    assert not (tmp_path / "out" / "grad-cam").exists()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert {row["method"] for row in table(tmp_path / "out")} == {"hires-cam"}


def test_a_folder_of_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    for more in ([], ["--overwrite"]):
        error_of(run(*more), "holds 'thesis.tex' and no explanations of ours")
    (tmp_path / "file").write_text("mine")
    error_of(run(out="file"), "is a file, not a folder")


def test_a_full_disk(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = np.savez_compressed, []

    def full(*arguments: object, **arrays: object) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        usual(*arguments, **arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "savez_compressed", full)
    error_of(run("--batch", "1"), "No space left on device")
    monkeypatch.undo()
    finished = [json.loads(line) for line in (tmp_path / "out" / "finished.jsonl").read_text().splitlines()]
    assert [record["name"] for record in finished] == ["p0", "p1"]
    sl.Explanation.load(tmp_path / "out" / "grad-cam" / "p1")
    assert not list((tmp_path / "out").rglob(".tmp-*"))
    assert run("--batch", "1").exit_code == 0


def test_photos_of_one_name(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "more").mkdir()
    Image.new("RGB", (40, 40), "blue").save(photos / "more" / "p0.png")
    Image.new("RGB", (40, 40), "green").save(photos / "more" / "P1.png")  # the same folder where case does not count
    assert run().exit_code == 0
    names = [row["name"] for row in table(tmp_path / "out")]
    assert len({name.casefold() for name in names}) == 5
    assert sum(name.startswith("p0-") for name in names) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "gradcam"], "there is no method 'gradcam'; did you mean"),
        (["--target", "dgo"], "there is no label 'dgo'; did you mean 'dog'"),
        (["--target", "wish:dog"], "cannot read the target 'wish:dog'"),
        (["--target", "attribute:dog"], "use Category(name)"),
        (["--layer", "features.9"], "features.9"),
        (["--method", "input-x-gradient", "--layer", "features.1"], "looks at a layer"),
        (["--set", "grad-cam.eps=1"], "grad-cam has no setting 'eps'"),
        (["--set", "eps=1"], "write METHOD.SETTING=VALUE"),
        (["--set", "fem.k=1"], "is for 'fem'"),
        (["--fit", "stretch"], "--fit must be crop, squash, pad"),
        (["--box", "0.5,0,0.2,1"], "--box must be x0,y0,x1,y1"),
        (["--decision", "maybe"], "decision must be one of"),
        (["--decision", "multilabel"], "say which"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--weights", "nowhere.pth"], "weights cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, tmp_path: Path, more: list[str], says: str) -> None:
    error_of(run(*more), says)
    assert not list(tmp_path.glob("out/*/*"))
    if more[0] in ("--target", "--layer", "--decision"):  # a folder without a photo on record takes other settings
        assert run().exit_code == 0


def test_paths_that_lead_nowhere(net: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "none.jpg"), "-m", net, "--out", str(tmp_path / "o")])
    error_of(result, "none.jpg: no such path")
    assert not (tmp_path / "o").exists()


def test_words_that_are_no_numbers(run: Run) -> None:
    for option, value, says in (
        ("--mean", "a,b,c", "'a,b,c'"),
        ("--size", "big", "'big'"),
        ("--batch", "0", "--batch"),
    ):
        result = run(option, value)
        assert result.exit_code == 2
        assert says in result.stderr


def test_empty_maps_are_counted(run: Run, tmp_path: Path, net: str) -> None:
    result = run("--layer", "features.4", model=net.replace(":build", ":silent"))
    assert result.exit_code == 0, result.output
    assert "3 maps without any energy: 3 of grad-cam" in result.stdout
    assert {row["empty"] for row in table(tmp_path / "out")} == {"True"}


def test_targets_that_do_not_exist_on_every_photo(run: Run, tmp_path: Path) -> None:
    from collections import Counter

    assert run(out="plain").exit_code == 0
    predicted = Counter(row["predicted"] for row in table(tmp_path / "plain"))
    often, count = predicted.most_common(1)[0]
    if count == 3:
        pytest.skip("all three photos have the same prediction")
    result = run("--target", f"contrast:predicted:{often}", "--batch", "3")  # predicted against itself
    assert result.exit_code == 1
    assert "needs two different categories" in result.stderr
    assert len(table(tmp_path / "out")) == 3 - count


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--method", "nothing-like-it", "--debug")
    assert isinstance(result.exception, sl.SightlineError)
    monkeypatch.setenv("SIGHTLINE_DEBUG", "1")
    assert isinstance(run("--method", "nothing-like-it").exception, sl.SightlineError)


def test_random_weights_are_said_loudly(photos: Path, tmp_path: Path) -> None:
    command = ["explain", photos / "p0.jpg", "-m", "torchvision:squeezenet1_1", "--size", "64", "--out", tmp_path / "o"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: torchvision:squeezenet1_1 has RANDOM weights")
    result = CliRunner().invoke(app, [*map(str, command), "--weights", "random"])
    assert "RANDOM" not in result.stderr
    assert "1 photo finished by an earlier run" in result.stderr  # random weights are the same every time


def test_methods() -> None:
    result = CliRunner().invoke(app, ["methods"])
    assert result.exit_code == 0
    for record in sl.methods():
        assert record.name in result.stdout
    only = CliRunner().invoke(app, ["methods", "--family", "pixel"]).stdout
    assert "input-x-gradient" in only
    assert "hires-cam" not in only
    one = CliRunner().invoke(app, ["methods", "hires-cam"]).stdout
    assert "S = sum_k g_k * A_k" in one
    assert "arXiv 2011.08891" in one
    error_of(CliRunner().invoke(app, ["methods", "hirescam"]), "did you mean 'hires-cam'")
    error_of(CliRunner().invoke(app, ["methods", "--family", "cams"]), "there is no family 'cams'")


def test_layers(net: str) -> None:
    result = CliRunner().invoke(app, ["layers", net])
    assert result.exit_code == 0, result.output
    assert "features.3" in result.stdout
    assert "6 x 14 x 14" in result.stdout
    marked = [line for line in result.stdout.splitlines() if line.strip().startswith("→")]
    assert len(marked) == 1
    assert "features" in marked[0]
    assert "--layer NAME" in result.stdout


def test_layers_of_a_library_model() -> None:
    few = CliRunner().invoke(app, ["layers", "torchvision:resnet18", "--size", "64"])
    assert few.exit_code == 0, few.output
    assert "RANDOM" not in few.stderr  # what is asked for does not depend on weights
    assert "512 x 2 x 2" in few.stdout
    assert "layer4.0.conv1" not in few.stdout
    assert (
        "layer4.0.conv1" in CliRunner().invoke(app, ["layers", "torchvision:resnet18", "--size", "64", "--all"]).stdout
    )


def test_signed_overlays_show_evidence_against(run: Run, tmp_path: Path) -> None:
    shown = []
    for flags in ([], ["--signed"]):
        out = tmp_path / f"run{len(flags)}"
        result = run("--method", "hires-cam", "--method", "saliency", *flags, "--out", str(out))
        assert result.exit_code in (0, 1), result.output
        shown.append(
            {
                m: next(iter(sorted((out / m).glob("*/overlay-0000.png")))).read_bytes()
                for m in ("hires-cam", "saliency")
            }
        )
    assert shown[0]["hires-cam"] != shown[1]["hires-cam"]
    assert shown[0]["saliency"] == shown[1]["saliency"]


@pytest.mark.parametrize("command", [[], ["explain"], ["methods"], ["layers"]])
def test_help_teaches(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert result.stdout.count("sightline ") >= 3
    assert max(map(ord, result.stdout)) < 0x1F000  # a name between colons could come out as a picture


def test_every_option_of_explain_has_an_example() -> None:
    import inspect
    from typing import get_type_hints

    from sightline.cli.explain import explain

    hints = get_type_hints(explain, include_extras=True)
    for name in inspect.signature(explain).parameters:
        text = hints[name].__metadata__[0].help
        assert text, name
        assert name in ("photos", "model") or "Example: --" in text, name


def test_python_m_sightline_and_light_help() -> None:
    code = (
        "import sys, sightline.cli\n"
        "heavy = {'torch', 'numpy', 'PIL', 'rich.table', 'rich.progress'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert light.returncode == 0, light.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "sightline", "--version"], capture_output=True, text=True, check=False
    )
    assert shown.stdout.strip() == f"sightline {sl.__version__}"


def test_a_whole_run_in_a_process_of_its_own(photos: Path, net: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sightline", "explain", str(photos), "-m", net, "--out", str(tmp_path / "o")]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wrong = subprocess.run([*command, "--method", "nothing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: there is no method 'nothing'")
    assert "Traceback" not in wrong.stderr

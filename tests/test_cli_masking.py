"""The shell with methods that make many passes: an estimate before, and a killed run that asks nothing twice."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import app
from sightline.cli._folder import SCORES
from sightline.explainers.masking import _engine
from test_cli import NET


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "net.py").write_text(NET)
    noise = np.random.default_rng(0).integers(0, 255, (40, 52, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg")
    ask = ["explain", str(tmp_path / "photo.jpg"), "-m", f"python:{tmp_path / 'net.py'}:build", "--weights", "random"]
    return [*ask, "--method", "rise", "--set", "rise.masks=64", "--set", "rise.chunk=8", "--out", str(tmp_path / "out")]


def test_an_estimate_comes_first_and_no_scores_stay(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "rise: 64 passes (eager, float32), about" in result.output
    assert not (tmp_path / "out" / SCORES).exists()
    record = sl.Explanation.load(tmp_path / "out" / "rise" / "photo").provenance["masking"]
    assert record["passes"] == [64]


def test_methods_that_optimise_tell_their_cost_too(command: list[str]) -> None:
    command[command.index("rise") : command.index("--out")] = ["opti-cam", "--set", "opti-cam.iterations=3"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "opti-cam: 3 passes (eager, float32), about" in result.output


def test_after_ctrl_c_the_same_command_goes_on(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CliRunner().invoke(app, command)
    assert whole.exit_code == 0
    expected = sl.Explanation.load(tmp_path / "out" / "rise" / "photo").maps
    asked: list[int] = []
    outputs = _engine.Engine._outputs

    def counted(self, jobs, chunks, forward, size):  # type: ignore[no-untyped-def]
        for parts, found in outputs(self, jobs, chunks, forward, size):
            if not self.question.probe:
                asked.append(len(found))
                if len(asked) == 4 and stop:
                    raise KeyboardInterrupt
            yield parts, found

    monkeypatch.setattr(_engine.Engine, "_outputs", counted)
    stop, again = True, [*command[:-1], str(tmp_path / "again")]
    assert CliRunner().invoke(app, again).exit_code == 130
    assert list((tmp_path / "again" / SCORES).glob("*.scores"))
    stop = False
    asked.clear()
    assert CliRunner().invoke(app, again).exit_code == 0
    assert sum(asked) == 64 - 24
    assert sl.Explanation.load(tmp_path / "again" / "rise" / "photo").maps.equal(expected)

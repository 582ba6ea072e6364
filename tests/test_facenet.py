"""The shipped attribute networks, and the training that made them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sightline.models.facenet as facenet
from sightline.data import faces
from sightline.errors import InputError, ModelError
from sightline.models.facenet import FaceNet, load_facenet
from sightline.training.attributes.shipped import HELD_OUT_RATES, Recipe, balanced_accuracy, main, normalise, train
from sightline.training.weights import moon

FOLDER = Path(facenet.__file__).parent


@pytest.fixture(scope="module")
def fresh() -> faces.Faces:
    return faces.sample(600, seed=987_654, rates=HELD_OUT_RATES)


@pytest.mark.parametrize(("name", "mean", "least"), [("balanced", 0.93, 0.80), ("unbalanced", 0.88, 0.60)])
def test_shipped_networks_know_fresh_faces(fresh: faces.Faces, name: str, mean: float, least: float) -> None:
    rows = balanced_accuracy(load_facenet(name), fresh)  # type: ignore[arg-type]
    accuracy = [row["balanced_accuracy"] for row in rows.values()]
    assert sum(accuracy) / len(accuracy) > mean, rows
    assert min(accuracy) > least, rows


def test_balancing_finds_more_of_what_is_rare(fresh: faces.Faces) -> None:
    plain, balanced = (balanced_accuracy(load_facenet(name), fresh) for name in ("unbalanced", "balanced"))
    rare = [name for name, rate in faces.NATURAL_RATES.items() if rate < 0.1]
    assert sum(balanced[name]["sensitivity"] - plain[name]["sensitivity"] for name in rare) / len(rare) > 0.02


@pytest.mark.parametrize("name", ["balanced", "unbalanced"])
def test_shipped_files_are_small_and_say_what_they_are(name: str) -> None:
    assert (FOLDER / f"facenet-{name}.safetensors").stat().st_size < 1_000_000
    network = load_facenet(name)  # type: ignore[arg-type]
    assert network.labels == faces.NAMES
    assert not network.training
    assert network.metadata["recipe"]["weighting"] == name
    assert network.metadata["training_rates"] == dict(faces.NATURAL_RATES)
    assert set(network.metadata["held_out"]["metrics"]) == set(faces.NAMES)
    assert {"sightline", "torch", "numpy"} <= set(network.metadata["versions"])


def test_last_map_is_legible() -> None:
    network = FaceNet(3).eval()
    assert network.features(torch.zeros(1, 3, 64, 64)).shape == (1, 96, 16, 16)
    assert network(torch.zeros(2, 3, 96, 80)).shape == (2, 3)


def test_a_short_training_lowers_the_loss_and_repeats() -> None:
    recipe = Recipe(weighting="unbalanced", count=400, epochs=4, batch=32, seed=3)
    before = torch.get_rng_state()
    steps: list[int] = []
    first = train(recipe, report=lambda done, total, loss: steps.append(done))
    assert torch.equal(torch.get_rng_state(), before)
    assert steps == list(range(1, 49))
    assert float(first.losses[-8:].mean()) < 0.8 * float(first.losses[:4].mean())
    short = replace(recipe, count=64, epochs=1)
    assert torch.equal(train(short).losses, train(short).losses)


def test_moon_weights_make_both_answers_count_alike() -> None:
    attributes = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    weights = moon(attributes)
    assert weights[:, 0].tolist() == pytest.approx([1 / 3, 1])
    assert weights[:, 1].tolist() == [1, 1]
    assert weights[:, 2].tolist() == pytest.approx([1, 1 / 3])


def test_normalisation_is_the_stated_one() -> None:
    assert normalise(torch.tensor([0.0, 0.5, 1.0]).repeat(3, 1)[None, :, :, None])[0, 0, :, 0].tolist() == [-2, 0, 2]


def test_command_writes_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--count", "64", "--epochs", "1", "--held-out", "40", "--weighting", "balanced"]
    assert main(["--out", str(tmp_path), *settings]) == 0
    assert "Eyeglasses" in capsys.readouterr().out
    network = load_facenet(tmp_path / "facenet-balanced.safetensors")
    assert network.metadata["recipe"]["count"] == 64
    assert main(["--out", str(tmp_path), "--count", "10"]) == 2
    assert "shrink the batch" in capsys.readouterr().err


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="balanced"):
        load_facenet("fair")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not exist"):
        load_facenet(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ModelError, match="not a FaceNet"):
        load_facenet(tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match="at least 1"):
        FaceNet(0)
    with pytest.raises(InputError, match="epochs"):
        Recipe(epochs=0)
    with pytest.raises(InputError, match="weighting"):
        Recipe(weighting="fair")

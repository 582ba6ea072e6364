"""Training of attention: going on after kills, what is left alone, what is refused, recorded and chosen."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import sightline as sl
from nets import ConvNet, images, seeded
from sightline import store
from sightline.errors import InputError, LayerError, MethodError, ModelError, SightlineWarning, StorageError
from sightline.training.attention import Recipe, fit_attention
from sightline.training.attention.loop import optimiser_of, set_rates
from sightline.training.attention.masks import Masks

QUICK = {"epochs": 2, "batch": 8, "learning_rate": 1e-2, "validation": 0.2, "progress": False}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def classifier() -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet), size=16, decision="categorical")


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "attention.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_killed_at_random_moments_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_training.py")
    found = subprocess.run(
        [sys.executable, script, tmp_path, "4"], capture_output=True, text=True, timeout=240, check=False
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) >= 3
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert same(
        load_file(tmp_path / "whole/checkpoint.safetensors"), load_file(tmp_path / "cut/checkpoint.safetensors")
    )
    whole, cut = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in store.read_parts(tmp_path / name)]
        for name in ("whole", "cut")
    )
    assert whole == cut


@pytest.mark.parametrize("method", ["l-cam-fm", "l-cam-img", "tame", "constant"])
def test_training_lowers_the_loss_and_leaves_the_model_alone(
    classifier: sl.Classifier, tmp_path: Path, method: str
) -> None:
    model = classifier.source.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(model.state_dict())
    found = fit_attention(classifier, images(40), out=tmp_path, method=method, **{**QUICK, "epochs": 4})
    assert found.history[-1]["train_loss"] < found.history[0]["train_loss"]
    assert model.training
    assert same(before, model.state_dict())
    assert all(bool((p.grad == 1).all()) and p.requires_grad for p in model.parameters())
    name = "learned-constant" if method == "constant" else method
    out = sl.explain(classifier, images(2), method=name, weights=found.path)
    assert out.maps.shape[0] == 2


@pytest.mark.parametrize("directions", ["two", "signed"])
def test_attributes_have_maps_for_their_sides(tmp_path: Path, directions: str) -> None:
    faces = sl.Classifier(seeded(ConvNet, 3), size=16, decision="multilabel", labels=["a", "b", "c"])
    found = fit_attention(faces, images(40), out=tmp_path, directions=directions, **QUICK)
    out = sl.explain(faces, images(1), method="l-cam-fm", weights=found.path, target=sl.each(["a", "b"]))
    assert len(out.maps) == 2
    with pytest.raises(MethodError, match="does not fit"):
        fit_attention(faces, images(40), out=tmp_path / "b", directions="category", **QUICK)


def test_labels_decide_where_they_are_asked_for(classifier: sl.Classifier, tmp_path: Path) -> None:
    pixels, labels = images(40), torch.arange(40) % 5
    by_label = fit_attention(classifier, (pixels, labels), out=tmp_path / "a", targets="label", **QUICK)
    by_answer = fit_attention(classifier, (pixels, labels), out=tmp_path / "b", **QUICK)
    assert not same(weights(by_label.out), weights(by_answer.out))
    with pytest.raises(InputError, match="needs the labels"):
        fit_attention(classifier, pixels, out=tmp_path / "c", targets="label", **QUICK)
    with pytest.raises(InputError, match=r"image 7: its label is 5, but this classifier has the outputs 0 to 4"):
        fit_attention(classifier, (pixels, torch.where(torch.arange(40) == 7, 5, 0)), out=tmp_path / "d", **QUICK)


def test_the_seed_decides_and_a_second_call_changes_nothing(classifier: sl.Classifier, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first = fit_attention(classifier, images(30), out=tmp_path / "a", **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    again = fit_attention(classifier, images(30), out=tmp_path / "b", **QUICK)
    other = fit_attention(classifier, images(30), out=tmp_path / "c", seed=1, **QUICK)
    assert same(weights(first.out), weights(again.out))
    assert not same(weights(first.out), weights(other.out))
    written = first.path.stat().st_mtime_ns
    fit_attention(classifier, images(30), out=tmp_path / "a", **QUICK)
    assert first.path.stat().st_mtime_ns == written


def test_other_settings_do_not_go_on_in_the_same_folder(classifier: sl.Classifier, tmp_path: Path) -> None:
    fit_attention(classifier, images(30), out=tmp_path, **QUICK)
    with pytest.raises(StorageError, match=r"learning_rate was 0\.01 and is now 0\.1"):
        fit_attention(classifier, images(30), out=tmp_path, **{**QUICK, "learning_rate": 0.1})
    with pytest.raises(StorageError, match="holds a run"):
        fit_attention(classifier, images(30), out=tmp_path, resume=False, **QUICK)
    found = fit_attention(classifier, images(30), out=tmp_path, overwrite=True, **{**QUICK, "epochs": 1})
    assert [row["epoch"] for row in found.history] == [1]


def test_a_checkpoint_in_mid_epoch_of_other_settings_is_refused(classifier: sl.Classifier, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    settings = {**QUICK, "cache": False, "checkpoint_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        fit_attention(classifier, images(30), out=tmp_path, **{**settings, "progress": stop})
    assert not store.read_parts(tmp_path)
    with pytest.raises(StorageError, match="other settings"):
        fit_attention(classifier, images(30), out=tmp_path, **{**settings, "seed": 3})
    fit_attention(classifier, images(30), out=tmp_path, **settings)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    classifier: sl.Classifier, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"no longer finite in step \d+ .*Lower the learning rate"):
        fit_attention(
            classifier, images(40), out=tmp_path, checkpoint_steps=1, **{**QUICK, "learning_rate": 1e30, "epochs": 6}
        )
    kept = load_file(tmp_path / "checkpoint.safetensors") if (tmp_path / "checkpoint.safetensors").exists() else {}
    assert all(bool(value.isfinite().all()) for value in kept.values())


def test_what_cannot_be_trained_is_told_before_anything_is_written(classifier: sl.Classifier, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(LayerError, match="did you mean"):
        fit_attention(classifier, images(20), out=out, layer="relu3", **QUICK)
    with pytest.raises(MethodError, match="BlackBox"):
        fit_attention(sl.BlackBox(lambda x: x.mean((2, 3))), images(20), out=out, method="p-tame", **QUICK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in this folder"):
        fit_attention(classifier, tmp_path / "empty", out=out, **QUICK)
    with pytest.raises(InputError, match="no dropout"):
        fit_attention(classifier, images(20), out=out, dropout_active=True, **QUICK)
    with pytest.raises(InputError, match="none is left"):
        fit_attention(classifier, images(20), out=out, exclude=images(20), **QUICK)


def test_p_tame_reads_another_network(tmp_path: Path, classifier: sl.Classifier) -> None:
    helper = sl.Classifier(seeded(ConvNet, 7, seed=5), size=16, decision="categorical")
    settings = {**QUICK, "method": "p-tame", "layer": ["relu1", "relu2"]}
    found = fit_attention(classifier, images(40), out=tmp_path, auxiliary=helper, **settings)
    box = sl.BlackBox(lambda x: classifier(x), size=16, decision="categorical")
    ours = sl.explain(classifier, images(2), method="p-tame", weights=found.path, auxiliary=helper)
    theirs = sl.explain(box, images(2), method="p-tame", weights=found.path, auxiliary=helper)
    assert torch.equal(ours.maps, theirs.maps)


def test_the_terms_are_balanced_to_one_order_of_magnitude(classifier: sl.Classifier, tmp_path: Path) -> None:
    found = fit_attention(
        classifier,
        images(40),
        out=tmp_path,
        **{**QUICK, "l1": 1e-7, "l2": 300.0, "balance": "auto", "learning_rate": 1e-9},
    )
    lambdas, row = store.read_manifest(tmp_path)["lambdas"], found.history[0]
    ce = lambdas["l3"] * row["train_ce"]
    for weight, term in ((lambdas["l1"], "tv"), (lambdas["l2"], "av")):
        assert ce / 10 < weight * row[f"train_{term}"] < ce * 10
    assert f"{lambdas['l1']:e}"[0] == "1"  # the mantissa is the one that was given
    assert f"{lambdas['l2']:e}"[0] == "3"


def test_the_epoch_is_chosen_by_what_it_was_not_trained_on_and_patience_ends(
    classifier: sl.Classifier, tmp_path: Path
) -> None:
    settings = {**QUICK, "epochs": 12, "learning_rate": 3.0, "patience": 2, "keep_epochs": True}
    found = fit_attention(classifier, images(40), out=tmp_path, **settings)
    losses = [row["valid_loss"] for row in found.history]
    best = losses.index(min(losses))
    assert len(losses) in (best + 3, 12)
    assert store.read_manifest(tmp_path)["best"] == best + 1
    assert found.learned.about["training"]["best"] == best + 1
    assert same(weights(tmp_path), load_file(tmp_path / f"epochs/epoch-{best + 1:04d}.safetensors"))


def test_broken_images_are_named_and_counted_and_the_same_image_never_stands_on_both_sides(
    classifier: sl.Classifier, tmp_path: Path
) -> None:
    from torchvision.utils import save_image

    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(images(30)):
        save_image(image, folder / f"{i}.png")
        save_image(image, folder / f"{i}-copy.png")
    (folder / "broken.png").write_bytes(b"no image")
    evaluated = tmp_path / "evaluated"
    evaluated.mkdir()
    (evaluated / "same.png").write_bytes((folder / "3.png").read_bytes())
    said: list[str] = []
    for cache in (True, False):
        out = tmp_path / f"run-{cache}"
        found = fit_attention(
            classifier, folder, out=out, exclude=evaluated, cache=cache, announce=said.append, fit="squash", **QUICK
        )
        manifest = store.read_manifest(out)
        assert manifest["failed"]["count"] == 1
        assert "broken.png" in next(iter(manifest["failed"]["images"]))
        counts = manifest["settings"]["images"]
        assert counts["excluded"] == 2
        assert counts["train"] + counts["validation"] == 59
        assert counts["validation"] % 2 == 0 or counts["train"] % 2 == 0  # copies stay together; the broken is alone
        assert all(row["train_loss"] > 0 for row in found.history)
    assert any("2 left out as copies" in line for line in said)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Dropout(0.5), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.body(x).relu().mean((2, 3))))


@pytest.mark.parametrize("method", ["l-cam-fm", "l-cam-img"])
def test_the_quirk_of_dropout_that_stays_on(tmp_path: Path, method: str) -> None:
    classifier = sl.Classifier(seeded(Dropping), size=16, decision="categorical")
    plain = fit_attention(classifier, images(30), out=tmp_path / "a", method=method, **QUICK)
    active = [
        fit_attention(classifier, images(30), out=tmp_path / name, method=method, dropout_active=True, **QUICK)
        for name in ("b", "c")
    ]
    assert not same(weights(plain.out), weights(active[0].out))
    assert same(weights(active[0].out), weights(active[1].out))  # drawn from the seed
    assert not any(module.training for module in classifier.twin().modules())


def test_the_quirk_of_pixels_that_are_not_normalised(tmp_path: Path) -> None:
    model = seeded(ConvNet)
    normalised = sl.Classifier(model, size=16, decision="categorical", mean=[0.5], std=[0.2])
    bare = sl.Classifier(model, size=16, decision="categorical")
    quirk = fit_attention(normalised, images(30), out=tmp_path / "a", unnormalised=True, **QUICK)
    plain = fit_attention(bare, images(30), out=tmp_path / "b", **QUICK)
    assert same(weights(quirk.out), weights(plain.out))


def test_weights_and_biases_have_rates_and_decays_of_their_own() -> None:
    from sightline.explainers.learned._attention import LCam

    masks = Masks(LCam(4, 3), "own")
    recipe = Recipe(learning_rate=0.1, decay_biases=False, factor=0.5, factor_epochs=(1, 2))
    optimiser = optimiser_of(masks, recipe)
    assert [g["weight_decay"] for g in optimiser.param_groups] == [5e-4, 0]
    rates = []
    for step in (0, 9, 10, 20, 39):
        set_rates(optimiser, recipe, step, 10)
        rates.append([g["lr"] for g in optimiser.param_groups])
    assert rates == [[0.1, 0.2], [0.1, 0.2], [0.05, 0.1], [0.025, 0.05], [0.025, 0.05]]


def test_one_process_at_a_time_writes_to_a_folder(classifier: sl.Classifier, tmp_path: Path) -> None:
    with (
        store.Run(tmp_path, {"study": "train attention", "settings": {}}),
        pytest.raises(StorageError, match="another"),
    ):
        fit_attention(classifier, images(30), out=tmp_path, **QUICK)


def test_a_run_that_goes_on_without_its_features_says_so(classifier: sl.Classifier, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if total < 20 and done >= 4:  # steps, not views
            raise KeyboardInterrupt

    settings = {**QUICK, "checkpoint_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        fit_attention(classifier, images(30), out=tmp_path, **{**settings, "progress": stop})
    with pytest.warns(SightlineWarning, match="goes on with None"):
        fit_attention(classifier, images(30), out=tmp_path, cache=False, **settings)


def test_a_warm_start_begins_at_cam(classifier: sl.Classifier, tmp_path: Path) -> None:
    settings = {**QUICK, "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    found = fit_attention(classifier, images(30), out=tmp_path, warm_start=True, **settings)
    cam = sl.explain(classifier, images(2), method="cam")
    ours = sl.explain(classifier, images(2), method="l-cam-fm", weights=found.path)
    assert torch.allclose(cam.maps, ours.maps, atol=1e-4)
    with pytest.raises(MethodError, match="only an L-CAM"):
        fit_attention(classifier, images(30), out=tmp_path / "b", method="tame", warm_start=True, **settings)

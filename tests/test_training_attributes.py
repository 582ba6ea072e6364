"""Training classifiers of attributes: learning, resuming, the file that comes out, and what is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import sightline as sl
from attributes_case import NAMES, celeba_folder, coloured
from sightline import store
from sightline.data import annotations, faces
from sightline.data.alignment import Preparation
from sightline.errors import InputError, ModelError, StorageError
from sightline.loading.backbones import backbone
from sightline.loading.trained import preparation_of, read_about
from sightline.report.attributes import Report
from sightline.report.training import Report as OtherReport
from sightline.training import fit_attributes, logit_adjusted
from sightline.training.attributes import Recipe
from sightline.training.attributes.measures import Errors

QUICK: dict[str, Any] = {"backbone": "facenet", "size": 32, "batch": 8, "epochs": 2, "progress": False}


def trained(out: Path, **changes: Any) -> Any:
    """A training of some seconds."""
    data = changes.pop("data", coloured(40))
    named = {"attributes": NAMES, "validation": coloured(16, seed=9)}
    return fit_attributes(data, out=out, **{**QUICK, **named, **changes})


def test_runs_killed_at_random_moments_end_bit_for_bit_alike(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_attributes.py")
    found = subprocess.run(
        [sys.executable, script, tmp_path, "3"], capture_output=True, text=True, timeout=240, check=False
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) >= 2
    for name in ("classifier.safetensors", "checkpoint.safetensors"):
        whole, cut = (load_file(tmp_path / run / name) for run in ("whole", "cut"))
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole), name
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in store.read_parts(tmp_path / run)]
        for run in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4


def test_it_learns_and_its_file_opens_as_a_classifier(tmp_path: Path) -> None:
    said: list[str] = []
    found = trained(tmp_path / "run", data=coloured(160), epochs=6, learning_rate=5e-3, announce=said.append)
    first, last = found.history[0], found.history[-1]
    assert last["train_weighted"] < 0.7 * first["train_weighted"]
    assert {"train_unweighted", "valid_weighted", "valid_unweighted", "valid_error"} <= last.keys()
    assert last["train_weighted"] == pytest.approx(last["train_unweighted"], rel=1e-6)  # bce weighs nothing
    best = min(row["valid_weighted"] for row in found.history)
    assert found.about["training"]["metrics"]["valid_weighted"] == best
    assert any("160 images to train on, 16 to choose" in line for line in said)
    assert any("at most about" in line for line in said)

    for spec in (str(found.path), str(found.out)):
        classifier = sl.load(spec)
        assert classifier.labels == NAMES
        assert classifier.decision == "multilabel"
        assert classifier.size == (32, 32)
    pixels, labels = coloured(16, seed=9)
    rounded = (pixels * 255).round() / 255
    z = classifier(rounded)
    errors = Errors.of(z, labels)
    assert errors.by_name(NAMES) == found.about["training"]["validation"]
    plain = torch.nn.functional.binary_cross_entropy_with_logits(z, labels.float())
    assert float(plain) == pytest.approx(best, rel=1e-4)
    assert classifier.source.metadata["training_rates"]["red"] == pytest.approx(
        float(coloured(160)[1][:, 0].float().mean())
    )
    assert preparation_of(found.about) == Preparation()
    assert float(errors.balanced[1]) < 0.2  # a light background is easily learned
    maps = sl.explain(classifier, rounded[:1], target=sl.each(NAMES))
    assert len(maps.maps) == 2


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(tmp_path: Path) -> None:
    first = trained(tmp_path / "run")
    moves: list[int] = []
    again = trained(tmp_path / "run", progress=lambda done, total: moves.append(done))
    assert again.history == first.history
    assert moves == []
    with pytest.raises(StorageError, match="learning_rate"):
        trained(tmp_path / "run", learning_rate=0.1)
    other = trained(tmp_path / "run", learning_rate=2e-3, overwrite=True)
    assert other.history != first.history


def test_moon_weighs_the_frequent_answer_down(tmp_path: Path) -> None:
    data = coloured(60, rates=(0.1, 0.5))
    found = trained(tmp_path / "run", data=data, loss="moon", epochs=1)
    yes = int(data[1][:, 0].sum())
    assert found.about["answer_weights"]["red"] == pytest.approx([yes / (60 - yes), 1.0])
    row = found.history[0]
    assert row["valid_weighted"] < row["valid_unweighted"]
    classifier = found.classifier
    z, y = classifier((coloured(16, seed=9)[0] * 255).round() / 255), coloured(16, seed=9)[1]
    total = 0.0
    for i in range(16):
        for a, name in enumerate(NAMES):
            s = 2 * int(y[i, a]) - 1
            w = found.about["answer_weights"][name][int(y[i, a])]
            total += w * float(torch.log1p(torch.exp(-s * z[i, a].double())))
    assert row["valid_weighted"] == pytest.approx(total / 32, rel=1e-4)


def test_training_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    noise = (coloured(24)[0], torch.randint(0, 2, (24, 2), generator=torch.Generator().manual_seed(1)))
    found = trained(
        tmp_path / "run", data=noise, epochs=40, patience=2, learning_rate=2e-2, schedule="constant", augment="none"
    )
    values = [row["valid_weighted"] for row in found.history]
    best = values.index(min(values))
    assert len(values) == best + 3 < 40
    assert found.about["training"]["epoch"] == best + 1
    assert store.read_manifest(found.out)["best"] == best + 1


def test_images_weights_and_unknown_answers_count(tmp_path: Path) -> None:
    pixels, labels = coloured(40)
    labels[:20, 1] = -1
    found = trained(tmp_path / "a", data=(pixels, labels), epochs=1)
    answers = found_answers(found.out)
    assert answers["bright"]["yes"] + answers["bright"]["no"] == 20
    heavy = torch.ones(40)
    heavy[:20] = 0
    other = trained(tmp_path / "b", data=(pixels, labels), epochs=1, image_weights=heavy)
    assert other.history[0]["train_weighted"] < found.history[0]["train_weighted"]
    with pytest.raises(InputError, match="40 finite numbers"):
        trained(tmp_path / "c", data=(pixels, labels), image_weights=torch.ones(3))


def found_answers(run: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = store.read_manifest(run)["settings"]["images"]["answers"]
    return found


def test_a_celeba_folder_trains_on_its_parts_and_names_what_is_broken(tmp_path: Path) -> None:
    root = celeba_folder(tmp_path / "celeba", 32, broken=0)
    said: list[str] = []
    found = fit_attributes(root, out=tmp_path / "run", **QUICK, announce=said.append, cache=tmp_path / "kept")
    images = store.read_manifest(found.out)["settings"]["images"]
    assert (images["train"], images["validation"]) == (23, 8)
    assert any("000001.png" in line for line in said)
    assert store.read_manifest(found.out)["failed"]["count"] == 1
    kept = sorted(path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.u8"))
    assert len(kept) == 2
    again = fit_attributes(root, out=tmp_path / "other", **QUICK, cache=tmp_path / "kept")
    assert [row["train_weighted"] for row in again.history] == [row["train_weighted"] for row in found.history]
    assert not (found.out / ".images").exists()
    with pytest.raises(InputError, match="landmarks"):
        fit_attributes(root, out=tmp_path / "aligned", **QUICK, preparation=Preparation(fit="align"))


def test_rendered_faces_and_tables_train_too(tmp_path: Path) -> None:
    found = fit_attributes("faces:40", out=tmp_path / "drawn", attributes=["Smiling", "Bangs"], **QUICK)
    images = store.read_manifest(found.out)["settings"]["images"]
    assert (images["train"], images["validation"]) == (40, 4)
    drawn = faces.sample(40, size=32)
    share = fit_attributes(drawn, out=tmp_path / "faces", **QUICK, validation=faces.sample(8, seed=3, size=32))
    assert share.classifier.labels == drawn.names
    root = celeba_folder(tmp_path / "celeba", 16)
    lines = ["path,red,bright,age"] + [f"img_align_celeba/{i:06d}.png,{i % 2},{int(i > 8)},1" for i in range(1, 17)]
    (root / "table.csv").write_text("\n".join(lines))
    chosen = {"attributes": ["red", "bright"], "recipe": Recipe(validation=0.4), "batch": 4, "epochs": 1}
    small = fit_attributes(root / "table.csv", out=tmp_path / "table", **{**QUICK, **chosen})
    counts = store.read_manifest(small.out)["settings"]["images"]
    assert counts["train"] + counts["validation"] == 16


def test_what_cannot_be_trained_is_said(tmp_path: Path) -> None:
    pixels, labels = coloured(16)
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"loss": "fair"}, InputError, "loss must be one of 'bce'"),
        ({"ephocs": 3}, InputError, "no 'ephocs'"),
        ({"select": "last"}, InputError, "patience=None"),
        ({"data": tmp_path}, InputError, "list_attr_celeba.txt"),
        ({"data": [1, 2]}, InputError, "list cannot be trained on"),
        ({"data": "faces:many"}, InputError, "faces:COUNT"),
        ({"data": (pixels, labels + 1)}, InputError, "1 for yes"),
        ({"data": (pixels * 9, labels)}, InputError, r"\[0, 1\]"),
        ({"attributes": ("red",)}, InputError, "give attributes= with 2 names"),
        ({"size": 64}, InputError, "give size="),
        ({"validation": None, "data": (pixels[:2], labels[:2])}, InputError, "no image is left to choose"),
        ({"backbone": "resnet18"}, ModelError, "torchvision:NAME"),
        ({"backbone": "torchvision:resnet81"}, ModelError, "resnet18"),
        ({"backbone": "timm:resnet81"}, ModelError, "timm has no model"),
        ({"backbone": "timm:resnet18", "options": {"strides": 3}}, ModelError, "cannot be built"),
        ({"backbone": "facenet", "options": {"width": 3}}, ModelError, "takes no option"),
        ({"backbone": nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))}, ModelError, "one for each of 2"),
    ]
    for changes, error, text in cases:
        with pytest.raises(error, match=text):
            trained(tmp_path / "run", overwrite=True, **changes)


def test_a_loss_that_is_not_finite_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Lower the learning rate"):
        trained(tmp_path / "run", learning_rate=1e30, optimiser="sgd", clip=None, schedule="constant", epochs=5)


def test_a_module_of_ones_own_trains_but_has_to_be_given_again(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    before = [p.clone() for p in net.parameters()]
    found = trained(tmp_path / "run", backbone=net, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    with pytest.raises(ModelError, match="module of your own"):
        sl.load(str(found.path))
    classifier = sl.load(net, weights=found.path, labels=NAMES, decision="multilabel", size=32)
    assert classifier(coloured(2)[0]).shape == (2, 2)


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:test_resnet", "timm:test_vit", "torchvision:googlenet"])
def test_backbones_have_as_many_outputs_as_wanted_and_begin_at_weights(spec: str) -> None:
    size = (64, 64)
    model = backbone(spec, 7, size=size).model
    again = backbone(spec, 7, size=size).model
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, *size)).shape == (1, 7)
    other = backbone(spec, 3, size=size).model
    with torch.no_grad():
        for value in other.state_dict().values():
            value.copy_(torch.full_like(value, 2))
    begun = backbone(spec, 7, size=size, state=other.state_dict()).model
    heads = [k for k, v in begun.state_dict().items() if v.shape != other.state_dict()[k].shape]
    assert len({k.rpartition(".")[0] for k in heads}) == 1
    for key, value in begun.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]) if key in heads else bool((value == 2).all()), key
    with pytest.raises(ModelError, match="do not fit"):
        backbone(spec, 7, size=size, state={"conv.weight": torch.zeros(1)})


def test_a_finer_map_by_the_builders_option() -> None:
    model = backbone("timm:resnet18", 2, size=(112, 112), options={"output_stride": 16}).model
    with torch.no_grad():
        assert model.forward_features(torch.zeros(1, 3, 112, 112)).shape == (1, 512, 7, 7)


def test_files_that_are_no_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        sl.load(str(tmp_path / "none.safetensors"))
    with pytest.raises(StorageError, match="no epoch is finished"):
        sl.load(str(tmp_path))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(StorageError, match="truncated"):
        sl.load(str(tmp_path / "broken.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="--weights FILE"):
        sl.load(str(tmp_path / "weights.safetensors"))
    found = trained(tmp_path / "run", epochs=1)
    assert found.classifier.fingerprint() == found.about["fingerprint"]
    tensors = load_file(found.path)
    tensors["classifier.bias"] += 1
    save_file(tensors, found.path, metadata={"sightline": json.dumps(found.about)})
    with pytest.raises(StorageError, match="not those that its header tells"):
        sl.load(str(found.path))
    with pytest.raises(ModelError, match="no classifier"):
        read_about(Path(sl.__file__).parent / "models/facenet-balanced.safetensors")


def test_logit_adjustment_after_the_fact_shifts_the_logits(tmp_path: Path) -> None:
    found = trained(tmp_path / "run", epochs=1)
    classifier, pixels = found.classifier, coloured(4, seed=2)[0]
    rates = torch.tensor([found.about["training_rates"][name] for name in NAMES])
    z = classifier(pixels)
    for tau in (0.0, 1.0, 0.5):
        adjusted = logit_adjusted(classifier, tau=tau)
        torch.testing.assert_close(adjusted(pixels), z - tau * torch.log(rates / (1 - rates)), atol=1e-5, rtol=1e-4)
        assert adjusted.labels == NAMES
        assert adjusted.decision == "multilabel"
        assert [layer.name for layer in adjusted.layers()] == [layer.name for layer in classifier.layers()]
    assert torch.equal(classifier(pixels), z)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # no linear head
    bare = sl.Classifier(net, labels=NAMES, decision="multilabel", size=32)
    moved = logit_adjusted(bare, {"red": 0.5, "bright": 0.9})
    torch.testing.assert_close(
        bare(pixels) - moved(pixels), torch.tensor([0.0, 2.1972]).expand(4, 2), atol=1e-4, rtol=0
    )
    with pytest.raises(InputError, match="give prior="):
        logit_adjusted(bare)
    with pytest.raises(InputError, match="'bright'"):
        logit_adjusted(bare, {"red": 0.5})
    with pytest.raises(InputError, match="between 0 and 1"):
        logit_adjusted(bare, {"red": 0.5, "bright": 1.0})
    with pytest.raises(ModelError, match="yes-or-no"):
        logit_adjusted(sl.Classifier(net, size=32))


def test_the_page_tells_what_was_found(tmp_path: Path) -> None:
    found = trained(tmp_path / "run", loss="inverse-frequency")
    text = Report.of(found.out).write().read_text(encoding="utf-8")
    for part in ("unweighted loss", "balanced error", "bright", "inverse-frequency", "rarer answer", "facenet"):
        assert part in text
    table = Report.of(found.out).export(tmp_path / "epochs.csv").read_text()
    assert table.count("\n") == 3
    with pytest.raises(StorageError, match="train attributes"):
        OtherReport.of(found.out)


def test_errors_are_counted_as_told() -> None:
    z = torch.tensor([[1.0, -1.0], [0.0, 2.0], [-3.0, 1.0], [-1.0, -1.0]])
    y = torch.tensor([[1, 0], [0, 0], [1, -1], [0, 0]])
    found = Errors.of(z, y)
    assert found.fnr.tolist()[0] == 0.5
    assert found.fpr.tolist() == [0.5, pytest.approx(1 / 3)]
    rows = found.by_name(NAMES)
    assert rows["bright"]["fnr"] is None
    assert rows["bright"]["balanced_error"] is None
    assert found.means() == {"error": pytest.approx((2 / 4 + 1 / 3) / 2), "balanced_error": 0.5}


def test_ctrl_c_waits_for_the_step_and_the_same_call_goes_on(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", epochs=3)

    def press(row: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"stands at step 6 .* goes on"):
        trained(tmp_path / "cut", epochs=3, told=press)
    rest = trained(tmp_path / "cut", epochs=3)
    assert [r["valid_weighted"] for r in rest.history] == [r["valid_weighted"] for r in whole.history]
    a, b = (load_file(found.path) for found in (whole, rest))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.real
def test_aligned_faces_of_celeba_train_with_the_weights_of_their_counts(assets: Path, tmp_path: Path) -> None:
    train = annotations.celeba(assets / "celeba", part="train")[:160]
    valid = annotations.celeba(assets / "celeba", part="valid")[:40]
    prepared = Preparation(fit="align")
    settings = {**QUICK, "epochs": 1, "batch": 32, "loss": "moon", "precision": "bf16-mixed", "augment": "affact"}
    found = fit_attributes(train, validation=valid, out=tmp_path / "run", preparation=prepared, **settings)
    listed = (assets / "celeba/list_attr_celeba.txt").read_text().splitlines()
    names, rows = listed[1].split(), [line.split()[1:] for line in listed[2:162]]  # the part train comes first
    for a, name in enumerate(names):
        yes = sum(row[a] == "1" for row in rows)
        expected = [min(yes, 160 - yes) / (160 - yes), min(yes, 160 - yes) / yes] if 0 < yes < 160 else [1, 1]
        assert found.about["answer_weights"][name] == pytest.approx(expected), name
    assert preparation_of(found.about) == prepared
    assert found.classifier.labels == tuple(names)
    drawn = torch.stack([prepared.load(record, (32, 32)).pixels for record in valid])
    z = found.classifier((drawn * 255).round() / 255)
    y = torch.tensor([[record.attributes[name] for name in names] for record in valid])
    said = Errors.of(z, y).by_name(tuple(names))
    kept = found.about["training"]["validation"]
    # The training validated in bfloat16: a logit near 0 may change sides.
    wrong = [name for name in names if abs((said[name]["fpr"] or 0) - (kept[name]["fpr"] or 0)) > 0.15]
    assert len(wrong) <= 4, wrong

"""Weights of learned methods in a benchmark: of each model its own, and the run goes on only with the same ones."""

import pytest
import torch

import sightline as sl
from learned_weights import drawn
from nets import ConvNet, seeded
from sightline.errors import MethodError, StorageError
from sightline.explainers.learned import save
from sightline.studies.benchmarking import benchmark, plan_of
from test_benchmark import write_images

SETTINGS = {"metrics": ["average-drop"], "controls": ["uniform"]}


@pytest.fixture
def nets():
    return {name: sl.Classifier(seeded(ConvNet, 3, seed=i), size=16) for i, name in enumerate(("a", "b"))}


def written(path, classifier, seed):
    learned = drawn("tame", classifier, seed=seed)
    save(path, learned.attention, learned.about)
    return str(path)


def test_each_model_has_its_own_weights(nets, tmp_path):
    photos = write_images(tmp_path / "photos", 2)
    files = {name: written(tmp_path / f"{name}.safetensors", net, i) for i, (name, net) in enumerate(nets.items())}
    method = {"name": "tame", "label": "mine", "weights": files}
    found = benchmark(nets, photos, out=tmp_path / "run", methods=[method], **SETTINGS)
    alone = {
        name: benchmark(
            {name: net}, photos, out=tmp_path / name, methods=[{**method, "weights": files[name]}], **SETTINGS
        )
        for name, net in nets.items()
    }
    for name, one in alone.items():
        mine = found.rows().filter(model=name, method="mine")
        assert mine["status"].to_list() == ["ok"] * 2
        assert mine["value"].to_list() == one.rows().filter(method="mine")["value"].to_list()
    with pytest.raises(MethodError, match=r"mine has weights for a and none for 'b'; add weights.b = FILE"):
        plan_of(nets, photos, methods=[{**method, "weights": {"a": files["a"]}}], **SETTINGS)
    with pytest.raises(MethodError, match=r"weights for 'b'; the models are a"):
        plan_of({"a": nets["a"]}, photos, methods=[method], **SETTINGS)


def test_a_run_goes_on_only_with_the_weights_it_was_begun_with(nets, tmp_path):
    photos, net = write_images(tmp_path / "photos", 2), {"a": nets["a"]}
    for weights in (written(tmp_path / "w", nets["a"], 0), {"a": str(tmp_path / "w")}):
        written(tmp_path / "w", nets["a"], 0)
        run = {"out": tmp_path / f"run-{type(weights).__name__}", **SETTINGS}
        plain = benchmark(net, photos, methods=["grad-cam"], **run)  # a method with weights may be added later
        assert "files" not in plain.manifest["settings"]
        methods = ["grad-cam", {"name": "tame", "label": "mine", "weights": weights}]
        before = benchmark(net, photos, methods=methods, **run).rows()
        assert benchmark(net, photos, methods=methods, **run).rows().equals(before)
        written(tmp_path / "w", nets["a"], 1)  # the same path, trained again
        with pytest.raises(StorageError, match=r"files.mine.* was .* and is now"):
            benchmark(net, photos, methods=methods, **run)
    assert torch.isfinite(torch.tensor(before["value"].drop_nulls().to_list())).all()

"""The benchmark: its rows against explaining and judging by hand, and what it survives."""

import dataclasses
import errno
import gc
import json
import os
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from torch import nn

import sightline as sl
from nets import ConvNet, Segmenter, seeded
from sightline import files, registry, store
from sightline.data.annotations.record import Record
from sightline.errors import InputError, MethodError, MetricError, StorageError
from sightline.explainers import Maps
from sightline.metrics import metric as add_metric
from sightline.metrics._again import explain_again
from sightline.metrics.metric import _METRICS
from sightline.metrics.session import Session
from sightline.studies import statistics
from sightline.studies.benchmarking import CONTROLS, Benchmark, benchmark, plan_of
from sightline.studies.benchmarking.estimate import estimate
from sightline.studies.benchmarking.work import TIMES, _grouped, units

QUIET = {"progress": False, "backend": "eager", "pictures": 0}
KEYS = ["model", "image_index", "seed", "target", "method", "metric"]


def classifier(**settings) -> sl.Classifier:
    settings = {"size": 8, "labels": list("abcde"), "decision": "categorical"} | settings
    return sl.Classifier(seeded(ConvNet), **settings)


def write_images(folder: Path, count: int, start: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(start, start + count):
        pixels = np.random.default_rng(i).integers(0, 255, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 5)


def same(a: Benchmark, b: Benchmark) -> bool:
    return a.rows().drop(TIMES).equals(b.rows().drop(TIMES))


def value(found: Benchmark, **where) -> float | None:
    (row,) = found.rows().filter(**where).rows(named=True)
    return row["value"]


def test_rows_equal_explaining_and_judging_by_hand(photos, tmp_path):
    clf = classifier()
    names = ["average-drop", "insertion", "increase-in-confidence"]
    found = benchmark(clf, photos, out=tmp_path / "run", methods=["grad-cam", "saliency"], metrics=names, **QUIET)
    rows = found.rows()
    assert len(rows) == 5 * (2 + len(CONTROLS)) * 3
    for i in range(5):  # one by one, where the benchmark takes them in blocks
        pixels = Record(path=photos / f"{i}.png").load(8).pixels[None]
        for method in ("grad-cam", "saliency", "edges"):
            out = sl.explain(clf, pixels, method=method)
            judged = sl.evaluate(clf, pixels, out, names, backend="eager")
            for name in names:
                (row,) = rows.filter(image=f"{i}.png", method=method, metric=name).rows(named=True)
                assert row["value"] == pytest.approx(float(judged[name].value[0]), abs=1e-5)
                assert row["status"] == judged[name].status[0]
                assert (row["target"], row["category"]) == (str(out.targets[0]), out.targets[0].category)
    curves = found.curves().filter(image="2.png", method="saliency")
    assert curves["metric"].to_list() == ["insertion"]
    assert len(curves["curve"][0]) == 8 + 1
    assert set(rows["metric"]) == set(names)
    assert rows["image_index"].unique().sort().to_list() == list(range(5))


def test_controls_stand_in_every_table_and_cannot_be_left_away(photos, tmp_path):
    found = benchmark(classifier(), photos, out=tmp_path / "run", metrics=["average-drop"], **QUIET)
    assert {m["label"]: m["control"] for m in found.manifest["methods"]} == {
        "grad-cam": False,
        **dict.fromkeys(CONTROLS, True),
    }
    table = found.table(resamples=50)
    assert table.filter(method="uniform").select("mean", "flat").rows() == [(0.0, 5)]
    assert set(found.against_controls(resamples=50)["method"]) == {"grad-cam"}
    with pytest.raises(InputError, match="without controls proves nothing"):
        benchmark(classifier(), photos, out=tmp_path / "other", controls=[])
    assert not (tmp_path / "other").exists()


def test_labels_that_differ_in_signs_alone_are_different_methods(photos, tmp_path):
    two = [{"name": "smooth-grad", "samples": n, "label": label} for n, label in ((2, "noisy"), (3, "noisy*"))]
    found = benchmark(classifier(), photos, out=tmp_path / "run", methods=two, metrics=["sparseness"], **QUIET)
    one, other = (found.rows().filter(method=name)["value"] for name in ("noisy", "noisy*"))
    assert len(one) == len(other) == 5
    assert not one.equals(other)


def test_other_image_is_the_map_of_the_next_one(photos, tmp_path):
    clf = classifier()
    found = benchmark(clf, photos, out=tmp_path / "run", metrics=["deletion"], batch=5, **QUIET)
    pixels = torch.stack([Record(path=photos / f"{i}.png").load(8).pixels for i in range(5)])
    own = sl.explain(clf, pixels, method="grad-cam")
    moved = dataclasses.replace(own, maps=own.maps.roll(-1, 0))
    wanted = sl.evaluate(clf, pixels, moved, ["deletion"], backend="eager")["deletion"].value
    rows = found.rows().filter(method="other-image").sort("image_index")
    assert rows["value"].to_list() == pytest.approx(wanted.tolist(), abs=1e-6)
    assert rows["value"].to_list() != pytest.approx(
        found.rows().filter(method="grad-cam").sort("image_index")["value"].to_list(), abs=1e-4
    )


def test_a_single_image_has_no_other_one(tmp_path):
    one = write_images(tmp_path / "one", 1)
    rows = benchmark(classifier(), one, out=tmp_path / "run", metrics=["average-drop"], **QUIET).rows()
    (row,) = rows.filter(method="other-image").rows(named=True)
    assert (row["status"], row["value"]) == ("refused", None)
    assert "no other image" in row["error"]
    assert set(rows.filter(pl.col("method") != "other-image")["status"]) <= {"ok", "flat"}


def yes_or_no(outputs: int, decision: str) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs), size=8, labels=list("xyz")[:outputs], decision=decision)


@pytest.mark.parametrize(
    ("clf", "target", "expected"),
    [
        (lambda: yes_or_no(1, "binary"), None, 1),
        (lambda: yes_or_no(3, "multilabel"), sl.each([sl.Attribute(i, s) for i in range(3) for s in (1, -1)]), 6),
        (lambda: sl.Classifier(seeded(Segmenter), size=8), None, 1),
        (classifier, sl.Contrast("a", "b"), 1),
    ],
    ids=["one-logit", "attributes", "segmentation", "contrast"],
)
def test_every_kind_of_decision_has_a_table(photos, tmp_path, clf, target, expected):
    found = benchmark(
        clf(), photos, out=tmp_path / "run", metrics=["average-drop", "deletion"], target=target, batch=3, **QUIET
    )
    rows = found.rows()
    assert len(rows) == 5 * expected * (1 + len(CONTROLS)) * 2
    assert set(rows["status"]) <= {"ok", "flat", "empty"}
    assert rows["value"].is_between(0, 1).all()
    assert rows["target"].n_unique() >= min(expected, 2)


def test_targets_are_resolved_once_for_all_methods(photos, tmp_path):
    rows = benchmark(classifier(), photos, out=tmp_path / "run", metrics=["average-drop"], **QUIET).rows()
    assert rows.group_by("image").agg(pl.col("target").n_unique())["target"].to_list() == [1] * 5


@pytest.fixture
def odd():
    """A method and a metric that fail on images and rows that they do not like."""

    def fails_on_dark(question):
        question.ask()
        if bool((question.pixels.mean((1, 2, 3)) < 0.2).any()):
            raise ZeroDivisionError("too dark")
        return Maps(question.pixels.mean(1)[question.image])

    sl.explains(
        "moody", family="pixel", paper=None, summary="fails on dark images", cost="none", forwards=0, signed=False
    )(fails_on_dark)

    @add_metric("moody-metric", family="sanity", paper=None, summary="", direction="up", range=(0, 1))
    def fails_on_blue(trial):
        blue = trial.session.pixels[trial.image].mean((2, 3))
        if bool((blue[:, 2] > 0.9).any()):
            raise ValueError("too blue")
        return trial.values(blue[:, 0])

    yield
    del registry._METHODS["moody"], _METRICS["moody-metric"]


def test_what_fails_on_one_image_is_a_row_with_its_error(tmp_path, odd):
    folder = write_images(tmp_path / "images", 10)
    Image.new("RGB", (9, 9), (9, 9, 9)).save(folder / "3.png")  # dark
    Image.new("RGB", (9, 9), (90, 90, 255)).save(folder / "6.png")  # blue
    (folder / "8.png").write_bytes(b"no image")
    found = benchmark(
        classifier(),
        folder,
        out=tmp_path / "run",
        methods=["moody", "grad-cam"],
        metrics=["average-drop", "moody-metric"],
        batch=4,
        **QUIET,
    )
    errors = {(r["image"], r["method"], r["metric"]): r["error"] for r in found.errors().iter_rows(named=True)}
    assert "ZeroDivisionError: too dark" in errors.pop(("3.png", "moody", "average-drop"))
    assert "ZeroDivisionError: too dark" in errors.pop(("3.png", "moody", "moody-metric"))
    assert "too dark" in errors.pop(("3.png", "other-image", "average-drop"))  # its own rows have no target's map
    assert "too dark" in errors.pop(("3.png", "other-image", "moody-metric"))
    assert "too dark" in errors.pop(("2.png", "other-image", "average-drop"))  # and 2.png would show the map of 3.png
    assert "too dark" in errors.pop(("2.png", "other-image", "moody-metric"))
    for method in ("moody", "grad-cam", *CONTROLS):
        assert errors.pop(("6.png", method, "moody-metric")) == "ValueError: too blue"
        for name in ("average-drop", "moody-metric"):
            assert "8.png" in errors.pop(("8.png", method, name))
    assert errors == {}
    rows = found.rows()
    assert len(rows) == 10 * (2 + len(CONTROLS)) * 2
    (line,) = found.table(resamples=20).filter(method="grad-cam", metric="moody-metric").rows(named=True)
    assert (line["ok"] + line["empty"], line["error"]) == (8, 2)


def test_a_metric_that_lacks_something_is_refused_with_the_reason(photos, tmp_path):
    @add_metric(
        "explains-again", family="sanity", paper=None, summary="", direction="up", range=(0, 1), needs={"explainer"}
    )
    def again(trial):
        out = trial.explainer(trial.session.pixels, list(trial.targets))
        return trial.values((out.maps - trial.explanation.maps).abs().amax((1, 2)))

    try:
        rows = benchmark(classifier(), photos, out=tmp_path / "run", metrics=["explains-again"], **QUIET).rows()
    finally:
        del _METRICS["explains-again"]
    refused = rows.filter(status="refused")
    assert set(refused["method"]) == {"other-image"}
    assert "give explainer=" in refused["error"][0]
    assert rows.filter(method="grad-cam")["value"].to_list() == pytest.approx([0] * 5, abs=1e-6)


def test_boxes_and_labels_reach_the_metrics_in_place(photos, tmp_path):
    @add_metric(
        "box-area",
        family="localisation",
        paper=None,
        summary="",
        direction="up",
        range=(0, 1),
        needs={"boxes", "regions"},
    )
    def area(trial):
        found = torch.tensor([float(((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])).sum()) for b in trial.boxes])
        pixels = trial.regions.float().sum((1, 2)).cpu()
        assert bool((pixels == found).all())
        return trial.values(found / 64, refused=pixels == 0)

    records = [
        Record(path=photos / f"{i}.png", label=i % 2, name="ab"[i % 2], boxes=torch.tensor([[0.0, 0.0, 12.0, 5.0]]))
        for i in range(4)
    ]
    records.append(Record(path=photos / "0.png", name="second"))
    try:
        found = benchmark(
            classifier(),
            records,
            out=tmp_path / "run",
            metrics=["box-area"],
            target=sl.Category("label"),
            fit="squash",
            root=photos,
            **QUIET,
        )
    finally:
        del _METRICS["box-area"]
    rows = found.rows().filter(method="grad-cam").sort("image_index")
    assert rows["image"].to_list() == ["0.png", "1.png", "2.png", "3.png", "0.png#second2"]
    assert rows["value"].to_list() == [0.5] * 4 + [None]
    assert rows["label"].to_list() == ["a", "b", "a", "b", "second"]
    assert rows["target"].to_list() == ["a", "b", "a", "b", ""]
    assert rows["status"][4] == "error"  # no true label to explain
    assert "needs the true labels" in rows["error"][4]


SETTINGS = {
    "methods": ["grad-cam", ("rise", {"masks": 6})],
    "metrics": ["average-drop", ("insertion", {"steps": 3, "fill": "black"})],
    "controls": ["random", "other-image"],
    "batch": 2,
    **QUIET,
}


def test_killed_at_random_moments_it_gives_the_same_tables(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    write_images(tmp_path / "images", 7)
    script = Path(__file__).with_name("killed_benchmark.py")
    ended = subprocess.run([sys.executable, script, tmp_path, "20"], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kills = json.loads(ended.stdout.splitlines()[-1])
    assert sum(kills) >= 20
    whole = Benchmark(tmp_path / "whole")
    assert len(whole.rows()) == 7 * 5 * 2
    for n in range(len(kills)):
        cut = Benchmark(tmp_path / f"cut-{n}")
        assert same(whole, cut)
        assert whole.curves().sort([*KEYS[:-2], "method"]).equals(cut.curves().sort([*KEYS[:-2], "method"]))
        assert sorted(f.name for f in (cut.path / "thumbs").iterdir()) == sorted(
            f.name for f in (whole.path / "thumbs").iterdir()
        )
        assert not (cut.path / "pending").exists()


def test_a_disk_that_is_full_again_and_again_ends_in_the_same_tables(photos, tmp_path, monkeypatch):
    whole = benchmark(classifier(), photos, out=tmp_path / "whole", **SETTINGS)
    sync, calls, attempts = os.fsync, [], 0

    def sometimes_full(descriptor):
        calls.append(descriptor)
        if len(calls) % 5 == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", sometimes_full)
    while True:
        attempts += 1
        try:
            again = benchmark(classifier(), photos, out=tmp_path / "run", **SETTINGS)
            break
        except StorageError as reason:
            assert "No space left on device" in str(reason)  # noqa: PT017 - it may come at any write
    assert attempts > 3
    assert same(whole, again)


def test_finished_work_is_not_done_again(photos, tmp_path, monkeypatch):
    done = []
    first = benchmark(classifier(), photos, out=tmp_path / "run", **SETTINGS)
    before = first.rows()
    benchmark(
        classifier(), photos, out=tmp_path / "run", **{**SETTINGS, "progress": lambda n, of: done.append((n, of))}
    )
    assert done == []
    write_images(photos, 3, start=5)
    more = benchmark(
        classifier(), photos, out=tmp_path / "run", **{**SETTINGS, "progress": lambda n, of: done.append((n, of))}
    )
    assert done[-1] == (3 * 4, 3 * 4)
    after = more.rows()
    assert after.filter(pl.col("image_index") < 5).equals(before)  # with the times: these are the same rows
    assert after["image"].n_unique() == 8
    wider = benchmark(
        classifier(), photos, out=tmp_path / "run", **{**SETTINGS, "methods": [*SETTINGS["methods"], "saliency"]}
    )
    assert_frame_equal(wider.rows().filter(pl.col("method") != "saliency"), after)
    assert wider.rows().filter(method="saliency")["image"].n_unique() == 8
    fresh = benchmark(
        classifier(), photos, out=tmp_path / "new", **{**SETTINGS, "methods": [*SETTINGS["methods"], "saliency"]}
    )
    own = pl.col("method") != "other-image"  # in other blocks an image meets another one
    assert_frame_equal(wider.rows().drop(TIMES).filter(own), fresh.rows().drop(TIMES).filter(own), abs_tol=1e-6)


def test_a_folder_of_another_question_is_refused(photos, tmp_path):
    out = tmp_path / "run"
    benchmark(classifier(), photos, out=out, **SETTINGS)
    for changed, text in (
        ({"metrics": ["average-drop"]}, r"metrics\.insertion .* is now null"),
        ({"seeds": [1]}, r"seeds was \[0\] and is now \[1\]"),
        ({"methods": ["grad-cam", {"name": "rise", "masks": 7, "label": "rise (masks=6)"}]}, r"settings\.masks was 6"),
        ({"methods": ["grad-cam"]}, "rise"),
        ({"fit": "pad"}, 'fit was "crop"'),
    ):
        with pytest.raises(StorageError, match=text):
            benchmark(classifier(), photos, out=out, **{**SETTINGS, **changed})
    other = sl.Classifier(seeded(ConvNet, seed=9), size=8, labels=list("abcde"), decision="categorical")
    with pytest.raises(StorageError, match=r"models\.model\.weights was"):
        benchmark(other, photos, out=out, **SETTINGS)
    (photos / "1.png").unlink()
    with pytest.raises(StorageError, match=r"has rows of 1\.png, which is not asked"):
        benchmark(classifier(), photos, out=out, **SETTINGS)
    Image.new("RGB", (50, 50)).save(photos / "1.png")
    with pytest.raises(StorageError, match=r"1\.png has changed since"):
        benchmark(classifier(), photos, out=out, **SETTINGS)


def test_groups_of_the_rest_are_groups_of_the_whole():
    for count in range(1, 30):
        keys = [str(i) for i in range(count)]
        for batch in (2, 3, 8):
            groups = _grouped(keys, batch)
            assert [k for g in groups for k in g] == keys
            assert count == 1 or all(2 <= len(g) <= batch + 1 for g in groups)
            for done in range(len(groups)):
                rest = keys[sum(map(len, groups[:done])) :]
                assert _grouped(rest, batch) == groups[done:]


def test_several_models_and_seeds(photos, tmp_path):
    other = sl.Classifier(seeded(ConvNet, 4, seed=3), size=10)
    found = benchmark(
        {"one": classifier(), "two": other},
        photos,
        out=tmp_path / "run",
        seeds=[0, 1],
        methods=["random-cam", {"name": "grad-cam", "layer": {"one": "relu1"}, "label": "early"}],
        metrics=["average-drop", "increase-in-confidence", "sparseness"],
        controls=["uniform"],
        **QUIET,
    )
    rows = found.rows()
    assert len(rows) == 2 * 2 * 5 * 3 * 3
    assert (
        rows.filter(method="early", seed=0)["value"].to_list() == rows.filter(method="early", seed=1)["value"].to_list()
    )
    assert (
        rows.filter(method="random-cam", seed=0)["value"].to_list()
        != rows.filter(method="random-cam", seed=1)["value"].to_list()
    )
    table = found.table(resamples=20)
    assert_frame_equal(table, statistics.table(rows, resamples=20))  # read metric by metric, or all at once
    assert set(table["model"]) == {"one", "two"}
    assert table.filter(method="early")["seed_sd"].to_list() == [0.0] * 6
    assert set(found.manifest["protocol"]["layer"]) == {"one", "two"}


def test_metrics_share_their_forward_passes(photos, tmp_path, monkeypatch):
    sessions: list[Session] = []
    make = Session.__init__

    def noted(self, *arguments, **settings):
        make(self, *arguments, **settings)
        sessions.append(self)

    monkeypatch.setattr(Session, "__init__", noted)
    names = ["average-drop", "increase-in-confidence", "average-gain"]
    metrics = [(n, {"keep": k}) for n in names for k in (1.0, 0.5, 0.15)]
    benchmark(classifier(), photos, out=tmp_path / "run", metrics=metrics, batch=5, **QUIET)
    assert len(sessions) == 1
    assert sessions[0].asking.passes == 5 + 5 * (1 + len(CONTROLS)) * 3  # nine metrics: a pass a row and share


def test_only_one_block_is_held_at_a_time(tmp_path, monkeypatch):
    folder, alive, sessions = write_images(tmp_path / "images", 12), [], weakref.WeakSet()
    make = Session.__init__

    def noted(self, *arguments, **settings):
        make(self, *arguments, **settings)
        sessions.add(self)

    def look(done, total):
        gc.collect()
        alive.append(len(sessions))

    monkeypatch.setattr(Session, "__init__", noted)
    settings = {**QUIET, "progress": look, "controls": ["random"], "metrics": ["average-drop"], "batch": 2}
    benchmark(classifier(), folder, out=tmp_path / "run", **settings)
    assert len(alive) == 12
    assert max(alive) <= 2  # the one before goes when the next one is there


def test_pictures_are_small_and_bounded(photos, tmp_path):
    found = benchmark(
        classifier(),
        photos,
        out=tmp_path / "run",
        metrics=["average-drop"],
        controls=["random"],
        **{**QUIET, "pictures": 2},
    )
    names = sorted(f.name for f in (found.path / "thumbs").iterdir())
    assert names == sorted(
        [f"{i}.jpg" for i in (0, 1)] + [f"{i}-model-{m}.png" for i in (0, 1) for m in ("grad-cam", "random")]
    )
    with Image.open(found.path / "thumbs" / "0-model-random.png") as picture:
        assert picture.size == (8, 8)


def test_the_manifest_says_what_was_asked(photos, tmp_path):
    manifest = benchmark(classifier(), photos, out=tmp_path / "run", **SETTINGS).manifest
    assert manifest["format"] == "sightline run 1"
    assert manifest["study"] == "benchmark"
    assert [m["label"] for m in manifest["methods"]] == ["grad-cam", "rise (masks=6)", "random", "other-image"]
    assert manifest["methods"][1]["settings"]["masks"] == 6
    assert manifest["metrics"][1] | {"summary": ""} == {
        "name": "insertion",
        "label": "insertion (fill=black, steps=3)",
        "settings": {"fill": "black", "steps": 3, "space": "pixels"},
        "direction": "up",
        "range": [0, 1],
        "family": "faithfulness",
        "summary": "",
    }
    assert manifest["models"]["model"]["weights"] == classifier().fingerprint()
    assert manifest["data"] == {"images": 5, "root": str(photos)}
    assert {"mask space", "class", "layer", "input"} <= set(manifest["protocol"])
    assert manifest["seed"] == 0


def test_what_cannot_be_asked_is_told_before_any_work(photos, tmp_path):
    out = tmp_path / "run"
    for settings, error, text in (
        ({"methods": ["grad-kam"]}, MethodError, "did you mean 'grad-cam'"),
        ({"methods": [("rise", {"maskes": 3})]}, MethodError, "has no setting 'maskes'"),
        ({"metrics": ["insertoin"]}, MetricError, "did you mean 'insertion'"),
        ({"metrics": ["insertion", "insertion"]}, InputError, "'insertion' is asked twice"),
        ({"metrics": []}, InputError, "at least one"),
        ({"batch": 1}, InputError, "batch must be 2 or more"),
        ({"methods": [3]}, InputError, "a method is a name"),
        ({"methods": [{"name": "grad-cam", "layer": {"two": "x"}}]}, MethodError, "names a layer of 'two'"),
        ({"methods": ["random"]}, MethodError, "there is no method; name one"),
        ({"fit": "stretch"}, InputError, "fit must be"),
        ({"target": [sl.Category(1)] * 5}, InputError, "asks every image the same"),
    ):
        with pytest.raises(error, match=text):
            benchmark(classifier(), photos, out=out, **settings)
    with pytest.raises(InputError, match="the name of a model"):
        benchmark({"a b": classifier()}, photos, out=out)
    with pytest.raises(InputError, match="no such path"):
        benchmark(classifier(), tmp_path / "nowhere", out=out)
    with pytest.raises(InputError, match="there are no images"):
        benchmark(classifier(), [], out=out)
    box = sl.BlackBox(classifier(), labels=list("abcde"), size=8)
    with pytest.raises(MethodError, match="BlackBox does not show"):
        benchmark(box, photos, out=out)
    assert not out.exists()


def test_a_black_box_has_a_table(photos, tmp_path):
    box = sl.BlackBox(classifier(), labels=list("abcde"), size=8)
    rows = benchmark(
        box, photos, out=tmp_path / "run", methods=[("rise", {"masks": 4})], metrics=["average-drop"], **QUIET
    ).rows()
    assert set(rows["status"]) <= {"ok", "flat", "empty"}


def test_the_users_model_is_not_touched(photos, tmp_path):
    net = seeded(ConvNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    clf = sl.Classifier(net, size=8, labels=list("abcde"), decision="categorical")
    benchmark(clf, photos, out=tmp_path / "run", metrics=["average-drop"], **QUIET)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules() if isinstance(m, nn.Module))


def test_the_cost_is_told_before_the_work(photos, tmp_path):
    lines: list[str] = []
    benchmark(classifier(), photos, out=tmp_path / "run", **SETTINGS, announce=lines.append)
    assert lines[0] == "nothing is finished yet"
    # 5 images x (grad-cam 1 + rise 6 masks and what it asks of the whole image); 4 methods x (1 + 3) passes a row
    assert lines[1].startswith("20 images x methods:")
    assert "at most 80 to judge, about" in lines[1]
    lines.clear()
    benchmark(classifier(), photos, out=tmp_path / "run", **SETTINGS, announce=lines.append)
    assert lines == ["20 images x methods are finished"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a slow method, a slow metric and one that explains again move on, and nothing else."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def slow(question):
        question.ask()
        now[0] += 2 * len(question.pixels)
        return Maps(question.pixels.mean(1)[question.image])

    sl.explains("slow", family="pixel", paper=None, summary="", cost="none", forwards=3, signed=False)(slow)

    @add_metric("slow-metric", family="sanity", paper=None, summary="", direction="up", range=(0, 1), forwards=4)
    def judges(trial):
        now[0] += 3 * len(trial)
        return trial.values(torch.zeros(len(trial)))

    @add_metric(
        "again", family="sanity", paper=None, summary="", direction="up", range=(0, 1), needs={"explainer"}, forwards=2
    )
    def again(trial):
        for _ in range(2):
            explain_again(trial)
        return trial.values(torch.zeros(len(trial)))

    yield now
    del registry._METHODS["slow"], _METRICS["slow-metric"], _METRICS["again"]


def test_the_estimate_is_of_all_work_not_of_forward_passes_alone(photos, tmp_path, clock):
    asked = {"methods": ["slow"], "metrics": ["slow-metric", "again"], "backend": "eager"}
    plan = plan_of(classifier(), photos, **asked)
    with store.Run(tmp_path / "run", plan.manifest()) as run:
        cost = estimate(plan, units(plan, run))
    maps = 5 * (1 + len(CONTROLS))
    assert (cost.images, cost.explaining, cost.judging) == (maps, 5 * 3, maps * 6)
    assert cost.seconds == pytest.approx(2 * 5 + 3 * maps + 2 * 2 * 5)  # explaining, judging, explaining again
    clock[0] = 0.0
    benchmark(classifier(), photos, out=tmp_path / "run", progress=False, pictures=0, **asked)
    assert clock[0] == pytest.approx(cost.seconds, rel=0.1)


def test_what_a_rehearsal_does_not_reach_is_told_by_its_forward_passes(photos, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(sys.modules["sightline.studies.benchmarking.estimate"], "_SECONDS", -1.0)
    plan = plan_of(classifier(), photos, methods=["slow"], metrics=["slow-metric", "again"], backend="eager")
    with store.Run(tmp_path / "run", plan.manifest()) as run:
        assert estimate(plan, units(plan, run)).seconds == pytest.approx(2 * 5)  # a pass takes no time on this clock

"""The study of confusions: kinds on constructed truths, figures against slow references, runs that go on."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import stats

import sightline as sl
from confusions import CASES, NAMES, OBJECT, SIDE, Colours, classifier, drawn
from nets import ConvNet, images, seeded
from sightline.data.annotations import Record
from sightline.errors import InputError, MethodError, StorageError
from sightline.metrics.session import Session
from sightline.studies import Confusion, confusion
from sightline.studies.confusions import Thresholds, run_plan
from sightline.studies.confusions.classes import both_ways, likeness, unlike
from sightline.studies.confusions.measures import measure
from sightline.studies.confusions.plan import Plan

SETTINGS = {"fit": "squash", "backend": "eager", "progress": False}


def write(folder: Path, name: str, pixels: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """The constructed confusions, and one image that is right."""
    found = [
        Record(path=write(tmp_path / "images", name, pixels), label=label, name=NAMES[label])
        for name, (pixels, label, _) in CASES.items()
    ]
    right = write(tmp_path / "images", "right", drawn(blue=OBJECT))
    return [*found, Record(path=right, label=2, name="blue")]


def kinds(found: Confusion) -> dict[str, str]:
    return {Path(r["image"]).stem: r["kind"] for r in found.wrong().iter_rows(named=True)}


def test_each_constructed_confusion_is_told_by_its_kind(records, tmp_path):
    found = confusion(classifier(), records, out=tmp_path / "run", **SETTINGS)
    assert kinds(found) == {name: kind for name, (_, _, kind) in CASES.items()}
    rows = found.rows()
    assert rows["status"].to_list() == ["wrong"] * 4 + ["correct"]
    assert set(rows.filter(pl.col("status") == "wrong")["predicted_name"]) == {"red"}
    assert rows["kind"][4] is None


@pytest.mark.parametrize("fill", ["mean", "black", "noise"])
def test_a_box_tells_context_from_a_second_object_whatever_the_fill(records, tmp_path, fill):
    top, left, side = OBJECT
    box = torch.tensor([[left, top, left + side, top + side]], dtype=torch.float32)
    boxed = [Record(path=r.path, label=r.label, name=r.name, boxes=box) for r in records[:4]]
    found = confusion(classifier(), boxed, out=tmp_path / "run", fill=fill, **SETTINGS)
    assert kinds(found) == {name: kind for name, (_, _, kind) in CASES.items()}
    by_name = {Path(r["image"]).stem: r for r in found.wrong().iter_rows(named=True)}
    assert by_name["background"]["lift_predicted"] < 0.5
    assert by_name["background"]["rest_margin"] > 0
    assert by_name["duplicate"]["lift_predicted"] > 3
    assert by_name["duplicate"]["pointed_predicted"] > 0.5


def test_without_a_box_and_with_black_a_background_is_a_second_object(records, tmp_path):
    """What masking alone cannot tell: the documentation says so."""
    found = confusion(classifier(), records, out=tmp_path / "run", fill="black", **SETTINGS)
    assert kinds(found)["background"] != "context"


def test_a_method_that_ignores_the_class_tells_nothing(records, tmp_path):
    found = confusion(classifier(), records[:4], out=tmp_path / "run", method="eigen-cam", **SETTINGS)
    wrong = found.wrong()
    assert wrong["overlap"].to_list() == [1.0] * 4
    assert wrong["overlap_control"].to_list() == [1.0] * 4
    assert set(wrong["kind"]) <= {"unclear", "context"}
    assert any("unrelated class" in why for why in wrong["why"])


def reference_top(heat: np.ndarray, share: float) -> np.ndarray:
    """The hottest pixels of a map without ties."""
    order = np.argsort(-heat.ravel(), kind="stable")[: math.ceil(share * heat.size)]
    top = np.zeros(heat.size, bool)
    top[order] = True
    return top.reshape(heat.shape) & (heat > 0)


def test_figures_agree_with_slow_references():
    net = seeded(ConvNet)
    clf = sl.Classifier(net, size=16, decision="categorical")
    pixels = images(3)
    p, y, r = [0, 1, 2], [3, 4, 0], [1, 2, 4]
    out = sl.explain(clf, pixels, target=[sl.each(map(sl.Category, row)) for row in zip(p, y, r, strict=True)])
    maps = {role: out.select(slice(k, None, 3)) for k, role in enumerate(("predicted", "true", "control"))}
    regions = torch.zeros(3, 16, 16, dtype=torch.bool)
    regions[0, 2:9, 3:12] = True
    found = measure(Session(clf, pixels), maps, regions, keep=0.15, mask=0.35, fill="mean")

    slow = net.double()

    def ask(image: torch.Tensor, n: int) -> tuple[float, float, float]:
        z = slow(image[None].double())[0].detach()
        q = z.softmax(0)
        return float(z[p[n]] - z[y[n]]), float(q[p[n]]), float(q[y[n]])

    for n in range(3):
        heat = {role: one.heatmaps((16, 16))[n].double().numpy() for role, one in maps.items()}
        raw = {role: one.maps[n].double().numpy().ravel() for role, one in maps.items()}
        row = found[n]
        if max(heat["predicted"].max(), 0) > 0 and heat["true"].max() > 0:
            top = {role: reference_top(h, 0.15) for role, h in heat.items()}
            common = (top["predicted"] & top["true"]).sum() / max(top["predicted"].sum(), top["true"].sum())
            assert row["overlap"] == pytest.approx(common)
            half = [h >= h.max() / 2 for h in (heat["predicted"], heat["true"])]
            assert row["iou"] == pytest.approx((half[0] & half[1]).sum() / (half[0] | half[1]).sum())
        assert row["pearson"] == pytest.approx(stats.pearsonr(raw["predicted"], raw["true"])[0], abs=1e-6)
        assert row["spearman"] == pytest.approx(stats.spearmanr(raw["predicted"], raw["true"])[0], abs=1e-6)
        image = pixels[n]
        grey = image.mean((1, 2), keepdim=True).expand_as(image)
        whole = ask(image, n)
        for role, position in (("predicted", 1), ("true", 2)):
            kept = torch.from_numpy(reference_top(heat[role], 0.35))
            assert row[f"empty_{role}"] == (heat[role].max() == 0)
            if row[f"empty_{role}"]:
                assert row[f"keep_{role}_margin"] is None
                continue
            for name, where in ((f"keep_{role}", kept), (f"cut_{role}", ~kept)):
                asked = ask(torch.where(where, image, grey), n)
                got = [row[f"{name}_{what}"] for what in ("margin", "predicted", "true")]
                assert got == pytest.approx(asked, abs=1e-5)
            soft = ask(image * torch.from_numpy(heat[role]).float(), n)[position]
            assert row[f"drop_{role}"] == pytest.approx(max(0.0, 1 - soft / whole[position]), abs=1e-5)
            assert row[f"increase_{role}"] == float(soft > whole[position])
        assert [row[f"whole_{what}"] for what in ("margin", "predicted", "true")] == pytest.approx(whole, abs=1e-5)
        if n:
            assert row["object_margin"] is None
            assert row["lift_predicted"] is None
        else:
            asked = ask(torch.where(regions[0], image, grey), 0)
            assert row["object_margin"] == pytest.approx(asked[0], abs=1e-5)
            asked = ask(torch.where(~regions[0], image, grey), 0)
            assert row["rest_margin"] == pytest.approx(asked[0], abs=1e-5)


def test_cosines_of_the_head_are_those_of_its_rows():
    W = Colours().head.weight.detach().double().numpy()
    W = W - W.mean(0)
    wanted = (W @ W.T) / np.outer(np.linalg.norm(W, axis=1), np.linalg.norm(W, axis=1))
    found = likeness(classifier())
    assert np.allclose(torch.stack([found.of(c) for c in range(5)]), wanted)
    assert found.spread == pytest.approx(wanted[~np.eye(5, dtype=bool)].std(ddof=1))
    assert wanted[0, 3] > 0.99
    assert wanted[0, 4] < 0.5


class ConvHead(torch.nn.Module):
    """SqueezeNet's kind of head: 1 x 1 convolution, ReLU, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classifier = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 1)

    def forward(self, x):
        return self.classifier(self.body(x).relu()).relu().mean((2, 3))


class TwoHeads(torch.nn.Module):
    """A second linear layer with as many outputs takes no part in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.other = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 5), torch.nn.Linear(4, 5)

    def forward(self, x):
        x = self.body(x).relu().mean((2, 3))
        self.other(x)
        return self.head(x)


def test_the_head_is_found_and_no_other_layer_taken_for_it():
    conv, two = seeded(ConvHead), seeded(TwoHeads)
    made = {m: sl.Classifier(m, size=8, decision="categorical") for m in (conv, two)}
    for net, layer in ((conv, conv.classifier), (two, two.head)):
        W = layer.weight.detach().flatten(1).double()
        W = W - W.mean(0)
        W = W / W.norm(dim=1, keepdim=True)
        assert torch.allclose(likeness(made[net]).of(2), W @ W[2])
    deep = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    assert likeness(sl.Classifier(deep, size=8, decision="categorical")) is None
    assert likeness(sl.BlackBox(lambda x: x.mean((2, 3)), size=8, decision="categorical")) is None


def test_the_control_is_drawn_from_classes_unlike_both():
    cosines = likeness(classifier())
    assert unlike(cosines, 0, 3, 5) == [1, 2]
    assert unlike(cosines, 4, 0, 5) == [1, 2]
    assert unlike(None, 4, 0, 5) == [1, 2, 3]
    assert unlike(None, 0, 1, 2) == []


def test_confusions_both_ways():
    counts = {(0, 0): 6, (0, 1): 4, (1, 0): 2, (1, 1): 8, (2, 0): 1}
    assert both_ways(counts, 0, 1) == both_ways(counts, 1, 0) == pytest.approx(2 * 2 / 20)
    assert both_ways(counts, 0, 2) == 0
    assert both_ways(counts, 0, 3) is None


def test_pairs_kinds_and_means_are_those_of_the_rows(records, tmp_path):
    many = [*records, Record(path=write(tmp_path / "images", "again", CASES["duplicate"][0]), label=3)]
    found = confusion(classifier(), many, out=tmp_path / "run", **SETTINGS)
    pairs, wrong = found.pairs(), found.wrong()
    first = pairs.row(0, named=True)
    assert (first["true_name"], first["predicted_name"], first["count"], first["of"]) == ("crimson", "red", 2, 2)
    mine = wrong.filter(pl.col("true_name") == "crimson")
    assert first["mean_overlap"] == pytest.approx(mine["overlap"].mean())
    assert first["kinds"] == "2 near-identical"
    assert pairs["count"].sum() == len(wrong) == 5
    lines = {r["kind"]: r for r in found.kinds().iter_rows(named=True)}
    assert lines["near-identical"]["images"] == 2
    assert lines["near-identical"]["share"] == pytest.approx(0.4)
    assert lines["near-identical"]["low"] < 0.4 < lines["near-identical"]["high"]
    mean = found.means(resamples=200).row(0, named=True)
    assert mean["mean"] == pytest.approx(wrong["overlap"].mean())
    assert mean["low"] <= mean["mean"] <= mean["high"]
    assert wrong["lead"].to_list() == sorted(wrong["lead"], reverse=True)


def test_thresholds_change_the_kinds_without_new_passes(records, tmp_path):
    run = tmp_path / "run"
    found = confusion(classifier(), records, out=run, **SETTINGS)
    strict = Thresholds(cosine=1.0, deviations=9.0)
    assert set(found.wrong(strict)["kind"]) == {"several-objects", "same-place", "context"}
    files = {f: f.stat().st_mtime_ns for f in (run / "rows").iterdir()}
    again = confusion(classifier(), records, out=run, thresholds={"cosine": 1.0, "deviations": 9.0}, **SETTINGS)
    assert {f: f.stat().st_mtime_ns for f in (run / "rows").iterdir()} == files
    assert again.wrong().equals(found.wrong(strict))
    assert json.loads((run / "manifest.json").read_text())["thresholds"]["cosine"] == 1.0
    with pytest.raises(StorageError, match=r"keep was 0\.15 and is now 0\.2"):
        confusion(classifier(), records, out=run, keep=0.2, **SETTINGS)


def test_a_run_that_was_stopped_goes_on_to_the_same_rows(records, tmp_path):
    whole = confusion(classifier(), records, out=tmp_path / "whole", batch=1, **SETTINGS)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    settings = {**SETTINGS, "batch": 1}
    with pytest.raises(KeyboardInterrupt):
        confusion(classifier(), records, out=tmp_path / "cut", **{**settings, "progress": stop})
    said: list[str] = []
    resumed = confusion(classifier(), records, out=tmp_path / "cut", announce=said.append, **settings)
    assert said[0] == "2 of 5 images are finished"
    assert "3 images to classify" in said[1]
    assert resumed.rows().drop("seconds").equals(whole.rows().drop("seconds"))
    together = confusion(classifier(), records, out=tmp_path / "together", batch=5, **SETTINGS)
    for name, column in together.rows().drop("seconds").to_dict().items():
        if column.dtype == pl.Float64:
            assert np.allclose(column.to_numpy(), whole.rows()[name].to_numpy(), atol=1e-5, equal_nan=True)
        elif name != "why":
            assert column.equals(whole.rows()[name])


def test_pictures_are_kept_for_so_many_and_each_image_is_asked_once(records, tmp_path):
    found = confusion(classifier(), records, out=tmp_path / "run", pictures=2, batch=2, **SETTINGS)
    assert found.rows()["pictures"].to_list() == [True, True, False, False, False]
    names = {f.name for f in (tmp_path / "run" / "thumbs").iterdir()}
    assert names == {f"{i}{end}" for i in (0, 1) for end in (".jpg", "-true-grad-cam.png", "-predicted-grad-cam.png")}


def test_what_cannot_be_read_or_explained_is_a_row(records, tmp_path, monkeypatch):
    broken = tmp_path / "images" / "broken.png"
    broken.write_bytes(b"no image")
    none = write(tmp_path / "images", "nobody", drawn(red=OBJECT))
    more = [
        *records,
        Record(path=broken, label=0),
        Record(path=none),
        Record(path=none, label=9),
    ]
    found = confusion(classifier(), more, out=tmp_path / "run", **SETTINGS)
    rows = found.rows()
    assert rows["status"].to_list()[5:] == ["error", "unlabelled", "error"]
    assert "broken.png" in rows["error"][5]
    assert "9 is none of the 5 outputs" in rows["error"][7]
    assert len(found.wrong()) == 4

    work = sys.modules["sightline.studies.confusions.work"]
    asked = work.measure

    def fails(session, maps, regions, **settings):
        if len(regions) > 1 or maps["true"].targets[0].category == 4:
            raise RuntimeError("out of luck")
        return asked(session, maps, regions, **settings)

    monkeypatch.setattr(work, "measure", fails)
    found = confusion(classifier(), records, out=tmp_path / "other", **SETTINGS)
    assert found.rows()["status"].to_list() == ["wrong", "wrong", "error", "wrong", "correct"]
    assert found.rows()["error"][2] == "RuntimeError: out of luck"
    assert kinds(found)["two-objects"] == "several-objects"


def test_a_folder_of_classes_is_matched_by_name(tmp_path):
    for name, (pixels, label, _) in CASES.items():
        write(tmp_path / "data" / NAMES[label].title(), name, pixels)
    found = confusion(classifier(), tmp_path / "data", out=tmp_path / "run", **SETTINGS)
    assert kinds(found) == {name: kind for name, (_, _, kind) in CASES.items()}
    assert all(not Path(image).is_absolute() for image in found.rows()["image"])
    write(tmp_path / "data" / "purple", "x", drawn())
    with pytest.raises(InputError, match=r"no output .* called 'purple'"):
        confusion(classifier(), tmp_path / "data", out=tmp_path / "other", **SETTINGS)


def test_bad_input_is_told_before_any_work(records, tmp_path):
    out = tmp_path / "run"
    unlabelled = [Record(path=r.path) for r in records]
    yes_no = sl.Classifier(seeded(ConvNet, 1), size=16)
    cases = [
        ({"images": unlabelled}, InputError, "no image has a label"),
        ({"images": [r.path for r in records]}, InputError, "labelled images"),
        ({"classifier": yes_no}, InputError, "one category with another.*both:NAME"),
        ({"keep": 1.5}, InputError, "keep is a share"),
        ({"fill": "pink"}, InputError, "fill must be"),
        ({"thresholds": {"part": 0.7}}, InputError, "must be below coincide"),
        ({"method": "grad-kam"}, MethodError, "did you mean"),
        ({"settings": {"nope": 1}}, MethodError, "no setting"),
    ]
    for given, error, text in cases:
        with pytest.raises(error, match=text):
            confusion(**{"classifier": classifier(), "images": records, "out": out, **SETTINGS, **given})
    assert not out.exists()


def test_two_classes_have_no_control_and_a_black_box_no_head(records, tmp_path):
    net = Colours()
    net.head.weight.data = net.head.weight.data[[0, 1]]
    net.head.out_features = 2
    two = sl.Classifier(net.eval(), labels=NAMES[:2], size=SIDE, decision="categorical")
    found = confusion(two, records[:1], out=tmp_path / "two", **SETTINGS)
    assert found.wrong()["overlap_control"].to_list() == [None]
    assert kinds(found) == {"two-objects": "several-objects"}
    box = sl.BlackBox(Colours().eval(), labels=NAMES, size=SIDE, decision="categorical")
    plan = Plan(classifier=box, records=records[1:2], method="occlusion", fit="squash", seed=1)
    found = run_plan(plan, tmp_path / "box", progress=False)
    assert found.wrong()["alike"].to_list() == [None]
    assert found.wrong()["kind"].to_list() == ["same-place"]

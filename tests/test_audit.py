"""The audit from images to raw tables: against single explanations, plain formulas, kills and bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from audits import NAMES, SIDE, classifier, folder, network, regions
from nets import ConvNet, seeded
from sightline import store
from sightline.data import faces
from sightline.data.alignment import Preparation
from sightline.data.annotations.record import Record
from sightline.errors import InputError, LayerError, MethodError, StorageError
from sightline.studies.auditing import Audit, Plan, audit, compare, run_plan
from sightline.studies.auditing.energy import lowered, proportional, reading
from sightline.studies.auditing.estimate import estimate

WHOLE = Preparation(fit="squash")


def run(out, records, clf=None, **settings):
    settings = {
        "preparation": WHOLE,
        "regions": regions(),
        "progress": False,
        "batch": 4,
        "pictures": False,
        **settings,
    }
    return audit(clf or classifier(), records, out=out, **settings)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory, records):
    return run(tmp_path_factory.mktemp("audit") / "run", records, groups=("light", "Hat"))


@pytest.mark.parametrize("polarity", ["positive", "absolute", "height"])
@pytest.mark.parametrize("cells", [(1, 1), (3, 3), (7, 5), (16, 12)])
def test_energy_equals_that_of_upsampled_maps(polarity, cells):
    draw = torch.Generator().manual_seed(3)
    maps = torch.randn(6, *cells, generator=draw)
    maps[1], maps[2] = 0.0, -maps[2].abs()
    maps[3] = 2.0
    masks = torch.rand(6, 48, 36, generator=draw) < 0.3
    E = {"positive": maps.relu(), "absolute": maps.abs(), "height": maps - maps.amin((1, 2), keepdim=True)}[polarity]
    wanted = []
    for e, m in zip(E.double(), masks, strict=True):
        low, high = e.min(), e.max()
        e = (e - low) / (high - low) if high > low else torch.full_like(e, float(high > 0))
        up = F.interpolate(e[None, None], size=(48, 36), mode="bilinear", align_corners=False)[0, 0]
        wanted.append(float((up * m).sum() / up.sum()) if up.sum() > 0 else 0.0)
    found = proportional(reading(maps, polarity), lowered(masks, cells))
    assert found.tolist() == pytest.approx(wanted, abs=1e-5)
    assert lowered(masks, cells).area.tolist() == pytest.approx(masks.double().mean((1, 2)).tolist())


def test_maps_and_decisions_equal_single_explanations(plain, records):
    clf = classifier()
    rows = plain.maps()
    assert len(rows) == len(records) * len(NAMES) * 3 * 2
    assert plain.manifest["settings"]["layers"] == {"after": "relu2", "before": "relu2@input"}
    for i in (0, 1, 4, 9):
        sample = WHOLE.load(records[i], SIDE)
        z = clf(sample.pixels[None])[0]
        for a, name in enumerate(NAMES):
            told = plain.decisions().filter(image_index=i, attribute=name).row(0, named=True)
            assert told["z"] == pytest.approx(float(z[a]), abs=1e-5)
            assert told["truth"] == records[i].attributes.get(name)
            for method in ("grad-cam", "hires-cam", "grad-cam++"):
                for label, layer in (("after", "relu2"), ("before", "relu2@input")):
                    out = sl.explain(clf, sample.pixels[None], method=method, layer=layer, target=sl.Attribute(name))
                    row = rows.filter(image_index=i, attribute=name, method=method, layer=label).row(0, named=True)
                    heat = out.heatmaps(size=(SIDE, SIDE))[0].double()
                    assert row["total"] == pytest.approx(float(out.maps.sum()), rel=1e-4, abs=1e-5)
                    assert row["energy"] == pytest.approx(float(out.maps.relu().sum()), rel=1e-4, abs=1e-5)
                    assert row["empty"] == bool(out.empty[0])
                    assert row["sign"] == out.targets[0].sign == (1 if z[a] >= 0 else -1)
                    if name == "Ring":
                        assert row["pe"] is None
                        assert row["area"] is None
                        continue
                    mask = sample.masks[name]
                    pe = float(heat[mask].sum() / heat.sum()) if heat.sum() > 0 else 0.0
                    assert row["pe"] == pytest.approx(pe, abs=1e-5)
                    assert row["area"] == pytest.approx(float(mask.double().mean()))


def test_outcomes_follow_truth_and_decision(plain):
    for row in plain.decisions().iter_rows(named=True):
        yes = row["z"] >= 0
        wanted = None if row["truth"] is None else ("T" if yes == bool(row["truth"]) else "F") + ("P" if yes else "N")
        assert row["outcome"] == wanted
    told = plain.maps().join(plain.decisions(), on=["image_index", "attribute"])
    assert told.filter(pl.col("outcome").ne_missing(pl.col("outcome_right"))).is_empty()


def test_head_bias_is_what_hires_cam_leaves_over(plain):
    wanted = dict(zip(NAMES, network().head.bias.tolist(), strict=True))
    assert plain.manifest["head"]["bias"] == pytest.approx(wanted, abs=1e-5)
    rows = plain.decisions()
    assert (rows["z"] - rows["b_head"] - rows["e_common"] - rows["e_own"]).abs().max() < 1e-9
    hires = plain.maps().filter(method="hires-cam").join(rows, on=["image_index", "attribute"])
    assert (hires["total"] * hires["sign"] - (hires["z"] - hires["b_head"])).abs().max() < 1e-4


class Head(nn.Module):
    """A ConvNet with another head."""

    def __init__(self, *head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = network(8), nn.Sequential(*head)
        self.body.head = nn.Identity()

    def forward(self, x):
        return self.head(self.body(x))


def test_heads_of_several_linear_layers_are_affine_and_others_are_not(tmp_path, records):
    torch.manual_seed(0)
    first, second = nn.Linear(8, 6), nn.Linear(6, 3)
    deep = Plan(classifier=classifier(Head(first, second).eval()), records=records, preparation=WHOLE)
    assert deep.head.bias.tolist() == pytest.approx((second.weight @ first.bias + second.bias).tolist(), abs=1e-5)
    assert deep.biased == 0
    bent = classifier(Head(first, nn.ReLU(), second).eval())
    found = run(tmp_path / "run", records, bent, methods=["hires-cam"], limit=4)
    assert found.manifest["head"]["bias"] is None
    assert "depends on the image" in found.manifest["head"]["why"]
    assert found.decisions()["b_head"].null_count() == 12
    assert found.bias()["share_bias"].null_count() == 6
    assert found.decisions()["b_layers"].null_count() == 0  # then the layers are told, of the first images


def test_two_logits_equal_their_difference(tmp_path, records):
    pair = network(2, seed=4)
    single = seeded(ConvNet, 1, seed=4)
    single.load_state_dict({**pair.state_dict(), "head.weight": pair.head.weight[:1], "head.bias": pair.head.bias[:1]})
    with torch.no_grad():
        single.head.weight.copy_(pair.head.weight[1:] - pair.head.weight[:1])
        single.head.bias.copy_(pair.head.bias[1:] - pair.head.bias[:1])
    two = sl.Classifier(pair.eval(), labels=("bare", "hat"), decision="categorical", size=SIDE)
    one = sl.Classifier(single.eval(), labels=("Hat",), decision="binary", size=SIDE)
    settings = {"methods": ["grad-cam", "hires-cam", "lrp"], "settings": {"lrp": {"composite": "epsilon"}}}
    a = run(tmp_path / "a", records, two, attributes={"Hat": sl.Contrast("hat", "bare")}, **settings)
    b = run(tmp_path / "b", records, one, **settings)
    assert a.manifest["settings"]["attributes"] == {"Hat": "output 1 - output 0"}
    for name, columns in (("decisions", ["z", "b_head", "e_own"]), ("maps", ["pe", "energy", "total"])):
        x, y = (getattr(found, name)() for found in (a, b))
        for column in columns:
            pick = np.ones(len(x), dtype=bool) if name == "decisions" else (x["method"] != "lrp").to_numpy()
            left, right = x[column].to_numpy()[pick], y[column].to_numpy()[pick]
            assert left == pytest.approx(right, rel=1e-4, abs=1e-4)
    assert a.errors()["FNR"].to_list() == b.errors()["FNR"].to_list()
    flipped = run(tmp_path / "c", records, two, attributes={"Hat": sl.Contrast("bare", "hat")}, **settings)
    assert flipped.decisions()["z"].to_numpy() == pytest.approx(-a.decisions()["z"].to_numpy(), abs=1e-6)


def test_biases_of_all_layers_account_for_the_decision(tmp_path, records):
    found = run(tmp_path / "run", records, methods=["hires-cam"], bias_images=3)
    rows = store.read_table(found.path, "biases")
    assert sorted(rows["image_index"].unique()) == [0, 1, 2]
    assert set(rows["layer"]) == {"conv1", "bn1", "bn2", "layers without a map", "unexplained"}
    rest = rows.filter(layer="unexplained")
    assert rest["value"].abs().max() < 1e-4  # complete for a network of ReLUs
    clf, net = classifier(), network()
    sample = WHOLE.load(records[1], SIDE)
    x = sample.pixels[None].double().requires_grad_()
    z = net.double()(x)[0]
    for a, name in enumerate(NAMES):
        (g,) = torch.autograd.grad(z[a], x, retain_graph=True)
        bias = float((z[a] - (g * x).sum()).detach())  # what the inputs do not explain: all biases together
        row = found.decisions().filter(image_index=1, attribute=name).row(0, named=True)
        assert row["b_layers"] == pytest.approx(bias, abs=1e-4)
    assert found.decisions().filter(pl.col("image_index") > 2)["b_layers"].null_count() == 21
    assert clf.width == 3
    told = found.bias_layers().filter(pl.col("layer") != "unexplained")
    summed = told.group_by("attribute", "side").agg(pl.col("share").sum())
    both = summed.join(found.bias(), on=["attribute", "side"])
    assert (both["share"] - both["share_layers"]).abs().max() < 1e-9
    assert both["layers_n"].max() <= 3


def test_controls_and_methods_at_pixels(tmp_path, records):
    found = run(tmp_path / "run", records, methods=["uniform", "lrp", "eigen-cam"])
    rows = found.maps()
    uniform = rows.filter(method="uniform", attribute="Tie")
    assert (uniform["pe"] - uniform["area"]).abs().max() < 1e-6
    lift = found.evidence().filter(pl.col("method") == "uniform", pl.col("pe").is_not_null())["lift"]
    assert lift.to_numpy() == pytest.approx(np.ones(len(lift)))
    assert set(rows.filter(method="lrp")["layer"]) == {"pixels"}
    out = sl.explain(classifier(), WHOLE.load(records[3], SIDE).pixels[None], method="lrp", target=sl.Attribute("Hat"))
    row = rows.filter(method="lrp", image_index=3, attribute="Hat").row(0, named=True)
    assert row["total"] == pytest.approx(float(out.maps.sum()), rel=1e-3, abs=1e-4)


def test_mean_maps_are_means_of_scaled_maps(plain, records):
    clf = classifier()
    pixels = torch.stack([WHOLE.load(r, SIDE).pixels for r in records])
    out = sl.explain(clf, pixels, method="grad-cam", target=sl.Attribute("Hat"))
    heat = out.heatmaps(size=(8, 8)).double().numpy()
    sign = np.array([t.sign for t in out.targets])
    truth = np.array([r.attributes["Hat"] for r in records])
    picks = {"all": sign != 0, "yes": sign > 0, "no": sign < 0, "TN": (sign < 0) & (truth == 0)}
    for outcome, pick in picks.items():
        mean = plain.mean_maps("Hat", "grad-cam", "after", outcome)
        assert mean == pytest.approx(heat[pick].mean(0), abs=1e-5)
    assert plain.mean_maps("Hat", "rise") is None
    assert plain.mean_input() == pytest.approx(pixels.mean(0).numpy(), abs=1e-6)
    masks = torch.stack([WHOLE.load(r, SIDE).masks["Hat"] for r in records])
    assert plain.mean_region("Hat") == pytest.approx(masks.double().mean(0).numpy())
    assert plain.mean_region("Ring") is None


def tables(found: Audit) -> dict[str, pl.DataFrame]:
    names = ("rows", "images", "maps", "means", "biases")
    return {name: store.read_table(found.path, name) for name in names}


def same(a: Audit, b: Audit) -> None:
    for name, frame in tables(a).items():
        assert frame.equals(tables(b)[name]), name
    for name in ("errors", "evidence", "bias", "groups"):
        assert getattr(a, name)().equals(getattr(b, name)()), name


def test_interrupted_runs_go_on_to_the_same_tables(tmp_path, records, plain):
    def stop(done, total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", records, groups=("light", "Hat"), progress=stop)
    assert len(store.read_parts(tmp_path / "run")) == 2
    assert len(Audit(tmp_path / "run").errors()) == 3  # what is there can be read
    said = []
    found = run(tmp_path / "run", records, groups=("light", "Hat"), announce=said.append)
    assert said[0] == "8 of 10 images are finished"
    assert "2 images to audit: 6 decisions, 36 maps" in said[1]
    same(found, plain)
    more = []
    run(tmp_path / "run", records, groups=("light", "Hat"), announce=more.append)
    assert more == ["10 of 10 images are finished"]


def test_more_images_only_add(tmp_path, records, plain):
    run(tmp_path / "run", records, groups=("light", "Hat"), limit=4)
    found = run(tmp_path / "run", records, groups=("light", "Hat"))
    same(found, plain)


def test_killed_in_the_middle_of_blocks_it_gives_the_same_tables(tmp_path):
    folder(tmp_path / "images", 8)
    script = Path(__file__).with_name("killed_audit.py")
    ended = subprocess.run([sys.executable, script, tmp_path, "5"], capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) >= 5
    same(Audit(tmp_path / "cut"), Audit(tmp_path / "whole"))
    assert not list((tmp_path / "cut").rglob(".tmp-*"))


def test_rows_are_written_block_by_block(plain):
    assert len(store.table_files(plain.path, "maps")) == 3
    assert [len(pl.read_parquet(f)) for f in store.table_files(plain.path, "images")] == [4, 4, 2]


def test_estimate_is_told_before_the_work(records):
    plan = Plan(classifier=classifier(), records=records, regions=regions(), methods=["grad-cam", "lrp"])
    found = estimate(plan, range(10))
    assert (found.images, found.decisions, found.maps) == (10, 30, 90)
    assert found.seconds > 0


def test_unreadable_images_are_counted_and_named(tmp_path, records):
    (tmp_path / "broken.png").write_bytes(b"no image")
    bad = Record(path=tmp_path / "broken.png", attributes=dict(records[0].attributes))
    odd = Record(path=records[2].path, attributes={"Hat": 7, "Tie": 1})
    bare = Record(path=records[3].path, attributes=dict(records[3].attributes))
    mixed = [*records[:2], bad, odd, bare]
    first = run(tmp_path / "a", [*records[:2], bad], methods=["grad-cam"])
    told = first.images().filter(status="error")
    assert told["image"].to_list() == ["broken.png"] or told["image"][0].endswith("broken.png")
    assert "broken.png" in told["error"][0]
    assert first.decisions()["image_index"].unique().sort().to_list() == [0, 1]
    aligned = audit(
        classifier(), [*mixed[:2], bare], out=tmp_path / "b", preparation=Preparation(fit="align"),
        regions=regions(), methods=["grad-cam"], progress=False,
    )  # fmt: skip
    assert "no landmarks" in aligned.images().filter(status="error")["error"][0]
    with pytest.raises(InputError, match="knows"):
        run(tmp_path / "c", [odd, *records], attributes=["Hat"])
    whole = run(tmp_path / "d", [*records * 6, odd], methods=["grad-cam"])
    assert "Hat is 7, which is neither yes (1) nor no (0)" in whole.images().filter(status="error")["error"][0]


def test_what_does_not_fit_is_said_before_any_work(tmp_path, records):
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"have no names.*Hat, Tie, Ring"):
        run(out, records, sl.Classifier(network(), decision="multilabel", size=SIDE))
    with pytest.raises(sl.SightlineError, match="2 labels do not fit 3 outputs"):
        run(out, records, classifier(labels=("Hat", "Tie"), net=network(3)))
    with pytest.raises(InputError, match=r"sl.Contrast\('a', 'b'\)"):
        run(out, records, sl.Classifier(network(2), labels=("a", "b"), decision="categorical", size=SIDE))
    with pytest.raises(InputError, match="share no attribute: the outputs are X, Y, Z"):
        run(out, records, classifier(labels=("X", "Y", "Z")))
    with pytest.raises(InputError, match="no output 'Scarf'; it has Hat"):
        run(out, records, attributes=["Scarf"])
    with pytest.raises(InputError, match="does not know the attribute 'Scarf'"):
        run(out, records, attributes={"Scarf": sl.Attribute("Hat")})
    with pytest.raises(InputError, match="no group column 'Age'; there are light, Hat"):
        run(out, records, groups=["Age"])
    with pytest.raises(InputError, match="no images"):
        run(out, [])
    with pytest.raises(InputError, match="no image has an attribute"):
        run(out, [Record(path=records[0].path)])
    with pytest.raises(InputError, match="limit"):
        run(out, records, limit=0)
    with pytest.raises(InputError, match="not the text 'grad-cam'"):
        run(out, records, methods="grad-cam")
    with pytest.raises(InputError, match="twice"):
        run(out, records, methods=["grad-cam", "grad-cam"])
    with pytest.raises(MethodError, match="has no setting"):
        run(out, records, settings={"grad-cam": {"depth": 3}})
    with pytest.raises(LayerError, match="no layer 'relu9'"):
        run(out, records, layers=["relu9"])
    with pytest.raises(MethodError, match="BlackBox"):
        run(out, records, sl.BlackBox(network(), labels=NAMES, decision="multilabel", size=SIDE))
    assert not out.exists() or not list(out.glob("*.json*"))


def test_other_settings_need_another_folder(tmp_path, records):
    run(tmp_path / "run", records, limit=4, methods=["grad-cam"])
    with pytest.raises(StorageError, match=r"made otherwise.*methods"):
        run(tmp_path / "run", records, limit=4, methods=["hires-cam"])
    with pytest.raises(StorageError, match=r"made otherwise.*weights"):
        run(tmp_path / "run", records, classifier(network(seed=9)), limit=4, methods=["grad-cam"])
    found = run(tmp_path / "run", records, limit=4, methods=["hires-cam"], overwrite=True)
    assert found.maps()["method"].unique().to_list() == ["hires-cam"]


def test_reference_is_kept_with_the_run(tmp_path, records, plain):
    found = run(tmp_path / "run", records, methods=["uniform"], reference="plain", limit=6)
    again = Audit(found.path)
    assert again.common == "plain"
    rows = again.decisions()
    for (_,), mine in rows.group_by("attribute"):
        assert mine["e_own"].mean() == pytest.approx(0, abs=1e-6)
    assert plain.common == "balanced"
    assert Audit(found.path, reference="balanced").common == "balanced"
    with pytest.raises(InputError, match="'balanced' or 'plain'"):
        run(tmp_path / "other", records, reference="some")


def test_groups_are_columns_or_attributes(plain):
    images = plain.images()
    assert images["group_light"].value_counts().sort("group_light")["count"].to_list() == [5, 5]
    assert images["group_Hat"][:4].to_list() == ["yes", "no", "no", "yes"]
    assert images["frontal"].to_list() == [True] * 10
    frame = plain.groups()
    assert set(frame["by"]) == {"light", "Hat", "light x Hat"}
    assert frame["greyed"].all()
    assert not frame["worst"].any()


def test_rendered_faces_have_exact_regions_and_are_told_apart(tmp_path):
    drawn = faces.sample(12, seed=3, size=64, rates={"Smiling": 0.5})
    clf = sl.load("faces:unbalanced")
    settings = {"methods": ["hires-cam"], "progress": False, "attributes": ["Smiling", "Bald"], "batch": 5}
    found = audit(clf, drawn, out=tmp_path / "run", **settings)
    assert found.mean_region("Smiling") == pytest.approx(drawn.mask("Smiling").double().mean(0).numpy())
    area = found.maps().filter(attribute="Smiling", layer="after")["area"].to_numpy()
    assert area == pytest.approx(drawn.mask("Smiling").double().mean((1, 2)).numpy())
    truth = found.decisions().filter(attribute="Smiling")["truth"].to_list()
    assert truth == drawn.attributes[:, drawn.names.index("Smiling")].int().tolist()
    assert found.errors()["train_rate"].to_list() == pytest.approx([0.022, 0.482])  # the network's file says so
    with pytest.raises(StorageError, match="face 0 has changed"):
        audit(clf, faces.sample(12, seed=4, size=64), out=tmp_path / "run", **settings)


def test_comparison_pairs_images(tmp_path, records, plain):
    itself = compare(plain, plain)
    assert itself.images == 10
    assert itself.notes() == []
    errors = itself.errors()
    assert errors["FPR_difference"].to_list() == [0.0] * 3
    assert (errors["FPR_difference_low"] < 0).all()
    assert errors["p"].to_list() == [1.0] * 3
    for frame, column in ((itself.evidence(), "pe_difference"), (itself.bias(), "constant_difference")):
        assert frame[column].drop_nulls().abs().max() == 0
    moved = network()
    with torch.no_grad():
        moved.head.bias += 3.0
    other = run(tmp_path / "other", records[2:], classifier(moved), groups=("light", "Hat"), methods=["hires-cam"])
    found = compare(plain, other)
    assert found.images == 8
    assert any("methods differ" in note for note in found.notes())
    assert any("2 images" in note for note in found.notes())
    line = found.errors().filter(attribute="Ring").row(0, named=True)
    wrong = [
        f.decisions().filter(pl.col("attribute") == "Ring", pl.col("image").is_in(other.images()["image"].implode()))
        for f in (plain, other)
    ]
    rates = [float((w["z"] >= 0).mean()) for w in wrong]
    assert (line["FPR_a"], line["FPR_b"]) == pytest.approx(tuple(rates))
    assert line["FPR_difference"] == pytest.approx(rates[1] - rates[0])
    assert line["FNR_difference"] is None
    assert "of one truth" in line["note"]
    assert set(found.evidence()["method"]) == {"hires-cam"}
    with pytest.raises(InputError, match="share no image"):
        compare(plain, run(tmp_path / "third", folder(tmp_path / "far", 4, seed=8), limit=4))


def test_plan_can_be_run_as_it_is(tmp_path, records):
    plan = Plan(classifier=classifier(), records=records[:3], regions=regions(), preparation=WHOLE, methods=["uniform"])
    found = run_plan(plan, tmp_path / "run", progress=False)
    assert (found.path / "thumbs" / "0.jpg").exists()
    assert len(found.maps()) == 9
    assert found.manifest["protocol"]["layers"] == "after = relu2; before = relu2@input"

"""The generalisation study: masks against a slow reference, what is kept, kills, errors, order, and what it costs."""

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sightline as sl
from generalised import EAGER, SETTINGS, Net, classifier, data, family, run
from nets import images, seeded
from sightline import files, store
from sightline.data import faces
from sightline.data.annotations.record import Record
from sightline.errors import InputError, MethodError, StorageError, TargetError
from sightline.picture import write_png
from sightline.studies.generalising import CONTROLS, Generalisation, Member, generalise, masks, plan_of, targets
from sightline.studies.generalising.estimate import estimate
from sightline.studies.generalising.maps import VARIANTS, Kept
from sightline.studies.generalising.protocol import manifest

LABEL = "lrp (composite=epsilon)"
TABLES = ("decisions", "images", "masked", "similarity", "validity", "parts")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Generalisation:
    """One study that several tests look at: two sizes, both modes, two fills."""
    return run(tmp_path_factory.mktemp("run"), modes=("keep", "remove"), fills=("dataset-mean", "image-mean"))


def same(a: Generalisation, b: Generalisation, *, numbered: bool = True) -> bool:
    """Whether all tables and maps of two runs are equal, bit for bit; `numbered`: also the images' names."""
    for table in TABLES:
        rows = [store.read_table(g.path, table) for g in (a, b)]
        if not numbered:
            rows = [r.drop("image", strict=False) for r in rows]
        keys = [c for c in rows[0].columns if rows[0][c].dtype in (pl.String, pl.Int64)]
        if not rows[0].sort(keys).equals(rows[1].select(rows[0].columns).sort(keys)):
            return False
    maps = [(m, v) for m in a.members for v in VARIANTS]
    return all(np.array_equal(a.maps(m, LABEL, v), b.maps(m, LABEL, v), equal_nan=True) for m, v in maps)


# The slow reference: one image, source and level at a time, in pixels and in float64 where it ranks.


def ranked(relevance: Tensor, size: tuple[int, int], ties: list[int]) -> list[int]:
    """Pixels by falling relevance; among equal ones those that stand first in `ties`."""
    if tuple(relevance.shape) != size:
        relevance = F.interpolate(relevance[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
    values, place = relevance.flatten().tolist(), {pixel: n for n, pixel in enumerate(ties)}
    return sorted(range(len(values)), key=lambda pixel: (-values[pixel], place[pixel]))


def reference(g: Generalisation, members: list[Member], pixels: Tensor, source: str, t: int, i: int, colour: Tensor):
    """p and decision of target t on image i (its number in the run) under a source, by level, for keep and remove."""
    member, N = members[t], len(pixels)
    size = member.classifier.size
    order_of = [int(name.split()[1]) for name in g.decisions().filter(model="m0").sort("image_index")["image"]]
    x = pixels[order_of[i]]
    x = x if size == (12, 12) else F.interpolate(x[None], size=size, mode="bilinear", antialias=True)[0]
    crc = zlib.crc32(pixels[order_of[i]].numpy().tobytes())
    ties = torch.randperm(size[0] * size[1], generator=torch.Generator().manual_seed(crc)).tolist()
    maps = {v: torch.from_numpy(np.array(g.maps(member.name, LABEL, v))) for v in VARIANTS}
    if source == "random":
        order = ties
    elif source in ("centre", "edges"):
        order = ranked(sl.explain(member.classifier, x[None], method=source).maps[0], size, ties)
    elif source == "bottom":
        order = ranked(maps["own"][i], size, ties)[::-1]
    elif source == "mean-map":
        order = ranked(maps["own"].double().mean(0).float(), size, ties)
    elif source == "other-image":
        order = ranked(maps["own"][(i + 1) % N], size, ties)
    elif source in VARIANTS:
        order = ranked(maps[source][i], size, ties)
    else:
        order = ranked(torch.from_numpy(np.array(g.maps(source, LABEL)[i])), size, ties)
    found: dict[str, list[tuple[float, int]]] = {"keep": [], "remove": []}
    asked = int(g.decisions().filter(model=member.name, image_index=i)["decision"][0])
    for level in g.levels:
        top = torch.zeros(size[0] * size[1], dtype=torch.bool)
        top[order[: max(1, round(level / 100 * size[0] * size[1]))]] = True
        for mode, seen in (("keep", top), ("remove", ~top)):
            image = torch.where(seen.reshape(1, *size), x, colour.reshape(3, 1, 1))
            outputs = member.classifier(image[None])[0].double()
            found[mode].append((float(outputs.softmax(0)[asked]), int(outputs.argmax())))
    return found


def test_every_mask_is_that_of_the_reference(made):
    members, (pixels, _) = family(), data()
    rows = {
        (r["target_model"], r["source"], r["image_index"], r["mode"]): r
        for r in made.masked().filter(fill="image-mean").iter_rows(named=True)
    }
    order = [int(name.split()[1]) for name in made.decisions().filter(model="m0").sort("image_index")["image"]]
    assert len(rows) == 3 * (3 + len(CONTROLS)) * 5 * 2
    for t, member in enumerate(members):
        size = member.classifier.size
        for i in (0, 3):
            x = pixels[order[i]][None]
            x = x if size == (12, 12) else F.interpolate(x, size=size, mode="bilinear", antialias=True)
            for source in (*made.members, *CONTROLS):
                found = reference(made, members, pixels, source, t, i, x.mean((0, 2, 3)))
                for mode in ("keep", "remove"):
                    row = rows[member.name, source, i, mode]
                    p, decision = zip(*found[mode], strict=True)
                    assert row["p"] == pytest.approx(p, abs=2e-5), (member.name, source, i, mode)
                    assert row["decision"] == list(decision)


def test_the_fill_is_the_mean_colour_of_all_images(made):
    colours = made.manifest["protocol"]["fill colours"]
    assert colours["12x12"] == pytest.approx(data()[0].mean((0, 2, 3)).tolist(), abs=1e-6)
    small = F.interpolate(data()[0], size=(8, 8), mode="bilinear", antialias=True)
    assert colours["8x8"] == pytest.approx(small.mean((0, 2, 3)).tolist(), abs=1e-6)


def test_maps_are_those_of_the_explainer_and_stay_on_the_disk(made):
    member, (pixels, _) = family()[0], data()
    rows = made.decisions().filter(model="m0").sort("image_index")
    order = [int(name.split()[1]) for name in rows["image"]]
    out = sl.explain(member.classifier, pixels[order], method="lrp", composite="epsilon")
    kept = made.maps("m0")
    assert isinstance(kept, np.memmap)
    np.testing.assert_allclose(kept, out.maps.numpy(), rtol=1e-4, atol=1e-6)
    assert rows["decision"].to_list() == [t.category for t in out.targets]
    assert rows["p"].to_list() == pytest.approx(out.probability.tolist(), abs=1e-6)
    assert rows["truth"].to_list() == [i % 4 for i in order]
    assert not np.allclose(made.maps("m0", variant="randomised"), kept)
    with pytest.raises(InputError, match="there are m0, m1, m2"):
        made.maps("m9")


def test_curves_are_the_rows(made):
    decided = {(r["model"], r["image_index"]): r for r in made.decisions().iter_rows(named=True)}
    for measure in ("accuracy", "agreement", "score"):
        curves = made.curves(mode="remove", measure=measure)
        assert curves.values.shape == (5, 3 + len(CONTROLS), 3, 3)
        assert curves.sources == ("m0", "m1", "m2", *CONTROLS)
        for row in made.masked().filter(mode="remove", fill="dataset-mean").iter_rows(named=True):
            own = decided[row["target_model"], row["image_index"]]
            right = own["truth"] if measure == "accuracy" else own["decision"]
            expected = row["p"] if measure == "score" else [float(d == right) for d in row["decision"]]
            s, t = curves.source(row["source"]), curves.targets.index(row["target_model"])
            assert curves.values[row["image_index"], s, t].tolist() == expected
        whole = [[decided[m, i]["p"] if measure == "score" else None for m in made.members] for i in made.images]
        if measure == "score":
            assert curves.unaltered.tolist() == whole
    assert made.measure == "accuracy"
    assert (made.curves(measure="agreement").unaltered == 1).all()
    with pytest.raises(InputError, match="measures: there is no 'luck'; there are accuracy, agreement, score"):
        made.curves(measure="luck")


def test_without_a_truth_accuracy_is_missing(tmp_path):
    found = run(tmp_path / "run", given=(data()[0], None), validity=0, controls=("random",))
    assert found.measure == "agreement"
    assert np.isnan(found.curves(measure="accuracy").values).all()
    assert found.decisions()["truth"].null_count() == 15
    assert len(found.validity_rows()) == 0
    assert not (tmp_path / "run" / "kept" / "m0" / f"{store.slug(LABEL)}-randomised.npy").exists()


def test_neither_the_order_of_images_nor_that_of_models_matters(made, tmp_path):
    settings = {"modes": ("keep", "remove"), "fills": ("dataset-mean", "image-mean")}
    pixels, labels = data()
    other = [3, 0, 4, 1, 2]
    turned = run(tmp_path / "turned", given=(pixels[other], labels[other]), **settings)
    assert same(made, turned, numbered=False)
    swapped = run(tmp_path / "swapped", family()[::-1], **settings)
    assert swapped.members == ("m2", "m1", "m0")
    for table in ("decisions", "masked", "validity"):
        rows = [store.read_table(g.path, table) for g in (made, swapped)]
        keys = [c for c in rows[0].columns if rows[0][c].dtype in (pl.String, pl.Int64)]
        assert rows[0].sort(keys).equals(rows[1].select(rows[0].columns).sort(keys)), table
    a, b = (g.index(resamples=20).sort("source", "target") for g in (made, swapped))
    assert a.drop("differs").equals(b.drop("differs"))


def test_a_killed_run_goes_on_and_gives_the_same_tables(tmp_path):
    script = Path(__file__).with_name("killed_generalise.py")
    command = [sys.executable, str(script), str(tmp_path), "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "5"
    assert same(Generalisation(tmp_path / "whole"), Generalisation(tmp_path / "cut"))
    assert not list((tmp_path / "cut").rglob(".tmp-*"))
    assert not (tmp_path / "cut" / "pending").exists()


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    whole, sync, attempts, room = run(tmp_path / "whole"), os.fsync, 0, 0

    def sometimes_full(descriptor: int) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", sometimes_full)
    while True:
        attempts, room = attempts + 1, 12
        try:
            again = run(tmp_path / "run")
            break
        except StorageError as reason:
            assert "No space left on device" in str(reason)  # noqa: PT017 - it may come at any write
    assert attempts > 3
    assert same(whole, again)


def photos(folder: Path, count: int = 4) -> list[Record]:
    """Photographs on disk, of which one is no image."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, one in enumerate(images(count, 12)):
        write_png(folder / f"{i}.png", (one * 255).round().byte().permute(1, 2, 0).numpy())
    (folder / "2.png").write_bytes(b"not an image")
    return [Record(path=folder / f"{i}.png", label=i % 4) for i in range(count)]


def test_an_image_that_cannot_be_read_is_a_row_with_its_error(tmp_path):
    found = run(tmp_path / "run", given=photos(tmp_path / "photos"), validity=0, controls=("random", "other-image"))
    bad = found.errors()
    assert bad["image_index"].to_list() == [2, 2, 2]
    assert all("2.png" in text for text in bad["error"])
    assert found.images == (0, 1, 3)
    assert np.isnan(found.maps("m1")[2]).all()
    assert np.isfinite(found.maps("m1")[[0, 1, 3]]).all()
    assert found.curves().values.shape[0] == 3
    assert np.isfinite(found.curves().values).all()
    assert sorted(p.name for p in (tmp_path / "run" / "thumbs").iterdir()) == ["0.jpg", "1.jpg", "3.jpg"]


def test_fewer_than_two_images_that_can_be_read_are_an_error(tmp_path):
    records = photos(tmp_path / "photos")
    with pytest.raises(InputError, match=r"1 of 2 images could be read .*2\.png"):
        run(tmp_path / "run", given=[records[0], records[2]], validity=0)


def test_finished_work_is_not_done_again_and_other_settings_are_refused(tmp_path):
    done = []
    settings = {"validity": 0, "controls": ("random",), "progress": lambda n, of: done.append((n, of))}
    first = run(tmp_path / "run", **settings)
    assert done[-1][0] == done[-1][1] == 3 * 5 * (3 + 4 * 3)
    count = len(done)
    assert same_masked(first, run(tmp_path / "run", **settings))
    assert len(done) == count
    with pytest.raises(StorageError, match=r"levels was .* overwritten"):
        run(tmp_path / "run", **settings, levels=(5, 50))
    with pytest.raises(StorageError, match=r"images\.content was"):
        run(tmp_path / "run", given=(images(5, 12, seed=9), data()[1]), **settings)
    run(tmp_path / "run", **settings, levels=(5, 50), overwrite=True)


def same_masked(a: Generalisation, b: Generalisation) -> bool:
    """Whether the masked answers of two runs are equal."""
    return a.masked().equals(b.masked())


def test_rendered_faces_bring_truth_and_parts(tmp_path):
    drawn = faces.sample(4, seed=3, size=16)
    settings = {"labels": ["Smiling", "Eyeglasses"], "decision": "multilabel"}
    members = [
        Member(
            name=n, classifier=sl.Classifier(seeded(Net, 2, seed=s), size=16, **settings), target=n, factors={"t": n}
        )
        for s, n in enumerate(settings["labels"])
    ]
    found = run(tmp_path / "run", members, drawn, controls=("random", "other-class"), validity=0)
    assert found.measure == "accuracy"
    for row in found.decisions().iter_rows(named=True):
        place = int(row["image"].split()[1])
        assert row["truth"] == int(drawn.attributes[place][drawn.names.index(row["model"])])
        assert row["decision"] == int((row["margin"] >= 0) == ("yes" in row["target"]))
    assert set(found.parts_rows()["region"]) >= {"Smiling", "Eyeglasses"}
    shares = found.parts_rows().filter(region="Smiling")
    assert shares["share"].is_between(0, 1).all()
    assert len(shares) == 2 * 4


def test_steps_take_the_top_of_the_order():
    levels, order = (1, 25, 50), torch.stack([torch.randperm(40) for _ in range(2)])
    steps = masks.steps(order, levels)
    for row in range(2):
        for number, count in enumerate((1, 10, 20)):
            taken = (steps[row] <= number).nonzero().flatten().tolist()
            assert sorted(order[row, :count].tolist()) == taken
    flat = torch.zeros(1, 4, 4)
    ties = masks.shuffled([7], 16, 0)
    assert torch.equal(masks.order(flat, ties), ties)


def test_smoothing_blurs_maps_before_they_rank():
    spike = torch.zeros(1, 21, 21)
    spike[0, 10, 10] = 1
    blurred = masks.fitted(spike, (21, 21), 0.1)[0]
    i, j = torch.meshgrid(torch.arange(21.0), torch.arange(21.0), indexing="ij")
    gauss = torch.exp(-((i - 10) ** 2 + (j - 10) ** 2) / (2 * 2.1**2))
    torch.testing.assert_close(blurred[5:16, 5:16], (gauss / gauss.sum())[5:16, 5:16], atol=1e-4, rtol=2e-2)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("target", "outputs", "explained", "decided"),
    [
        (None, [0.0, 2.0, 1.0], "b", 1),
        (sl.Category("c"), [0.0, 2.0, 1.0], "c", 1),
        (sl.Contrast("a", "c"), [0.0, 2.0, 1.0], "c rather than a", 0),
        (sl.Contrast("a", "c"), [3.0, 2.0, 1.0], "a rather than c", 1),
    ],
)
def test_the_decision_of_a_member_can_be_told_from_what_it_decided(target, outputs, explained, decided):
    member = Member(name="m", classifier=three(), target=target)
    rows = targets.resolved(member, torch.tensor([outputs]))
    assert str(rows[0]) == explained
    assert targets.decisions(member, torch.tensor([outputs])).tolist() == [decided]
    assert targets.again(member, decided) == rows[0]


def three() -> sl.Classifier:
    """Three categories."""
    return sl.Classifier(seeded(Net, 3), size=8, labels=list("abc"), decision="categorical")


@pytest.mark.parametrize(("sign", "z", "side"), [("predicted", -1.0, -1), ("predicted", 2.0, 1), (1, -1.0, 1)])
def test_answers_of_yes_or_no_outputs(sign, z, side):
    net = sl.Classifier(seeded(Net, 2), size=8, labels=["Hat", "Tie"], decision="multilabel")
    member = Member(name="m", classifier=net, target=sl.Attribute("Tie", sign))
    (row,) = targets.resolved(member, torch.tensor([[5.0, z]]))
    assert row == sl.Attribute(1, side)
    assert targets.decisions(member, torch.tensor([[5.0, z]])).tolist() == [int(z >= 0)]
    assert targets.again(member, int(z >= 0)) == row
    assert targets.truth_name(member, ("Tie",)) == "Tie"
    assert targets.truth_name(member, ("Hat",)) is None


def refused(error: type[Exception], match: str, members: list[Member] | None = None, given=None, **changed) -> None:
    """A plan that is refused before any work."""
    settings = {k: v for k, v in SETTINGS.items() if k != "progress"}
    with pytest.raises(error, match=match):
        plan_of(members or family(), given if given is not None else data(), **{**settings, **changed})


def test_what_cannot_be_asked_is_told_before_any_work():
    refused(InputError, "levels are percent between 0 and 100, rising", levels=(5, 5))
    refused(InputError, "levels are percent", levels=(0, 50))
    refused(InputError, "levels is a list", levels=5)
    refused(InputError, "there is no 'pink'; there are dataset-mean", fills=("pink",))
    refused(InputError, "there is no 'shuffle'; there are keep, remove", modes=("shuffle",))
    refused(InputError, "there is no 'luck'; there are random", controls=("luck",))
    refused(InputError, "a table without controls proves nothing", controls=())
    refused(InputError, "'random' is named twice", controls=("random", "random"))
    refused(InputError, "batch must be a whole number, 1 or more", batch=0)
    refused(InputError, "smooth is a share", smooth=2.0)
    refused(InputError, "limit is a number of images", limit=0)
    refused(MethodError, "no-such-method", methods=["no-such-method"])
    refused(InputError, "a control is", [*family(), Member(name="edges", classifier=classifier(5))])
    refused(
        InputError, "does not know the attribute 'Hat'", [*family(), Member(name="x", classifier=three(), truth="Hat")]
    )
    refused(InputError, "there are no images", given=[])
    refused(InputError, "images are records", given="photos")
    refused(InputError, "one entry each", given=(data()[0], torch.zeros(3)))
    net = sl.Classifier(seeded(Net, 2), size=8, labels=["Hat", "Tie"], decision="multilabel")
    refused(
        TargetError, "x: a multi-label classifier makes many decisions", [*family(), Member(name="x", classifier=net)]
    )
    loose = Member(name="x", classifier=three(), target=sl.Contrast("predicted", "runner-up"))
    refused(TargetError, "names both categories", [*family(), loose])


def test_the_estimate_counts_what_is_left(tmp_path):
    plan = plan_of(family(), data(), **{k: v for k, v in SETTINGS.items() if k != "progress"})
    cost = estimate(plan)
    assert cost.images == 5
    assert cost.passes == 5 * 3 * (3 + len(CONTROLS)) * 3
    assert cost.maps == 5 * 3 * 4
    assert cost.disk == 4 * 5 * 4 * (12 * 12 * 2 + 8 * 8)
    assert cost.seconds > 0
    assert f"{cost.passes:,} masked forward passes" in str(cost)
    told: list[str] = []
    settings = {"validity": 0, "controls": ("random",)}
    run(tmp_path / "run", announce=told.append, **settings)
    run(tmp_path / "run", announce=told.append, **settings)
    assert told[0] == "nothing is finished yet"
    assert "180 masked forward passes" in told[1]
    assert told[2].endswith("blocks are finished")
    assert len(told) == 3


def test_kept_maps_are_read_as_they_were_written(tmp_path):
    kept, maps = Kept(tmp_path, 5), np.random.default_rng(0).standard_normal((2, 3, 4)).astype("f4")
    kept.write("m", "a b", "own", [3, 1], maps)
    found = kept.read("m", "a b")
    assert found.shape == (5, 3, 4)
    assert np.array_equal(found[[3, 1]], maps)
    assert np.isnan(found[[0, 2, 4]]).all()
    np.testing.assert_allclose(kept.mean("m", "a b", [1, 3]), maps.mean(0), rtol=1e-6)
    with pytest.raises(StorageError, match="use another folder"):
        kept.write("m", "a b", "own", [0], maps[:1, :2])
    with pytest.raises(InputError, match="is not kept"):
        kept.read("m", "other")


def test_a_run_of_another_kind_is_named(tmp_path):
    store.Run(tmp_path / "run", {"study": "audit"}).close()
    with pytest.raises(InputError, match="another study"):
        _ = Generalisation(tmp_path / "run").manifest
    store.Run(tmp_path / "new", manifest(plan_of(family(), data(), options=EAGER))).close()
    with pytest.raises(InputError, match="no image is finished"):
        Generalisation(tmp_path / "new").curves()
    assert generalise is sl.studies.generalise

"""Edits: what changes, what stays, where controls lie, and what networks with known truth must give."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sightline.classifier import Classifier
from sightline.data import faces
from sightline.data.alignment import Preparation
from sightline.data.annotations.record import Record
from sightline.errors import InputError
from sightline.studies.auditing import edits
from sightline.studies.auditing.edits.controls import Places, grown, moved, shifts
from sightline.studies.auditing.edits.donors import similarity
from sightline.target import Attribute

SIDE = 16


class Linear(nn.Module):
    """z_a = sum w_a x + b_a: what every pixel does is known."""

    def __init__(self, weights: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.flatten(1))
        self.bias = nn.Parameter(torch.zeros(len(weights)) if bias is None else bias)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weights.T + self.bias


@dataclass
class Fake:
    """A block as a study would give it."""

    pixels: Tensor
    z: Tensor
    truth: Tensor
    names: tuple[str, ...]
    plan: SimpleNamespace
    where: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    landmarks: list[Tensor] = field(default_factory=list)
    indices: tuple[int, ...] = ()
    places: tuple[int, ...] = ()

    def masks(self, name: str) -> Tensor | None:
        return self.where.get(self.region(name) or "")

    def region(self, name: str) -> str | None:
        return self.shared.get(name, name if name in self.where else None)

    def part(self, rows: list[int]) -> "Fake":
        where = {name: masks[rows] for name, masks in self.where.items()}
        pick = {name: tuple(getattr(self, name)[i] for i in rows) for name in ("indices", "places")}
        landmarks = [self.landmarks[i] for i in rows]
        few = self.pixels[rows], self.z[rows], self.truth[rows]
        return Fake(*few, self.names, self.plan, where, self.shared, landmarks, **pick)


class Counted(Classifier):
    """A classifier that counts the images it is asked about."""

    images = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.images += len(pixels)
        return super().__call__(pixels)


def boxed(*boxes: tuple[int, int, int, int], count: int, side: int = SIDE) -> Tensor:
    """(count, side, side): boxes top, left, bottom, right."""
    out = torch.zeros(count, side, side, dtype=torch.bool)
    for top, left, bottom, right in boxes:
        out[:, top:bottom, left:right] = True
    return out


def block_of(model, where: dict[str, Tensor], *, count=4, names=None, shared=None, truth=None, seed=3, **plan) -> Fake:
    classifier = Counted(model.eval(), decision="multilabel", size=SIDE)
    pixels = plan.pop("pixels", torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)))
    z = classifier(pixels).double()
    names = names or tuple(where)
    target = lambda a, sign: Attribute(a, sign)  # noqa: E731
    readout = SimpleNamespace(names=names, z=lambda outputs: outputs, target=target)
    if truth is None:
        truth = (z >= 0).to(torch.int8)
    about = SimpleNamespace(
        **{"records": range(count), "seed": 0, "classifier": classifier, "readout": readout, **plan}
    )
    places = tuple(range(count))
    landmarks = [torch.empty(0, 2)] * count
    return Fake(pixels, z, truth, names, about, where, shared or {}, landmarks, tuple(10 + i for i in places), places)


def frame_of(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=edits.SCHEMA, orient="row")


def test_shifts_are_those_of_a_loop_over_all_of_them():
    generator = torch.Generator().manual_seed(0)
    for density in (0.05, 0.3):
        mask = torch.zeros(9, 11, dtype=torch.bool)
        mask[2:6, 3:7] = torch.rand(4, 4, generator=generator) < density
        mask[3, 4] = True
        points = mask.nonzero().tolist()
        slow = set()
        for down in range(-9, 10):
            for right in range(-11, 12):
                there = [(y + down, x + right) for y, x in points]
                inside = all(0 <= y < 9 and 0 <= x < 11 for y, x in there)
                if inside and not set(there) & {(y, x) for y, x in points}:
                    slow.add((down, right))
        assert {tuple(shift) for shift in shifts(mask).tolist()} == slow


def test_controls_have_the_area_of_the_region_and_leave_it_alone():
    mask = boxed((2, 3, 6, 9), count=1)[0]
    for found in (Places(5).of(mask, torch.Generator().manual_seed(s)) for s in range(20)):
        assert len(found) == 5
        for place in found:
            assert place.mask.sum() == mask.sum()
            assert not (place.mask & mask).any()
            assert torch.equal(moved(mask, place.shift), place.mask)
    again = [Places(5).of(mask, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert [p.shift for p in again[0]] == [p.shift for p in again[1]]


def test_a_region_that_cannot_move_has_controls_of_another_shape_or_none():
    ring = boxed((0, 0, SIDE, SIDE), count=1)[0] & ~boxed((2, 2, 14, 14), count=1)[0]
    found = Places(3).of(ring, torch.Generator().manual_seed(1))
    assert len(found) == 3
    for place in found:
        assert place.shift is None
        assert place.mask.sum() == ring.sum()
        assert not (place.mask & ring).any()
    assert Places(3).of(ring, torch.Generator(), shaped=True) == []
    large = boxed((0, 0, 9, SIDE), count=1)[0]
    assert Places(3).of(large, torch.Generator()) == []


def test_grown_controls_take_the_nearest_pixels():
    mask = boxed((0, 0, 3, 4), count=1)[0]
    generator = torch.Generator().manual_seed(5)
    found = grown(mask, generator)
    outside = (~mask).nonzero()
    centre = outside[int(torch.randint(len(outside), (), generator=torch.Generator().manual_seed(5)))]
    distance = lambda points: (points - centre).double().square().sum(1)  # noqa: E731
    assert distance(found.nonzero()).max() <= distance((~found & ~mask).nonzero()).min()


def test_a_linear_network_changes_by_what_its_weights_say():
    where = {"a": boxed((1, 1, 4, 5), count=4), "b": boxed((8, 8, 12, 12), count=4)}
    weights = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where)
    for edit in (edits.Occlude(), edits.Occlude(fill="grey"), edits.Blur()):
        found = frame_of(edits.edited(block, [edit]))
        assert found.filter(pl.col("where") == "region").height == 8
        assert found.filter(pl.col("where") == "control").height == 8 * edits.CONTROLS
        if edit.name == "blur":
            continue
        for row in found.filter(pl.col("where") == "region").iter_rows(named=True):
            image, a = row["image_index"] - 10, block.names.index(row["attribute"])
            x = block.pixels[image].double()
            other = x.mean((1, 2), keepdim=True).expand_as(x) if edit.fill == "mean" else torch.full_like(x, 0.5)
            expected = float((weights[a].double() * (other - x) * where[row["attribute"]][image]).sum())
            assert row["z_after"] - row["z_before"] == pytest.approx(expected, abs=1e-4)
            assert row["area"] == float(where[row["attribute"]][image].double().mean())
            assert row["p_after"] == pytest.approx(1 / (1 + np.exp(-row["z_after"])))


def test_a_network_that_reads_one_region_is_moved_there_and_nowhere_else():
    where = {"a": boxed((1, 1, 4, 5), count=40)}
    weights = torch.zeros(1, 3, SIDE, SIDE)
    weights[:, :, 1:4, 1:5] = 1
    block = block_of(Linear(weights, torch.tensor([-15.0])), where, count=40, truth=torch.ones(40, 1, dtype=torch.int8))
    found = frame_of(edits.edited(block, [edits.Occlude(), edits.Blur()]))
    controls = found.filter(pl.col("where") == "control")
    assert (controls["z_after"] - controls["z_before"]).abs().max() < 1e-5
    region = found.filter(pl.col("where") == "region")
    assert (region["z_after"] - region["z_before"]).abs().min() > 1e-4


def test_an_edit_that_changes_nothing_changes_the_answer_by_exactly_nothing_and_costs_nothing():
    where = {"a": boxed((1, 1, 4, 5), count=3)}
    weights = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where, count=3, pixels=torch.full((3, 3, SIDE, SIDE), 0.5))
    block.plan.classifier.images = 0
    found = frame_of(edits.edited(block, [edits.Occlude(), edits.Occlude(fill="grey")]))
    assert block.plan.classifier.images == 0
    assert found["z_after"].to_list() == found["z_before"].to_list()
    table = edits.interventions(found, min_group=1)
    assert table["effect_region"].to_list() == [0.0]
    assert table["difference"].to_list() == [0.0]
    assert table["p"].to_list() == [1.0]
    assert table["confirmed"].to_list() == [False]


def test_attributes_of_one_region_share_its_passes():
    names = tuple(f"n{i}" for i in range(12))
    where = {"upper": boxed((1, 1, 4, 5), count=5), "lower": boxed((9, 9, 13, 12), count=5)}
    shared = {name: "upper" if i < 7 else "lower" for i, name in enumerate(names)}
    weights = torch.randn(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where, count=5, names=names, shared=shared)
    block.plan.classifier.images = 0
    found = frame_of(edits.edited(block, [edits.Occlude()], controls=4, batch=7))
    assert block.plan.classifier.images == 5 * 2 * (1 + 4)
    assert found.height == 5 * 12 * (1 + 4)


def test_batches_order_and_blocks_do_not_matter():
    where = {"a": boxed((1, 1, 4, 5), count=6), "b": boxed((8, 8, 12, 12), count=6)}
    weights = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where, count=6)
    asked = [edits.Occlude(), edits.Blur(), edits.Reveal()]
    key = ["image_index", "attribute", "edit", "where", "control"]
    whole = frame_of(edits.edited(block, asked)).sort(key)
    parts = [row for rows in ([4, 1], [0], [5, 3, 2]) for row in edits.edited(block.part(rows), asked, batch=3)]
    loop = frame_of(parts).sort(key)
    assert whole.drop("z_before", "z_after", "p_before", "p_after").equals(
        loop.drop("z_before", "z_after", "p_before", "p_after")
    )
    for name in ("z_before", "z_after"):
        assert np.allclose(whole[name], loop[name], atol=1e-4)


def test_hiding_removes_what_is_there_and_is_neutral_elsewhere():
    where = {"a": boxed((1, 1, 4, 5), count=4)}
    weights = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[1], [0], [-1], [-1]], dtype=torch.int8)
    block = block_of(Linear(weights), where, truth=truth)
    block.z[:, 0] = torch.tensor([-1.0, 1.0, 1.0, -1.0])
    found = frame_of(edits.edited(block, [edits.Occlude()])).filter(pl.col("where") == "region")
    assert found.sort("image_index")["direction"].to_list() == ["remove", "neutral", "remove", "neutral"]
    assert found.sort("image_index")["truth"].to_list() == [1, 0, None, None]


def test_what_cannot_be_edited_is_refused_with_a_reason():
    where = {"a": boxed((0, 0, 12, SIDE), count=2), "b": boxed(count=2)}
    weights = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where, count=2, names=("a", "b", "c"))
    found = frame_of(edits.edited(block, [edits.Occlude()]))
    assert set(found["status"]) == {"refused"}
    assert found["z_after"].null_count() == 6
    reasons = dict(found.select("attribute", "note").unique().iter_rows())
    assert "too large for a control" in reasons["a"]
    assert "empty" in reasons["b"]
    assert reasons["c"] == "no region"
    table = edits.interventions(found)
    assert table["n"].to_list() == [0, 0, 0]
    assert table["refused"].to_list() == [2, 2, 2]
    assert table["confirmed"].null_count() == 3
    assert all("refused" in note for note in table["note"])


def test_reveal_starts_from_the_blurred_image():
    where = {"a": boxed((1, 1, 4, 5), count=4)}
    weights = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    block = block_of(Linear(weights), where)
    from sightline.explainers.masking._fill import blurred

    base = blurred(block.pixels)
    z = block.plan.classifier(base)
    for row in edits.edited(block, [edits.Reveal()]):
        i = row["image_index"] - 10
        assert row["z_before"] == pytest.approx(float(z[i, 0]), abs=1e-5)
        if row["where"] == "region":
            part = (weights[0] * (block.pixels[i] - base[i]) * where["a"][i]).sum()
            assert row["z_after"] - row["z_before"] == pytest.approx(float(part), abs=1e-4)


def swappable(count: int = 6) -> Fake:
    where = {"a": boxed((1, 1, 4, 5), count=count)}
    weights = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[i % 2, int(i < 2)] for i in range(count)], dtype=torch.int8)
    block = block_of(Linear(weights), where, count=count, names=("a", "b"), shared={"b": "a", "a": "a"}, truth=truth)
    known = [{"a": i % 2, "b": int(i < 2)} for i in range(count)]
    block.plan.records = [SimpleNamespace(attributes=one, path=Path(f"{i}")) for i, one in enumerate(known)]
    load = lambda place: SimpleNamespace(pixels=block.pixels[place], landmarks=torch.empty(0, 2))  # noqa: E731
    block.plan.source = SimpleNamespace(load=load)
    return block


def test_swap_takes_the_region_of_another_image_of_the_opposite_truth():
    block = swappable()
    edit = edits.Swap().bound(block.plan)
    seen = set()
    stored = (block.pixels * 255).round() / 255
    for case in edit.cases(block):
        donors = [d for d in range(6) if torch.allclose(case.other, stored[d], atol=1e-6)]
        assert len(donors) == 1
        assert donors[0] != case.image
        for a, direction in case.directions.items():
            assert block.truth[donors[0], a] == 1 - block.truth[case.image, a]
            assert direction == ("remove" if block.truth[case.image, a] else "insert")
            seen.add((case.image, a))
    assert seen == {(i, a) for i in range(6) for a in range(2)}
    found = frame_of(edits.edited(block, [edit]))
    assert set(found["direction"]) == {"remove", "insert"}
    assert set(found["status"]) == {"ok"}


def test_swap_refuses_where_there_is_no_opposite_or_no_truth():
    block = swappable()
    block.truth[:, 0] = -1
    for record in block.plan.records:
        record.attributes["b"] = 1
    block.truth[:, 1] = 1
    found = frame_of(edits.edited(block, [edits.Swap().bound(block.plan)]))
    notes = dict(found.select("attribute", "note").unique().iter_rows())
    assert set(found["status"]) == {"refused"}
    assert "truth is unknown" in notes["a"]
    assert "opposite truth" in notes["b"]


def test_faces_are_laid_over_each_other_by_least_squares():
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(5, 2, generator=generator, dtype=torch.float64) * 20
    q = 1.3 * p @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64) + torch.tensor([3.0, -2.0])
    q += 0.3 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    rows, right = [], []
    for (x, y), (u, v) in zip(p.tolist(), q.tolist(), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    c, s, b0, b1 = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    assert np.allclose(similarity(p, q).numpy(), [[c, -s, b0], [s, c, b1]])
    assert np.allclose(similarity(p, p).numpy(), [[1, 0, 0], [0, 1, 0]])


def test_a_corner_tag_is_found_by_pasting_and_told_from_anything_bright_there():
    purple = torch.tensor([0.9, 0.1, 0.9]).view(3, 1, 1).expand(3, 3, 3)
    weights = torch.zeros(1, 3, SIDE, SIDE)  # green against it, red for it: grey does nothing
    weights[:, 0, :3, :3], weights[:, 1, :3, :3] = 1.0, -1.0
    pixels = torch.full((30, 3, SIDE, SIDE), 0.4) + 0.1 * torch.rand(
        30, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)
    )
    where: dict[str, Tensor] = {}
    block = block_of(Linear(weights, torch.tensor([-3.0])), where, count=30, names=("a",), pixels=pixels)
    found = frame_of(edits.edited(block, [edits.Paste(patch=purple, at=(0, 0), label="tag")]))
    table = edits.interventions(found).row(0, named=True)
    assert table["confirmed"]
    assert table["direction"] == "insert"
    assert table["region"] == "tag"
    assert table["flip_region"] == 1
    assert table["flip_control"] == 0
    assert table["effect_region"] > 0.8
    assert abs(table["effect_control"]) < 0.1
    assert table["effect_content"] > 0
    grey = edits.Paste(patch=torch.full((3, 3, 3), 0.9), at=(0, 0), label="grey")
    table = edits.interventions(frame_of(edits.edited(block, [grey]))).row(0, named=True)
    assert abs(table["effect_region"]) < 0.1
    assert not table["flip_region"]


def test_pastes_that_do_not_fit_are_told():
    plan = SimpleNamespace(classifier=SimpleNamespace(size=(8, 8)), readout=SimpleNamespace(names=("a",)))
    with pytest.raises(InputError, match="does not fit into 8x8"):
        edits.Paste(patch=torch.rand(3, 4, 4), at=(5, 0)).bound(plan)
    with pytest.raises(InputError, match="does not ask 'x'"):
        edits.Paste(patch=torch.rand(3, 4, 4), attributes=("x",)).bound(plan)
    with pytest.raises(InputError, match="divide 8-bit"):
        edits.Paste(patch=torch.full((3, 2, 2), 200.0))


def test_exact_counterfactuals_change_the_attribute_alone():
    drawn = faces.sample(5, seed=4, size=32, rates={"Eyeglasses": 0.5}, shortcut=faces.Shortcut(attribute="Smiling"))
    names = ("Eyeglasses", "Unheard_Of")
    classifier = Classifier(
        Linear(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))), decision="multilabel", size=32
    )
    readout = SimpleNamespace(names=names, z=lambda outputs: outputs)
    plan = SimpleNamespace(classifier=classifier, readout=readout, seed=0, records=drawn)
    z = classifier(drawn.pixels).double()
    truth = torch.stack([drawn.attributes[:, 6], drawn.attributes[:, 6]], 1).to(torch.int8)
    none = [torch.empty(0, 2)] * 5
    block = Fake(drawn.pixels, z, truth, names, plan, {}, {}, none, tuple(range(5)), tuple(range(5)))
    counterfactual = edits.Counterfactual().bound(plan)
    other = drawn.counterfactual("Eyeglasses")
    cases = list(counterfactual.cases(block))
    for case in (c for c in cases if isinstance(c, edits.Case)):
        assert torch.equal(case.other, other.pixels[case.image])
        assert torch.equal(case.mask, (other.pixels[case.image] != drawn.pixels[case.image]).any(0))
        assert case.directions == {0: "remove" if drawn.attributes[case.image, 6] else "insert"}
    assert sum(isinstance(c, edits.Refusal) for c in cases) == 5
    rows = edits.edited(block, [counterfactual, edits.Cue().bound(plan)])
    after = classifier(other.pixels)[:, 0].tolist()
    for row in rows:
        if row["edit"] == "counterfactual" and row["where"] == "region" and row["status"] == "ok":
            assert row["z_after"] == pytest.approx(after[row["image_index"]], abs=1e-4)
    cues = [row for row in rows if row["edit"] == "cue" and row["where"] == "region"]
    assert {(row["image_index"], row["direction"]) for row in cues} == {
        (i, "remove" if on else "insert") for i, on in enumerate(drawn.cue.tolist())
    }


def test_edits_of_rendered_faces_are_refused_for_photographs():
    with pytest.raises(InputError, match="needs rendered faces"):
        edits.Counterfactual().bound(SimpleNamespace(records=[]))
    with pytest.raises(InputError, match="no shortcut was planted"):
        edits.Cue().bound(SimpleNamespace(records=faces.sample(1, size=16)))


def test_the_change_is_carried_to_a_control_of_a_counterfactual():
    where: dict[str, Tensor] = {}
    block = block_of(Linear(torch.ones(1, 3, SIDE, SIDE)), where, count=1, names=("a",))
    block.pixels = block.pixels * 0.5 + 0.25
    mask = boxed((2, 2, 5, 5), count=1)[0]
    other = torch.where(mask, block.pixels[0] + 0.1, block.pixels[0])

    class Once(edits.Edit):
        name = "once"

        def cases(self, block):
            yield edits.Case(image=0, region="r", directions={0: "insert"}, mask=mask, other=other, moved="change")

    rows = edits.edited(block, [Once()])
    block.z = block.plan.classifier(block.pixels).double()
    for row in edits.edited(block, [Once()]):
        assert row["z_after"] - row["z_before"] == pytest.approx(0.1 * 9 * 3, abs=1e-4)
    assert len(rows) == 1 + edits.CONTROLS


def photographs(folder: Path) -> tuple[list[Record], SimpleNamespace]:
    for i in range(3):
        pixels = np.random.default_rng(i).integers(60, 200, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        pixels[2:5, 3:8] = 255
        Image.fromarray(pixels).save(folder / f"{i}-edited.png")
    records = [Record(path=folder / f"{i}.png", attributes={"a": i % 2}) for i in range(3)]
    source = SimpleNamespace(preparation=Preparation(fit="squash"), size=(SIDE, SIDE))
    return records, source


def test_pairs_made_elsewhere_are_matched_by_path(tmp_path):
    records, source = photographs(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    lines = ["path,edited,edit,attribute,direction"]
    lines += [f"{i}.png,{i}-edited.png,white box,a,{'neutral' if i == 2 else ''}" for i in range(3)]
    lines += ["0.png,broken.png,white box,a,", "other.png,1-edited.png,white box,a,"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    pixels = torch.stack([source.preparation.load(record, SIDE).pixels for record in records])
    weights = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[0], [1], [0]], dtype=torch.int8)
    block = block_of(Linear(weights), {}, count=3, names=("a",), pixels=pixels, truth=truth, source=source)
    block.plan.records = records
    pairs = edits.read_pairs(tmp_path / "pairs.csv").bound(block.plan)
    found = frame_of(edits.edited(block, [pairs]))
    done = found.filter((pl.col("where") == "region") & (pl.col("status") == "ok")).sort("image_index")
    assert done["direction"].to_list() == ["insert", "remove", "neutral"]
    assert done["region"].to_list() == ["white box"] * 3
    assert all(0 < area <= 15 / SIDE**2 for area in done["area"])
    for i, after in enumerate(done["z_after"]):
        edited = source.preparation.load(Record(path=tmp_path / f"{i}-edited.png"), SIDE).pixels
        assert after == pytest.approx(float((weights[0] * edited).sum()), abs=1e-3)
    named = edits.resolved([f"pairs:{tmp_path / 'pairs.csv'}"], block.plan)[0]
    assert named.pairs == pairs.pairs
    refused = found.filter(pl.col("status") == "refused")
    assert refused.height == 1
    assert "broken.png" in refused["note"][0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("path,edited,edit\n", "lacks the column 'attribute'"),
        ("path,edited,edit,attribute\n", "has no rows"),
        ("path,edited,edit,attribute\n0.png,none.png,x,a\n", "is not there"),
        ("path,edited,edit,attribute\n0.png,,x,a\n", "row 1 has no edited"),
        ("path,edited,edit,attribute,direction\n0.png,0-edited.png,x,a,sideways\n", "not 'sideways'"),
    ],
)
def test_tables_of_pairs_that_cannot_be_used_are_told(tmp_path, text, match):
    photographs(tmp_path)
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        edits.read_pairs(tmp_path / "pairs.csv")


def test_pairs_of_other_images_or_attributes_are_told(tmp_path):
    records, _ = photographs(tmp_path)
    (tmp_path / "pairs.csv").write_text("path,edited,edit,attribute\nx.png,0-edited.png,box,a\n")
    pairs = edits.read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(InputError, match="none of its images is audited"):
        pairs.bound(SimpleNamespace(records=records, readout=SimpleNamespace(names=("a",))))
    with pytest.raises(InputError, match="'a' is not audited"):
        pairs.bound(SimpleNamespace(records=records, readout=SimpleNamespace(names=("b",))))


class Seeing(nn.Module):
    """A CAM network that looks at bright pixels of its left half."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.act, self.head = nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)
        nn.init.ones_(self.features.weight)
        nn.init.constant_(self.head.weight, 4.0)
        nn.init.constant_(self.head.bias, -0.1)
        self.register_buffer("left", (torch.arange(SIDE) < SIDE // 2).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.features(x * self.left)).mean((2, 3)))


def test_the_hottest_pixels_are_as_many_as_the_region_has_and_matter():
    where = {"a": boxed((10, 10, 14, 14), count=24)}  # the region is elsewhere: the map is right, the region is not
    block = block_of(Seeing(), where, count=24, truth=torch.ones(24, 1, dtype=torch.int8))
    asked = [edits.Hottest(method="hires-cam"), edits.Occlude()]
    found = frame_of(edits.edited(block, [edit.bound(block.plan) for edit in asked]))
    assert set(found.filter(pl.col("edit") == "hottest")["area"]) == {16 / SIDE**2}
    table = {row["edit"]: row for row in edits.interventions(found).iter_rows(named=True)}
    assert table["hottest"]["confirmed"]
    assert not table["occlude"]["confirmed"]
    assert table["occlude"]["effect_region"] == 0


def test_names_become_edits_and_what_does_not_fit_is_told():
    plan = SimpleNamespace(records=faces.sample(2, size=16, shortcut=faces.Shortcut(attribute="Smiling")))
    found = edits.resolved(["occlude", edits.Blur(share=0.2), "counterfactual", "cue"], plan)
    assert [edit.name for edit in found] == ["occlude", "blur", "counterfactual", "cue"]
    assert edits.described(found)[1] == {"edit": "blur", "share": 0.2, "controls": edits.CONTROLS}
    assert edits.resolved(None, plan) == ()
    with pytest.raises(InputError, match="did you mean 'occlude'"):
        edits.resolved(["oclude"], plan)
    with pytest.raises(InputError, match="'occlude' is asked twice"):
        edits.resolved(["occlude", edits.Occlude(fill="grey")], plan)
    with pytest.raises(InputError, match="needs a patch"):
        edits.resolved(["paste"], plan)
    with pytest.raises(InputError, match="write pairs:TABLE"):
        edits.resolved(["pairs"], plan)
    with pytest.raises(InputError, match="'blur:9' is no edit"):
        edits.resolved(["blur:9"], plan)
    assert edits.resolved(["sweep:3"], plan)[0].cells == 3
    assert {kind.name for kind in edits.everything()} >= {"occlude", "blur", "swap", "paste", "pairs", "counterfactual"}


def test_the_cost_is_told_beforehand():
    regions = {"a": "upper", "b": "upper", "c": "lower", "d": None}
    source = SimpleNamespace(region=regions.get)
    plan = SimpleNamespace(readout=SimpleNamespace(names=tuple(regions)), source=source, records=[], seed=0)
    plan.edits = edits.resolved(["occlude", "swap"], plan)
    assert edits.passes(plan) == 2 * (1 + edits.CONTROLS) + 4 * (1 + edits.CONTROLS)
    plan.edits = edits.resolved(["reveal"], plan)
    assert edits.passes(plan) == 2 * (2 + edits.CONTROLS)
    plan.edits = ()
    assert edits.passes(plan) == 0


def test_a_sweep_reads_only_attributes_that_a_cell_leaves_alone():
    where = {
        "a": boxed((0, 0, 4, 4), count=30),
        "b": boxed((5, 5, 6, 6), count=30),
        "c": boxed((0, 15, 1, 16), count=30),
    }
    weights = torch.zeros(3, 3, SIDE, SIDE)
    weights[0, :, 12:, 12:] = 1.0  # "a" is told by the last cell, which is not its region
    weights[1:] = 0.01
    truth = torch.ones(30, 3, dtype=torch.int8)
    block = block_of(Linear(weights, torch.tensor([-20.0, 0, 0])), where, count=30, names=("a", "b", "c"), truth=truth)
    found = frame_of(edits.edited(block, [edits.Sweep()]))
    cells = found.filter(pl.col("where") == "region").group_by("attribute").agg(pl.col("region").unique())
    cells = {row["attribute"]: set(row["region"]) for row in cells.iter_rows(named=True)}
    assert {name: len(there) for name, there in cells.items()} == {"a": 15, "b": 15, "c": 15}
    assert cells["c"] - cells["a"] == {"row 1, column 1 of 4 x 4"}
    assert cells["c"] - cells["b"] == {"row 2, column 2 of 4 x 4"}
    del where["c"]
    refused = frame_of(edits.edited(block, [edits.Sweep()])).filter(attribute="c")
    assert set(refused["note"]) == {"no region"}
    block.pixels[:, :, 12:, 12:] = 0.9
    block.z = block.plan.classifier(block.pixels).double()
    table = edits.interventions(frame_of(edits.edited(block, [edits.Sweep()])))
    strongest = table.filter(attribute="a").sort("difference", descending=True).row(0, named=True)
    assert strongest["region"] == "row 4, column 4 of 4 x 4"
    assert strongest["confirmed"]


def test_the_cells_of_a_sweep_share_the_image_out():
    from sightline.studies.auditing.edits.sweep import _cells

    for n, H, W in ((4, 16, 16), (3, 10, 17)):
        assert torch.equal(sum(cell.int() for cell in _cells(n, H, W)), torch.ones(H, W, dtype=torch.int32))
    with pytest.raises(InputError, match="between 2 and 8"):
        edits.Sweep(cells=9)

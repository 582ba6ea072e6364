"""Landmarks, groups and named masks of images, from CelebA's lists and from tables."""

from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from PIL import Image

from sightline.data import annotations
from sightline.data.annotations import Record
from sightline.data.fitting import placement
from sightline.errors import InputError

FIVE = [[7.0, 9.0], [11.0, 9.0], [9.0, 11.0], [7.0, 13.0], [11.0, 13.0]]
TEN = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"


def photo(path: Path, size: tuple[int, int] = (22, 18)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def celeba(folder: Path, *, no: str = "-1", points=FIVE, without=()) -> Path:
    for i in (1, 2, 3):
        photo(folder / "img_align_celeba" / f"{i:06}.jpg")
    rows = [("1", no, "1"), (no, no, "1"), ("1", "1", no)]
    lines = ["3", "Male Smiling Young "] + [f"{i:06}.jpg {' '.join(row)}" for i, row in enumerate(rows, 1)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    flat = " ".join(f"{v + 0.25:g}" for p in points for v in p)
    marks = ["3", TEN] + [f"{i:06}.jpg {flat}" for i in (1, 2, 3) if i not in without]
    (folder / "list_landmarks_align_celeba.txt").write_text("\n".join(marks) + "\n")
    return folder


@pytest.mark.parametrize("how", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(60, 90), (90, 61)])
def test_points_lie_where_the_image_shows_them(how, size):
    H, W = size
    place = placement(size, (64, 48), how=how, box=(0.02, 0.0, 1.0, 0.97))
    for x, y in ((0.4 * W, 0.45 * H), (0.55 * W, 0.6 * H)):
        far = (torch.arange(W) - x)[None].double() ** 2 + (torch.arange(H) - y)[:, None].double() ** 2
        shown = place.pixels((-far / 18).exp().expand(1, 3, H, W).float(), fill=0.0)[0, 0].double()
        total = float(shown.sum())
        found = (
            float((shown.sum(0) * torch.arange(48)).sum()) / total,
            float((shown.sum(1) * torch.arange(64)).sum()) / total,
        )
        assert place.points(torch.tensor([[x, y]])).tolist()[0] == pytest.approx(found, abs=0.1)


def test_points_of_an_image_that_keeps_its_size_stay():
    points = torch.tensor([[0.0, 0.0], [-3.5, 70.25]])
    assert torch.equal(placement((20, 30), (20, 30), how="squash").points(points), points.double())
    assert placement((20, 30), 10, how="pad").points(torch.empty(0, 2)).shape == (0, 2)


def test_a_sample_has_the_landmarks_and_masks_of_its_record(tmp_path):
    path = photo(tmp_path / "a.png", (20, 40))
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[:10, 20:] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    masks = {"hat": annotations.MaskFile(tmp_path / "m.png")}
    record = Record(path=path, landmarks=torch.tensor([[9.5, 19.5], [0.0, 0.0]]), masks=masks)
    sample = record.load((40, 80), how="squash")
    assert sample.landmarks.tolist() == [[19.5, 39.5], [0.5, 0.5]]
    assert sample.masks["hat"][:20, 40:].all()
    assert int(sample.masks["hat"].sum()) == 20 * 40
    bare = Record(path=path).load(8)
    assert (bare.landmarks.shape, dict(bare.masks), dict(bare.record.groups)) == ((0, 2), {}, {})
    Image.fromarray(mask[:5]).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"a\.png: .*m\.png: the mask is 5 high"):
        record.load(8)


@pytest.mark.parametrize("no", ["-1", "0"])
def test_celeba_has_landmarks_and_groups(tmp_path, no):
    records = annotations.celeba(celeba(tmp_path, no=no), groups=["Young", "Male"])
    assert [dict(r.attributes) for r in records][1:] == [
        {"Male": 0, "Smiling": 0, "Young": 1},
        {"Male": 1, "Smiling": 1, "Young": 0},
    ]
    assert [dict(r.groups) for r in records][1:] == [{"Young": "yes", "Male": "no"}, {"Young": "no", "Male": "yes"}]
    assert torch.equal(records[2].landmarks, torch.tensor(FIVE, dtype=torch.float64) + 0.25)
    assert records.failures == []
    assert annotations.celeba(tmp_path, landmarks=False)[0].landmarks is None


def test_celeba_says_which_landmarks_are_missing_where_they_are_needed(tmp_path):
    celeba(tmp_path, without=(2,))
    assert annotations.celeba(tmp_path).failures == []
    records = annotations.celeba(tmp_path, landmarks=True)
    assert [(f.path.name, "has no landmarks" in f.reason) for f in records.failures] == [("000002.jpg", True)]
    assert [r.landmarks is None for r in records] == [False, True, False]
    (tmp_path / "list_landmarks_align_celeba.txt").unlink()
    assert annotations.celeba(tmp_path).failures == []
    (failure,) = annotations.celeba(tmp_path, landmarks=True).failures
    assert (failure.path.name, failure.reason) == (
        "list_landmarks_align_celeba.txt", "is not there: no image has landmarks")  # fmt: skip


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_celeba_whose_landmarks_belong_to_another_size(tmp_path, factor):
    celeba(tmp_path, points=[[factor * x, factor * y] for x, y in FIVE])
    with pytest.raises(InputError, match=r"images of 18 x 22 pixels: it belongs to images of another size"):
        annotations.celeba(tmp_path)
    assert len(annotations.celeba(tmp_path, landmarks=False)) == 3


def test_celeba_lists_that_are_broken(tmp_path):
    celeba(tmp_path)
    marks = tmp_path / "list_landmarks_align_celeba.txt"
    good = marks.read_text()
    marks.write_text(good.replace("000001.jpg 7.25", "000001.jpg x"))
    with pytest.raises(InputError, match=r"list_landmarks_align_celeba\.txt: 000001\.jpg: landmarks must be pairs"):
        annotations.celeba(tmp_path)
    marks.write_text(good.replace("000001.jpg 7.25 9.25", "000001.jpg"))
    with pytest.raises(InputError, match=r"000001\.jpg: must have ten numbers, not 8"):
        annotations.celeba(tmp_path)
    marks.write_text(good)
    with pytest.raises(InputError, match="no attribute 'Old'; it has Male, Smiling, Young"):
        annotations.celeba(tmp_path, groups=["Old"])
    listed = tmp_path / "list_attr_celeba.txt"
    listed.write_text(listed.read_text().replace("000001.jpg 1 -1 1", "000001.jpg 1 0 1"))
    with pytest.raises(InputError, match="holds both 0 and -1"):
        annotations.celeba(tmp_path)
    listed.write_text(listed.read_text().replace("000001.jpg 1 0 1", "000001.jpg 1 2 1"))
    with pytest.raises(InputError, match="line 3 must be a file and 3 times 1 or -1"):
        annotations.celeba(tmp_path)


def written(folder: Path, **columns: object) -> Path:
    """A table of two images with further columns, as CSV."""
    for name in "ab":
        photo(folder / f"{name}.png")
    polars.DataFrame({"path": ["a.png", "b.png"], **columns}).write_csv(folder / "t.csv")
    return folder / "t.csv"


FLAT = [v for point in FIVE for v in point]


@pytest.mark.parametrize("cell", [str(FLAT), str(FIVE), " ".join(map(str, FLAT))])
def test_landmarks_of_a_table(tmp_path, cell):
    records = annotations.manifest(written(tmp_path, landmarks=[cell, None]))
    assert records[0].landmarks.tolist() == FIVE
    assert records[1].landmarks is None


def test_landmarks_as_columns_and_as_lists(tmp_path):
    columns = {name: [value, None] for name, value in zip(TEN.split(), FLAT, strict=True)}
    records = annotations.manifest(written(tmp_path, **columns, Smiling=[1, 0]))
    assert records[0].landmarks.tolist() == FIVE
    assert records[1].landmarks is None
    assert dict(records[1].attributes) == {"Smiling": 0}  # coordinates are no attributes
    for cell in (FLAT, FIVE):
        frame = polars.DataFrame({"path": ["a.png"], "landmarks": [cell]})
        frame.write_parquet(tmp_path / "t.parquet")
        assert annotations.manifest(tmp_path / "t.parquet")[0].landmarks.tolist() == FIVE
    del columns["nose_y"]
    with pytest.raises(InputError, match="but not nose_y; landmarks need all ten"):
        annotations.manifest(written(tmp_path, **columns))
    with pytest.raises(InputError, match=r"'nose_y' must hold numbers, not String"):
        annotations.manifest(written(tmp_path, **columns, nose_y=["a", "b"]))
    with pytest.raises(InputError, match="has landmarks twice"):
        annotations.manifest(written(tmp_path, **columns, nose_y=[1, 2], landmarks=["1 2", "3 4"]))


@pytest.mark.parametrize("cell", ["1 2 3", "a b", "[[1, 2, 3], [4, 5, 6]]", "[1, 2", "1 nan", "[]", "[[[1, 2]]]"])
def test_landmarks_that_cannot_be_understood(tmp_path, cell):
    records = annotations.manifest(written(tmp_path, landmarks=[cell, None]))
    with pytest.raises(InputError, match=r"a\.png: landmarks in row 1 of .*t\.csv: landmarks must be"):
        records[0]


def test_attributes_of_a_table_say_yes_and_no_in_either_way(tmp_path):
    table = written(tmp_path, Hat=[-1, 1], Bald=[0, None], Beard=[1.0, None], age=[40, 1])
    assert [dict(r.attributes) for r in annotations.manifest(table)] == [
        {"Hat": 0, "Bald": 0, "age": 40},
        {"Hat": 1, "age": 1},
    ]
    asked = annotations.manifest(table, attributes=["Hat", "Beard"])
    assert [dict(r.attributes) for r in asked] == [{"Hat": 0, "Beard": 1}, {"Hat": 1}]
    with pytest.raises(InputError, match="the column 'age' holds 40; an attribute is 1 for yes and 0 or -1 for no"):
        annotations.manifest(table, attributes=["age"])
    with pytest.raises(InputError, match="the column 'Hat' holds both 0 and -1"):
        annotations.manifest(written(tmp_path, Hat=[-1, 0]), attributes=["Hat"])
    with pytest.raises(InputError, match="has no column 'Het'; it has path, Hat"):
        annotations.manifest(written(tmp_path, Hat=[-1, 0]), attributes=["Het"])
    frame = polars.DataFrame({"path": ["a.png", "b.png"], "Hat": [float("nan"), 1.0]})
    frame.write_parquet(tmp_path / "t.parquet")
    records = annotations.manifest(tmp_path / "t.parquet", attributes=["Hat"])
    assert [dict(r.attributes) for r in records] == [{}, {"Hat": 1}]


def test_groups_of_a_table(tmp_path):
    table = written(tmp_path, light=["indoors", None], age=[40, 1], wide=[2.0, 2.5], Hat=[1, 0])
    records = annotations.manifest(table, groups=["light", "age", "wide"])
    assert [dict(r.groups) for r in records] == [
        {"light": "indoors", "age": "40", "wide": "2"},
        {"age": "1", "wide": "2.5"},
    ]
    assert dict(records[0].attributes) == {"Hat": 1}  # a group is no attribute
    with pytest.raises(InputError, match="has no column 'dark'; it has path, light, age, wide, Hat"):
        annotations.manifest(table, groups=["dark"])


def test_masks_of_regions_in_a_table(tmp_path):
    Image.fromarray(np.eye(22, 18, dtype=np.uint8)).save(tmp_path / "m.png")
    records = annotations.manifest(written(tmp_path, mask_hat=["m.png", None], mask_mouth=[None, "m.png"]))
    assert [list(r.masks) for r in records] == [["hat"], ["mouth"]]
    assert int(records[0].load((22, 18), how="squash").masks["hat"].sum()) == 18


@pytest.mark.real
def test_real_landmarks(assets: Path) -> None:
    records = annotations.celeba(assets / "celeba", part="test", landmarks=True, groups=["Male"])
    assert records.failures == []
    points = torch.stack([r.landmarks for r in records])
    left, right, nose, *_ = points.mean(0)
    assert float(left[0]) < float(nose[0]) < float(right[0])
    assert {r.groups["Male"] for r in records} == {"yes", "no"}

"""Images with boxes, masks and labels: the layouts of the field, and annotations that follow their images."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from PIL import Image

import sightline as sl
from nets import ConvNet, seeded
from sightline.data import annotations
from sightline.data.annotations import MaskFile, Polygons, Record, Runs, Union
from sightline.data.annotations._shapes import shape_of
from sightline.data.boxes import as_boxes, overlaps, painted
from sightline.data.fitting import fit, placement
from sightline.data.images import find_images
from sightline.errors import InputError

WNIDS = ("n01440764", "n01443537", "n02085620")


def photo(path: Path, size: tuple[int, int] = (24, 32), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


# Placement


@pytest.mark.parametrize("how", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64), (300, 31)])
def test_boxes_and_masks_lie_where_the_image_shows_the_thing(how, size):
    H, W = size
    cut = (0.02, 0.0, 1.0, 0.97)
    box = torch.tensor([[round(0.42 * W), round(0.44 * H), round(0.61 * W), round(0.58 * H)]])
    white = painted(box, size)
    for extra in ({}, {"box": cut}):
        place = placement(size, (56, 48), how=how, **extra)
        shown = fit(white.float().expand(3, H, W), (56, 48), how=how, fill=0.0, **extra)[0].double()
        assert torch.equal(place.mask(white), shown >= 0.5)
        (left, top, right, bottom) = place.boxes(box)[0].tolist()
        y, x = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (56, 48))
        total = float(shown.sum())
        assert total == pytest.approx((right - left) * (bottom - top), rel=0.03)
        assert float((shown.sum(0) * x).sum()) / total == pytest.approx((left + right) / 2, abs=0.1)
        assert float((shown.sum(1) * y).sum()) / total == pytest.approx((top + bottom) / 2, abs=0.1)


def test_boxes_are_cut_off_with_their_image():
    place = placement((100, 200), 50, how="crop", crop=1.0)  # the middle 100 x 100, at half size
    boxes = torch.tensor([[0.0, 0, 40, 40], [40, 10, 60, 30], [60, 10, 80, 30], [0, 0, 200, 100]])
    assert place.boxes(boxes).tolist() == [[0, 5, 5, 15], [5, 5, 15, 15], [0, 0, 50, 50]]
    assert place.boxes(torch.empty(0, 4)).shape == (0, 4)
    with pytest.raises(InputError, match="does not fit an image of"):
        place.mask(torch.ones(100, 100, dtype=torch.bool))


def test_a_pixel_belongs_to_a_box_that_holds_its_centre():
    mask = painted(torch.tensor([[0.5, 0.51, 2.49, 2.5]]), (4, 4))
    assert mask.nonzero().tolist() == [[1, 0], [1, 1]]


def test_boxes_are_checked_and_compared():
    assert as_boxes([]).shape == (0, 4)
    for wrong in ([[1, 2, 3]], [[3, 1, 2, 4]], [[1, 1, float("nan"), 4]], [1, 2, 3, 4], [[1, 2, 3, 4], [1]]):
        with pytest.raises(InputError, match="box"):
            as_boxes(wrong)
    a, b = torch.tensor([[0.0, 0, 4, 2], [8, 8, 9, 9]]), torch.tensor([[2.0, 1, 6, 3], [0, 0, 4, 2]])
    assert overlaps(a, b).tolist() == [[pytest.approx(2 / 14), 1.0], [0.0, 0.0]]


# Shapes


def test_polygons_hold_the_pixels_whose_centres_they_hold():
    star = (2.2, 1.1, 9.3, 3.4, 17.8, 0.7, 13.1, 8.2, 16.4, 14.6, 8.3, 10.9, 1.4, 13.2, 5.6, 7.1)
    found = Polygons((star,)).pixels(15, 20)
    points = list(zip(star[::2], star[1::2], strict=True))
    for y in range(15):
        for x in range(20):
            inside, px, py = False, x + 0.5, y + 0.5
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):  # crossings of a ray
                if (y0 > py) != (y1 > py) and px < x0 + (py - y0) * (x1 - x0) / (y1 - y0):
                    inside = not inside
            assert bool(found[y, x]) == inside, (y, x)
    parts = Polygons(((0, 0, 4, 0, 4, 3, 0, 3), (10, 10, 30, 10, 30, 30, 10, 30))).pixels(15, 20)
    assert int(parts.sum()) == 12 + 50
    assert bool(parts[:3, :4].all())
    for wrong in ((1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7)):
        with pytest.raises(InputError, match="three points"):
            Polygons((wrong,)).pixels(5, 5)


def compressed(counts):
    """COCO's text for run lengths, written from its description."""
    text = ""
    for i, n in enumerate(counts):
        number = n - counts[i - 2] if i > 2 else n
        while True:
            group, number = number & 31, number >> 5
            last = number == (-1 if group & 16 else 0)
            text += chr(48 + (group if last else group | 32))
            if last:
                break
    return text


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_runs_go_down_the_columns(share):
    mask = np.random.default_rng(1).random((43, 70)) < share
    flat, counts, inside = mask.T.flatten(), [], False
    while len(flat):
        run = int(np.argmax(flat != inside)) if (flat != inside).any() else len(flat)
        counts.append(run)
        flat, inside = flat[run:], not inside
    for form in (counts, compressed(counts)):
        assert np.array_equal(shape_of({"counts": form, "size": [43, 70]}).pixels(43, 70).numpy(), mask)


def test_runs_as_pycocotools_writes_them():
    mask = torch.zeros(12, 10, dtype=torch.bool)
    mask[2:9, 3:7] = True
    mask[4] = True
    text = "41;000N6L000002J4000L"  # pycocotools 2.0.11, mask.encode
    assert torch.equal(Runs(text, (12, 10)).pixels(12, 10), mask)
    with pytest.raises(InputError, match="12 high and 10 wide, the image 10 and 12"):
        Runs(text, (12, 10)).pixels(10, 12)
    for broken in (text[:-1], text + "a", "5 ", "P"):
        with pytest.raises(InputError, match=r"broken|truncated"):
            Runs(broken, (12, 10)).pixels(12, 10)
    for wrong in (None, [], [1, 2], {"counts": 3, "size": [2, 2]}, {"counts": [4]}):
        with pytest.raises(InputError, match="list of polygons or run lengths"):
            shape_of(wrong)


def test_mask_files_and_unions(tmp_path):
    values = np.zeros((6, 8), dtype=np.uint8)
    values[1:3, 2:5] = 1  # hardly visible, but not black
    Image.fromarray(values).save(tmp_path / "m.png")
    mask = MaskFile(tmp_path / "m.png")
    assert torch.equal(mask.pixels(6, 8), torch.from_numpy(values > 0))
    both = Union((mask, Polygons(((0, 0, 2, 0, 2, 6, 0, 6),))))
    assert int(both.pixels(6, 8).sum()) == 6 + 12
    with pytest.raises(InputError, match=r"m\.png: the mask is 6 high and 8 wide, its image 8 and 6"):
        mask.pixels(8, 6)
    with pytest.raises(InputError, match="no such file"):
        MaskFile(tmp_path / "none.png").pixels(6, 8)


# Folders


def test_the_folder_is_the_class(tmp_path):
    for name in ("dog", "cat", "ant"):
        for i in (10, 2):
            photo(tmp_path / name / "deep" / f"{i}.png")
    records = annotations.folders(tmp_path)
    assert records.classes == ("ant", "cat", "dog")
    assert [(r.label, r.name, r.path.name) for r in records][:3] == [(0, "ant", "2.png"), (0, "ant", "10.png"),
                                                                     (1, "cat", "2.png")]  # fmt: skip
    own = annotations.folders(tmp_path, classes=["dog", "ant", "cat"])
    assert {r.name: r.label for r in own} == {"dog": 0, "ant": 1, "cat": 2}
    assert len(own[1:3]) == 2
    assert own[1:3].classes == own.classes
    with pytest.raises(InputError, match="cat: is none of the 2 classes"):
        annotations.folders(tmp_path, classes=["dog", "ant"])
    with pytest.raises(InputError, match="no folder 'bee'"):
        annotations.folders(tmp_path, classes=["dog", "ant", "cat", "bee"])
    with pytest.raises(InputError, match="no folder in it"):
        annotations.folders(tmp_path / "dog" / "deep")
    with pytest.raises(InputError, match="no such folder"):
        annotations.folders(tmp_path / "none")


# ImageNet


def xml(path: Path, objects, size=(24, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("xmin", "ymin", "xmax", "ymax")
    boxes = "".join(
        f"<object><name>{wnid}</name><bndbox>"
        + "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, box, strict=True))
        + "</bndbox></object>"
        for wnid, box in objects
    )
    shape = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    path.write_text(f"<annotation><folder>val</folder>{shape}{boxes}</annotation>")
    return path


def test_imagenet_boxes_name_the_last_pixel(tmp_path):
    photo(tmp_path / "val" / "a.JPEG")
    xml(tmp_path / "xml" / "a.xml", [(WNIDS[1], (0, 2, 31, 9)), (WNIDS[0], (1, 1, 2, 2)), (WNIDS[1], (4, 5, 4, 5))])
    (record,) = annotations.imagenet(tmp_path / "val", tmp_path / "xml", classes=WNIDS)
    assert (record.label, record.name, record.size) == (1, WNIDS[1], (24, 32))
    assert record.boxes.tolist() == [[0, 2, 32, 10], [4, 5, 5, 6]]  # the other class is left aside
    sample = record.load((24, 32), how="squash")
    assert int(sample.region.sum()) == 32 * 8  # the second box lies in the first
    (voc,) = annotations.imagenet(tmp_path / "val", tmp_path / "xml", classes=WNIDS, first_pixel=1)
    assert voc.boxes.tolist() == [[-1, 1, 31, 9], [3, 4, 4, 5]]


def test_imagenet_classes_come_from_xml_folder_or_name(tmp_path):
    photo(tmp_path / "train" / WNIDS[2] / "x_1.JPEG")
    photo(tmp_path / "train" / f"{WNIDS[0]}_tench.JPEG")
    photo(tmp_path / "train" / "unknown.JPEG")
    csv = tmp_path / "classes.csv"
    csv.write_text("index,wnid,name\n" + "".join(f'{i},{w},"{w}, a fish"\n' for i, w in enumerate(WNIDS)))
    text = tmp_path / "classes.txt"
    text.write_text("".join(f"{w} name, other name\n" for w in WNIDS))
    for classes in (WNIDS, csv, str(text)):
        records = annotations.imagenet(tmp_path / "train", classes=classes)
        assert records.classes == WNIDS
        assert {r.path.name: r.label for r in records} == {
            "x_1.JPEG": 2,
            f"{WNIDS[0]}_tench.JPEG": 0,
            "unknown.JPEG": None,
        }
        assert all(r.boxes is None for r in records)
    with pytest.raises(InputError, match="class 1 is 'tench'"):
        annotations.imagenet(tmp_path / "train", classes=[WNIDS[0], "tench"])
    with pytest.raises(InputError, match="twice"):
        annotations.imagenet(tmp_path / "train", classes=[WNIDS[0], WNIDS[0]])
    with pytest.raises(InputError, match=f"its class {WNIDS[2]} is none of the 1"):
        list(annotations.imagenet(tmp_path / "train", classes=WNIDS[:1]))


def test_imagenet_names_what_is_missing_or_broken(tmp_path):
    for name in "abcde":
        photo(tmp_path / "val" / f"{name}.png")
    xml(tmp_path / "xml" / "a.xml", [(WNIDS[0], (1, 1, 5, 5))])
    xml(tmp_path / "xml" / "c.xml", [(WNIDS[0], (1, 1, 5, 5))], size=(32, 24))
    (tmp_path / "xml" / "d.xml").write_text("<annotation><object>")
    (tmp_path / "xml" / "e.xml").write_text(f"<annotation><object><name>{WNIDS[0]}</name></object></annotation>")
    xml(tmp_path / "xml" / "z.xml", [(WNIDS[0], (1, 1, 5, 5))])
    records = annotations.imagenet(tmp_path / "val", tmp_path / "xml", classes=WNIDS)
    assert [(f.path.name, f.reason.split(" in ")[0]) for f in records.failures] == [
        ("b.png", "has no b.xml"),
        ("z.xml", "has no image"),
    ]
    batches = annotations.load(records, size=16, on_error="collect", workers=2)
    assert [r.path.name for batch in batches for r in batch.records] == ["a.png", "b.png"]
    assert [f.path.name for f in batches.failures] == ["c.png", "d.png", "e.png"]
    size, broken, lacking = (f.reason for f in batches.failures)
    assert size == "is 24 high and 32 wide, but its annotation is for 32 high and 24 wide"
    assert "d.xml: is not valid XML" in broken
    assert "e.xml: <object> has no bndbox/xmin" in lacking
    xml(tmp_path / "xml" / "c.xml", [(WNIDS[0], (1, 1, 5, 5))], size=(0, 0))  # as in some files of the training set
    assert records[2].size is None
    with pytest.raises(InputError, match="no such folder of XML"):
        annotations.imagenet(tmp_path / "val", tmp_path / "none", classes=WNIDS)


# COCO


def instances(folder: Path) -> Path:
    """Two images on disk and one that is not; a dog twice and a crowd of cats in the first."""
    for name in ("one.png", "two.png"):
        photo(folder / "images" / name, (20, 30))
    crowd = np.zeros((20, 30), dtype=bool)
    crowd[:, :3] = True
    data = {
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}, {"id": 40, "name": "ball"}],
        "images": [
            {"id": i, "file_name": f"{name}.png", "height": 20, "width": 30}
            for i, name in ((7, "two"), (3, "one"), (9, "gone"))
        ],
        "annotations": [
            {"image_id": 3, "category_id": 18, "bbox": [10, 5, 4, 2], "segmentation": [[10, 5, 14, 5, 14, 7, 10, 7]]},
            {"image_id": 3, "category_id": 17, "iscrowd": 1, "bbox": [0, 0, 2, 19],
             "segmentation": {"counts": [0, 60, 540], "size": [20, 30]}},
            {"image_id": 3, "category_id": 18, "bbox": [20, 1, 5, 5], "segmentation": [[20, 1, 25, 1, 25, 6, 20, 6]]},
            {"image_id": 7, "category_id": 17, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
            {"image_id": 9, "category_id": 17, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
        ],
    }  # fmt: skip
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    return path


def test_coco_has_a_record_for_each_image_and_category(tmp_path):
    records = annotations.coco(tmp_path / "images", instances(tmp_path))
    assert records.classes == ("cat", "dog", "ball")
    assert [(r.path.name, r.name, r.label) for r in records] == [
        ("two.png", "cat", 0),
        ("one.png", "cat", 0),
        ("one.png", "dog", 1),
    ]
    assert [f.path.name for f in records.failures] == ["gone.png"]
    _, cat, dog = (r.load((20, 30), how="squash") for r in records)
    assert dog.boxes.tolist() == [[10, 5, 14, 7], [20, 1, 25, 6]]
    assert torch.equal(dog.region, painted(dog.boxes, (20, 30)))
    assert cat.boxes.shape == (0, 4)
    assert torch.equal(cat.region, painted(torch.tensor([[0.0, 0, 3, 20]]), (20, 30)))
    strict = annotations.coco(tmp_path / "images", tmp_path / "instances.json", crowds=False)
    assert not strict[1].load((20, 30), how="squash").region.any()


def test_coco_in_the_classes_of_another_classifier(tmp_path):
    path = instances(tmp_path)
    (record,) = annotations.coco(tmp_path / "images", path, classes={"dog": 207})
    assert (record.label, record.name) == (207, "dog")
    with pytest.raises(InputError, match="no category 'wolf'; it has cat, dog, ball"):
        annotations.coco(tmp_path / "images", path, classes={"wolf": 269})
    with pytest.raises(InputError, match="has none of the images"):
        annotations.coco(tmp_path, path)


def test_coco_files_that_are_none(tmp_path):
    path = tmp_path / "instances.json"
    with pytest.raises(InputError, match="could not be read"):
        annotations.coco(tmp_path, path)
    for text, reason in (("{", "not valid JSON"), ("[]", "no COCO"), ('{"images": []}', "'categories'")):
        path.write_text(text)
        with pytest.raises(InputError, match=reason):
            annotations.coco(tmp_path, path)
    data = json.loads(instances(tmp_path).read_text())
    data["annotations"][0]["category_id"] = 99
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="image 3, category 99"):
        annotations.coco(tmp_path / "images", path)
    data["annotations"][0] |= {"category_id": 18, "segmentation": [[1, 2]]}
    path.write_text(json.dumps(data))
    records = annotations.coco(tmp_path / "images", path)
    with pytest.raises(InputError, match=r"one\.png: a polygon needs three points"):
        records[2].load(16)
    data["annotations"][0]["bbox"] = [1, 2]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"one\.png: its annotation of dog is broken"):
        annotations.coco(tmp_path / "images", path)[2]


# CelebA


def faces(folder: Path) -> Path:
    for i in (1, 2, 4):
        photo(folder / "img_align_celeba" / f"{i:06}.jpg", (22, 18))
    lines = ["4", "Male Smiling Young "]
    lines += [f"{i:06}.jpg {a:2d} {b:2d} {c:2d}" for i, a, b, c in ((1, 1, -1, 1), (2, -1, -1, 1), (3, 1, 1, 1),
                                                                (4, -1, 1, -1))]  # fmt: skip
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n000003.jpg 2\n000004.jpg 2\n")
    return folder


def test_celeba_says_yes_and_no(tmp_path):
    records = annotations.celeba(faces(tmp_path))
    assert [r.path.name for r in records] == ["000001.jpg", "000002.jpg", "000004.jpg"]
    assert dict(records[0].attributes) == {"Male": 1, "Smiling": 0, "Young": 1}
    assert records[0].label is None
    assert [f.path.name for f in records.failures] == ["000003.jpg"]
    test = annotations.celeba(tmp_path, part="test", label="Smiling")
    assert [(r.path.name, r.label) for r in test] == [("000002.jpg", 0), ("000004.jpg", 1)]
    assert test.classes == ("not Smiling", "Smiling")


def test_celeba_that_is_not_in_order(tmp_path):
    faces(tmp_path)
    with pytest.raises(InputError, match="no attribute 'Happy'; it has Male, Smiling, Young"):
        annotations.celeba(tmp_path, label="Happy")
    with pytest.raises(InputError, match="part must be 'train', 'valid', 'test' or None"):
        annotations.celeba(tmp_path, part="val")
    with pytest.raises(InputError, match="no image of the part 'valid'"):
        annotations.celeba(tmp_path, part="valid")
    with pytest.raises(InputError, match="has none of the 4 images"):
        annotations.celeba(tmp_path, images="img_celeba")
    listed = tmp_path / "list_attr_celeba.txt"
    listed.write_text(listed.read_text().replace("000002.jpg -1 -1", "000002.jpg -1  2"))
    with pytest.raises(InputError, match="line 4 must be a file and 3 times 1 or -1"):
        annotations.celeba(tmp_path)
    listed.write_text("4\n")
    with pytest.raises(InputError, match="must have a count"):
        annotations.celeba(tmp_path)
    listed.unlink()
    with pytest.raises(InputError, match=r"list_attr_celeba\.txt: could not be read"):
        annotations.celeba(tmp_path)


# Tables


def table(folder: Path) -> dict[str, list]:
    for name in ("a", "b", "c"):
        photo(folder / "photos" / f"{name}.png", (10, 12))
    Image.fromarray(np.eye(10, 12, dtype=np.uint8) * 255).save(folder / "photos" / "a-mask.png")
    return {
        "path": ["photos/a.png", "photos/b.png", "photos/gone.png", "photos/c.png"],
        "label": ["dog", "cat", "cat", None],
        "boxes": [[[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 2.0, 2.5]], [[3.0, 3.0, 4.0, 4.0]], None, None],
        "mask": ["photos/a-mask.png", None, None, None],
        "smiling": [1, 0, 1, None],
        "note": ["x", "y", "z", "w"],
    }


def test_tables_say_the_same_as_csv_and_as_parquet(tmp_path):
    columns = table(tmp_path)
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    plain = ["1 2 5 6; 0,0,2,2.5", "[3, 3, 4, 4]", "", None]
    polars.DataFrame(columns | {"boxes": plain}).write_csv(tmp_path / "t.csv")
    text = [json.dumps(b) if b else None for b in columns["boxes"]]
    polars.DataFrame(columns | {"boxes": text}).write_csv(tmp_path / "t.tsv", separator="\t")
    for name in ("t.csv", "t.tsv", "t.parquet"):
        records = annotations.manifest(tmp_path / name)
        assert records.classes == ("cat", "dog")
        assert [(r.path.name, r.label, r.name) for r in records] == [
            ("a.png", 1, "dog"),
            ("b.png", 0, "cat"),
            ("c.png", None, None),
        ]
        assert [f.path.name for f in records.failures] == ["gone.png"]
        assert "row 3 of" in records.failures[0].reason
        assert records[0].boxes.tolist() == [[1, 2, 5, 6], [0, 0, 2, 2.5]]
        assert records[1].boxes.tolist() == [[3, 3, 4, 4]]
        assert records[2].boxes is None
        assert [dict(r.attributes) for r in records] == [{"smiling": 1}, {"smiling": 0}, {}]
        assert records[0].load((10, 12), how="squash").region.nonzero().tolist() == [[i, i] for i in range(10)]
        assert records[1].load((10, 12), how="squash").region.nonzero().tolist() == [[3, 3]]
        assert not records[2].load((10, 12)).region.any()


def test_labels_of_tables_may_be_numbers(tmp_path):
    table(tmp_path)
    (tmp_path / "t.csv").write_text("path,label,Male,hair length\na.png,3,1,12\nb.png,0,0,40\n")
    records = annotations.manifest(tmp_path / "t.csv", root=tmp_path / "photos")
    assert [(r.label, r.name) for r in records] == [(3, None), (0, None)]
    assert dict(records[0].attributes) == {"Male": 1, "hair length": 12}
    only = annotations.manifest(
        tmp_path / "t.csv", root=tmp_path / "photos", attributes=["Male"], classes=["a", "b", "c", "d"]
    )
    assert dict(only[1].attributes) == {"Male": 0}
    assert only[0].name == "d"


def test_tables_that_cannot_be_used(tmp_path):
    table(tmp_path)
    file, root = tmp_path / "t.csv", tmp_path / "photos"
    for text, reason in {
        "image\na.png\n": "one must be 'path'",
        "path\nnone.png\n": "are not there; give root=",
        "path\n": "has no rows",
        "path,label\na.png,cat\n,dog\n": "row 2 has no path",
        "path,label\na.png,1.5\n": "whole numbers or names",
        "path,label\na.png,-1\n": "labels go from -1",
        "path,label\na.png,1,2\n": "cannot be read as a table",
    }.items():
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            annotations.manifest(file, root=root)
    file.write_text("path,label,age\na.png,cat,1.5\n")
    with pytest.raises(InputError, match="'cat' is none of the 1 classes"):
        annotations.manifest(file, root=root, classes=["dog"])
    with pytest.raises(InputError, match=r"the column 'age' holds 1\.5; an attribute is 1 for yes"):
        annotations.manifest(file, root=root, attributes=["age"])
    for boxes in ('"[[1, 2, 3"', "1 2 3", "a b c d", "5 5 1 1", "{}"):
        file.write_text(f"path,boxes\na.png,{boxes}\n")
        with pytest.raises(InputError, match=r"a\.png: boxes in row 1 of .*t\.csv"):
            annotations.manifest(file, root=root)[0]
    with pytest.raises(InputError, match=r"must end in \.csv"):
        annotations.manifest(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="cannot be read as a table"):
        annotations.manifest(tmp_path / "none.parquet")


# Shards


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_shards_hold_what_the_files_hold(tmp_path):
    image = photo(tmp_path / "x.png", (10, 12)).read_bytes()
    Image.fromarray(np.eye(10, 12, dtype=np.uint8)).save(tmp_path / "m.png")
    facts = {"label": 3, "boxes": [[1, 2, 5, 6]], "smiling": True, "age": 40, "caption": "a face", "score": 0.5}
    shard(tmp_path / "b-01.tar", {"d/7.PNG": image, "d/7.json": json.dumps(facts).encode()})
    files = {"0.png": image, "0.cls": b"5", "0.mask.png": (tmp_path / "m.png").read_bytes(), "README": b"no sample",
             "1.png": image, "2.txt": b"a caption"}  # fmt: skip
    shard(tmp_path / "b-00.tar", files)
    plain = Record(path=tmp_path / "x.png").load(8).pixels
    for given in (tmp_path, str(tmp_path / "b-*.tar"), [tmp_path / "b-00.tar", tmp_path / "b-01.tar"]):
        records = annotations.shards(given)
        assert [r.path.relative_to(tmp_path).as_posix() for r in records] == [
            "b-00.tar/0.png",
            "b-00.tar/1.png",
            "b-01.tar/d/7.png",
        ]
        assert [r.label for r in records] == [5, None, 3]
        assert dict(records[2].attributes) == {"smiling": 1, "age": 40}
        assert records[2].boxes.tolist() == [[1, 2, 5, 6]]
        assert [f.path.name for f in records.failures] == ["2"]
        (batch,) = annotations.load(records, size=8)
        assert all(torch.equal(pixels, plain) for pixels in batch.pixels)
        region = records[0].load((10, 12), how="squash").region
        assert region.nonzero().tolist() == [[i, i] for i in range(10)]


def test_shards_that_are_broken(tmp_path):
    image = photo(tmp_path / "x.png", (40, 40)).read_bytes()
    whole = shard(tmp_path / "a.tar", {"0.png": image, "1.png": image, "2.png": b"no image", "2.cls": b"x"})
    records = annotations.shards(whole)
    with pytest.raises(InputError, match=r"a\.tar/2\.png: invalid literal"):
        records[2]
    batches = annotations.load(records, size=8, on_error="collect")
    assert sum(len(b.records) for b in batches) == 2
    assert [f.path.name for f in batches.failures] == ["2.png"]

    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[: 512 + 2 * len(image)])  # ends in the second image
    records = annotations.shards(cut)
    assert [r.path.name for r in records] == ["0.png"]
    assert "ends early" in records.failures[0].reason
    whole.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.tar: is truncated"):
        annotations.Member(whole, 512, 9).read()

    with tarfile.open(tmp_path / "z.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x.png")
    for wrong, reason in (
        (tmp_path / "z.tar.gz", "is no tar file, or a compressed one"),
        (tmp_path / "none.tar", "there is no tar file"),
        (shard(tmp_path / "t.tar", {"0.txt": b"words"}), "has no image, only txt"),
        (shard(tmp_path / "e.tar", {}), "hold no samples"),
    ):
        with pytest.raises(InputError, match=reason):
            annotations.shards(wrong)
    for data in (b"[]", b"{", b'{"label": -1}', b'{"label": "cat"}', b'{"boxes": [[5, 5, 1, 1]]}'):
        records = annotations.shards(shard(tmp_path / "j.tar", {"0.png": image, "0.json": data}))
        with pytest.raises(InputError, match=r"j\.tar/0\.png: "):
            records[0]


# Batches


def test_batches_come_in_order_and_name_what_they_leave_out(tmp_path):
    paths = [photo(tmp_path / f"{i}.png", (20 + i, 30), seed=i) for i in range(7)]
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    paths[5].unlink()
    records = [Record(path=p, boxes=torch.tensor([[1.0, 1, 9, 9 + i]])) for i, p in enumerate(paths)]
    for workers in (0, 3):
        batches = annotations.load(records, size=16, how="pad", batch_size=2, on_error="collect", workers=workers)
        for _ in range(2):  # as often as you like
            found = list(batches)
            assert [b.places for b in found] == [[0, 1], [3, 4], [6]]
            assert [f.path.name for f in batches.failures] == ["2.png", "5.png"]
        for batch in found:
            for k, n in enumerate(batch.places):
                alone = records[n].load(16, how="pad")
                assert torch.equal(batch.pixels[k], alone.pixels)
                assert torch.equal(batch.boxes[k], alone.boxes)
                assert torch.equal(batch.regions[k], alone.region)
                assert batch.records[k] is records[n]
    with pytest.raises(InputError, match=r"2\.png: is truncated"):
        list(annotations.load(records, size=16))
    for wrong in ({"batch_size": 0}, {"on_error": "skip"}, {"workers": -1}, {"size": 0}, {"how": "zoom"}):
        with pytest.raises(InputError):
            annotations.load(records, **wrong)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path):
    for name in "abcdefgh":
        photo(tmp_path / "x" / f"{name}.png")
    records = annotations.folders(tmp_path)
    for path in find_images(tmp_path)[3:]:
        path.write_bytes(b"no image")
    assert len(list(records)) == 8
    stream = iter(annotations.load(records, size=16, batch_size=1, workers=0))
    for _ in range(3):
        assert next(stream).pixels.shape == (1, 3, 16, 16)
    with pytest.raises(InputError, match=r"d\.png"):
        next(stream)


def test_a_batch_goes_straight_to_the_metrics(tmp_path):
    records = annotations.coco(tmp_path / "images", instances(tmp_path))
    clf = sl.Classifier(seeded(ConvNet, 5), size=16)
    for batch in annotations.load(records, size=16, how="squash"):
        out = sl.explain(clf, batch.pixels, method="grad-cam", target=sl.each([0, 1]))
        rows = out.image.tolist()
        regions, boxes = batch.regions[rows], [batch.boxes[i] for i in rows]
        found = sl.evaluate(clf, batch.pixels, out, ["relevance-rank", "max-box-acc"], regions=regions, boxes=boxes)
        assert found["max-box-acc"].status[2:4] == ("refused", "refused")  # a crowd has no box
        assert "refused" not in found["relevance-rank"].status


# Real data


@pytest.mark.real
def test_real_coco_masks_have_the_areas_that_coco_says(assets: Path) -> None:
    file = assets / "coco128" / "instances.json"
    data = json.loads(file.read_text())
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    large = [a for a in data["annotations"] if a["area"] > 1000 and not a["iscrowd"]][::4]
    assert len(large) > 100
    for a in large:
        found = int(shape_of(a["segmentation"]).pixels(*sizes[a["image_id"]]).sum())
        assert found == pytest.approx(a["area"], rel=0.05)
    for a in (a for a in data["annotations"] if a["iscrowd"]):  # boxes of crowds name the last pixel
        y, x = shape_of(a["segmentation"]).pixels(*sizes[a["image_id"]]).nonzero().T
        assert a["bbox"] == [int(x.min()), int(y.min()), int(x.max() - x.min()), int(y.max() - y.min())]
    records = annotations.coco(assets / "coco128" / "images", file)
    assert len(records) == len({(a["image_id"], a["category_id"]) for a in data["annotations"]})
    assert records.failures == []
    batches = annotations.load(records[::12], size=96, on_error="collect")
    assert sum(len(b.pixels) for b in batches) == len(records[::12])
    assert batches.failures == []


@pytest.mark.real
def test_real_boxes_of_imagenet_hold_what_is_seen(assets: Path, tmp_path: Path) -> None:
    folder = assets / "ilsvrc_val20"
    wnids = [line.split(",")[1] for line in (assets / "imagenet_classes.csv").read_text().splitlines()[1:]]
    rows = {Path(r["file"]).stem: r for r in map(json.loads, (folder / "rows.jsonl").read_text().splitlines())}
    for stem, row in rows.items():
        objects = [(wnids[row["classes"][0]], [int(v) for v in box]) for box in row["boxes"]]
        xml(tmp_path / f"{stem}.xml", objects, size=row["size"][::-1])
    records = annotations.imagenet(folder / "images", tmp_path, classes=assets / "imagenet_classes.csv")
    assert len(records) == 20
    assert records.failures == []
    batches = annotations.load(records, size=224, on_error="collect")
    (first, second) = batches
    assert batches.failures == []
    for batch in (first, second):
        for record, region, boxes in zip(batch.records, batch.regions, batch.boxes, strict=True):
            assert record.label == rows[record.path.stem]["classes"][0]
            assert len(boxes) == len(record.boxes) or len(record.boxes) > 1  # small ones may be cut off
            assert torch.equal(region, painted(boxes, (224, 224)))


@pytest.mark.real
def test_real_folders(assets: Path) -> None:
    cifar = annotations.folders(assets / "cifar10" / "test")
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert (len(cifar), cifar.classes) == (2000, tuple(names))
    sample = annotations.imagenet(assets / "imagenet_sample", classes=assets / "imagenet_classes.csv")
    assert len(sample) == 300
    assert len({r.label for r in sample}) == 300
    celeba = annotations.celeba(assets / "celeba")
    parts = [len(annotations.celeba(assets / "celeba", part=p)) for p in ("train", "valid", "test")]
    assert (len(celeba), parts) == (8000, [6000, 800, 1200])
    assert np.mean([r.attributes["Male"] for r in celeba]) == pytest.approx(0.42, abs=0.01)

"""Regions of attributes: both published definitions against loops written from their description, and editing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.data import faces
from sightline.data.alignment import Alignment
from sightline.data.regions import Regions, default_regions
from sightline.data.regions._shapes import Bound
from sightline.errors import InputError

NAMES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup "
    "High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose "
    "Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat "
    "Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
)
CELEBA = NAMES.split()
HAIR = "Black_Hair Blond_Hair Brown_Hair Gray_Hair Straight_Hair Wavy_Hair"
WHOLE = "Attractive Blurry Chubby Male Young"

# rows and columns of a 7 x 7 grid, half open; attributes; the published share of the image
GRID = (
    ("0:3, 2:5", "Bald Receding_Hairline", 0.184),
    ("0:3, 1:6", "Wearing_Hat", 0.306),
    ("2:4, 2:5", "Arched_Eyebrows Bags_Under_Eyes Bangs Bushy_Eyebrows Eyeglasses Narrow_Eyes", 0.122),
    (
        "3:5, 2:5",
        "5_o_Clock_Shadow Big_Nose Heavy_Makeup High_Cheekbones No_Beard Pointy_Nose Rosy_Cheeks",
        0.122,
    ),
    ("3:6, 1:3 + 3:6, 4:6", "Sideburns Wearing_Earrings", 0.245),
    ("4:5, 2:5", "Big_Lips Mouth_Slightly_Open Mustache Smiling Wearing_Lipstick", 0.061),
    ("4:6, 3:4", "Goatee", 0.041),
    ("5:6, 2:5", "Double_Chin", 0.061),
    ("5:7, 2:5", "Wearing_Necklace Wearing_Necktie", 0.122),
    ("1:6, 2:5", "Oval_Face Pale_Skin", 0.306),
    ("1:7, 1:6", WHOLE, 0.612),
    ("1:7, 1:6 - 2:7, 2:5", HAIR, 0.306),
)


def of_grid(cells: str) -> np.ndarray:
    mask = np.zeros((7, 7), dtype=bool)
    for sign, part in [("+", cells.split(" - ")[0]), *(("-", p) for p in cells.split(" - ")[1:])]:
        for piece in part.split(" + "):
            (a, b), (c, d) = (map(int, half.split(":")) for half in piece.split(", "))
            mask[a:b, c:d] = sign == "+"
    return mask.repeat(32, 0).repeat(32, 1)


@pytest.mark.parametrize(("cells", "attributes", "area"), GRID)
def test_rectangles_on_the_grid_are_the_published_ones(cells, attributes, area):
    names = attributes.split()
    masks = Regions.grid().masks(names, (224, 224), count=2)
    assert masks.shape == (2, len(names), 224, 224)
    for k in range(len(names)):
        assert np.array_equal(masks[1, k].numpy(), of_grid(cells))
    assert float(masks[0, 0].double().mean()) == pytest.approx(area, abs=0.0006)
    small = Regions.grid().masks(names[:1], (96, 112), count=1)[0, 0]
    assert float(small.double().mean()) == pytest.approx(area, abs=0.02)


def loops(L, R, nose, ML, MR, size=224):
    """Every mask of the second definition, pixel by pixel; points are (x, y) in a frame of 224 pixels."""
    ey, my, ex = (L[1] + R[1]) / 2, (ML[1] + MR[1]) / 2, (L[0] + R[0]) / 2
    (nx, ny), L, R, ML, MR = nose, L[0], R[0], ML[0], MR[0]
    table = {  # y from, y to, then pairs of x from, x to
        "Bangs": (ey - 39, ey - 12, (L - 15, R + 15)),
        "Bald Receding_Hairline": (ey - 75, ey - 30, (ex - 55, ex + 55)),
        "Wearing_Hat": (5, ey - 30, (ex - 70, ex + 70)),
        "Narrow_Eyes": (ey - 10, ey + 10, (L - 13, R + 13)),
        "Eyeglasses": (ey - 15, ey + 15, (L - 22, R + 22)),
        "Bags_Under_Eyes": (ey + 4, ey + 15, (L - 13, R + 13)),
        "Arched_Eyebrows Bushy_Eyebrows": (ey - 18, ey - 2, (L - 13, R + 13)),
        "Big_Nose Pointy_Nose": (ny - 15, ny + 8, (nx - 15, nx + 15)),
        "High_Cheekbones Rosy_Cheeks": (ey + 4, ny + 5, (L - 25, nx), (nx, R + 25)),
        "Sideburns": (ey + 4, ny + 28, (L - 25, L - 5), (R + 5, R + 25)),
        "Wearing_Earrings": (ny - 15, ny + 42, (L - 34, L - 12), (R + 12, R + 34)),
        "Big_Lips Mouth_Slightly_Open Smiling Wearing_Lipstick": (my - 10, my + 15, (ML - 6, MR + 6)),
        "Mustache": (my - 15, my, (ML - 10, MR + 10)),
        "5_o_Clock_Shadow No_Beard": (ey + 4, my + 32, (ML - 25, MR + 25)),
        "Goatee": (my, my + 30, (ML, MR)),
        "Double_Chin": (my + 30, my + 60, (ML - 6, MR + 6)),
        "Wearing_Necklace Wearing_Necktie": (my + 30, 224, (ML - 30, MR + 30)),
        "Heavy_Makeup Oval_Face Pale_Skin": (ey - 45, my + 35, (nx - 50, nx + 55)),
        WHOLE: (ny - 100, 224, (nx - 80, nx + 75)),
    }
    found = {}
    for names, (top, bottom, *spans) in table.items():
        mask = np.zeros((224, 224), dtype=bool)
        for left, right in spans:
            for y in range(max(int(top), 0), min(int(bottom), 224)):
                for x in range(max(int(left), 0), min(int(right), 224)):
                    mask[y, x] = True
        found |= dict.fromkeys(names.split(), mask)
    hair = found["Male"].copy()
    for y in range(224):
        for x in range(224):
            if ((x - int(nx)) / 45) ** 2 + ((y - int(ny - 15)) / 60) ** 2 <= 1:
                hair[y, x] = False
    return found | dict.fromkeys(HAIR.split(), hair)


MEAN = [[93.3, 101.2], [131.7, 101.2], [112.0, 125.1], [95.2, 142.1], [129.7, 142.2]]
CASES = (
    MEAN,
    [[81.7, 88.1], [140.2, 96.9], [120.5, 131.4], [99.9, 160.2], [140.3, 150.8]],
    [[2.4, 7.9], [30.1, 3.2], [12.6, 22.2], [5.5, 40.3], [27.2, 38.4]],  # bounds below 0, which would wrap
    [[190.0, 200.5], [223.4, 190.1], [215.2, 215.7], [188.8, 222.0], [221.0, 220.3]],
)


@pytest.mark.parametrize("points", CASES)
def test_boxes_from_landmarks_are_the_published_ones(points):
    expected = loops(*points)
    assert sorted(expected) == sorted(CELEBA)
    marks = torch.tensor([MEAN, points])
    masks = Regions.landmarks().masks(CELEBA, (224, 224), marks)
    assert (masks.shape, masks.dtype) == ((2, 40, 224, 224), torch.bool)
    for name, mask in zip(CELEBA, masks[1], strict=True):
        assert np.array_equal(mask.numpy(), expected[name]), name
    # Half the size: a pixel's centre lies on the corner of four, at the first of the lower right one.
    half = Regions.landmarks().masks(CELEBA, (112, 112), (marks + 0.5) / 2 - 0.5)
    for name, mask in zip(CELEBA, half[1], strict=True):
        if name not in HAIR:
            assert np.array_equal(mask.numpy(), expected[name][1::2, 1::2]), name
        else:
            assert (mask.numpy() != expected[name][1::2, 1::2]).mean() < 0.01


def test_hair_lies_in_the_whole_and_shares_no_pixel_with_the_ellipse():
    masks = Regions.landmarks().masks(["Male", "Black_Hair"], (224, 224), torch.tensor([CASES[2]]))
    assert not bool((masks[0, 1] & ~masks[0, 0]).any())
    assert 0 < int(masks[0, 1].sum()) < int(masks[0, 0].sum())


def test_every_attribute_of_celeba_has_a_region_in_both_definitions():
    for regions in (Regions.grid(), Regions.landmarks()):
        assert sorted(regions.attributes) == sorted(CELEBA)
        assert all(regions.known(name) and regions.of(name) in regions.names for name in CELEBA)
    assert (Regions.grid().needs, Regions.landmarks().needs) == ("nothing", "landmarks")
    assert Regions.grid(frame="face").needs == "landmarks"
    assert (len(Regions.grid().names), len(Regions.landmarks().names)) == (12, 20)


def test_masks_that_are_the_same_for_all_images_are_held_once():
    masks = Regions.grid().masks(CELEBA, (224, 224), count=1000)
    assert masks.shape == (1000, 40, 224, 224)
    assert masks.stride(0) == 0
    assert masks.untyped_storage().nbytes() == 40 * 224 * 224


def test_an_attribute_without_a_region_has_an_empty_mask():
    regions = Regions.grid()
    masks = regions.masks(["Kind", "Smiling"], (21, 28), count=2)
    assert not bool(masks[:, 0].any())
    assert bool(masks[:, 1].any())
    assert regions.masks(["Kind"], (21, 28), count=2).shape == (2, 1, 21, 28)
    assert regions.masks([], (21, 28), count=2).shape == (2, 0, 21, 28)
    assert (regions.of("Kind"), regions.known("Kind")) == (None, False)
    with pytest.raises(InputError, match="has no region 'Smiling'; it has head, hat, eyes"):
        regions.painted(["Smiling"], (21, 28), count=2)


def test_unknown_landmarks_give_no_region():
    marks = torch.tensor([MEAN, MEAN])
    marks[1, 2, 0] = torch.nan
    for regions in (Regions.landmarks(frame="face"), Regions.grid(frame="face")):
        masks = regions.masks(["Big_Nose"], (224, 224), marks)
        assert bool(masks[0].any())
        assert not bool(masks[1].any())
    assert not bool(Regions.landmarks().masks(["Big_Nose"], (224, 224), marks)[1].any())


@pytest.mark.parametrize(
    "regions", [Regions.grid(frame="face"), Regions.landmarks(frame="face")], ids=["grid", "marks"]
)
def test_regions_on_a_face_move_turn_and_grow_with_it(regions):
    """Masks of a picture, aligned as the picture would be, are the masks of the aligned picture."""
    marks = torch.tensor(MEAN, dtype=torch.float64)
    a, scale, shift = 0.4, 0.6, torch.tensor([40.0, 70.0], dtype=torch.float64)
    turn = torch.tensor([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], dtype=torch.float64)
    there = scale * marks @ turn.T + shift
    warp = Alignment().warp(there, (240, 200), 224)
    plain = Regions.grid() if regions.name.startswith("grid") else Regions.landmarks()
    names = ["Eyeglasses", "Smiling", "Black_Hair", "Wearing_Hat", "Male"]
    masks = regions.masks(names, (240, 200), there[None])[0]
    expected = plain.masks(names, (224, 224), warp.points(there)[None], count=1)[0]
    seen = torch.stack([warp.mask(mask) for mask in masks])
    inside = warp.mask(torch.ones(240, 200, dtype=torch.bool))
    for name, found, wanted in zip(names, seen, expected, strict=True):
        wrong = (found != wanted) & inside
        assert float(wrong.double().mean()) < 0.02, name  # rims, at 0.6 of the size
        assert float((found & wanted).sum()) / float((wanted & inside).sum()) > 0.9, name


def test_aligned_input_has_the_same_regions_in_either_frame():
    warp = Alignment().warp(torch.tensor(MEAN), (224, 224), 224)
    marks = warp.points(torch.tensor(MEAN))[None]
    for name in ("grid", "landmarks"):
        make = getattr(Regions, name)
        one, other = (make(frame=f).masks(CELEBA, (96, 96), (marks + 0.5) * 96 / 224 - 0.5) for f in ("input", "face"))
        assert float((one != other).double().mean()) < 0.002


def test_exact_masks_of_rendered_faces():
    drawn = faces.sample(3, seed=4, size=32)
    regions = Regions.exact(["Smiling", "Bald"])
    given = {name: drawn.mask(name) for name in ("Bald", "Smiling")}
    masks = regions.masks(["Smiling", "Bald", "Beard"], (32, 32), given=given)
    assert torch.equal(masks[:, 0], drawn.mask("Smiling"))
    assert torch.equal(masks[:, 1], drawn.mask("Bald"))
    assert not bool(masks[:, 2].any())
    assert regions.needs == "masks"
    shared = Regions.exact({"Smiling": "mouth", "Big_Lips": "mouth"})
    assert (shared.names, shared.of("Big_Lips")) == (("mouth",), "mouth")
    with pytest.raises(
        InputError, match="mask of the region 'mouth' comes with each image, but was not given; got Bald"
    ):
        shared.masks(["Smiling"], (32, 32), given={"Bald": drawn.mask("Bald")})
    with pytest.raises(InputError, match=r"must be \(N, 16, 16\) bool"):
        shared.masks(["Smiling"], (16, 16), given={"mouth": drawn.mask("Bald")})


def test_masks_need_what_they_follow():
    with pytest.raises(InputError, match=r"landmarks: a bound at \w+ needs landmarks, and there are none"):
        Regions.landmarks().masks(["Smiling"], (8, 8), count=1)
    with pytest.raises(InputError, match="in the frame of a face need landmarks"):
        Regions.grid(frame="face").masks(["Smiling"], (8, 8), count=1)
    with pytest.raises(InputError, match=r"landmarks must be \(N, 5, 2\), not \(5, 2\)"):
        Regions.landmarks().masks(["Smiling"], (8, 8), torch.zeros(5, 2))
    with pytest.raises(InputError, match=r"one count of images, .* got 1 and 3"):
        Regions.landmarks().masks(["Smiling"], (8, 8), torch.zeros(1, 5, 2), count=3)
    with pytest.raises(InputError, match="got none"):
        Regions.grid().masks(["Smiling"], (8, 8))
    with pytest.raises(InputError, match="frame must be 'input' or 'face'"):
        Regions.grid(frame="photo")


@pytest.mark.parametrize("regions", [Regions.grid(), Regions.landmarks(frame="face"), Regions.exact({"a b": 'r"1'})])
def test_a_table_is_read_as_it_was_written(tmp_path, regions):
    regions.write(tmp_path / "mine.toml")
    assert Regions.read(tmp_path / "mine.toml") == regions


def test_a_table_can_be_edited(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("""
    [regions.lens]
    ellipses = [{ x = "left_eye.x + .5", y = "eyes.y", wide = 0.25, tall = 0.125 }]
    attributes = ["Monocle"]
    [regions.top]
    boxes = [{ top = 0, bottom = "0.5", left = 0.25, right = 1 }]
    minus_ellipses = [{ x = 1, y = 0, wide = 0.25, tall = 0.25 }]
    [regions.scar]
    given = true
    attributes = ["Scar"]
    """)
    regions = Regions.read(file)
    assert (regions.name, regions.unit, regions.names) == ("mine", 1, ("lens", "top", "scar"))
    marks = torch.tensor([[[3.5, 31.5], [35.5, 31.5], [0, 0], [0, 0], [0, 0]]])
    lens, top = regions.painted(["lens", "top"], (64, 64), marks)[0]
    expected, corner = np.zeros((64, 64), dtype=bool), np.zeros((64, 64), dtype=bool)
    for y in range(64):
        for x in range(64):
            expected[y, x] = ((x + 0.5 - 36) / 16) ** 2 + ((y + 0.5 - 32) / 8) ** 2 <= 1
            corner[y, x] = y < 32 and x >= 16 and (x + 0.5 - 64) ** 2 + (y + 0.5) ** 2 > 16**2
    assert np.array_equal(lens.numpy(), expected)
    assert np.array_equal(top.numpy(), corner)


@pytest.mark.parametrize("text", ["1", "-2.5", ".5", "nose.x", "left_eye.x - 15", "mouth.y+32", " eyes.y -  .25 "])
def test_bounds_that_are_understood(text):
    bound = Bound.parse(text)
    assert Bound.parse(bound.written()) == bound


@pytest.mark.parametrize(
    "value",
    ["", "nose", "nose.z", "ear.x", "nose.x * 2", "1 + 2", "nose.x - eyes.x", "__import__('os')", True, None, [1]],
)
def test_bounds_that_are_not_understood(value):
    with pytest.raises(InputError, match=r"is no bound: .* the points are left_eye, right_eye, nose"):
        Bound.parse(value)


BOX = "boxes = [{ top = 0, bottom = 1, left = 0, right = 1 }]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = [", "is no TOML"),
        ("", r"has no regions; write \[regions.NAME\]"),
        ("side = 3", "does not know 'side'; there are name, unit"),
        ("unit = 0", "unit must be a number above 0"),
        ("frame = 'photo'", "frame must be 'input' or 'face'"),
        ("whole_pixels = 1", "whole_pixels must be true or false"),
        ("[regions.a]\nattributes = ['x']", "region 'a': has no boxes, no ellipses and not given"),
        (f"[regions.a]\n{BOX}\ngiven = true", "region 'a': has given = true and boxes"),
        (f"[regions.a]\n{BOX}\nshape = 1", "region 'a': does not know 'shape'"),
        ("[regions.a]\nboxes = [{ top = 0, bottom = 1, left = 0 }]", "boxes: lacks right; give top, bottom"),
        ("[regions.a]\nboxes = [{ top = 'a.x', bottom = 1, left = 0, right = 1 }]", "'a.x' is no bound"),
        ("[regions.a]\nboxes = { top = 0 }", "must be a list of tables"),
        (f"[regions.a]\n{BOX}\nattributes = 'x'", "attributes must be a list of names, not 'x'"),
        (f"[regions.a]\n{BOX}\nattributes = ['x']\n[regions.b]\n{BOX}\nattributes = ['x']", "'x' is in the regions"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used(tmp_path, text, reason):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"mine\.toml.*{reason}"):
        Regions.read(file)
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        Regions.read(tmp_path / "none.toml")


def test_regions_are_drawn_on_a_face():
    face = torch.full((3, 90, 90), 0.5)
    picture = Regions.grid().drawn(face)
    values = np.asarray(picture)
    yellow = (values == [255, 196, 0]).all(-1)
    assert picture.mode == "RGB"
    assert yellow.sum() > 12 * 200  # an outline of each of the twelve
    assert Regions.landmarks().drawn(face, torch.tensor(MEAN) * 90 / 224).width >= 5 * 168
    drawn = faces.sample(1, seed=4, size=32)
    one = Regions.exact(["Smiling", "Bald"]).drawn(drawn.pixels[0], given={"Smiling": drawn.mask("Smiling")[0]})
    assert one.width < 2 * 168 + 100  # a region without a mask here is left out
    with pytest.raises(InputError, match=r"a face is float \(3, H, W\)"):
        Regions.grid().drawn(face[:1])
    with pytest.raises(InputError, match="no region to draw"):
        Regions.exact(["Smiling"]).drawn(face, given={})


def test_default_regions():
    assert default_regions(["Smiling", "Scar"]) == Regions.grid()
    assert default_regions(["Scar"]) is None


@pytest.mark.real
def test_real_smiles_are_in_the_region_of_smiles(assets: Path) -> None:
    """The mean of aligned faces that smile differs from that of others most where the region is."""
    from sightline.data import annotations
    from sightline.data.alignment import Preparation

    records = annotations.celeba(assets / "celeba", part="test")
    means, marks = {}, []
    for value in (0, 1):
        some = [r for r in records if r.attributes["Smiling"] == value][:200]
        samples = [Preparation(fit="align").load(r, 96) for r in some]
        means[value] = torch.stack([s.pixels for s in samples]).mean(0)
        marks += [s.landmarks for s in samples]
    change = (means[1] - means[0]).abs().mean(0)
    face = Regions.grid().masks(["Male"], (96, 96), count=1)[0, 0]
    for regions in (Regions.grid(), Regions.landmarks()):
        region = regions.masks(["Smiling"], (96, 96), torch.stack(marks).mean(0)[None])[0, 0]
        assert float(change[region].mean()) > 1.3 * float(change[face].mean())

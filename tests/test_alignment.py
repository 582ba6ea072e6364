"""Faces aligned by landmarks, resampled and augmented: against loops, and against the published figures."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data import annotations, faces
from sightline.data.alignment import Alignment, Augmentation, Preparation, aligned, augmented, frontal
from sightline.data.annotations import Record
from sightline.data.warping import Warp
from sightline.errors import InputError

# Means over the 39,829 images of CelebA's validation and test parts, in crops of 224 pixels.
MEAN = torch.tensor([[93.3, 101.2], [131.7, 101.2], [112.0, 125.1], [95.2, 142.1], [129.7, 142.2]])
FACE = torch.tensor([[40.0, 50.0], [62.0, 44.0], [55.0, 62.0], [48.0, 75.0], [66.0, 70.0]])


def bilinear(image: np.ndarray, x: float, y: float) -> float:
    """The value of an image (H, W) at a point; outermost pixels go on for ever."""
    H, W = image.shape
    x0, y0 = math.floor(x), math.floor(y)
    at = lambda i, j: image[min(max(j, 0), H - 1), min(max(i, 0), W - 1)]  # noqa: E731
    u, v = x - x0, y - y0
    top, bottom = (at(x0, j) * (1 - u) + at(x0 + 1, j) * u for j in (y0, y0 + 1))
    return top * (1 - v) + bottom * v


def smooth(H: int, W: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    return torch.stack([0.5 + 0.5 * torch.sin(x / a) * torch.cos(y / b) for a, b in ((9, 14), (12, 8), (20, 10))])


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> torch.Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, shift[0]], [s, c, shift[1]]], dtype=torch.float64)


# Geometry


def test_the_published_means_are_where_the_geometry_puts_them():
    """A face that already lies at the published means hardly moves: by less than a pixel of 224."""
    warp = Alignment().warp(MEAN, (224, 224), 224)
    corners = torch.tensor([[0.0, 0.0], [223.0, 0.0], [0.0, 223.0], [112.0, 112.0]])
    A, b = warp.matrix[:, :2], warp.matrix[:, 2]
    assert float((corners.double() @ A.T + b - corners).abs().max()) < 2.0  # at the corners, where scale counts most
    assert float((warp.points(MEAN) - MEAN).abs().max()) < 1.25
    # In units of the crop, whose left edge is 0: eyes at 0.45 of 224, the mouth 224 / 5.5 below.
    placed = warp.points(MEAN) + 0.5
    assert placed[:2].mean(0).tolist() == pytest.approx([112.0, 100.8], abs=1e-6)
    assert placed[3:].mean(0).tolist() == pytest.approx([112.0, 100.8 + 224 / 5.5], abs=0.1)
    assert (placed[:2].mean(0) - MEAN[:2].mean(0)).abs().max() < 1
    assert (placed[3:].mean(0) - MEAN[3:].mean(0)).abs().max() < 1


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("size", [64, (60, 90)])
def test_the_crop_is_the_published_square_around_the_eyes(rotate, size):
    """By the definition: w = h = 5.5 d, left = eye_x - w / 2, top = eye_y - 0.45 h, turned round the eyes."""
    height, width = (size, size) if isinstance(size, int) else size
    warp = Alignment(rotate=rotate).warp(FACE, (120, 100), size)
    (lx, ly), (rx, ry), _, (ax, ay), (bx, by) = FACE.tolist()
    ex, ey, mx, my = (lx + rx) / 2, (ly + ry) / 2, (ax + bx) / 2, (ay + by) / 2
    w = 5.5 * math.sqrt((ex - mx) ** 2 + (ey - my) ** 2)
    angle = math.atan2(ry - ly, rx - lx) if rotate else 0.0
    for px, py in ((0, 0), (width - 1, 0), (13, 29)):
        u, v = (px + 0.5) / width * w - 0.5 * w, (py + 0.5) / height * w - 0.45 * w
        x = ex + math.cos(angle) * u - math.sin(angle) * v
        y = ey + math.sin(angle) * u + math.cos(angle) * v
        assert warp.points(torch.tensor([[x, y]])).tolist()[0] == pytest.approx([px, py], abs=1e-4)
    if rotate:
        left, right = warp.points(FACE)[:2]
        assert float(left[1]) == pytest.approx(float(right[1]))


def test_a_mirrored_picture_has_the_mirrored_crop():
    pixels = smooth(120, 100)[None]
    mirrored = FACE[[1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0]) + torch.tensor([99.0, 0.0])
    one = Alignment().warp(FACE, (120, 100), 48).pixels(pixels)
    other = Alignment().warp(mirrored, (120, 100), 48).pixels(pixels.flip(-1))
    torch.testing.assert_close(one.flip(-1), other)


def test_geometry_that_cannot_be():
    with pytest.raises(InputError, match="side must be above 0 and eye_line between 0 and 1; got 0 and"):
        Alignment(side=0)
    with pytest.raises(InputError, match=r"five points \(5, 2\).* not \(4, 2\)"):
        Alignment().warp(FACE[:4], (9, 9), 8)
    with pytest.raises(InputError, match="eyes and its mouth are in one place"):
        Alignment().warp(torch.ones(5, 2), (9, 9), 8)
    with pytest.raises(InputError, match="size must be 1 or more"):
        Alignment().warp(FACE, (9, 9), 0)


# Resampling


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_an_image_that_does_not_shrink_is_sampled_at_points(scale):
    pixels = torch.rand(1, 1, 23, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    matrix = similarity(scale, 0.3, (-2.2, 4.1))
    found = Warp((23, 17), (12, 14), matrix).pixels(pixels)[0, 0]
    for y in range(12):
        for x in range(14):
            at = matrix @ torch.tensor([x, y, 1.0], dtype=torch.float64)
            assert float(found[y, x]) == pytest.approx(bilinear(pixels[0, 0].numpy(), *at.tolist()), abs=1e-9)


@pytest.mark.parametrize("scale", [1.3, 2.0, 2.7, 5.2, 8.9])
def test_an_image_that_shrinks_is_averaged_over_each_pixel(scale):
    """On a smooth image the mean over the square that a pixel sees, by many samples, is what comes out."""
    image = smooth(190, 210)[0]
    matrix = similarity(scale, 0.25, (45.0, 8.0))
    found = Warp((190, 210), (16, 15), matrix).pixels(image[None, None])[0, 0]
    fine = (np.arange(12) + 0.5) / 12 - 0.5
    for y in range(0, 16, 3):
        for x in range(0, 15, 3):
            spots = [matrix.numpy() @ [x + u, y + v, 1.0] for u in fine for v in fine]
            mean = np.mean([bilinear(image.numpy(), *spot) for spot in spots])
            assert float(found[y, x]) == pytest.approx(mean, abs=0.02)


@pytest.mark.parametrize("scale", [2.0, 3.3, 7.0])
def test_what_is_finer_than_a_pixel_does_not_survive(scale):
    stripes = (torch.arange(200) % 2).double().expand(200, 200)
    found = Warp((200, 200), (20, 20), similarity(scale, 0.0, (10.0, 10.0))).pixels(stripes[None, None])
    points = stripes[10 : 10 + round(19 * scale) : max(1, round(scale)), 10]
    assert float((found - 0.5).abs().max()) < 0.2
    assert float((points - 0.5).abs().max()) == 0.5  # samples at points would alias


def test_the_identity_and_whole_moves_are_exact_and_edges_are_repeated():
    pixels = torch.rand(2, 3, 9, 11)
    assert torch.equal(Warp((9, 11), (9, 11), similarity(1, 0, (0, 0))).pixels(pixels), pixels)
    moved = Warp((9, 11), (9, 11), similarity(1, 0, (3, -2))).pixels(pixels)
    assert torch.equal(moved[..., 2:, :8], pixels[..., :7, 3:])
    assert torch.equal(moved[..., :2, :8], pixels[..., :1, 3:].expand(-1, -1, 2, -1))
    assert torch.equal(moved[..., 2:, 8:], pixels[..., :7, 10:].expand(-1, -1, -1, 3))
    flat = torch.full((1, 3, 50, 40), 0.3)
    assert float((Warp((50, 40), (7, 8), similarity(6, 1.0, (-9, 5))).pixels(flat) - 0.3).abs().max()) < 1e-6


def test_half_the_size_is_the_mean_of_four():
    pixels = torch.rand(1, 3, 12, 16)
    found = Warp((12, 16), (6, 8), similarity(2, 0, (0.5, 0.5))).pixels(pixels)
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(pixels, 2))


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.9, 3.4])
def test_points_boxes_and_masks_follow_their_image(scale):
    H, W = 220, 260
    warp = Warp((H, W), (50, 60), similarity(scale, -0.5, (30.0, 60.0)))
    at = warp.matrix @ torch.tensor([31.0, 22.0, 1.0], dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    blob = (-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (4 * scale) ** 2)).exp()
    seen = warp.pixels(blob[None, None])[0, 0]
    v, u = torch.meshgrid(torch.arange(50).double(), torch.arange(60).double(), indexing="ij")
    middle = [float((seen * side).sum() / seen.sum()) for side in (u, v)]
    assert warp.points(at[None]).tolist()[0] == pytest.approx([31, 22], abs=1e-9)
    assert middle == pytest.approx([31, 22], abs=0.06)
    disc = (x - at[0]) ** 2 + (y - at[1]) ** 2 < (10 * scale) ** 2
    wanted = (u - 31) ** 2 + (v - 22) ** 2 < 10**2
    mask = warp.mask(disc)
    assert float((mask != wanted).double().sum()) < 0.08 * float(wanted.sum())
    box = torch.stack([at[0] - 4, at[1] - 3, at[0] + 4, at[1] + 3])[None]
    (found,) = warp.boxes(box + 0.5).tolist()
    wide = (8 * math.cos(0.5) + 6 * math.sin(0.5)) / scale  # the upright box round a turned one
    assert found[2] - found[0] == pytest.approx(wide)
    assert (found[0] + found[2]) / 2 == pytest.approx(31.5)
    assert warp.boxes(box + 1000).shape == (0, 4)
    assert not bool(Warp((9, 9), (9, 9), similarity(1, 0, (9, 0))).mask(torch.ones(9, 9, dtype=torch.bool)).any())
    with pytest.raises(InputError, match="does not fit an image of"):
        warp.mask(torch.ones(3, 3, dtype=torch.bool))


# Records


def record(folder: Path, points: torch.Tensor | None = FACE, **more: object) -> Record:
    pixels = (smooth(120, 100).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(folder / "a.png")
    return Record(path=folder / "a.png", landmarks=points, **more)


def test_a_record_is_aligned_with_all_that_it_has(tmp_path):
    mask = np.zeros((120, 100), dtype=np.uint8)
    mask[40:60, 45:65] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    file = annotations.MaskFile(tmp_path / "m.png")
    sample = aligned(record(tmp_path, mask=file, masks={"eyes": file}, boxes=torch.tensor([[45.0, 40, 65, 60]])), 64)
    warp = Alignment().warp(FACE, (120, 100), 64)
    pixels = torch.from_numpy(np.array(Image.open(tmp_path / "a.png"))).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(sample.pixels, warp.pixels(pixels[None])[0])
    assert sample.pixels.dtype == torch.float32
    torch.testing.assert_close(sample.landmarks, warp.points(FACE))
    assert torch.equal(sample.region, sample.masks["eyes"])
    left, top, right, bottom = sample.boxes[0].round().int().tolist()
    assert int(sample.region[top:bottom, left:right].sum()) == int(sample.region.sum()) > 0


def test_a_preparation_loads_as_it_says(tmp_path):
    plain = record(tmp_path)
    for fit in ("crop", "squash", "pad"):
        one = Preparation(fit=fit, box=(0.1, 0.1, 0.9, 0.8)).load(plain, 32)
        other = plain.load(32, how=fit, box=(0.1, 0.1, 0.9, 0.8))
        assert torch.equal(one.pixels, other.pixels)
        assert "box 0.1, 0.1, 0.9, 0.8 cut out" in Preparation(fit=fit, box=(0.1, 0.1, 0.9, 0.8)).described()
    zoomed = Preparation(fit="align", alignment=Alignment(side=3.0, rotate=False))
    assert torch.equal(zoomed.load(plain, 32).pixels, aligned(plain, 32, Alignment(side=3.0, rotate=False)).pixels)
    assert zoomed.described() == (
        "aligned by landmarks (square of 3 eye-mouth distances, eyes at 0.45 of its height, not turned)"
    )
    with pytest.raises(InputError, match=r"a\.png: has no landmarks, by which it would be aligned"):
        Preparation(fit="align").load(record(tmp_path, None), 32)
    with pytest.raises(InputError, match=r"a\.png: its eyes and its mouth are in one place"):
        Preparation(fit="align").load(record(tmp_path, torch.ones(5, 2)), 32)
    with pytest.raises(InputError, match="fit must be one of crop, squash, pad, align, not 'face'"):
        Preparation(fit="face")
    with pytest.raises(InputError, match="leave box out"):
        Preparation(fit="align", box=(0, 0, 1, 1))
    with pytest.raises(InputError, match="box must be fractions"):
        Preparation(box=(0, 0, 2, 1))


# Frontal faces


def test_frontal_faces_are_those_of_the_rule():
    generator = torch.Generator().manual_seed(5)
    points = FACE + 4 * torch.randn(400, 5, 2, generator=generator)
    expected = []
    for (lx, ly), (rx, ry), (nx, ny), (ax, ay), (bx, by) in points.tolist():
        ex, ey, mx, my = (lx + rx) / 2, (ly + ry) / 2, (ax + bx) / 2, (ay + by) / 2
        # Distance of a point from a line through two others, by the foot of the perpendicular.
        t = ((nx - ex) * (mx - ex) + (ny - ey) * (my - ey)) / ((mx - ex) ** 2 + (my - ey) ** 2)
        d = math.hypot(nx - ex - t * (mx - ex), ny - ey - t * (my - ey))
        expected.append(my > ey and d / (my - ey) <= 0.1)
    assert frontal(points).tolist() == expected
    assert 20 < sum(expected) < 380
    assert bool(frontal(MEAN[None])[0])
    assert not bool(frontal(MEAN[None] * torch.tensor([1.0, -1.0]))[0])
    assert not bool(frontal(torch.full((1, 5, 2), torch.nan))[0])
    assert frontal(torch.empty(0, 5, 2)).shape == (0,)
    with pytest.raises(InputError, match=r"landmarks must be \(N, 5, 2\), not \(5, 2\)"):
        frontal(MEAN)


# Augmentation


STILL = Augmentation(scale=0, angle=0, shift=0, flip=0, blur=0, gamma=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(**what: float) -> Augmentation:
    return Augmentation(**{**vars(STILL), **what})


def test_no_augmentation_changes_nothing_and_a_mirror_mirrors():
    drawn = faces.sample(3, seed=2, size=32)
    pixels, points = augmented(drawn.pixels, drawn.landmarks, generator=seeded(), augmentation=STILL)
    torch.testing.assert_close(pixels, drawn.pixels, atol=2e-6, rtol=0)
    torch.testing.assert_close(points, drawn.landmarks.double())
    pixels, points = augmented(drawn.pixels, drawn.landmarks, generator=seeded(), augmentation=only(flip=1))
    torch.testing.assert_close(pixels, drawn.pixels.flip(-1), atol=2e-6, rtol=0)
    assert bool((points[:, 0, 0] < points[:, 1, 0]).all())  # the left eye is again on the left
    assert points[0, 0].tolist() == pytest.approx(
        [31 - float(drawn.landmarks[0, 1, 0]), float(drawn.landmarks[0, 1, 1])]
    )
    pixels, none = augmented(drawn.pixels, generator=seeded(), augmentation=STILL, size=20)
    torch.testing.assert_close(pixels, drawn.pixels[..., 6:26, 6:26], atol=2e-6, rtol=0)
    assert none is None


def test_landmarks_follow_what_is_seen():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    places = torch.tensor([[36.0, 40.0], [45.0, 60.0]])
    blobs = torch.stack([(-((x - a) ** 2 + (y - b) ** 2) / 8).exp().expand(3, 96, 80) for a, b in places.tolist()])
    points = places[:, None].expand(2, 5, 2)
    for seed in range(6):
        what = only(scale=0.2, angle=20, shift=0.05, flip=0.5)
        pixels, found = augmented(blobs, points, generator=seeded(seed), augmentation=what, size=64)
        v, u = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        for image, point in zip(pixels[:, 0], found[:, 0], strict=True):
            middle = [float((image * side).sum() / image.sum()) for side in (u, v)]
            assert middle == pytest.approx(point.tolist(), abs=0.1)


def test_geometry_is_distributed_as_affact_says():
    n, side = 3000, 32
    points = torch.tensor([[10.0, 12], [21, 12], [15.5, 15.5], [11, 22], [20, 22]]).expand(n, 5, 2)
    _, found = augmented(torch.zeros(n, 3, side, side), points, generator=seeded(7))
    across = found[:, 1] - found[:, 0]
    scale = torch.log2(11 / torch.linalg.vector_norm(across, dim=1))
    angle = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert float(scale.std()) == pytest.approx(0.1, rel=0.05)
    assert float(scale.mean()) == pytest.approx(0, abs=0.006)
    assert float(angle.std()) == pytest.approx(20, rel=0.05)
    middle = found[:, 2] - 15.5  # moved against the crop, then turned and scaled with it
    length = torch.linalg.vector_norm(middle, dim=1) * torch.exp2(scale)
    assert float((length**2).mean().sqrt()) == pytest.approx(math.sqrt(2) * 0.05 * side, rel=0.05)


def test_half_of_the_images_are_mirrored():
    ramp = torch.linspace(0, 1, 16).expand(2000, 3, 8, 16)
    pixels, _ = augmented(ramp, generator=seeded(8), augmentation=only(flip=0.5))
    share = float((pixels[:, 0, 0, 0] > pixels[:, 0, 0, -1]).double().mean())
    assert share == pytest.approx(0.5, abs=0.035)


def test_blur_is_a_gaussian_of_the_stated_width():
    n, side = 1200, 56
    spot = torch.zeros(n, 3, side, side)
    spot[:, :, 28, 27] = 1
    pixels, _ = augmented(spot, generator=seeded(9), augmentation=only(blur=3.0))
    row = pixels[:, 1].double().sum(1)  # (n, side): the marginal along x
    x = torch.arange(side).double()
    sigma = (row * (x - 27) ** 2).sum(1).sqrt()
    wide = sigma[sigma > 0.4]  # below, a Gaussian at whole pixels has another variance
    assert float((row.sum(1) - 1).abs().max()) < 1e-5
    assert float((sigma**2).mean().sqrt()) == pytest.approx(3 * side / 224, rel=0.06)
    assert float((wide > 0.75).double().mean() * len(wide) / n) == pytest.approx(math.erfc(1 / math.sqrt(2)), abs=0.04)
    k = int((sigma - 1.0).abs().argmin())
    expected = torch.exp(-((x - 27) ** 2) / (2 * float(sigma[k]) ** 2))
    torch.testing.assert_close(row[k], expected / expected.sum(), atol=2e-3, rtol=0)
    flat, _ = augmented(torch.full((4, 3, 9, 9), 0.25), generator=seeded(9), augmentation=only(blur=30.0))
    torch.testing.assert_close(flat, torch.full((4, 3, 9, 9), 0.25))


def test_gamma_is_distributed_as_affact_says():
    pixels, _ = augmented(torch.full((4000, 3, 2, 2), 0.5), generator=seeded(10), augmentation=only(gamma=1.0))
    exponent = torch.log2(torch.log(pixels[:, 0, 0, 0].double()) / math.log(0.5))
    assert float(exponent.std()) == pytest.approx(1, rel=0.05)
    assert float(exponent.mean()) == pytest.approx(0, abs=0.05)
    assert pixels.min() >= 0
    assert pixels.max() <= 1


def test_augmentation_depends_on_its_generator_alone():
    drawn = faces.sample(4, seed=3, size=32)
    torch.manual_seed(1)
    one = augmented(drawn.pixels, drawn.landmarks, generator=seeded(4))
    torch.manual_seed(2)
    other = augmented(drawn.pixels, drawn.landmarks, generator=seeded(4))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], augmented(drawn.pixels, generator=seeded(5))[0])
    assert (one[0].shape, one[0].dtype) == ((4, 3, 32, 32), torch.float32)
    assert bool(((one[0] >= 0) & (one[0] <= 1)).all())


def test_training_that_names_an_augmentation_gets_it():
    from sightline.training.attributes.recipe import Recipe
    from sightline.training.attributes.run import changed

    pixels = faces.sample(4, seed=3, size=32).pixels
    seen = {kind: changed(pixels, Recipe(augment=kind), 4) for kind in ("affact", "light", "flip", "none")}
    assert torch.equal(seen["none"], pixels)
    assert torch.equal(seen["affact"], augmented(pixels, generator=seeded(4))[0])
    assert not any(torch.equal(seen[kind], pixels) for kind in ("affact", "light", "flip"))


def test_augmentation_that_cannot_be():
    with pytest.raises(InputError, match="angle must be 0 or more, not -1"):
        Augmentation(angle=-1)
    with pytest.raises(InputError, match="flip is a probability, not 2"):
        Augmentation(flip=2)
    with pytest.raises(InputError, match=r"takes float \(B, 3, H, W\), not"):
        augmented(torch.zeros(3, 8, 8), generator=seeded())
    with pytest.raises(InputError, match=r"landmarks must be \(1, 5, 2\)"):
        augmented(torch.zeros(1, 3, 8, 8), torch.zeros(5, 2), generator=seeded())
    with pytest.raises(InputError, match="size must be from 1 to the side of the images, 8 by 8; not 9"):
        augmented(torch.zeros(1, 3, 8, 8), generator=seeded(), size=9)


# Real faces


@pytest.mark.real
def test_real_faces_lie_where_the_published_ones_do(assets: Path) -> None:
    """The landmarks here were found by a network at half size; its eyes are up to 1.5 pixels of 224 further apart."""
    records = annotations.celeba(assets / "celeba", part="test", landmarks=True)
    marks = torch.stack([r.landmarks for r in records])
    geometry = Alignment()
    placed = torch.stack([geometry.warp(points, (109, 89), 224).points(points) for points in marks]).mean(0) + 0.5
    assert float((placed[:2].mean(0) - MEAN[:2].mean(0)).abs().max()) < 1
    assert float((placed[2] - MEAN[2]).abs().max()) < 1
    assert float((placed[3:].mean(0) - MEAN[3:].mean(0)).abs().max()) < 1
    assert float((placed - MEAN).abs().max()) < 1.6
    # Published: 10,458 of 19,962 of the test part are frontal (0.524).
    assert float(frontal(marks).double().mean()) == pytest.approx(10458 / 19962, abs=0.09)
    sample = Preparation(fit="align").load(records[0], 96)
    assert sample.pixels.shape == (3, 96, 96)
    assert sample.landmarks[:2].mean(0).tolist() == pytest.approx([47.5, 0.45 * 96 - 0.5])

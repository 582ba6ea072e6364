"""Imputation against a direct solution, and ROAD against its definition."""

import os
import subprocess
import sys

import pytest
import torch

import reference_metrics_faithfulness as slow
import sightline as sl
from metrics_case import SIZE, classifier, maps_of, pixels, planted, probability
from sightline.errors import MetricError
from sightline.metrics import Session, Trial
from sightline.metrics.faithfulness import _imputation, _multigrid
from sightline.metrics.faithfulness._imputation import fill
from sightline.metrics.metric import find


@pytest.fixture(params=["numba", "torch"])
def solver(request, monkeypatch):
    """Both implementations; float32 on a CPU goes to the first where Numba is installed."""
    if request.param == "torch":
        monkeypatch.setattr(_imputation, "_for_processors", lambda: None)
    else:
        pytest.importorskip("numba")
        assert _imputation._for_processors() is not None
    return request.param


def holes_of(kind, H=37, W=50):
    rows, columns = torch.arange(H)[:, None].expand(H, W), torch.arange(W).expand(H, W)
    generator = torch.Generator().manual_seed(4)
    blobs = torch.nn.functional.interpolate(torch.rand(1, 1, 5, 5, generator=generator), (H, W), mode="bilinear")[0, 0]
    return {
        "dust": torch.rand(H, W, generator=generator) < 0.6,
        "blobs": blobs > blobs.median(),
        "almost all": blobs > blobs.flatten().kthvalue(20).values,
        "stripes": columns % 2 == 0,
        "two pixels known": ~(((rows == 3) & (columns == 5)) | ((rows == 30) & (columns == 44))),
        "edge": rows >= H - 16,
        "corner": (rows >= H - 16) & (columns >= W - 16),
        "one pixel": (rows == 0) & (columns == 0),
        "none": torch.zeros(H, W, dtype=torch.bool),
    }[kind]


@pytest.mark.parametrize("kind", ["dust", "blobs", "almost all", "stripes", "two pixels known", "one pixel", "none"])
def test_imputation_equals_a_direct_solution(kind, solver):
    hole = holes_of(kind)
    image = torch.rand(3, *hole.shape, generator=torch.Generator().manual_seed(6))
    for accuracy in (1e-3, 2e-5):
        found = fill(image[None], hole[None], accuracy=accuracy)[0]
        assert torch.equal(found[:, ~hole], image[:, ~hole])
        assert float((found - slow.imputed(image, hole)).abs().max()) < accuracy


@pytest.mark.parametrize("kind", ["edge", "corner"])
@pytest.mark.parametrize("accuracy", [1e-3, 2e-5])
def test_imputation_begins_anew_where_its_corrections_overshoot(kind, accuracy, solver):
    """Holes at an edge that begin on points of all grids: four in five parts of the error outlive a cycle."""
    holes = torch.stack([holes_of(kind, 64, 64), holes_of("blobs", 64, 64)])
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(6))
    given_up = _multigrid._tried(images, holes, accuracy, torch.empty_like(images), _multigrid.BEND)
    assert given_up.tolist() == [True, False]
    for found, image, hole in zip(fill(images, holes, accuracy=accuracy), images, holes, strict=True):
        assert float((found - slow.imputed(image, hole)).abs().max()) < accuracy


@pytest.mark.parametrize("size", [(1, 9), (2, 2), (3, 5), (17, 4), (8, 64), (200, 1), (33, 34)])
@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_imputation_of_any_size(size, dtype, accuracy, solver):
    image = torch.rand(2, *size, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    hole = torch.rand(size, generator=torch.Generator().manual_seed(7)) < 0.5
    hole[0, 0] = False
    found = fill(image[None].to(dtype), hole[None], accuracy=accuracy)[0]
    assert found.dtype == dtype
    assert float((found - slow.imputed(image, hole)).abs().max()) < 10 * accuracy


def test_imputation_of_a_batch_is_a_loop_and_stops_for_each_image(solver):
    kinds = ["dust", "blobs", "almost all", "two pixels known"] * 4  # 16 go channel by channel, fewer all at once
    holes = torch.stack([holes_of(kind) for kind in kinds])
    images = torch.rand(16, 3, *holes.shape[1:], generator=torch.Generator().manual_seed(6))
    images[3] *= 100  # takes a step more than others
    whole, five = fill(images, holes), fill(images[:5], holes[:5])
    for n in range(6):
        alone = fill(images[n : n + 1], holes[n : n + 1])[0]
        assert torch.allclose(whole[n], alone, atol=1e-5 if n != 3 else 1e-3)
        assert n == 5 or torch.allclose(five[n], alone, atol=1e-5 if n != 3 else 1e-3)


def test_imputation_keeps_to_the_values_around_it(solver):
    hole = holes_of("blobs")
    image = torch.rand(3, *hole.shape, generator=torch.Generator().manual_seed(6))
    image[:, hole] = 1e3  # what stands in holes does not matter
    found = fill(image[None], hole[None])[0]
    known = image[:, ~hole]
    assert float(found.max()) <= float(known.max()) + 1e-3
    assert float(found.min()) >= float(known.min()) - 1e-3


def test_imputation_refuses_what_it_cannot_fill(solver):
    hole = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(MetricError, match="without a single known pixel"):
        fill(torch.rand(1, 3, 4, 4), hole)
    hole[0, 0] = False
    with pytest.raises(MetricError, match="finite"):
        fill(torch.full((1, 3, 4, 4), torch.nan), hole)


def test_imputation_is_the_same_with_any_number_of_threads_and_from_any_memory(solver):
    holes = torch.stack([holes_of(kind) for kind in ("dust", "blobs", "stripes")])
    images = torch.rand(3, 3, *holes.shape[1:], generator=torch.Generator().manual_seed(6))
    expected, threads = fill(images, holes), torch.get_num_threads()
    strided = images.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    strided_holes = holes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        other = fill(strided, strided_holes)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(other, expected)
    assert torch.equal(fill(images.requires_grad_(), holes), expected)


def test_imputation_goes_on_where_what_is_compiled_cannot_be_kept(tmp_path):
    pytest.importorskip("numba")
    code = """
import resource, torch
from sightline.metrics.faithfulness._imputation import _for_processors, fill
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as a full disk
hole = torch.rand(2, 9, 9) < 0.5
print(tuple(fill(torch.rand(2, 3, 9, 9), hole).shape), _for_processors() is not None)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "(2, 3, 9, 9) True\n", done.stderr


def test_imputation_agrees_with_pytorch_grad_cam(solver):
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    hole = holes_of("blobs", 24, 31)
    image = torch.rand(3, 24, 31, generator=torch.Generator().manual_seed(6))
    theirs = road.NoisyLinearImputer(noise=0.0)(image, (~hole).float())
    assert float((fill(image[None], hole[None], accuracy=1e-6)[0] - theirs).abs().max()) < 1e-5


# ROAD


def test_road_equals_its_definition():
    clf, x, maps, shares = classifier(), pixels(2), maps_of(2), (0, 25, 60)
    out = planted(clf, x, maps)
    asked = [("road", {"order": o, "percentages": shares, "noise": 0.0}) for o in ("morf", "lerf")]
    asked.append(("road-combined", {"percentages": shares, "noise": 0.0}))
    found = sl.evaluate(clf, x, out, asked, backend="eager").records
    for n in range(2):
        c, curves = out.targets[n].category, []
        for S in (maps[n], -maps[n]):
            holes = [slow.mask_of(S, slow.hottest(S, round(SIZE * SIZE * q / 100))) for q in shares]
            curves.append([probability(slow.imputed(x[n], hole), c) for hole in holes])
        morf, lerf = torch.tensor(curves, dtype=torch.float64)
        assert torch.allclose(found[0][2].curve[n], morf, atol=1e-4)
        assert torch.allclose(found[1][2].curve[n], lerf, atol=1e-4)
        assert float(found[0][2].value[n]) == pytest.approx(float(morf.mean()), abs=1e-4)
        assert float(found[2][2].value[n]) == pytest.approx(float((lerf - morf).mean() / 2), abs=1e-4)


def test_road_without_removal_is_the_probability_bit_for_bit():
    clf, x = classifier(), pixels()
    out = planted(clf, x, maps_of())
    trial = Trial(Session(clf, x), out)
    found = find("road").function(trial, percentages=(0,))
    assert torch.equal(found.value, trial.margin().sigmoid())
    assert trial.session.asking.passes == len(x)  # as they are


def test_road_draws_one_noise_an_image_and_percentage():
    """Two maps that remove the same pixels in another order see the same noise; another seed or share sees another."""
    clf, x, maps = classifier(), pixels(), maps_of()
    half = maps > maps.flatten(1).median(1).values[:, None, None]
    warped = torch.where(half, 0.5 + maps / 2, maps**3 / 8)
    settings = {"percentages": (50, 25), "noise": 0.2}

    def road(maps, **more):
        return sl.evaluate(clf, x, planted(clf, x, maps), [("road", settings)], backend="eager", **more)["road"].curve

    assert torch.equal(road(maps), road(warped))
    assert not torch.allclose(road(maps), road(maps, seed=1), atol=1e-4)


def test_road_runs_once_for_all_that_use_it():
    clf, x = classifier(), pixels()
    session = Session(clf, x)
    trial = Trial(session, planted(clf, x, maps_of()))
    for name in ("road", "road-combined"):
        find(name).function(trial)
    assert session.asking.passes == (1 + 2 * 4) * 3


@pytest.mark.parametrize("shares", [(100,), (-1,), (20, 99.9), ()])
def test_road_refuses_percentages_that_leave_nothing(shares):
    clf, x = classifier(), pixels()
    with pytest.raises(MetricError, match="percentages"):
        sl.evaluate(clf, x, planted(clf, x, maps_of()), [("road", {"percentages": shares})])


def test_road_knows_its_direction_and_its_cost():
    record = find("road")
    assert record.better({"order": "morf"}) == "down"
    assert record.better({"order": "lerf"}) == "up"
    assert record.forwards({**record.settings, "percentages": (0, 20, 40)}, (8, 8)) == 2
    clf, x = classifier(), pixels()
    out = planted(clf, x, maps_of())
    with pytest.raises(MetricError, match="most relevant first"):
        sl.evaluate(clf, x, out, [("road", {"order": "most"})])

"""Relevance by region: shares, densities, and what differs between the values of a factor."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from sightline.errors import InputError
from sightline.studies.generalising import parts


def corner(count, size, part):
    mask = torch.zeros(count, size, size, dtype=torch.bool)
    mask[:, :part, :part] = True
    return mask


def slow_share(R, mask):
    """sum over the region of R+ / sum of R+, pixel by pixel, after bilinear upsampling in float64."""
    up = torch.nn.functional.interpolate(
        torch.tensor(np.maximum(R, 0))[None, None].double(), size=mask.shape, mode="bilinear", align_corners=False
    )[0, 0]
    inside = sum(float(up[y, x]) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x])
    return inside / float(up.sum())


@pytest.mark.parametrize("cells", [8, 3])
def test_shares_equal_their_definition(cells):
    R = np.random.default_rng(0).normal(size=(3, cells, cells))
    masks = {"a": corner(3, 8, 4), "b": torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.7}
    found = parts.rows(R, masks, model="m", method="lrp", images=[4, 5, 9])
    for row in found:
        n = [4, 5, 9].index(row["image_index"])
        mask = masks[row["region"]] if row["region"] in masks else ~(masks["a"] | masks["b"])
        assert row["share"] == pytest.approx(slow_share(R[n], mask[n]), abs=1e-6), row
        assert row["area"] == pytest.approx(float(mask[n].float().mean()))
    assert [row["region"] for row in found] == [r for r in ("a", "b", "elsewhere") for _ in range(3)]


def test_a_map_larger_than_its_mask_counts_pixels_by_the_part_that_is_covered():
    small = torch.tensor([[[True, False], [False, False]]])
    R = np.ones((1, 3, 3), dtype=np.float32)
    (row, rest) = parts.rows(R, {"a": small}, model="m", method="lrp", images=[0])
    assert row["share"] == pytest.approx(2.25 / 9)  # a pixel and a half each way
    assert row["share"] + rest["share"] == pytest.approx(1)
    assert row["area"] == 0.25


def test_maps_without_positive_relevance_have_no_share():
    R = np.ones((4, 4, 4), dtype=np.float32)
    R[0], R[1, 2, 2], R[2] = -1, np.nan, 0
    found = parts.rows(R, {"a": corner(4, 4, 2)}, model="m", method="lrp", images=range(4))
    assert [row["share"] for row in found if row["region"] == "a"] == [None, None, None, 0.25]


def test_what_does_not_fit_is_refused():
    R = np.ones((2, 4, 4))
    for maps, masks, images in (
        (R, {"a": corner(3, 4, 2)}, [0, 1]),
        (R, {"a": corner(2, 4, 2)}, [0]),
        (R, {"a": corner(2, 4, 2), "b": corner(2, 5, 2)}, [0, 1]),
        (R, {}, [0, 1]),
    ):
        with pytest.raises(InputError, match="need masks"):
            parts.rows(maps, masks, model="m", method="lrp", images=images)


def run_of(shares, area=0.25, factors=None):
    """A run with one region whose shares (M, n) are given."""
    members = {f"m{i}": {"task": "a" if i < len(shares) // 2 else "b"} for i in range(len(shares))}
    lines = [
        {
            "model": m,
            "method": "lrp",
            "image_index": n,
            "region": "eyes",
            "share": None if np.isnan(v) else v,
            "area": a,
        }
        for m, row in zip(members, shares, strict=True)
        for n, (v, a) in enumerate(zip(row, np.broadcast_to(area, len(row)), strict=True))
    ]
    frame = pl.DataFrame(lines, infer_schema_length=None)
    return SimpleNamespace(
        members=tuple(members), factors=factors or members, methods=("lrp",), parts_rows=lambda: frame
    )


def test_the_table_equals_ratios_of_sums():
    shares = np.random.default_rng(1).uniform(0.1, 0.9, size=(6, 20))
    shares[0, :5] = np.nan
    area = np.where(np.arange(20) < 4, 0.0, 0.25)  # four images without the region
    found = parts.table(run_of(shares, area), resamples=200)
    for row in found.iter_rows(named=True):
        chosen = shares if row["group"] == parts.ALL else shares[:3] if row["group"] == "a" else shares[3:]
        there = chosen[:, 4:][~np.isnan(chosen[:, 4:])]
        assert row["share"] == pytest.approx(there.mean())
        assert row["area"] == pytest.approx(0.25)
        assert row["density"] == pytest.approx(there.mean() / 0.25)
        assert row["share_low"] < row["share"] < row["share_high"]
        assert row["low"] == pytest.approx(row["share_low"] / 0.25)
        assert row["images"] == 16
    assert found["models"].to_list() == [6, 3, 3]


def test_differences_are_found_where_they_are_and_not_where_they_are_not():
    generator = np.random.default_rng(2)
    wrong = 0
    for seed in range(20):
        same = generator.normal(0.4, 0.02, size=(10, 1)) + generator.normal(0, 0.1, size=(10, 40))
        (row,) = parts.differences(run_of(same), resamples=300, seed=seed).iter_rows(named=True)
        wrong += not row["low"] <= 0 <= row["high"]
        same[:5] += 0.15
        (row,) = parts.differences(run_of(same), resamples=300, seed=seed).iter_rows(named=True)
        assert row["low"] > 0
        assert row["difference"] == pytest.approx(row["density_a"] - row["density_b"])
    assert wrong <= 4  # about one in twenty


def test_the_order_of_models_does_not_matter():
    run = run_of(np.random.default_rng(3).uniform(size=(6, 12)))
    turned = SimpleNamespace(**{**vars(run), "members": run.members[::-1]})
    assert parts.table(run, resamples=100).equals(parts.table(turned, resamples=100))


def test_no_region_no_table():
    run = SimpleNamespace(members=("a", "b"), factors={"a": {}, "b": {}}, methods=("lrp",), parts_rows=pl.DataFrame)
    assert parts.table(run).is_empty()
    assert parts.differences(run).is_empty()
    nowhere = run_of(np.full((2, 3), 0.5), area=0.0)
    (row,) = parts.table(nowhere).filter(factor="").iter_rows(named=True)
    assert row["density"] is None
    assert "no image" in row["note"]

"""Similarity of maps after the mean map is taken off: against slow references, and by laws."""

import itertools

import numpy as np
import pytest

import reference_generalise as slow
from sightline.errors import InputError
from sightline.studies.generalising import similarity

COLUMNS = ("spearman", "pearson", "iou", "ssim")


def made(models=("a", "b", "c"), n=5, grid=9, shared=0.0, common=0.0, seed=0):
    """Pooled maps: a layout that all images share, what all models say of an image, and each map's own."""
    draw = np.random.default_rng(seed)
    layout, image = draw.normal(size=(grid, grid)), draw.normal(size=(n, grid, grid))
    return {
        m: similarity.pooled(shared * layout + common * image + draw.normal(size=(n, grid, grid)), grid) for m in models
    }


def answered(stacks, share=10.0, partner=1):
    kept = similarity.MeanMaps()
    for model, stack in stacks.items():
        for block in (stack[:2], stack[2:]):  # as they come
            kept.add(model, block)
    means = {model: kept.mean(model) for model in stacks}
    others = {model: np.roll(stack, -partner, axis=0) for model, stack in stacks.items()}
    n = len(next(iter(stacks.values())))
    return similarity.rows(stacks, others, means, range(10, 10 + n), "lrp", share)


@pytest.mark.parametrize(("size", "grid"), [((12, 12), 4), ((7, 10), 4), ((3, 5), 4), ((4, 4), 4)])
def test_maps_are_pooled_by_area_to_unit_length(size, grid):
    maps = np.random.default_rng(1).normal(size=(3, *size)).astype(np.float32)
    found = similarity.pooled(maps, grid)
    for m, p in zip(maps, found, strict=True):
        assert p == pytest.approx(slow.pooled(m.astype(np.float64), grid), abs=1e-12)
    assert np.sqrt((found**2).sum((1, 2))) == pytest.approx(1)


def test_the_scale_of_a_map_is_nothing_and_a_map_of_nothing_is_none():
    maps = np.random.default_rng(2).normal(size=(4, 8, 8))
    assert similarity.pooled(maps * 1e-200, 4) == pytest.approx(similarity.pooled(maps, 4))
    maps[1], maps[2, 0, 0] = 0, np.nan
    found = similarity.pooled(maps, 4)
    assert np.isnan(found).all((1, 2)).tolist() == [False, True, True, False]


@pytest.mark.parametrize("share", [10.0, 25.0])
def test_every_value_is_that_of_a_loop(share):
    stacks = made(shared=1.0, common=1.0)
    means = {m: np.mean(list(stack), axis=0) for m, stack in stacks.items()}
    found = answered(stacks, share)
    assert [(r["image_index"], r["model_a"], r["model_b"]) for r in found] == [
        (10 + n, a, b) for n in range(5) for a, b in itertools.combinations("abc", 2)
    ]
    for row in found:
        n, a, b = row["image_index"] - 10, row["model_a"], row["model_b"]
        own = [stacks[m][n] - means[m] for m in (a, b)]
        far = [stacks[m][(n + 1) % 5] - means[m] for m in (a, b)]
        for end, pair in (("", own), ("_raw", [stacks[m][n] for m in (a, b)])):
            assert row[f"spearman{end}"] == pytest.approx(slow.spearman(*pair), abs=1e-10)
            assert row[f"pearson{end}"] == pytest.approx(slow.pearson(*pair), abs=1e-10)
            assert row[f"iou{end}"] == pytest.approx(slow.overlap(*pair, share), abs=1e-10)
            assert row[f"ssim{end}"] == pytest.approx(slow.ssim(*pair), abs=1e-10)
        for name in ("spearman", "pearson"):
            measure = getattr(slow, name)
            both_ways = (measure(own[0], far[1]) + measure(own[1], far[0])) / 2
            assert row[f"{name}_other"] == pytest.approx(both_ways, abs=1e-10)
        assert row["method"] == "lrp"


def test_a_shared_layout_is_similarity_until_the_mean_map_is_taken_off():
    found = answered(made(n=40, grid=12, shared=3.0))
    raw, own, chance = (np.mean([r[c] for r in found]) for c in ("pearson_raw", "pearson", "pearson_other"))
    assert raw > 0.8
    assert abs(own) < 0.05
    assert abs(chance) < 0.05


def test_what_models_say_of_an_image_stays_and_does_not_carry_to_others():
    found = answered(made(n=40, grid=12, shared=3.0, common=2.0))
    own, chance = (np.mean([r[c] for r in found]) for c in ("spearman", "spearman_other"))
    assert own > 0.6
    assert abs(chance) < 0.06


def test_a_twin_is_wholly_alike_whatever_its_scale():
    stacks = made(models=("a",), n=6)
    stacks["b"] = stacks["a"]
    for row in answered(stacks):
        assert [row[c] for c in COLUMNS] == pytest.approx([1] * 4)
        assert [row[f"{c}_raw"] for c in COLUMNS] == pytest.approx([1] * 4)


def test_the_order_of_models_and_images_does_not_matter():
    stacks = made(n=6, common=1.0)
    first = {(r["image_index"], *sorted((r["model_a"], r["model_b"]))): r for r in answered(stacks)}
    turned = {m: stacks[m][::-1] for m in reversed(stacks)}
    for row in answered(turned, partner=-1):
        same = first[(25 - row["image_index"], *sorted((row["model_a"], row["model_b"])))]
        for name, value in row.items():
            if isinstance(value, float):
                assert value == pytest.approx(same[name], abs=1e-12)


def test_missing_and_flat_maps_have_no_similarity():
    stacks = made(n=4)
    stacks["b"][1] = np.nan
    values = {(r["image_index"], r["model_a"], r["model_b"]): r for r in answered(stacks)}
    for pair in (("a", "b"), ("b", "c")):
        assert all(values[11, *pair][c] is None and values[11, *pair][f"{c}_raw"] is None for c in COLUMNS)
        assert values[10, *pair]["spearman"] is not None
        assert values[10, *pair]["spearman_other"] is None  # its other image is the one without a map
    assert values[11, "a", "c"]["spearman"] is not None
    alone = {m: np.repeat(stack[:1], 4, axis=0) for m, stack in made().items()}  # one image: nothing is its own
    for row in answered(alone):
        assert all(row[c] is None for c in COLUMNS)
        assert row["pearson_raw"] is not None


def test_bad_input_is_refused():
    stacks = made()
    means = {m: s.mean(0) for m, s in stacks.items()}
    with pytest.raises(InputError, match="at least two"):
        similarity.rows({"a": stacks["a"]}, stacks, means, range(5), "lrp")
    with pytest.raises(InputError, match="no mean map"):
        similarity.rows(stacks, stacks, {"a": means["a"]}, range(5), "lrp")
    with pytest.raises(InputError, match="5 maps of each model, but 3 images"):
        similarity.rows(stacks, stacks, means, range(3), "lrp")
    with pytest.raises(InputError, match="share"):
        similarity.rows(stacks, stacks, means, range(5), "lrp", 0)
    with pytest.raises(InputError, match="one shape"):
        similarity.rows({**stacks, "b": stacks["b"][:3]}, stacks, means, range(5), "lrp")
    with pytest.raises(InputError, match="grid"):
        similarity.pooled(np.ones((2, 3, 3)), 0)
    with pytest.raises(InputError, match="no map of 'z'"):
        similarity.MeanMaps().mean("z")

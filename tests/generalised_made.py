"""Folders of generalisation studies with known numbers, for the tests of their report.

Pixels carry over within a pretraining (G about 0.8) and hardly across (about 0.1); over a task somewhat less than over
a seed. Those of ImageNet's models serve the others better than the other way round. The own map of the last model is no
better than random pixels, so that nothing can be said of it as a target.
"""

import itertools
import json

import numpy as np
import polars as pl
from PIL import Image

from sightline import store
from sightline.studies.generalising import similarity, tables
from sightline.studies.generalising.maps import Kept
from sightline.studies.generalising.masks import CONTROLS

METHODS = ("lrp (composite=epsilon-plus)", "lrp (composite=epsilon)")
LEVELS = (1, 5, 20, 50, 75)
REGIONS = {"eyes": 0.08, "mouth": 0.06, "background": 0.5}
VARIANTS = ("own", "other-class", "randomised")
SIDE = 24
_GAIN = {"random": 0.0, "bottom": -0.3, "centre": 0.25, "edges": 0.1, "mean-map": 0.5, "other-image": 0.4}
_GAIN |= {"randomised": 0.05, "upper-random": 0.15, "other-class": 0.3}


def members(seeds=3):
    """Model -> factors."""
    made = itertools.product(("imagenet", "scratch"), ("Male", "Smiling"), map(str, range(seeds)))
    return {f"{p}-{t}-{s}": {"pretraining": p, "task": t, "seed": s} for p, t, s in made}


def manifest(family, images, methods, controls, regions=tuple(REGIONS)):
    """As the study writes it."""
    return {
        "study": "generalise",
        "settings": {},
        "family": {"name": "made", "factors": list(next(iter(family.values()))), "members": family},
        "models": {
            name: {"weights": "ab12cd34", "size": [64, 64], "target": f"{f.get('task', '-')}: the answer made",
                   "truth": f.get("task")} for name, f in family.items()
        },
        "methods": [{"name": "lrp", "label": label} for label in methods],
        "levels": list(LEVELS), "fills": ["dataset-mean"], "modes": ["keep"], "controls": list(controls),
        "regions": list(regions), "labels": {name: ["no", "yes"] for name in family},
        "data": {"images": images, "root": "faces"},
        "protocol": {"ranking": "raw signed relevance", "fills": "dataset-mean",
                     "fill colours": {"64x64": [0.4, 0.4, 0.5]}},
        "versions": {"sightline": "0.1.0"}, "seed": 0, "created": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip


def quality(source, target, family):
    """How much of the gain of a target's own pixels a source has."""
    if source in _GAIN:
        return _GAIN[source]
    a, b = family[source], family[target]
    value = 1.0 if source == target else 0.9
    value -= 0.15 * (a.get("task") != b.get("task"))
    if a.get("pretraining") != b.get("pretraining"):
        value = 0.25 if a["pretraining"] == "imagenet" else 0.05
    return value


def masked(family, images, method, controls, rng, useless):
    """Rows of decisions under masks; a decision is right (the truth) with the probability that follows."""
    shape = np.array([0.25, 0.55, 0.85, 0.95, 1.0])
    rows = []
    for target, source, image in itertools.product(family, (*family, *controls), images):
        much = 0.0 if target == useless and source == target else quality(source, target, family)
        gain = (0.42 if method == METHODS[0] else 0.3) * much
        p = np.clip(0.52 + gain * shape + 0.08 * rng.normal(size=len(LEVELS)), 0.02, 0.98)
        right = rng.random(len(LEVELS)) < p
        truth = image % 2
        rows.append((target, image, method, source, "dataset-mean", "keep", p, np.where(right, truth, 1 - truth)))
    return rows


def _maps(name, factors, count, rng):
    """Maps (N, SIDE, SIDE): a blob that all share, one of the pretraining, one of the image, and noise."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    blob = lambda cx, cy, s=0.15: np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s**2))  # noqa: E731
    where = {"imagenet": (0.35, 0.4), "scratch": (0.65, 0.7)}.get(factors.get("pretraining"), (0.5, 0.5))
    own = blob(*where, 0.1)
    found = []
    for i in range(count):
        place = np.random.default_rng(i).random(2)
        found.append(0.6 * blob(0.5, 0.5) + own + 0.8 * blob(*place, 0.08) + 0.1 * rng.normal(size=(SIDE, SIDE)))
    return np.array(found, dtype=np.float32)


def write_run(folder, *, family=None, count=30, failed=1, methods=METHODS, controls=CONTROLS, regions=REGIONS,
              thumbs=4, validity=6, seed=0):  # fmt: skip
    """A run's folder; the first `failed` images could not be read."""
    family = members() if family is None else family
    rng, images = np.random.default_rng(seed), list(range(failed, count))
    useless = list(family)[-1]
    with store.Run(folder, manifest(family, count, methods, controls, tuple(regions))) as run:
        kept = Kept(run.path, count)
        frames = {"decisions": _decisions(family, count, failed, rng)}
        rows, like, parts, valid = [], [], [], []
        for method in methods:
            rows += masked(family, images, method, controls, rng, useless)
            stacks = {}
            for name, factors in family.items():
                for variant in VARIANTS:
                    maps = _maps(name, factors, count, rng)[images]
                    kept.write(name, method, variant, images, maps)
                    stacks.setdefault(name, similarity.pooled(maps, 12))
            means = {name: stack.mean(0) for name, stack in stacks.items()}
            others = {name: np.roll(stack, 1, 0) for name, stack in stacks.items()}
            like += similarity.rows(stacks, others, means, images, method)
            parts += _parts(family, images, method, regions, rng)
            valid += _valid(family, images[:validity], method, rng)
        frames["masked"] = pl.DataFrame(rows, schema=tables.MASKED, orient="row")
        frames |= {"similarity": pl.DataFrame(like)}
        frames |= {"parts": pl.DataFrame(parts)} if parts else {}
        frames |= {"validity": pl.DataFrame(valid)} if valid else {}
        run.finish({"name": "all", "images": count}, frames)
        (run.path / store.PICTURES).mkdir(exist_ok=True)
        for index in images[:thumbs]:
            pixels = np.random.default_rng(index).integers(0, 255, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((112, 112)).save(run.path / store.PICTURES / f"{index}.jpg")
    return folder


def _decisions(family, count, failed, rng):
    rows = []
    for name, i in itertools.product(family, range(count)):
        row = {"model": name, "image_index": i, "image": f"{i}.png"}
        if i < failed:
            row |= {"status": "error", "error": "the image cannot be read"}
        else:
            truth = i % 2
            decision = truth if rng.random() < 0.94 else 1 - truth
            row |= {"target": "yes", "p": 0.9, "margin": 2.0, "decision": decision, "truth": truth, "status": "ok"}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.DECISIONS)


def _parts(family, images, method, regions, rng):
    share = {"eyes": 0.3, "mouth": 0.1, "background": 0.2}
    return [
        {"model": name, "method": method, "image_index": i, "region": region, "area": area,
         "share": float(np.clip(share[region] + 0.1 * (name.startswith("scratch")) + 0.03 * rng.normal(), 0, 1))}
        for name in family for i in images for region, area in regions.items()
    ]  # fmt: skip


def _valid(family, images, method, rng):
    stages = {"head": 0.9, "upper quarter": 0.7, "upper half": 0.5, "upper three quarters": 0.3, "all": 0.05}
    rows = []
    for name, i in itertools.product(family, images):
        for check, stage, share, value in (
            ("class-swap", "", 0.0, 0.3),
            *(("cascade", stage, (k + 1) / 5, v) for k, (stage, v) in enumerate(stages.items())),
        ):
            value = float(np.clip(value * (1.0 if "plus" in method else 0.4) + 0.05 * rng.normal(), -1, 1))
            row = {"model": name, "method": method, "image_index": i, "check": check, "stage": stage, "share": share}
            rows.append(row | dict.fromkeys(
                ("spearman", "pearson", "spearman_raw", "pearson_raw", "spearman_abs", "iou"), value))  # fmt: skip
    return rows


def told(folder):
    """The manifest as it stands."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

"""Folders of benchmark runs with known numbers, for the tests of reports."""

import numpy as np
import polars as pl
from PIL import Image

from sightline import store

METHODS = {"grad-cam": 0.62, "layer-cam": 0.60, "rise(masks=500)": 0.66, "saliency": 0.35}
CONTROLS = {"uniform": 0.30, "random": 0.34, "centre": 0.48}
METRICS = {
    "average-drop": ("faithfulness", "down", (0, 1)),
    "increase-in-confidence": ("faithfulness", "up", (0, 1)),
    "insertion": ("faithfulness", "up", (0, 1)),
    "deletion": ("faithfulness", "down", (0, 1)),
    "pointing-game": ("localisation", "up", (0, 1)),
    "entropy": ("complexity", "down", (0, None)),
}
SECONDS = {"grad-cam": 0.02, "layer-cam": 0.025, "rise(masks=500)": 9.0, "saliency": 0.03}


def manifest(models=("small", "large"), methods=METHODS, controls=CONTROLS, metrics=METRICS):
    """A manifest as `sightline bench` writes it."""
    return {
        "study": "benchmark",
        "plan": {"data": "photos"},
        "models": {m: {"source": f"torchvision:{m}", "fingerprint": "ab12cd34", "forwards": 1234} for m in models},
        "methods": [
            {
                "name": name.partition("(")[0],
                "label": name,
                "settings": {"masks": 500} if "(" in name else {},
                "control": name in controls,
                "forwards": 500 if "rise" in name else 1,
            }
            for name in (*controls, *methods)
        ],
        "metrics": [
            {
                "name": name,
                "label": name,
                "settings": {"steps": 56} if name in ("insertion", "deletion") else {},
                "direction": way,
                "range": list(ends),
                "family": family,
                "summary": f"What {name} says.",
            }
            for name, (family, way, ends) in metrics.items()
        ],
        "data": {"root": "photos", "images": 40, "broken": ["photos/torn.jpg"]},
        "protocol": {"space": "pixels", "class": "predicted", "score": "probability", "layer": "the last one"},
        "versions": {"sightline": "0.1.0", "torch": "2.6.0"},
        "seed": 3,
        "created": "2026-01-02T03:04:05+00:00",
    }


def rows(images, models=("small", "large"), methods=METHODS, controls=CONTROLS, metrics=METRICS, seed=0):
    """Tidy rows: quality of a method plus what is common to all methods of an image, plus noise."""
    rng = np.random.default_rng(seed)
    found = []
    for model in models:
        hard = rng.normal(0, 0.15, images)
        for method, quality in {**controls, **methods}.items():
            for metric, (_, way, _) in metrics.items():
                noise = rng.normal(0, 0.05, images)
                values = np.clip((quality if way == "up" else 1 - quality) + hard + noise, 0, 1)
                if metric in ("increase-in-confidence", "pointing-game"):
                    values = (values > 0.5).astype(float)
                if metric == "entropy":
                    values = 3 + 4 * values
                for i, value in enumerate(values.tolist()):
                    found.append(
                        {
                            "model": model,
                            "image": f"{'cat' if i % 2 else 'dog'}/{i:05d}.jpg",
                            "image_index": i,
                            "target": f"Category({i % 2})",
                            "category": i % 2,
                            "label": "cat" if i % 2 else "dog",
                            "method": method,
                            "metric": metric,
                            "value": value,
                            "status": "ok",
                            "error": None,
                            "seconds": 0.1,
                            "explain_seconds": SECONDS.get(method, 0.001),
                            "seed": 3,
                        }
                    )
    schema = {"error": pl.String, "value": pl.Float64}
    return pl.DataFrame(found, schema_overrides=schema, infer_schema_length=None)


def without(frame, where, status, error=None):
    """Rows that got another status: no value where it is undefined, refused or an error."""
    gone = pl.lit(status in ("undefined", "refused", "error")) & where
    return frame.with_columns(
        value=pl.when(gone).then(None).otherwise(pl.col("value")),
        status=pl.when(where).then(pl.lit(status)).otherwise(pl.col("status")),
        error=pl.when(where).then(pl.lit(error, pl.String)).otherwise(pl.col("error")),
    )


def curves(frame, points=33):
    """A curve for each row of insertion and deletion, whose area is near the value."""
    part = frame.filter(pl.col("metric").is_in(["insertion", "deletion"]) & pl.col("value").is_not_null())
    at = np.linspace(0, 1, points)
    made = []
    for row in part.iter_rows(named=True):
        v = min(max(row["value"], 0.02), 0.98)
        power = (1 - v) / v
        made.append((at**power if row["metric"] == "insertion" else 1 - at ** (1 / power)).tolist())
    keys = ["model", "image", "image_index", "target", "method", "metric"]
    return part.select(keys).with_columns(curve=pl.Series(made, dtype=pl.List(pl.Float64)))


def pictures(folder, models, methods, images):
    """Small pictures of some images and of all methods' maps."""
    place = folder / store.PICTURES
    place.mkdir(exist_ok=True)
    y, x = np.mgrid[0:96, 0:128] / 96
    for i in images:
        photo = np.stack([np.sin(7 * x + i) ** 2, y * np.cos(3 * y + i) ** 2, 0.5 + 0.4 * np.sin(9 * y * x)], -1)
        Image.fromarray((255 * photo.clip(0, 1)).astype(np.uint8)).save(place / f"{i}.jpg")
        for model in models:
            for k, method in enumerate(methods):
                heat = np.exp(-((x - 0.2 - 0.15 * k) ** 2 + (y - 0.3 - 0.05 * i) ** 2) / 0.05)
                map_ = np.stack([heat, 0.4 * heat, 0.5 * (1 - heat)], -1)
                name = f"{i}-{store.slug(model)}-{store.slug(method)}.png"
                Image.fromarray((255 * map_).astype(np.uint8)).save(place / name)


def write(folder, frame, *, about=None, lines=None, shown=()):
    """A whole run: manifest, rows and curves in two parts, pictures."""
    about = about or manifest()
    lines = curves(frame) if lines is None else lines
    with store.Run(folder, about) as run:
        half = frame["image_index"].max() // 2
        for name, where in (("part-0", pl.col("image_index") <= half), ("part-1", pl.col("image_index") > half)):
            run.finish({"name": name}, {"rows": frame.filter(where), "curves": lines.filter(where)})
    if shown:
        pictures(folder, about["models"], [m["label"] for m in about["methods"]], shown)
    return folder

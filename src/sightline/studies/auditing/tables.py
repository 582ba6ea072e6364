"""The raw tables of an audit: what stands in each column."""

from typing import Any

import polars as pl

OUTCOMES = ("TP", "FP", "FN", "TN")

DECISIONS: dict[str, Any] = {
    "image": pl.String,
    "image_index": pl.Int64,
    "attribute": pl.String,
    "truth": pl.Int8,
    "z": pl.Float64,
    "outcome": pl.String,
    "b_head": pl.Float64,
    "b_layers": pl.Float64,
    "status": pl.String,
    "error": pl.String,
}

MAPS: dict[str, Any] = {
    "image_index": pl.Int64,
    "attribute": pl.String,
    "method": pl.String,
    "layer": pl.String,
    "outcome": pl.String,
    "sign": pl.Int8,
    "pe": pl.Float64,
    "empty": pl.Boolean,
    "area": pl.Float64,
    "energy": pl.Float64,
    "total": pl.Float64,
}

IMAGES: dict[str, Any] = {
    "image": pl.String,
    "image_index": pl.Int64,
    "status": pl.String,
    "error": pl.String,
    "frontal": pl.Boolean,
    "landmarks": pl.Boolean,
}

MEANS: dict[str, Any] = {
    "kind": pl.String,
    "attribute": pl.String,
    "method": pl.String,
    "layer": pl.String,
    "outcome": pl.String,
    "sign": pl.Int8,
    "n": pl.Int64,
    "shape": pl.List(pl.Int64),
    "sum": pl.List(pl.Float32),
}

BIASES: dict[str, Any] = {
    "image_index": pl.Int64,
    "attribute": pl.String,
    "layer": pl.String,
    "sign": pl.Int8,
    "value": pl.Float64,
    "z": pl.Float64,
}


def images_schema(groups: tuple[str, ...]) -> dict[str, Any]:
    """The columns of `images/`, with one for each group column."""
    return {**IMAGES, **{f"group_{name}": pl.String for name in groups}}

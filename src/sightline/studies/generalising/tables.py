"""The raw tables of the study: what stands in each column."""

from typing import Any

import polars as pl

IMAGES: dict[str, Any] = {
    "image": pl.String,
    "image_index": pl.Int64,
    "status": pl.String,
    "error": pl.String,
    "colours": pl.List(pl.Float64),
}

DECISIONS: dict[str, Any] = {
    "model": pl.String,
    "image_index": pl.Int64,
    "image": pl.String,
    "target": pl.String,
    "p": pl.Float64,
    "margin": pl.Float64,
    "decision": pl.Int64,
    "truth": pl.Int64,
    "status": pl.String,
    "error": pl.String,
}

MASKED: dict[str, Any] = {
    "target_model": pl.String,
    "image_index": pl.Int64,
    "method": pl.String,
    "source": pl.String,
    "fill": pl.String,
    "mode": pl.String,
    "p": pl.List(pl.Float32),
    "decision": pl.List(pl.Int32),
}

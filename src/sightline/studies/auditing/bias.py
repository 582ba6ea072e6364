"""How much of a decision is bias: of the head, of what is common to all images, and of every layer."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from sightline.studies.statistics.intervals import Array, divide, draws, ends, none, ratios

Reference = Literal["balanced", "plain"]
SCHEMA: dict[str, Any] = {
    "attribute": pl.String,
    "side": pl.String,
    "majority": pl.Boolean,
    "n": pl.Int64,
    **{
        f"{name}{end}": pl.Float64
        for name in ("mean_abs_z", "share_bias", "share_common", "share_own", "share_layers")
        for end in ("", "_low", "_high")
    },
    "layers_n": pl.Int64,
    "note": pl.String,
}
UNEXPLAINED = "unexplained"
LEAST_Z = 0.05
"""Mean |z| below which shares of it are refused."""


def with_evidence(rows: pl.DataFrame, reference: Reference = "balanced") -> pl.DataFrame:
    """Add e_common and e_own to decisions: z = b_head + e_common + e_own, exactly.

    e_common is the mean of z - b_head over a reference: `balanced`, the middle between the mean over images that have
    the attribute and the mean over those that have not, so that a rare side weighs as much as a frequent one; null
    where one of them is missing. Or `plain`, the mean over all images, which of a rare attribute is little else than
    the mean of its majority. e_own is what this image adds. Without an affine head b_head is null and counts as 0
    here: the bias is then part of e_common.
    """
    if not len(rows):
        return rows
    e = pl.col("z") - pl.col("b_head").fill_null(0.0)
    sides = [e.filter(pl.col("truth") == value).mean().over("attribute") for value in (0, 1)]
    common = (sides[0] + sides[1]) / 2 if reference == "balanced" else e.mean().over("attribute")
    return rows.with_columns(e_common=common).with_columns(e_own=e - pl.col("e_common"))


def bias(
    decisions: pl.DataFrame,
    layers: pl.DataFrame,
    errors: pl.DataFrame,
    *,
    reference: Reference = "balanced",
    resamples: int = 2000,
    seed: int = 0,
) -> pl.DataFrame:
    """A row an attribute and side of the decision.

    With s the sign of the decision, share_bias = mean(s b_head) / mean(|z|), share_common = mean(s e_common) /
    mean(|z|) and share_own = mean(s e_own) / mean(|z|): they sum to 1 and may be negative (what speaks against the
    decision). share_layers is the relevance of all biases of the network, FullGrad's account, over |z|, of `layers_n`
    images. Intervals: bootstrap over images; the reference is resampled too.
    """
    if not len(decisions):
        return pl.DataFrame(schema=SCHEMA)
    names = errors["attribute"].to_list()
    minority = dict(errors.select("attribute", "minority").iter_rows())
    z, y, b = matrices(decisions, names)
    lines = []
    shares = _shares(z, y, b, reference, resamples, seed)
    told = _layers(layers, resamples, seed)
    for i, name in enumerate(names):
        for side, s in (("yes", 1), ("no", -1)):
            line = {"attribute": name, "side": side, **shares[s, i], **told.get((name, s), {})}
            line["majority"] = None if minority.get(name) is None else minority[name] != side
            lines.append(line)
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")


def matrices(decisions: pl.DataFrame, names: list[str]) -> tuple[Array, Array, Array]:
    """z, truth and b_head, (images, attributes) each, images in the order of their numbers; NaN where unknown."""
    images, row = np.unique(decisions["image_index"].to_numpy(), return_inverse=True)
    column = decisions["attribute"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    found = []
    for name in ("z", "truth", "b_head"):
        out = np.full((len(images), len(names)), np.nan)
        out[row, column] = decisions[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        found.append(out)
    return found[0], found[1], found[2]


SHARES = ("mean_abs_z", "share_bias", "share_common", "share_own")


@dataclass(frozen=True)
class Drawn:
    """Figures of one side, in the order of `SHARES`.

    Attributes:
        whole: (4, A) of all images.
        draws: (r, 4, A) of each resample.
        n: (A,) decisions for this side.
    """

    whole: Array
    draws: Array
    n: Array


def drawn_shares(z: Array, y: Array, b: Array, reference: Reference, *, resamples: int, seed: int) -> dict[int, Drawn]:
    """Sign of the decision -> figures; the same seed and number of images give the same resamples."""
    there, A = ~np.isnan(z), z.shape[1]
    z0, head = np.nan_to_num(z), heads(b)
    base = np.nan_to_num(head)
    sides = {1: there & (z0 >= 0), -1: there & (z0 < 0)}
    classes = [there & (y == 1), there & (y == 0)] if reference == "balanced" else [there]
    parts = [np.abs(z0) * sides[1], sides[1], np.abs(z0) * sides[-1], sides[-1]]
    for chosen in classes:
        parts += [z0 * chosen, chosen]
    X = np.concatenate(parts, axis=1).astype(float)  # (images, parts x A)

    def figures(sums: Array, k: int, s: int) -> Array:
        p = sums.reshape(len(sums), len(parts), A)
        common = np.mean([divide(p[:, c], p[:, c + 1]) for c in range(4, len(parts), 2)], axis=0) - base
        m = divide(p[:, k], p[:, k + 1])
        of_head, of_common = divide(s * head + 0 * m, m), divide(s * common, m)
        return np.stack([m, of_head, of_common, 1 - np.nan_to_num(of_head) - of_common], 1)

    sums = np.concatenate([w @ X for w in draws(len(z), resamples, seed)])
    whole = X.sum(0, keepdims=True)
    return {s: Drawn(figures(whole, k, s)[0], figures(sums, k, s), sides[s].sum(0)) for s, k in ((1, 0), (-1, 2))}


def heads(b: Array) -> Array:
    """(A,) the bias of the head; NaN where the head is not affine."""
    return np.array([column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else np.nan for column in b.T])


def _shares(
    z: Array, y: Array, b: Array, reference: Reference, resamples: int, seed: int
) -> dict[tuple[int, int], dict[str, Any]]:
    """(sign, attribute) -> figures with intervals."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    headless = np.isnan(heads(b))
    for s, drawn in drawn_shares(z, y, b, reference, resamples=resamples, seed=seed).items():
        low, high = (e.reshape(drawn.whole.shape) for e in ends(drawn.draws.reshape(resamples, -1)))
        for i in range(z.shape[1]):
            n = int(drawn.n[i])
            line: dict[str, Any] = {"n": n}
            refused = n > 0 and drawn.whole[0, i] < LEAST_Z
            for k, name in enumerate(SHARES):
                if refused and k:
                    continue
                line[name] = none(drawn.whole[k, i])
                if n > 1:
                    line |= {f"{name}_low": none(low[k, i]), f"{name}_high": none(high[k, i])}
            line["note"] = _note(n, refused, bool(headless[i]), none(drawn.whole[2, i]))
            found[s, i] = line
    return found


def _note(n: int, refused: bool, headless: bool, common: float | None) -> str | None:
    if not n:
        return "no such decision"
    said = []
    if refused:
        said.append(f"refused: |z| is below {LEAST_Z} on average, so shares of it say nothing")
    if headless:
        said.append("the head is not affine, so its bias is part of what is common")
    if common is None and not refused:
        said.append("images of one class are missing, so what is common is not known")
    return "; ".join(said) or None


def _layers(layers: pl.DataFrame, resamples: int, seed: int) -> dict[tuple[str, int], dict[str, Any]]:
    """(attribute, sign) -> share of the biases of all layers."""
    if not len(layers):
        return {}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    explained = layers.filter(pl.col("layer") != UNEXPLAINED)
    whole = explained.group_by("attribute", "sign", "image_index", maintain_order=True).agg(
        pl.col("value").sum(), pl.col("z").first().abs()
    )
    for (name, sign), mine in whole.sort("attribute", "sign", "image_index").group_by("attribute", "sign"):
        top, bottom = (mine[c].to_numpy()[:, None] for c in ("value", "z"))
        if bottom.mean() < LEAST_Z:
            continue
        values = ratios(top, bottom, resamples=resamples, seed=seed)
        line: dict[str, Any] = {"layers_n": len(mine)}
        for end, value in zip(("", "_low", "_high"), values, strict=True):
            line[f"share_layers{end}"] = none(value[0])
        found[str(name), int(sign)] = line
    return found


def of_layers(layers: pl.DataFrame) -> pl.DataFrame:
    """A row an attribute, side and layer: n, and share = sum of the layer's bias relevance / sum of |z|."""
    if not len(layers):
        kinds = {"attribute": pl.String, "side": pl.String, "layer": pl.String, "n": pl.Int64, "share": pl.Float64}
        return pl.DataFrame(schema=kinds)
    return (
        layers.with_columns(side=pl.when(pl.col("sign") > 0).then(pl.lit("yes")).otherwise(pl.lit("no")))
        .group_by("attribute", "side", "layer", maintain_order=True)
        .agg(n=pl.len().cast(pl.Int64), share=pl.col("value").sum() / pl.col("z").abs().sum())
    )

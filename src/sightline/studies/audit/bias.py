"""How much of a decision is bias: of the head, of what is common to all images, and of every layer."""

from typing import Any, Literal

import numpy as np
import polars as pl

from sightline.studies.audit.intervals import Array, divide, draws, ends, none, ratios

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
    images, row = np.unique(decisions["image_index"].to_numpy(), return_inverse=True)
    column = decisions["attribute"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    z, y, b = (np.full((len(images), len(names)), np.nan) for _ in range(3))
    for out, name in ((z, "z"), (y, "truth"), (b, "b_head")):
        out[row, column] = decisions[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    lines = []
    shares = _shares(z, y, b, reference, resamples, seed)
    told = _layers(layers, resamples, seed)
    for i, name in enumerate(names):
        for side, s in (("yes", 1), ("no", -1)):
            line = {"attribute": name, "side": side, **shares[s, i], **told.get((name, s), {})}
            line["majority"] = None if minority.get(name) is None else minority[name] != side
            lines.append(line)
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")


def _shares(
    z: Array, y: Array, b: Array, reference: Reference, resamples: int, seed: int
) -> dict[tuple[int, int], dict[str, Any]]:
    """(sign, attribute) -> figures."""
    there, A = ~np.isnan(z), z.shape[1]
    z0 = np.nan_to_num(z)
    head = np.nanmean(np.where(there, b, np.nan), axis=0) if not np.isnan(b).all() else np.full(A, np.nan)
    base = np.nan_to_num(head)
    sides = {1: there & (z0 >= 0), -1: there & (z0 < 0)}
    classes = [there & (y == 1), there & (y == 0)] if reference == "balanced" else [there]
    parts = [np.abs(z0) * sides[1], sides[1], np.abs(z0) * sides[-1], sides[-1]]
    for chosen in classes:
        parts += [z0 * chosen, chosen]
    X = np.concatenate(parts, axis=1).astype(float)  # (images, parts x A)

    def figures(sums: Array) -> dict[int, Array]:
        """(r, parts x A) sums -> sign -> (r, 4, A): mean |z| and the three shares."""
        p = sums.reshape(len(sums), len(parts), A)
        common = np.mean([divide(p[:, k], p[:, k + 1]) for k in range(4, len(parts), 2)], axis=0) - base
        out = {}
        for k, s in ((0, 1), (2, -1)):
            m = divide(p[:, k], p[:, k + 1])
            bias_, common_ = divide(s * base + 0 * m, m), divide(s * common, m)
            out[s] = np.stack(
                [m, bias_ if not np.isnan(b).all() else np.nan * m, common_, 1 - np.nan_to_num(bias_) - common_], 1
            )
        return out

    whole = figures(X.sum(0, keepdims=True))
    drawn = [figures(w @ X) for w in draws(len(z), resamples, seed)]
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for s in (1, -1):
        low, high = ends(np.concatenate([d[s] for d in drawn]).reshape(resamples, -1))
        low, high = low.reshape(4, A), high.reshape(4, A)
        for i in range(A):
            n = int(sides[s][:, i].sum())
            line: dict[str, Any] = {"n": n}
            refused = n > 0 and whole[s][0, 0, i] < LEAST_Z
            for k, name in enumerate(("mean_abs_z", "share_bias", "share_common", "share_own")):
                if refused and k:
                    continue
                line[name] = none(whole[s][0, k, i])
                if n > 1:
                    line |= {f"{name}_low": none(low[k, i]), f"{name}_high": none(high[k, i])}
            line["note"] = _note(n, refused, bool(np.isnan(head[i])), none(whole[s][0, 2, i]))
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

"""From rows of edits to statements: what an edit of a region changes, beyond what the same edit changes elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.auditing.edits.permutation import permuted
from sightline.studies.statistics import LEVEL, RESAMPLES, holm, mcnemar, wilson

Array = NDArray[np.float64]
CELL = ("attribute", "edit", "direction", "region")
ALPHA = 0.05
_CHUNK = 2**22  # entries of the matrix of weights that are held at a time
_MEANS = ("effect_region", "effect_control", "difference")
_INTERVALS = (*_MEANS, "flip_region", "flip_control")
_FLOATS = (
    *(f"{name}{end}" for name in _INTERVALS for end in ("", "_low", "_high")),
    "effect_content", "shift_region", "shift_control", "accuracy_before", "accuracy_region", "accuracy_control",
    "p_accuracy", "p_accuracy_holm", "p", "p_holm",
)  # fmt: skip
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(CELL, pl.String),
    **dict.fromkeys(("n", "refused", "controls"), pl.Int64),
    "area": pl.Float64,
    **dict.fromkeys(_FLOATS, pl.Float64),
    "confirmed": pl.Boolean,
    "note": pl.String,
}


@dataclass(frozen=True, eq=False)
class _Cell:
    """Rows of one attribute, edit, direction and region: n images, C controls.

    Attributes:
        key: Which.
        images: (n,) numbers of the images.
        before: (n,) logit before.
        after: (n, 1 + C) logits after, the region's first.
        truth: (n,) 1, 0 or NaN.
        content: (n,) logit with other content at the same place; NaN where there is none.
        area: Mean share of the image.
        odd: Share of the controls of another shape.
    """

    key: tuple[str, ...]
    images: NDArray[np.int64]
    before: Array
    after: Array
    truth: Array
    content: Array
    area: float
    odd: float

    def effects(self, z: Array) -> Array:
        """Change of the probability of yes as it was meant: its fall, its rise, or for `neutral` its amount."""
        return _meant(self.key[2], _sigmoid(_column(self.before, z)), _sigmoid(z))


def interventions(
    frame: pl.DataFrame,
    *,
    seed: int = 0,
    min_group: int = 20,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    alpha: float = ALPHA,
) -> pl.DataFrame:
    """One line an attribute, edit, direction and region.

    The effect of an edit on an image is the change of the probability of yes in the direction that it means: its fall
    for `remove`, its rise for `insert`, its amount for `neutral`. An image's control effect is the mean over its
    controls.

    Args:
        frame: Rows of `engine.SCHEMA`.
        seed: Of the bootstrap.
        min_group: Images below which a line is not judged.
        resamples: Of the bootstrap over images, which all lines share.
        level: Of the intervals.
        alpha: Below which p_holm counts.

    Returns:
        n (images), refused (images that were not edited), controls (an image), area, effect_region, effect_control and
        their difference, flip_region and flip_control (share of images whose decision changed), each with _low and
        _high (bootstrap over images; Wilson for flips, as though each image had one control); effect_content (the same
        place with other content); shift_region and shift_control (in logits); accuracy before and after, with McNemar's
        p_accuracy for the region's edit; p (exact permutation test of region against controls) and p_holm, corrected
        for the whole table, as p_accuracy_holm is. `confirmed`: p_holm < alpha and the difference lies above 0 with its
        interval; null where that cannot be judged, and `note` says why.
    """
    if not len(frame):
        return pl.DataFrame(schema=COLUMNS)
    done = frame.filter(pl.col("status") == "ok")
    cells = list(_cells(done))
    ends = _bootstrap(cells, resamples, level, seed)
    lines = [_line(cell, *end, min_group, level) for cell, end in zip(cells, ends, strict=True)]
    table = pl.DataFrame(lines, schema={name: kind for name, kind in COLUMNS.items() if name != "refused"})
    table = table.with_columns(
        p_holm=pl.Series(holm(_numbers(table["p"]))).fill_nan(None),
        p_accuracy_holm=pl.Series(holm(_numbers(table["p_accuracy"]))).fill_nan(None),
    ).with_columns(
        confirmed=pl.when(pl.col("p").is_not_null()).then(
            (pl.col("p_holm") < alpha) & (pl.col("difference") > 0) & (pl.col("difference_low") > 0)
        )
    )
    return _with_refused(table, frame)


def _cells(rows: pl.DataFrame) -> Iterator[_Cell]:
    rows = rows.sort("image_index", "control", nulls_last=False)
    for key, group in rows.group_by(CELL, maintain_order=True):
        region = group.filter(pl.col("where") == "region")
        controls = group.filter(pl.col("where") == "control")
        content = group.filter(pl.col("where") == "content")
        wide = controls.pivot("control", index="image_index", values="z_after", aggregate_function="first")
        names = sorted((c for c in wide.columns if c != "image_index"), key=int)
        joined = region.join(wide, on="image_index", how="inner").join(
            content.select("image_index", content="z_after"), on="image_index", how="left"
        )
        yield _Cell(
            key=tuple(str(part) for part in key),
            images=joined["image_index"].to_numpy(),
            before=_numbers(joined["z_before"]),
            after=np.stack([_numbers(joined[c]) for c in ("z_after", *names)], 1),
            truth=_numbers(joined["truth"]),
            content=_numbers(joined["content"]),
            area=float(_numbers(joined["area"]).mean()),
            odd=float(controls["note"].is_not_null().mean() or 0),  # type: ignore[arg-type]
        )


def _line(cell: _Cell, low: Array, high: Array, min_group: int, level: float) -> dict[str, Any]:
    n, effects = len(cell.images), cell.effects(cell.after)
    there = ~np.isnan(effects[:, 1:])
    own, control = effects[:, 0], _row_means(effects[:, 1:])
    found: dict[str, Any] = dict(zip(CELL, cell.key, strict=True))
    found |= {"n": n, "controls": int(there.sum(1).max()), "area": cell.area}
    for j, (name, values) in enumerate(zip(_MEANS, (own, control, own - control), strict=True)):
        found |= {name: float(values.mean()), f"{name}_low": _known(low[j]), f"{name}_high": _known(high[j])}
    flips = np.where(np.isnan(cell.after), np.nan, (cell.after >= 0) != (cell.before >= 0)[:, None])
    for name, rate in (("flip_region", flips[:, 0].mean()), ("flip_control", _row_means(flips[:, 1:]).mean())):
        ends = wilson(min(rate * n, n), n, level=level)  # a mean over controls: as though each image had one
        found |= {name: float(rate), f"{name}_low": ends[0], f"{name}_high": ends[1]}
    shift = _meant(cell.key[2], _column(cell.before, cell.after), cell.after)
    found |= {"shift_region": float(shift[:, 0].mean()), "shift_control": float(_row_means(shift[:, 1:]).mean())}
    if not np.isnan(cell.content).all():
        found["effect_content"] = float(np.nanmean(cell.effects(cell.content[:, None])))
    found |= _accuracy(cell)
    notes = [f"{cell.odd:.0%} of the controls have another shape"] if cell.odd else []
    if n < min_group:
        notes.insert(0, f"fewer than {min_group} images: not judged")
    else:
        found["p"] = _p(effects)
    return {**dict.fromkeys(COLUMNS), **found, "note": "; ".join(notes) or None}


def _p(effects: Array) -> float:
    """The permutation test; images with fewer controls than others lack columns, and the test takes what all have."""
    whole = effects[:, ~np.isnan(effects).any(0)]
    return permuted(whole if whole.shape[1] > 1 else effects[~np.isnan(effects).any(1)])


def _accuracy(cell: _Cell) -> dict[str, float]:
    """Accuracy on the images whose truth is known, before and after, and McNemar's test of before against after."""
    known = ~np.isnan(cell.truth)
    if not known.any():
        return {}
    yes = cell.truth[known] == 1
    right = (cell.before[known] >= 0) == yes
    later = np.where(np.isnan(cell.after[known]), np.nan, (cell.after[known] >= 0) == yes[:, None])
    after = later[:, 0] == 1
    p = mcnemar(int((right & ~after).sum()), int((~right & after).sum()))
    return {
        "accuracy_before": float(right.mean()),
        "accuracy_region": float(after.mean()),
        "accuracy_control": float(_row_means(later[:, 1:]).mean()),
        "p_accuracy": p,
    }


def _bootstrap(cells: list[_Cell], resamples: int, level: float, seed: int) -> list[tuple[Array, Array]]:
    """Ends of the intervals of the three means of each cell: images are resampled once for all cells.

    A resample in which a cell has no image does not count for it.
    """
    if not cells:
        return []
    images = np.unique(np.concatenate([cell.images for cell in cells]))
    V, C = np.zeros((len(images), 3 * len(cells))), np.zeros((len(images), len(cells)))
    for j, cell in enumerate(cells):
        effects, rows = cell.effects(cell.after), np.searchsorted(images, cell.images)
        control = _row_means(effects[:, 1:])
        V[rows, 3 * j : 3 * j + 3] = np.stack([effects[:, 0], control, effects[:, 0] - control], 1)
        C[rows, j] = 1
    generator, N, draws = np.random.default_rng(seed), len(images), []
    step = max(1, _CHUNK // N)
    for start in range(0, resamples, step):
        W = generator.multinomial(N, np.full(N, 1 / N), size=min(step, resamples - start)).astype(np.float64)
        count = np.repeat(W @ C, 3, axis=1)
        draws.append(np.divide(W @ V, count, out=np.full(count.shape, np.nan), where=count > 0))
    ends = np.nanquantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2], axis=0)
    for j, cell in enumerate(cells):
        if len(cell.images) < 2:  # one image has no spread
            ends[:, 3 * j : 3 * j + 3] = np.nan
    return [(ends[0, 3 * j : 3 * j + 3], ends[1, 3 * j : 3 * j + 3]) for j in range(len(cells))]


def _with_refused(table: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Count what was refused beside each attribute and edit, and give those without any edit a line that says why."""
    refused = frame.filter(pl.col("status") == "refused")
    key = ["attribute", "edit"]
    counted = refused.group_by(key, maintain_order=True).agg(
        refused=pl.col("image_index").n_unique().cast(pl.Int64), why=pl.col("note").mode().sort().first()
    )
    table = table.join(counted.drop("why"), on=key, how="left", maintain_order="left")
    alone = counted.join(table.select(key), on=key, how="anti", maintain_order="left").with_columns(
        n=pl.lit(0, pl.Int64), note=pl.format("refused: {}", "why")
    )
    both = pl.concat([table, alone.drop("why")], how="diagonal")
    order = [name for name in CELL if name != "attribute"]
    found = both.with_columns(pl.col("refused").fill_null(0)).sort("attribute", *order, nulls_last=True)
    return found.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())


def _meant(direction: str, before: Array, after: Array) -> Array:
    change = after - before
    return -change if direction == "remove" else change if direction == "insert" else np.abs(change)


def _column(before: Array, like: Array) -> Array:
    return np.broadcast_to(before[:, None], like.shape)


def _sigmoid(z: Array) -> Array:
    from scipy.special import expit

    p: Array = expit(z)
    return p


def _row_means(values: Array) -> Array:
    """(n,) means over what is there."""
    out: Array = np.nanmean(values, axis=1)
    return out


def _numbers(column: pl.Series) -> Array:
    """float64 with NaN for null."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

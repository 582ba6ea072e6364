"""Two audits of the same images, before and after or one network against another: paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.auditing.bias import LEAST_Z, drawn_shares, matrices
from sightline.studies.auditing.evidence import dense
from sightline.studies.auditing.reading import Audit
from sightline.studies.statistics import holm, mcnemar
from sightline.studies.statistics.intervals import Array, drawn_ratios, ends, none, paired_difference

_ERRORS = ("FNR", "FPR", "minority_error", "majority_error", "balanced_error")
_PROTOCOL = ("regions", "preparation", "layers", "methods")


def _with(names: Sequence[str], parts: Sequence[str]) -> dict[str, Any]:
    return {f"{name}_{part}": pl.Float64 for name in names for part in parts}


_DIFFERENCE = ("a", "b", "difference", "difference_low", "difference_high")
ERRORS: dict[str, Any] = {
    "attribute": pl.String,
    "minority": pl.String,
    "n": pl.Int64,
    "positives": pl.Int64,
    "negatives": pl.Int64,
    **_with(_ERRORS, _DIFFERENCE),
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "note": pl.String,
}
EVIDENCE: dict[str, Any] = {
    **dict.fromkeys(("attribute", "method", "layer", "side"), pl.String),
    "majority": pl.Boolean,
    **dict.fromkeys(("n", "n_a", "n_b"), pl.Int64),
    **_with(("pe",), _DIFFERENCE),
    **_with(("empty_rate",), _DIFFERENCE),
}
BIAS: dict[str, Any] = {
    **dict.fromkeys(("attribute", "side"), pl.String),
    "majority": pl.Boolean,
    **dict.fromkeys(("n", "n_a", "n_b"), pl.Int64),
    **_with(("constant", "share_bias", "share_common"), _DIFFERENCE),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Differences b - a on the images, and attributes, that both audits have with the same truth.

    Attributes:
        a: The first audit.
        b: The second one.
    """

    a: Audit
    b: Audit

    @cached_property
    def pairs(self) -> pl.DataFrame:
        """A row a shared image and attribute: `pair` (the image's number here), truth, z_a, z_b, image_index_a and _b.

        Raises:
            InputError: No image or no attribute is in both, or their truths differ everywhere.
        """
        keys = ["image", "attribute"]
        frames = [audit.decisions().select(*keys, "image_index", "truth", "z") for audit in (self.a, self.b)]
        for key in keys:
            if not set(frames[0][key].unique()) & set(frames[1][key].unique()):
                raise InputError(
                    f"the audits {self.a.path} and {self.b.path} share no {key}, so nothing can be compared in pairs; "
                    "audit the same data twice"
                )
        both = frames[0].join(frames[1], on=keys, how="inner", suffix="_b")
        same = both.filter(pl.col("truth").eq_missing(pl.col("truth_b")))
        if not len(same):
            raise InputError(f"the audits {self.a.path} and {self.b.path} disagree on the truth of every image")
        numbers = same.select("image").unique().sort("image").with_row_index("pair")
        found = same.join(numbers, on="image").rename({"z": "z_a", "image_index": "image_index_a"})
        return found.drop("truth_b").with_columns(pl.col("pair").cast(pl.Int64)).sort("pair", "attribute")

    @property
    def images(self) -> int:
        """How many images both have."""
        return int(self.pairs["pair"].n_unique())

    @cached_property
    def attributes(self) -> list[str]:
        """The shared attributes, the rarest minority of the first audit first."""
        there = set(self.pairs["attribute"].unique())
        return [name for name in self.a.errors()["attribute"] if name in there]

    def notes(self) -> list[str]:
        """What else differs between the two, besides the classifier: such differences are no fault of it."""
        said = []
        for name in _PROTOCOL:
            x, y = (audit.manifest["settings"].get(name) for audit in (self.a, self.b))
            if x != y:
                said.append(f"{name} differ: {_short(x)} against {_short(y)}")
        for audit in (self.a, self.b):
            left = audit.decisions()["image"].n_unique() - self.images
            if left:
                said.append(f"{left} images of {audit.path.name} are not in the other audit and are left out")
        return said

    def _minority(self) -> dict[str, str | None]:
        return dict(self.a.errors().select("attribute", "minority").iter_rows())

    @cached_property
    def _errors(self) -> pl.DataFrame:
        minority, lines = self._minority(), []
        for name in self.attributes:
            mine = self.pairs.filter(pl.col("attribute") == name, pl.col("truth").is_not_null())
            y = mine["truth"].to_numpy().astype(bool)
            wrong = [(mine[z].to_numpy() >= 0) != y for z in ("z_a", "z_b")]
            line: dict[str, Any] = {"attribute": name, "minority": minority.get(name), "n": len(y)}
            line |= {"positives": int(y.sum()), "negatives": int((~y).sum())}
            line |= _of_errors(y, wrong[0], wrong[1], minority.get(name))
            if len(y):
                line["p"] = mcnemar(int((wrong[0] & ~wrong[1]).sum()), int((~wrong[0] & wrong[1]).sum()))
            if not y.any() or y.all():
                line["note"] = "the paired images are all of one truth, so one of the rates is undefined"
            lines.append(line)
        frame = pl.DataFrame(lines, schema=ERRORS, orient="row")
        corrected = holm(frame["p"].fill_null(np.nan).to_numpy())
        return frame.with_columns(p_holm=pl.Series(corrected, dtype=pl.Float64).fill_nan(None))

    def errors(self) -> pl.DataFrame:
        """A row an attribute: rates of a and of b, their paired difference with an interval, and a test.

        Intervals are Newcombe's for paired rates, combined by square-and-add for the balanced error; p is McNemar's
        exact test of right and wrong over all paired images, `p_holm` corrected over the attributes. Which side is the
        minority is the first audit's word.
        """
        return self._errors

    def evidence(self) -> pl.DataFrame:
        """A row an attribute, method, layer and side: mean proportional energy and rate of empty maps of both.

        Each audit's maps are those of its own decisions; `n_a` and `n_b` decisions were taken for the side, `n` of them
        by both. The difference of the means has a bootstrap interval over the paired images.
        """
        frames = [self._numbered(audit.maps(), which) for audit, which in ((self.a, "a"), (self.b, "b"))]
        lines: list[dict[str, Any]] = []
        if all(len(f) for f in frames):
            shared = frames[0].select("method", "layer").unique(maintain_order=True)
            shared = shared.join(frames[1].select("method", "layer").unique(), on=["method", "layer"], how="semi")
            for method, layer in shared.iter_rows():
                chosen = [f.filter(pl.col("method") == method, pl.col("layer") == layer) for f in frames]
                lines += self._of_maps(chosen, {"method": method, "layer": layer})
        frame = pl.DataFrame(lines, schema=EVIDENCE, orient="row")
        names = self.attributes
        order = pl.col("attribute").replace_strict(names, range(len(names)), return_dtype=pl.Int64)
        return frame.sort(order, maintain_order=True) if len(frame) else frame

    def bias(self) -> pl.DataFrame:
        """A row an attribute and side: `constant` = 1 - share_own, the part of the decision that every image shares.

        Its difference, and those of its two parts, have a bootstrap interval over the paired images.
        """
        names, minority = self.attributes, self._minority()
        drawn = []
        for audit, which in ((self.a, "a"), (self.b, "b")):
            rows = self._numbered(audit.decisions(), which)
            z, y, b = matrices(rows, names)
            drawn.append(drawn_shares(z, y, b, audit.common, resamples=self.a.resamples, seed=self.a.seed))
        lines = []
        for i, name in enumerate(names):
            for side, s in (("yes", 1), ("no", -1)):
                x, y_ = drawn[0][s], drawn[1][s]
                line: dict[str, Any] = {"attribute": name, "side": side, "n_a": int(x.n[i]), "n_b": int(y_.n[i])}
                line["majority"] = None if minority.get(name) is None else minority[name] != side
                line["n"] = self._both(name, s)
                judged = all(d.n[i] > 1 and d.whole[0, i] >= LEAST_Z for d in (x, y_))
                for what, k, turn in (("constant", 3, -1), ("share_bias", 1, 1), ("share_common", 2, 1)):
                    offset = 1.0 if what == "constant" else 0.0
                    values = [(offset + turn * d.whole[k, i], offset + turn * d.draws[:, k, i]) for d in (x, y_)]
                    line |= _difference(what, values[0], values[1]) if judged else {}
                lines.append(line)
        return pl.DataFrame(lines, schema=BIAS, orient="row")

    def _numbered(self, frame: pl.DataFrame, which: str) -> pl.DataFrame:
        """Rows of the pairs, their images numbered alike in both audits."""
        told = self.pairs.select("pair", "attribute", image_index=f"image_index_{which}")
        if not len(frame):
            return frame
        joined = frame.join(told, on=["image_index", "attribute"], how="inner")
        return joined.with_columns(image_index=pl.col("pair")).drop("pair")

    def _both(self, name: str, sign: int) -> int:
        mine = self.pairs.filter(pl.col("attribute") == name)
        yes = [mine[z].to_numpy() >= 0 for z in ("z_a", "z_b")]
        return int(((yes[0] == (sign > 0)) & (yes[1] == (sign > 0))).sum())

    def _of_maps(self, frames: Sequence[pl.DataFrame], labels: dict[str, Any]) -> list[dict[str, Any]]:
        names, minority = self.attributes, self._minority()
        of = [dense(frame, names, self.images) for frame in frames]
        lines = []
        for side, s in (("yes", 1), ("no", -1)):
            taken = [(d.sign == s) for d in of]
            known = [t & ~np.isnan(d.pe) for t, d in zip(taken, of, strict=True)]
            energy = [self._drawn(np.nan_to_num(d.pe), k) for d, k in zip(of, known, strict=True)]
            empty = [self._drawn(d.empty.astype(float), t) for d, t in zip(of, taken, strict=True)]
            for i, name in enumerate(names):
                line: dict[str, Any] = {"attribute": name, **labels, "side": side}
                line["majority"] = None if minority.get(name) is None else minority[name] != side
                line |= {"n_a": int(taken[0][:, i].sum()), "n_b": int(taken[1][:, i].sum())}
                line["n"] = int((taken[0] & taken[1])[:, i].sum())
                for what, (x, y) in (("pe", energy), ("empty_rate", empty)):
                    line |= _difference(what, (x[0][i], x[1][:, i]), (y[0][i], y[1][:, i]))
                lines.append(line)
        return lines

    def _drawn(self, values: Array, chosen: NDArray[np.bool_]) -> tuple[Array, Array]:
        weights = chosen.astype(float)
        return drawn_ratios(values * weights, weights, resamples=self.a.resamples, seed=self.a.seed)


def _difference(what: str, x: tuple[float, Array], y: tuple[float, Array]) -> dict[str, float | None]:
    low, high = ends((y[1] - x[1])[:, None])
    values = (x[0], y[0], y[0] - x[0], low[0], high[0])
    return {f"{what}_{part}": none(float(value)) for part, value in zip(_DIFFERENCE, values, strict=True)}


def _of_errors(
    y: NDArray[np.bool_], a: NDArray[np.bool_], b: NDArray[np.bool_], minority: str | None
) -> dict[str, float | None]:
    """Rates of both and their differences, from who is wrong."""
    sides = {"FNR": y, "FPR": ~y}
    found: dict[str, float | None] = {}
    told: dict[str, tuple[float | None, ...]] = {}
    for name, rows in sides.items():
        rates = (float(a[rows].mean()), float(b[rows].mean())) if rows.any() else (None, None)
        told[name] = (*rates, *paired_difference(a[rows], b[rows]))
    if minority is not None:
        few, many = ("FNR", "FPR") if minority == "yes" else ("FPR", "FNR")
        told |= {"minority_error": told[few], "majority_error": told[many]}
    p, q = told["FNR"], told["FPR"]
    if None not in p and None not in q:
        x, z, d, e = ((p[k] + q[k]) / 2 for k in (0, 1, 2, 2))  # type: ignore[operator]
        down = np.hypot(p[2] - p[3], q[2] - q[3]) / 2  # type: ignore[operator]
        up = np.hypot(p[4] - p[2], q[4] - q[2]) / 2  # type: ignore[operator]
        told["balanced_error"] = (x, z, d, float(e - down), float(e + up))
    for name, values in told.items():
        found |= {f"{name}_{part}": value for part, value in zip(_DIFFERENCE, values, strict=True)}
    return found


def _short(value: Any) -> str:
    text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

"""Tables of an audit made by hand, for tests of findings, conditions and the report."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from sightline.studies.statistics import wilson

Line = dict[str, Any]


def _rate(name: str, k: int, n: int) -> Line:
    if n == 0:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = wilson(k, n)
    return {name: k / n, f"{name}_low": low, f"{name}_high": high}


def _counts(P: int, FN: int, N: int, FP: int) -> Line:
    line = {"n": P + N, "positives": P, "negatives": N, "TP": P - FN, "FP": FP, "FN": FN, "TN": N - FP}
    line |= _rate("FNR", FN, P) | _rate("FPR", FP, N) | _rate("error", FN + FP, P + N)
    balanced = None if 0 in (P, N) else (FN / P + FP / N) / 2
    return line | {"balanced_error": balanced, "balanced_error_low": balanced, "balanced_error_high": balanced}


def error(attribute: str, P: int, FN: int, N: int, FP: int, **more: Any) -> Line:
    """A line of errors(): FN of P, FP of N."""
    few = "yes" if P <= N else "no"
    line: Line = {"attribute": attribute, "unknown": 0, "train_rate": None, "minority": few} | _counts(P, FN, N, FP)
    sides = {"yes": (FN, P), "no": (FP, N)}
    line["minority_count"] = sides[few][1]
    line |= _rate("minority_error", *sides[few]) | _rate("majority_error", *sides["no" if few == "yes" else "yes"])
    return line | {"AP": 0.9, "AUC": 0.95, "AUC_low": 0.93, "AUC_high": 0.97, "threshold_tuned": 0.1,
                   "balanced_error_tuned": line["balanced_error"], "note": None} | more  # fmt: skip


def group(by: str, value: str, attribute: str, P: int, FN: int, N: int, FP: int, **more: Any) -> Line:
    """A line of groups()."""
    line = {"by": by, "group": value, "attribute": attribute} | _counts(P, FN, N, FP)
    return line | {"greyed": min(P, N) < 20, "worst": False, "disparity": 0.1, "disparity_p": 0.5} | more


def evidence(attribute: str, side: str, pe: float, *, n: int = 200, chance: float = 0.12, wide: float = 0.02,
             empty: float = 0.0, **more: Any) -> Line:  # fmt: skip
    """A line of evidence()."""
    line: Line = {"attribute": attribute, "method": "grad-cam", "layer": "after", "side": side, "outcome": "all"}
    line |= {"n": n, "pe": pe, "pe_low": pe - wide, "pe_high": pe + wide, "chance": chance, "lift": pe / chance}
    for name, value in {"pe_nonempty": pe, "empty_rate": empty}.items():
        line |= {name: value, f"{name}_low": max(0.0, value - wide), f"{name}_high": min(1.0, value + wide)}
    return line | {"pe_corrected": pe * (1 - chance), "majority": side == "no"} | more


def bias(attribute: str, side: str, *, head: float, common: float, n: int = 200, wide: float = 0.05) -> Line:
    """A line of bias(): the shares of the head's bias and of what all images have."""
    line: Line = {"attribute": attribute, "side": side, "majority": side == "no", "n": n, "mean_abs_z": 3.0}
    for name, value in {"bias": head, "common": common, "own": 1 - head - common}.items():
        line |= {f"share_{name}": value, f"share_{name}_low": value - wide, f"share_{name}_high": value + wide}
    return line | {"share_layers": None, "note": None}


def edit(attribute: str, region: float, control: float, *, n: int = 200, wide: float = 0.01, **more: Any) -> Line:
    """A line of interventions()."""
    line: Line = {"attribute": attribute, "edit": "occlude", "direction": "remove", "n": n}
    for name, value in {"effect_region": region, "effect_control": control, "difference": region - control}.items():
        line |= {name: value, f"{name}_low": value - wide, f"{name}_high": value + wide}
    confirmed = line["difference_low"] > 0
    return (
        line | {"flip_region": region, "flip_control": control, "p": 0.5, "p_holm": 0.5, "confirmed": confirmed} | more
    )


@dataclass
class Made:
    """An audit of lines."""

    error_lines: list[Line]
    group_lines: list[Line] = field(default_factory=list)
    evidence_lines: list[Line] = field(default_factory=list)
    bias_lines: list[Line] = field(default_factory=list)
    edit_lines: list[Line] = field(default_factory=list)

    def errors(self) -> pl.DataFrame:
        return pl.DataFrame(self.error_lines, infer_schema_length=None)

    def groups(self) -> pl.DataFrame:
        return pl.DataFrame(self.group_lines, infer_schema_length=None)

    def evidence(self) -> pl.DataFrame:
        return pl.DataFrame(self.evidence_lines, infer_schema_length=None)

    def bias(self) -> pl.DataFrame:
        return pl.DataFrame(self.bias_lines, infer_schema_length=None)

    def interventions(self) -> pl.DataFrame:
        return pl.DataFrame(self.edit_lines, infer_schema_length=None)


def clean(*names: str) -> Made:
    """An audit of a classifier that is right on 95 % of either side, for reasons that lie where they should."""
    return Made(
        [error(name, 300, 15, 900, 45) for name in names],
        [group("Male", v, name, 150, 7, 450, 22) for name in names for v in ("yes", "no")],
        [evidence(name, side, pe) for name in names for side, pe in (("yes", 0.6), ("no", 0.3))],
        [bias(name, side, head=0.02, common=c) for name in names for side, c in (("yes", -0.2), ("no", 0.2))],
        [edit(name, 0.3, 0.02) for name in names],
    )

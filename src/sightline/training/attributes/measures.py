"""What a classifier of attributes gets wrong on validation data."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Errors:
    """Counts by attribute at the threshold z >= 0.

    Attributes:
        positives, negatives: (A,) float64: how many are yes and no.
        misses, alarms: (A,) float64: how many of the one are answered no, of the other yes.
    """

    positives: Tensor
    negatives: Tensor
    misses: Tensor
    alarms: Tensor

    @classmethod
    def of(cls, z: Tensor, y: Tensor) -> "Errors":
        """From logits (N, A) and answers (N, A): 1 yes, 0 no, -1 unknown."""
        said, yes, no = z >= 0, y == 1, y == 0
        found = (yes, no, yes & ~said, no & said)
        return cls(*(one.sum(0).double() for one in found))

    @property
    def fnr(self) -> Tensor:
        """(A,) share of yes that is missed; NaN where there is none."""
        return self.misses / self.positives

    @property
    def fpr(self) -> Tensor:
        """(A,) share of no that is answered yes; NaN where there is none."""
        return self.alarms / self.negatives

    @property
    def balanced(self) -> Tensor:
        """(A,) (FNR + FPR) / 2; NaN where an answer does not occur."""
        return (self.fnr + self.fpr) / 2

    def means(self) -> dict[str, float]:
        """Means over attributes of the error and of the balanced error, over those for which they are defined."""
        n = self.positives + self.negatives
        error = ((self.misses + self.alarms) / n)[n > 0]
        balanced = self.balanced[~self.balanced.isnan()]
        return {
            "error": float(error.mean()) if len(error) else math.nan,
            "balanced_error": float(balanced.mean()) if len(balanced) else math.nan,
        }

    def by_name(self, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Rows for a manifest; what is undefined is None."""

        def plain(value: float) -> float | None:
            return None if math.isnan(value) else round(value, 6)

        columns = [v.tolist() for v in (self.positives, self.negatives, self.fnr, self.fpr, self.balanced)]
        return {
            name: {
                "positives": int(p),
                "negatives": int(n),
                "fnr": plain(a),
                "fpr": plain(b),
                "balanced_error": plain(c),
            }
            for name, p, n, a, b, c in zip(names, *columns, strict=True)
        }

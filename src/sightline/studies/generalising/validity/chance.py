"""Is a member better than chance at all? One that is not decides nothing that pixels could carry over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

LEVEL = 0.05


@dataclass(frozen=True)
class Skill:
    """How often a member is right, and how often it would be if its decisions did not hang on the images.

    Attributes:
        accuracy: Share of right decisions.
        chance: The same for independent decisions of the same frequencies.
        p: One-sided, that it is no better; 1 where it always decides the same, or all is alike.
        images: How many.
    """

    accuracy: float
    chance: float
    p: float
    images: int

    @property
    def better(self) -> bool:
        """Whether it is better than chance, at a level of 5 %."""
        return self.p < LEVEL


def skill(decisions: Sequence[int], truths: Sequence[int]) -> Skill:
    """The test of Cohen's kappa against 0.

        e = sum_k p_k t_k        z = (a - e) / sqrt((e + e^2 - sum_k p_k t_k (p_k + t_k)) / n)

    with the accuracy a, and the frequencies p of the decisions and t of the truths (Fleiss, Cohen, Everitt 1969, Large
    sample standard errors of kappa and weighted kappa, Psychological Bulletin 72). Always giving the more frequent
    answer is no skill, however often that is right.

    Args:
        decisions: n of them.
        truths: n of them.
    """
    from scipy.stats import norm

    n = len(decisions)
    made, true = Counter(decisions), Counter(truths)
    shares = [(made[k] / n, true[k] / n) for k in sorted(set(made) | set(true))]
    accuracy = sum(d == t for d, t in zip(decisions, truths, strict=True)) / n
    chance = sum(p * t for p, t in shares)
    variance = (chance + chance**2 - sum(p * t * (p + t) for p, t in shares)) / n
    if variance <= 1e-15:
        return Skill(accuracy, chance, 1.0, n)
    return Skill(accuracy, chance, float(norm.sf((accuracy - chance) / sqrt(variance))), n)

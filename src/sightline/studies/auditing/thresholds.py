"""How large an effect must be to be a finding."""

from dataclasses import dataclass

from sightline.errors import InputError

Steps = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How large an effect must be; conventions, stated in the report. Three limits: notable, serious, grave.

    Attributes:
        alpha: Level of the whole audit, after Holm's correction.
        min_count: Images that each side of a comparison must have.
        rare: Share up to which a side counts as rare.
        gap: Error of the rare side minus that of the other.
        lean: Absolute difference of FNR and FPR where no side is rare.
        constant: Share of a side's decision that is the same for every image.
        empty: Rate of empty maps on the majority's side.
        outside: Energy in the region as a multiple of chance (lift), at most.
        points: Lift from which on a map counts as pointing at the region.
        idle: Difference between changing the region and changing something else, in probability, below which (upper
            end of the interval) the region counts as without effect.
        group: Error of a group minus that of all others.
        crossed: Group columns up to which their intersections are tested too.
        elsewhere: What changing something outside the region does beyond its control, in probability.
        companion: Share of right answers on images that have the attribute (or not) minus that on images in which it
            alone was switched.
    """

    alpha: float = 0.05
    min_count: int = 20
    rare: float = 0.4
    gap: Steps = (0.10, 0.25, 0.40)
    lean: Steps = (0.15, 0.30, 0.45)
    constant: Steps = (0.50, 0.75, 1.00)
    empty: Steps = (0.50, 0.75, 0.90)
    outside: Steps = (0.75, 0.50, 0.25)
    points: float = 1.5
    idle: float = 0.03
    group: Steps = (0.10, 0.20, 0.30)
    crossed: int = 3
    elsewhere: Steps = (0.10, 0.25, 0.50)
    companion: Steps = (0.15, 0.30, 0.50)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.min_count < 2 or not 0 < self.rare <= 0.5:
            raise InputError("alpha must lie between 0 and 1, min_count be 2 or more, rare lie in (0, 0.5]")
        for name in ("gap", "lean", "constant", "empty", "group", "elsewhere", "companion"):
            if list(getattr(self, name)) != sorted(getattr(self, name)):
                raise InputError(f"the three limits of {name} must rise")
        if list(self.outside) != sorted(self.outside, reverse=True):
            raise InputError("the three limits of outside must fall")

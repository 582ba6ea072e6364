"""Composites: which rule each operation of a network follows, as data.

A composite is an ordered list of (predicate, rule): the first predicate that holds decides. A predicate is a kind of
operation (`"conv"`, `"dense"`, `"norm"`, `"sum"`, `"pool"`, `"max-pool"`, `"layer-norm"`, `"activation"`, `"product"`,
`"matmul"`, `"softmax"`), `"first"` (the linear layer that reads the pixels), or any function of an `Operation`:

    mine = Composite("mine", [("first", Flat()), (between(0, 0.5), Gamma(0.1)), ("dense", Epsilon(0.01))])
    out = sl.explain(classifier, pixels, method="lrp", composite=mine)
    print(mine.table(classifier))

In a shell the same is written `first=flat,conv=gamma:0.1,dense=epsilon:0.01`.
"""

import difflib
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sightline.classifier import Classifier
from sightline.errors import MethodError
from sightline.explainers.lrp._operation import LINEAR, Operation
from sightline.explainers.lrp._plan import Plan, plan_for
from sightline.explainers.lrp._shares import Bias
from sightline.explainers.lrp.rules import (
    AlphaBeta,
    Constant,
    Epsilon,
    Flat,
    Gamma,
    Norm,
    Pass,
    Rule,
    SameSign,
    Taylor,
    Uniform,
    WinnerTakesAll,
    WSquare,
    ZBox,
    Zero,
    ZPlus,
)

Predicate = str | Callable[[Operation], bool]

KINDS = (
    "first", "conv", "dense", "norm", "layer-norm", "sum", "pool", "max-pool", "activation", "scale", "product",
    "matmul", "softmax", "cat", "folded",
)  # fmt: skip


def named(pattern: str) -> Callable[[Operation], bool]:
    """Linear operations of modules whose qualified name fits a pattern such as `layer4.*`."""
    return lambda op: op.kind in LINEAR and fnmatch.fnmatchcase(op.module, pattern)


def between(low: float, high: float) -> Callable[[Operation], bool]:
    """Linear operations by depth: 0 is the first, 1 the last; the lower end is included, the upper one is not."""
    return lambda op: op.kind in LINEAR and low <= op.depth < high


@dataclass(frozen=True)
class Composite:
    """An ordered list of rules.

    Attributes:
        name: For records and messages.
        rules: (predicate, rule), the first that holds decides; what none decides follows `DEFAULTS`.
        bias: `keep` or `zero` where the composite fixes it, else None.
    """

    name: str
    rules: Sequence[tuple[Predicate, Rule]]
    bias: Bias | None = None

    def __post_init__(self) -> None:
        for predicate, rule in self.rules:
            if isinstance(predicate, str) and predicate not in KINDS:
                raise MethodError(f"composite {self.name!r}: {predicate!r} is no kind; kinds are {', '.join(KINDS)}")
            if not isinstance(rule, Rule):
                raise MethodError(f"composite {self.name!r}: {rule!r} is no rule of sightline.explainers.lrp.rules")

    def rule(self, op: Operation) -> Rule:
        """The rule of an operation."""
        for predicate, rule in (*self.rules, *DEFAULTS):
            if _holds(predicate, op):
                return rule
        return Pass()

    def with_rules(self, *rules: tuple[Predicate, Rule]) -> "Composite":
        """The same with rules put before its own."""
        return replace(self, name=f"{self.name}+", rules=(*rules, *self.rules))

    def table(self, classifier: Classifier, size: tuple[int, int] | None = None) -> str:
        """What it does on a model: one line an operation, with module, kind and rule."""
        import torch

        height, width = size or classifier.size
        blank = torch.full((1, classifier.channels, height, width), 0.5, device=classifier.device)
        plan: Plan = plan_for(classifier, blank)
        lines = [
            (op.module, op.function, op.kind, "-" if op.kind == "folded" else str(self.rule(op)))
            for op in plan.operations
            if op.kind != "constant"
        ]
        wide = [max(len(line[i]) for line in lines) for i in range(3)]
        return "\n".join(
            "  ".join([*(c.ljust(w) for c, w in zip(line, wide, strict=False)), line[3]]) for line in lines
        )

    def __str__(self) -> str:
        return self.name


def _holds(predicate: Predicate, op: Operation) -> bool:
    if not isinstance(predicate, str):
        return bool(predicate(op))
    return op.first if predicate == "first" else op.kind == predicate


DEFAULTS: tuple[tuple[Predicate, Rule], ...] = (
    ("conv", Epsilon()),
    ("dense", Epsilon()),
    ("norm", SameSign()),
    ("layer-norm", Epsilon()),
    ("sum", Norm()),
    ("pool", Norm()),
    ("max-pool", WinnerTakesAll()),
    ("product", Constant()),
    ("matmul", Constant()),
    ("softmax", Constant()),
)
"""What an operation follows where a composite says nothing: softmax and gates are constants, activations pass."""


def _attention(name: str, *inside: tuple[Predicate, Rule]) -> Composite:
    """For transformers: gamma in convolutions and dense layers (Achtibat et al. 2024, section 4.2 and appendix)."""
    return Composite(name, [*inside, ("conv", Gamma(0.25)), ("dense", Gamma(0.05)), ("norm", Epsilon())])


_PLUS: list[tuple[Predicate, Rule]] = [("conv", ZPlus()), ("dense", Epsilon())]
_ALPHA: list[tuple[Predicate, Rule]] = [("conv", AlphaBeta(2.0, 1.0)), ("dense", Epsilon())]

COMPOSITES: Mapping[str, Composite] = {
    c.name: c
    for c in (
        Composite("epsilon", [("norm", Epsilon())]),
        Composite("epsilon-plus", _PLUS),
        Composite("epsilon-plus-flat", [("first", Flat()), *_PLUS]),
        Composite("epsilon-alpha2-beta1", _ALPHA),
        Composite("epsilon-alpha2-beta1-flat", [("first", Flat()), *_ALPHA]),
        Composite("epsilon-gamma-box", [("first", ZBox()), ("conv", Gamma(0.25)), ("dense", Epsilon())]),
        Composite(
            "montavon",
            [
                ("first", ZBox()),
                (between(0, 1 / 3), Gamma(0.25)),
                (between(1 / 3, 2 / 3), Epsilon(0.25, relative=True)),
                (between(2 / 3, 2), Zero()),
                ("max-pool", Norm()),
            ],
        ),
        Composite("excitation-backprop", [("conv", ZPlus()), ("dense", ZPlus()), ("sum", ZPlus(1e-12))], bias="zero"),
        _attention("attn-lrp", ("softmax", Taylor()), ("matmul", Uniform()), ("product", Uniform())),
        _attention("cp-lrp"),
    )
}
"""The composites with a name, each in the papers' own terms; see the page on LRP for which to take when."""

_RULES: Mapping[str, Callable[..., Rule]] = {
    "lrp-0": Zero, "epsilon": Epsilon, "gamma": Gamma, "z-plus": ZPlus,
    "same-sign": SameSign, "alpha-beta": AlphaBeta, "w-square": WSquare,
    "flat": Flat, "z-box": ZBox, "norm": Norm, "pass": Pass, "winner-takes-all": WinnerTakesAll, "average": Norm,
    "uniform": Uniform, "taylor": Taylor, "constant": Constant,
}  # fmt: skip


def composite_of(given: Any) -> Composite:
    """A composite, its name, or its text `kind=rule[:number[:number]],...`.

    Raises:
        MethodError: Unknown; the text proposes near names.
    """
    if isinstance(given, Composite):
        return given
    text = str(given)
    if text in COMPOSITES:
        return COMPOSITES[text]
    if "=" not in text:
        near = difflib.get_close_matches(text, COMPOSITES, n=2, cutoff=0.4) or list(COMPOSITES)
        raise MethodError(f"there is no composite {text!r}; did you mean {' or '.join(map(repr, near))}?")
    rules: list[tuple[Predicate, Rule]] = []
    for part in text.split(","):
        kind, _, rule = part.strip().partition("=")
        name, *numbers = rule.split(":")
        if name not in _RULES:
            raise MethodError(f"there is no rule {name!r}; rules are {', '.join(_RULES)}")
        try:
            rules.append((kind, _RULES[name](*map(float, numbers))))
        except (TypeError, ValueError) as reason:
            raise MethodError(f"{part!r} does not give rule {name!r} the numbers that it takes: {reason}") from reason
    return Composite(text, rules)

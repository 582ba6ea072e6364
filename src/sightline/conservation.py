"""The account of relevance: what goes into every operation of a network, what comes out, and what stays there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_WIDTH, _HEIGHT, _MARGIN = 720, 260, 46


@dataclass(frozen=True, kw_only=True)
class Conservation:
    """Where every unit of relevance went; operations stand in the order in which they run (pixels first).

    For each operation: relevance_in = relevance_out + bias + stabiliser + what its rule does not explain.

    Attributes:
        layers: (L,) qualified module and function of each operation that relevance goes through.
        kinds: (L,) their kinds.
        rules: (L,) their rules.
        relevance_in: (L, N) sum of the relevance that arrives from above, a row each.
        relevance_out: (L, N) sum of what is handed on towards the pixels.
        bias: (L, N) what biases, learned constants (class tokens, positions) and shifts of norms take.
        stabiliser: (L, N) what the eps of the denominators takes.
        absolute_in: (L, N) sum of |R| that arrives.
        absolute: (L, N) sum of |R| handed on; where it jumps, shares of opposite sign nearly cancel.
        score: (N,) what was explained.
        total: (N,) sum of the relevance where the map stands (pixels, or the asked layer).
    """

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    rules: tuple[str, ...]
    relevance_in: Tensor
    relevance_out: Tensor
    bias: Tensor
    stabiliser: Tensor
    absolute_in: Tensor
    absolute: Tensor
    score: Tensor
    total: Tensor

    @property
    def unexplained(self) -> Tensor:
        """(N,) score - total - all that biases and stabilisers took."""
        return self.score - self.total - self.bias.sum(0) - self.stabiliser.sum(0)

    @property
    def bias_share(self) -> Tensor:
        """(N,) the share of the score that biases took."""
        return self.bias.sum(0) / self._score()

    @property
    def unexplained_share(self) -> Tensor:
        """(N,) |unexplained| as a share of the largest of |score| and the |relevance| that rounding acts on."""
        rounding = 1e-3 * self.absolute.amax(0) if len(self.absolute) else torch.zeros_like(self.score)
        return self.unexplained.abs() / torch.maximum(self.score.abs(), rounding).clamp(min=1e-12)

    @property
    def worst(self) -> str:
        """The operation that loses most in a way its rule does not explain."""
        gap = (self.relevance_in - self.relevance_out - self.bias - self.stabiliser).abs().amax(1)
        return self.layers[int(gap.argmax())] if len(self.layers) else "none"

    @property
    def growth(self) -> Tensor:
        """(L, N) by which factor the sum of |R| grows in each operation."""
        return self.absolute / self.absolute_in.clamp(min=1e-12)

    def _score(self) -> Tensor:
        return torch.where(self.score.abs() > 1e-12, self.score, torch.full_like(self.score, 1e-12))

    def rows(self, row: int = 0) -> Iterator[tuple[str, str, float, float, float, float, float]]:
        """From the scores down: layer, rule, in, out, bias, stabiliser, sum of |R|; of one row of the explanation."""
        for i in range(len(self.layers) - 1, -1, -1):
            columns = (self.relevance_in, self.relevance_out, self.bias, self.stabiliser, self.absolute)
            yield (self.layers[i], self.rules[i], *(float(c[i, row]) for c in columns))  # type: ignore[misc]

    def table(self, row: int = 0) -> str:
        """`rows` as text."""
        body = list(self.rows(row))
        wide = max([len(line[0]) for line in body], default=5)
        head = "layer".ljust(wide) + "".join(name.rjust(12) for name in ("in", "out", "bias", "eps", "sum |R|"))
        lines = [line[0].ljust(wide) + "".join(f"{value:12.4g}" for value in line[2:]) for line in body]
        end = f"score {float(self.score[row]):.6g}, total {float(self.total[row]):.6g}, unexplained "
        return "\n".join([head, *lines, end + f"{float(self.unexplained[row]):.3g}"])

    def figure(self, row: int = 0) -> str:
        """An SVG picture: relevance handed on by each operation, and above it what biases have taken so far."""
        from html import escape

        count = max(len(self.layers), 1)
        out = self.relevance_out[:, row].flip(0).tolist()
        held = (self.relevance_out[:, row] + 0).flip(0) + self.bias[:, row].flip(0).cumsum(0)
        score = float(self.score[row])
        values: list[float] = [*out, *held.tolist(), score, 0.0]
        low, high = float(min(values)), float(max(values))
        span = (high - low) or 1.0

        def x(i: float) -> float:
            return _MARGIN + i * (_WIDTH - 2 * _MARGIN) / max(count - 1, 1)

        def y(value: float) -> float:
            return _HEIGHT - _MARGIN - (value - low) / span * (_HEIGHT - 2 * _MARGIN)

        def line(points: list[float], colour: str) -> str:
            path = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(points))
            return f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>'

        marks = "".join(
            f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="2.4" fill="#1f6f8b"><title>'
            f"{escape(self.layers[count - 1 - i])}: {v:.4g}</title></circle>"
            for i, v in enumerate(out)
        )
        text = 'font-family="sans-serif" font-size="12" fill="#333"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="#bbb"/>'
            f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y(score):.1f}" y2="{y(score):.1f}" stroke="#bbb" '
            f'stroke-dasharray="4 3"/>{line(held.tolist(), "#d08770")}{line(out, "#1f6f8b")}{marks}'
            f'<text x="{_MARGIN}" y="18" {text}>relevance from the score ({score:.3g}) to the pixels; '
            f'<tspan fill="#d08770">with what biases took</tspan></text>'
            f'<text x="{_MARGIN}" y="{_HEIGHT - 14}" {text}>{escape(self.layers[-1] if self.layers else "")}</text>'
            f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 14}" {text} text-anchor="end">'
            f"{escape(self.layers[0] if self.layers else '')}</text></svg>"
        )

    def select(self, index: Tensor) -> "Conservation":
        """The account of some rows."""
        wide = {n: getattr(self, n)[:, index] for n in _WIDE}
        return Conservation(
            layers=self.layers,
            kinds=self.kinds,
            rules=self.rules,
            **wide,
            score=self.score[index],
            total=self.total[index],
        )

    def names(self) -> dict[str, list[str]]:
        """What is text, by name, ready for JSON."""
        return {n: list(getattr(self, n)) for n in _NAMES}

    def arrays(self) -> dict[str, Tensor]:
        """What is numbers, by name."""
        return {n: getattr(self, n) for n in (*_WIDE, *_ROWS)}

    @classmethod
    def restored(cls, names: Mapping[str, Sequence[str]], arrays: Mapping[str, Tensor], rows: int) -> "Conservation":
        """The account of so many rows from its `names` and `arrays`.

        Raises:
            KeyError: Something is missing.
            ValueError: The parts do not fit each other.
        """
        made = cls(**{n: tuple(names[n]) for n in _NAMES}, **{n: arrays[n] for n in (*_WIDE, *_ROWS)})  # type: ignore[arg-type]
        shapes = {n: (len(made.layers), rows) for n in _WIDE} | dict.fromkeys(_ROWS, (rows,))
        if any(tuple(arrays[n].shape) != shape for n, shape in shapes.items()):
            raise ValueError("the account of relevance does not fit the maps")
        if not len(made.layers) == len(made.kinds) == len(made.rules):
            raise ValueError("the account of relevance does not name all of its operations")
        return made

    def __str__(self) -> str:
        share, gap = self.bias_share.abs().max(), self.unexplained_share.max()
        return f"Conservation({len(self.layers)} operations, biases took up to {share:.1%}, unexplained {gap:.2g})"


_NAMES, _ROWS = ("layers", "kinds", "rules"), ("score", "total")
_WIDE = ("relevance_in", "relevance_out", "bias", "stabiliser", "absolute_in", "absolute")

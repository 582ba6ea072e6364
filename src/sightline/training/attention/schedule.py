"""Learning rates as plain functions of the step, so that a run that goes on needs no state for them.

`factor`: the rate is multiplied by a number at the end of some epochs (L-CAM). `one-cycle`: up to the peak along a
cosine over the first 30 % of the steps, down to 1 / 250,000 of it along another; the momentum mirrors that between 0.95
and 0.85 (Smith and Topin, 2017, arXiv 1708.07120, with PyTorch's constants; the TAMEs). `constant`: what it says.
"""

import math
from typing import Literal

Schedule = Literal["factor", "one-cycle", "constant"]

_RISE, _START, _END = 0.3, 25.0, 1e4
_MOMENTA = (0.95, 0.85)


def factor(epoch: int, decay: float, epochs: tuple[int, int]) -> float:
    """What the rate of an epoch (from 0) is multiplied by: decay^k, k = how many of first..last have begun by then.

    The rate falls as the epochs `first`, ..., `last` begin: (1, 12) are twelve falls, as the second to the thirteenth
    epoch begin.
    """
    first, last = epochs
    return float(decay ** max(0, min(epoch, last) - first + 1))


def one_cycle(step: int, steps: int) -> tuple[float, float]:
    """(rate as a share of its peak, momentum) of a step from 0 of `steps` in all."""
    turn = _RISE * steps - 1
    if step <= turn:
        share = step / turn if turn > 0 else 1.0
        return _between(1 / _START, 1.0, share), _between(*_MOMENTA, share)
    share = (step - turn) / (steps - 1 - turn) if steps - 1 > turn else 1.0
    return _between(1.0, 1 / _START / _END, share), _between(*_MOMENTA[::-1], share)


def _between(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

"""Images of which only a part is left, and what a segmentation says of them: the target's log-odds and the entropy."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline import target as targets
from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.trial import Trial
from sightline.registry import Paper
from sightline.target import Region

Part = Literal["background", "highlighted", "highlighted and target"]

PAPER = Paper(
    title="Extending CAM-based XAI methods for Remote Sensing Imagery Segmentation",
    authors="Gizzini et al.",
    year=2023,
    arxiv="2310.01837",
)


def highlighted(trial: Trial, threshold: float, area: float | None) -> Tensor:
    """(N, H, W) bool: where the map is at least `threshold` of its largest value, or its hottest share `area`.

    Raises:
        MetricError: A threshold or an area outside (0, 1].
    """
    for name, value in (("threshold", threshold), ("area", 1.0 if area is None else area)):
        if not 0 < value <= 1:
            raise MetricError(f"{name} is a share above 0 and at most 1, not {value!r}")
    H, W = trial.session.size
    if area is not None:
        return trial.ranks() < math.ceil(area * H * W)
    energy = trial.explanation.energy()
    top = energy.flatten(1).amax(1)[:, None, None]
    scaled = energy / torch.where(top > 0, top, 1.0)
    if tuple(scaled.shape[1:]) != (H, W):
        scaled = F.interpolate(scaled[:, None], size=(H, W), mode="bilinear", align_corners=False)[:, 0]
    return scaled >= threshold


def regions(trial: Trial) -> Tensor:
    """(N, h, w) bool at the resolution of the outputs: the pixel sets T of the targets.

    Raises:
        MetricError: A target without pixels.
    """

    def make() -> Tensor:
        found = []
        for target in trial.targets:
            if not isinstance(target, Region) or not isinstance(target.pixels, Tensor):
                raise MetricError(f"metrics of a segmentation need Region targets, not {target}")
            found.append(target.pixels.to(trial.session.pixels.device))
        return torch.stack(found)

    return trial.once("regions", make)


def entropy(outputs: Tensor) -> Tensor:
    """E_ij = -(1 / log L) sum_l P_ij^l log P_ij^l in [0, 1] of outputs (N, C, h, w): (N, h, w) float64.

    P is the softmax over L = C classes; for one output {p, 1 - p} with L = 2.
    """
    y = outputs.double()
    if y.shape[1] == 1:
        y = torch.cat([y, torch.zeros_like(y)], 1)
    log = y.log_softmax(1)
    terms = torch.where(log.exp() > 0, log.exp() * log, 0.0)
    return -terms.sum(1) / math.log(y.shape[1])


def summary(trial: Trial, rows: Tensor, outputs: Tensor) -> Tensor:
    """For rows (m,) and their outputs: the target's log-odds, and the mean entropy inside T, outside T, of all: (m, 4).

    Where T is the whole image, the entropy outside is 0.
    """
    E, T = entropy(outputs), regions(trial)[rows.to(outputs.device)].double()
    margin = targets.margins([trial.targets[r] for r in rows.tolist()], outputs)
    inside = (E * T).sum((1, 2)) / T.sum((1, 2))
    outside = (E * (1 - T)).sum((1, 2)) / (1 - T).sum((1, 2)).clamp(min=1)
    return torch.stack([margin, inside, outside, E.mean((1, 2))], 1)


def before(trial: Trial) -> Tensor:
    """(N, 4) `summary` of the unaltered images."""
    rows = torch.arange(len(trial))
    return trial.once("summary", lambda: summary(trial, rows, trial.session.answers()[trial.image]))


def after(trial: Trial, part: Part, threshold: float, area: float | None, space: Space) -> Tensor:
    """(N, 4) `summary` of images of which only a part is left, the rest 0; the metrics share the forward pass."""

    def ask() -> Tensor:
        x, B = trial.session.inputs(space), highlighted(trial, threshold, area)
        if part == "background":
            B = ~B
        elif part == "highlighted and target":
            T = F.interpolate(regions(trial)[:, None].float(), size=trial.session.size, mode="nearest-exact")
            B = B | (T[:, 0] > 0.5).to(B.device)
        images, M = trial.image, B.to(x)

        def make(rows: Tensor, _: Tensor) -> Tensor:
            rows = rows.to(x.device)
            return x[images[rows]] * M[rows][:, None]

        return trial.ask(1, make, lambda rows, outputs: summary(trial, rows, outputs), space=space)[:, 0]

    if space not in ("pixels", "normalised"):
        raise MetricError(f"space must be 'pixels' or 'normalised', not {space!r}")
    return trial.once(("altered", part, threshold, area, space), ask)


def drop(trial: Trial, part: Part, threshold: float, area: float | None, space: Space) -> tuple[Tensor, Tensor]:
    """(Y - Y') / Y, Y the target's mean probability over T: (N,), and (N,) True where Y is 0."""
    log = F.logsigmoid
    Y = log(before(trial)[:, 0])
    return -torch.expm1(log(after(trial, part, threshold, area, space)[:, 0]) - Y), Y.isneginf()

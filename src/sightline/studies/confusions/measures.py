"""What is measured on a misclassified image: how its two maps agree, and what masking by them does."""

import math
from typing import Any

import torch
from torch import Tensor

from sightline.errors import SightlineError
from sightline.explanation import Explanation
from sightline.metrics._similarity import correlation
from sightline.metrics.evaluation import judge
from sightline.metrics.faithfulness._curves import Fill, substrate
from sightline.metrics.localisation._region import area, hottest, senseless, share
from sightline.metrics.metric import find
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial
from sightline.target import Category

ROLES = ("predicted", "true", "control")
Figures = dict[str, Any]


def measure(
    session: Session,
    maps: dict[str, Explanation],
    regions: Tensor,
    *,
    keep: float,
    mask: float,
    fill: Fill,
) -> list[Figures]:
    """Figures of n misclassified images.

    Args:
        session: The classifier and the n images.
        maps: For `predicted`, `true` and (where there is a third class) `control` an explanation of n rows, one an
            image, in order.
        regions: (n, H, W) bool, the true object; all False where it is not known.
        keep: Share of hottest pixels that overlap is taken of.
        mask: Share of hottest pixels that masking keeps or takes out.
        fill: What takes the place of masked pixels.

    Returns:
        n mappings of figures; None where a figure is not defined.
    """
    trials = {role: Trial(session, one, regions) for role, one in maps.items()}
    figures = {**_agreement(trials, keep), **_faithfulness(trials), **_location(trials)}
    figures |= _masking(session, trials, regions, mask, fill)
    return [{name: _number(values[n]) for name, values in figures.items()} for n in range(len(regions))]


def _number(value: Tensor) -> float | bool | None:
    if value.dtype == torch.bool:
        return bool(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _agreement(trials: dict[str, Trial], keep: float) -> Figures:
    """How much the map of the true class (and of the control) is that of the predicted one."""
    one, other = trials["predicted"], trials["true"]
    a, b = one.explanation.maps, other.explanation.maps
    overlap = {role: _common(one, trials[role], keep) for role in trials if role != "predicted"}
    found = {
        "pearson": correlation(a, b, "pearson"),
        "spearman": correlation(a, b, "spearman"),
        "overlap": overlap["true"],
        "iou": _iou(one, other),
        "empty_predicted": one.explanation.empty,
        "empty_true": other.explanation.empty,
    }
    nothing = torch.full_like(overlap["true"], torch.nan)
    return {**found, "overlap_control": overlap.get("control", nothing)}


def hot(trial: Trial, share: float) -> Tensor:
    """(n, H, W) bool: the hottest pixels, ceil(share * H * W) of them or all that have any heat if these are fewer."""
    heat = trial.heat()
    return trial.hottest(math.ceil(share * heat[0].numel())) & (heat > 0)


def _common(a: Trial, b: Trial, share: float) -> Tensor:
    """|T_a and T_b| / max(|T_a|, |T_b|) of the hottest pixels of two maps: (n,) float64, NaN where one is empty."""
    A, B = hot(a, share).flatten(1), hot(b, share).flatten(1)
    common = (A & B).sum(1).double() / torch.maximum(A.sum(1), B.sum(1)).clamp(min=1)
    return common.masked_fill(a.explanation.empty | b.explanation.empty, torch.nan)


def _iou(a: Trial, b: Trial) -> Tensor:
    """|A and B| / |A or B| with A = {S >= max S / 2}: (n,) float64, NaN where one is empty."""
    first, second = (t.heat().flatten(1) >= t.heat().flatten(1).amax(1, keepdim=True) / 2 for t in (a, b))
    value = (first & second).sum(1).double() / (first | second).sum(1).clamp(min=1)
    return value.masked_fill(a.explanation.empty | b.explanation.empty, torch.nan)


def _faithfulness(trials: dict[str, Trial]) -> Figures:
    """Average drop and increase of each map for its own class."""
    found: Figures = {}
    for role in ("predicted", "true"):
        for short, name in (("drop", "average-drop"), ("increase", "increase-in-confidence")):
            record = find(name)
            found[f"{short}_{role}"] = judge(trials[role], record, record.settings).value
    return found


def _location(trials: dict[str, Trial]) -> Figures:
    """Where the energy of the maps lies: share in the true object, as a multiple of its share of the image's area.

    `pointed` is the share of the object's area among as many hottest pixels, which small objects under coarse maps
    reach more rarely. NaN where the object is not known, is everything, or the map is empty.
    """
    found: Figures = {}
    for role in ("predicted", "true"):
        trial = trials[role]
        M = trial.regions.flatten(1).to(trial.explanation.maps.device)  # type: ignore[union-attr]
        unknown = senseless(M) | trial.explanation.empty
        inside, part = share(trial.energy(), M), area(M)
        found[f"inside_{role}"] = inside.masked_fill(unknown, torch.nan)
        found[f"lift_{role}"] = (inside / part.clamp(min=1e-12)).masked_fill(unknown, torch.nan)
        pointed = hottest(trial, M, M.sum(1)) / M.sum(1).clamp(min=1)
        found[f"pointed_{role}"] = pointed.masked_fill(unknown, torch.nan)
    return {**found, "object_area": part.masked_fill(senseless(M), torch.nan)}


def _masking(session: Session, trials: dict[str, Trial], regions: Tensor, mask: float, fill: Fill) -> Figures:
    """What the classifier says of parts of the image.

    For a part X, `X_margin` is z_p - z_y, how much the predicted class p leads the true class y (in logits), and
    `X_true`, `X_predicted` are the probabilities of y and p. Parts: `whole`; `keep_predicted`, `keep_true` (only the
    hottest pixels of a map); `cut_predicted`, `cut_true` (all but them); `object`, `rest` (only the true object, all
    but it).
    """
    tops = {role: hot(trials[role], mask) for role in ("predicted", "true")}
    M = regions.to(session.pixels.device)
    parts = {
        "keep_predicted": tops["predicted"],
        "keep_true": tops["true"],
        "cut_predicted": ~tops["predicted"],
        "cut_true": ~tops["true"],
        "object": M,
        "rest": ~M,
    }
    unknown = senseless(M.flatten(1))
    lacking = {"predicted": trials["predicted"].explanation.empty, "true": trials["true"].explanation.empty}
    void = {name: lacking[name.partition("_")[2]] if "_" in name else unknown for name in parts}
    p, y = _indices(trials["predicted"]), _indices(trials["true"])
    answers = {"whole": _read(session.answers().double(), p, y)}
    jobs = [(name, n) for name in parts for n in range(len(M)) if not bool(void[name][n])]
    asked = _ask(session, [parts[name][n] for name, n in jobs], [n for _, n in jobs], p, y, fill)
    found: Figures = {}
    for name in ("whole", *parts):
        value = answers.get(name, torch.full((len(M), 3), torch.nan, dtype=torch.float64))
        for (job, n), row in zip(jobs, asked, strict=True):
            if job == name:
                value[n] = row
        for i, what in enumerate(("margin", "predicted", "true")):
            found[f"{name}_{what}"] = value[:, i]
    return found


def _indices(trial: Trial) -> Tensor:
    """(n,) the class of each row."""
    found = [t.category for t in trial.targets if isinstance(t, Category) and isinstance(t.category, int)]
    if len(found) != len(trial):
        raise SightlineError("a confusion is of categories")
    return torch.tensor(found)


def _read(outputs: Tensor, p: Tensor, y: Tensor) -> Tensor:
    """Outputs (n, C) -> (n, 3): z_p - z_y, the probability of p, the probability of y."""
    z = outputs.gather(1, torch.stack([p, y], 1).to(outputs.device))
    return torch.cat([z[:, :1] - z[:, 1:], (z - outputs.logsumexp(1, keepdim=True)).exp()], 1).cpu()


def _ask(session: Session, kept: list[Tensor], images: list[int], p: Tensor, y: Tensor, fill: Fill) -> Tensor:
    """(m, 3) for m altered images: where `kept` (H, W) is False, the image becomes its `fill`."""
    if not kept:
        return torch.empty(0, 3, dtype=torch.float64)
    x = session.inputs(session.inside)
    other = session.inner(substrate(session, fill, "pixels"), "pixels").to(x)
    place = torch.tensor(images)

    def make(index: Tensor) -> Tensor:
        where = torch.stack([kept[i] for i in index.tolist()]).to(x.device)[:, None]
        rows = place[index].to(x.device)
        return torch.where(where, x[rows], other[rows])

    def read(index: Tensor, outputs: Tensor) -> Tensor:
        return _read(outputs.double(), p[place[index]], y[place[index]])

    return session.asking.ask(len(kept), make, read, space=session.inside)

"""How near an early stop comes to the full map, and whether the estimated error is honest.

    python benchmarks/anytime.py --scores DIR [--photos 100] [--precision bfloat16] [--figure docs/images/anytime.png]

Score-CAM and RISE (4000 masks) of MobileNetV2 on the photographs of `masking_quality.py`, the last of every four
first. All scores are asked once and kept in DIR (a killed run goes on); then every stop is played on them. Needs
matplotlib.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import sightline as sl
from masking_quality import mobilenet, photographs
from sightline.explainers.masking import _anytime, rise, score_cam
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import activations
from sightline.explainers.masking._options import Options
from sightline.explainers.masking._plan import Job
from sightline.explainers.question import Question

SHARES = (0.05, 0.1, 0.2, 1 / 3, 0.5, 0.75)
RISE = {"masks": 4000, "cells": 7, "keep": 0.5}


def asked(classifier: sl.Classifier, method: str, x: torch.Tensor, scores: Path, precision: str) -> Job:
    """The job of one photograph with all its values."""
    question, options = Question(classifier, x), Options(checkpoint=scores, progress=False, precision=precision)
    if method == "rise":
        engine = Engine(question, method, options, RISE)
        plan = rise._Plan((224, 224), 4000, 7, 0.5, engine.generator(0))
        job = engine.job(0, [0], plan, shuffle=False)
        engine.run([job], "probability")
    else:
        engine = Engine(question, method, options, {"variant": "paper"})
        (A,) = activations(question).values()
        job = engine.job(0, [0], score_cam._Plan(A[0], (224, 224), "paper"))
        engine.run([job], "score")
    if engine.stopped is not None:
        raise engine.stopped
    return job


def stops(job: Job) -> list[tuple[float, float, float, float]]:
    """For each share of the passes: rank correlation with the full map (predicted, not), true and estimated error."""
    full = job.plan.maps(job.values)[0].flatten()
    centred, found, every = full - full.mean(), [], job.known.clone()
    for share in SHARES:
        job.known = torch.zeros_like(every)
        job.known[job.order[: int(share * job.plan.count)]] = True
        S = job.plan.maps(_anytime.completed(job))[0].flatten()
        rest = job.values[:, job.known].mean(1, keepdim=True) if not job.plan.exponential else torch.tensor(-1e9)
        plain = job.plan.maps(torch.where(job.known, job.values, rest))[0].flatten()
        true = float((S - S.mean() - centred).norm() / centred.norm())
        estimate = float(_anytime.error(job)[0])
        found.append((spearmanr(S, full)[0], spearmanr(plain, full)[0], true, estimate))
    job.known = every
    return found


def draw(results: dict[str, np.ndarray], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    for (method, r), colour in zip(results.items(), ("#1f5fa8", "#c4571b"), strict=True):
        low, middle, high = np.quantile(r[:, :, 0], [0.1, 0.5, 0.9], axis=0)
        left.fill_between(SHARES, low, high, color=colour, alpha=0.15, lw=0)
        left.plot(SHARES, middle, "o-", color=colour, label=method)
        left.plot(SHARES, np.median(r[:, :, 1], 0), "--", color=colour, label=f"{method}, no prediction")
        right.loglog(r[:, :, 3].ravel(), r[:, :, 2].ravel(), "o", ms=3.5, alpha=0.55, color=colour, label=method)
    left.axhline(0.95, color="grey", lw=0.8, ls=":")
    left.axvline(1 / 3, color="grey", lw=0.8, ls=":")
    left.set(xlabel="share of the passes", ylabel="rank correlation with the full map", ylim=(0.6, 1.005))
    span = [0.02, 1.5]
    right.plot(span, span, color="grey", lw=0.8)
    right.set(xlabel="estimated error", ylabel="true error", xlim=span, ylim=span)
    for axis in (left, right):
        axis.legend(frameon=False, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--rise", type=int, help="photographs for RISE, if fewer")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    classifier = mobilenet()
    _, pixels = photographs(classifier, 100)
    pixels = torch.cat([pixels[start::4] for start in (3, 1, 0, 2)])[: given.photos]
    results = {}
    for method in ("score-cam", "rise"):
        some = pixels[: given.rise] if method == "rise" else pixels
        rows = [stops(asked(classifier, method, x[None], given.scores, given.precision)) for x in some]
        results[method] = np.array(rows)  # (photos, shares, 4)
        for i, share in enumerate(SHARES):
            r = results[method][:, i]
            print(
                f"{method} {share:.2f}: rank correlation {np.median(r[:, 0]):.3f} (worst {r[:, 0].min():.3f}, without "
                f"prediction {np.median(r[:, 1]):.3f}), true error {np.median(r[:, 2]):.3f}, true / estimated "
                f"{np.median(r[:, 2] / r[:, 3]):.2f} ({np.quantile(r[:, 2] / r[:, 3], 0.1):.2f} to "
                f"{np.quantile(r[:, 2] / r[:, 3], 0.9):.2f})",
                flush=True,
            )
    if given.figure:
        draw(results, given.figure)


if __name__ == "__main__":
    main()

"""Class swap."""

import functools

from sightline.metrics._similarity import Reading, Similarity, check
from sightline.metrics.metric import Values, metric
from sightline.metrics.sanity._others import against, rival
from sightline.metrics.trial import Trial


@metric(
    "class-swap",
    family="sanity",
    paper=None,
    summary="How alike the maps of the decision and of its rival are: the next class, the other answer.",
    direction="down",
    range=(-1, 1),
    cost="1 explanation",
    forwards=1,
    needs={"explainer"},
)
def class_swap(trial: Trial, *, similarity: Similarity = "pearson", reading: Reading = "raw") -> Values:
    """sim(E(x, t), E(x, t')), t' the decision against t.

    t' of `Category` is the most likely other category, of `Attribute` the same output with the other sign, of `Region`
    the class of the largest mean logit on the same pixels, of `Contrast` the exchange of a and b. Maps of methods that
    are linear in the gradient are odd in the sign of an attribute: raw Grad-CAM, HiResCAM and XGrad-CAM give -1. A
    method that ignores the class (Eigen-CAM, KPCA-CAM, FEM) gives 1 by construction: class-agnostic, no failure
    of the classifier. Two classes that look alike may rest on the same pixels: see `random-logit`.

    Args:
        trial: Rows.
        similarity: `pearson`, `spearman`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`, of which only the positive part or the absolute value counts.

    Returns:
        (N,), lower is better; undefined where a map is constant; refused for `Similarity`, and for a region where the
        classifier has one output.
    """
    check(similarity, reading)
    found, refused = against(trial, functools.partial(rival, trial), similarity, reading)
    return trial.values(found, undefined=found.isnan(), refused=refused)

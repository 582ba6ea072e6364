"""Randomisation of the model's parameters."""

import torch

from sightline.errors import MetricError, ModelError
from sightline.metrics._again import explain_again
from sightline.metrics._randomised import Initialiser, Statistics
from sightline.metrics._similarity import Reading, Similarity, check, compare
from sightline.metrics.metric import Values, metric
from sightline.metrics.sanity._randomised import Order, stages
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "parameter-randomisation",
    family="sanity",
    paper=Paper(title="Sanity Checks for Saliency Maps", authors="Adebayo et al.", year=2018, arxiv="1810.03292"),
    summary="How alike the maps of the classifier and of itself with random weights are.",
    direction="down",
    range=(-1, 1),
    cost="1 explanation a step",
    forwards=lambda settings, _: int(settings["steps"] or 1),
    needs={"explainer", "model"},
)
def parameter_randomisation(
    trial: Trial,
    *,
    order: Order = "cascading",
    steps: int | None = 8,
    similarity: Similarity = "spearman",
    reading: Reading = "raw",
    initialiser: Initialiser = "normal",
    statistics: Statistics = "kept",
) -> Values:
    """The mean over steps k of sim(E_f(x), E_f_k(x)), f_k the classifier with the weights of step k made random.

    Modules with parameters are taken in the order in which they run, in `steps` parts of equal count. The user's model
    is never written to: random weights live in private copies that share all other weights with it, and that all rows
    and methods of a session share. The target is the one that was resolved on f.

    A map that stays shows no more of this classifier than the image and the architecture give away. Necessary, never
    sufficient, and no ranking: rules that modify the backward pass converge to one direction whatever the upper weights
    are (Sixt et al. 2020, arXiv 1912.09818), and randomising from the top leaves the lower features in place (Binder et
    al. 2023, arXiv 2211.12486). Attention that was learned beside the classifier is not retrained.

    Args:
        trial: Rows.
        order: `cascading` makes the parts random one after the other from the output down and keeps them so;
            `bottom-up` does so from the input; `independent` takes one part at a time.
        steps: How many parts; None for one a module.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.
        initialiser: `normal` draws with the mean and the standard deviation of the weights that it replaces, which
            keeps the size of activations; `permuted` puts the same values in another order. A parameter whose values
            are all equal stays.
        statistics: Running statistics of batch norms, `kept` or `reset` to 0 and 1 where their module is random.

    Returns:
        (N,), lower is better, 0 where nothing is alike; a mean over the steps whose map is not constant, undefined
        where there is none or the map itself is constant. The curve (N, steps) has NaN for those steps.

    Raises:
        MetricError: A random network whose outputs are not finite.
    """
    check(similarity, reading)
    found = []
    for step, classifier in enumerate(stages(trial.session, order, steps, initialiser, statistics), 1):
        try:
            again = explain_again(trial, classifier=classifier)
        except ModelError as reason:
            raise MetricError(
                f"the classifier that is random at step {step} ({order}) gives no map: {reason}; try "
                "initialiser='permuted' or another seed"
            ) from reason
        found.append(compare(trial.explanation, again, similarity, reading))
    curve = torch.stack(found, 1)
    defined = ~curve.isnan()
    mean = curve.nan_to_num(0).sum(1) / defined.sum(1)
    return trial.values(mean, undefined=~defined.any(1), curve=curve)

"""P-TAME."""

from typing import Any

from sightline.explainers.learned._bind import binding
from sightline.explainers.learned._maps import learned_maps
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "p-tame",
    family="learned",
    paper=Paper(
        title="P-TAME: Explain Any Image Classifier with Trained Perturbations",
        authors="Ntrougkas, Mezaris and Patras",
        year=2025,
        arxiv="2501.17813",
        venue="IEEE Open Journal of Signal Processing 2025",
    ),
    summary="TAME on the features of another network, so that it explains black boxes too.",
    cost="1 forward, and 1 of the auxiliary network, after training",
    forwards=1,
    signed=True,
    polarity="height",
    bind=binding("p-tame"),
)
def p_tame(question: Question, *, weights: Any = None, auxiliary: Any = None) -> Maps:
    """c^(y) as for `tame`, where A_l are features of an auxiliary network (a ResNet-18 in the paper).

    The fusion has no bias. The explained classifier is asked for the decision alone, so a `BlackBox` will do; it had
    to be a `Classifier` in training, where sigmoid(c^(y)) masked the image and gradients ran through it.

    Args:
        question: What is asked.
        weights: The file of a trained attention, a `Learned`, or a `Retrained`.
        auxiliary: A `Classifier`, or text: a model and its weights, such as `torchvision:resnet18 resnet18.pth`.

    Returns:
        (N, h, w), signed; zero means nothing but a mask of 1/2.

    Raises:
        MethodError: No weights or no auxiliary network, or those of another training; a target that no channel
            explains.
    """
    return learned_maps(question, weights, auxiliary)

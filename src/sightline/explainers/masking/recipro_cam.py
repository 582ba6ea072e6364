"""Recipro-CAM."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline import target as targets
from sightline.errors import MethodError
from sightline.explainers.masking._tail import Tail
from sightline.explainers.method import Maps, explains, fused
from sightline.explainers.question import Question
from sightline.registry import Paper


@explains(
    "recipro-cam",
    family="masking",
    paper=Paper(
        title="Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks",
        authors="Byun and Lee",
        year=2022,
        arxiv="2209.14074",
        venue="CVPRW 2024",
    ),
    summary="What the classifier says when it sees one position of the feature map alone: no gradients, one forward.",
    cost="1 forward + 1 tail for each position (49 or 196)",
    forwards=1,
    needs={"features"},
    signed=False,
)
def recipro_cam(
    question: Question, *, spread: bool = True, reading: Literal["score", "probability"] = "probability"
) -> Maps:
    """S_ij = p_c(tail(A * M_ij)) with M_ij the position (i, j), spread by the kernel [1 2 1]' [1 2 1] / 16.

    Args:
        question: What is asked.
        spread: Whether a position is seen with a little of its neighbours; else alone.
        reading: The target's `probability`, or its `score`.

    Returns:
        (N, h, w), in [0, 1] for probabilities.

    Raises:
        MethodError: An unknown reading.
    """
    if reading not in ("score", "probability"):
        raise MethodError(f"reading must be 'score' or 'probability', not {reading!r}")
    read = targets.scores if reading == "score" else targets.probabilities
    maps = {}
    for position, name in enumerate(question.layers):
        tail = Tail(question, name, position)
        question.resolve(tail.outputs)
        h, w = tail.A.shape[2:]
        M = torch.eye(h * w, device=tail.A.device).reshape(h * w, 1, h, w)
        if spread:
            kernel = torch.tensor([1.0, 2.0, 1.0], device=tail.A.device)
            M = F.conv2d(M, (kernel[:, None] * kernel)[None, None] / 16, padding=1)
        S = torch.empty(len(question.targets), h * w, device=tail.A.device)
        for b in sorted(set(question.image.tolist())):

            def only(index: Tensor, A: Tensor = tail.A[b], M: Tensor = M) -> Tensor:
                return A * M[index]

            outputs = tail.chunked(h * w, only, b)
            for row in (question.image == b).nonzero().flatten().tolist():
                S[row] = read([question.targets[row]] * len(outputs), outputs)
        maps[name] = S.reshape(-1, h, w)
    return fused(maps, question.fuse)

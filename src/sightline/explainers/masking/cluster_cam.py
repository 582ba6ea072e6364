"""Cluster-CAM."""

import numpy as np
import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import channelwise
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._options import ANYTIME
from sightline.explainers.masking._plan import ChannelMasks, min_max
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


def clusters_of(A: Tensor, count: int, seed: int) -> Tensor:
    """Spectral clustering of channels (K, h, w) by shape: the cluster of each (K,).

    Affinity exp(-d^2 / (2 median^2)) of the channels scaled to [0, 1]; the leading eigenvectors of the normalised
    affinity, rows of unit length, k-means (Ng, Jordan and Weiss 2001).
    """
    from scipy.cluster.vq import kmeans2

    X = min_max(A).flatten(1).double()
    distance = torch.cdist(X, X)
    scale = distance[distance > 0].median() if bool((distance > 0).any()) else torch.tensor(1.0)
    affinity = torch.exp(-(distance**2) / (2 * scale**2))
    root = affinity.sum(1).rsqrt()
    vectors = torch.linalg.eigh(root[:, None] * affinity * root).eigenvectors[:, -count:]
    vectors = vectors * torch.where(vectors.abs().amax(0) == vectors.amax(0), 1.0, -1.0)  # eigenvectors have no sign
    rows = (vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)).cpu().numpy()
    _, labels = kmeans2(rows, count, minit="++", seed=np.random.default_rng(seed), missing="warn")
    return torch.from_numpy(labels.astype(np.int64)).to(A.device)


class _Plan(ChannelMasks):
    def __init__(self, A: Tensor, size: tuple[int, int], clusters: int, seed: int) -> None:
        label = clusters_of(A, min(clusters, len(A)), seed)
        self.merged = torch.stack([A[label == c].mean(0) for c in sorted(set(label.tolist()))])  # (clusters, h, w)
        super().__init__(self.merged, size)

    def maps(self, values: Tensor) -> Tensor:
        """(n, h, w)."""
        s = values[:, self.which]
        return torch.einsum("nc,chw->nhw", s - s.mean(1, keepdim=True), self.merged)


@masked(
    "cluster-cam",
    paper=Paper(
        title="Cluster-CAM: Cluster-Weighted Visual Interpretation of CNNs' Decision in Image Classification",
        authors="Feng, Ji, Daković, Cui, Zhu and Stanković",
        year=2023,
        arxiv="2302.01642",
    ),
    summary="Channels clustered by shape; clusters that help the score count for, those that do not count against.",
    cost="1 forward + 10 masked forwards",
    forwards=11,
    needs={"features"},
    signed=True,
    without=ANYTIME,  # few masks: there is nothing to save
)
def cluster_cam(question: Question, engine: Engine, *, clusters: int = 10) -> Maps:
    """S = sum_c (s_c - mean s) B_c with B_c the mean channel of cluster c and s_c = f_c(x * mm(up(B_c))).

    Clusters above the mean score are the paper's base, those below its scissors. The weights are our reading: the
    paper's text was not at hand in full.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        clusters: Number of clusters, at least 2.

    Returns:
        (N, h, w), signed.

    Raises:
        MethodError: `clusters` is below 2.
    """
    if clusters < 2:
        raise MethodError(f"clusters must be at least 2, not {clusters}")
    return channelwise(question, engine, lambda A, _: _Plan(A, question.size, clusters, question.seed))

"""A small scorer, a linear one, their float64 twins, and any maps as an explanation: what tests of metrics share."""

import torch
from torch import nn

import sightline as sl

SIZE = 12
MEAN, STD = [0.4, 0.5, 0.3], [0.2, 0.25, 0.3]


class Scorer(nn.Module):
    """A small network without symmetries."""

    def __init__(self, outputs=4):
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(5, outputs)

    def forward(self, x):
        return 4 * self.head(self.features(x).mean((2, 3)))


class Linear(nn.Module):
    """One logit, a weighted sum of the pixels."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) / SIZE)

    def forward(self, x):
        return (x * self.w).sum((1, 2, 3))[:, None]


def classifier(outputs=4, net=Scorer, **settings):
    settings = {"decision": "categorical", "mean": MEAN, "std": STD} | settings
    return sl.Classifier((net(outputs) if net is Scorer else net()).eval(), **settings)


def pixels(count=3):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def maps_of(count=3, side=SIZE):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(5))


def planted(clf, x, maps, target=None):
    """Any maps (N, h, w) as an explanation."""
    out = sl.explain(clf, x, method="uniform", target=target)
    assert len(out) == len(maps)
    kept = {n: getattr(out, n) for n in ("image", "targets", "score", "probability", "layers", "size")}
    return sl.Explanation(maps=maps, method="planted", polarity="positive", signed=True, **kept)


def margin(image, c):
    """Slow float64 log-odds of class c of one image in pixel space."""
    net = Scorer().double().eval()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        y = net((image.double()[None] - mean) / std)[0]
    return float(y[c] - torch.cat([y[:c], y[c + 1 :]]).logsumexp(0))


def probability(image, c):
    return float(torch.tensor(margin(image, c), dtype=torch.float64).sigmoid())

"""A network of rendered faces with a planted fault: a constant that says no to Eyeglasses, whatever the image shows."""

import torch
from torch import nn

import sightline as sl
from sightline.data import faces
from sightline.models.facenet import MEAN, STD, load_facenet

NAMES = ("Eyeglasses", "Smiling", "Wearing_Hat")
SHIFT = -12.0
RATES = {"Eyeglasses": 0.4, "Wearing_Hat": 0.3, "Smiling": 0.5}


def network(*, shift: float = SHIFT) -> nn.Module:
    """The shipped network with three outputs; `shift` is added to the bias of the first."""
    net = load_facenet("unbalanced").eval()
    rows = [net.labels.index(name) for name in NAMES]
    head = nn.Linear(net.classifier.in_features, len(rows))
    with torch.no_grad():
        head.weight.copy_(net.classifier.weight[rows])
        head.bias.copy_(net.classifier.bias[rows])
        head.bias[0] += shift
    net.classifier = head
    return net


def build(shift: str = str(SHIFT)) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...], int]:
    """For `python:audited.py:build`."""
    return network(shift=float(shift)), MEAN, STD, 64


def classifier(*, shift: float = SHIFT) -> sl.Classifier:
    """The network as a classifier."""
    return sl.Classifier(network(shift=shift), labels=NAMES, size=64, decision="multilabel", mean=MEAN, std=STD)


def drawn(count: int, seed: int = 3) -> faces.Faces:
    """Faces at 64 pixels."""
    return faces.sample(count, seed=seed, size=64, rates=RATES)

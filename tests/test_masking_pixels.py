"""Occlusion against its slow float64 twin, and the laws it keeps."""

import numpy as np
import pytest
import torch
from torch import nn

import reference
import reference_masking_channels as twin
import sightline as sl
from nets import images
from sightline.errors import MethodError

INDEX = 2
FILL = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(8))


def ask(net, kind, pixels, **settings):
    decision = "categorical" if kind == "category" else "multilabel"
    target = sl.Category(INDEX) if kind == "category" else sl.Attribute(INDEX, int(kind))
    clf = sl.Classifier(net, decision=decision, size=12)
    return sl.explain(clf, pixels, method="occlusion", target=target, backend="eager", **settings).maps


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def net():
    """A net with scores far apart."""
    net = reference.Net("mlp")
    with torch.no_grad():
        for layer in (net.features[0], net.features[3], net.tail[-1]):
            layer.weight *= 4
    return net


@pytest.mark.parametrize("reading", ["score", "probability"])
@pytest.mark.parametrize("kind", ["category", "+1", "-1"])
@pytest.mark.parametrize(
    ("window", "stride"), [(5, 3), (4, 4), (12, 1)]
)  # windows that end at the border on their own or not
def test_occlusion(net, kind, reading, window, stride, pixels):
    read = twin.score if reading == "score" else twin.probability
    wanted = np.stack(
        [
            twin.occlusion(net, x, kind, INDEX, window=window, stride=stride, read=read, fill=FILL.double())
            for x in pixels
        ]
    )
    found = ask(net, kind, pixels, window=window, stride=stride, reading=reading, fill=FILL).numpy()
    assert np.abs(wanted).max() > 0
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_default_fill_is_the_mean_colour(net, pixels):
    x = pixels[:1]
    wanted = twin.occlusion(
        net, x[0], "category", INDEX, window=3, stride=2, fill=x[0].double().mean((1, 2), keepdim=True)
    )
    found = ask(net, "category", x, window=3, stride=2)[0].numpy()
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_defaults_are_a_seventh_and_half_of_it():
    clf = sl.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval(), size=224)
    record = sl.explain(clf, images(1, side=224), method="occlusion", backend="eager").provenance
    assert (record["window"], record["stride"], record["masking"]["passes"]) == (32, 16, [170])


@pytest.mark.parametrize("reading", ["score", "probability"])
def test_the_other_direction_is_the_negative_map(net, reading, pixels):
    plus, minus = (ask(net, kind, pixels, window=4, reading=reading) for kind in ("+1", "-1"))
    assert torch.allclose(plus, -minus, atol=1e-6 * float(plus.abs().max()))


def test_borders_are_not_darker():
    """Where each pixel counts the same and the image is plain, so is the map."""
    box = sl.BlackBox(lambda x: x.sum((2, 3)), size=12)
    S = sl.explain(
        box,
        torch.full((1, 3, 12, 12), 0.5),
        method="occlusion",
        target=sl.Category(0),
        window=4,
        stride=2,
        fill="black",
    ).maps
    assert torch.allclose(S, torch.full_like(S, 0.5 * 16), rtol=1e-4)


def test_a_constant_classifier_gives_an_empty_map():
    box = sl.BlackBox(lambda x: torch.ones(len(x), 3), size=12)
    found = sl.explain(box, images(2, side=12), method="occlusion", window=4, target=sl.Category(0))
    assert bool((found.maps == 0).all())
    assert found.empty.tolist() == [True, True]


def test_chunks_and_the_batch_do_not_matter(net, pixels):
    whole = ask(net, "+1", pixels, window=4)
    for chunk in (1, 7):
        assert torch.allclose(ask(net, "+1", pixels, window=4, chunk=chunk), whole, atol=1e-6)
    assert torch.allclose(ask(net, "+1", pixels[1:], window=4)[0], whole[1], atol=1e-6)


def test_two_thirds_of_the_windows_make_a_map_near_the_full_one(net, pixels):
    whole = ask(net, "+1", pixels, window=4, stride=1)
    part = ask(net, "+1", pixels, window=4, stride=1, budget=55)
    for a, b in zip(whole.flatten(1), part.flatten(1), strict=True):
        assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.9


@pytest.mark.parametrize(
    "settings",
    [{"window": 0}, {"window": 13}, {"window": 4, "stride": 5}, {"window": 4, "stride": 0}, {"reading": "x"}],
)
def test_settings_out_of_range(net, settings, pixels):
    with pytest.raises(MethodError, match=r"occlusion|reading"):
        ask(net, "category", pixels, **settings)

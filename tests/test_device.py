"""What a GPU computes is what the CPU computes; nothing leaves the device on the way."""

import pytest
import torch

import learned_weights
import sightline as sl
from nets import ConvNet, images, seeded

SETTINGS = {"smooth-grad": {"samples": 2}, "smooth-grad-cam++": {"samples": 2}, "integrated-gradients": {"steps": 2}}
SETTINGS |= learned_weights.SETTINGS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_every_method_gives_the_same_maps_on_a_gpu() -> None:
    x, target = images(3), sl.each([0, 2])
    on_cpu = sl.Classifier(seeded(ConvNet), mean=[0.5], std=[0.25])
    on_gpu = sl.Classifier(seeded(ConvNet).cuda(), mean=[0.5], std=[0.25])
    for method in sl.methods():
        settings = SETTINGS.get(method.name, {})
        wanted = sl.explain(on_cpu, x, method=method.name, target=target, **settings)
        found = sl.explain(on_gpu, x, method=method.name, target=target, **settings)
        assert found.maps.is_cuda
        top = float(wanted.maps.abs().max())
        assert torch.allclose(found.maps.cpu(), wanted.maps, atol=2e-3 * top), method.name
        assert found.heatmaps().is_cuda


def test_a_classifier_can_be_moved_without_moving_the_model() -> None:
    net = seeded(ConvNet)
    classifier = sl.Classifier(net, device="meta")
    assert next(classifier.twin().parameters()).is_meta
    assert not next(net.parameters()).is_meta

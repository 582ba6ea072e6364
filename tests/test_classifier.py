"""The classifier and the black box: what goes in, what comes out, and the errors that name the fix."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learned_weights
import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.errors import InputError, LayerError, MethodError, ModelError


class Wrapped(nn.Module):
    """A network whose output is handed to a function."""

    def __init__(self, form: Any, outputs: int = 5) -> None:
        super().__init__()
        self.net, self.form = seeded(ConvNet, outputs), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda y: y, None),
        (lambda y: (y, y.detach()), None),
        (lambda y: {"logits": y, "aux": y * 0}, None),
        (lambda y: {"aux": y * 0, "out": y}, None),
        (lambda y: {"scores": y, "aux": y * 0}, "scores"),
        (lambda y: [y * 0, y], 1),
        (lambda y: SimpleNamespace(scores=y), lambda out: out.scores),
        (lambda y: y[:, :, None, None], None),
    ],
)
def test_scores_are_found_in_what_a_model_returns(form: Any, output: Any) -> None:
    x = images()
    classifier = sl.Classifier(Wrapped(form), output=output)
    with torch.no_grad():
        assert torch.allclose(classifier(x), seeded(ConvNet)(x), atol=1e-5)
    assert classifier.decision == "categorical"
    assert len(sl.explain(classifier, x)) == 2


def test_the_kind_of_decision_is_inferred() -> None:
    assert sl.Classifier(seeded(ConvNet, 1), size=16).decision == "binary"
    assert sl.Classifier(Wrapped(lambda y: y[:, 0], 1), size=16).decision == "binary"
    assert sl.Classifier(seeded(Segmenter), size=16).decision == "segmentation"
    assert sl.Classifier(seeded(ConvNet), decision="multilabel", size=16).decision == "multilabel"


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (torch.full((2, 3, 16, 16), torch.nan), "image 0 of the batch holds NaN"),
        (torch.cat([images(1), torch.full((1, 3, 16, 16), torch.inf)]), "image 1 of the batch holds NaN or infinity"),
        (images() * 2 - 1, r"must lie in \[0, 1\]: do not normalise"),
        (images()[0], r"pixels\[None\]"),
        (images()[:, :1], "must have shape"),
        (images()[:0], "batch is empty"),
        ((images() * 255).to(torch.uint8), "divide 8-bit values by 255"),
        (images().numpy(), "torch tensor"),
    ],
)
def test_bad_pixels_are_named(pixels: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        sl.explain(sl.Classifier(seeded(ConvNet)), pixels)


def test_settings_that_do_not_fit_are_refused() -> None:
    net, x = seeded(ConvNet), images()
    for settings, says in [
        ({"labels": ["a", "b"]}, "2 labels do not fit 5 outputs"),
        ({"labels": "abcde"}, "not one string"),
        ({"decision": "binary"}, "has one output, this one has 5"),
        ({"decision": "segmentation"}, "cannot have outputs of shape"),
        ({"decision": "guess"}, "decision must be one of"),
        ({"mean": (0.5, 0.5)}, "mean must hold|pixels must have shape"),
        ({"std": 0.0}, "std must be positive"),
        ({"precision": "int8"}, "precision must be"),
        ({"output": "scores"}, "is not in what the model returns"),
    ]:
        with pytest.raises((ModelError, InputError), match=says):
            sl.Classifier(net, **settings)(x)
    with pytest.raises(ModelError, match="decision='binary'"):
        sl.Classifier(seeded(ConvNet, 1), decision="categorical")(x)
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        sl.Classifier(lambda x: x)  # type: ignore[arg-type]


def test_nan_weights_are_an_error() -> None:
    net = seeded(ConvNet)
    with torch.no_grad():
        net.head.bias[2] = torch.nan
    with pytest.raises(ModelError, match="outputs for image 0 of the batch hold NaN"):
        sl.explain(sl.Classifier(net), images())


def test_probabilities_in_place_of_scores_are_refused_and_can_be_turned_back() -> None:
    x = images()
    for form, outputs, back, decision in [
        (torch.sigmoid, 1, lambda p: p.logit(1e-6), None),
        (lambda y: y.sigmoid()[:, 0], 1, lambda p: p.logit(1e-6), None),
        (torch.sigmoid, 5, lambda p: p.logit(1e-6), "multilabel"),
        (lambda y: y.softmax(1), 5, torch.log, None),
    ]:
        net, target = Wrapped(form, outputs), sl.each([0]) if decision else None
        with pytest.raises(ModelError, match=r"outputs are probabilities.*output="):
            sl.explain(sl.Classifier(net, decision=decision), x, target=target)  # type: ignore[arg-type]
        fixed = sl.explain(sl.Classifier(net, decision=decision, output=back), x, target=target)  # type: ignore[arg-type]
        plain = sl.explain(sl.Classifier(seeded(ConvNet, outputs), decision=decision), x, target=target)  # type: ignore[arg-type]
        assert torch.allclose(fixed.probability, plain.probability, atol=1e-5)
    assert len(sl.explain(sl.Classifier(Wrapped(lambda y: y.log_softmax(1))), x)) == 2


def test_a_wrong_size_names_the_size() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(ModelError, match=r"pixels of shape \(2, 3, 8, 8\).*size=\(16, 16\)"):
        sl.Classifier(net, size=16)(images(2, 8))


def test_a_single_pixel_has_no_layer_but_pixel_maps() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(1, 1)
    with pytest.raises(LayerError, match="no layer with a spatial map"):
        sl.explain(classifier, x)
    out = sl.explain(classifier, x, method="input-x-gradient")
    assert out.maps.shape == out.heatmaps().shape == (1, 1, 1)


def test_memory_order_and_precision_keep_the_numbers() -> None:
    net, x = seeded(ConvNet), images(4)
    wanted = sl.explain(sl.Classifier(net, channels_last=False, fold=False), x)
    assert torch.allclose(sl.explain(sl.Classifier(net), x).maps, wanted.maps, atol=1e-6)
    half = sl.explain(sl.Classifier(net, precision="bfloat16"), x, target=[*wanted.targets])
    assert half.maps.dtype == torch.float32
    assert torch.allclose(half.maps, wanted.maps, atol=0.05 * float(wanted.maps.abs().max()))


def test_normalisation_is_inside() -> None:
    net, x = seeded(ConvNet), images()
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    with torch.no_grad():
        wanted = net((x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])
    assert torch.allclose(sl.Classifier(net, mean=mean, std=std)(x), wanted, atol=1e-5)


def test_a_black_box_serves_the_methods_that_need_no_inside() -> None:
    net, x = seeded(ConvNet), images()
    box = sl.BlackBox(lambda pixels: net(pixels).detach().numpy(), size=16)
    free = [m.name for m in sl.methods() if not m.needs]
    assert {"uniform", "random", "centre", "fake-cam", "edges"} <= set(free)
    for name in free:
        assert len(sl.explain(box, x, method=name, **learned_weights.SETTINGS.get(name, {}))) == 2
    for method in sl.methods():
        if method.needs:
            with pytest.raises(MethodError, match="BlackBox does not show"):
                sl.explain(box, x, method=method.name)
    sure = sl.BlackBox(lambda pixels: net(pixels).softmax(1), probabilities=True, size=16)
    out = sl.explain(sure, x, method="uniform")
    with torch.no_grad():
        assert torch.allclose(out.probability, net(x).softmax(1).amax(1), atol=1e-5)
    with pytest.raises(ZeroDivisionError):
        sl.explain(sl.BlackBox(lambda pixels: 1 / 0, size=16), x, method="uniform")


def test_a_model_without_weights() -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    x = images(2)
    assert torch.allclose(sl.Classifier(Mean())(x), x.mean((2, 3)))

"""The loss of learned attention against loops over single numbers, value and gradient; its laws; the recipes."""

import math

import pytest
import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.training.attention.losses import (
    Lambdas,
    average_variation,
    chosen,
    cross_entropy,
    terms_of,
    total_variation,
)
from sightline.training.attention.recipe import PRESETS, Recipe, recipe_of
from sightline.training.attention.schedule import factor, one_cycle

LAMBDAS = Lambdas(l1=0.7, l2=2.0, l3=1.5, l4=0.3, border=0.3)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def loop_loss(c: list, outputs: list, y: list[int], channel: list[int], sign: list[float], every: bool, side: bool):
    """The formula number by number, in Python's own floats."""
    N, h, w = len(c), len(c[0][0]), len(c[0][0][0])
    ce = 0.0
    for n in range(N):
        if side:
            ce += math.log(1 + math.exp(-sign[n] * outputs[n][y[n]]))
        else:
            ce -= math.log(math.exp(outputs[n][y[n]]) / sum(math.exp(z) for z in outputs[n]))
    area, count, smooth = 0.0, 0, 0.0
    for n in range(N):
        for m in range(N) if every else [n]:
            a = [[sigmoid(sign[m] * c[n][channel[m]][i][j]) for j in range(w)] for i in range(h)]
            for i in range(h):
                for j in range(w):
                    area, count = area + (a[i][j] + 0.0005) ** 0.3, count + 1
                    smooth += (a[i + 1][j] - a[i][j]) ** 2 if i + 1 < h else 0
                    smooth += (a[i][j + 1] - a[i][j]) ** 2 if j + 1 < w else 0
                    borders = (i == 0) + (i == h - 1) + (j == 0) + (j == w - 1)
                    smooth += 0.3 * borders * a[i][j] ** 2
    return 1.5 * ce / N + 2.0 * area / count + 0.7 * smooth / (2 * N)


def our_loss(c: Tensor, outputs: Tensor, y: Tensor, channel: Tensor, sign: Tensor, every: bool, side: bool) -> Tensor:
    _, maps = chosen(c, channel, sign, "batch-labels" if every else "own")
    return LAMBDAS(terms_of(outputs, y, sign if side else None, maps, LAMBDAS))


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("side", [True, False])
def test_value_and_gradient_are_those_of_a_loop_over_numbers(every: bool, side: bool) -> None:
    make = torch.Generator().manual_seed(3)
    N, R, C, h, w = 3, 6, 3, 3, 4
    c = torch.randn(N, R, h, w, generator=make, dtype=torch.float64, requires_grad=True)
    outputs = torch.randn(N, C, generator=make, dtype=torch.float64, requires_grad=True)
    y, channel = torch.tensor([2, 0, 2]), torch.tensor([2, 3, 5])
    sign = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)

    def slow(values: Tensor, scores: Tensor) -> float:
        return loop_loss(values.tolist(), scores.tolist(), y.tolist(), channel.tolist(), sign.tolist(), every, side)

    loss = our_loss(c, outputs, y, channel, sign, every, side)
    assert float(loss.detach()) == pytest.approx(slow(c, outputs), rel=1e-12)
    found = torch.autograd.grad(loss, [c, outputs])
    step = 1e-5
    for which, (value, gradient) in enumerate(zip((c, outputs), found, strict=True)):
        for place in range(value.numel()):
            ends = []
            for by in (step, -step):
                moved = value.detach().clone()
                moved.view(-1)[place] += by
                ends.append(slow(moved, outputs) if which == 0 else slow(c, moved))
            assert float(gradient.reshape(-1)[place]) == pytest.approx((ends[0] - ends[1]) / 2 / step, abs=1e-8)


def test_of_identical_maps_tv_of_the_batchs_labels_is_n_times_the_diagonals_and_av_is_the_same() -> None:
    N = 5
    one = torch.randn(1, 1, 4, 6, dtype=torch.float64)
    c, channel, sign = one.expand(N, 3, 4, 6), torch.tensor([0, 1, 2, 1, 0]), torch.ones(N, dtype=torch.float64)
    own, every = (chosen(c, channel, sign, kind)[1] for kind in ("own", "batch-labels"))
    assert own.shape == (N, 1, 4, 6)
    assert every.shape == (N, N, 4, 6)
    assert torch.allclose(total_variation(every), N * total_variation(own), rtol=1e-12)
    assert torch.allclose(average_variation(every, 0.3), average_variation(own, 0.3), rtol=1e-12)


def test_the_map_that_masks_is_the_same_whatever_is_regularised() -> None:
    c = torch.randn(4, 6, 3, 3)
    channel, sign = torch.tensor([5, 0, 5, 2]), torch.tensor([1.0, -1.0, -1.0, 1.0])
    own = chosen(c, channel, sign, "own")[0]
    assert torch.allclose(own, chosen(c, channel, sign, "batch-labels")[0], atol=1e-6)
    assert torch.allclose(own[1, 0], torch.sigmoid(-c[1, 0]))
    assert torch.allclose(own[3, 0], torch.sigmoid(c[3, 2]))


def test_the_loss_of_a_map_of_ones_has_av_one_and_tv_of_the_borders_alone() -> None:
    a = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    assert float(average_variation(a, 1.0, eps=0.0)) == 1
    assert float(total_variation(a, 0.3)) == pytest.approx(0.3 * 16 * 2 / 4)  # 2 images x 16 border places / 2N
    assert float(total_variation(a, 0.0)) == 0


def test_cross_entropy_of_a_side_stays_finite_far_out() -> None:
    z = torch.tensor([[500.0], [-500.0]])
    y = torch.zeros(2, dtype=torch.long)
    assert float(cross_entropy(z, y, torch.tensor([1.0, -1.0]))) == 0
    assert float(cross_entropy(z, y, torch.tensor([-1.0, 1.0]))) == 500


def test_the_stars_are_cross_entropy_alone() -> None:
    for name in ("paper-resnet-star", "paper-vgg-star"):
        lambdas = PRESETS[name].lambdas
        assert (lambdas.l1, lambdas.l2) == (0, 0)
        assert lambdas.l3 == 1.5
    assert PRESETS["paper-vgg-star"].learning_rate == 1e-2


def test_the_presets_hold_what_was_published() -> None:
    resnet, vgg = PRESETS["paper-resnet"], PRESETS["paper-vgg"]
    assert resnet == Recipe()
    assert (resnet.learning_rate, resnet.learning_rate * resnet.bias_factor) == (1e-4, 2e-4)
    assert (vgg.learning_rate, vgg.learning_rate * vgg.bias_factor) == (1e-2, 2e-2)  # what ran, not what was asked for
    assert (resnet.epochs, vgg.epochs, resnet.batch, vgg.batch) == (26, 8, 64, 64)
    assert (resnet.decay_biases, PRESETS["tame-resnet"].decay_biases) == (True, False)
    assert PRESETS["t-tame-vit"].mask_space == "normalised"
    assert PRESETS["p-tame-resnet"].amsgrad
    assert recipe_of("paper", "tame").name == "tame-resnet"
    assert recipe_of("paper", "constant").name == "paper-resnet"


def test_a_recipe_is_changed_by_name_and_refuses_what_cannot_be() -> None:
    found = recipe_of("paper", "l-cam-fm", l1=0.5, epochs=3)
    assert (found.lambdas.l1, found.lambdas.l2, found.epochs) == (0.5, 2, 3)
    with pytest.raises(InputError, match="no 'epoch'"):
        recipe_of("paper", "l-cam-fm", epoch=3)
    with pytest.raises(InputError, match="there is no recipe 'papre'"):
        recipe_of("papre", "l-cam-fm")
    for wrong in ({"batch": 0}, {"l4": 0.0}, {"regularise": "all"}, {"validation": 0.9}, {"learning_rate": math.nan}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            recipe_of("paper", "l-cam-fm", **wrong)
    with pytest.raises(InputError, match="not trained on"):
        recipe_of("paper", "l-cam-fm", validation=0.0)


def test_one_cycle_is_pytorchs() -> None:
    steps = 37
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2.0, total_steps=steps)
    for step in range(steps):
        group = optimiser.param_groups[0]
        rate, momentum = one_cycle(step, steps)
        assert 2.0 * rate == pytest.approx(group["lr"], rel=1e-9)
        assert momentum == pytest.approx(group["momentum"], rel=1e-9)
        optimiser.step()
        if step + 1 < steps:
            theirs.step()


def test_the_rate_falls_as_the_named_epochs_begin() -> None:
    assert [factor(epoch, 0.5, (1, 3)) for epoch in range(6)] == [1, 0.5, 0.25, 0.125, 0.125, 0.125]

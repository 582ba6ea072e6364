"""Sanity metrics against slow float64 references, laws, statuses; the user's model is never written to."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity
from torch import nn

import sightline as sl
from nets import ConvNet, Residual, Segmenter, images, seeded
from sightline.errors import MetricError
from sightline.metrics import Session, Trial
from sightline.metrics.sanity._randomised import randomiser, stages

MEAN, STD = [0.4, 0.5, 0.3], [0.2, 0.25, 0.3]


def classifier(outputs=5, make=ConvNet, **settings) -> sl.Classifier:
    return sl.Classifier(seeded(make, outputs), mean=MEAN, std=STD, size=16, **settings)


def setting(count=2, method="grad-cam", target=None, **settings):
    clf, x = classifier(**settings), images(count)
    explainer = sl.explainer(method, clf, layer="relu2")
    return clf, x, explainer, explainer(x, target)


def slow_map(net, x, c, sign=1):
    """Grad-CAM's raw map (h, w) of one image in pixel space, in float64 and with loops."""
    net = net.double().eval()
    seen = {}
    handle = net.relu2.register_forward_hook(lambda m, a, out: seen.update(A=out.clone()))
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        net((x.double()[None] - mean) / std)
    handle.remove()
    A = seen["A"].clone().requires_grad_()
    (G,) = torch.autograd.grad(sign * net.head(A.mean((2, 3)))[0, c], A)
    S = torch.zeros(A.shape[2:], dtype=torch.float64)
    for k in range(A.shape[1]):
        S += G[0, k].mean() * A[0, k].detach()
    return S


def alike(a, b, similarity):
    a, b = a.flatten().numpy(), b.flatten().numpy()
    return stats.spearmanr(a, b).statistic if similarity == "spearman" else stats.pearsonr(a, b).statistic


FROM_THE_TOP = ["head", "bn2", "conv2", "bn1", "conv1"]


@pytest.mark.parametrize(
    ("order", "random"),
    [
        ("cascading", [FROM_THE_TOP[: k + 1] for k in range(5)]),
        ("bottom-up", [FROM_THE_TOP[::-1][: k + 1] for k in range(5)]),
        ("independent", [[name] for name in FROM_THE_TOP]),
    ],
)
@pytest.mark.parametrize("similarity", ["spearman", "pearson"])
def test_randomisation_equals_its_definition(order, random, similarity):
    clf, x, explainer, out = setting()
    session = Session(clf, x)
    asked = {"order": order, "steps": None, "similarity": similarity}
    found = sl.evaluate(
        clf, x, out, [("parameter-randomisation", asked)], explainer=explainer, session=session, backend="eager"
    )["parameter-randomisation"]
    made = stages(session, order, None, "normal", "kept")
    for k, names in enumerate(random):
        net = seeded(ConvNet, 5)
        for name in names:  # what is random is taken over, all else is the user's
            net.get_submodule(name).load_state_dict(made[k].source.get_submodule(name).state_dict())
        for n in range(2):
            c = out.targets[n].category
            wanted = alike(slow_map(seeded(ConvNet, 5), x[n], c), slow_map(net, x[n], c), similarity)
            assert float(found.curve[n, k]) == pytest.approx(wanted, abs=2e-3)
    assert torch.allclose(found.value, found.curve.mean(1))


def test_random_weights_are_where_they_should_be_and_nowhere_else():
    net = seeded(ConvNet, 5)
    clf = sl.Classifier(net, mean=MEAN, std=STD, size=16)
    session = Session(clf, images(1))
    for k, made in enumerate(stages(session, "cascading", None, "normal", "kept")):
        for name, value in made.source.named_parameters():
            mine = dict(net.named_parameters())[name]
            if name.rpartition(".")[0] in FROM_THE_TOP[: k + 1]:
                assert not torch.equal(value, mine), (k, name)
            else:
                assert value.data_ptr() == mine.data_ptr(), (k, name)  # shared, not copied
        assert torch.equal(made.source.bn1.running_var, net.bn1.running_var)
    last = stages(session, "cascading", None, "normal", "kept")[-1].source
    before = stages(session, "cascading", 3, "normal", "kept")[0].source
    assert torch.equal(last.head.weight, before.head.weight)  # one draw a parameter, whatever the steps
    for name, value in last.named_parameters():
        if value.numel() > 100:
            mine = dict(net.named_parameters())[name]
            assert float(value.std()) == pytest.approx(float(mine.detach().std()), rel=0.25)
    permuted = stages(session, "cascading", 1, "permuted", "reset")[0].source
    assert torch.equal(permuted.conv2.weight.flatten().sort().values, net.conv2.weight.flatten().sort().values)
    assert not torch.equal(permuted.conv2.weight, net.conv2.weight)
    assert bool((permuted.bn1.running_var == 1).all())
    other = stages(Session(clf, images(1), seed=1), "cascading", 1, "normal", "kept")[0].source
    assert not torch.equal(other.head.weight, last.head.weight)


def test_modules_are_taken_in_the_order_in_which_they_run():
    class Crossed(nn.Module):
        """Defined in another order than it runs, with a module that its parent reads and one that never runs."""

        def __init__(self):
            super().__init__()
            self.head, self.unused = nn.Linear(8, 3), nn.Linear(4, 4)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, x):
            tokens = self.stem(x).flatten(2).transpose(1, 2)
            return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    clf = sl.Classifier(seeded(Crossed), size=16)
    found = list(randomiser(Session(clf, images(1))).order)
    assert [n for n in found if n != "unused"] == ["head", "attention.out_proj", "attention", "stem"]


def test_tied_weights_stay_tied():
    class Tied(Residual):
        def __init__(self):
            super().__init__()
            self.other = nn.Conv2d(8, 8, 3, padding=1)
            self.other.weight = self.block.weight

        def forward(self, x):
            return super().forward(x) + self.other(self.stem(x)).mean()

    made = stages(Session(sl.Classifier(seeded(Tied), size=16), images(1)), "cascading", None, "normal", "kept")
    assert all(m.source.other.weight is m.source.block.weight for m in made)


def test_the_model_of_the_user_is_never_touched_and_classifiers_are_made_once():
    net = seeded(ConvNet, 5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    versions = [p._version for p in net.parameters()]
    clf, x = sl.Classifier(net, mean=MEAN, std=STD, size=16), images()
    session = Session(clf, x)
    for method in ("grad-cam", "saliency"):
        explainer = sl.explainer(method, clf)
        out = explainer(x, sl.each([0, 1]))
        sl.evaluate(clf, x, out, [("parameter-randomisation", {"steps": 3})], explainer=explainer, session=session)
        made = stages(session, "cascading", 3, "normal", "kept")
        assert made[0] is stages(session, "cascading", 3, "normal", "kept")[0]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert versions == [p._version for p in net.parameters()]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_controls_do_not_react_and_gradients_do():
    clf, x = classifier(), images(4)
    session = Session(clf, x)
    values = {}
    for method in ("edges", "centre", "saliency"):
        explainer = sl.explainer(method, clf)
        asked = [("parameter-randomisation", {"steps": 1}), "random-logit", "class-swap"]
        found = sl.evaluate(clf, x, explainer(x), asked, explainer=explainer, session=session)
        values[method] = [float(v.value.mean()) for _, _, v in found.records]
    assert values["edges"] == pytest.approx([1, 1, 1], abs=1e-9)
    assert values["centre"] == pytest.approx([1, 1, 1], abs=1e-9)
    assert values["saliency"][0] < 0.5


def test_the_layer_of_the_explanation_is_kept():
    clf, x = classifier(), images()
    explainer = sl.explainer("grad-cam", clf)  # the layer is chosen by itself
    out = explainer(x)
    seen = []

    def record(self, pixels, target=None, *, truth=None):
        found = call(self, pixels, target, truth=truth)
        seen.append((found.layers, self.classifier is clf))
        return found

    call = sl.Explainer.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sl.Explainer, "__call__", record)
        sl.evaluate(clf, x, out, [("parameter-randomisation", {"steps": 2})], explainer=explainer)
    assert seen == [(out.layers, False)] * 2


def test_class_swap_equals_its_definition():
    clf, x, explainer, out = setting(3)
    found = sl.evaluate(clf, x, out, ["class-swap"], explainer=explainer, backend="eager")["class-swap"]
    for n in range(3):
        z, c = clf(x[n : n + 1])[0], out.targets[n].category
        rival = max((float(z[j]), j) for j in range(5) if j != c)[1]
        net = seeded(ConvNet, 5)
        wanted = alike(slow_map(net, x[n], c), slow_map(net, x[n], rival), "pearson")
        assert float(found.value[n]) == pytest.approx(wanted, abs=1e-3)


def test_random_logit_takes_every_other_output_once():
    clf, x, explainer, out = setting(3)
    asked = [("random-logit", {"draws": 4}), ("random-logit", {"draws": 1})]
    found = sl.evaluate(clf, x, out, asked, explainer=explainer, backend="eager")
    every, first = (v for _, _, v in found.records)
    for n in range(3):
        c, net = out.targets[n].category, seeded(ConvNet, 5)
        S = slow_map(net, x[n], c)
        wanted = sorted(alike(S, slow_map(net, x[n], j), "spearman") for j in range(5) if j != c)
        assert sorted(every.curve[n].tolist()) == pytest.approx(wanted, abs=2e-3)
    assert torch.equal(first.value, every.curve[:, 0])
    with pytest.raises(MetricError, match="has 4 other outputs"):
        sl.evaluate(clf, x, out, [("random-logit", {"draws": 5})], explainer=explainer)


def test_random_logit_equals_quantus_on_the_same_maps():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    clf, x = classifier(2), images(2)  # of two outputs, the other one is the same for both
    explainer = sl.explainer("input-x-gradient", clf)
    out = explainer(x)
    found = sl.evaluate(clf, x, out, ["random-logit"], explainer=explainer)["random-logit"]
    c = torch.tensor([t.category for t in out.targets])
    other = explainer(x, [sl.Category(int(1 - i)) for i in c])
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))

    def theirs(similarity, a, b):
        judge = quantus.RandomLogit(similarity_func=similarity, num_classes=2, disable_warnings=True)
        a, b = (v.double().numpy()[:, None] for v in (a, b))
        return list(judge(net, x.numpy(), c.numpy(), a_batch=a, explain_func=lambda *_, **__: b))

    spearman = theirs(quantus.similarity_func.correlation_spearman, out.maps, other.maps)
    assert found.value.tolist() == pytest.approx(spearman, abs=1e-5)
    # Its default slides the window of SSIM along the flattened map, ours over the plane.
    a, b = out.heatmaps(), other.heatmaps()
    default = theirs(quantus.similarity_func.ssim, a, b)
    flat = [structural_similarity(*(v[n].double().flatten().numpy() for v in (a, b)), data_range=1.0) for n in range(2)]
    asked = [("random-logit", {"similarity": "ssim", "reading": "energy"})]
    mine = sl.evaluate(clf, x, out, asked, explainer=explainer)["random-logit"].value.tolist()
    assert default == pytest.approx(flat, abs=0.05)
    assert mine != pytest.approx(default, abs=1e-3)


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "xgrad-cam", "saliency"])
def test_swapping_the_sign_of_an_attribute(method):
    clf, x = classifier(decision="multilabel"), images()
    explainer = sl.explainer(method, clf)
    out = explainer(x, sl.each([sl.Attribute(2, 1), sl.Attribute(3, -1)]))
    found = sl.evaluate(clf, x, out, ["class-swap", ("class-swap", {"reading": "energy"})], explainer=explainer)
    raw, energy = (v for _, _, v in found.records)
    wanted = 1.0 if method == "saliency" else -1.0  # the absolute value of a gradient has no sign
    assert raw.value.tolist() == pytest.approx([wanted] * 4, abs=1e-6)
    if wanted < 0:
        flipped = explainer(x, sl.each([sl.Attribute(2, -1), sl.Attribute(3, 1)]))
        assert not bool(((out.energy() > 0) & (flipped.energy() > 0)).any())
        assert all(v < 0 for v, s in zip(energy.value.tolist(), energy.status, strict=True) if s == "ok")


@pytest.mark.parametrize("method", ["eigen-cam", "fem"])
def test_methods_that_ignore_the_class_give_one(method):
    clf, x, explainer, out = setting(method=method)
    found = sl.evaluate(clf, x, out, ["class-swap", "random-logit"], explainer=explainer)
    for _, _, values in found.records:
        assert values.value.tolist() == pytest.approx([1, 1], abs=1e-9)


def test_other_targets_and_what_is_refused():
    x, names = images(), ["class-swap", "random-logit"]

    def ask(clf, target, **settings):
        explainer = sl.explainer("grad-cam", clf)
        return sl.evaluate(clf, x, explainer(x, target), [(n, settings) for n in names], explainer=explainer)

    single = ask(classifier(1), sl.Attribute(0))
    assert single["class-swap"].value.tolist() == pytest.approx([-1, -1], abs=1e-6)
    assert single["random-logit"].status == ("refused", "refused")
    assert bool(single["random-logit"].value.isnan().all())
    contrast = ask(classifier(), sl.Contrast(0, 1))
    assert contrast["class-swap"].value.tolist() == pytest.approx([-1, -1], abs=1e-5)
    assert set(contrast["random-logit"].status) == {"ok"}
    assert set(ask(classifier(2), sl.Contrast(0, 1))["random-logit"].status) == {"refused"}
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:9, 3:7] = True
    region = ask(sl.Classifier(seeded(Segmenter), size=16), sl.Region(1, mask))
    assert set(region["class-swap"].status + region["random-logit"].status) == {"ok"}
    like = ask(classifier(), sl.Similarity(torch.tensor([1.0, 0, 0, 2, 0])))
    assert set(like["class-swap"].status + like["random-logit"].status) == {"refused"}


def test_an_attribute_and_its_opposite_on_the_negated_model():
    class Negated(ConvNet):
        def forward(self, x):
            return -super().forward(x)

    x, found = images(), []
    names = ["class-swap", ("random-logit", {"draws": 2}), ("parameter-randomisation", {"steps": 2})]
    for make, sign in ((ConvNet, 1), (Negated, -1)):
        clf = classifier(make=make, decision="multilabel")
        explainer = sl.explainer("grad-cam", clf, layer="relu2")
        out = explainer(x, sl.Attribute(1, sign))
        found.append(sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager"))
    for name in ("class-swap", "random-logit", "parameter-randomisation"):
        assert torch.allclose(found[0][name].value, found[1][name].value, atol=1e-5), name


def test_batch_is_loop():
    clf, x, explainer, out = setting(3)
    names = ["class-swap", ("random-logit", {"draws": 2}), ("parameter-randomisation", {"steps": 2})]
    whole = sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager")
    for n in range(3):
        one = sl.evaluate(clf, x[n : n + 1], explainer(x[n : n + 1]), names, explainer=explainer, backend="eager")
        for (record, _, a), (_, _, b) in zip(whole.records, one.records, strict=True):
            assert float(a.value[n]) == pytest.approx(float(b.value[0]), abs=1e-4), record.name


def test_every_status():
    clf, x, explainer, out = setting(4)
    maps = out.maps.clone()
    maps[0], maps[1], maps[2] = 0, 2, 0
    maps[2, 3, 3] = 1
    maps[3] = -maps[3].abs()
    out = dataclasses.replace(out, maps=maps)
    names = ["class-swap", "random-logit", ("parameter-randomisation", {"steps": 2})]
    for _, _, values in sl.evaluate(clf, x, out, names, explainer=explainer).records:
        assert values.status == ("undefined", "undefined", "ok", "empty")
        assert values.value.isnan().tolist() == [True, True, False, False]


def test_steps_without_a_map_are_not_counted():
    class Silent(nn.Module):
        """With its bias below zero and weights near it, the last ReLU is dead unless they are the trained ones."""

        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))

    clf, x = sl.Classifier(seeded(Silent), size=16), images()
    explainer = sl.explainer("grad-cam", clf, layer="body.1")
    session = Session(clf, x)
    made = stages(session, "cascading", None, "normal", "kept")
    assert len(made) == 2
    with torch.no_grad():
        made[1].source.body[0].bias.fill_(-100)
    trial = Trial(session, explainer(x), explainer=explainer)
    record = next(m for m in sl.metrics() if m.name == "parameter-randomisation")
    values = record.function(trial, steps=None)
    assert values.curve.isnan().tolist() == [[False, True]] * 2
    assert torch.equal(values.value, values.curve[:, 0])


def test_threads_share_a_classifier():
    clf, x, explainer, out = setting()
    names = [
        "class-swap",
        "random-logit",
        ("parameter-randomisation", {"steps": 2}),
        ("max-sensitivity", {"samples": 2}),
    ]

    def ask(_):
        return [v.value for *_, v in sl.evaluate(clf, x, out, names, explainer=explainer, backend="eager").records]

    alone = ask(0)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(ask, range(8)):
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(alone, found, strict=True))


def test_an_exception_in_the_middle_leaves_the_model_as_it_was():
    net = seeded(ConvNet, 5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    clf, x = sl.Classifier(net, mean=MEAN, std=STD, size=16), images()
    explainer, calls = sl.explainer("grad-cam", clf), []
    call = sl.Explainer.__call__

    def broken(self, pixels, target=None, *, truth=None):
        calls.append(self.classifier)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return call(self, pixels, target, truth=truth)

    out = explainer(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sl.Explainer, "__call__", broken)
        with pytest.raises(KeyboardInterrupt):
            sl.evaluate(clf, x, out, ["parameter-randomisation"], explainer=explainer)
    assert calls[1] is not clf
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(explainer(x).maps, out.maps)


def test_settings_are_checked():
    clf, x, explainer, out = setting()

    def ask(**settings):
        return sl.evaluate(clf, x, out, [("parameter-randomisation", settings)], explainer=explainer)

    with pytest.raises(MetricError, match="order must be 'cascading'"):
        ask(order="top-down")
    with pytest.raises(MetricError, match="steps is a number of steps"):
        ask(steps=0)
    with pytest.raises(MetricError, match="initialiser must be"):
        ask(initialiser="zeros")
    with pytest.raises(MetricError, match="statistics must be"):
        ask(statistics="mean")
    with pytest.raises(MetricError, match="draws is a number"):
        sl.evaluate(clf, x, out, [("random-logit", {"draws": 0})], explainer=explainer)
    with pytest.raises(MetricError, match="give explainer="):
        sl.evaluate(clf, x, out, ["class-swap"])
    black = sl.BlackBox(clf)
    centre = sl.explainer("centre", black)
    with pytest.raises(MetricError, match="it needs the inside of a model"):
        sl.evaluate(black, x, centre(x), ["parameter-randomisation"], explainer=centre)


def test_a_random_network_without_finite_outputs_is_named():
    clf, x, explainer, out = setting()
    session = Session(clf, x)
    made = stages(session, "cascading", 1, "normal", "kept")
    with torch.no_grad():
        made[0].source.head.bias.fill_(math.inf)
    with pytest.raises(MetricError, match=r"random at step 1 \(cascading\) gives no map.*try initialiser='permuted'"):
        sl.evaluate(clf, x, out, [("parameter-randomisation", {"steps": 1})], explainer=explainer, session=session)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda clf: sl.explainer("saliency", clf), "the method smooth-grad, not saliency"),
        (lambda clf: sl.explainer("smooth-grad", clf, samples=3), "samples=2, not 3"),
    ],
)
def test_another_explainer_than_the_one_that_made_the_maps_is_refused(other, says):
    clf, x = sl.Classifier(seeded(ConvNet), decision="categorical"), images(2)
    made = sl.explainer("smooth-grad", clf, samples=2)
    out = made(x)
    for judge in (
        lambda explainer: sl.evaluate(clf, x, out, ["class-swap"], explainer=explainer),
        lambda explainer: sl.trust(clf, x, out, explainer=explainer),
    ):
        with pytest.raises(MetricError, match=f"not what made the maps: they have {says}"):
            judge(other(clf))
    sl.evaluate(clf, x, out, ["class-swap"], explainer=made)
    sl.evaluate(clf, x, out, ["class-swap"], explainer=sl.explainer("smooth-grad", clf, samples=2, seed=5))


def test_the_explainer_of_another_layer_is_refused():
    clf, x = sl.Classifier(seeded(ConvNet), decision="categorical"), images(2)
    default = sl.explain(clf, x, method="grad-cam")
    (last,) = default.layers
    first = next(info.name for info in clf.layers(x.shape[-1]) if info.name != last and info.connected)
    early = sl.explain(clf, x, method="grad-cam", layer=first)
    for out, layer in ((default, first), (early, last), (early, None)):
        with pytest.raises(MetricError, match=f"layers {out.layers[0]}, not {layer or last}"):
            sl.evaluate(clf, x, out, ["class-swap"], explainer=sl.explainer("grad-cam", clf, layer=layer))
    for out, layer in ((default, None), (default, last), (early, first)):
        sl.evaluate(clf, x, out, ["class-swap"], explainer=sl.explainer("grad-cam", clf, layer=layer))

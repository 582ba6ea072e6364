"""Triads that are worth asking, and how models find images alike: heads of all kinds, masks of relevance, maps."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from nets import ConvNet, Residual, Segmenter, images, seeded
from sightline.errors import InputError, LayerError, ModelError
from sightline.studies import people
from sightline.studies.people import SimilarityMatrix, Stimuli

NAMES = tuple(f"n{k}" for k in range(6))


# Heads.


class ConvHead(nn.Module):
    """As SqueezeNet ends: a convolution to the classes, a ReLU, pooling."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 7, 3), nn.Conv2d(7, 4, 1)

    def forward(self, x):
        return F.relu(self.head(F.relu(self.body(x)))).mean((2, 3))


class TwoLinear(nn.Module):
    """Two linear layers in a row, and scores that are scaled afterwards."""

    def __init__(self):
        super().__init__()
        self.body, self.fc1, self.fc2 = nn.Conv2d(3, 7, 3), nn.Linear(7, 9), nn.Linear(9, 4)

    def forward(self, x):
        return 3 * self.fc2(self.fc1(F.relu(self.body(x)).mean((2, 3))))[:, :3]


class Functional(nn.Module):
    """A head written with functions: the last layer with weights is no head."""

    def __init__(self):
        super().__init__()
        self.body, self.W = nn.Conv2d(3, 7, 3), nn.Parameter(torch.randn(4, 7))

    def forward(self, x):
        return F.relu(self.body(x)).mean((2, 3)) @ self.W.T


class Cls(nn.Module):
    """Tokens with a class token that alone is read."""

    def __init__(self):
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 5, 4, 4), nn.Parameter(torch.randn(1, 1, 5))
        self.mix, self.head = nn.Linear(5, 5), nn.Linear(5, 4)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.mix(tokens.mean(1, keepdim=True)).tanh()
        return self.head(tokens[:, 0])


def _classifier(net, **settings):
    return sl.Classifier(seeded(net), size=16, **settings)


@pytest.mark.parametrize(
    ("net", "layer", "by_hand"),
    [
        (ConvNet, "head@input", lambda n, x: n.relu2(n.bn2(n.conv2(n.relu1(n.bn1(n.conv1(x)))))).mean((2, 3))),
        (ConvHead, "head@input", lambda n, x: F.relu(n.body(x)).mean((2, 3))),
        (TwoLinear, "fc2@input", lambda n, x: n.fc1(F.relu(n.body(x)).mean((2, 3)))),
    ],
)
def test_the_penultimate_layer_is_what_goes_into_the_head(net, layer, by_hand):
    clf, pixels = _classifier(net), images(5)
    assert people.penultimate_layer(clf) == layer
    with torch.no_grad():
        expected = by_hand(clf.source, pixels)
    np.testing.assert_allclose(people.embeddings(clf, pixels, batch=2), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_class_token_is_the_embedding_where_it_alone_is_read():
    clf, pixels = _classifier(Cls), images(4)
    assert people.penultimate_layer(clf) == "head@input"
    found = torch.from_numpy(people.embeddings(clf, pixels))
    torch.testing.assert_close(clf.source.head(found).detach(), clf(pixels))


def test_layers_by_name_and_outputs():
    clf, pixels = _classifier(Residual), images(4)
    with torch.no_grad():
        stem = clf.source.stem(pixels).mean((2, 3))
    np.testing.assert_allclose(people.embeddings(clf, pixels, layer="stem"), stem.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(people.embeddings(clf, pixels, layer="outputs"), clf(pixels).numpy(), rtol=1e-6)
    gives = sl.Classifier(seeded(ConvNet), size=16, decision="embedding")
    np.testing.assert_allclose(people.embeddings(gives, pixels), gives(pixels).numpy(), rtol=1e-6)


def test_heads_that_are_not_clear_are_refused_with_what_to_do():
    pixels = images(2)
    with pytest.raises(LayerError, match=r"'body'.*name it with layer="):
        people.embeddings(_classifier(Functional), pixels)
    with pytest.raises(LayerError, match="name it with layer="):
        people.embeddings(_classifier(Segmenter), pixels)
    box = sl.BlackBox(lambda x: x.mean((2, 3)), size=16)
    with pytest.raises(ModelError, match='layer="outputs"'):
        people.embeddings(box, pixels)
    assert people.embeddings(box, pixels, layer="outputs").shape == (2, 3)
    with pytest.raises(LayerError, match="no layer 'nowhere'"):
        people.embeddings(_classifier(ConvNet), pixels, layer="nowhere")


def test_the_users_model_is_left_as_it_was():
    net = seeded(ConvNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    people.embeddings(sl.Classifier(net, size=16), images(3))
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


# Similarity.


def test_similarity_of_vectors_against_loops():
    x = np.random.default_rng(0).normal(size=(6, 5))
    for measure, pair in (
        ("cosine", lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
        ("pearson", lambda a, b: np.corrcoef(a, b)[0, 1]),
        ("euclidean", lambda a, b: -np.linalg.norm(a - b)),
    ):
        found = people.of_embeddings("m", NAMES, x, measure=measure).values
        slow = [[pair(a, b) for b in x] for a in x]
        off = ~np.eye(6, dtype=bool)
        np.testing.assert_allclose(found[off], np.array(slow)[off], atol=1e-7)
    x[2] = 0
    found = people.of_embeddings("m", NAMES, x).values
    assert np.isnan(found[2]).all()
    assert not np.isnan(found[0, 1])
    with pytest.raises(InputError, match="measure"):
        people.of_embeddings("m", NAMES, x, measure="dot")


def test_maps_are_compared_without_what_all_share():
    draw = np.random.default_rng(0)
    layout = draw.normal(size=(1, 8, 8)) * 20
    maps = layout + draw.normal(size=(6, 8, 8))
    raw, centred = (people.of_maps("m", NAMES, maps, centred=c).values for c in (False, True))
    off = ~np.eye(6, dtype=bool)
    assert raw[off].min() > 0.9
    assert abs(centred[off].mean()) < 0.3
    flat = maps.reshape(6, -1) / np.linalg.norm(maps.reshape(6, -1), axis=1, keepdims=True)
    np.testing.assert_allclose(centred[off], np.corrcoef(flat - flat.mean(0))[off], atol=1e-9)
    maps[1] = np.nan
    found = people.of_maps("m", NAMES, maps).values
    assert np.isnan(found[1]).all()
    rest = people.of_maps("m", NAMES[:1] + NAMES[2:], np.delete(maps, 1, 0)).values
    np.testing.assert_allclose(np.delete(np.delete(found, 1, 0), 1, 1), rest)


def test_only_the_pixels_with_most_relevance_are_left():
    pixels, maps = images(2, side=10), np.random.default_rng(1).normal(size=(2, 10, 10))
    out = people.relevance_masked(pixels, maps, keep=15, fill="black")
    for i in range(2):
        stays = maps[i] >= np.sort(maps[i].ravel())[-15]
        expected = pixels[i] * torch.from_numpy(stays)
        torch.testing.assert_close(out[i], expected)
    tied = people.relevance_masked(pixels, np.zeros((2, 10, 10)), keep=15, fill="black", names=("a", "b"))
    turned = people.relevance_masked(pixels.flip(0), np.zeros((2, 10, 10)), keep=15, fill="black", names=("b", "a"))
    torch.testing.assert_close(tied, turned.flip(0))
    assert (tied != 0).any(1).flatten(1).sum(1).tolist() == [15, 15]
    with pytest.raises(InputError, match="keep"):
        people.relevance_masked(pixels, maps, keep=0)


def test_models_judge_by_what_they_see():
    """A network that looks at the left half alone finds images alike by their left halves, by all three ways."""

    class Half(nn.Module):
        def __init__(self, left):
            super().__init__()
            self.left, self.pool, self.head = left, nn.AdaptiveAvgPool2d(4), nn.Linear(24, 2)

        def forward(self, x):
            half = x[..., :8] if self.left else x[..., 8:]
            return self.head(F.adaptive_avg_pool2d(half, (4, 2)).flatten(1))

    halves = images(6, side=8, seed=3)
    # Images 0 2 4 share the left half two by two with 1 3 5; right halves are shared by 1-2, 3-4, 5-0.
    pixels = torch.stack([torch.cat([halves[i // 2], halves[3 + (i + 1) % 6 // 2]], 2) for i in range(6)])
    pixels = F.interpolate(pixels, size=(16, 16))
    left, right = (sl.Classifier(Half(left).eval(), size=16) for left in (True, False))
    found = people.model_similarities({"left": left, "right": right}, Stimuli(NAMES, pixels=pixels))
    for model, pairs in zip(found, (((0, 1), (2, 3), (4, 5)), ((1, 2), (3, 4), (5, 0))), strict=True):
        for i, j in pairs:
            assert model.values[i, j] == pytest.approx(1, abs=1e-5)
    maps = {
        name: people.relevance(clf, pixels, method="input-x-gradient")
        for name, clf in (("left", left), ("right", right))
    }
    assert not maps["left"][:, :, 8:].any()
    both = people.model_similarities(
        {"left": left},
        Stimuli(NAMES, pixels=pixels),
        seen=("masked", "map"),
        maps=maps,
        masked_by={"left": "right"},
        keep=10,
        fill="grey",
    )
    assert [m.name for m in both] == ["left masked by right", "left"]
    assert [m.kind for m in both] == ["masked", "map"]
    assert np.nanmin(both[0].values) > 1 - 1e-5  # what the other half's relevance leaves says nothing to the left one
    with pytest.raises(InputError, match="are needed"):
        people.model_similarities({"left": left}, Stimuli(NAMES, pixels=pixels), seen=("map",))


# Designs.


def _ranked(name, order):
    """A model that finds images alike in the order in which a target lists them."""
    values = np.full((6, 6), np.nan)
    for t, others in order.items():
        for rank, o in enumerate(others):
            values[t, o] = -rank
    return SimilarityMatrix(name=name, images=NAMES, values=values)


def test_the_runner_up_is_what_most_models_say():
    a = _ranked("a", {0: [1, 2, 3, 4, 5]})
    b = _ranked("b", {0: [2, 1, 3, 4, 5]})
    c = _ranked("c", {0: [2, 3, 1, 4, 5]})
    assert people.runner_up([a, b, c], "n0") == "n2"
    assert people.runner_up([a], "n0") == "n1"
    assert people.runner_up([a, b], "n0") == "n1"  # one vote each, ranks 3 and 3: by name
    assert people.runner_up([a, c], "n0") == "n2"  # one vote each, ranks 4 and 3
    assert people.runner_up([a], "n0", identities={"n0": "x", "n1": "x", "n2": "y"}) == "n2"
    assert people.runner_up([a], "n1") is None


def test_runner_ups_of_classifiers_of_identities():
    """s(t, o) is the score of the identity of o: the runner-up is the identity that the classifier ranks second."""
    outputs = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)) + 10 * torch.eye(6)
    found = people.of_scores("m", NAMES, outputs, range(6))
    second = outputs.argsort(1, descending=True)[:, 1].tolist()
    assert [people.runner_up([found], name) for name in NAMES] == [NAMES[i] for i in second]


def test_targets_on_which_both_agree_are_left_out():
    a = _ranked("a", {t: [o for o in range(6) if o != t] for t in range(6)})
    b = _ranked("b", {t: [o for o in range(6) if o != t][:: 1 if t == 3 else -1] for t in range(6)})
    triads, dropped = people.runner_up_triads([a], [b], names=("A", "B"))
    assert dropped == ["n3"]
    assert [t.target for t in triads] == ["n0", "n1", "n2", "n4", "n5"]
    assert (triads[0].option_1, triads[0].option_2) == ("n1", "n5")
    assert {(t.source_1, t.source_2) for t in triads} == {("A", "B")}


def test_contrasted_triads_tell_the_models_apart():
    draw = np.random.default_rng(0)
    a, b = (SimilarityMatrix(name=n, images=NAMES, values=draw.normal(size=(6, 6))) for n in "ab")
    triads = people.contrasted_triads([a], [b], names=("a", "b"), trials=12)
    for triad in triads:
        t, x, y = a.places(triad.names)
        assert a.values[t, x] > a.values[t, y]
        assert b.values[t, y] > b.values[t, x]
    assert max(Counter(t.target for t in triads).values()) <= 3
    with pytest.raises(InputError, match="ask for no more"):
        people.contrasted_triads([a], [a], names=("a", "b"), trials=1)


def test_balanced_triads_ask_every_image_as_often():
    names = [f"x{k}" for k in range(10)]
    triads = people.balanced_triads(names, 95, seed=3)
    targets = Counter(t.target for t in triads)
    assert set(targets.values()) == {9, 10}
    offered = Counter(o for t in triads for o in (t.option_1, t.option_2))
    assert max(offered.values()) - min(offered.values()) <= 3
    met = Counter(frozenset((t.target, o)) for t in triads for o in (t.option_1, t.option_2))
    assert len(met) == 45
    assert max(met.values()) - min(met.values()) <= 2
    assert triads == people.balanced_triads(names, 95, seed=3)
    assert triads != people.balanced_triads(names, 95, seed=4)
    who = {n: n[-1] if n < "x5" else "same" for n in names}
    for triad in people.balanced_triads(names, 40, identities=who):
        assert who[triad.target] not in (who[triad.option_1], who[triad.option_2])


def test_random_triads_differ_from_each_other():
    triads = people.random_triads(NAMES, 60, seed=1)  # all there are: 6 targets, 10 pairs each
    assert len({(t.target, frozenset((t.option_1, t.option_2))) for t in triads}) == 60
    with pytest.raises(InputError, match="61 different"):
        people.random_triads(NAMES, 61)


def test_extras_have_known_answers():
    triads = people.random_triads(NAMES[:3], 3, seed=1)
    found = people.with_extras(triads, NAMES, catch=4, practice=2, seed=1)
    assert [t.kind for t in found] == ["practice"] * 2 + ["catch"] * 4 + ["trial"] * 3
    assert all(t.option_1 == t.target for t in found if t.kind == "catch")
    assert all(set(t.names) <= set(NAMES[3:]) for t in found[:2])  # practice shows what no trial is about


# Maps of a generalisation study.


def test_maps_are_read_from_a_run_by_the_names_of_images(tmp_path):
    """A real run of two small networks on three images; it numbers images in an order of its own."""
    pixels, labels = images(3), torch.tensor([0, 1, 2])
    family = sl.studies.Family(
        members=[
            sl.studies.Member(name=name, classifier=sl.Classifier(seeded(ConvNet, seed=seed), size=16))
            for name, seed in (("a", 0), ("b", 1))
        ]
    )
    run = sl.studies.generalise(
        family,
        (pixels, labels),
        out=tmp_path / "run",
        methods=(("input-x-gradient", {}),),
        levels=(10, 50),
        controls=("random",),
        validity=0,
        parts=False,
        progress=False,
    )
    names = [f"image {i}" for i in (2, 0, 1)]
    found = people.run_maps(run, names)
    for member in family:
        expected = people.relevance(member.classifier, pixels, method="input-x-gradient")[[2, 0, 1]]
        np.testing.assert_allclose(found[member.name], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="no image 'image 7'"):
        people.run_maps(run, ["image 7"])

"""Whether stability is a property of the models or of the rule: what is swapped, what is random, and what follows."""

import numpy as np
import pytest
import torch

import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.errors import MetricError, TargetError
from sightline.metrics import Session
from sightline.metrics.sanity._randomised import stages
from sightline.studies.generalising import validity


def small(outputs=5, make=ConvNet, **settings) -> sl.Classifier:
    return sl.Classifier(seeded(make, outputs), size=16, **settings)


def test_a_randomised_member_is_the_last_stage_of_the_cascade_and_leaves_the_user_alone():
    clf = small()
    before = {k: v.clone() for k, v in clf.source.state_dict().items()}
    found = validity.randomised(clf, 3)
    mixed = (3 + int(clf.fingerprint()[:8], 16)) % 2**31  # members of one architecture get other draws
    last = stages(Session(clf, images(1), seed=mixed), "cascading", 1, "normal", "kept")[0]
    assert torch.equal(found(images(2)), last(images(2)))
    assert not torch.allclose(found(images(2)), clf(images(2)))
    assert found.fingerprint() != validity.randomised(clf, 4).fingerprint()
    assert found.fingerprint() == validity.randomised(clf, 3).fingerprint()
    assert all(torch.equal(v, before[k]) for k, v in clf.source.state_dict().items())


def test_the_upper_half_alone_may_be_random():
    clf = small()
    found = validity.randomised(clf, 3, part="upper", pixels=images(1)).source.state_dict()
    mine = clf.source.state_dict()
    changed = {k.split(".")[0] for k, v in found.items() if not torch.equal(v, mine[k])}
    assert "head" in changed
    assert "conv1" not in changed


def test_a_black_box_has_no_weights_to_randomise():
    box = sl.BlackBox(lambda x: x.mean((2, 3)), labels=["a", "b", "c"], size=16)
    with pytest.raises(MetricError, match="BlackBox"):
        validity.randomised(box, 0)


def test_the_other_decision():
    clf = small(labels=list("abcde"))
    z = clf(images(4))
    own = [sl.Category(int(row.argmax())) for row in z]
    for row, target, other in zip(z, own, validity.other_targets(clf, z, own), strict=True):
        assert other.category == int(row.topk(2).indices[1])
        assert other.category != target.category
        assert other.label == "abcde"[other.category]
    lost = [sl.Category(int(row.argmin())) for row in z]  # a given decision that was not made
    assert [t.category for t in validity.other_targets(clf, z, lost)] == z.argmax(1).tolist()
    yes = small(2, decision="multilabel")
    asked = [sl.Attribute(1, 1), sl.Attribute(0, -1)]
    found = validity.other_targets(yes, yes(images(2)), asked)
    assert [(t.attribute, t.sign) for t in found] == [(1, -1), (0, 1)]
    parts = sl.Classifier(seeded(Segmenter), size=16)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[3:9, 3:9] = True
    z = parts(images(1))
    (found,) = validity.other_targets(parts, z, [sl.Region(1, mask)])
    inside = z[0, :, mask].mean(1).index_fill(0, torch.tensor(1), -torch.inf)
    assert found.category == int(inside.argmax())
    assert torch.equal(found.pixels, mask)


def test_what_has_no_other_decision_says_so():
    clf = small()
    with pytest.raises(TargetError, match="leave the control 'other-class' out"):
        validity.other_targets(clf, clf(images(1)), [sl.Similarity(torch.ones(5))])


def slow_likeness(a, b, k):
    """The measures of two stacks (n, g, g) in plain float64, image by image."""
    from scipy.stats import pearsonr, spearmanr

    out = {name: [] for name in ("spearman", "pearson", "spearman_raw", "pearson_raw", "spearman_abs", "iou")}
    da, db = a - sum(a) / len(a), b - sum(b) / len(b)
    for n in range(len(a)):
        x, y, u, v = (m[n].ravel() for m in (a, b, da, db))
        out["spearman"].append(spearmanr(u, v).statistic)
        out["pearson"].append(pearsonr(u, v).statistic)
        out["spearman_raw"].append(spearmanr(x, y).statistic)
        out["pearson_raw"].append(pearsonr(x, y).statistic)
        out["spearman_abs"].append(spearmanr(abs(x), abs(y)).statistic)
        top = [set(sorted(range(len(w)), key=lambda i, w=w: -w[i])[:k]) for w in (u, v)]
        out["iou"].append(len(top[0] & top[1]) / len(top[0] | top[1]))
    return out


def test_likeness_equals_its_definition():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 5, 6, 6))
    b += 0.7 * a + 2  # what all images share is taken off
    found = validity.likeness(a, b, share=10)
    for name, wanted in slow_likeness(a, b, 4).items():
        assert found[name] == pytest.approx(wanted, abs=1e-9), name
    assert found["spearman_raw"] != pytest.approx(found["spearman"], abs=1e-3)
    assert validity.likeness(a, -a)["pearson_raw"] == pytest.approx(-1)
    assert validity.likeness(a, -a)["spearman_abs"] == pytest.approx(1)


def test_maps_that_are_missing_or_flat_have_no_likeness():
    a, b = np.random.default_rng(1).normal(size=(2, 4, 5, 5))
    a[1], b[2] = np.nan, 3.0
    found = validity.likeness(a, b)
    assert np.isnan(found["spearman_raw"]).tolist() == [False, True, True, False]
    assert np.isnan(found["spearman"]).tolist() == [False, True, False, False]  # a flat map still differs from the mean
    one = validity.likeness(a[:1], b[:1])
    assert np.isnan(one["spearman"]).all()  # an image alone is its own mean
    assert np.isnan(one["iou"]).all()
    assert not np.isnan(one["spearman_raw"]).any()


def test_stages_go_down_from_the_output():
    names = [f"m{i}" for i in range(9)]
    found = validity.stages(names)
    assert {k: len(v) for k, v in found.items()} == {
        "head": 1,
        "upper quarter": 2,
        "upper half": 4,
        "upper three quarters": 6,
        "all": 9,
    }
    assert found["upper half"] == tuple(names[:4])
    assert list(validity.stages(names[:1])) == ["all"]
    assert list(validity.stages(names[:2])) == ["head", "all"]
    assert [len(v) for v in validity.stages(names[:4]).values()] == [1, 2, 3, 4]


def small_rows(method="saliency", count=4, **settings):
    clf, x = small(labels=list("abcde"), **settings), images(count)
    explainer = sl.explainer(method, clf)
    out = explainer(x)
    found = validity.rows(
        clf,
        lambda c: sl.explainer(method, c),
        x,
        list(out.targets),
        out.maps.numpy(),
        model="m",
        method=method,
        images=range(10, 10 + count),
        seed=5,
        grid=16,
        batch=3,
    )
    return clf, x, out, found


def test_rows_are_the_likeness_to_the_maps_of_the_altered_networks():
    from sightline.studies.generalising.similarity import pooled

    clf, x, out, found = small_rows()
    own = pooled(out.maps.numpy(), 16)
    rival = [sl.Category(int(row.topk(2).indices[1])) for row in clf(x)]
    for check, stage, other in (
        ("class-swap", "", sl.explain(clf, x, method="saliency", target=rival)),
        ("cascade", "all", sl.explain(validity.randomised(clf, 5), x, method="saliency", target=list(out.targets))),
        (
            "cascade",
            "upper half",
            sl.explain(validity.randomised(clf, 5, part="upper"), x, method="saliency", target=list(out.targets)),
        ),
    ):
        mine = [row for row in found if (row["check"], row["stage"]) == (check, stage)]
        assert [row["image_index"] for row in mine] == [10, 11, 12, 13]
        wanted = validity.likeness(own, pooled(other.maps.numpy(), 16))
        for name, values in wanted.items():
            assert [row[name] for row in mine] == pytest.approx(values.tolist(), abs=2e-4), (stage, name)
    shares = [row["share"] for row in found if row["check"] == "cascade" and row["image_index"] == 10]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    head = sum(p.numel() for p in clf.source.head.parameters()) / sum(p.numel() for p in clf.source.parameters())
    assert shares[0] == pytest.approx(head)


def test_the_other_answer_of_one_output_is_the_negative_map():
    clf, x = small(1, decision="binary"), images(4)
    for method in ("input-x-gradient", "lrp"):
        out = sl.explain(clf, x, method=method)
        found = validity.rows(
            clf,
            lambda c, method=method: sl.explainer(method, c),
            x,
            list(out.targets),
            out.maps.numpy(),
            model="m",
            method=method,
            images=range(4),
            grid=16,
        )
        swapped = [row["pearson_raw"] for row in found if row["check"] == "class-swap"]
        assert swapped == pytest.approx([-1] * 4, abs=1e-5)


@pytest.mark.parametrize(("method", "starts"), [("input-x-gradient", True), ("eigen-cam", False), ("edges", False)])
def test_maps_of_random_networks_are_turned_where_the_score_changed_its_sign(method, starts):
    clf, x = small(1, decision="binary"), images(6)
    yes = [sl.Attribute(0, 1)] * 6
    out = sl.explain(clf, x, method=method, target=yes)
    scores = torch.tensor([1.0, -1, 1, -1, 1, -1]) * torch.where(out.score < 0, -1, 1)  # every second one differs
    found = validity.turned(out, scores)
    sign = torch.tensor([1.0, -1, 1, -1, 1, -1]) if starts else torch.ones(6)
    assert torch.equal(found, out.maps * sign[:, None, None])


def test_relevance_of_a_random_head_keeps_the_sign_of_the_learned_score():
    clf, x = small(1, decision="binary"), images(6)
    own = sl.explain(clf, x, method="lrp", composite="epsilon-plus")  # the answer given: its score is above 0
    signs = set()
    for seed in range(6):
        altered = validity.randomised(clf, seed, part="upper")
        out = sl.explain(altered, x, method="lrp", composite="epsilon-plus", target=list(own.targets))
        signs |= set((out.score < 0).tolist())
        found = validity.turned(out, own.score).sum((1, 2))
        assert bool((found > 0).all()), (found, out.score)
    assert signs == {True, False}


def test_a_random_network_without_finite_outputs_leaves_its_stage_without_values():
    class Steep(ConvNet):
        def forward(self, x):
            z = super().forward(x)
            return z if torch.equal(self.head.weight, self.mine) else z + torch.inf

    net = seeded(Steep, 5)
    net.register_buffer("mine", net.head.weight.detach().clone())
    clf, x = sl.Classifier(net, size=16), images(3)
    out = sl.explain(clf, x, method="saliency")
    found = validity.rows(
        clf,
        lambda c: sl.explainer("saliency", c),
        x,
        list(out.targets),
        out.maps.numpy(),
        model="m",
        method="saliency",
        images=range(3),
    )
    for row in found:
        assert (row["spearman"] is None) == (row["check"] == "cascade"), row

"""Whether stability is a property of the models or of the rule: what is swapped, what is random, and what follows."""

import numpy as np
import pytest
import torch
from torch import nn

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
        maps = validity.turned(other.maps, out.maps) if check == "cascade" else other.maps
        wanted = validity.likeness(own, pooled(maps.numpy(), 16))
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


def test_a_map_and_its_negative_count_as_one():
    g = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 6, 5, 5, generator=g)
    found = validity.turned(other, own)
    for n in range(6):
        inner = float((other[n] * own[n]).sum())
        assert torch.equal(found[n], other[n] if inner >= 0 else -other[n])
    assert torch.equal(validity.turned(-own, own), own)
    assert torch.equal(validity.turned(-other, own), found)


def test_a_blind_rule_is_seen_to_be_blind_whatever_the_sign_of_a_random_head():
    """With one channel before the head, positive relevance spreads in one way: the random head gives its sign alone."""

    class Narrow(nn.Module):
        def __init__(self, _outputs):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1), nn.ReLU()
            )
            self.head = nn.Linear(1, 1, bias=False)
            nn.init.uniform_(self.body[2].weight, 0, 1)
            nn.init.ones_(self.head.weight)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))

    clf, x = small(1, make=Narrow, decision="binary"), images(5)
    out = sl.explain(clf, x, method="lrp", composite="epsilon-plus")
    net = seeded(Narrow, 1)
    net.head.weight.data.fill_(-2.0)  # as a random head may be
    upside = sl.explain(sl.Classifier(net, size=16, decision="binary"), x, method="lrp", composite="epsilon-plus",
                        target=list(out.targets))  # fmt: skip
    assert validity.likeness(upside.maps.numpy(), out.maps.numpy())["pearson_raw"] == pytest.approx(-1)
    found = validity.turned(upside.maps, out.maps).numpy()
    assert validity.likeness(found, out.maps.numpy())["spearman"] == pytest.approx(1)


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


def test_images_are_taken_evenly_from_all_of_them():
    from sightline.studies.generalising.extras import spread

    assert spread(range(100), 5) == [0, 20, 40, 60, 80]
    assert spread([3, 5, 8], 32) == [3, 5, 8]
    assert spread(range(7), 3) == [0, 2, 4]
    assert spread(range(7), 0) == []

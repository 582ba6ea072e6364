"""Whether stability is a property of the models or of the rule: what is swapped, what is random, and what follows."""

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
    last = stages(Session(clf, images(1), seed=3), "cascading", 1, "normal", "kept")[0]
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

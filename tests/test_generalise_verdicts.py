"""Models or rule? Worlds whose answer is known, false alarms, and what is said of them."""

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from sightline.studies.generalising import validity
from sightline.studies.generalising.similarity import pooled
from sightline.studies.generalising.statistics import Curves
from sightline.studies.generalising.validity.resampling import Bootstrap, Mean, means
from sightline.studies.generalising.validity.rule import answered, ruled

GRID = 10
CONTROLS = ("random", "randomised", "upper-random", "other-class", "mean-map")
STAGES = ("head", "upper half", "all")
FAST = Bootstrap(resamples=200)


@functools.cache
def world(kind, *, models=6, images=40, seed=0, negative=False, skill=0.9, controls=CONTROLS, factor="seed"):
    """A run in which it is known why maps of models that differ in a factor alone are alike.

    A map is made of what every network shows of an image (e), what the trunk shows (f), what decides (d), and noise.
    """
    g = np.random.default_rng(seed)
    e, f, d = g.normal(size=(3, images, GRID, GRID))
    noise = lambda: g.normal(size=(images, GRID, GRID))  # noqa: E731
    parts = {"models": (0.3, 0.3, 2), "features": (0, 2, 0), "rule": (2, 0, 0), "none": (0, 0, 0)}
    parts |= {"split": (0, 2, 0), "own": (0, 0, 2)}
    we, wf, wd = parts[kind]
    members = {f"m{i}": {"task": "ab"[i % 2], factor: str(i // 2)} for i in range(models)}
    deciding = {"a": d, "b": g.normal(size=d.shape)}
    maps, lines = {}, []
    for m, factors in members.items():
        own = we * e + wf * f + wd * deciding[factors["task"]] + 0.7 * noise()
        maps[m] = own.astype(np.float32)
        altered = {("cascade", "all"): we * e + 0.7 * noise()}
        for stage in ("head", "upper half"):
            altered["cascade", stage] = we * e + wf * f + 0.7 * noise()
        altered["class-swap", ""] = -own if negative else we * e + wf * f + 0.7 * noise()
        for (check, stage), other in altered.items():
            found = validity.likeness(pooled(maps[m], GRID), pooled(other, GRID))
            for n in range(images):
                head = {"model": m, "method": "lrp", "image_index": n, "check": check, "stage": stage, "share": 0.5}
                lines.append(head | {k: float(v[n]) for k, v in found.items()})
    names = tuple(members)
    worth = {"random": 0.1, "mean-map": 0.2, "randomised": 0.1 + 0.3 * (kind == "rule"), "other-class": 0.1}
    worth["upper-random"] = 0.4 if kind in ("features", "rule") else 0.1
    worth["other-class"] = worth["upper-random"]
    gain = {"none": 0.1}.get(kind, 0.4)
    values = np.empty((images, models + len(controls), models, 2))
    for s, name in enumerate((*names, *controls)):
        for t in range(models):
            level = 0.45 if s == t else gain if s < models else worth[name]
            values[:, s, t] = np.clip(level + 0.03 * g.normal(size=(images, 1)), 0, 1)
    decisions = [
        {
            "model": m,
            "image_index": n,
            "target": factors["task"],
            "decision": int(n % 2 if g.random() < skill else 1 - n % 2),
            "truth": n % 2,
            "status": "ok",
        }
        for m, factors in members.items()
        for n in range(images)
    ]
    curves = Curves(
        values=values,
        sources=(*names, *controls),
        targets=names,
        levels=(5, 20),
        images=tuple(range(images)),
        factors=members,
        mode="keep",
        measure="accuracy",
        unaltered=np.ones((images, models)),
    )
    return SimpleNamespace(
        members=names,
        factors=members,
        factor_names=("task", factor),
        methods=("lrp",),
        fills=("dataset-mean",),
        modes=("keep",),
        images=tuple(range(images)),
        manifest={"settings": {"grid": GRID}},
        decisions=lambda: pl.DataFrame(decisions),
        validity_rows=lambda: pl.DataFrame(lines, infer_schema_length=None),
        maps=lambda m, _: maps[m],
        curves=lambda _=None: curves,
    )


def verdict(run, factor="seed"):
    (one,) = [f for f in validity.findings(run, FAST) if f.factor == factor and f.within is None]
    return one.ruling.verdict if one.ruling else "not alike"


@pytest.mark.parametrize("kind", ["models", "features", "rule"])
def test_the_verdict_of_worlds_whose_answer_is_known(kind):
    assert verdict(world(kind)) == kind


def test_maps_and_masks_that_contradict_each_other_are_said_to():
    assert verdict(world("split")) == "split"


def test_maps_that_are_not_alike_have_no_verdict():
    assert verdict(world("none")) == "not alike"
    assert verdict(world("own"), "task") == "not alike"  # what decides is another thing for each task


def test_the_other_answer_of_one_output_is_no_evidence():
    run = world("models", negative=True)
    (one,) = [f for f in validity.findings(run, FAST) if f.factor == "seed" and f.within is None]
    assert "class-swap" not in one.maps["decision"]
    assert "other-class" not in one.masks["decision"]
    assert one.ruling.verdict == "models"
    blind = world("features", negative=True)  # a swap that is -1 must not acquit
    assert verdict(blind) == "features"
    said = [s.text for s in validity.sentences(run) if s.kind == "swap"]
    assert "the negative of the first by construction" in said[0]


def test_without_masks_maps_alone_convict_nobody():
    assert verdict(world("rule", controls=("random", "mean-map"))) == "unknown"
    assert verdict(world("features", controls=("random", "randomised"))) == "unknown"
    assert verdict(world("models", controls=("random", "randomised"))) == "models"  # see the one exception


def without_truth(run):
    decisions = run.decisions().with_columns(truth=pl.lit(None, pl.Int64))
    return SimpleNamespace(**{**vars(run), "decisions": lambda: decisions})


def test_few_images_and_few_models_settle_nothing():
    one = world("models", models=4, images=1)
    assert set(validity.left_out(one)) == set(one.members)  # one image tells nobody from chance
    assert validity.findings(one, FAST) == []
    assert verdict(without_truth(one)) == "not alike"
    texts = [s.text for s in validity.sentences(without_truth(one))]
    assert any(t.startswith("Whether maps stay alike over seed cannot be told") for t in texts)
    assert any("whether the models are better than chance cannot be told" in t for t in texts)
    two = world("models", models=2)  # they differ in the task alone
    row = next(validity.table(two, FAST).filter(check="models").iter_rows(named=True))
    assert "images only" in row["note"]
    assert any("No two models differ in seed alone" in s.text for s in validity.sentences(two))


def test_members_no_better_than_chance_are_left_out_and_named():
    run = world("models")
    decisions = run.decisions().with_columns(
        decision=pl.when(pl.col("model") == "m0").then(1).otherwise(pl.col("decision"))  # always yes
    )
    weak = SimpleNamespace(**{**vars(run), "decisions": lambda: decisions})
    assert validity.left_out(weak) == ("m0",)
    for one in validity.findings(weak, FAST):
        assert one.alike.models < 6
    said = [s.text for s in validity.sentences(weak) if s.kind == "chance"]
    assert "m0 (right on 50%, by chance 50%) cannot be told from chance" in said[0]
    assert not [s for s in validity.sentences(run) if s.kind == "chance"]


@pytest.mark.parametrize(("kind", "answer"), [("rule", "rule"), ("features", "features"), ("none", "not alike")])
def test_no_false_alarm_where_nothing_is_shared_or_all_is_the_rule(kind, answer):
    verdicts = [verdict(world(kind, seed=s)) for s in range(1, 5)]
    assert set(verdicts) <= {answer, "unknown"}
    assert verdicts.count(answer) >= 3


def slow_means(table, pairs, draws_of_models, draws_of_images):
    """The bootstrap of `means` with loops."""
    names = sorted({n for p in pairs for n in p})
    found = []
    for u, v in zip(draws_of_models, draws_of_images, strict=True):
        top = bottom = 0.0
        for p, (a, b) in enumerate(pairs):
            weight = u[names.index(a)] * (u[names.index(b)] if a != b else 1)
            for n in range(table.shape[1]):
                if not np.isnan(table[p, n]):
                    top, bottom = top + weight * v[n] * table[p, n], bottom + weight * v[n]
        found.append(top / bottom if bottom else np.nan)
    return np.nanquantile(found, [0.025, 0.975])


def test_means_equal_a_slow_bootstrap():
    from sightline.studies.generalising.statistics._drawn import drawn_models
    from sightline.studies.statistics.intervals import draws

    table = np.random.default_rng(0).normal(size=(6, 9))
    table[0, :4], table[5] = np.nan, np.nan
    pairs = list(itertools.combinations("dcba", 2))
    (found,) = means([table], pairs, Bootstrap(60, 0.95, 3))
    wanted = slow_means(table, pairs, drawn_models(4, 60, 3), next(draws(9, 60, 3)))
    assert found.value == pytest.approx(np.nanmean(table))
    assert (found.low, found.high) == pytest.approx(tuple(wanted))
    assert (found.images, found.pairs, found.models) == (9, 5, 4)


def test_intervals_of_means_cover():
    """Models and images with effects of their own: the interval holds the true mean about as often as it says."""
    g, covered = np.random.default_rng(5), 0
    pairs = list(itertools.combinations([f"m{i}" for i in range(10)], 2))
    for trial in range(60):
        effect, image = g.normal(0, 0.3, size=10), g.normal(0, 0.3, size=40)
        table = np.array(
            [(effect[int(a[1:])] + effect[int(b[1:])]) / 2 + image + g.normal(0, 0.3, 40) for a, b in pairs]
        )
        (found,) = means([table], pairs, Bootstrap(300, 0.95, trial))
        covered += found.low <= 0 <= found.high
    assert covered >= 51


def test_the_rule_word_for_word():
    more, less, open_ = (
        Mean(v, lo, hi, 9, 9, 9) for v, lo, hi in ((0.3, 0.2, 0.4), (0, -0.01, 0.01), (0.1, -0.1, 0.3))
    )
    assert [answered(d, 0.05) for d in (more, less, open_)] == ["more", "no more", "unclear"]
    assert answered(Mean(0.02, 0.01, 0.03, 9, 9, 9), 0.05) == "no more"  # certain, and too small to count
    assert answered(Mean(0.3, None, None, 1, 1, 2), 0.05) is None

    def of(maps_weights, maps_decision, masks_weights, masks_decision):
        maps = {"weights": {"all": maps_weights}, "decision": {"head": maps_decision, "upper half": more}}
        masks = {"weights": {"randomised": masks_weights}, "decision": {"upper-random": masks_decision}}
        gone = {q: {k: d for k, d in v.items() if d is not None} for q, v in masks.items()}
        return ruled({q: {k: d for k, d in v.items() if d is not None} for q, v in maps.items()}, gone, 0.02)

    assert of(more, more, more, more).verdict == "models"
    assert of(more, less, more, less).verdict == "features"  # one stage is enough
    assert of(less, more, less, more).verdict == "rule"
    assert of(less, more, more, more).verdict == "split"
    assert of(more, less, more, more).verdict == "split"
    assert of(open_, more, more, more).verdict == "unknown"
    assert of(more, open_, more, more).verdict == "unknown"
    assert of(more, more, more, None).verdict == "models"  # the one exception
    assert of(more, less, more, None).verdict == "unknown"
    assert of(more, more, None, None).verdict == "unknown"
    assert of(None, more, None, more).verdict == "unknown"
    assert of(more, less, more, less).decisive["decision"]["maps"] == "head"


def test_skill_is_that_of_kappa():
    from sightline.studies.generalising.validity import skill

    g = np.random.default_rng(0)
    truth = (g.random(300) < 0.9).astype(int)
    assert not skill([1] * 300, truth).better  # right on nine of ten, and no skill
    assert skill([1] * 300, truth).accuracy == pytest.approx(truth.mean())
    assert skill(np.where(g.random(300) < 0.3, 1 - truth, truth), truth).better
    assert sum(skill(g.permutation(truth), truth).better for _ in range(200)) <= 20  # 5 % of them
    few = skill([0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 2, 1])
    e = (2 * 2 + 2 * 3 + 2 * 1) / 36
    assert (few.accuracy, few.chance) == pytest.approx((5 / 6, e))


@pytest.mark.parametrize("factor", ["seed", "pruning rate"])
def test_sentences_speak_of_the_factors_as_they_are_named(factor):
    found = validity.sentences(world("models", factor=factor))
    by_kind = {kind: [s for s in found if s.kind == kind] for kind in ("carries", "factor", "alike", "validity")}
    assert all(by_kind.values())
    (one,) = [s for s in by_kind["validity"] if s.figures["factor"] == factor and s.figures["within"] is None]
    assert one.text.startswith(f"That maps stay alike over {factor} is the models' doing")
    for s in found:
        assert s.text[0].isupper(), s.text
        assert s.text.endswith("."), s.text
        assert ".." not in s.text, s.text
        assert "None" not in s.text, s.text
        assert "nan" not in s.text, s.text
        assert "  " not in s.text, s.text


def test_the_order_of_members_does_not_matter():
    run = world("models")
    curves = run.curves()
    turn = list(range(len(run.members)))[::-1]
    from dataclasses import replace

    other = replace(
        curves,
        values=curves.values[:, [*turn, *range(len(turn), curves.values.shape[1])]][:, :, turn],
        targets=tuple(curves.targets[i] for i in turn),
        sources=(*(curves.targets[i] for i in turn), *curves.controls),
        unaltered=curves.unaltered[:, turn],
    )
    turned = SimpleNamespace(**{**vars(run), "members": run.members[::-1], "curves": lambda _=None: other})
    assert validity.table(run, FAST).equals(validity.table(turned, FAST))
    assert validity.differences(validity.findings(run, FAST)).equals(
        validity.differences(validity.findings(turned, FAST))
    )

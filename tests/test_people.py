"""Judgements of people against models: accuracy, ceilings and matrices, by slow references and known answers."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, rankdata, spearmanr

from sightline.errors import InputError
from sightline.studies import people
from sightline.studies.people import SimilarityMatrix

IMAGES = tuple(f"i{k:02d}.png" for k in range(12))


def similarity(seed=0, images=IMAGES, name=None, holes=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(len(images), 3))
    values = -np.linalg.norm(x[:, None] - x, axis=2)
    for _ in range(holes):
        i, j = draw.permutation(len(images))[:2]
        values[i, j] = values[j, i] = np.nan
    return SimilarityMatrix(name=name or f"m{seed}", images=tuple(images), values=values)


def judged(truth, triads, participants, *, beta=3.0, seed=0, lazy=()):
    """Simulated people: option 1 with probability sigmoid(beta (s(t, 1) - s(t, 2))); the lazy ones press at random."""
    draw, lines = np.random.default_rng(seed), []
    for p in range(participants):
        for triad in triads:
            t, a, b = truth.places(triad.names)
            d = 0 if p in lazy else beta * (truth.values[t, a] - truth.values[t, b])
            first = draw.random() < 1 / (1 + np.exp(-d))
            if triad.kind == "catch" and p not in lazy:
                first = triad.expected == 1
            lines.append(
                {
                    "trial": triad.trial,
                    "participant": f"p{p}",
                    "target": triad.target,
                    "option_1": triad.option_1,
                    "option_2": triad.option_2,
                    "choice": 1 if first else 2,
                    "kind": triad.kind,
                    "expected": triad.expected,
                    "source_1": triad.source_1 or None,
                    "source_2": triad.source_2 or None,
                }
            )
    return pl.DataFrame(lines, schema=people.triads.SCHEMA)


def expected_accuracy(model, truth, triads, beta):
    """What a model scores in the mean: over triads, the chance that a simulated person agrees with it."""
    total = 0
    for triad in triads:
        t, a, b = truth.places(triad.names)
        p = 1 / (1 + np.exp(-beta * (truth.values[t, a] - truth.values[t, b])))
        total += p if model.values[t, a] > model.values[t, b] else 1 - p
    return total / len(triads)


# The tables.


def test_a_plan_and_its_answers_come_back(tmp_path):
    plan = people.with_extras(people.random_triads(IMAGES, 5, seed=1), IMAGES, catch=1, practice=1)
    people.write_plan(tmp_path / "plan.csv", plan)
    assert people.read_plan(tmp_path / "plan.csv") == plan
    (tmp_path / "a.csv").write_text(
        "\ufefftrial;participant;target;option_1;option_2;choice;rt_ms\n1;x;a;b;c;2;812.5\n2;x;a;b;c;b;\n3;x;a;c;b;;\n",
        "utf-8",
    )
    (tmp_path / "b.csv").write_text("choice,trial,participant,target,option_2,option_1\n1,1,y,a,c,b\n", "utf-8")
    table = people.read_triads([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert table["choice"].to_list() == [2, 1, None, 1]
    assert table["rt_ms"].to_list() == [812.5, None, None, None]
    assert table["participant"].to_list() == ["x", "x", "x", "y"]
    assert set(table["kind"]) == {"trial"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1,x,a,b,c,d", "line 2: choice must be"),
        ("1,x,a,b,b,1", "line 2: .*twice"),
        ("1,x,a,a,c,1", "line 2: .*own target"),
        ("1,,a,b,c,1", "line 2: participant"),
        ("1,x,a,b,c,1\n1,x,a,b,c,2", "line 3: participant 'x' answered trial '1' before"),
        ("1,x,a,b,c", "line 2: 5 values for 6 columns"),
        ("1,x,a,2,c,2", "line 2: .*rename"),
        ("", "no judgement"),
    ],
)
def test_what_is_no_judgement_is_named(tmp_path, line, what):
    file = tmp_path / "t.csv"
    file.write_text(f"trial,participant,target,option_1,option_2,choice\n{line}\n")
    with pytest.raises(InputError, match=what):
        people.read_triads(file)
    file.write_text("trial,target\n1,a\n")
    with pytest.raises(InputError, match="no column participant"):
        people.read_triads(file)


def test_ratings_are_numbers_of_pairs(tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("participant,a,b,similarity\nx,p,q,3\nx,q,r,1.5\n")
    assert people.read_ratings(file)["similarity"].to_list() == [3, 1.5]
    for line, what in (("x,p,q,nan", "line 2: similarity"), ("x,p,p,1", "itself"), ("x,p,,1", "empty")):
        file.write_text(f"participant,a,b,similarity\n{line}\n")
        with pytest.raises(InputError, match=what):
            people.read_ratings(file)


def test_a_matrix_comes_back_as_it_was(tmp_path):
    found = similarity(3, holes=2)
    people.write_similarity(tmp_path / "net.csv", found)
    again = people.read_similarity(tmp_path / "net.csv")
    assert again.images == found.images
    assert again.name == "net"
    np.testing.assert_array_equal(again.values[~np.eye(12, dtype=bool)], found.values[~np.eye(12, dtype=bool)])
    (tmp_path / "net.csv").write_text(",a,b\na,1,2\nc,1,2\n")
    with pytest.raises(InputError, match="square"):
        people.read_similarity(tmp_path / "net.csv")


# Accuracy and ceilings.


def test_accuracy_against_a_loop():
    triads = people.random_triads(IMAGES, 20, seed=2)
    table = judged(similarity(0), triads, 3)
    model = similarity(1, holes=5)
    tied = SimilarityMatrix(name="flat", images=IMAGES, values=np.ones((12, 12)))
    right = n = 0
    for row in table.iter_rows(named=True):
        t, a, b = model.places([row["target"], row["option_1"], row["option_2"]])
        u, v = model.values[t, a], model.values[t, b]
        if not np.isnan(u + v):
            n += 1
            right += (1 if u > v else 2) == row["choice"]
    found = people.accuracy(table, [model, tied], resamples=200)
    first, flat = found.iter_rows(named=True)
    assert n < len(table)  # some are undefined
    assert (first["accuracy"], first["judgements"], first["undefined"]) == (pytest.approx(right / n), n, len(table) - n)
    assert first["p"] == pytest.approx(binomtest(right, n).pvalue)
    interval = binomtest(right, n).proportion_ci(method="wilson")
    assert (first["low"], first["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (flat["accuracy"], flat["ties"], flat["p"]) == (0.5, len(table), None)


def test_the_bootstrap_resamples_people_and_targets():
    triads = people.random_triads(IMAGES, 15, seed=2)
    table, model = judged(similarity(0), triads, 4, beta=1), similarity(0)
    found = people.accuracy(table, [model], resamples=4000).row(0, named=True)
    by = {(r["participant"], r["target"]): [] for r in table.iter_rows(named=True)}
    for r in table.iter_rows(named=True):
        t, a, b = model.places([r["target"], r["option_1"], r["option_2"]])
        by[r["participant"], r["target"]].append((model.values[t, a] > model.values[t, b]) == (r["choice"] == 1))
    names, targets = sorted(set(table["participant"])), sorted(set(table["target"]))
    draw, once = np.random.default_rng(9), []
    for _ in range(4000):
        some, others = draw.choice(names, 4), draw.choice(targets, len(targets))
        once.append(np.mean([v for p in some for t in others for v in by[p, t]]))
    low, high = np.quantile(once, [0.025, 0.975])
    assert found["boot_low"] == pytest.approx(low, abs=0.02)
    assert found["boot_high"] == pytest.approx(high, abs=0.02)


def test_a_model_is_as_good_as_it_was_made_and_the_ceiling_is_known():
    beta, truth = 2.0, similarity(0)
    triads = people.random_triads(IMAGES, 60, seed=4)
    table = judged(truth, triads, 40, beta=beta, seed=5)
    models = [truth, similarity(7), similarity(8)]
    found = people.accuracy(table, models, resamples=300)
    for model, row in zip(models, found.iter_rows(named=True), strict=True):
        known = expected_accuracy(model, truth, triads, beta)
        assert row["accuracy"] == pytest.approx(known, abs=0.03)  # 2400 judgements: 3 standard errors
        assert row["boot_low"] < row["accuracy"] < row["boot_high"]
    top = people.ceiling(table, resamples=300)
    best = expected_accuracy(truth, truth, triads, beta)
    assert top.lower <= top.upper
    assert top.upper == pytest.approx(best, abs=0.03)
    assert top.lower == pytest.approx(best, abs=0.04)
    assert all(accuracy <= top.upper + 1e-12 for accuracy in found["accuracy"])  # for any model whatever
    table = people.differences(table, models, resamples=300).filter(a=truth.name, b="m7").row(0, named=True)
    assert table["low"] > 0
    assert table["difference"] == pytest.approx(found["accuracy"][0] - found["accuracy"][1])


def test_the_ceiling_against_a_loop():
    triads = people.random_triads(IMAGES, 12, seed=6)
    table = judged(similarity(0), triads, 5, beta=1.0, seed=1).sample(fraction=0.8, seed=0)
    votes = {}
    for row in table.iter_rows(named=True):
        chosen = row[f"option_{row['choice']}"]
        votes.setdefault((row["target"], frozenset((row["option_1"], row["option_2"]))), []).append(
            (row["participant"], chosen)
        )
    upper, lower = [], []
    for given in votes.values():
        names = [c for _, c in given]
        upper.append(max(names.count(c) for c in set(names)))
        for person, own in given:
            others = [c for p, c in given if p != person]
            if others:
                same = others.count(own) * 2 - len(others)
                lower.append(1.0 if same > 0 else 0.5 if same == 0 else 0.0)
    found = people.ceiling(table, resamples=50)
    assert found.upper == pytest.approx(sum(upper) / len(table))
    assert found.lower == pytest.approx(np.mean(lower))


def test_random_models_are_not_said_to_agree():
    triads = people.random_triads(IMAGES, 40, seed=2)
    table = judged(similarity(0), triads, 8, beta=3, seed=3)
    draw, models = np.random.default_rng(1), []
    for k in range(150):  # models that have nothing to do with the truth, nor with distances
        values = draw.normal(size=(12, 12))
        models.append(SimilarityMatrix(name=f"r{k}", images=IMAGES, values=values))
    found = people.accuracy(table, models, resamples=200)
    assert found["accuracy"].mean() == pytest.approx(0.5, abs=0.02)
    told = found.filter((pl.col("boot_low") > 0.5) | (pl.col("boot_high") < 0.5))
    naive = found.filter(pl.col("p") < 0.05)
    assert len(told) / 150 < 0.12  # a bootstrap of 12 targets is a little short
    assert len(naive) / 150 > 0.3  # and this is why the binomial test is not to be believed here


def test_one_person_and_undefined_things_are_null_with_a_reason():
    triads = people.random_triads(IMAGES, 10, seed=2)
    table = judged(similarity(0), triads, 1)
    row = people.accuracy(table, [similarity(0)], resamples=50).row(0, named=True)
    assert "one participant" in row["note"]
    assert row["boot_low"] is not None
    top = people.ceiling(table, resamples=50)
    assert top.lower is None
    assert "two people" in top.note
    lone = people.accuracy(table.head(1), [similarity(0)], resamples=50).row(0, named=True)
    assert lone["boot_low"] is None
    nothing = SimilarityMatrix(name="nan", images=IMAGES, values=np.full((12, 12), np.nan))
    row = people.accuracy(table, [nothing], resamples=50).row(0, named=True)
    assert row["accuracy"] is None
    assert row["undefined"] == 10
    with pytest.raises(InputError, match=r"knows 3 images, not 'i..\.png'"):
        people.accuracy(table, [similarity(0, images=("a", "b", "c"))])


def test_which_option_was_option_1_does_not_matter():
    triads = people.random_triads(IMAGES, 20, seed=2)
    table = judged(similarity(0), triads, 4, beta=1)
    turned = table.with_columns(option_1="option_2", option_2="option_1", choice=3 - pl.col("choice")).sample(
        fraction=1, shuffle=True, seed=1
    )
    models = [similarity(0), similarity(1)]
    first, second = (people.accuracy(t, models, resamples=100) for t in (table, turned))
    assert first.equals(second)
    assert people.ceiling(table, resamples=100) == people.ceiling(turned, resamples=100)


# Who took part.


def test_who_pressed_at_random_is_left_out():
    triads = people.with_extras(people.random_triads(IMAGES, 10, seed=2), IMAGES, catch=12, practice=2, seed=1)
    table = judged(similarity(0), triads, 4, lazy=(3,))
    found = people.participants(table)
    assert found["judgements"].to_list() == [10] * 4
    assert found["catch"].to_list() == [12] * 4
    assert found["passed"].to_list()[:3] == [12] * 3
    assert set(people.attentive(table, least=0.9)["participant"]) == {"p0", "p1", "p2"}
    with pytest.raises(InputError, match="nobody passed"):
        people.attentive(table.filter(pl.col("participant") == "p3"), least=1.0)


def test_whose_options_people_choose():
    a, b = similarity(0, name="a"), similarity(1, name="b")
    triads, dropped = people.runner_up_triads([a], [b], names=("a", "b"))
    assert len(triads) + len(dropped) == 12
    table = judged(b, triads, 10, beta=4)
    row = people.preference(table, resamples=100).row(0, named=True)
    by_hand = (table["choice"] == 2).mean()
    assert (row["a"], row["b"], row["share"]) == ("a", "b", pytest.approx(by_hand))
    assert row["boot_low"] > 0.5
    assert people.accuracy(table, [b], resamples=50)["accuracy"][0] == pytest.approx(by_hand)
    turned = table.with_columns(
        option_1="option_2", option_2="option_1", source_1="source_2", source_2="source_1", choice=3 - pl.col("choice")
    )
    assert people.preference(turned, resamples=100).equals(people.preference(table, resamples=100))


def test_an_option_may_be_proposed_by_either_source_in_different_triads():
    a, b = similarity(0, name="a"), similarity(1, name="b")
    triads = people.contrasted_triads([a], [b], names=("a", "b"), trials=200)
    proposed = {(t.target, t.option_1) for t in triads} & {(t.target, t.option_2) for t in triads}
    assert proposed
    table = judged(b, triads, 3, beta=4)
    row = people.preference(table, resamples=50).row(0, named=True)
    assert row["share"] == pytest.approx((table["choice"] == 2).mean())
    assert row["boot_low"] <= row["share"] <= row["boot_high"]


# Matrices.


def _ratings(truth, participants, noise, seed=0, share=1.0):
    draw, lines = np.random.default_rng(seed), []
    for p in range(participants):
        for i, j in itertools.combinations(range(len(truth.images)), 2):
            if draw.random() < share:
                a, b = (truth.images[k] for k in draw.permutation([i, j]))
                lines.append((f"p{p}", a, b, float(truth.values[i, j] * (p + 1) + noise * draw.normal())))
    return pl.DataFrame(lines, schema=people.ratings.SCHEMA, orient="row")


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_ratings_against_a_loop():
    truth, model = similarity(0), similarity(1)
    table = _ratings(truth, 4, 1.0, share=0.7)
    found = people.people_of_ratings(table)
    pairs = list(itertools.combinations(IMAGES, 2))
    each = []
    for p in sorted(set(table["participant"])):
        own = {}
        for _, a, b, v in table.filter(participant=p).iter_rows():
            own[tuple(sorted((a, b)))] = v
        ranks = dict(zip(own, (rankdata(list(own.values())) - 0.5) / len(own), strict=True))
        each.append([ranks.get(pair, np.nan) for pair in pairs])
    each = np.array(each)
    np.testing.assert_allclose(found.each(), each)
    np.testing.assert_allclose(found.group(), np.nanmean(each, axis=0))
    row = people.agreement(found, [model], permutations=199, resamples=50).row(0, named=True)
    m = np.array([model.values[IMAGES.index(a), IMAGES.index(b)] for a, b in pairs])

    def rho(x, y):
        both = ~np.isnan(x) & ~np.isnan(y)
        return spearmanr(x[both], y[both]).statistic

    assert row["rho"] == pytest.approx(rho(np.nanmean(each, 0), m))
    assert row["person"] == pytest.approx(np.mean([rho(x, m) for x in each]))
    assert row["upper"] == pytest.approx(np.mean([rho(x, np.nanmean(each, 0)) for x in each]))
    others = [np.nanmean(np.delete(each, p, 0), 0) for p in range(4)]
    assert row["lower"] == pytest.approx(np.mean([rho(x, o) for x, o in zip(each, others, strict=True)]))


def test_the_truth_agrees_up_to_the_ceiling_and_a_random_model_does_not():
    truth = similarity(0)
    found = people.people_of_ratings(_ratings(truth, 10, 2.0))
    table = people.agreement(found, [truth, similarity(5)], permutations=499, resamples=80)
    good, other = table.iter_rows(named=True)
    assert good["lower"] - 0.05 < good["person"] < good["upper"] + 0.05
    assert good["p"] == pytest.approx(1 / 499)
    assert good["low"] > 0.5
    assert other["person"] < good["lower"] - 0.3
    assert other["low"] < 0.25


def test_random_matrices_are_not_said_to_agree():
    found = people.people_of_ratings(_ratings(similarity(0), 8, 1.5))
    table = people.agreement(found, [similarity(s) for s in range(100, 140)], permutations=199, resamples=100)
    told = table.filter((pl.col("person_low") > 0) | (pl.col("person_high") < 0))
    assert len(told) <= 5  # of 40
    assert (table["p"] < 0.05).sum() <= 6
    assert table["p_holm"].min() > 0.05


def test_scales_of_people_do_not_matter_and_raw_ratings_are_kept_where_asked():
    truth = similarity(0)
    table = _ratings(truth, 3, 0.5)
    bent = table.with_columns(similarity=(pl.col("similarity") / 3).exp() * 100)
    first, second = (people.people_of_ratings(t) for t in (table, bent))
    np.testing.assert_allclose(first.group(), second.group())
    raw = people.people_of_ratings(table, ranks=False)
    assert raw.group().min() == pytest.approx(np.mean(raw.each(), axis=0).min())
    assert raw.group().min() < -1


def test_shares_of_triads_against_a_loop():
    triads = people.balanced_triads(IMAGES, 150, seed=2)
    truth = similarity(0)
    table = judged(truth, triads, 3, beta=3)
    found = people.people_of_triads(table)
    values = found.similarity().values
    for a, b in itertools.combinations(range(12), 2):
        names = {IMAGES[a], IMAGES[b]}
        offered = chosen = 0
        for row in table.iter_rows(named=True):
            for k in (1, 2):
                if {row["target"], row[f"option_{k}"]} == names:
                    offered += 1
                    chosen += row["choice"] == k
        assert values[a, b] == pytest.approx(chosen / offered) if offered else np.isnan(values[a, b])
    row = people.agreement(found, [truth], permutations=199, resamples=50).row(0, named=True)
    assert row["rho"] > 0.7


def test_no_agreement_is_told_where_nothing_varies():
    table = _ratings(similarity(0), 2, 1.0)
    flat = SimilarityMatrix(name="flat", images=IMAGES, values=np.ones((12, 12)))
    row = people.agreement(people.people_of_ratings(table), [flat], permutations=99, resamples=20).row(0, named=True)
    assert (row["rho"], row["low"], row["p"], row["p_holm"], row["person"]) == (None,) * 5
    assert "same value" in row["note"]
    with pytest.raises(InputError, match="at least three"):
        people.people_of_ratings(table.filter((pl.col("a").is_in(IMAGES[:2])) & pl.col("b").is_in(IMAGES[:2])))

"""Families whose truth is known by construction: the index, the groups, the tests and the sentences must say it."""

from collections.abc import Callable

import polars as pl
import pytest
import torch
from torch import Tensor

import readers
import sightline as sl
from sightline.classifier import Classifier
from sightline.explainers.masking._options import Options
from sightline.studies.generalising import Family, Generalisation, Member, generalise

IMAGES, LEVELS = 48, (2, 5, 10, 20, 50)
Run = Callable[..., Generalisation]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def one(members: list[Member], data: tuple[Tensor, dict[str, Tensor]], name: str, **settings: object) -> object:
        folder = tmp_path_factory.mktemp("truth") / name
        asked = {"controls": ("random", "bottom"), "levels": LEVELS, "validity": 0, "parts": False, **settings}
        asked["options"] = Options(backend="eager", progress=False)  # compiling takes longer than these passes
        methods = (("lrp", {"composite": "epsilon"}),)
        family = Family(name=name, members=members)
        return generalise(family, data, out=folder, methods=methods, progress=False, **asked)  # type: ignore[arg-type]

    return one  # type: ignore[return-value]


def member(name: str, classifier: Classifier, truth: str = "a", **factors: str) -> Member:
    target = None if truth == "both" else sl.Attribute("yes")
    return Member(name=name, classifier=classifier, factors=factors, target=target, truth=truth)


def pairs(found: pl.DataFrame) -> dict[tuple[str, str], dict[str, object]]:
    return {(row["source"], row["target"]): row for row in found.iter_rows(named=True)}


@pytest.fixture(scope="module")
def halves(run: Run) -> Generalisation:
    """Four networks that read the left block and their mirror images; both blocks show the same bit."""
    left = {f"left-{k}": readers.weights("left", k) for k in range(4)}
    right = {name.replace("left", "right"): readers.mirror(w) for name, w in left.items()}
    members = [member(name, readers.one_bit(w), half=name[:-2], seed=name[-1]) for name, w in (left | right).items()]
    return run(members, readers.mirrored(readers.images(IMAGES // 2, 1, same=True)), "halves")


def test_pixels_serve_the_networks_of_the_same_half_and_no_others(halves: Generalisation):
    found = halves.index().filter(kind="model")
    assert found["defined"].all()
    within, across = found.filter(differs="seed"), found.filter(pl.col("differs").str.contains("half"))
    assert within["g_low"].min() > 0.9
    assert across["g"].max() < 0  # its pixels lie in the other half: random ones at least hit
    assert across["g_high"].max() < 0.2
    groups = {row["differs"]: row for row in halves.groups("half").iter_rows(named=True)}
    assert groups["different"]["high"] < 0 < 0.9 < groups["same"]["low"]


def test_the_half_is_the_factor_that_matters_and_the_seed_is_none(halves: Generalisation):
    effects = {row["factor"]: row for row in halves.factor_effects().iter_rows(named=True)}
    half, seed = effects["half"], effects["seed"]
    assert half["rank"] == 1
    assert half["exact"]
    assert half["low"] > 1
    assert half["p"] == pytest.approx(half["p_least"])  # as small as 4 + 4 networks can give
    assert half["p"] < 0.05
    assert half["p_holm"] < 0.1
    assert seed["p_holm"] > 0.2
    assert abs(seed["effect"]) < 0.1


def test_no_half_serves_the_other_better_than_the_other_way_round(halves: Generalisation):
    line = halves.asymmetry("half").row(0, named=True)
    assert line["low"] < 0 < line["high"]
    assert not (halves.asymmetry()["p_holm"] < 0.05).any()


def test_maps_of_one_half_are_alike_and_those_of_two_are_not(halves: Generalisation):
    rows = halves.similarity_groups().filter(measure="spearman")
    value = {row["differs"]: row["value"] for row in rows.iter_rows(named=True)}
    assert value["seed"] > 0.5
    assert value["half, seed"] < 0.1


def test_the_sentences_say_what_was_built(halves: Generalisation):
    said = {s.figures["factor"]: s.text for s in halves.sentences() if s.kind == "carries"}
    assert "carries over nearly in full" in said["seed"]
    assert "does not carry over" in said["half"]


@pytest.fixture(scope="module")
def forms(run: Run) -> Generalisation:
    """A network, its twin, its rounded and its pruned form, and one that was never trained."""
    w = readers.weights("left", 0)
    eighth = (w * 4).round() / 4
    cut = torch.where(w < w[w > 0].quantile(0.25), 0.0, w)
    made = {"plain": w, "twin": w.clone(), "rounded": eighth, "pruned": cut, "untrained": readers.noise_weights(3)}
    members = [member(name, readers.one_bit(v), form=name) for name, v in made.items()]
    return run(members, readers.images(IMAGES, 2, same=True), "forms")


def test_a_twin_is_served_exactly_as_the_network_itself(forms: Generalisation):
    found = pairs(forms.index())
    for pair in (("plain", "twin"), ("twin", "plain")):
        line = found[pair]
        assert (line["g"], line["g_low"], line["g_high"]) == (1.0, 1.0, 1.0)
    even = forms.asymmetry().filter(a="plain", b="twin").row(0, named=True)
    assert even["difference"] == 0
    assert even["p"] is None or even["p"] == 1
    alike = forms.similarity().filter(a="plain", b="twin", measure="spearman")
    assert alike["value"].to_list() == [pytest.approx(1.0)]


def test_rounded_and_pruned_forms_are_served_nearly_as_well(forms: Generalisation):
    found = pairs(forms.index())
    for other in ("rounded", "pruned"):
        for pair in (("plain", other), (other, "plain")):
            assert found[pair]["g_low"] > 0.9, pair
            assert found[pair]["g_high"] < 1.1, pair
    uneven = forms.asymmetry().filter(~pl.col("a").eq("untrained"), ~pl.col("b").eq("untrained"), pl.col("p") < 0.05)
    assert not len(uneven)


def test_a_network_that_was_never_trained_has_no_index_and_gives_none_away(forms: Generalisation):
    found = pairs(forms.index())
    target = found["plain", "untrained"]
    assert target["g"] is None
    assert not target["defined"]
    assert target["note"]
    source = found["untrained", "plain"]
    assert source["g_low"] < 0.2  # hardly to be told from random pixels
    assert source["g_high"] < found["pruned", "plain"]["g_low"]
    said = [s.text for s in forms.sentences()]
    assert any("untrained" in t and "chance" in t and "leaves it out" in t for t in said), said


@pytest.fixture(scope="module")
def uneven(run: Run) -> Generalisation:
    """Networks that need both blocks (four classes), and networks that need the left one alone."""
    members = [
        member(f"both-{k}", readers.two_bits(readers.weights("left", k), readers.weights("right", k + 10)), "both",
               needs="both", seed=str(k))
        for k in range(3)
    ]  # fmt: skip
    members += [
        member(f"left-{k}", readers.one_bit(readers.weights("left", 20 + k)), needs="left", seed=str(k))
        for k in range(3)
    ]
    return run(members, readers.images(IMAGES, 3, same=False), "uneven")


def test_who_needs_more_serves_who_needs_less_and_not_the_other_way_round(uneven: Generalisation):
    found = pairs(uneven.index())
    for i in range(3):
        for j in range(3):
            there, back = found[f"both-{i}", f"left-{j}"], found[f"left-{j}", f"both-{i}"]
            assert there["g_low"] > 0.5
            # Half of the four classes' answer, the left bit, is served in full, the other half by guesses.
            assert back["g_high"] < there["g_low"]
    line = uneven.asymmetry("needs").row(0, named=True)
    assert (line["a"], line["b"]) == ("both", "left")
    assert line["low"] > 0.2
    rows = uneven.asymmetry().filter(pl.col("a").str.starts_with("both"), pl.col("b").str.starts_with("left"))
    assert len(rows) == 9
    assert (rows["p_holm"] < 0.05).all()
    assert (rows["difference"] > 0).all()
    assert any("carries over unevenly in 9 of 15 pairs" in s.text for s in uneven.sentences())


def test_nothing_is_said_of_a_factor_that_means_nothing(run: Run):
    names = "abbaab"
    members = [
        member(f"m{k}", readers.one_bit(readers.weights("left", 40 + k)), label=names[k], seed=str(k)) for k in range(6)
    ]
    found = run(members, readers.images(IMAGES, 4, same=True), "nothing")
    effects = {row["factor"]: row for row in found.factor_effects().iter_rows(named=True)}
    assert effects["label"]["p"] > 0.05
    assert effects["seed"]["effect"] is None  # all pairs differ in it: not a factor that can be told
    assert effects["seed"]["note"]
    assert not (found.asymmetry()["p_holm"] < 0.05).any()
    said = [s.text for s in found.sentences()]
    assert not any(
        "matters most" in t or ("takes" in t and "off the index, the other factors held (p" in t) for t in said
    )
    assert not any("carries over unevenly" in t or "serve those with" in t for t in said)

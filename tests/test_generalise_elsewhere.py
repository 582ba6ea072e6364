"""Fills and modes beside the first: where an effect is found, where not, and what is said of it."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from sightline.studies.generalising.statistics import Curves
from sightline.studies.generalising.validity.elsewhere import elsewhere

IMAGES = 60
FAMILY = {f"{p}{s}": {"pretraining": p, "seed": str(s)} for p, s in itertools.product("ab", range(4))}


def curves(cost, *, useless=False):
    """A difference in pretraining takes `cost` of the gain that own pixels have over random ones."""
    g, names = np.random.default_rng(3), tuple(FAMILY)
    values = np.empty((IMAGES, len(names) + 1, len(names), 2))
    for s, t in itertools.product(range(len(names) + 1), range(len(names))):
        same = s < len(names) and FAMILY[names[s]]["pretraining"] == FAMILY[names[t]]["pretraining"]
        gain = 0.0 if s == len(names) or useless else 0.4 if same else 0.4 * (1 - cost)
        values[:, s, t] = 0.3 + gain + 0.02 * g.normal(size=(IMAGES, 1)) * (not useless)
    return Curves(
        values=values,
        sources=(*names, "random"),
        targets=names,
        levels=(5, 20),
        images=tuple(range(IMAGES)),
        factors=FAMILY,
        mode="keep",
        measure="accuracy",
        unaltered=np.ones((IMAGES, len(names))),
    )


def said(costs, fills=("grey", "blur"), modes=("keep",)):
    """What is said where each fill and mode has a cost of its own."""
    made = {key: curves(cost) if cost is not None else curves(0, useless=True) for key, cost in costs.items()}
    run = SimpleNamespace(
        fills=fills,
        modes=modes,
        factor_names=("pretraining", "seed"),
        curves=lambda method, *, fill, mode: made[fill, mode],
    )
    return list(elsewhere(run, "lrp"))


def test_an_effect_of_one_fill_alone_is_called_one_of_the_mask():
    found = said({("grey", "keep"): 0.5, ("blur", "keep"): 0.0})
    (effect,) = [s for s in found if "effects" in s.figures]
    assert effect.kind == "elsewhere"
    assert effect.figures["factor"] == "pretraining"
    assert "found under grey (0.5" in effect.text
    assert "cannot be told under blur (" in effect.text
    assert effect.text.endswith("as much a finding about the mask as about the models.")
    assert effect.figures["effects"]["grey"]["effect"] == pytest.approx(0.5, abs=0.03)


def test_an_effect_of_all_fills_is_said_to_be_one():
    found = said({("grey", "keep"): 0.5, ("blur", "keep"): 0.3})
    (effect,) = [s for s in found if "effects" in s.figures]
    assert effect.text.startswith("Differing in pretraining takes something off the index whatever is run: grey (")


def test_the_span_of_the_index_names_its_ends():
    costs = {("grey", "keep"): 0.5, ("grey", "remove"): 0.2, ("blur", "keep"): 0.1, ("blur", "remove"): 0.4}
    found = said(costs, modes=("keep", "remove"))
    spans = {s.figures["factor"]: s for s in found if "g" in s.figures}
    assert set(spans) == {"pretraining", "seed"}
    assert "0.50 (keep/grey) to 0.89 (keep/blur)" in spans["pretraining"].text
    assert len(spans["seed"].figures["g"]) == 4
    assert min(spans["seed"].figures["g"].values()) > 0.95


def test_what_is_not_defined_is_counted():
    found = said(
        {("grey", "keep"): 0.5, ("blur", "keep"): 0.4, ("black", "keep"): None}, fills=("grey", "blur", "black")
    )
    assert any("not defined under 1 of 3" in s.text for s in found)


def test_one_fill_and_mode_says_nothing_more():
    assert said({("grey", "keep"): 0.5}, fills=("grey",)) == []

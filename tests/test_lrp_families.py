"""Families of networks that relevance propagation covers; the measured table in the docs is what is measured here."""

import pytest

import lrp_families as families
from sightline.explainers.lrp.composites import COMPOSITES

MODELS = {row[0] + row[1]: row for row in families.rows(6)}
ARRIVING = {row[0]: row for row in families.rows(len(COMPOSITES) + 2)}
LOSSY = {"montavon", "attn-lrp"}


@pytest.fixture(scope="module", params=families.FAMILIES, ids=str)
def measured(request: pytest.FixtureRequest) -> tuple[families.Family, families.Facts]:
    return request.param, families.measure(request.param)


def test_the_page_lists_every_family() -> None:
    assert list(ARRIVING) == [str(family) for family in families.FAMILIES]
    assert list(MODELS) == [family.name + family.source for family in families.FAMILIES]


def test_a_family_is_covered_and_conserves(measured: tuple[families.Family, families.Facts]) -> None:
    _, facts = measured
    assert facts.scores < 1e-12
    assert facts.kept < 1e-9
    assert max(facts.unexplained.values()) < 1e-6, facts.unexplained
    for composite, lost in facts.lost.items():
        if composite == "montavon" or (composite == "attn-lrp" and "softmax" in facts.operations):
            assert lost > 1e-2, (composite, lost)  # by design, and on the account
        else:
            assert lost < 1e-3, (composite, lost)


def test_the_page_says_what_is_measured(measured: tuple[families.Family, families.Facts]) -> None:
    family, facts = measured
    _, _, model, operations, scores, kept = MODELS[family.name + family.source]
    _, *lost, unexplained = ARRIVING[str(family)]
    hint = "docs/lrp-models.md is out of date: python tests/lrp_families.py"
    assert model.startswith(family.model), hint
    assert operations == facts.operations, hint
    assert families.agrees(scores, facts.scores), (hint, scores, facts.scores)
    assert families.agrees(kept, facts.kept), (hint, kept, facts.kept)
    assert families.agrees(unexplained, max(facts.unexplained.values())), (hint, unexplained, facts.unexplained)
    for cell, (composite, value) in zip(lost, facts.lost.items(), strict=True):
        assert families.agrees(cell, value), (hint, composite, cell, value)

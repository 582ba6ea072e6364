"""The plans of `benchmarks/plans`: what they name exists, so that a table of the documentation can be made again."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest
import torch

from sightline.loading import load
from sightline.studies.benchmarking.plan import contender, judge_of
from sightline.studies.benchmarking.reading import FORMATS, MODEL, SETTINGS

PLANS = Path(__file__).parent.parent / "benchmarks" / "plans"
FILES = sorted(PLANS.glob("*.toml"))
NETWORKS = "python:benchmarks/plans/networks.py:"


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_there_are_plans():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_plan_names_what_there_is(path):
    plan = read(path)
    assert set(plan) <= {*SETTINGS, "out", "target", "models", "data"}
    methods = [contender(spec) for spec in plan["methods"]]
    judges = [judge_of(spec) for spec in plan["metrics"]]
    assert len({m.label for m in methods}) == len(methods) >= 10
    assert len({j.label for j in judges}) == len(judges)
    assert not any(m.control for m in methods)
    assert "controls" not in plan  # all of them
    for model in plan["models"].values():
        assert set(model) <= set(MODEL)
        assert model["model"].startswith(NETWORKS)
    data = {k: v for k, v in plan["data"].items() if k not in ("format", "limit")}
    reader, keys = FORMATS[plan["data"]["format"]]
    assert set(data) <= set(keys)
    inspect.signature(reader).bind(**data)
    assert not re.search(r"[\"']/", path.read_text(encoding="utf-8"))  # no path of one machine


@pytest.mark.real
def test_the_networks_of_the_plans_can_be_built(assets, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_ASSETS", str(assets))
    monkeypatch.chdir(PLANS.parent.parent)
    specs = sorted({m["model"] for path in FILES for m in read(path)["models"].values()})
    assert len({s.split(":")[-1] for s in specs if not s.endswith(":320")}) == 5
    for spec in specs:
        classifier = load(spec)
        outputs = classifier(torch.rand(1, 3, *classifier.size))
        assert outputs.shape == (1, len(classifier.labels))
        assert classifier.decision == "categorical"

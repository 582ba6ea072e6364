"""Studies: questions answered over a data set, each a run on disk. What is public is imported when it is used."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "Audit",
    "Benchmark",
    "Confusion",
    "Family",
    "Generalisation",
    "Member",
    "audit",
    "benchmark",
    "confusion",
    "generalise",
    "people",
    "read_family",
]

_HOME = {
    "Audit": "sightline.studies.auditing",
    "Benchmark": "sightline.studies.benchmarking",
    "Confusion": "sightline.studies.confusions",
    "Family": "sightline.studies.generalising",
    "Generalisation": "sightline.studies.generalising",
    "Member": "sightline.studies.generalising",
    "audit": "sightline.studies.auditing",
    "benchmark": "sightline.studies.benchmarking",
    "confusion": "sightline.studies.confusions",
    "generalise": "sightline.studies.generalising",
    "read_family": "sightline.studies.generalising",
}

if TYPE_CHECKING:
    from sightline.studies import people
    from sightline.studies.auditing import Audit, audit
    from sightline.studies.benchmarking import Benchmark, benchmark
    from sightline.studies.confusions import Confusion, confusion
    from sightline.studies.generalising import Family, Generalisation, Member, generalise, read_family


def __getattr__(name: str) -> Any:
    if name == "people":
        return importlib.import_module("sightline.studies.people")
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.studies' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)

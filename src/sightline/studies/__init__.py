"""Studies: questions answered over a data set, each a run on disk. What is public is imported when it is used."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Audit", "Benchmark", "Confusion", "benchmark", "confusion"]

_HOME = {
    "Audit": "sightline.studies.audit",
    "Benchmark": "sightline.studies.benchmarking",
    "Confusion": "sightline.studies.confusions",
    "benchmark": "sightline.studies.benchmarking",
    "confusion": "sightline.studies.confusions",
}

if TYPE_CHECKING:
    from sightline.studies.audit import Audit
    from sightline.studies.benchmarking import Benchmark, benchmark
    from sightline.studies.confusions import Confusion, confusion


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.studies' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)

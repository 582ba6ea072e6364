"""Studies: questions answered over a data set, each a run on disk. What is public is imported when it is used."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Benchmark", "benchmark"]

_HOME = {"Benchmark": "sightline.studies.benchmarking", "benchmark": "sightline.studies.benchmarking"}

if TYPE_CHECKING:
    from sightline.studies.benchmarking import Benchmark, benchmark


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.studies' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)

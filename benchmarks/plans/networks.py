"""The networks of the benchmark tables: `python:benchmarks/plans/networks.py:FUNCTION` in a plan.

They are no part of Sightline. SIGHTLINE_ASSETS names the folder that holds them, `../shared/assets` unless it is set:
`models/zoo.py` with `load(name) -> (model, mean, std, size)`, its weights beside it, and `imagenet_classes.csv`.
"""

import csv
import importlib.util
import os
from pathlib import Path
from typing import Any

import sightline as sl

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def assets() -> Path:
    """The folder of networks and images."""
    return Path(os.environ.get("SIGHTLINE_ASSETS") or Path("..") / "shared" / "assets")


def imagenet(name: str, size: str = "") -> sl.Classifier:
    """`mobilenet_v2` or `squeezenet1_1` with ImageNet's class names; `size` for a side other than 224 px."""
    with (assets() / "imagenet_classes.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    twice = {n for n in names if names.count(n) > 1}  # crane, maillot
    labels = [f"{n} ({i})" if n in twice else n for i, n in enumerate(names)]
    return _classifier(name, labels, int(size) if size else None)


def cifar10(name: str) -> sl.Classifier:
    """`cifar10_resnet20` or `cifar10_resnet56`."""
    return _classifier(name, CIFAR)


def gender() -> sl.Classifier:
    """Two logits on a face of 112 px."""
    return _classifier("gender", ("male", "female"))


def _classifier(name: str, labels: Any, size: int | None = None) -> sl.Classifier:
    path = assets() / "models" / "zoo.py"
    spec = importlib.util.spec_from_file_location("sightline_benchmark_zoo", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no {path}; set SIGHTLINE_ASSETS to the folder that has models/zoo.py")
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    model, mean, std, side = zoo.load(name)
    return sl.Classifier(model, labels=labels, decision="categorical", mean=mean, std=std, size=size or side)

"""Metrics: can an explanation be trusted? `metric(trial) -> one value a row`, with direction and range declared."""

import importlib
import pkgutil
import sys
from types import ModuleType

from sightline.metrics.evaluation import Evaluation, evaluate
from sightline.metrics.metric import Metric, Values, everything, metric
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial

__all__ = ["Evaluation", "Metric", "Session", "Trial", "Values", "evaluate", "metric", "metrics"]


def metrics() -> tuple[Metric, ...]:
    """Records of all metrics: name, family, paper, direction, range, cost, what they need, settings."""
    return everything()


def _discover() -> None:
    """Import every file of every room below this one: adding a metric is adding a file."""
    for room in pkgutil.iter_modules(__path__, f"{__name__}."):
        if room.ispkg:
            package = importlib.import_module(room.name)
            for file in pkgutil.iter_modules(package.__path__, f"{room.name}."):
                importlib.import_module(file.name)


_discover()


class _Room(ModuleType):
    """This room itself: `sl.metrics` is both the package and, as `sl.methods()` is, the list of what there is."""

    def __call__(self) -> tuple[Metric, ...]:
        """Records of all metrics."""
        return metrics()


sys.modules[__name__].__class__ = _Room

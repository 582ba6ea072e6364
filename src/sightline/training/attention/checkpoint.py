"""Where a run stands, in one file without pickle: weights, the optimiser's state, and a few numbers as JSON."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.errors import StorageError
from sightline.files import atomic_write

NAME = "checkpoint.safetensors"
_KEY = "sightline"


def save_checkpoint(path: Path, module: nn.Module, optimiser: Optimizer, state: dict[str, Any]) -> None:
    """Write all that is needed to go on, whole or not at all.

    Raises:
        StorageError: It cannot be written; the one before it is still there.
    """
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for index, entries in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": v for name, v in entries.items() if isinstance(v, Tensor)}
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    data = save(kept, metadata={_KEY: json.dumps(state)})
    with atomic_write(path, size=len(data)) as file:
        file.write(data)


def read_state(path: Path) -> dict[str, Any] | None:
    """The numbers of a checkpoint; None where there is none.

    Raises:
        StorageError: It is broken.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Any] = json.loads(file.metadata()[_KEY])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as reason:
        raise StorageError(f"{path} cannot be read ({reason}); start again with overwrite=True") from reason
    return found


def load_checkpoint(path: Path, module: nn.Module, optimiser: Optimizer) -> dict[str, Any]:
    """Bring a module and its optimiser to where a checkpoint stands; returns its numbers.

    Raises:
        StorageError: It is broken, or of another module.
    """
    state = read_state(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        weights = {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
        module.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as reason:
        raise StorageError(f"{path} cannot be read ({reason}); start again with overwrite=True") from reason
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, entries in optimiser.state.items():  # fused steps go through memory: moments lie as the weights do
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter).copy_(value)
    assert state is not None  # noqa: S101 - it was just read
    return state


def finite(module: nn.Module) -> bool:
    """Whether all weights and buffers are finite."""
    return all(bool(torch.isfinite(v).all()) for v in module.state_dict().values() if v.is_floating_point())

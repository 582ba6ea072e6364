"""Lightning's Fabric: one or several devices, and the precision on them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from sightline.errors import MissingExtraError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_on(
    home: torch.device,
    *,
    precision: Literal["32-true", "bf16-mixed"],
    devices: int | Sequence[int] | None = None,
    accelerator: str | None = None,
    strategy: str = "auto",
) -> "Fabric":
    """Fabric, launched.

    Args:
        home: Where to run unless `devices` and `accelerator` say otherwise.
        precision: As Fabric names it.
        devices: How many, or which.
        accelerator: `cpu`, `cuda`, ...
        strategy: How several work together.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as reason:
        raise MissingExtraError(
            "training needs Lightning Fabric; install the extra: pip install 'sightline[train]'"
        ) from reason
    kind = accelerator or home.type
    if devices is None:
        devices = [home.index] if kind == home.type and home.index is not None and kind != "cpu" else 1
    found = Fabric(
        accelerator=kind,
        devices=devices if isinstance(devices, int) else list(devices),
        strategy=strategy,
        precision=precision,
    )
    if found.world_size > 1:
        found.launch()
    return found

"""How many masked images go into one forward pass, and fewer of them when memory runs out."""

import gc
import os
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sightline.classifier import BlackBox, Classifier
from sightline.errors import ModelError, SightlineError, out_of_memory

_SHARE = 0.25  # of the free memory
_CPU, _GPU = 16, 64  # images of 224 px: beyond this a forward pass gets no faster an image
_CPU_BYTES = 400 * 2**20  # of all that a forward pass makes: beyond this it outgrows the caches


class _Footprint(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of everything that a forward pass makes: more than it holds at any time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        there = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}  # views take nothing
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in there:
                self.bytes += value.numel() * value.element_size()
        return result


def footprint(classifier: Classifier, size: tuple[int, int]) -> int:
    """Bytes that one image may take in a forward pass."""

    def measure() -> int:
        blank = torch.full((1, classifier.channels, *size), 0.5, device=classifier.device)
        twin = classifier.twin()  # made outside: its weights are there once, however many images
        with torch.no_grad(), _Footprint() as mode:
            classifier.run(twin, blank)
        return int(mode.bytes)

    return int(classifier.cached(("footprint", size), measure))


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()  # counts what caches give back
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 if hasattr(os, "sysconf") else 2**31


def chunk_for(classifier: Classifier | BlackBox, size: tuple[int, int]) -> int:
    """Masked images a forward pass: as many as are of use and fit into a quarter of the free memory."""
    device = classifier.device
    most = max(1, min(512, (_GPU if device.type == "cuda" else _CPU) * 224 * 224 // (size[0] * size[1])))
    if isinstance(classifier, BlackBox):
        return min(most, 64)
    try:
        one = footprint(classifier, size)
    except SightlineError:
        return most
    room = int(_SHARE * free_memory(device))
    if device.type == "cpu":
        room = min(room, _CPU_BYTES)
    return max(1, min(most, room // max(one, 1)))


def halved(reason: BaseException, size: int, name: str) -> int:
    """Half of the number of images that did not fit into memory.

    Raises:
        ModelError: It was one image.
        BaseException: The reason itself, where it is another one.
    """
    if not out_of_memory(reason):
        raise reason
    if size == 1:
        raise ModelError(
            f"{name}: there is not enough memory for one masked image; take smaller images, precision='bfloat16', or "
            "a machine with more"
        ) from reason
    return size // 2


def release() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""The versions that figures depend on, for what is written down beside them."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch


def versions(*libraries: str) -> dict[str, str]:
    """Of Sightline, PyTorch and Python, and of those libraries that are installed."""
    from sightline import __version__

    found = {"sightline": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""A generalisation study killed in the middle of blocks: `python killed_generalise.py FOLDER KILLS`, for its test.

This process only forks; each child kills itself after some files, in the middle of what it was doing. FOLDER/whole is a
run that nobody kills, FOLDER/cut one that was killed and went on.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars  # noqa: F401 - imported before the fork
import torch

from generalised import run
from sightline import store
from sightline.studies.generalising import parts, validity  # noqa: F401 - likewise
from sightline.studies.generalising.maps import Kept


def start(out: Path, files: int = 0) -> int:
    """Fork; the child works, and dies with the file of this number, without any clean-up. Returns how it ended."""
    child = os.fork()
    if child == 0:
        code, count = 1, 0

        def deadly(write: Callable[..., None]) -> Callable[..., None]:
            def written(*arguments: Any) -> None:
                nonlocal count
                write(*arguments)
                count += 1
                if count == files:
                    os.kill(os.getpid(), signal.SIGKILL)

            return written

        store.Run.write, Kept.write = deadly(store.Run.write), deadly(Kept.write)  # type: ignore[method-assign]
        try:
            run(out)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main(path: Path, kills: int) -> None:
    """Kill, go on, and say how often."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    if start(path / "whole") != 0:
        sys.exit("the run that nobody kills failed")
    for _ in range(kills):
        if not os.WIFSIGNALED(start(path / "cut", generator.randint(2, 14))):
            sys.exit("a run was finished before it could be killed")
    if start(path / "cut") != 0:
        sys.exit("the run that went on failed")
    print(kills)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

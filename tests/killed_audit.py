"""An audit killed in the middle of blocks: `python killed_audit.py FOLDER KILLS`, run by test_audit.py.

This process does nothing but start children by fork, each of which kills itself after some files; so each of them
starts at once with everything imported. FOLDER/whole is a run that nobody kills, FOLDER/cut one that was killed and
went on.
"""

import os
import random
import signal
import sys
from pathlib import Path

import polars  # noqa: F401 - imported before the fork
import torch

from audits import classifier, folder, regions
from sightline import store
from sightline.data.alignment import Preparation
from sightline.studies.auditing import (
    audit,
    work,  # noqa: F401 - likewise
)


def start(records: list, out: Path, files: int | None = None) -> int:
    """Fork; the child audits, and dies with the file of this number, without any clean-up."""
    child = os.fork()
    if child == 0:
        code, write, count = 1, store.Run.write, 0

        def written(run: store.Run, *arguments: object) -> None:
            nonlocal count
            write(run, *arguments)
            count += 1
            if count == files:
                os.kill(os.getpid(), signal.SIGKILL)

        store.Run.write = written
        try:
            audit(
                classifier(), records, out=out, regions=regions(), preparation=Preparation(fit="squash"), batch=1,
                methods=["grad-cam"], groups=("light",), bias_images=2, progress=False, pictures=False,
            )  # fmt: skip
            code = 0
        finally:
            os._exit(code)
    return child


def main(path: Path, kills: int) -> None:
    """Kill, go on, and say how often."""
    torch.set_num_threads(1)
    generator, records = random.Random(0), folder(path / "images", 8)
    if os.waitpid(start(records, path / "whole"), 0)[1] != 0:
        sys.exit("the run that nobody kills failed")
    for _ in range(kills):
        _, status = os.waitpid(start(records, path / "cut", generator.randint(2, 9)), 0)
        if not os.WIFSIGNALED(status):
            sys.exit("a run was finished before it could be killed")
    if os.waitpid(start(records, path / "cut"), 0)[1] != 0:
        sys.exit("the run that went on failed")
    print(kills)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

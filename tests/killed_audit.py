"""An audit killed at random moments: `python killed_audit.py FOLDER KILLS`, run by test_audit.py.

This process does nothing but start children by fork and kill them, so each of them starts at once with everything
imported. FOLDER/whole is a run that nobody kills, FOLDER/cut is one that was killed and went on.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import polars  # noqa: F401 - imported before the fork
import torch

from audits import classifier, folder, regions
from sightline.data.alignment import Preparation
from sightline.studies.audit import (
    audit,
    work,  # noqa: F401 - likewise
)


def start(records: list, out: Path) -> int:
    """Fork; the child audits and leaves without any clean-up of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            audit(
                classifier(), records, out=out, regions=regions(), preparation=Preparation(fit="squash"), batch=1,
                methods=["grad-cam", "lrp"], groups=("light",), bias_images=5, progress=False,
            )  # fmt: skip
            code = 0
        finally:
            os._exit(code)
    return child


def main(path: Path, kills: int) -> None:
    """Kill, go on, and say how often."""
    torch.set_num_threads(1)
    generator, records = random.Random(0), folder(path / "images", 12)
    begin = time.monotonic()
    if os.waitpid(start(records, path / "whole"), 0)[1] != 0:
        sys.exit("the run that nobody kills failed")
    took, done = time.monotonic() - begin, 0
    while True:
        child = start(records, path / "cut")
        if done < kills:
            time.sleep(took * generator.uniform(0.1, 0.6))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            done += 1
        elif status:
            sys.exit("a run that went on failed")
        elif done >= kills:
            break
        else:  # it was finished before it could be killed: begin again
            (path / "cut" / "finished.jsonl").unlink()
    print(done)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

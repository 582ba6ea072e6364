"""Trainings of attributes killed at random moments: `python killed_attributes.py FOLDER KILLS`, for its test.

This process only forks and kills, so each child starts at once with everything imported. FOLDER/whole is a run that
nobody kills, FOLDER/cut was killed and went on until it was finished.
"""

import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

import lightning_fabric  # noqa: F401 - imported before the fork
import torch

from attributes_case import NAMES, coloured
from sightline.training.attributes import fit_attributes


def train(out: Path, end: int, after: float) -> None:
    """The training; the process is killed some milliseconds after the bar has moved so many times (0: never)."""
    moves = 0

    def moved(done: int, total: int) -> None:
        nonlocal moves
        moves += 1
        if moves == end:
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    settings = {"epochs": 4, "batch": 8, "checkpoint_steps": 2, "validation": coloured(16, seed=9), "patience": None}
    fit_attributes(
        coloured(40),
        out=out,
        attributes=NAMES,
        backbone="timm:test_resnet",
        options={"drop_rate": 0.3},  # dropout draws random numbers too
        size=32,
        progress=moved,
        **settings,
    )


def start(out: Path, end: int = 0, after: float = 0.0) -> int:
    """Fork; the child trains and leaves without any clean-up of this process. Returns how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(out, end, after)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main(folder: Path, kills: int) -> None:
    """Kill, go on, and say how often it was killed."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    if start(folder / "whole") != 0:
        sys.exit("the run that nobody kills failed")
    times = 0
    while times < kills:
        status = start(folder / "cut", generator.randint(2, 7), generator.uniform(0, 0.03))
        if not os.WIFSIGNALED(status):
            break
        times += 1
    status = start(folder / "cut")
    if status != 0:
        sys.exit(f"a run that went on failed: {status}")
    print(json.dumps(times))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Trainings killed at random moments and gone on with, for `killed_training.py` and `killed_attributes.py`.

The process that kills only forks, so each child starts at once with everything imported. FOLDER/whole is a run that
nobody kills, FOLDER/cut was killed and went on until it was finished.
"""

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lightning_fabric  # noqa: F401 - imported before the fork
import torch

Moved = Callable[[int, int], None]
Train = Callable[[Path, Moved], None]


def killer(end: int, after: float) -> Moved:
    """Kills this process some seconds after the bar has moved so many times (0: never)."""
    moves = 0

    def moved(done: int, total: int) -> None:
        nonlocal moves
        moves += 1
        if moves == end:
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    return moved


def start(train: Train, out: Path, end: int = 0, after: float = 0.0) -> int:
    """Fork; the child trains and leaves without any clean-up of this process. Returns how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(out, killer(end, after))
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main(train: Train, folder: Path, kills: int, *, most: int) -> None:
    """Kill at one of the first so many moves of the bar, go on, and say how often it was killed."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    if start(train, folder / "whole") != 0:
        sys.exit("the run that nobody kills failed")
    times = 0
    while times < kills:
        status = start(train, folder / "cut", generator.randint(2, most), generator.uniform(0, 0.03))
        if not os.WIFSIGNALED(status):
            break
        times += 1
    status = start(train, folder / "cut")
    if status != 0:
        sys.exit(f"a run that went on failed: {status}")
    print(json.dumps(times))  # noqa: T201 - what the test reads

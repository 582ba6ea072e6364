"""Trainings killed at random moments: `python killed_training.py FOLDER KILLS`, run by test_training_attention.py.

This process only forks and kills, so each child starts at once with everything imported. FOLDER/whole is a run that
nobody kills, FOLDER/cut was killed and went on until it was finished.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import lightning_fabric  # noqa: F401 - imported before the fork
import torch

import sightline as sl
from nets import ConvNet, images, seeded
from sightline.training.attention import fit_attention

SETTINGS = {
    "method": "tame",  # batch norms: buffers too must survive
    "layer": ["relu1", "relu2"],
    "epochs": 4,
    "batch": 4,
    "learning_rate": 1e-2,
    "checkpoint_steps": 2,
    "validation": 0.2,
    "progress": False,
}


def train(out: Path) -> None:
    """The training."""
    classifier = sl.Classifier(seeded(ConvNet), size=16, decision="categorical")
    fit_attention(classifier, images(40), out=out, **SETTINGS)


def start(out: Path) -> int:
    """Fork; the child trains and leaves without any clean-up of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(out)
            code = 0
        finally:
            os._exit(code)
    return child


def main(folder: Path, kills: int) -> None:
    """Kill, go on, and say how often it was killed."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    begin = time.monotonic()
    if os.waitpid(start(folder / "whole"), 0)[1] != 0:
        sys.exit("the run that nobody kills failed")
    whole, times = time.monotonic() - begin, 0
    while True:
        child = start(folder / "cut")
        if times < kills:
            time.sleep(generator.uniform(0.1, 0.6) * whole)
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            break
        times += 1
    if status != 0:
        sys.exit(f"a run that went on failed: {status}")
    print(json.dumps(times))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

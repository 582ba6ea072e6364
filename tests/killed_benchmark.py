"""A benchmark killed at random moments: `python killed_benchmark.py FOLDER KILLS`, run by test_benchmark.py.

This process does nothing but start children by fork and kill them, so each of them starts at once with everything
imported. FOLDER/whole is a run that nobody kills, FOLDER/cut-0, cut-1, ... are runs that were killed and went on.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import polars  # noqa: F401 - imported before the fork
import torch

import sightline as sl
from nets import ConvNet, seeded
from sightline.studies import benchmarking  # noqa: F401 - likewise

SETTINGS = {
    "methods": ["grad-cam", ("rise", {"masks": 6}), "smooth-grad"],
    "metrics": ["average-drop", ("insertion", {"steps": 3, "fill": "black"})],
    "controls": ["random", "other-image"],
    "batch": 2,
    "pictures": 3,
    "backend": "eager",
    "progress": False,
}


def run(images: Path, out: Path) -> None:
    """The benchmark, in a process of its own."""
    classifier = sl.Classifier(seeded(ConvNet), size=8, labels=list("abcde"), decision="categorical")
    sl.studies.benchmark({"net": classifier}, images, out=out, **SETTINGS)


def start(images: Path, out: Path) -> int:
    """Fork; the child runs the benchmark and leaves without any clean-up of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(images, out)
            code = 0
        finally:
            os._exit(code)
    return child


def main(folder: Path, kills: int) -> None:
    """Kill, go on, and say how often each run was killed."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    begin = time.monotonic()
    if os.waitpid(start(folder / "images", folder / "whole"), 0)[1] != 0:
        sys.exit("the run that nobody kills failed")
    whole = time.monotonic() - begin
    found: list[int] = []
    while sum(found) < kills:
        out, times = folder / f"cut-{len(found)}", 0
        while True:
            child = start(folder / "images", out)
            # longer and longer: on a machine that has become busy since, half of a whole run may finish nothing
            time.sleep(generator.uniform(0, whole / 2 * (1 + times / 10)))
            os.kill(child, signal.SIGKILL)  # of a child that has ended already too: nobody has waited for it
            status = os.waitpid(child, 0)[1]
            if not os.WIFSIGNALED(status):
                break
            times += 1
        if status != 0:
            sys.exit(f"a run that went on failed: {status}")
        found.append(times)
    print(json.dumps(found))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

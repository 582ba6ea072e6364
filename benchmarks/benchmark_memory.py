"""Peak memory of a benchmark run does not grow with the number of images: each size in a process of its own.

python benchmarks/benchmark_memory.py --images 100 2000
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import sightline as sl

SIDE = 64


def run(folder: Path, images: int) -> None:
    """One run; prints its peak in MiB, before and after the table."""
    (folder / "images").mkdir()
    for i in range(images):
        pixels = np.random.default_rng(i).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.jpg")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the net is tiny
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    found = sl.studies.benchmark(
        sl.Classifier(net.eval(), size=SIDE, decision="categorical"),
        folder / "images",
        out=folder / "run",
        methods=["grad-cam", "hires-cam"],
        metrics=["average-drop", ("insertion", {"steps": 4})],
        batch=16,
        backend="eager",
        progress=False,
    )
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]
    found.table(resamples=1000)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    rows = sum(found.table(resamples=10)["ok"])
    print(f"{images} images: peak {peaks[0]} MiB, with the table {peaks[1]} MiB, {rows} rows that count")


def main() -> None:
    """Read the options; start a process for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        run(options.here, options.images[0])
        return
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, "--images", str(images), "--here", folder], check=True)


if __name__ == "__main__":
    main()

"""What a generalisation study costs: its estimate, its masked passes against the passes alone, and its peak memory.

    python benchmarks/generalisation_cost.py estimate               # 12 models x 400 images x 8 levels x 6 controls
    python benchmarks/generalisation_cost.py run --images 8         # the same family, measured on fewer images
    python benchmarks/generalisation_cost.py memory --images 32 128 # peak resident memory, each in its own process

Networks are SqueezeNet 1.1 with random weights, which cost what trained ones do, on rendered faces. CPU seconds tell
the work on a machine that does other things as well; wall seconds stand beside them.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torchvision.models import squeezenet1_1

import sightline as sl
from sightline.data import faces
from sightline.data.annotations.record import Record
from sightline.explainers.masking._forward import forward_for
from sightline.picture import write_png
from sightline.studies.generalising import Member, Plan, estimate, plan_of, run_plan

CONTROLS = ("random", "centre", "edges", "bottom", "mean-map", "other-image")
SIZE = 96


def members(count: int, size: int) -> list[Member]:
    """A family of networks that were never trained."""
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = sl.Classifier(
            squeezenet1_1(num_classes=2).eval(), size=size, labels=["no", "yes"], decision="categorical"
        )
        found.append(Member(name=f"net{seed}", classifier=net, factors={"seed": str(seed)}))
    return found


def plan(models: int, images: Any, size: int = SIZE, **settings: Any) -> Plan:
    """The study that is asked; what looks at maps alone is left out of the timing."""
    given = {"controls": CONTROLS, "validity": 0, "parts": False, **settings}
    return plan_of(members(models, size), images, **given)


def estimated(options: argparse.Namespace) -> dict[str, Any]:
    """The cost that is told before 12 models x 400 images."""
    asked = plan(options.models, faces.sample(options.images[0], seed=0, size=options.size), options.size)
    cost = estimate(asked)
    print(cost)
    return {"passes": cost.passes, "maps": cost.maps, "seconds": cost.seconds, "disk": cost.disk}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """A run, its estimate, and the same number of passes without masks in the same chunks."""
    asked = plan(options.models, faces.sample(options.images[0], seed=0, size=options.size), options.size)
    cost = estimate(asked)
    print(cost, flush=True)
    work: Any = importlib.import_module("sightline.studies.generalising.work")
    spent: dict[str, tuple[float, float]] = {}
    for name in ("_explain", "_mask"):
        setattr(work, name, _timed(spent, name, getattr(work, name)))
    alone = [_passes_alone(asked)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter(), time.process_time()
        run_plan(asked, folder, progress=False)
        whole = time.perf_counter() - start[0], time.process_time() - start[1]
    alone.append(_passes_alone(asked))  # before and after: other work comes and goes
    wall, cpu = ((alone[0][i] + alone[1][i]) / 2 for i in (0, 1))
    masked = spent["_mask"]
    return {
        "passes": cost.passes,
        "passes alone, CPU s": cpu,
        "under masks, CPU s": masked[1],
        "ratio of CPU s": masked[1] / cpu,
        "passes alone, wall s": wall,
        "under masks, wall s": masked[0],
        "maps, CPU s": spent["_explain"][1],
        "whole run, CPU s": whole[1],
        "whole run, wall s": whole[0],
        "estimate, wall s": cost.seconds,
    }


def _timed(spent: dict[str, tuple[float, float]], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        start = time.perf_counter(), time.process_time()
        found = call(*given)
        spent[name] = time.perf_counter() - start[0], time.process_time() - start[1]
        return found

    return timed


def _passes_alone(asked: Plan, share: float = 0.25) -> tuple[float, float]:
    """Wall and CPU seconds of all masked passes without masks, from a share of them: the same backend and chunks."""
    from sightline.explainers.masking._memory import chunk_for

    total = [0.0, 0.0]
    count = asked.passes * len(asked.source.keys)
    for member in asked.family:
        size = member.classifier.size
        forward = forward_for(member.classifier, size, asked.options, count * 1000)
        chunk = chunk_for(member.classifier, size)
        images = member.classifier.normalise(torch.rand(chunk, 3, *size), order=False)
        if forward.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            forward(images)  # converts, checks and warms up
            rounds = max(1, round(share * count / chunk))
            start = time.perf_counter(), time.process_time()
            for _ in range(rounds):
                forward(images)
        for i, clock in enumerate((time.perf_counter, time.process_time)):
            total[i] += (clock() - start[i]) * count / (rounds * chunk)
    return total[0], total[1]


def remembered(options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory by number of images, each in a process of its own."""
    found = {}
    for count in options.images:
        command = [sys.executable, __file__, "peak", "--images", str(count), "--models", str(options.models)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[count] = json.loads(done.stdout.splitlines()[-1])["peak MB"]
    return {"peak MB by images": found}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    """The peak of one run over images on disk, with one level and one control."""
    with tempfile.TemporaryDirectory() as folder:
        records = []
        for i in range(options.images[0]):  # one at a time: drawing must not be what peaks
            path = Path(folder) / f"{i:05d}.png"
            one = faces.sample(1, seed=i, size=options.size).pixels[0]
            write_png(path, (one * 255).round().byte().permute(1, 2, 0).numpy())
            records.append(Record(path=path, label=i % 2))
        asked = plan(options.models, records, options.size, levels=(20,), controls=("random",), batch=8)
        run_plan(asked, Path(folder) / "run", progress=False)
    return {"peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def main() -> None:
    """Read the command line and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("estimate", "run", "memory", "peak"))
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--images", type=int, nargs="+", default=[400])
    parser.add_argument("--size", type=int, default=SIZE)
    options = parser.parse_args()
    do = {"estimate": estimated, "run": measured, "memory": remembered, "peak": peak}[options.what]
    print(json.dumps(do(options)))


if __name__ == "__main__":
    main()

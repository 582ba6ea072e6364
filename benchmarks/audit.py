"""What a bias audit costs beside the plain forward passes of the same images, in the same run, and its memory.

    python benchmarks/audit.py --images 1200 --size 96

A ResNet-18 with random weights and 40 outputs on CelebA's layout (`$SIGHTLINE_ASSETS/celeba`): speed does not depend on
weights. Plain: images decoded by threads that read ahead, one forward pass in batches. Audit: all 40 attributes,
Grad-CAM, HiResCAM and Grad-CAM++ at both layers, no edits, until the folder is complete; tables are timed apart.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
import torchvision

import sightline as sl
from sightline.data import annotations
from sightline.data._ahead import read_ahead
from sightline.data.alignment import Preparation
from sightline.studies.auditing import Plan, examples, run_plan


def celeba(count: int) -> annotations.Records:
    root = Path(os.environ.get("SIGHTLINE_ASSETS", Path(__file__).resolve().parents[2] / "shared" / "assets"))
    return annotations.celeba(root / "celeba", part=None)[:count]


def classifier(size: int, labels: tuple[str, ...]) -> sl.Classifier:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=len(labels)).eval()
    return sl.Classifier(model, labels=labels, decision="multilabel", size=size)


def plain(
    model: sl.Classifier, records: annotations.Records, preparation: Preparation, batch: int
) -> tuple[float, float]:
    """Seconds with and without the reading."""
    start, asking, images = time.perf_counter(), 0.0, []
    for _, sample in read_ahead(list(records), lambda r: preparation.load(r, model.size), workers=4, ready=batch):
        images.append(sample.pixels)
        if len(images) == batch:
            before = time.perf_counter()
            model(torch.stack(images))
            asking += time.perf_counter() - before
            images = []
    if images:
        before = time.perf_counter()
        model(torch.stack(images))
        asking += time.perf_counter() - before
    return time.perf_counter() - start, asking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tables", action="store_true", help="time the tables too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    records = celeba(options.images)
    model = classifier(options.size, tuple(records[0].attributes))
    preparation = Preparation(fit="crop")
    model(torch.zeros(2, 3, options.size, options.size))
    whole, asking = plain(model, records, preparation, options.batch)
    print(f"plain: {whole:.1f} s with reading, {asking:.1f} s the passes alone ({len(records)} images)")
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(classifier=model, records=records, preparation=preparation, batch=options.batch, pictures=False)
        start = time.perf_counter()
        found = run_plan(plan, Path(folder) / "run", progress=False)
        seconds = time.perf_counter() - start
        print(f"audit: {seconds:.1f} s, {seconds / whole:.2f}x with reading, {seconds / asking:.2f}x the passes alone")
        print(f"largest memory by then {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
        again, asking = plain(model, records, preparation, options.batch)
        print(f"plain again: {again:.1f} s with reading, {asking:.1f} s the passes alone")
        if options.tables:
            for name in ("errors", "evidence", "bias", "groups"):
                start = time.perf_counter()
                rows = len(getattr(found, name)())
                print(f"{name}: {rows} rows in {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        examples.keep(plan, found)
        print(f"pictures of examples: {time.perf_counter() - start:.1f} s")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()

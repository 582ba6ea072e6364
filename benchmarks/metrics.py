"""Insertion and deletion against Quantus' pixel flipping, and what average drop costs beside its forward passes.

    python benchmarks/metrics.py [--network mobilenet_v2] [--images 64] [--steps 224] [--precision float32 bfloat16]

Random weights and smooth random images of 224 px; the same map for both sides (Grad-CAM). Quantus flips the pixels of
one curve (224 a step, to black); Sightline draws both curves. "forwards alone" are as many forward passes of the same
backend on images that are there already.
"""

import argparse
import time
import warnings

import torch
import torch.nn.functional as F
import torchvision

import sightline as sl
from sightline.explainers.masking._forward import forward_for
from sightline.explainers.masking._memory import chunk_for
from sightline.explainers.masking._options import Options
from sightline.metrics import Session

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEN = [
    "grad-cam",
    "grad-cam++",
    "xgrad-cam",
    "hires-cam",
    "layer-cam",
    "eigen-cam",
    "uniform",
    "random",
    "centre",
    "edges",
]
SOFT = [(n, {"keep": k}) for n in ("average-drop", "increase-in-confidence") for k in (1.0, 0.5, 0.15)]


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name).eval()


def classifier(name: str) -> sl.Classifier:
    return sl.Classifier(network(name), mean=MEAN, std=STD)


def quantus_flips(name: str, x: torch.Tensor, out: sl.Explanation, steps: int):
    import quantus

    metric = quantus.PixelFlipping(
        features_in_step=x.shape[-1] * x.shape[-2] // steps, perturb_baseline="black", disable_warnings=True
    )
    values = torchvision.transforms.functional.normalize(x, MEAN, STD).numpy()
    a, y = out.heatmaps()[:, None].numpy(), torch.tensor([t.category for t in out.targets]).numpy()
    net = network(name)
    return lambda: metric(model=net, x_batch=values, y_batch=y, a_batch=a, device="cpu", batch_size=64)


def alone(clf: sl.Classifier, passes: int, precision: str):
    forward = forward_for(clf, (224, 224), Options(precision=precision), passes)
    chunk = chunk_for(clf, (224, 224))
    memory = torch.channels_last if forward.channels_last else torch.contiguous_format
    images = torch.randn(chunk, 3, 224, 224).contiguous(memory_format=memory)
    with torch.no_grad():
        forward(images)

    def run() -> None:
        with torch.no_grad():
            for _ in range(-(-passes // chunk)):
                forward(images)

    return run


def timed(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--network", default="mobilenet_v2")
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--steps", type=int, default=224)
    options.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    options.add_argument("--no-quantus", action="store_true")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    x = F.avg_pool2d(torch.rand(given.images, 3, 224, 224, generator=torch.Generator().manual_seed(0)), 15, 1, 7)
    clf = classifier(given.network)
    maps = {m: sl.explain(clf, x, method=m) for m in TEN}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.network}, {given.images} images")
    flips = None
    if not given.no_quantus:
        flips = timed(quantus_flips(given.network, x, maps["grad-cam"], given.steps))
        print(f"quantus pixel flipping, {given.steps} steps: {flips:.1f} s", flush=True)
    for precision in given.precision:
        both = ["insertion", "deletion"]
        asked = [(n, {"steps": given.steps, "fill": "black"}) for n in both]
        warm = classifier(given.network)
        sl.evaluate(warm, x[:16], maps["grad-cam"].select(slice(0, 16)), asked, precision=precision)
        found = timed(lambda w=warm, a=asked, p=precision: sl.evaluate(w, x, maps["grad-cam"], a, precision=p))
        passes = 2 * given.images * (given.steps - 1)
        bare = timed(alone(warm, passes, precision))
        ratio = f", {flips / found:.1f}x faster than pixel flipping" if flips else ""
        print(
            f"insertion + deletion, {precision}: {found:.1f} s, {found / bare:.2f}x forwards alone{ratio}", flush=True
        )

        def ten(clf: sl.Classifier = warm, precision: str = precision) -> None:
            session = Session(clf, x, options=Options(precision=precision), expected=3 * len(TEN) * len(x))
            for out in maps.values():
                sl.evaluate(clf, x, out, SOFT, session=session)

        ten()
        found = timed(ten)
        bare = timed(alone(warm, 3 * len(TEN) * given.images, precision))
        print(
            f"drop and increase, 3 shares, ten methods, {precision}: {found:.1f} s, {found / bare:.2f}x forwards alone"
        )


if __name__ == "__main__":
    main()

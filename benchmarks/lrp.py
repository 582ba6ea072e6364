"""Layer-wise relevance propagation against a bare forward pass and zennit, in one run.

    python benchmarks/lrp.py [--rounds 3] [--images 4] [--threads 2] [--networks resnet50 vgg16]

Random weights, 224 px, one target an image; zennit with its own canonisers. Medians, and peak memory of a process of
its own for each candidate.
"""

import argparse
import statistics
import sys

import torch
import torchvision

import sightline as sl
from _timing import in_turns, peak_mib, peak_of, ratio

COMPOSITES = ("epsilon-plus-flat", "epsilon-alpha2-beta1-flat")


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name).eval()


def bare(name: str, images: torch.Tensor, memory: torch.memory_format = torch.contiguous_format):
    net, x = network(name).to(memory_format=memory), images.contiguous(memory_format=memory)

    def run() -> object:
        with torch.inference_mode():
            return net(x)

    return run


def ours(name: str, images: torch.Tensor, composite: str):
    explainer = sl.explainer("lrp", sl.Classifier(network(name)), composite=composite)
    return lambda: explainer(images, sl.Category(3))


def zennit(name: str, images: torch.Tensor, composite: str):
    from zennit import composites
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    canoniser = ResNetCanonizer if name.startswith("resnet") else VGGCanonizer
    kind = getattr(composites, "".join(part.capitalize() for part in composite.split("-")))
    net = network(name)

    def run() -> object:
        with kind(canonizers=[canoniser()]).context(net) as ready:
            x = images.clone().requires_grad_()
            y = ready(x)
            start = torch.zeros_like(y)
            start[:, 3] = y.detach()[:, 3]
            return torch.autograd.grad(y, x, start)[0].sum(1)

    return run


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--images", type=int, default=4)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--networks", nargs="+", default=["resnet50", "vgg16"])
    options.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    images = torch.rand(given.images, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    if given.peak:
        who, name, composite = given.peak
        {"sightline": ours, "zennit": zennit}[who](name, images, composite)()
        print(peak_mib())
        return
    for name in given.networks:
        runs = {
            "bare forward, channels last": bare(name, images, torch.channels_last),
            "bare forward": bare(name, images),
        }
        for composite in COMPOSITES:
            runs[f"sightline {composite}"] = ours(name, images, composite)
            runs[f"zennit {composite}"] = zennit(name, images, composite)
        seconds = in_turns(runs, given.rounds)
        for label in runs:
            times = (
                f"{statistics.median(seconds[label]):7.2f} s {ratio(seconds, label, next(iter(runs))):6.2f}x forward"
            )
            who, _, composite = label.partition(" ")
            against = f" {ratio(seconds, label, f'zennit {composite}'):5.2f}x zennit" if who == "sightline" else ""
            peak = ""
            if who in ("sightline", "zennit"):
                peak = (
                    f" {peak_of(sys.argv[0], '--images', str(given.images), '--peak', who, name, composite):7.0f} MiB"
                )
            print(f"{name:10} {label:42}{times}{against}{peak}", flush=True)


if __name__ == "__main__":
    main()

"""What an epoch of training a classifier of attributes costs: CPU seconds of one thread by network, size, precision.

    python benchmarks/attributes_training.py --images 6000

Steps of 64 random images with 40 random answers: augmentation, forward and backward pass, the optimiser's step; the
least of three after one that warms up, times the steps of an epoch.
"""

import time
from typing import Annotated

import torch
import typer

from sightline.loading.backbones import backbone
from sightline.training.attributes import Recipe, objective_of
from sightline.training.attributes.run import changed, optimiser_of

NETWORKS = (
    ("timm:resnet18", {}, 96),
    ("timm:resnet18", {"output_stride": 16}, 96),
    ("timm:resnet18", {"output_stride": 16}, 112),
    ("facenet", {}, 64),
)
BATCH, ATTRIBUTES = 64, 40


def step_seconds(spec: str, options: dict[str, int], size: int, bf16: bool) -> tuple[float, tuple[int, ...]]:
    """CPU seconds of a step, and the shape of the last map."""
    recipe = Recipe()
    chance = torch.Generator().manual_seed(0)
    pixels = torch.rand(BATCH, 3, size, size, generator=chance)
    y = torch.randint(0, 2, (BATCH, ATTRIBUTES), generator=chance)
    model = backbone(spec, ATTRIBUTES, size=(size, size), options=options).model
    model = model.train().to(memory_format=torch.channels_last)
    optimiser, objective = optimiser_of(model, recipe), objective_of("moon", y)
    least = float("inf")
    for turn in range(4):
        begun = time.process_time()
        x = (changed(pixels, recipe, turn) - 0.5) / 0.25
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            z = model(x.contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad()
        objective(z.float(), y)[0].backward()
        optimiser.step()
        if turn:
            least = min(least, time.process_time() - begun)
    shape: tuple[int, ...] = ()
    with torch.no_grad():
        features = model.forward_features(x[:1]) if hasattr(model, "forward_features") else model.features(x[:1])
        shape = tuple(features.shape[1:])
    return least, shape


def main(images: Annotated[int, typer.Option(help="Images an epoch.")] = 6000) -> None:
    torch.set_num_threads(1)
    print("| network | input | last map | bfloat16, an epoch | float32 |")
    print("|---|---|---|---|---|")
    for spec, options, size in NETWORKS:
        seconds, shape = [], ()
        for bf16 in (True, False):
            one, shape = step_seconds(spec, dict(options), size, bf16)
            seconds.append(f"{one * images / BATCH:.0f} s")
        said = " ".join([spec, *(f"{k}={v}" for k, v in options.items())])
        print(f"| {said} | {size} px | {' x '.join(map(str, shape))} | {' | '.join(seconds)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)

"""Methods that run the tail alone, against a bare forward pass and pytorch-grad-cam's Ablation-CAM, in one run.

    python benchmarks/tail.py [--rounds 7] [--channels 128]

ResNet-50 with random weights, one image of 224 px, its last block. pytorch-grad-cam runs the whole model for every
channel, so it is timed on some of the 2048 channels and multiplied; `--channels 2048` times all of them.
"""

import argparse
import statistics
import time

import torch
import torchvision

import sightline as sl
from _timing import in_turns, ratio

OURS = ("ablation-cam", "recipro-cam", "lift-cam")
CHANNELS = 2048


def peer_seconds(model: torch.nn.Module, images: torch.Tensor, channels: int) -> tuple[float, torch.Tensor]:
    """Seconds of pytorch-grad-cam's Ablation-CAM on all channels, and its map where all were timed."""
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    method = AblationCAM(model, [model.layer4], ratio_channels_to_ablate=channels / CHANNELS)
    with torch.no_grad():
        target = ClassifierOutputTarget(int(model(images).argmax()))
    start = time.perf_counter()
    found = method(images, [target])
    return (time.perf_counter() - start) * CHANNELS / channels, torch.from_numpy(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval()
    images = torch.rand(1, 3, 224, 224)
    classifier = sl.Classifier(model)
    explainers = {name: sl.explainer(name, classifier, layer="layer4") for name in OURS}
    last, ordered = model.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)

    def bare() -> object:
        with torch.inference_mode():
            return last(ordered)

    runs = {"bare forward, channels last": bare, **{n: (lambda e=e: e(images)) for n, e in explainers.items()}}
    seconds = in_turns(runs, options.rounds)
    peer, theirs = peer_seconds(model.to(memory_format=torch.contiguous_format), images, options.channels)
    print("| | median ms | / bare forward | / pytorch-grad-cam |\n|---|---|---|---|")
    for name in runs:
        median = statistics.median(seconds[name])
        share = f"1/{peer / median:.0f}" if name == "ablation-cam" else ""
        print(f"| {name} | {1000 * median:.0f} | {ratio(seconds, name, 'bare forward, channels last'):.2f} | {share} |")
    print(
        f"| pytorch-grad-cam AblationCAM ({options.channels} of {CHANNELS} channels timed) | {1000 * peer:.0f} | | 1 |"
    )
    if options.channels == CHANNELS:
        ours = explainers["ablation-cam"](images).heatmaps(size=(224, 224)).flatten()
        print(
            "correlation with pytorch-grad-cam's map",
            float(torch.corrcoef(torch.stack([ours, theirs.flatten()]))[0, 1]),
        )


if __name__ == "__main__":
    main()

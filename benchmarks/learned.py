"""Learned attention against a bare forward pass, in turns.

    python benchmarks/learned.py [--device cpu] [--rounds 9] [--images 8]

ResNet-50 and attention with random weights (their values do not matter for time) at 224 px, the predicted class of
every image. L-CAM reads `layer4`; TAME convolves `layer2`, `layer3` and `layer4`, each onto as many channels, which
alone is 0.6 of the network's 4.1 billion multiplications. The bare pass is the quicker one, in channels-last order.
"""

import argparse
import statistics

import torch
import torchvision

import sightline as sl
from _timing import in_turns, ratio
from sightline.explainers.learned import Learned, about_of, attention_for, default_layers

BARE = "bare forward, channels last"


def network(device: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval().to(device)


def bare(images: torch.Tensor):
    model = network(str(images.device)).to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)

    def run() -> object:
        with torch.inference_mode():
            return model(images)

    return run


def learned(classifier: sl.Classifier, images: torch.Tensor, method: str, target: object = None):
    attention = attention_for(method, classifier, default_layers(method, classifier)).eval()
    explainer = sl.explainer(method, classifier, weights=Learned(attention, about_of(attention, classifier)))
    return lambda: explainer(images, target)


def on(device: str, run):
    """The same, waiting for the device."""
    if device == "cpu":
        return run

    def waited() -> None:
        run()
        torch.cuda.synchronize()

    return waited


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=8)
    asked = parser.parse_args()
    images = torch.rand(asked.images, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(asked.device)
    classifier = sl.Classifier(network(asked.device))
    grad_cam = sl.explainer("grad-cam", classifier)
    runs = {
        BARE: bare(images),
        "grad-cam": lambda: grad_cam(images),
        "l-cam-fm": learned(classifier, images, "l-cam-fm"),
        "l-cam-fm, 20 classes an image": learned(classifier, images, "l-cam-fm", sl.each(range(20))),
        "tame": learned(classifier, images, "tame"),
    }
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {asked.device}, {asked.images} images")
    seconds = in_turns({name: on(asked.device, run) for name, run in runs.items()}, asked.rounds)
    print(f"{'':34} {'median ms':>10} {'/ bare':>8}")
    for name, times in seconds.items():
        print(f"{name:34} {statistics.median(times) * 1000:10.1f} {ratio(seconds, name, BARE):8.3f}")


if __name__ == "__main__":
    main()

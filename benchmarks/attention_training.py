"""What kept features save, and what a step of training costs against the passes that it must make.

    python benchmarks/attention_training.py [--images 512] [--photos 128]

For the ResNet-20 (CIFAR-10, 32 px) and the MobileNetV2 (photographs, 224 px) of the folder that SIGHTLINE_ASSETS names:

- an epoch of L-CAM-Fm with the classifier run again and from kept features, both with the images' reading and without;
- a step of L-CAM-Img against its bound: a forward pass without a graph, and a forward and a backward pass through the
  masked image with gradients at the pixels alone.

Times are of this process on one thread (CPU seconds, which other work on the machine does not change much); each is the
least of some repetitions.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import sightline as sl
from sightline.data.images import find_images
from sightline.explainers.learned._attention import attention_for
from sightline.training.attention import cache as caching
from sightline.training.attention.loop import Stepper, optimiser_of
from sightline.training.attention.losses import terms_of
from sightline.training.attention.masking import Features, Image
from sightline.training.attention.masks import Masks
from sightline.training.attention.material import material
from sightline.training.attention.recipe import Recipe
from sightline.training.attention.source import Source

ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS") or Path(__file__).parents[2] / "shared" / "assets")
RECIPE = Recipe(augment=False, validation=0.0, select="last")


def network(name: str) -> sl.Classifier:
    sys.path.insert(0, str(ASSETS / "models"))
    import zoo

    model, mean, std, size = zoo.load(name)
    return sl.Classifier(model, mean=mean, std=std, size=size, decision="categorical")


def spent(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds, the least of some repetitions after one that warms up."""
    work()
    found = []
    for _ in range(times):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def train(stepper: Stepper, optimiser: torch.optim.Optimizer, source: Source) -> None:
    """An epoch."""
    for batch in source.epoch(0):
        loss = stepper.loss(stepper(batch, 0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def epochs(classifier: sl.Classifier, data: object, layer: str, batch: int) -> None:
    cpu, recipe = torch.device("cpu"), RECIPE
    images = material(data, classifier, share=0.0, how="squash")
    pixels = torch.stack([images.read(i) for i in range(len(images.items))])
    in_memory = material(pixels, classifier, share=0.0)
    masks = Masks(attention_for("l-cam-fm", classifier, [layer]), recipe.regularise)
    optimiser = optimiser_of(masks, recipe)
    stepper = Stepper(masks, recipe, "category", None)
    masker = Features(classifier, layer)
    masker.stands_alone(pixels[:2])
    settings = {"batch": batch, "seed": 0, "augment": False, "device": cpu, "workers": 0}
    read, held = (Source(m, masker, **settings) for m in (images, in_memory))
    looked = masker.look(pixels[:2])
    shapes = caching.Shapes((tuple(looked.stored[0].shape[1:]),), None, classifier.width)
    with tempfile.TemporaryDirectory() as folder:
        place, count = Path(folder) / "c", len(pixels)
        kept = caching.build(place, "mark", shapes, count, "float32", held.blocks(), [].append)
        mapped = Source(in_memory, masker, **settings, cache=kept)
        a, b, c = (spent(lambda s=s: train(stepper, optimiser, s)) for s in (read, held, mapped))
    print(
        f"  l-cam-fm at {layer}, {count} images in batches of {batch}: reading and running the classifier {a:.2f} s an "
        f"epoch, running it {b:.2f} s, kept features {c:.3f} s: {a / c:.1f}x, {b / c:.1f}x"
    )


def step(classifier: sl.Classifier, pixels: torch.Tensor, layer: str) -> None:
    masker = Image(classifier, classifier, (layer,))
    masks = Masks(attention_for("l-cam-img", classifier, [layer]), RECIPE.regularise)
    looked = masker.look(pixels)
    y, ones = looked.outputs.argmax(1), torch.ones(len(pixels))
    recipe_loss = RECIPE.lambdas

    def whole() -> None:
        seen = masker.look(pixels)
        a, maps, times = masks(seen.features, y, ones)
        recipe_loss(terms_of(seen.masked(a), y, None, maps, recipe_loss, times)).backward()

    def bound() -> None:
        classifier(pixels)
        with classifier.differentiable():
            x = pixels.clone().requires_grad_()
            out = classifier.run(classifier.twin(), x)
            torch.autograd.grad(torch.nn.functional.cross_entropy(out, y), x)

    ours, least = spent(whole), spent(bound)
    print(
        f"  l-cam-img at {layer}, a step of {len(pixels)} images: {ours:.3f} s, the passes it must make {least:.3f} s: "
        f"{ours / least:.2f}x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--photos", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = find_images(ASSETS / "cifar10" / "train")
    runs = (
        ("cifar10_resnet20", images[:: len(images) // given.images][: given.images], "layer3", 64, 64),
        ("mobilenet_v2", find_images(ASSETS / "imagenet_sample")[: given.photos], "features", 32, 8),
    )
    for name, files, layer, batch, few in runs:
        print(name)
        classifier = network(name)
        epochs(classifier, files, layer, batch)
        some = material(files[:few], classifier, share=0.0, how="squash")
        step(classifier, torch.stack([some.read(i) for i in range(few)]), layer)


if __name__ == "__main__":
    main()

"""Average drop and increase in confidence of masking methods, gradient CAMs and controls on photographs.

    python benchmarks/masking_quality.py --out DIR [--photos 100] [--methods score-cam rise ...]

The MobileNetV2 of the folder that SIGHTLINE_ASSETS names, and the first photographs that it gets right. Maps are made
with default settings (RISE with 2000 masks), brought to [0, 1] at 224 px and multiplied with the image, as pixels and
as a normalised tensor. Maps and scores are kept in DIR, so a killed run goes on where it was.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

import sightline as sl
from sightline.data.images import fit

ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS") or Path(__file__).parents[2] / "shared" / "assets")
CONTROLS = ["uniform", "random", "centre", "edges", "fake-cam", "random-cam"]
GRADIENT = ["grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam"]
MASKING = ["score-cam", "rise", "sidu", "sise", "ada-sise", "opti-cam", "recipro-cam", "ablation-cam", "lift-cam"]
SETTINGS = {"rise": {"masks": 2000}}


def mobilenet() -> sl.Classifier:
    sys.path.insert(0, str(ASSETS / "models"))
    import zoo

    model, mean, std, size = zoo.load("mobilenet_v2")
    return sl.Classifier(model, mean=mean, std=std, size=size)


def photographs(classifier: sl.Classifier, count: int) -> tuple[list[str], torch.Tensor]:
    """The first photographs, by name, that the classifier gets right: names and pixels."""
    lines = (ASSETS / "imagenet_classes.csv").read_text(encoding="utf-8").splitlines()[1:]
    index = {line.split(",")[1]: int(line.split(",")[0]) for line in lines}
    names, pixels = [], []
    for file in sorted((ASSETS / "imagenet_sample").glob("*.JPEG")):
        x = fit(sl.read_image(file), 224).reshape(1, 3, 224, 224)
        if int(classifier(x).argmax()) == index[file.name.split("_")[0]]:
            names.append(file.stem)
            pixels.append(x)
        if len(names) == count:
            break
    return names, torch.cat(pixels)


def compute(
    classifier: sl.Classifier, method: str, names: list[str], pixels: torch.Tensor, out: Path, half: bool
) -> None:
    """Heat maps of one method, a file a photograph."""
    settings = dict(SETTINGS.get(method, {}))
    if half and "precision" in next(m for m in sl.methods() if m.name == method).settings:
        settings["precision"] = "bfloat16"
    explainer = sl.explainer(method, classifier, **settings)
    for name, x in zip(names, pixels, strict=True):
        file = out / method / f"{name}.npz"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        found = explainer(x[None])
        seconds = time.perf_counter() - start
        partial = file.with_suffix(".part.npz")
        np.savez(partial, heat=found.heatmaps(size=(224, 224))[0].half().numpy(), seconds=seconds)
        partial.rename(file)


def row(classifier: sl.Classifier, method: str, names: list[str], pixels: torch.Tensor, out: Path) -> str:
    """Average drop, increase and average gain in both spaces, as a line of a table."""
    files = [np.load(out / method / f"{name}.npz") for name in names]
    heat = torch.stack([torch.from_numpy(f["heat"]).float() for f in files])
    cells = [method]
    for space in ("pixels", "normalised"):
        o, p = [], []
        for x, S in zip(pixels.split(20), heat.split(20), strict=True):
            y = classifier(x).softmax(1)
            kept = x * S[:, None]
            if space == "normalised" and classifier.mean is not None:
                kept = classifier.mean + (x - classifier.mean) * S[:, None]
            target = y.argmax(1, keepdim=True)
            o.append(y.gather(1, target)[:, 0])
            p.append(classifier(kept.clamp(0, 1)).softmax(1).gather(1, target)[:, 0])
        before, after = torch.cat(o), torch.cat(p)
        drop = 100 * ((before - after).clamp(min=0) / before).mean()
        gain = 100 * ((after - before).clamp(min=0) / (1 - before).clamp(min=1e-6)).mean()
        cells += [f"{drop:.1f}", f"{100 * (after > before).float().mean():.0f}", f"{gain:.1f}"]
    seconds = float(np.median([float(f["seconds"]) for f in files]))
    return "| " + " | ".join([*cells, f"{100 * heat.mean():.0f}", f"{seconds:.2f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--methods", nargs="*", default=CONTROLS + GRADIENT + MASKING)
    parser.add_argument("--bfloat16", action="store_true", help="ask about masked images in bfloat16")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    classifier = mobilenet()
    names, pixels = photographs(classifier, given.photos)
    print("| method | AD px | IC px | AG px | AD norm | IC norm | AG norm | area % | s/photo |")
    print("|---|---|---|---|---|---|---|---|---|")
    known = {m.name for m in sl.methods()}
    for method in given.methods:
        if method in known:
            compute(classifier, method, names, pixels, given.out, given.bfloat16)
            print(row(classifier, method, names, pixels, given.out), flush=True)


if __name__ == "__main__":
    main()

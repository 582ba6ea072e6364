"""Attention trained on CIFAR-10 beside a ResNet-20, judged on test images beside other methods and controls.

    python benchmarks/trained_attention.py --out DIR [--images 10000] [--test 300] [--only l-cam-fm ...]

The network and the images are those of the folder that SIGHTLINE_ASSETS names. Each attention is trained on the 10,000
training images (of which a tenth, by content, chooses the epoch), with TV and AV and without (the stars), then judged
with average drop and increase in confidence at 100, 50 and 15 % of the pixels. Trainings and the benchmark are runs in
DIR: a killed one goes on where it was. The last lines are the table in Markdown, with 95 % intervals over images.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import sightline as sl
from sightline import store
from sightline.data.annotations import folders
from sightline.training.attention import fit_attention

ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS") or Path(__file__).parents[2] / "shared" / "assets")
STAR = {"l1": 0.0, "l2": 0.0}
LCAM = {"learning_rate": 0.1, "epochs": 6}
TAME = {"learning_rate": 0.01, "epochs": 2, "batch": 64}
TRAININGS = {
    "l-cam-fm": ("l-cam-fm", LCAM),
    "l-cam-fm*": ("l-cam-fm", LCAM | STAR),
    "learned-constant": ("constant", LCAM | {"epochs": 2, "variant": {"size": [8, 8]}}),
    "l-cam-img": ("l-cam-img", LCAM | {"epochs": 2}),
    "l-cam-img*": ("l-cam-img", LCAM | {"epochs": 2} | STAR),
    "tame": ("tame", TAME),
    "tame*": ("tame", TAME | STAR),
}
OTHERS = ["grad-cam", "grad-cam++", "score-cam", {"name": "rise", "masks": 300}]
METRICS = [{"name": n, "keep": k} for n in ("average-drop", "increase-in-confidence") for k in (1.0, 0.5, 0.15)]


def network(name: str) -> sl.Classifier:
    sys.path.insert(0, str(ASSETS / "models"))
    import zoo

    model, mean, std, size = zoo.load(name)
    return sl.Classifier(model, mean=mean, std=std, size=size, decision="categorical")


def spread(root: Path, count: int) -> list:
    """So many images of a folder of classes, as many of each class."""
    records = folders(root)
    step = max(1, len(records) // count)
    return list(records)[::step][:count]


def train(classifier: sl.Classifier, name: str, out: Path, images: int) -> Path:
    method, settings = TRAININGS[name]
    begun = time.perf_counter()
    found = fit_attention(
        classifier,
        spread(ASSETS / "cifar10" / "train", images),
        out=out / name.replace("*", "-star"),
        method=method,
        fit="squash",
        exclude=ASSETS / "cifar10" / "test",
        cache=out / "features",
        cache_limit=16 * 2**30,
        balance="auto",
        progress=False,
        announce=print,
        told=lambda row: print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True),
        **settings,
    )
    seconds = [row["seconds"] for row in found.history]
    print(
        f"{name}: {time.perf_counter() - begun:.0f} s, epochs of {min(seconds):.1f} to {max(seconds):.1f} s", flush=True
    )
    return found.path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="cifar10_resnet20")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=list(TRAININGS))
    given = parser.parse_args()
    classifier = network(given.model)
    methods: list = []
    for name in given.only:
        path = train(classifier, name, given.out, given.images)
        kind = "learned-constant" if name == "learned-constant" else name.rstrip("*")
        methods.append({"name": kind, "label": name.replace("*", " CE alone"), "weights": str(path)})
    learned = [m for m in methods if m["name"] == "learned-constant"]
    found = sl.studies.benchmark(
        {given.model: classifier},
        spread(ASSETS / "cifar10" / "test", given.test),
        out=given.out / "judged",
        methods=[m for m in methods if m not in learned] + OTHERS,
        controls=["uniform", "random", "centre", *learned],
        metrics=METRICS,
        fit="squash",
        batch=20,
        announce=print,
        progress=False,
    )
    print(markdown(found))


def markdown(found) -> str:
    """The table: means in per cent with 95 % intervals."""
    metrics = [m["label"] for m in store.read_manifest(found.path)["metrics"]]
    cells = {(c["method"], c["metric"]): c for c in found.table().iter_rows(named=True)}
    lines = ["| method | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for method in dict.fromkeys(m for m, _ in cells):
        row = [cells[method, m] for m in metrics]
        texts = [f"{100 * c['mean']:.1f} [{100 * c['low']:.1f}, {100 * c['high']:.1f}]" for c in row]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

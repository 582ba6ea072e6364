"""What `trained_attention.py` trains beside and judges on: networks, images, and which attentions.

SIGHTLINE_ASSETS names the folder of networks and images (`../shared/assets` unless it is set); it is no part of the
project. The rendered faces need none.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import sightline as sl
from sightline.data import annotations, faces
from sightline.data.annotations import Record, folders

ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS") or Path(__file__).parents[2] / "shared" / "assets")
STAR = {"l1": 0.0, "l2": 0.0}
TAME = {"batch": 64}
RATES = (0.01, 0.1, 0.001, 1.0)
HALF = {"precision": "bfloat16"}
QUICK = ("grad-cam", "grad-cam++")
FOUND_BY_RESNET20 = {
    "L-CAM-Fm": 0.1,
    "L-CAM-Fm*": 0.1,
    "L-CAM-Img": 0.01,
    "L-CAM-Img*": 0.1,
    "TAME": 0.001,
    "TAME*": 0.01,
    "learned-constant": 1.0,
}
Trials = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Attention:
    """One that is trained.

    Attributes:
        method: As `fit_attention` takes it.
        settings: That are not searched for.
        trials: Setting -> the values to try, one setting after the other, the first value being where it starts.
        epochs: Of the training that is judged; the best of them is taken. 0: the classifier's own weights, untrained;
            None: the best trial is judged.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    trials: Trials = field(default_factory=dict)
    epochs: int | None = None


@dataclass(frozen=True)
class Images:
    """Three parts, no image in two of them."""

    train: Sequence[Record]
    valid: Sequence[Record]
    test: Sequence[Record]
    root: Path


@dataclass(frozen=True, kw_only=True)
class Study:
    """A network with images and attentions.

    Attributes:
        images: (test, folder for what must be made first) -> the three parts.
        masks: Of RISE.
        beside: The methods of the preset that are judged too; None: all.
        searched: Training images of a trial.
        trial_epochs: Its epochs.
        target: As for the benchmark: None is the class predicted.
        batch: Images a block of the benchmark.
    """

    network: Callable[[], sl.Classifier]
    images: Callable[[int, Path], Images]
    attentions: Mapping[str, Attention]
    test: int
    masks: int = 4000
    beside: Sequence[str] | None = None
    searched: int = 3000
    trial_epochs: int = 3
    target: Callable[[sl.Classifier], Any] = lambda _: None
    fit: str = "squash"
    batch: int = 50


def lcams(*, warm: bool = True, side: int = 8) -> dict[str, Attention]:
    """L-CAM-Fm, L-CAM-Img and TAME, each also with the cross-entropy alone (the stars), and the control."""
    own: Trials = {"regularise": ("batch-labels", "own")}
    begun: Trials = {"warm_start": (False, True)} if warm else {}
    balance: Trials = {"balance": ("given", "auto")}
    found = {}
    for name, method, given, count in (
        ("L-CAM-Fm", "l-cam-fm", {}, 10),
        ("L-CAM-Img", "l-cam-img", {}, None),  # a step runs the whole classifier
        ("TAME", "tame", TAME, None),
    ):
        rates: Trials = {"learning_rate": RATES if method == "l-cam-fm" else RATES[:3]}
        more = {**own, **begun} if method != "tame" else {}
        found[name] = Attention(method, given, {**rates, **(balance if more else {}), **more}, count)
        found[f"{name}*"] = Attention(method, given | STAR, rates | (begun if method == "l-cam-fm" else {}), count)
    size = {"variant": {"size": [side, side]}}
    found["learned-constant"] = Attention("constant", size, {"learning_rate": (0.01, 0.1, 1.0)})
    return found | ({"L-CAM-Fm, untrained": Attention("l-cam-fm", epochs=0)} if warm else {})


def fewer(attentions: Mapping[str, Attention], *without: str) -> dict[str, Attention]:
    """Those whose trainings are affordable: three rates, and the maps of all labels in a batch regularised."""
    found = {}
    for label, a in attentions.items():
        cut = {"learning_rate": RATES[:3]} if a.trials else {}
        trials = {k: v for k, v in a.trials.items() if k != "regularise"} | cut
        found[label] = Attention(a.method, a.settings, trials, a.epochs)
    return {label: a for label, a in found.items() if label not in without}


def settled(attentions: Mapping[str, Attention], rates: Mapping[str, float]) -> dict[str, Attention]:
    """With rates that were found beside another network; nothing is searched for."""
    found = {}
    for label, a in attentions.items():
        rate = {"learning_rate": rates[label]} if a.trials else {}
        found[label] = Attention(a.method, {**a.settings, **rate}, {}, a.epochs)
    return found


def zoo(name: str) -> sl.Classifier:
    """A network of the assets."""
    sys.path.insert(0, str(ASSETS / "models"))
    import zoo as networks

    model, mean, std, size = networks.load(name)
    return sl.Classifier(model, mean=mean, std=std, size=size, decision="categorical")


def spread(records: Sequence[Record], count: int) -> list[Record]:
    """So many, evenly spread: of a folder of classes as many of each class."""
    step = max(1, len(records) // count)
    return list(records)[::step][:count]


def parted(records: Sequence[Record], every: int) -> tuple[list[Record], list[Record]]:
    """To train on, and every so-many-th to choose by."""
    found = list(records)
    return [r for i, r in enumerate(found) if i % every], found[::every]


def cifar10(test: int, _: Path) -> Images:
    """9,000 images to train on, 1,000 to choose by, and of the 2,000 test images as many as asked."""
    root = ASSETS / "cifar10"
    return Images(*parted(folders(root / "train"), 10), spread(folders(root / "test"), test), root / "test")


def photographs(test: int, _: Path) -> Images:
    """One photograph of each of 300 ImageNet classes, 128 of COCO, 20 of ImageNet's validation images.

    Every third of the 300 may be judged. Of the other 200 every fifth and the 20 choose; the rest and COCO's are
    trained on. So no class of a judged photograph, by its file's name, is among those that are trained on.
    """
    one = [Record(path=path) for path in sorted((ASSETS / "imagenet_sample").glob("*.JPEG"))]
    coco = [Record(path=path) for path in sorted((ASSETS / "coco128" / "images").iterdir())]
    twenty = [Record(path=path) for path in sorted((ASSETS / "ilsvrc_val20" / "images").glob("*.JPEG"))]
    others, judged = parted(one, 3)
    train, valid = parted(others, 5)
    return Images(train + coco, valid + twenty, spread(judged, test), ASSETS / "imagenet_sample")


def celeba(test: int, made: Path) -> Images:
    """Crops of CelebA as the network wants them: 3,000 of its training images, 300 validation, and test images."""
    root = ASSETS / "celeba"
    parts = []
    for part, count in (("train", 3000), ("valid", 300), ("test", test)):
        records = annotations.celeba(root, part=part, label="Male")
        parts.append([Record(path=_crop(r.path, made / part)) for r in list(records)[:count]])
    return Images(*parts, made / "test")


def _crop(path: Path, folder: Path) -> Path:
    """The square of side 0.6 W around (0.5 W, 0.545 H), at 112 px."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{path.stem}.png"
    if not made.exists():
        with Image.open(path) as photo:
            W, H = photo.size
            left, top, side = 0.2 * W, 0.545 * H - 0.3 * W, 0.6 * W
            photo.convert("RGB").resize((112, 112), Image.BILINEAR, box=(left, top, left + side, top + side)).save(made)
    return made


def rendered(test: int, made: Path) -> Images:
    """Drawn faces, with the rates of attributes that CelebA has."""
    parts = []
    for name, count, seed in (("train", 3000, 101), ("valid", 150, 102), ("test", test, 103)):
        folder = made / name
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{i:05d}.png" for i in range(count)]
        if not files[-1].exists():
            for file, x in zip(files, faces.sample(count, seed=seed).pixels, strict=True):
                Image.fromarray((255 * x.permute(1, 2, 0)).round().byte().numpy()).save(file)
        parts.append([Record(path=file) for file in files])
    return Images(*parts, made / "test")


def _directions() -> dict[str, Attention]:
    """Two maps an attribute against one that is read with a sign, each from scratch and from CAM's weights."""
    trials: Trials = {"learning_rate": (0.1, 0.01, 1.0), "balance": ("given", "auto")}
    found = {}
    for way in ("two", "signed"):
        given = {"directions": way, "warm_start": False}
        found[f"L-CAM-Fm ({way})"] = Attention("l-cam-fm", given, trials)
        start = {"directions": way, "warm_start": True, "learning_rate": 0.01, "balance": "auto"}
        found[f"L-CAM-Fm ({way}, from CAM)"] = Attention("l-cam-fm", start)
    control = {"directions": "two", "variant": {"size": [8, 8]}, "learning_rate": 0.1}
    return found | {"learned-constant (two)": Attention("constant", control)}


def _every(classifier: sl.Classifier) -> Any:
    return sl.each(list(classifier.labels))


STUDIES: dict[str, Study] = {
    "cifar10_resnet20": Study(
        network=lambda: zoo("cifar10_resnet20"), images=cifar10, attentions=lcams(), test=2000, masks=1000
    ),
    "cifar10_resnet56": Study(
        network=lambda: zoo("cifar10_resnet56"),
        images=cifar10,
        attentions=settled(lcams(), FOUND_BY_RESNET20),
        test=500,
        masks=1000,
    ),
    "mobilenet_v2": Study(
        network=lambda: zoo("mobilenet_v2"),
        images=photographs,
        attentions=fewer(lcams(side=7), "L-CAM-Img*", "TAME*"),
        test=100,
        beside=QUICK,
        fit="crop",
        batch=10,
    ),
    "gender": Study(
        network=lambda: zoo("gender"),
        images=celeba,
        attentions=fewer(lcams(side=4), "L-CAM-Img*", "TAME*"),
        test=200,
        beside=QUICK,
        searched=600,
        trial_epochs=2,
        batch=25,
    ),
    "faces": Study(
        network=lambda: sl.load("faces:balanced"),
        images=rendered,
        attentions=_directions(),
        test=60,
        beside=QUICK,
        searched=2000,
        trial_epochs=4,
        target=_every,
        batch=10,
    ),
}

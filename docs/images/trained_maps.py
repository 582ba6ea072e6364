"""Draws maps of attentions that were trained: python docs/images/trained_maps.py runs/trained/faces.

The folder is that of `python benchmarks/trained_attention.py faces --out runs/trained`.
"""

import json
import sys
from pathlib import Path

import torch

import sightline as sl
from sightline import picture
from sightline.data import faces

HERE = Path(__file__).parent
SIDE = 88
QUESTIONS = ["Eyeglasses", "Smiling"]
TRAINED = {
    "L-CAM-Fm (two)": "l-cam-fm",
    "L-CAM-Fm (signed)": "l-cam-fm",
    "L-CAM-Fm (two, from CAM)": "l-cam-fm",
    "learned-constant (two)": "learned-constant",
}


def files(run: Path) -> dict[str, str]:
    """Attention -> the file that was judged: that of the best trial."""
    trials = json.loads((run / "trials.json").read_text()).values()
    return {k: min((t for t in trials if t["label"] == k), key=lambda t: t["best"])["file"] for k in TRAINED}


def chosen(column: int) -> list[int]:
    """A face that has the attribute and one that has not, in the sequence that is drawn."""
    have = faces.sample(60, seed=104).attributes[:, column].bool()
    return [int(have.nonzero()[0]), int((~have).nonzero()[0])]


def main(run: Path) -> None:
    """Two faces a question: one answered with yes, one with no."""
    clf = sl.load("faces:balanced")
    drawn = faces.sample(60, seed=104)
    settings = {label: {"weights": file} for label, file in files(run).items()}
    asked = [("grad-cam", {}), ("score-cam", {"progress": False}), *((TRAINED[k], s) for k, s in settings.items())]
    rows = []
    for name in QUESTIONS:
        for i in chosen(drawn.names.index(name)):
            pixels, target = drawn.pixels[i : i + 1], sl.Attribute(name)
            show = torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear")[0]
            found = [sl.explain(clf, pixels, method=method, target=target, **given) for method, given in asked]
            answer = "yes" if found[0].targets[0].sign > 0 else "no"
            heats = [picture.cell(show, out.heatmaps((SIDE, SIDE))[0]) for out in found]
            rows.append([picture.cell(show, caption=f"{name.lower()}: {answer}"), *heats])
    titles = ["face", "Grad-CAM", "Score-CAM", "two", "signed", "two, from CAM", "constant"]
    note = "Why the answer. two, signed: L-CAM-Fm with these directions; constant: the map that looks at nothing"
    picture.write_png(HERE / "trained-maps.png", picture.contact_sheet(rows, column_titles=titles, note=note))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

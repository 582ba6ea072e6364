"""Does the audit find what was planted, and nothing where nothing was? Networks with known truth on rendered faces.

    OMP_NUM_THREADS=1 python benchmarks/audit_truth.py --out runs/audit-truth

Five worlds, each with networks of its own seeds (faces, initial weights, order of training, audited faces):

clean      six attributes, each on half of the faces, independent of each other: nothing is wrong
shortcut   a coloured tag in the corner goes with Bushy_Eyebrows (correlation 0.95) in training and in the audit
imbalance  Wearing_Earrings and Bushy_Eyebrows are on 3 % of the training faces, and training is short
constant   a clean network whose Eyeglasses logit was shifted until it says no to three of four who wear them
one-sided  a clean network whose Eyeglasses logit has only positive weights and a threshold: "no" is bias alone

Finished networks and audits stay in the folder; the same call goes on, and tells the table again.
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

import sightline as sl
from sightline.data import faces
from sightline.studies.auditing import Audit
from sightline.studies.auditing import audit as run_audit
from sightline.studies.statistics import wilson
from sightline.training.attributes import fit_attributes

ASKED = ("Beard", "Bushy_Eyebrows", "Eyeglasses", "Wearing_Earrings", "Wearing_Hat", "Wearing_Necktie")
SIDE = 32
CLEAN = {**dict.fromkeys(faces.NAMES, 0.0), "Black_Hair": 0.2, "Blond_Hair": 0.2, **dict.fromkeys(ASKED, 0.5)}
RARE = {**CLEAN, "Wearing_Earrings": 0.03, "Bushy_Eyebrows": 0.03}
FEW_GLASSES = {**CLEAN, "Eyeglasses": 0.15}
TAG = faces.Shortcut(attribute="Bushy_Eyebrows", strength=0.95)
TRAIN = {"backbone": "facenet", "size": SIDE, "attributes": ASKED, "batch": 32, "learning_rate": 6e-3}
LAST = {"augment": "none", "select": "last", "patience": None, "progress": False}
WORLDS = {
    # world: (rates in training, shortcut, epochs, rates in the audit, alteration, further edits)
    "clean": (CLEAN, None, 10, CLEAN, None, ()),
    "shortcut": (CLEAN, TAG, 10, CLEAN, None, ("cue",)),
    "imbalance": (RARE, None, 6, CLEAN, None, ()),
    "constant": (CLEAN, None, 10, CLEAN, "shifted", ()),
    "one-sided": (CLEAN, None, 10, FEW_GLASSES, "positive", ()),
}
# What must be found: (kind, attribute), any one of those of a line.
PLANTED = {
    "shortcut": [
        {("companion-decides", "Bushy_Eyebrows")},
        {("found by sweep", "Bushy_Eyebrows")},
        {("shortcut", "Bushy_Eyebrows")},
        {("evidence-outside-region", "Bushy_Eyebrows")},
    ],
    "imbalance": [{("neglected-minority", "Wearing_Earrings"), ("neglected-minority", "Bushy_Eyebrows")}],
    "constant": [{("bias-decides", "Eyeglasses")}, {("sign-asymmetry", "Eyeglasses")}],
    "one-sided": [{("majority-without-evidence", "Eyeglasses")}],
}
TOUCHED = {
    "clean": set(),
    "shortcut": {"Bushy_Eyebrows"},
    "imbalance": {"Wearing_Earrings", "Bushy_Eyebrows"},
    "constant": {"Eyeglasses"},
    "one-sided": {"Eyeglasses"},
}


def trained(world: str, seed: int, count: int, out: Path) -> sl.Classifier:
    """The network of a world and seed; networks that are altered afterwards are those of the clean world."""
    base = "clean" if WORLDS[world][4] else world
    folder = out / f"{base}-{seed}" / "network"
    file = folder / "classifier.safetensors"
    if not (folder / "done").exists():
        rates, shortcut, epochs, *_ = WORLDS[base]
        drawn = faces.sample(count, seed=1000 + seed, size=SIDE, rates=rates, shortcut=shortcut)
        torch.manual_seed(seed)
        fit_attributes(drawn, out=folder, epochs=epochs, seed=seed, **TRAIN, **LAST)
        (folder / "done").touch()
    return sl.load(str(file))


def audited_faces(world: str, seed: int, count: int) -> faces.Faces:
    _, shortcut, _, rates, *_ = WORLDS[world]
    return faces.sample(count, seed=500_000 + seed, size=SIDE, rates=rates, shortcut=shortcut)


def pooled(clf: sl.Classifier, pixels: Tensor) -> Tensor:
    """(N, K) what the head sees, float64."""
    net = copy.deepcopy(clf.source).double().eval()
    with torch.no_grad():
        return net.pool(net.features(clf.normalise(pixels, order=False).double())).flatten(1)


def altered(clf: sl.Classifier, how: str | None, seed: int) -> sl.Classifier:
    """A clean network with a truth put into its head."""
    if how is None:
        return clf
    net, column = copy.deepcopy(clf.source), ASKED.index("Eyeglasses")
    drawn = faces.sample(400, seed=900_000 + seed, size=SIDE, rates=CLEAN)
    has = drawn.attributes[:, drawn.names.index("Eyeglasses")]
    f = pooled(clf, drawn.pixels).float()
    with torch.no_grad():
        w, b = net.classifier.weight[column], net.classifier.bias[column : column + 1]
        if how == "positive":
            w.clamp_(min=0)
            e = f @ w
            b.fill_(-float((e[has].mean() + e[~has].mean()) / 2))
        else:
            b.sub_(float((f @ w + b)[has].quantile(0.75)))
    return clf.like(net)


def done(world: str, seed: int, settings: argparse.Namespace) -> tuple[Audit, sl.Classifier, faces.Faces]:
    clf = altered(trained(world, seed, settings.faces, settings.out), WORLDS[world][4], seed)
    drawn = audited_faces(world, seed, settings.images)
    edits = ["occlude", "counterfactual", *WORLDS[world][5]]
    use = 3 if WORLDS[world][4] else 0  # what is rare in use, where the network was altered after its training
    rates = {name: WORLDS[world][use][name] for name in ASKED}
    folder = settings.out / f"{world}-{seed}" / "audit"
    found = run_audit(clf, drawn, out=folder, edits=edits, rates=rates, seed=seed, progress=False)
    return found, clf, drawn


def swept(world: str, seed: int, clf: sl.Classifier, settings: argparse.Namespace) -> Audit:
    """A second, small audit with the edit that searches: it is told nothing of cues."""
    drawn = audited_faces(world, seed, settings.swept)
    folder, kinds = settings.out / f"{world}-{seed}" / "sweep", ["hires-cam"]
    return run_audit(clf, drawn, out=folder, methods=kinds, edits=["sweep"], seed=seed, progress=False)


def truth(world: str, clf: sl.Classifier, audit: Audit, drawn: faces.Faces, seed: int) -> dict[str, float]:
    """What was planted, computed without the audit, beside what the audit says of it."""
    if world == "shortcut":
        other = drawn.counterfactual_cue()
        p, q = (clf(one.pixels).double().sigmoid()[:, ASKED.index(TAG.attribute)] for one in (drawn, other))
        rise = torch.where(drawn.cue, p - q, q - p)
        table = audit.interventions().filter(edit="cue", attribute=TAG.attribute)
        said = (table["effect_region"] * table["n"]).sum() / table["n"].sum()
        off = audit.interventions().filter(pl.col("edit") == "cue", pl.col("attribute") != TAG.attribute)
        return {"truth": float(rise.mean()), "said": said, "others": off["effect_region"].abs().max()}
    if world == "imbalance":
        fresh = faces.sample(2000, seed=700_000 + seed, size=SIDE, rates=CLEAN)
        name = "Wearing_Earrings"
        has = fresh.attributes[:, fresh.names.index(name)]
        no = clf(fresh.pixels)[:, ASKED.index(name)] < 0
        line = audit.errors().filter(attribute=name).row(0, named=True)
        inside = line["FNR_low"] <= float(no[has].double().mean()) <= line["FNR_high"]
        return {"truth": float(no[has].double().mean()), "said": line["FNR"], "inside": float(inside)}
    column = ASKED.index("Eyeglasses")
    b = float(clf.source.classifier.bias[column].detach())
    e = pooled(clf, drawn.pixels) @ clf.source.classifier.weight[column].double()
    z = e + b
    share = -b / float(-z[z < 0].mean())
    line = audit.bias().filter(attribute="Eyeglasses", side="no").row(0, named=True)
    return {"truth": share, "said": line["share_bias"], "own": line["share_own"]}


def judged(world: str, seed: int, settings: argparse.Namespace) -> dict[str, object]:
    """One network: what was found of what was planted, what was found beside it, and the figures."""
    audit, clf, drawn = done(world, seed, settings)
    found = audit.findings()
    pairs = set(found.filter(pl.col("severity") > 0).select("kind", "attribute").iter_rows())
    if world in ("clean", "shortcut"):
        table = swept(world, seed, clf, settings).findings()
        pairs |= {("found by sweep", name) for name in table.filter(kind="shortcut")["attribute"]}
    planted = [bool(options & pairs) for options in PLANTED.get(world, [])]
    beside = sorted(f"{kind} {name}" for kind, name in pairs if name not in TOUCHED[world])
    errors = audit.errors().filter(~pl.col("attribute").is_in(list(TOUCHED[world])))
    row = {"world": world, "seed": seed, "planted": planted, "beside": beside, "tests": found["tests"].max()}
    row |= {"kinds": sorted(f"{kind} {name}" for kind, name in pairs), "worst": errors["balanced_error"].max()}
    edits = audit.interventions().filter(pl.col("edit") != "cue", ~pl.col("attribute").is_in(list(TOUCHED[world])))
    judged_edits = edits.filter(pl.col("confirmed").is_not_null(), pl.col("direction") != "neutral")
    row |= {"confirmed": int(judged_edits["confirmed"].sum()), "judged": len(judged_edits)}
    return row if world == "clean" else row | truth(world, clf, audit, drawn, seed)


def told(rows: list[dict[str, object]], say: Callable[[str], object]) -> None:
    for world in WORLDS:
        mine = [row for row in rows if row["world"] == world]
        if not mine:
            continue
        n = len(mine)
        false = sum(bool(row["beside"]) for row in mine)
        low, high = wilson(false, n)
        hit = [sum(bool(row["planted"][i]) for row in mine) for i in range(len(mine[0]["planted"]))]
        shown = ", ".join(
            f"{' or '.join(' '.join(o) for o in sorted(PLANTED[world][i]))}: {h}/{n}" for i, h in enumerate(hit)
        )
        say(f"\n{world}: {n} networks; planted found: {shown or 'nothing was planted'}")
        say(f"  networks with a finding beside it: {false}/{n} [{low:.2f}, {high:.2f}]")
        say(f"  worst balanced error of an untouched attribute: {max(float(row['worst']) for row in mine):.3f}")
        confirmed, tested = (sum(int(row[key]) for row in mine) for key in ("confirmed", "judged"))
        say(f"  edits of untouched regions confirmed: {confirmed}/{tested}")
        for row in mine:
            figures = {k: round(float(row[k]), 3) for k in ("truth", "said", "others", "inside", "own") if k in row}
            say(f"  seed {row['seed']}: {figures} {row['kinds']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/audit-truth"), help="folder of networks and audits")
    parser.add_argument("--clean", type=int, default=20, help="networks of the clean world (default: %(default)s)")
    parser.add_argument("--planted", type=int, default=5, help="networks of each other world (default: %(default)s)")
    parser.add_argument("--faces", type=int, default=3000, help="faces to train on (default: %(default)s)")
    parser.add_argument("--images", type=int, default=400, help="faces to audit (default: %(default)s)")
    parser.add_argument("--swept", type=int, default=150, help="faces to sweep (default: %(default)s)")
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    settings = parser.parse_args()
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for world in settings.worlds:
        last = settings.clean if world == "clean" else settings.planted
        for seed in range(settings.first, last):
            rows.append(judged(world, seed, settings))
            print(json.dumps(rows[-1]), flush=True)
    told(rows, print)


if __name__ == "__main__":
    main()

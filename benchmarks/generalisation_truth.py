"""Does the generalisation study say what is so, and nothing where nothing is? Networks that see one half of a face.

    OMP_NUM_THREADS=1 python benchmarks/generalisation_truth.py --out runs/generalise/truth

Ten networks tell glasses by the left or by the right half of rendered faces; the other half never reaches a weight.

halves   five left, five right: pixels must serve the same half and not the other; the half must be the factor
forms    one network, its twin, pruned, 8-bit and norm-folded forms, and an untrained one: G = 1, no side better
chimera  faces of two halves of different people. `both` tells four classes and needs both halves, `left` needs one:
         pixels of both must serve left better than the other way round
mirror   the left networks and their mirror images on faces that a coin mirrors: nothing may be said of a side
labels   the networks of `halves` under labels drawn by lot: how often a label that means nothing is significant

Finished networks and runs stay in the folder; the same call goes on, and tells the table again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

import _truth_networks as nets
import sightline as sl
from sightline.data import faces
from sightline.explainers.masking._options import Options
from sightline.studies.generalising import Family, Generalisation, Member, generalise, statistics
from sightline.studies.statistics import wilson

SEEDS = 5
METHODS = (("lrp", {"composite": "epsilon-plus"}), ("lrp", {"composite": "epsilon"}))
LEVELS = (1, 2, 5, 10, 20, 30, 50, 75)
CONTROLS = ("random", "edges", "bottom", "other-image", "randomised")
Data = tuple[Tensor, dict[str, Tensor]]


def member(name: str, net: torch.nn.Module, truth: str = "left", **factors: str) -> Member:
    """A member of a family; what it decides is known from its network."""
    four = isinstance(net, nets.Both)
    target = None if four else sl.Attribute(nets.NAME)
    return Member(name=name, classifier=nets.classifier(net), factors=factors, target=target, truth=truth)


def plain(count: int, seed: int) -> Data:
    """Faces as they are: both halves show the same."""
    drawn = faces.sample(count, seed=seed, size=nets.SIDE, rates=nets.RATES)
    return drawn.pixels, {"left": nets.has(drawn)}


def chimeras(count: int, seed: int) -> Data:
    """The left half of one face beside the right half of another."""
    drawn = faces.sample(2 * count, seed=seed, size=nets.SIDE, rates=nets.RATES)
    (one, other), (a, b), half = drawn.pixels.split(count), nets.has(drawn).split(count), nets.SIDE // 2
    return torch.cat([one[..., :half], other[..., half:]], 3), {"left": a, "both": 2 * a + b}


def tossed(count: int, seed: int) -> Data:
    """Faces, each mirrored or not by a coin: left and right differ in their names alone."""
    pixels, truth = plain(count, seed)
    coin = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    return torch.where(coin[:, None, None, None], pixels.flip(-1), pixels), truth


def family(world: str, folder: Path) -> list[Member]:
    """The members of a world."""
    left = [nets.trained("left", k, folder) for k in range(SEEDS)]
    if world == "mirror":
        pairs = [("left", net) for net in left] + [("mirrored", nets.Mirrored(net)) for net in left]
        return [member(f"{s}-{i % SEEDS}", net, half=s, seed=str(i % SEEDS)) for i, (s, net) in enumerate(pairs)]
    if world == "forms":
        net = left[0]
        made = {"whole": net, "twin": net, "pruned": nets.pruned(net), "int8": nets.quantised(net)}
        made |= {"folded": nets.folded(net), "untrained": nets.untrained("left", 99)}
        return [member(name, one, form=name) for name, one in made.items()]
    right = [nets.trained("right", k, folder) for k in range(SEEDS)]
    if world == "chimera":
        joined = [nets.Both(a, b) for a, b in zip(left, right[1:] + right[:1], strict=True)]
        both = [member(f"both-{k}", net, "both", needs="both", seed=str(k)) for k, net in enumerate(joined)]
        return both + [member(f"left-{k}", net, needs="left", seed=str(k)) for k, net in enumerate(left)]
    named = {"left": left, "right": right}
    return [member(f"{s}-{k}", net, half=s, seed=str(k)) for s, found in named.items() for k, net in enumerate(found)]


def run(world: str, data: Data, out: Path, folder: Path, **settings: object) -> Generalisation:
    """A study of a world, or what is left of it."""
    asked = {"methods": METHODS, "levels": LEVELS, "controls": CONTROLS, "parts": False, **settings}
    options = Options(backend="eager", progress=False)  # compiling takes longer than passes of networks this small
    members = Family(name=world, members=family(world, folder))
    return generalise(members, data, out=out, options=options, progress=False, batch=50, **asked)  # type: ignore[arg-type]


def groups(found: Generalisation, method: str, factor: str) -> str:
    """G of pairs that are alike in a factor, or not."""
    lines = found.groups(factor, method=method).iter_rows(named=True)
    return "; ".join(f"{r['differs']} {factor} {r['g']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in lines)


def halves(found: Generalisation) -> None:
    """What is said of the world `halves`."""
    for method in found.methods:
        print(f"  {method}: {groups(found, method, 'half')}")
        for row in found.factor_effects(method).iter_rows(named=True):
            effect = f"{row['effect']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            print(f"    {row['factor']}: effect {effect}, p {row['p']:.4f}")
        alike = found.similarity_groups("half").filter(method=method, measure="spearman")
        for row in alike.iter_rows(named=True):
            print(f"    maps, {row['differs']} half: {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")


def span(values: pl.Series) -> str:
    """The least and the largest of some values, and how many are defined."""
    known = values.drop_nulls()
    if not len(known):
        return f"undefined in all {len(values)}"
    left = "" if len(known) == len(values) else f" ({len(values) - len(known)} of {len(values)} undefined)"
    return f"{known.min():.3f} to {known.max():.3f}{left}"


def forms(found: Generalisation) -> None:
    """What is said of the world `forms`."""
    trained = pl.col("target") != "untrained"
    for method in found.methods:
        index = found.index(method)
        rows = index.filter(pl.col("kind") == "model", pl.col("source") != pl.col("target"))
        print(f"  {method}: G between forms {span(rows.filter(trained, pl.col('source') != 'untrained')['g'])}")
        print(f"    untrained as source {span(rows.filter(trained, source='untrained')['g'])}", end="; ")
        print(f"as target {span(rows.filter(target='untrained')['g'])}", end="; ")
        print(f"control randomised {span(index.filter(trained, source='randomised')['g'])}")
        sides = found.asymmetry(method=method).filter(pl.col("a") != "untrained", pl.col("b") != "untrained")
        alike = (
            found.similarity()
            .filter(method=method, measure="spearman")
            .filter(pl.col("a") != "untrained", pl.col("b") != "untrained")
        )
        print(f"    uneven pairs {int((sides['p_holm'] < 0.05).sum())} of {len(sides)}; maps {span(alike['value'])}")


def chimera(found: Generalisation) -> None:
    """What is said of the world `chimera`."""
    for method in found.methods:
        pairs = found.asymmetry(method=method).filter(
            pl.col("a").str.starts_with("both"), pl.col("b").str.starts_with("left")
        )
        right = pairs.filter(pl.col("p_holm") < 0.05, pl.col("difference") > 0)
        if found.asymmetry("needs", method=method)["difference"][0] is None:
            print(f"  {method}: undefined")
            continue
        line = found.asymmetry("needs", method=method).row(0, named=True)
        print(
            f"  {method}: both -> left {line['g_ab']:.2f}, left -> both {line['g_ba']:.2f}, difference "
            f"{line['difference']:.2f} [{line['low']:.2f}, {line['high']:.2f}], p {line['p']:.4f}; "
            f"pairs that say so {len(right)} of {len(pairs)}"
        )


def mirrors(runs: list[Generalisation]) -> None:
    """How often something is said of a side where there is none."""
    pairs = tested = said = sure = 0
    for found in runs:
        sides = found.asymmetry()
        across = sides.filter(pl.col("a").str.starts_with("left"), pl.col("b").str.starts_with("mirrored"))
        pairs, tested = pairs + int((across["p"] < 0.05).sum()), tested + len(across)
        line = found.asymmetry("half").row(0, named=True)
        said += line["p"] < 0.05
        sure += line["p"] < 0.05 and not line["low"] <= 0 <= line["high"]
    low, high = wilson(said, len(runs))
    print(f"  pairs of models with p < 0.05: {pairs} of {tested}")
    print(
        f"  the factor with p < 0.05: {said} of {len(runs)} [{low:.2f}, {high:.2f}]; and an interval without 0: {sure}"
    )


def labels(found: Generalisation, draws: int) -> None:
    """How often a label by lot, balanced within each half, is significant."""
    chance, curves, hits, sides = np.random.default_rng(0), found.curves(found.methods[0]), 0, 0
    for _ in range(draws):
        drawn = {}
        for half in ("left", "right"):
            names = [n for n in curves.targets if n.startswith(half)]
            values = chance.permutation(["a"] * 3 + ["b"] * 2)
            drawn |= {n: {"half": half, "label": v} for n, v in zip(names, values, strict=True)}
        relabelled = replace(curves, factors=drawn)
        rows = {r["factor"]: r for r in statistics.factor_effects(relabelled, resamples=200).iter_rows(named=True)}
        hits += rows["label"]["p"] < 0.05
        sides += statistics.asymmetry(relabelled, "label", resamples=200).row(0, named=True)["p"] < 0.05
    for what, k in (("effect on the index", hits), ("asymmetry", sides)):
        low, high = wilson(k, draws)
        print(f"  {what} with p < 0.05: {k} of {draws} [{low:.2f}, {high:.2f}]")


def main() -> None:
    """Read the command line, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/generalise/truth"), help="networks and runs")
    parser.add_argument("--images", type=int, default=150, help="faces a run (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="of images for mirror (default: %(default)s)")
    parser.add_argument("--lots", type=int, default=100, help="labellings for labels (default: %(default)s)")
    parser.add_argument(
        "--validity", type=int, default=16, help="images for the rule's controls (default: %(default)s)"
    )
    asked = parser.parse_args()
    folder, n = asked.out / "networks", asked.images
    made = {"halves": plain, "forms": plain, "chimera": chimeras}
    tell = {"halves": halves, "forms": forms, "chimera": chimera}
    for world, data in made.items():
        found = run(world, data(n, 500_000), asked.out / world, folder, validity=asked.validity)
        print(f"\n{world}: {len(found.members)} models, {len(found.images)} images")
        tell[world](found)
        for sentence in found.sentences():
            print(f"    - {sentence.text}")
    print(f"\nmirror: {asked.draws} draws of {n} images")
    quick = {"methods": METHODS[:1], "controls": ("random",), "validity": 0}
    mirrors(
        [run("mirror", tossed(n, 600_000 + k), asked.out / f"mirror-{k}", folder, **quick) for k in range(asked.draws)]
    )
    print(f"\nlabels: {asked.lots} labellings")
    labels(Generalisation(asked.out / "halves"), asked.lots)


if __name__ == "__main__":
    main()

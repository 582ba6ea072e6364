"""Composites on real networks and photographs: a montage to look at, class swap and cascading randomisation.

    python benchmarks/lrp_figures.py ASSETS OUT [--photographs 10] [--networks ...] [--montage-only] [--figure FILE]

ASSETS is the folder of networks and photographs that the `real` tests use; the montage is written to OUT (the terms of
the photographs keep it out of the repository), the numbers are printed as the table of the how-to on LRP and drawn
into FILE, for which matplotlib is needed.
"""

import argparse
import importlib.util
import statistics
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import sightline as sl
from sightline import picture
from sightline.data.images import fit
from sightline.errors import SightlineWarning

COMPOSITES = (
    "epsilon", "epsilon-plus-flat", "epsilon-alpha2-beta1-flat", "epsilon-gamma-box", "montavon", "excitation-backprop"
)  # fmt: skip
NETWORKS = ("squeezenet1_1", "mobilenet_v2")
SUBJECTS = "tench goldfish hen ostrich bald_eagle tree_frog African_elephant zebra tiger castle".split()  # noqa: SIM905


def load(assets: Path, name: str) -> tuple[nn.Module, list[float], list[float], int]:
    spec = importlib.util.spec_from_file_location("zoo", assets / "models" / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    return zoo.load(name)


def photographs(assets: Path, count: int) -> Tensor:
    files = sorted((assets / "imagenet_sample").iterdir())
    found = [next((f for f in files if f.stem.endswith(s)), None) for s in SUBJECTS]
    chosen = [f for f in found if f is not None]
    chosen += [f for f in files[:: len(files) // count] if f not in chosen]
    return torch.stack([fit(sl.read_image(f), 224) for f in chosen[:count]])


def alike(a: Tensor, b: Tensor) -> float:
    """Mean Spearman correlation of absolute maps, averaged over 4 x 4 cells: does the picture change?"""
    a, b = (nn.functional.avg_pool2d(m.abs()[:, None], 4).flatten(1) for m in (a, b))
    ranks = [m.argsort(1).argsort(1).double() for m in (a, b)]
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*ranks, strict=True)]).mean())


def randomised(net: nn.Module, share: float) -> nn.Module:
    """The last share of the layers with weights drawn anew, at their own scale."""
    torch.manual_seed(0)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for m in layers[len(layers) - max(round(share * len(layers)), 1) :]:
        m.weight.data = torch.randn_like(m.weight) * m.weight.std()
    return net


SHARES = (0.0, 0.25, 0.5, 1.0)


def draw(results: dict[tuple[str, str], list[float]], file: Path) -> None:
    """For each network how alike maps stay for the runner-up (left end) and as layers are drawn anew."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    networks = list(dict.fromkeys(name for name, _ in results))
    figure, axes = plt.subplots(1, len(networks), figsize=(5.4 * len(networks), 4.2), sharey=True, squeeze=False)
    places = range(len(SHARES) + 2)
    for ax, network in zip(axes[0], networks, strict=True):
        for composite in COMPOSITES:
            swap, *fall = results[network, composite]
            (line,) = ax.plot(places[1:], [1.0, *fall], "o-", label=composite)
            ax.plot(places[0], swap, "D", color=line.get_color())
        ax.set(title=network, ylim=(-0.1, 1.03))
        ax.set_xticks(places, ["runner-up", "as trained", "last layer", "last 25 %", "last 50 %", "all layers"])
        ax.tick_params(axis="x", rotation=30)
        ax.grid(alpha=0.25)
    axes[0, 0].set_ylabel("rank correlation with the map of the decision")
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("assets", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--photographs", type=int, default=10)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS))
    options.add_argument("--montage-only", action="store_true")
    options.add_argument("--figure", type=Path)
    given = options.parse_args()
    results: dict[tuple[str, str], list[float]] = {}
    warnings.simplefilter("ignore", SightlineWarning)
    pixels = photographs(given.assets, given.photographs)
    for name in given.networks:
        net, mean, std, _ = load(given.assets, name)
        ask = {"mean": mean, "std": std, "size": 224}
        clf = sl.Classifier(net, **ask)
        order = clf(pixels).argsort(1, descending=True)
        top, other = ([sl.Category(int(c)) for c in order[:, k]] for k in (0, 1))
        broken = [sl.Classifier(randomised(load(given.assets, name)[0], s), **ask) for s in SHARES]
        columns = []
        for composite in COMPOSITES:
            maps = sl.explain(clf, pixels, method="lrp", composite=composite, target=top)
            columns.append(smooth(maps.maps))
            if given.montage_only:
                continue
            swap = sl.explain(clf, pixels, method="lrp", composite=composite, target=other)
            fall = [sl.explain(b, pixels, method="lrp", composite=composite, target=top).maps for b in broken]
            figures = [alike(maps.maps, swap.maps), *(alike(maps.maps, f) for f in fall)]
            results[name, composite] = figures
            lost = statistics.median((1 - maps.maps.sum((1, 2)) / maps.score).tolist())
            print(
                f"| {name} | {composite} | " + " | ".join(f"{f:.2f}" for f in figures) + f" | {lost:.0%} |", flush=True
            )
        rows = [[picture.cell(p), *(_paint(c[i]) for c in columns)] for i, p in enumerate(pixels)]
        sheet = picture.contact_sheet(rows, column_titles=["photograph", *COMPOSITES], side=180)
        picture.write_png(given.out / f"lrp-{name}.png", sheet)
    if given.figure is not None:
        draw(results, given.figure)


def smooth(maps: Tensor) -> Tensor:
    """A light blur (3 x 3), as single pixels are too fine for a small print."""
    return nn.functional.avg_pool2d(maps[:, None], 3, 1, 1)[:, 0]


def _paint(heat: Tensor):
    top = heat.abs().flatten().kthvalue(int(0.995 * heat.numel())).values.clamp(min=1e-12)
    return picture.colourise((heat / top).clamp(-1, 1), signed=True)


if __name__ == "__main__":
    main()

"""Errors of classifiers that `sightline train attributes` trained on CelebA, beside those of the published networks.

    python benchmarks/attribute_errors.py CELEBA runs/unbalanced runs/balanced

Prints a Markdown table a row an attribute, rarest answer first, and means by how rare the rarer answer is in training.
Intervals of the means are bootstrapped over images.
"""

import csv
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

import sightline as sl
from sightline.data import annotations
from sightline.data._ahead import read_ahead
from sightline.data.alignment import frontal
from sightline.loading.trained import preparation_of, read_about

PUBLISHED = Path(__file__).with_name("published") / "affact.csv"
DRAWS = 1000


def logits(run: Path, records: annotations.Records) -> tuple[Tensor, Tensor]:
    """(N, A) logits, and answers 1 or 0, of one run's classifier."""
    classifier, about = sl.load(str(run)), read_about(run)
    prepared = preparation_of(about)
    z, y, batch = [], [], []

    def flush() -> None:
        z.append(classifier(torch.stack(batch)))
        batch.clear()

    def read(record: annotations.Record) -> Tensor:
        return prepared.load(record, classifier.size).pixels

    for record, found in read_ahead(list(records), read, workers=2, ready=128):
        if isinstance(found, Exception):
            raise found
        batch.append(found)
        y.append([record.attributes[name] for name in classifier.labels])
        if len(batch) == 64:
            flush()
    if batch:
        flush()
    return torch.cat(z), torch.tensor(y)


def rates(z: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """FNR and FPR, each (A,), of images that count w (N,) times."""
    said, yes = (z >= 0).double(), y.double()
    fnr = (w @ (yes * (1 - said))) / (w @ yes)
    fpr = (w @ ((1 - yes) * said)) / (w @ (1 - yes))
    return fnr, fpr


def sides(fnr: Tensor, fpr: Tensor, positive: Tensor) -> dict[str, Tensor]:
    """Errors of the rarer and of the more frequent answer, and their mean."""
    rare = positive < 0.5
    few, many = torch.where(rare, fnr, fpr), torch.where(rare, fpr, fnr)
    return {"minority": few, "majority": many, "balanced": (few + many) / 2}


def main(
    root: Annotated[Path, typer.Argument(help="CelebA's folder.")],
    unbalanced: Path,
    balanced: Path,
    part: str = "test",
    only_frontal: Annotated[bool, typer.Option("--frontal", help="As published: frontal faces alone.")] = False,
    limit: int | None = None,
) -> None:
    torch.set_num_threads(1)
    records = annotations.celeba(root, part=part, landmarks=True)[:limit]
    if only_frontal:
        keep = [i for i, r in enumerate(records) if bool(frontal(r.landmarks[None])[0])]
        records = [records[i] for i in keep]
    published = {row["attribute"]: row for row in csv.DictReader(PUBLISHED.open())}
    names = sl.load(str(unbalanced)).labels
    train = read_about(unbalanced)["training_rates"]
    positive = torch.tensor([train[name] for name in names], dtype=torch.float64)
    found, chance = {}, torch.Generator().manual_seed(0)
    for key, run in (("u", unbalanced), ("b", balanced)):
        z, y = logits(run, records)
        n = len(z)
        draws = torch.randint(0, n, (DRAWS, n), generator=chance)
        drawn = [sides(*rates(z, y, torch.bincount(rows, minlength=n).double()), positive) for rows in draws]
        found[key] = (rates(z, y, torch.ones(n, dtype=torch.float64)), drawn)
    print(f"{len(records)} images of the part {part}{' that are frontal' if only_frontal else ''}\n")
    print("| attribute | yes | FNR u | FPR u | FNR b | FPR b | published FNR u | FPR u | FNR b | FPR b |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for a in torch.argsort(torch.minimum(positive, 1 - positive)).tolist():
        row = published[names[a]]
        own = [f"{float(found[key][0][side][a]):.3f}" for key in "ub" for side in (0, 1)]
        theirs = [row[f"{side}_{key}"] for key in "ub" for side in ("fnr", "fpr")]
        print(f"| {names[a]} | {float(positive[a]):.3f} | {' | '.join(own)} | {' | '.join(theirs)} |")
    print("\n| rarer answer | attributes | network | minority error | majority error | balanced error | published |")
    print("|---|---|---|---|---|---|---|")
    few = torch.minimum(positive, 1 - positive)
    for low, high, words in ((0, 0.1, "< 10 %"), (0.1, 0.25, "10-25 %"), (0.25, 0.6, "25-50 %"), (0, 0.6, "all")):
        chosen = (few >= low) & (few < high)
        for key in "ub":
            now = sides(*found[key][0], positive)
            cells = []
            for side in ("minority", "majority", "balanced"):
                many = torch.stack([one[side][chosen].nanmean() for one in found[key][1]])
                ends = torch.quantile(many, torch.tensor([0.025, 0.975], dtype=many.dtype)).tolist()
                cells.append(f"{float(now[side][chosen].nanmean()):.3f} [{ends[0]:.3f}, {ends[1]:.3f}]")
            theirs = torch.tensor([[float(published[n][f"{s}_{key}"]) for s in ("fnr", "fpr")] for n in names])
            said = sides(theirs[:, 0].double(), theirs[:, 1].double(), positive)
            published_cells = " / ".join(
                f"{float(said[s][chosen].mean()):.3f}" for s in ("minority", "majority", "balanced")
            )
            print(f"| {words} | {int(chosen.sum())} | {key} | {' | '.join(cells)} | {published_cells} |")


if __name__ == "__main__":
    typer.run(main)

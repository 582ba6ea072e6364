"""ROAD's imputation against pytorch-grad-cam's and against a direct sparse solution, in one run.

    python benchmarks/road.py [--rounds 3] [--images 16] [--peer-images 4]

Images of 224 px, of which maps like those of a class activation map (7 x 7, upsampled) or of a pixel method (noise)
remove 20, 40, 60 and 80 %. Without photographs (`--photographs FOLDER`) the images are smooth noise.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

from sightline.data.images import find_images, load_images
from sightline.metrics.faithfulness._imputation import fill

SIZE, SHARES = 224, (20, 40, 60, 80)


def pictures(count: int, folder: str | None) -> torch.Tensor:
    """(count, 3, 224, 224) photographs, or smooth noise."""
    if folder is None:
        coarse = torch.rand(count, 3, SIZE // 4, SIZE // 4)
        return F.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    return next(iter(load_images(find_images(folder)[:count], size=SIZE, batch_size=count))).pixels


def holes(kind: str, count: int) -> torch.Tensor:
    """(count, 224, 224) what is removed, at each share in turn."""
    maps = torch.rand(count, 1, SIZE, SIZE)
    if kind == "class activation map":
        maps = F.interpolate(torch.rand(count, 1, 7, 7), size=(SIZE, SIZE), mode="bilinear")
    ranks = maps.flatten(1).argsort(descending=True).argsort()
    removed = torch.tensor([SIZE * SIZE * SHARES[n % len(SHARES)] // 100 for n in range(count)])
    return (ranks < removed[:, None]).reshape(count, SIZE, SIZE)


def direct(image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """The exact solution of one image (C, H, W), float64."""
    number = np.full(hole.shape, -1)
    places = hole.numpy().nonzero()
    number[places] = np.arange(len(places[0]))
    padded, values = np.pad(number, 1, constant_values=-2), np.pad(image.double().numpy(), ((0, 0), (1, 1), (1, 1)))
    rows, columns, entries = [], [], []
    total, b = np.zeros(len(places[0])), np.zeros((len(places[0]), image.shape[0]))
    for dy, dx in ((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)):
        weight = 1 / 6 if 1 in (dy, dx) else 1 / 12
        other = padded[places[0] + dy, places[1] + dx]
        total += weight * (other > -2)
        known = other == -1
        b[known] += weight * values[:, places[0][known] + dy, places[1][known] + dx].T
        rows.append(np.flatnonzero(other >= 0))
        columns.append(other[other >= 0])
        entries.append(np.full(len(rows[-1]), -weight))
    here = np.arange(len(total))
    where = (np.concatenate([*rows, here]), np.concatenate([*columns, here]))
    A = csc_matrix((np.concatenate([*entries, total]), where))
    out = image.double().clone()
    out[:, hole] = torch.from_numpy(spsolve(A, b).reshape(len(total), -1).T)
    return out


def timed(run: Callable[[], object], count: int) -> tuple[float, float]:
    """Seconds and processor seconds an image."""
    start, busy = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - start) / count, (time.process_time() - busy) / count


def main() -> None:
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--peer-images", type=int, default=4, help="the peer and the direct solution take seconds each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--photographs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x, peer = pictures(options.images, options.photographs), NoisyLinearImputer(noise=0.0)
    print("| removed by | | ms an imputation | processor ms | / pytorch-grad-cam | largest error |")
    print("|---|---|---|---|---|---|")
    for kind in ("class activation map", "noise"):
        hole = holes(kind, len(x))
        few = list(zip(x, hole, strict=True))[: options.peer_images]
        exact = torch.stack([direct(*pair) for pair in few])
        runs = {
            "**sightline**": (len(x), lambda hole=hole: fill(x, hole)),
            "pytorch-grad-cam": (
                len(few),
                lambda few=few: torch.stack([peer(image, (~h).float()) for image, h in few]),
            ),
        }
        errors = {name: float((run()[: len(few)] - exact).abs().max()) for name, (_, run) in runs.items()}
        rounds = [{name: timed(run, count) for name, (count, run) in runs.items()} for _ in range(options.rounds)]
        for name in runs:
            wall, busy = (1000 * statistics.median(r[name][i] for r in rounds) for i in (0, 1))
            ratio = statistics.median(r["pytorch-grad-cam"][0] / r[name][0] for r in rounds)
            print(f"| {kind} | {name} | {wall:.1f} | {busy:.1f} | 1/{ratio:.1f} | {errors[name]:.0e} |", flush=True)


if __name__ == "__main__":
    main()

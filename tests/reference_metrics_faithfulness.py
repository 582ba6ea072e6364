"""Slow float64 references of faithfulness metrics, written with loops from the papers' definitions."""

import math

import numpy as np
import torch
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve


def imputed(image, hole):
    """Solve the imputation of one image (C, H, W) with holes (H, W) directly."""
    C, H, W = image.shape
    number = {tuple(place): i for i, place in enumerate(hole.nonzero().tolist())}
    A, b = {}, np.zeros((len(number), C))
    for (y, x), i in number.items():
        total = 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                other = (y + dy, x + dx)
                if (dy, dx) == (0, 0) or not (0 <= other[0] < H and 0 <= other[1] < W):
                    continue
                weight = 1 / 6 if dy * dx == 0 else 1 / 12
                total += weight
                if other in number:
                    A[i, number[other]] = -weight
                else:
                    b[i] += weight * image[:, other[0], other[1]].double().numpy()
        A[i, i] = total
    where = np.array(list(A)).T if A else np.zeros((2, 0), int)
    matrix = csc_matrix((list(A.values()), where), shape=(len(number),) * 2)
    out = image.double().clone()
    if number:
        out[:, hole] = torch.from_numpy(spsolve(matrix, b).reshape(len(number), C).T)
    return out


def hottest(S, count):
    """Places (y, x) of the hottest pixels of a map without ties."""
    order = sorted(((float(S[y, x]), y, x) for y in range(S.shape[0]) for x in range(S.shape[1])), reverse=True)
    return [(y, x) for _, y, x in order[:count]]


def mask_of(S, places):
    """(H, W) True at places."""
    out = torch.zeros(S.shape, dtype=torch.bool)
    for y, x in places:
        out[y, x] = True
    return out


def pearson(a, b):
    """Correlation of two lists."""
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    cov = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return cov / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def regions_by_heat(S, side):
    """Lists of places of the squares of a map, hottest mean first (no two of them equal)."""
    H, W = S.shape
    found = []
    for top in range(0, H, side):
        for left in range(0, W, side):
            places = [(y, x) for y in range(top, min(top + side, H)) for x in range(left, min(left + side, W))]
            found.append((sum(float(S[p]) for p in places) / len(places), places))
    return [places for _, places in sorted(found, reverse=True)]


def replaced(image, other, places):
    """The image (C, H, W) with another one's pixels at places."""
    out = image.clone()
    for y, x in places:
        out[:, y, x] = other[:, y, x]
    return out


def fills(image, kernel=11, sigma=5.0):
    """What removed pixels become, but noise: name -> (C, H, W) float64."""
    x = image.double()
    C, H, W = x.shape
    half = kernel // 2
    line = [math.exp(-((i - half) ** 2) / (2 * sigma**2)) for i in range(kernel)]
    line = [v / sum(line) for v in line]
    blur = torch.zeros_like(x)
    for y in range(H):
        for z in range(W):
            for i in range(kernel):
                for j in range(kernel):
                    a, b = y + i - half, z + j - half
                    if 0 <= a < H and 0 <= b < W:
                        blur[:, y, z] += line[i] * line[j] * x[:, a, b]
    return {"black": torch.zeros_like(x), "mean": x.mean((1, 2))[:, None, None].expand(C, H, W), "blur": blur}

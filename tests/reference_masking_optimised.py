"""Slow twins of the methods that optimise a mask: float64, image by image, nothing of the library's own code."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F


def up(S, size):
    return F.interpolate(S[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def opti_cam(net, image, A, read, fill, iterations, keep, rate=0.1):
    """Adam (Kingma and Ba 2015) written out, on u of the softmax over channels; the last mask, or the best of all."""

    def mask(u):
        S = up((u.softmax(0)[:, None, None] * A).sum(0), image.shape[-2:])
        return (S - S.min()) / (S.max() - S.min())

    def value(M):
        return read(net((M * image + (1 - M) * fill)[None])[0])

    u = torch.zeros(len(A), dtype=torch.float64)
    first, second = torch.zeros_like(u), torch.zeros_like(u)
    masks = [mask(u)]
    for step in range(1, iterations + 1):
        v = u.clone().requires_grad_()
        (g,) = torch.autograd.grad(-value(mask(v)), v)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        u = u - rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        masks.append(mask(u))
    return (masks[-1] if keep == "last" else max(masks, key=lambda M: value(M).item())).numpy()


def smooth_maximum(p, sigma, temperature=1 / 20):
    """(h, w): at each point the smooth maximum of Gaussian-weighted values in a window, borders repeated."""
    h, w = p.shape
    r = max(1, round(2 * sigma))
    rows = []
    for i in range(h):
        for j in range(w):
            f = []
            for di in range(-r, r + 1):
                for dj in range(-r, r + 1):
                    k = math.exp(-(di**2 + dj**2) / (2 * sigma**2))
                    f.append(k * p[min(max(i + di, 0), h - 1), min(max(j + dj, 0), w - 1)])
            f = torch.stack(f)
            e = torch.exp(f / temperature)
            rows.append((f * e).sum() / e.sum())
    return torch.stack(rows).reshape(h, w)


def extremal(net, image, read, fill, grid, sigma, area, iterations, rate=0.01):
    p = torch.full((grid, grid), 0.5, dtype=torch.float64)
    speed, penalty = torch.zeros_like(p), 300.0
    wanted = torch.zeros(grid * grid, dtype=torch.float64)
    wanted[round((1 - area) * grid * grid) :] = 1
    for step in range(iterations):
        v = p.clone().requires_grad_()
        m = smooth_maximum(v, sigma)
        M = up(m, image.shape[-2:])
        loss = -read(net((M * image + (1 - M) * fill)[None])[0])
        if step > 0:
            loss = loss + penalty * ((m.flatten().sort().values - wanted) ** 2).mean()
        (g,) = torch.autograd.grad(loss, v)
        speed = 0.9 * speed + g
        p = (p - rate * speed).clamp(0, 1)
        penalty *= 1.0035
    return smooth_maximum(p, sigma).numpy()


def shapley(value, count):
    """Shapley values by enumeration of all coalitions; value(tuple of shown players)."""
    phi = np.zeros(count)
    for i in range(count):
        rest = [j for j in range(count) if j != i]
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for coalition in itertools.combinations(rest, size):
                phi[i] += weight * (value((*coalition, i)) - value(coalition))
    return phi

"""Learned attention once more, slowly: NumPy in float64, one position at a time, after the papers' formulas."""

import math
from typing import Any

import numpy as np

Array = Any


def l_cam(W: Array, b: Array, A: Array) -> Array:
    """c[r, i, j] = sum_p W[r, p] A[p, i, j] + b[r], for one image."""
    return np.einsum("rp,pij->rij", W, A) + b[:, None, None]


def branch(conv: Array, bias: Array, norm: dict[str, Array] | None, A: Array, *, skip: bool, activation: str) -> Array:
    """activation(BN(conv A + bias) + A) for one image (C, h, w)."""
    F = np.einsum("qp,pij->qij", conv, A) + bias[:, None, None]
    if norm is not None:
        scale = norm["weight"] / np.sqrt(norm["var"] + norm["eps"])
        F = (F - norm["mean"][:, None, None]) * scale[:, None, None] + norm["bias"][:, None, None]
    if skip:
        F = F + A
    return np.maximum(F, 0) if activation == "relu" else 1 / (1 + np.exp(-F))


def bilinear(x: Array, size: tuple[int, int]) -> Array:
    """(C, h, w) -> (C, *size): the value at the position of each output pixel's centre, borders repeated."""
    _, h, w = x.shape
    out = np.empty((len(x), *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, z = max((i + 0.5) * h / size[0] - 0.5, 0), max((j + 0.5) * w / size[1] - 0.5, 0)
            y0, z0 = min(math.floor(y), h - 1), min(math.floor(z), w - 1)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            dy, dz = y - y0, z - z0
            top = x[:, y0, z0] * (1 - dz) + x[:, y0, z1] * dz
            bottom = x[:, y1, z0] * (1 - dz) + x[:, y1, z1] * dz
            out[:, i, j] = top * (1 - dy) + bottom * dy
    return out


def tame(module: Any, features: list[Array], side: int) -> Array:
    """c (R, h, w) of one image, the features upsampled and concatenated before the fusion, as the paper draws it."""
    h, w = features[0].shape[1:]
    shrink = min(1, side / max(h, w))
    size = (max(1, round(h * shrink)), max(1, round(w * shrink)))
    blended = []
    for part, A in zip(module.branches, features, strict=True):
        norm = None
        if module.norm:
            n = part.norm
            values = {"weight": n.weight, "bias": n.bias, "mean": n.running_mean, "var": n.running_var}
            norm = {k: v.detach().double().numpy() for k, v in values.items()} | {"eps": n.eps}
        conv, bias = (v.detach().double().numpy() for v in (part.convolution.weight[:, :, 0, 0], part.convolution.bias))
        F = branch(conv, bias, norm, A, skip=module.skip, activation=module.activation)
        blended.append(bilinear(F, size))
    W = module.fusion.weight[:, :, 0, 0].detach().double().numpy()
    b = np.zeros(len(W)) if module.fusion.bias is None else module.fusion.bias.detach().double().numpy()
    return l_cam(W, b, np.concatenate(blended))

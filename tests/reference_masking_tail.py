"""Slow twins of the methods that run the tail again: float64, plain loops, nothing of the library's own code."""

import numpy as np
import torch
from torch import nn


def without_channels(net, A, read):
    """(K,) read(outputs) - read(outputs with channel k set to 0)."""
    whole = read(net.tail(A[None])[0])
    falls = []
    for k in range(len(A)):
        B = A.clone()
        B[k] = 0
        falls.append(float((whole - read(net.tail(B[None])[0])).detach()))
    return np.array(falls)


def ablation_cam(net, A, read, divide=False):
    w = without_channels(net, A, read)
    if divide:
        w = w / float(read(net.tail(A[None])[0]).detach())
    return sum(w[k] * A[k].numpy() for k in range(len(A)))


def recipro_cam(net, A, read, spread=True):
    h, w = A.shape[1:]
    S = np.zeros((h, w))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for i in range(h):
        for j in range(w):
            M = np.zeros((h, w))
            if spread:
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        if 0 <= i + di < h and 0 <= j + dj < w:
                            M[i + di, j + dj] = kernel[di + 1, dj + 1]
            else:
                M[i, j] = 1
            S[i, j] = float(read(net.tail((A * torch.from_numpy(M))[None])[0]).detach())
    return S


def deep_lift(modules, A, direction):
    """(K, h, w) contributions to <direction, outputs> of a chain of modules, reference 0: the rescale rule by hand."""
    x, x0, steps = A[None], torch.zeros_like(A)[None], []
    with torch.no_grad():
        for module in modules:
            y, y0 = module(x), module(x0)
            steps.append((module, x, x0, y, y0))
            x, x0 = y, y0
    m = direction[None]
    for module, x, x0, y, y0 in reversed(steps):
        if isinstance(module, nn.ReLU | nn.Softplus | nn.Sigmoid | nn.Tanh):
            m = m * slopes(x, x0, y, y0)
        elif isinstance(module, nn.MaxPool2d):
            m = pooled(m, x, x0, module.kernel_size)
        else:  # affine: the transpose of its matrix
            m = torch.autograd.functional.vjp(module, x, m)[1]
    return (m * A[None])[0].numpy()


def slopes(x, x0, y, y0):
    out = torch.zeros_like(x)
    for position in np.ndindex(*x.shape):
        change = float(x[position] - x0[position])
        out[position] = float(y[position] - y0[position]) / change if abs(change) > 1e-9 else 0.0
    return out


def pooled(m, x, x0, side):
    """Of each window's change, what lies above the reference's maximum goes to x's winner, what is lost to x0's."""
    out = torch.zeros_like(x)
    for b, k, i, j in np.ndindex(*m.shape):
        window = (b, k, slice(i * side, (i + 1) * side), slice(j * side, (j + 1) * side))
        u, u0 = x[window].flatten(), x0[window].flatten()
        change = float(u.max() - u0.max())
        if change == 0:
            continue
        at = int(u.argmax()) if change > 0 else int(u0.argmax())
        share = change / float(u[at] - u0[at])
        out[b, k, i * side + at // side, j * side + at % side] += float(m[b, k, i, j]) * share
    return out


def lift_cam(modules, A, direction):
    C = deep_lift(modules, A, direction)
    return sum(C[k].sum() * A[k].numpy() for k in range(len(A)))

"""Slow twins of the methods on masked images: float64, one masked image after the other, nothing of the library."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def outputs(net, image):
    """(C,) for an image (3, H, W)."""
    with torch.no_grad():
        return net(image[None].double())[0].numpy()


def score(y, kind, index):
    return -y[index] if kind == "-1" else y[index]


def probability(y, kind, index):
    if kind == "category":
        e = [math.exp(v - max(y)) for v in y]
        return e[index] / sum(e)
    return 1 / (1 + math.exp(-score(y, kind, index)))


def probabilities(y, kind):
    e = np.exp(y - y.max())
    return e / e.sum() if kind == "category" else 1 / (1 + np.exp(-y))


def masked(net, image, M, fill=0.0):
    M = torch.from_numpy(np.asarray(M, dtype=np.float64))
    return outputs(net, image.double() * M + fill * (1 - M))


def up(a, size):
    return F.interpolate(torch.from_numpy(a)[None, None], size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


def mm(a):
    """To [0, 1]; 0 where a is constant up to the rounding of what made it."""
    span = a.max() - a.min()
    return (a - a.min()) / span if span > 1e-12 * np.abs(a).max() else np.zeros_like(a)


def softmax(w):
    e = np.exp(np.array(w) - max(w))
    return e / e.sum()


def summed(w, A):
    return sum(w_k * a for w_k, a in zip(w, A, strict=True))


def cut(net, image, modules):
    """A (K, h, w) behind the first so many modules of the features, and what follows them."""
    with torch.no_grad():
        A = net.features[:modules](image[None].double())[0]
    return A, lambda a: net.tail(net.features[modules:](a))


def alphas(A, tail, kind, index):
    """The mean gradient of the score in each channel."""
    a = A[None].clone().requires_grad_()
    G = torch.autograd.grad(score(tail(a)[0], kind, index), a)[0][0].numpy()
    return [g.mean() for g in G]


def occlusion(net, image, kind, index, *, window, stride, read=score, fill=0.0):
    size = image.shape[1:]
    starts = [sorted({*range(0, side - window + 1, stride), side - window}) for side in size]
    full, total, times = read(outputs(net, image), kind, index), np.zeros(size), np.zeros(size)
    for top in starts[0]:
        for left in starts[1]:
            M = np.ones(size)
            M[top : top + window, left : left + window] = 0
            drop = full - read(masked(net, image, M, fill), kind, index)
            for i in range(top, top + window):
                for j in range(left, left + window):
                    total[i, j] += drop
                    times[i, j] += 1
    return total / times


def is_cam(net, image, A, kind, index, *, steps):
    w = []
    for a in A:
        M = mm(up(a, image.shape[1:]))
        w.append(sum(score(masked(net, image, i / steps * M), kind, index) for i in range(1, steps + 1)) / steps)
    return summed(softmax(w), A)


def ss_cam(net, image, A, kind, index, *, fields, clip):
    w = []
    for a in A:
        total = 0.0
        for field in fields:
            M = mm(up(a, image.shape[1:])) + field
            total += score(masked(net, image, M.clip(0, 1) if clip else M), kind, index)
        w.append(total / len(fields))
    return summed(softmax(w), A)


def group_cam(net, image, A, alpha, kind, index, *, groups, fill, denoise=0):
    nothing = probability(masked(net, image, np.zeros(image.shape[1:]), fill), kind, index)
    S = np.zeros(A.shape[1:])
    for part in np.array_split(np.arange(len(A)), groups):
        H = np.maximum(sum(alpha[k] * A[k] for k in part), 0)
        if denoise:
            H = np.where(np.percentile(H, denoise) < H, H, 0)
        gain = probability(masked(net, image, mm(up(H, image.shape[1:])), fill), kind, index) - nothing
        S += max(gain, 0) * H
    return S


def cluster_cam(net, image, A, labels, kind, index):
    B = [np.mean([A[k] for k in range(len(A)) if labels[k] == c], axis=0) for c in sorted(set(labels))]
    s = [score(masked(net, image, mm(up(b, image.shape[1:]))), kind, index) for b in B]
    return summed([v - sum(s) / len(s) for v in s], B)


def sidu(net, image, A, kind, *, threshold, width):
    M = [(a > threshold).astype(float) for a in A]
    full = probabilities(outputs(net, image), kind)
    P = [probabilities(masked(net, image, up(m, image.shape[1:])), kind) for m in M]
    S = np.zeros(A.shape[1:])
    for i in range(len(M)):
        similarity = math.exp(-(((full - P[i]) ** 2).sum()) / (2 * width**2))
        S += similarity * sum(np.sqrt(((P[i] - p) ** 2).sum()) for p in P) * M[i] / len(M)
    return S


def otsu(values, bins=256):
    """The edge between bins that maximises the variance between what lies below and what lies above."""
    low, high = values.min(), values.max()
    if low == high:
        return low
    count, edges = np.histogram(values, bins=bins, range=(low, high))
    centre = (edges[:-1] + edges[1:]) / 2
    best, found = -1.0, low
    for k in range(1, bins):
        below, above = count[:k].sum(), count[k:].sum()
        apart = (count[:k] * centre[:k]).sum() / below - (count[k:] * centre[k:]).sum() / above
        if below * above * apart**2 > best * (1 + 1e-12):
            best, found = below * above * apart**2, edges[k]
    return found


def otsu_of_positive(alpha):
    positive = np.array([a for a in alpha if a > 0])
    threshold = otsu(positive)
    return [a > threshold for a in alpha] if len(set(positive)) > 1 else [a > 0 for a in alpha]


def sise(net, image, depths, keep, kind, index):
    """Layers behind so many modules of the features, shallow first."""
    R = None
    for depth in depths:
        A, tail = cut(net, image, depth)
        V = np.zeros(image.shape[1:])
        for k, kept in enumerate(keep(alphas(A, tail, kind, index))):
            if kept:
                M = mm(up(A[k].numpy(), image.shape[1:]))
                V += probability(masked(net, image, M), kind, index) * M
        V = mm(V)
        R = V if R is None else (R + V) * (otsu(V.ravel()) < V)
    return R


def poly_cam(net, image, depths, kind, index, *, variant, clip):
    s0, P = probability(outputs(net, image), kind, index), None
    for depth in reversed(depths):
        A, Q = cut(net, image, depth)[0].numpy(), 0.0
        for a in A:
            M = mm(up(a, image.shape[1:]))
            kept = probability(masked(net, image, M), kind, index)
            removed = probability(masked(net, image, 1 - M), kind, index)
            Q = Q + {"+": kept, "-": max(s0 - removed, 0), "+-": max(kept + s0 - removed, 0)}[variant] * a
        Q = np.maximum(Q, 0)
        if P is None:
            P = Q
            continue
        cell = [q // p for q, p in zip(Q.shape, P.shape, strict=True)]
        mean = np.array(
            [
                [Q[i * cell[0] : (i + 1) * cell[0], j * cell[1] : (j + 1) * cell[1]].mean() for j in range(P.shape[1])]
                for i in range(P.shape[0])
            ]
        )
        around = up(mean, Q.shape)
        P = np.where(around > 0, up(P, Q.shape) * Q / np.where(around > 0, around, 1), 0)
    return np.minimum(P, np.percentile(P, 100 - clip))

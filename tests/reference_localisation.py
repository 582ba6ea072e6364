"""Localisation and complexity a second time: from the formulas, with loops, in Python's floats."""

import math

import torch


def rows(tensor):
    """A map (H, W) as lists of floats."""
    return tensor.double().tolist()


def energy(maps, polarity):
    return [[abs(v) if polarity == "absolute" else max(v, 0.0) for v in line] for line in rows(maps)]


def scaled(S):
    values = [v for line in S for v in line]
    low, high = min(values), max(values)
    if high == low:
        return [[1.0 if high > 0 else 0.0 for _ in line] for line in S]
    return [[(v - low) / (high - low) for v in line] for line in S]


def enlarged(S, H, W):
    """Bilinear, pixel centres at halves, edges repeated."""
    h, w = len(S), len(S[0])

    def places(out, size):
        for i in range(out):
            at = min(max((i + 0.5) * size / out - 0.5, 0.0), size - 1)
            low = int(at)
            yield low, min(low + 1, size - 1), at - low

    return [
        [
            (1 - fy) * ((1 - fx) * S[y0][x0] + fx * S[y0][x1]) + fy * ((1 - fx) * S[y1][x0] + fx * S[y1][x1])
            for x0, x1, fx in places(W, w)
        ]
        for y0, y1, fy in places(H, h)
    ]


def pixels(S, M):
    """(value, inside) of all pixels."""
    return [(v, bool(M[y][x])) for y, line in enumerate(S) for x, v in enumerate(line)]


def share(S, M):
    total = sum(v for v, _ in pixels(S, M))
    return sum(v for v, inside in pixels(S, M) if inside) / total if total > 0 else 0.0


def pointing(S, M, tolerance):
    H, W = len(S), len(S[0])
    best = max(max(line) for line in S)
    objects = [(y, x) for y in range(H) for x in range(W) if M[y][x]]
    hits = []
    for y in range(H):
        for x in range(W):
            if S[y][x] == best:
                near = min(math.hypot(y - v, x - u) for v, u in objects)
                hits.append(near == 0 or near < tolerance)
    return sum(hits) / len(hits) if best > 0 else 0.0


def top(S, M, k):
    """Share of the k hottest pixels in M; no two values may be equal."""
    return sum(inside for _, inside in sorted(pixels(S, M), reverse=True)[:k]) / k


def overlap(S, M, t):
    found = [(v >= t, inside) for v, inside in pixels(S, M)]
    return sum(b and m for b, m in found) / max(1, sum(b or m for b, m in found))


def best_overlap(S, M):
    return max(overlap(S, M, t) for t, _ in pixels(S, M))


def largest_box(S, t):
    """left, top, right, bottom around the largest part of {S >= t}, by flood fill over eight neighbours."""
    H, W = len(S), len(S[0])
    seen, parts = set(), []
    for start in ((y, x) for y in range(H) for x in range(W) if S[y][x] >= t):
        if start in seen:
            continue
        seen.add(start)
        part, waiting = [], [start]
        while waiting:
            y, x = waiting.pop()
            part.append((y, x))
            for v in range(max(y - 1, 0), min(y + 2, H)):
                for u in range(max(x - 1, 0), min(x + 2, W)):
                    if (v, u) not in seen and S[v][u] >= t:
                        seen.add((v, u))
                        waiting.append((v, u))
        parts.append(part)
    part = max(parts, key=len)  # the first of the largest, in the order of their first pixels
    ys, xs = [y for y, _ in part], [x for _, x in part]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def box_overlap(a, b):
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, wide) * max(0, tall)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def gini(S):
    """Half the mean absolute difference of two pixels, divided by their mean: not the sorted formula."""
    a = [v for line in S for v in line]
    return sum(abs(v - u) for v in a for u in a) / (2 * len(a) * sum(a))


def entropy(S):
    a = [v for line in S for v in line]
    return -sum(v / sum(a) * math.log(v / sum(a)) for v in a if v > 0)


def inside_boxes(boxes, H, W):
    return [[any(a <= x + 0.5 < c and b <= y + 0.5 < d for a, b, c, d in boxes) for x in range(W)] for y in range(H)]


def as_mask(M):
    return torch.tensor(M, dtype=torch.bool)

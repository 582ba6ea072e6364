"""Sums an image, for the account of where relevance went."""

import torch
from torch import Tensor


def rows(value: Tensor, count: int) -> Tensor:
    """Sums an image (count,); windows and heads that were folded into the batch axis lie beside each other."""
    if value.shape[0] != count:
        value = value.reshape(count, -1)
    return value.sum(tuple(range(1, value.ndim))) if value.ndim > 1 else value


def sizes(value: Tensor, count: int) -> Tensor:
    """Sums of absolute values an image (count,), in one pass over the memory."""
    if value.shape[0] != count:
        value = value.reshape(count, -1)
    return torch.linalg.vector_norm(value, 1, tuple(range(1, value.ndim))) if value.ndim > 1 else value.abs()


def times(s: Tensor, factor: Tensor | float, count: int) -> Tensor:
    """Sums of s * factor an image (count,); s is summed first along the axes on which the factor is constant."""
    if not isinstance(factor, Tensor):
        return rows(s, count) * factor
    shape = [1] * (s.ndim - factor.ndim) + list(factor.shape)
    constant = tuple(a for a in range(1, s.ndim) if shape[a] == 1)
    return rows((s.sum(constant, keepdim=True) if constant else s) * factor, count)

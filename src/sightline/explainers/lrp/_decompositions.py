"""Functions of torch that are made of several operations, each written in calls that have rules of their own."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k' * scale + mask) v, in calls that have rules; a replica in eval mode drops nothing."""
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    logits = (query * (scale if scale is not None else 1 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)
    if is_causal:
        n, m = logits.shape[-2:]
        keep = torch.ones(n, m, dtype=torch.bool, device=logits.device).tril()
        attn_mask = torch.zeros(n, m, device=logits.device, dtype=logits.dtype).masked_fill(~keep, -math.inf)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=logits.dtype).masked_fill(~attn_mask, -math.inf)
        logits = logits + attn_mask
    return torch.softmax(logits, -1) @ value


def _multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention over (length, batch, width) in calls that have rules; the weights are not handed back."""
    names = (
        "embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn dropout_p "
        "out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask use_separate_proj_weight "
        "q_proj_weight k_proj_weight v_proj_weight"
    )
    p = {**named, **dict(zip(names.split(), args, strict=False))}
    heads, bias = p["num_heads"], p["in_proj_bias"]
    if p.get("use_separate_proj_weight"):
        weights = [p["q_proj_weight"], p["k_proj_weight"], p["v_proj_weight"]]
    else:
        weights = list(p["in_proj_weight"].chunk(3))
    biases = list(bias.chunk(3)) if bias is not None else [None] * 3
    split = []
    for x, w, b in zip((query, key, value), weights, biases, strict=True):
        y = F.linear(x.transpose(0, 1), w, b)  # batch first: rows of one image stay together
        split.append(y.reshape(*y.shape[:-1], heads, -1).transpose(1, 2))
    q, k, v = split
    mixed = _attention(q, k, v, p.get("attn_mask"))
    out = F.linear(mixed.transpose(1, 2).flatten(2), p["out_proj_weight"], p["out_proj_bias"])
    return out.transpose(0, 1), None


def _addcmul(input: Tensor, first: Tensor, second: Tensor, *, value: float = 1) -> Tensor:
    product = first * second
    return input + (product if value == 1 else value * product)


DECOMPOSITIONS: Mapping[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head,
    "addcmul": _addcmul,
}

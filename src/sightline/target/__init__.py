"""Targets: the decision that is explained, as a differentiable score and as a probability.

| question | target | score | probability |
|---|---|---|---|
| why class i? | `Category(i)` | logit y_i | softmax(y)_i |
| why yes (no) for attribute i? | `Attribute(i, sign)` | s * z_i | sigmoid(s * z_i) |
| why class i on these pixels? | `Region(i, pixels)` | mean of y_i over the pixels | mean probability over the pixels |
| why a rather than b? | `Contrast(a, b)` | y_a - y_b | sigmoid(y_a - y_b) |
| why alike? | `Similarity(reference)` | cosine | (1 + cosine) / 2 |

A target is *resolved* once, on the unaltered image: "predicted" becomes an index or a sign and stays so for
every masked or noisy version of the image. Nothing here changes the model or its outputs.
"""

from sightline.target.base import Decision, Head, Sign, Target
from sightline.target.decisions import Attribute, Category, Contrast
from sightline.target.pixels import Region, Similarity
from sightline.target.rows import AnyTarget, Each, each, margins, parse, probabilities, resolve, scores, together

__all__ = [
    "AnyTarget",
    "Attribute",
    "Category",
    "Contrast",
    "Decision",
    "Each",
    "Head",
    "Region",
    "Sign",
    "Similarity",
    "Target",
    "each",
    "margins",
    "parse",
    "probabilities",
    "resolve",
    "scores",
    "together",
]

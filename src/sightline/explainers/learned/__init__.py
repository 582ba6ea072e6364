"""Learned: attention that was trained beside a frozen classifier; one forward pass an explanation."""

from sightline.explainers.learned._attention import Attention, attention_for, channel_of, default_layers
from sightline.explainers.learned._bind import Retrained
from sightline.explainers.learned._file import Learned, about_of, load, save
from sightline.explainers.learned._warm import warm_start

__all__ = [
    "Attention",
    "Learned",
    "Retrained",
    "about_of",
    "attention_for",
    "channel_of",
    "default_layers",
    "load",
    "save",
    "warm_start",
]

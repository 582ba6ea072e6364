"""Otsu's threshold for a batch of rows, on their device."""

import torch
from torch import Tensor


def otsu(values: Tensor, bins: int = 256) -> Tensor:
    """(n,) the threshold of each row of values (n, m) that maximises the variance between the two classes.

    Values above it belong to the upper class. A row of one value has that value as its threshold. (scikit-image has the
    same for one array on the CPU; here maps stay where they are.) Otsu (1979), IEEE Trans. SMC 9.
    """
    low, high = values.amin(1), values.amax(1)
    span = torch.where(high > low, high - low, 1.0)
    place = ((values - low[:, None]) / span[:, None] * bins).long().clamp(max=bins - 1)
    count = torch.zeros(len(values), bins, device=values.device, dtype=torch.float64)
    count.scatter_add_(1, place, torch.ones_like(place, dtype=torch.float64))
    centre = (torch.arange(bins, device=values.device) + 0.5) / bins
    below, moment = count.cumsum(1), (count * centre).cumsum(1)
    above = below[:, -1:] - below
    between = below * above * (moment / below.clamp(min=1) - (moment[:, -1:] - moment) / above.clamp(min=1)).square()
    edge = (between[:, :-1].argmax(1) + 1) / bins
    return torch.where(high > low, low + edge * span, low)

"""What LIME and KernelSHAP share: superpixels, and captum's samplers on which of them are shown."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sightline import target as targets
from sightline.errors import MethodError, MissingExtraError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.method import Maps
from sightline.explainers.question import Question

_GLOBAL_GENERATOR = threading.Lock()

Attribute = Callable[[Any, Callable[[Tensor], Tensor], Tensor, int], Tensor]
"""(captum.attr, z (m, F) -> scores (m,), all shown (1, F), samples) -> contributions (1, F)."""


class _Shown:
    """A plan whose masks are given as rows of shown superpixels."""

    exponential, count = False, 0

    def __init__(self, z: Tensor, segments: Tensor) -> None:
        self.z, self.segments = z, segments

    def masks(self, index: Tensor) -> Tensor:
        return self.z[index][:, self.segments]

    def traits(self, index: Tensor) -> Tensor:
        return self.z[index]

    def maps(self, values: Tensor) -> Tensor:
        raise NotImplementedError


def superpixels(pixels: Tensor, count: int) -> Tensor:
    """(H, W) the superpixel of each pixel, 0 .. F - 1, by SLIC (Achanta et al. 2012).

    Square cells where SLIC finds no more than one, as on an image of one colour.
    """
    from skimage.segmentation import slic

    image = pixels.permute(1, 2, 0).cpu().numpy()
    labels = slic(image, n_segments=count, compactness=10, start_label=0, channel_axis=2)
    _, labels = torch.unique(torch.from_numpy(labels.astype("int64")), return_inverse=True)
    if int(labels.max()) == 0:
        cells = max(2, round(count**0.5))
        down, across = (torch.arange(side) * cells // side for side in image.shape[:2])
        labels = down[:, None] * cells + across
    return labels.to(pixels.device)  # type: ignore[no-any-return]


def superpixel_maps(question: Question, engine: Engine, segments: int, samples: int, attribute: Attribute) -> Maps:
    """Maps (N, H, W) of superpixels' contributions to each row's score.

    Raises:
        MissingExtraError: captum is not installed.
        MethodError: Fewer than 2 superpixels, or fewer samples than those.
    """
    try:
        import captum.attr
    except ImportError as reason:
        raise MissingExtraError("LIME and KernelSHAP need captum: pip install 'sightline[captum]'") from reason
    if segments < 2 or samples < 2:
        raise MethodError(f"segments and samples must be at least 2, not {segments} and {samples}")
    question.ask()
    S = torch.empty(len(question.targets), *question.size, device=question.pixels.device)
    passes = samples * len(question.targets)
    with engine.steps(passes, passes) as step:
        for row, b in enumerate(question.image.tolist()):
            labels = superpixels(question.pixels[b], segments)
            full = torch.ones(1, int(labels.max()) + 1, device=labels.device)

            def score(z: Tensor, row: int = row, b: int = b, labels: Tensor = labels) -> Tensor:
                outputs = engine.ask(b, _Shown(z.float(), labels), len(z), passes)
                step(len(z))
                if engine.stopped is not None:  # half a regression is no map
                    raise engine.stopped
                return targets.scores([question.targets[row]] * len(z), outputs)

            with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):  # captum draws from it
                torch.manual_seed(int(engine.generator(b).initial_seed()) % 2**63)
                w = attribute(captum.attr, score, full, samples)
            S[row] = w[0].to(S)[labels]
    return Maps(S)

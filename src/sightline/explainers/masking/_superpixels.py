"""What LIME and KernelSHAP share: superpixels, and captum's samplers on which of them are shown."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MethodError, MissingExtraError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import maps_of, rows_of
from sightline.explainers.method import Maps
from sightline.explainers.question import Question

_GLOBAL_GENERATOR = threading.Lock()

Sampler = Callable[[Any, Callable[[Tensor], Tensor]], Any]
"""(captum.attr, z (m, F) -> scores (m,)) -> what draws the sets z of shown superpixels and fits the scores."""


class _Sets:
    """A plan of the sets of superpixels that a sampler of captum draws; a set that is drawn again is asked once.

    The sampler draws from torch's global generator, and it does so anew for each regression. The seed is the same each
    time, so the sets are too, and the regressions of all rows read the scores of one and the same masked images.
    """

    exponential = False

    def __init__(self, labels: Tensor, samples: int, seed: int, sampler: Sampler) -> None:
        self.labels, self.samples, self.seed, self.sampler = labels, samples, seed, sampler
        drawn: list[Tensor] = []

        def watch(z: Tensor) -> Tensor:
            drawn.append(z)
            return torch.zeros(len(z))

        self._regression(watch)
        (z,), places = drawn, dict[bytes, int]()
        self.which = torch.tensor([places.setdefault(row.numpy().tobytes(), len(places)) for row in z])  # (samples,)
        self.count = len(places)
        self.z = torch.empty(self.count, z.shape[1]).index_copy(0, self.which, z).to(labels.device)  # (count, F)

    def _regression(self, score: Callable[[Tensor], Tensor]) -> Tensor:
        """Contributions (F,) from the scores of the sets that were drawn."""
        import captum.attr

        full = torch.ones(1, int(self.labels.max()) + 1)
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # `torch.manual_seed` would seed other devices as well
            found: Tensor = self.sampler(captum.attr, score).attribute(
                full, baselines=0, n_samples=self.samples, perturbations_per_eval=self.samples
            )
        return found[0]

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) of zeros and ones."""
        return self.z[index][:, self.labels]

    def traits(self, index: Tensor) -> Tensor:
        """(m, F): which superpixels are shown."""
        return self.z[index]

    def maps(self, values: Tensor) -> Tensor:
        """(n, H, W) the contributions by a regression for each row of values (n, count)."""
        drawn = values.cpu()[:, self.which]
        w = [self._regression(lambda _, row=row: row) for row in drawn]  # type: ignore[misc]
        return torch.stack(w).to(values)[:, self.labels]


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


def superpixel_maps(question: Question, engine: Engine, segments: int, samples: int, sampler: Sampler) -> Maps:
    """Maps (N, H, W) of superpixels' contributions to each row's score; all rows of an image share its passes.

    Raises:
        MissingExtraError: captum is not installed.
        MethodError: Fewer than 2 superpixels, or fewer samples than those.
    """
    try:
        import captum.attr  # noqa: F401
    except ImportError as reason:
        raise MissingExtraError("LIME and KernelSHAP need captum: pip install 'sightline[captum]'") from reason
    if segments < 2 or samples < 2:
        raise MethodError(f"segments and samples must be at least 2, not {segments} and {samples}")
    question.ask()
    jobs = []
    for b, x in enumerate(question.pixels):
        plan = _Sets(superpixels(x, segments), samples, engine.generator(b).initial_seed() % 2**63, sampler)
        jobs.append(engine.job(b, rows_of(question, b), plan, shuffle=False))
    engine.run(jobs)
    return Maps(maps_of(question, jobs))

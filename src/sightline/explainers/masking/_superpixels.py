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
"""(captum.attr, z (m, F) -> scores (m,)) -> what draws the sets z of shown superpixels and has a linear model."""


class _Data:
    """Stands in for captum's linear model while it draws: keeps what would be fitted."""

    def fit(self, loader: Any) -> None:
        self.z, _, self.similarity = loader.dataset.tensors

    def representation(self) -> Tensor:
        return torch.zeros(self.z.shape[1])


class _Sets:
    """A plan of the sets of superpixels that a sampler of captum draws; a set that is drawn again is asked once.

    They are drawn before anything is asked, so that the masked images and their scores are like any others; captum's
    own linear model is fitted to each row's scores at the end.
    """

    exponential = False

    def __init__(self, labels: Tensor, samples: int, seed: int, sampler: Sampler) -> None:
        import captum.attr

        drawer, data = sampler(captum.attr, lambda z: torch.zeros(len(z))), _Data()
        self.labels, self.model, drawer.interpretable_model = labels, drawer.interpretable_model, data
        full = torch.ones(1, int(labels.max()) + 1)
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):  # captum draws from it
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed other devices as well
            drawer.attribute(full, baselines=0, n_samples=samples, perturbations_per_eval=samples)
        self.drawn, self.similarity = data.z, data.similarity  # (samples, F), (samples,)
        places: dict[bytes, int] = {}
        self.which = torch.tensor([places.setdefault(z.numpy().tobytes(), len(places)) for z in self.drawn])
        self.count = len(places)
        z = torch.empty(self.count, full.shape[1]).index_copy(0, self.which, self.drawn)
        self.z = z.to(labels.device)  # (count, F)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) of zeros and ones."""
        return self.z[index][:, self.labels]

    def traits(self, index: Tensor) -> Tensor:
        """(m, F): which superpixels are shown."""
        return self.z[index]

    def maps(self, values: Tensor) -> Tensor:
        """(n, H, W) the contributions by a regression for each row of values (n, count)."""
        w = []
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):  # captum's layer draws weights before it has them
            for y in values.cpu()[:, self.which]:  # (samples,)
                self.model.fit([(self.drawn, y, self.similarity)])
                w.append(self.model.representation().flatten())
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

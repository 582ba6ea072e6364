"""The random control."""

import torch

from sightline.errors import MethodError
from sightline.explainers.method import Maps, explains
from sightline.explainers.question import Question, broadcast_rows, generator_for


@explains(
    "random",
    family="control",
    paper=None,
    summary="Uniform noise on a coarse grid: what luck gets.",
    cost="none",
    forwards=0,
    signed=False,
)
def random(question: Question, *, cells: int = 7) -> Maps:
    """S_ij ~ U(0, 1), independent for each cell and image, seeded by `seed` and the image's content.

    Args:
        question: What is asked.
        cells: Cells a side, at least 2.

    Returns:
        (N, cells, cells), the same for all targets of an image.

    Raises:
        MethodError: `cells` is below 2.
    """
    if cells < 2:
        raise MethodError(f"cells must be at least 2, not {cells}")
    question.ask()
    maps = [torch.rand(cells, cells, generator=generator_for(x, question.seed)) for x in question.pixels]
    return Maps(broadcast_rows(torch.stack(maps).to(question.pixels.device), question.image))

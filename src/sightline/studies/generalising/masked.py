"""Images masked by the relevance of every source, asked of every target: p and decision at each level."""

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.explainers.masking._fill import blurred
from sightline.metrics._asking import Asking
from sightline.studies.generalising import masks, targets
from sightline.studies.generalising.family import Member
from sightline.studies.generalising.maps import OWN, Kept
from sightline.studies.generalising.plan import Plan
from sightline.studies.generalising.source import Image, Size
from sightline.target import Target


class Survey:
    """What is known of all images once they are explained; it decides which images are masked, and by what.

    Attributes:
        indices: Images that every member answered, in the order of the run.
        donors: Image -> the image whose maps it gets under the control `other-image`: the next one, in a ring.
        colours: Size -> (C,) the mean colour of these images.

    Args:
        plan: What is asked.
        kept: The maps.
        indices: See above.
        colours: See above.
    """

    def __init__(self, plan: Plan, kept: Kept, indices: Sequence[int], colours: Mapping[Size, Tensor]) -> None:
        self.plan, self.kept, self.indices, self.colours = plan, kept, tuple(indices), colours
        self.donors = dict(zip(self.indices, (*self.indices[1:], *self.indices[:1]), strict=True))
        self._means: dict[tuple[str, str], Tensor] = {}
        self._asking: dict[str, Asking] = {}

    def mean_map(self, model: str, method: str) -> Tensor:
        """(h, w) the mean of a member's own maps."""
        if (model, method) not in self._means:
            self._means[model, method] = torch.from_numpy(self.kept.mean(model, method, self.indices))
        return self._means[model, method]

    def asking(self, member: Member) -> Asking:
        """The forward passes of a member; one for the whole run, so that it asks in the same chunks throughout."""
        if member.name not in self._asking:
            expected = self.plan.passes * len(self.plan.methods) * len(self.plan.source.keys)
            asking = Asking(member.classifier, member.classifier.size, self.plan.options, expected)
            self._asking[member.name] = asking
        return self._asking[member.name]


class Masked:
    """A block of images under all masks; a source's pixels are ranked once a size, for all targets of that size.

    Args:
        survey: What is known of all images.
        indices: Numbers of the block's images.
        images: The images.
    """

    def __init__(self, survey: Survey, indices: Sequence[int], images: Sequence[Image]) -> None:
        self.survey, self.plan, self.indices, self.images = survey, survey.plan, list(indices), images
        self._pixels: dict[Size, Tensor] = {}
        self._ties: dict[Size, Tensor] = {}
        self._steps: dict[tuple[str, str, Size], tuple[Tensor, Tensor]] = {}

    def rows(self, member: Member, rows: Sequence[Target], method: str) -> pl.DataFrame:
        """The answers of a member, a row an image, source, fill and mode.

        Args:
            member: The target.
            rows: The decision explained on each image of the block.
            method: Whose maps mask.

        Raises:
            ModelError: The member gives NaN for a masked image.
        """
        size = member.classifier.size
        step = torch.stack([self.steps(s, member.name, method, size) for s in self.plan.sources])  # (S, b, P)
        frames = []
        for fill in self.plan.fills:
            found = self.answers(member, rows, fill, step)
            frames.append(self._frame(member.name, method, fill, found))
        return pl.concat(frames)

    def answers(self, member: Member, rows: Sequence[Target], fill: str, step: Tensor) -> Tensor:
        """(S, b, M, Q, 2) p and decision of a member on its images under every mask.

        Images are masked in the normalised space, where binary masks are as exact as in pixels, by one `where`.

        Args:
            member: The target.
            rows: The decision explained on each image.
            fill: What stands where pixels are taken away.
            step: (S, b, P) uint8, see `masks.steps`.
        """
        size, device = member.classifier.size, member.classifier.device
        S, b, M, Q = len(step), len(self.images), len(self.plan.modes), len(self.plan.levels)
        x, other = (
            member.classifier.normalise(v.to(device), order=False) for v in (self.pixels(size), self.fill(fill, size))
        )
        steps, keep = step.reshape(S * b, -1).to(device), torch.tensor([m == "keep" for m in self.plan.modes])
        room = torch.empty(0, *x.shape[1:], device=device, dtype=x.dtype)  # used again: fresh memory costs half a mask

        def make(index: Tensor) -> Tensor:
            nonlocal room
            q, mode, source, image = index % Q, index // Q % M, index // (Q * M) % S, index // (Q * M * S)
            taken = steps.index_select(0, (source * b + image).to(device)) <= q[:, None].to(device, torch.uint8)
            seen = taken if bool(keep.all()) else taken == keep[mode][:, None].to(device)  # (m, P)
            room = room if len(room) >= len(index) else room.new_empty(len(index), *x.shape[1:])
            start = 0
            for i, count in enumerate(image.bincount().tolist()):  # positions run image by image
                part, under = slice(start, start + count), other[i if len(other) > 1 else 0]
                torch.where(seen[part].view(-1, 1, *size), x[i], under, out=room[part])
                start += count
            return room[: len(index)]

        def read(index: Tensor, outputs: Tensor) -> Tensor:
            return targets.read(member, [rows[i] for i in (index // (Q * M * S)).tolist()], outputs).cpu()

        found = self.survey.asking(member).ask(b * S * M * Q, make, read, space="normalised")
        return found.reshape(b, S, M, Q, 2).transpose(0, 1)

    def _frame(self, target: str, method: str, fill: str, found: Tensor) -> pl.DataFrame:
        """Rows from answers (S, b, M, Q, 2)."""
        S, b, M, Q, _ = found.shape
        plan, p = self.plan, found[..., 0].float().reshape(-1, Q).numpy()
        decision = found[..., 1].int().reshape(-1, Q).numpy()
        return pl.DataFrame(
            {
                "target_model": [target] * (S * b * M),
                "image_index": [i for _ in range(S) for i in self.indices for _ in range(M)],
                "method": [method] * (S * b * M),
                "source": [s for s in plan.sources for _ in range(b * M)],
                "fill": [fill] * (S * b * M),
                "mode": list(plan.modes) * (S * b),
                "p": pl.Series(p.tolist(), dtype=pl.List(pl.Float32)),
                "decision": pl.Series(decision.tolist(), dtype=pl.List(pl.Int32)),
            }
        )

    def pixels(self, size: Size) -> Tensor:
        """(b, C, H, W) in [0, 1]."""
        if size not in self._pixels:
            self._pixels[size] = torch.stack([one.views[size].pixels for one in self.images])
        return self._pixels[size]

    def fill(self, name: str, size: Size) -> Tensor:
        """(1 or b, C, 1 or H, 1 or W) in [0, 1]: what stands where pixels are taken away."""
        x = self.pixels(size)
        match name:
            case "dataset-mean":
                return self.survey.colours[size].reshape(1, -1, 1, 1)
            case "image-mean":
                return x.mean((2, 3), keepdim=True)
            case "blur":
                return blurred(x)
        return torch.full((1, x.shape[1], 1, 1), {"grey": 0.5, "black": 0.0}[name])

    def steps(self, source: str, target: str, method: str, size: Size) -> Tensor:
        """(b, P) the first level that takes each pixel, by a source's ranking for a target; see `masks.steps`."""
        if source == "bottom":
            return self._both(target, method, size)[1]
        if source in masks.OWN:
            return masks.steps(self._own(source, target, method, size), self.plan.levels)
        return self._both(source, method, size)[0]

    def _both(self, source: str, method: str, size: Size) -> tuple[Tensor, Tensor]:
        """The steps of a source that is the same for every target, from the top and from the bottom: one sort."""
        key = (source, method, size)
        if key not in self._steps:
            order = self._ranked(source, method, size)
            self._steps[key] = masks.steps(order, self.plan.levels), masks.steps(order.flip(1), self.plan.levels)
        return self._steps[key]

    def _ranked(self, source: str, method: str, size: Size) -> Tensor:
        if source == "random":
            return self.ties(size)
        if source in masks.GLOBAL:
            return masks.order(masks.given(source, self.pixels(size)), self.ties(size))
        return self._by(self._maps(source, method, OWN, self.indices), size)

    def _own(self, control: str, target: str, method: str, size: Size) -> Tensor:
        """(b, P) the ranking of a control that is made from the target's maps."""
        if control == "mean-map":
            mean = self.survey.mean_map(target, method)
            return self._by(mean.expand(len(self.indices), *mean.shape), size)
        if control == "other-image":
            return self._by(self._maps(target, method, OWN, [self.survey.donors[i] for i in self.indices]), size)
        return self._by(self._maps(target, method, control, self.indices), size)

    def _by(self, maps: Tensor, size: Size) -> Tensor:
        return masks.order(masks.fitted(maps, size, self.plan.smooth), self.ties(size))

    def _maps(self, model: str, method: str, variant: str, indices: Sequence[int]) -> Tensor:
        found = torch.from_numpy(self.survey.kept.rows(model, method, variant, indices))
        if not bool(found.isfinite().all()):
            raise InputError(
                f"maps of {model!r} that the journal calls finished are not there ({variant}); the folder of kept maps "
                "was changed: run again with overwrite=True"
            )
        return found

    def ties(self, size: Size) -> Tensor:
        """(b, P) in which order equal pixels of each image are taken."""
        if size not in self._ties:
            identities = [self.plan.source.identities[i] for i in self.indices]
            self._ties[size] = masks.shuffled(identities, size[0] * size[1], self.plan.seed)
        return self._ties[size]

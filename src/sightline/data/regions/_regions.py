"""Regions of attributes, and their masks for a batch of inputs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from sightline.data.regions._drawn import drawn
from sightline.data.regions._shapes import Area, Frame, FrameOf
from sightline.data.regions._toml import Table, parsed, written
from sightline.errors import InputError
from sightline.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Where in a face the evidence of each attribute may lie.

    Attributes:
        name: Of the definition; it stands in protocols.
        areas: The regions by name, in their order.
        attributes: The name of its region by attribute.
        unit: How many units the frame is wide and high.
        frame: `input`: the frame is the network's input. `face`: it is the crop that `Alignment` would cut out by the
            landmarks, wherever it lies in the input, for images that are not aligned.
        whole: Whether bounds are whole pixels of the frame.
    """

    name: str
    areas: Mapping[str, Area]
    attributes: Mapping[str, str]
    unit: float = 1.0
    frame: FrameOf = "input"
    whole: bool = False

    @classmethod
    def grid(cls, *, frame: FrameOf = "input") -> "Regions":
        """Fixed rectangles on a grid of 7 x 7, for the forty attributes of CelebA, as the paper's results rest on.

        Zhang, Bieri, Günther 2024 (arXiv 2403.14435); from their code.

        Args:
            frame: `input` for images that are aligned; `face` lays the grid on the face by its landmarks.
        """
        return cls._shipped("grid", frame)

    @classmethod
    def landmarks(cls, *, frame: FrameOf = "input") -> "Regions":
        """Boxes that follow the landmarks of each image, for the forty attributes of CelebA.

        Zhang, Bieri, Günther 2024 (arXiv 2403.14435); from their additional scripts. They are for a frame of 224 pixels
        and scale with the input. The rim of the ellipse that is taken off hair is by pixels' centres.

        Args:
            frame: `input` for images that are aligned, as published; `face` scales, moves and turns the boxes with it.
        """
        return cls._shipped("landmarks", frame)

    @classmethod
    def exact(cls, attributes: Mapping[str, str] | Sequence[str], *, name: str = "exact") -> "Regions":
        """Regions whose masks come with each image: of rendered faces, or files of a table.

        Args:
            attributes: The region by attribute; or attributes, each with a region of its own name.
            name: Of the definition.
        """
        pairs = dict(attributes) if isinstance(attributes, Mapping) else {a: a for a in attributes}
        areas = {region: Area(given=True) for region in dict.fromkeys(pairs.values())}
        return cls(name=name, areas=areas, attributes=pairs)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Regions":
        """Regions from a TOML file, as `write` makes it.

        Raises:
            InputError: The file cannot be read or understood; the text names the region and what is wrong with it.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as a table of regions ({error})") from error
        return cls._of(parsed(text, str(path)))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write them as TOML, to be edited and read again.

        Raises:
            StorageError: The file cannot be written.
        """
        table = Table(self.name, self.unit, self.frame, self.whole, dict(self.areas), dict(self.attributes))
        with atomic_write(path) as file:
            file.write(written(table).encode())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in their order."""
        return tuple(self.areas)

    @property
    def needs(self) -> Literal["nothing", "landmarks", "masks"]:
        """What must be known of an image."""
        if any(area.given for area in self.areas.values()):
            return "masks"
        follows = self.frame == "face" or any(area.follows for area in self.areas.values())
        return "landmarks" if follows else "nothing"

    def of(self, attribute: str) -> str | None:
        """The name of an attribute's region; None where it has none."""
        return self.attributes.get(attribute)

    def known(self, attribute: str) -> bool:
        """Whether an attribute has a region."""
        return attribute in self.attributes

    def painted(
        self,
        names: Sequence[str],
        size: tuple[int, int],
        landmarks: Tensor | None = None,
        *,
        count: int | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Masks of regions; settings as in `masks`.

        Returns:
            (N, R, H, W) bool; an expanded view of one image's where they are the same for all.

        Raises:
            InputError: A region is unknown; otherwise as in `masks`.
        """
        for name in names:
            if name not in self.areas:
                raise InputError(f"{self.name}: has no region {name!r}; it has {', '.join(self.areas)}")
        n = self._count(landmarks, count, given)
        areas = [self.areas[name] for name in names]
        frame = None
        if not all(area.given for area in areas):
            frame = Frame.of(size, unit=self.unit, frame=self.frame, landmarks=landmarks, whole=self.whole)
        try:
            masks = [
                self._given(name, size, given) if frame is None or area.given else area.mask(frame)
                for name, area in zip(names, areas, strict=True)
            ]
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        if not masks:
            return torch.zeros(1, 1, 1, 1, dtype=torch.bool).expand(n, 1, *size)[:, :0]
        most = max(len(mask) for mask in masks)
        found = torch.stack([mask.expand(most, *size) for mask in masks], 1)
        return found if most == n else found.expand(n, -1, -1, -1)

    def masks(
        self,
        attributes: Sequence[str],
        size: tuple[int, int],
        landmarks: Tensor | None = None,
        *,
        count: int | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Masks of attributes.

        Args:
            attributes: A of them; one without a region gets a mask that is False everywhere.
            size: (H, W) of the input.
            landmarks: (N, 5, 2) x, y in pixels of the input, where 0, 0 is the centre of the top left one: left eye,
                right eye, nose, left and right corner of the mouth. An image whose landmarks are NaN has no region that
                follows them: its masks are False everywhere.
            count: N, where neither landmarks nor masks are given.
            given: (N, H, W) bool by the name of a region, for regions whose masks come with the images.

        Returns:
            (N, A, H, W) bool; an expanded view of one image's where they are the same for all.

        Raises:
            InputError: Landmarks or masks that are needed are not given, or do not fit.
        """
        names = list(dict.fromkeys(self.attributes[a] for a in attributes if a in self.attributes))
        found = self.painted(names, size, landmarks, count=count, given=given)
        n = len(found)
        one = found[:1] if found.stride(0) == 0 else found  # what is the same for all is indexed once
        nothing = torch.zeros(len(one), 1, *size, dtype=torch.bool)
        places = [names.index(self.attributes[a]) if a in self.attributes else len(names) for a in attributes]
        masks = torch.cat([one, nothing], 1)[:, places]
        return masks if len(masks) == n else masks.expand(n, -1, -1, -1)

    def drawn(
        self, face: Tensor, landmarks: Tensor | None = None, *, given: Mapping[str, Tensor] | None = None
    ) -> Image.Image:
        """A picture on which a person can check them: each region on a face, with its name.

        Args:
            face: (3, H, W) in [0, 1], such as the mean of many faces.
            landmarks: (5, 2) of that face, where regions follow them.
            given: (H, W) bool by the name of a region, where masks come with the images.

        Raises:
            InputError: As in `masks`.
        """
        size = (int(face.shape[-2]), int(face.shape[-1]))
        marks = None if landmarks is None else landmarks[None]
        masks = {name: mask[None] for name, mask in given.items()} if given is not None else None
        names = [name for name in self.names if masks is None or not self.areas[name].given or name in masks]
        if masks is not None:
            return drawn(face, dict(zip(names, self.painted(names, size, marks, count=1, given=masks)[0], strict=True)))
        side = max(size[0], size[1], 168)  # shapes are drawn finer than a small face
        scale = torch.tensor([side / size[1], side / size[0]], dtype=torch.float64)
        marks = None if marks is None else (marks.double() + 0.5) * scale - 0.5
        return drawn(face, dict(zip(names, self.painted(names, (side, side), marks, count=1)[0], strict=True)))

    def described(self) -> str:
        """What they are, in words for a protocol."""
        where = "on the input" if self.frame == "input" else "on the face, by its landmarks"
        follow = {"masks": "masks of each image", "landmarks": "following landmarks", "nothing": "the same for all"}
        counts = f"{len(self.areas)} regions of {len(self.attributes)} attributes"
        return f"{self.name}: {counts}, {follow[self.needs]}, {where}"

    @classmethod
    def _of(cls, table: Table) -> "Regions":
        return cls(
            name=table.name,
            areas=table.areas,
            attributes=table.attributes,
            unit=table.unit,
            frame=table.frame,
            whole=table.whole,
        )

    @classmethod
    def _shipped(cls, name: str, frame: FrameOf) -> "Regions":
        text = Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
        if frame not in ("input", "face"):
            raise InputError(f"frame must be 'input' or 'face', not {frame!r}")
        found = parsed(text, f"{name}.toml")._replace(frame=frame)
        return cls._of(found if frame == "input" else found._replace(name=f"{found.name}, on the face"))

    def _count(self, landmarks: Tensor | None, count: int | None, given: Mapping[str, Tensor] | None) -> int:
        if landmarks is not None and (landmarks.ndim != 3 or tuple(landmarks.shape[1:]) != (5, 2)):
            raise InputError(f"landmarks must be (N, 5, 2), not {tuple(landmarks.shape)}")
        counts = {len(mask) for mask in (given or {}).values()}
        counts |= ({len(landmarks)} if landmarks is not None else set()) | ({count} if count is not None else set())
        if len(counts) != 1:
            has = " and ".join(map(str, sorted(counts))) or "none"
            raise InputError(f"masks need one count of images, from count, landmarks or masks; got {has}")
        return counts.pop()

    @staticmethod
    def _given(name: str, size: tuple[int, int], given: Mapping[str, Tensor] | None) -> Tensor:
        if given is None or name not in given:
            has = ", ".join(given) if given else "none"
            raise InputError(f"the mask of the region {name!r} comes with each image, but was not given; got {has}")
        mask = given[name]
        if mask.ndim != 3 or tuple(mask.shape[1:]) != size or mask.dtype != torch.bool:
            raise InputError(f"the mask of {name!r} must be (N, {size[0]}, {size[1]}) bool, not {tuple(mask.shape)}")
        return mask.cpu()


def default_regions(attributes: Sequence[str]) -> Regions | None:
    """The paper's rectangles, where any of the attributes is CelebA's; otherwise None."""
    grid = Regions.grid()
    return grid if any(grid.known(attribute) for attribute in attributes) else None

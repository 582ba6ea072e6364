"""Where an audit's images come from: records on disk, or rendered faces. Both give pixels, truth, places and groups."""

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from sightline.data import faces as rendered
from sightline.data.alignment import Alignment, Preparation
from sightline.data.annotations.record import Record
from sightline.data.faces import Faces
from sightline.errors import InputError
from sightline.studies.benchmarking.work import names_of

if TYPE_CHECKING:
    from sightline.data.regions import Regions


class Loaded(NamedTuple):
    """An image as the network takes it, with what is known of it.

    Attributes:
        pixels: (3, H, W) in [0, 1].
        truth: Attribute -> 1 or 0; an unknown one is absent.
        landmarks: (k, 2) x, y in pixels of the input; (0, 2) where none are known.
        groups: Group column -> value, as text.
        place: Where it stands in the source.
        masks: Masks of named regions that come with the image, (H, W) bool.
    """

    pixels: Tensor
    truth: dict[str, int]
    landmarks: Tensor
    groups: dict[str, str]
    place: int
    masks: Mapping[str, Tensor]


class Source(Protocol):
    """Images of an audit.

    Attributes:
        known: Attributes that the data knows.
        keys, sizes: For each image its name, and a number that changes when it does.
        regions: How regions are told, in a word or two.
    """

    known: tuple[str, ...]
    keys: list[str]
    sizes: list[int]
    regions: str

    def load(self, place: int) -> Loaded:
        """One image."""
        ...

    def masks(self, loaded: Sequence[Loaded], regions: Sequence[str]) -> dict[str, Tensor]:
        """Where regions are in each of some images: (N, H, W) bool by name."""
        ...

    def region(self, name: str) -> str | None:
        """What the attribute's region is called; attributes of one region share their masks."""
        ...


class FaceSource:
    """Rendered faces: pixels, truth, landmarks and masks are exact."""

    def __init__(self, faces: Faces, size: tuple[int, int], groups: Sequence[str], regions: "Regions | None") -> None:
        if size[0] != size[1]:
            raise InputError(f"rendered faces are square, and the classifier takes {size[0]}x{size[1]}")
        self.faces, self.side, self.groups = faces, size[0], tuple(groups)
        self.known = tuple(faces.names)
        self.keys = [f"face {i}" for i in range(len(faces))]
        # Parameters that are not the same give numbers that are not the same: a resumed run notices other faces.
        p = faces.parameters
        rows = zip(p.attributes, p.nuisance, p.keys, p.cue, strict=True)
        self.sizes = [zlib.crc32(b"".join(part.tobytes() for part in row)) for row in rows]
        self._regions = regions
        self.regions = "exact masks of the renderer" if regions is None else regions.described()
        _known_groups(self.groups, self.known, ())

    @cached_property
    def _landmarks(self) -> Tensor:
        return rendered.landmarks(self.faces.parameters, size=self.side)

    def load(self, place: int) -> Loaded:
        """One face, drawn at the classifier's size."""
        one = self.faces[place : place + 1]
        pixels = one.pixels if one.size == self.side else rendered.render(one.parameters, size=self.side)
        truth = {name: int(value) for name, value in zip(self.known, one.attributes[0].tolist(), strict=True)}
        landmarks = self._landmarks[place]
        groups = {name: "yes" if truth[name] else "no" for name in self.groups}
        return Loaded(pixels[0], truth, landmarks, groups, place, {})

    def masks(self, loaded: Sequence[Loaded], regions: Sequence[str]) -> dict[str, Tensor]:
        """The renderer's own masks, unless other regions are asked."""
        if self._regions is not None:
            return paint(self._regions, loaded, regions)
        parameters = self.faces.parameters[[one.place for one in loaded]]
        return {name: rendered.masks(parameters, name, size=self.side) for name in regions}

    def region(self, name: str) -> str | None:
        """Each attribute has its own."""
        return name if self._regions is None else self._regions.of(name)


class RecordSource:
    """Records on disk, brought to the classifier's size by a preparation."""

    def __init__(
        self,
        records: Sequence[Record],
        size: tuple[int, int],
        groups: Sequence[str],
        regions: "Regions | None",
        preparation: Preparation,
        root: str | None,
    ) -> None:
        self.records, self.size, self.groups = records, size, tuple(groups)
        first, self.known = _first(records)
        self.preparation = preparation
        usual = preparation.fit == "align" and preparation.alignment == Alignment()  # the regions' own frame
        self._regions = regions or regions_for(records, self.known, aligned=usual)
        self.keys, self.sizes = names_of(records, root)
        self.regions = "none" if self._regions is None else self._regions.described()
        _known_groups(self.groups, self.known, tuple(first.groups))

    def load(self, place: int) -> Loaded:
        """One image.

        Raises:
            InputError: It cannot be read or prepared; the text names it.
        """
        record = self.records[place]
        sample = self.preparation.load(record, self.size)
        truth = {name: int(record.attributes[name]) for name in self.known if name in record.attributes}
        for name, value in truth.items():
            if value not in (0, 1):
                raise InputError(f"{record.path}: {name} is {value}, which is neither yes (1) nor no (0)")
        groups = {}
        for name in self.groups:
            if name in record.groups:
                groups[name] = record.groups[name]
            elif name in truth:
                groups[name] = "yes" if truth[name] else "no"
        return Loaded(sample.pixels, truth, sample.landmarks, groups, place, sample.masks)

    def masks(self, loaded: Sequence[Loaded], regions: Sequence[str]) -> dict[str, Tensor]:
        """As the regions tell."""
        return {} if self._regions is None else paint(self._regions, loaded, regions)

    def region(self, name: str) -> str | None:
        """As the regions tell."""
        return None if self._regions is None else self._regions.of(name)


def regions_for(records: Sequence[Record], known: Sequence[str], *, aligned: bool) -> "Regions | None":
    """The regions of records where none are named.

    Masks that come with the images, if they carry attributes' names; else the paper's rectangles: on the input where
    images are aligned or landmarks are not known, else on the face wherever its landmarks put it.
    """
    from sightline.data.regions import Regions, default_regions

    first, _ = _first(records)
    exact = [name for name in known if name in first.masks]
    if exact:
        return Regions.exact(exact)
    found = default_regions(known)
    follows = not aligned and first.landmarks is not None and tuple(first.landmarks.shape) == (5, 2)
    return Regions.grid(frame="face") if found is not None and follows else found


def paint(regions: "Regions", loaded: Sequence[Loaded], names: Sequence[str]) -> dict[str, Tensor]:
    """Where regions are in some images: (N, H, W) bool by name; nowhere in those whose landmarks are not known."""
    size = (loaded[0].pixels.shape[-2], loaded[0].pixels.shape[-1])
    points, given = None, None
    if regions.needs != "nothing":
        unknown = torch.full((5, 2), torch.nan)
        points = torch.stack([one.landmarks if tuple(one.landmarks.shape) == (5, 2) else unknown for one in loaded])
    if regions.needs == "masks":
        blank = torch.zeros(size, dtype=torch.bool)
        given = {name: torch.stack([one.masks.get(name, blank) for one in loaded]) for name in names}
    found = regions.painted(names, size, points, count=len(loaded), given=given)
    return {name: found[:, i] for i, name in enumerate(names)}


def _first(records: Sequence[Record], most: int = 1000, looked: int = 50) -> tuple[Record, tuple[str, ...]]:
    """The first record with attributes, and the attributes that are yes or no in the first records."""
    if not len(records):
        raise InputError("there are no images")
    found: list[Record] = []
    for i in range(min(len(records), most)):
        try:
            if records[i].attributes:
                found.append(records[i])
        except InputError:  # a broken annotation is a row of its own later
            continue
        if len(found) == looked:
            break
    names = dict.fromkeys(name for record in found for name in record.attributes)
    known = tuple(n for n in names if all(record.attributes.get(n, 0) in (0, 1) for record in found))
    if known:
        return found[0], known
    raise InputError(
        "no image has an attribute, so no decision can be judged; give records with attributes (celeba(), or a "
        "manifest with columns of 1 and 0)"
    )


def _known_groups(asked: Sequence[str], attributes: Sequence[str], columns: Sequence[str]) -> None:
    for name in asked:
        if name not in attributes and name not in columns:
            there = ", ".join((*columns, *attributes)) or "none"
            raise InputError(f"there is no group column {name!r}; there are {there}")

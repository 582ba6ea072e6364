"""Where the images of the study come from: records on disk, rendered faces, or tensors; prepared at every size.

Images are numbered by the sorted order of what they are (path, or content), so no figure hangs on the order in which
they were given.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sightline.data.alignment import Alignment, Preparation
from sightline.data.annotations.record import Record
from sightline.data.faces import Faces
from sightline.data.fitting import placement
from sightline.errors import InputError
from sightline.studies.auditing.source import FaceSource, Loaded, paint, regions_for
from sightline.studies.benchmarking.work import names_of

if TYPE_CHECKING:
    from sightline.data.regions import Regions

Size = tuple[int, int]
Given = Sequence[Record] | Faces | tuple[Tensor, Any]


class Image(NamedTuple):
    """One image at every size that a member takes, with what is known of it.

    Attributes:
        views: Size -> pixels, landmarks and masks at that size.
        truth: Attribute -> value; an unknown one is absent.
        label: Its class; None where it is not known.
    """

    views: Mapping[Size, Loaded]
    truth: Mapping[str, int]
    label: int | None


class Source(Protocol):
    """Images of a study.

    Attributes:
        known: Attributes that the data knows.
        keys: Names, in the order of the run.
        stamps: For each image a number that changes when it does.
        identities: For each image the seed of what is random in it, the same wherever it stands.
        regions: Names of the regions that relevance can be told apart by.
        described: How images and regions are made, in words.
    """

    known: tuple[str, ...]
    keys: list[str]
    stamps: list[int]
    identities: list[int]
    regions: tuple[str, ...]
    described: dict[str, str]

    def load(self, index: int) -> Image:
        """One image, by its number in the run."""
        ...

    def masks(self, images: Sequence[Image], size: Size) -> dict[str, Tensor]:
        """Where regions are: (b, H, W) bool by name."""
        ...


def source_of(
    given: Given, sizes: Sequence[Size], preparation: Preparation, regions: "Regions | None", root: str | None
) -> Source:
    """The source of what was given.

    Raises:
        InputError: Something that is none of the three kinds, or that has no image.
    """
    if isinstance(given, Faces):
        return FaceImages(given, sizes, regions)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Tensor):
        return TensorImages(given[0], given[1], sizes)
    records: Any = given
    if not isinstance(given, Sequence) or (len(given) and not isinstance(given[0], Record)):
        raise InputError(
            f"images are records of sightline.data.annotations, rendered faces, or (pixels, labels), not "
            f"{type(given).__name__}"
        )
    if not len(given):
        raise InputError("there are no images")
    return RecordImages(records, sizes, preparation, regions, root)


def numbered(identities: Sequence[Any]) -> list[int]:
    """Places in the order of what they are; equal ones in the order in which they were given."""
    return sorted(range(len(identities)), key=lambda i: identities[i])


class FaceImages:
    """Rendered faces: pixels, truth and masks are exact, at every size."""

    def __init__(self, faces: Faces, sizes: Sequence[Size], regions: "Regions | None") -> None:
        self._at = {size: FaceSource(faces, size, (), regions) for size in sizes}
        first = self._at[sizes[0]]
        self.known, self.places = first.known, numbered(first.sizes)
        self.keys = [first.keys[i] for i in self.places]
        self.stamps = [first.sizes[i] for i in self.places]
        self.identities = self.stamps
        self.regions = tuple(dict.fromkeys(r for name in first.known if (r := first.region(name)) is not None))
        self.described = {"images": "rendered faces", "regions": first.regions}

    def load(self, index: int) -> Image:
        """One face, drawn at every size."""
        views = {size: at.load(self.places[index]) for size, at in self._at.items()}
        return Image(views, next(iter(views.values())).truth, None)

    def masks(self, images: Sequence[Image], size: Size) -> dict[str, Tensor]:
        """The renderer's own masks, unless other regions were given."""
        return self._at[size].masks([one.views[size] for one in images], self.regions)


class RecordImages:
    """Records on disk, brought to every size by a preparation."""

    def __init__(
        self,
        records: Sequence[Record],
        sizes: Sequence[Size],
        preparation: Preparation,
        regions: "Regions | None",
        root: str | None,
    ) -> None:
        self.records, self.sizes, self.preparation = records, tuple(sizes), preparation
        keys, stamps = names_of(records, root)
        self.places = numbered(keys)
        self.keys, self.stamps = [keys[i] for i in self.places], [stamps[i] for i in self.places]
        self.identities = [zlib.crc32(key.encode(errors="surrogateescape")) for key in self.keys]
        self.known = _attributes(records)
        usual = preparation.fit == "align" and preparation.alignment == Alignment()
        yes_or_no = [name for name in self.known if self._binary(name)]
        self._regions = regions or (regions_for(records, self.known, aligned=usual) if yes_or_no else None)
        self.regions = () if self._regions is None else self._regions.names
        told = "none" if self._regions is None else self._regions.described()
        self.described = {"images": preparation.described(), "regions": told}

    def _binary(self, name: str) -> bool:
        return all(record.attributes.get(name, 0) in (0, 1) for record in _first(self.records))

    def load(self, index: int) -> Image:
        """One image.

        Raises:
            InputError: It cannot be read or prepared; the text names it.
        """
        record, place = self.records[self.places[index]], self.places[index]
        truth, views = {k: int(v) for k, v in record.attributes.items()}, {}
        for size in self.sizes:
            sample = self.preparation.load(record, size)
            views[size] = Loaded(sample.pixels, truth, sample.landmarks, {}, place, sample.masks)
        return Image(views, truth, record.label)

    def masks(self, images: Sequence[Image], size: Size) -> dict[str, Tensor]:
        """As the regions tell."""
        return {} if self._regions is None else paint(self._regions, [i.views[size] for i in images], self.regions)


class TensorImages:
    """Pixels that are there already, with labels or with attributes."""

    regions: tuple[str, ...] = ()

    def __init__(self, pixels: Tensor, known: Any, sizes: Sequence[Size]) -> None:
        if pixels.ndim != 4 or not len(pixels):
            raise InputError(f"pixels are (N, C, H, W) in [0, 1] with N of 1 or more, not {tuple(pixels.shape)}")
        named = known if isinstance(known, Mapping) else {} if known is None else {"": known}
        self.truths = {str(name): torch.as_tensor(values) for name, values in named.items()}
        for name, values in self.truths.items():
            if tuple(values.shape) != (len(pixels),):
                raise InputError(
                    f"the truth {name!r} has shape {tuple(values.shape)} for {len(pixels)} images; give one entry each"
                )
        self.pixels, self.sizes = pixels.detach().cpu(), tuple(sizes)
        content = [zlib.crc32(one.contiguous().numpy().tobytes()) for one in self.pixels]
        self.places = numbered(content)
        self.keys = [f"image {i}" for i in self.places]
        self.stamps = self.identities = [content[i] for i in self.places]
        self.known = tuple(name for name in self.truths if name)
        self.described = {
            "images": "tensors, resized (proportions not kept) where sizes differ",
            "regions": "none",
        }

    def load(self, index: int) -> Image:
        """One image at every size."""
        place = self.places[index]
        one = self.pixels[place][None].float()
        here = (one.shape[-2], one.shape[-1])
        truth = {name: int(values[place]) for name, values in self.truths.items() if name}
        views = {}
        for size in self.sizes:
            x = one if size == here else placement(here, size, how="squash").pixels(one)
            views[size] = Loaded(x[0], truth, torch.empty(0, 2), {}, place, {})
        return Image(views, truth, int(self.truths[""][place]) if "" in self.truths else None)

    def masks(self, images: Sequence[Image], size: Size) -> dict[str, Tensor]:
        """None: tensors come without regions."""
        return {}


def _first(records: Sequence[Record], looked: int = 50) -> list[Record]:
    found = []
    for i in range(min(len(records), looked)):
        try:
            found.append(records[i])
        except InputError:  # a broken annotation is a row of its own later
            continue
    return found


def _attributes(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for record in _first(records) for name in record.attributes))

"""What an edit is: a change of an image with a declared intention, and what it gives the engine to do."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.explainers.question import generator_for

Direction = Literal["remove", "insert", "neutral"]
#: How a control is made from a region's edit: other pixels at the `place`; the content of the region carried there
#: (`carry`); or the change of the pixels carried there (`change`).
Moved = Literal["place", "carry", "change"]


class Block(Protocol):
    """A block of B images of a study with A attributes, as edits see it.

    Attributes:
        pixels: (B, 3, H, W) in [0, 1].
        z: (B, A) float64: what the classifier says of the images as they are; the decision is z >= 0.
        truth: (B, A) int8: 1, 0, or -1 where nothing is known.
        landmarks: B tensors (k, 2) in pixels of the input; k = 0 where there are none.
        indices: Numbers of the images in the run.
        places: Their places among the study's records.
        names: The attributes.
        plan: The study: `classifier`, `readout.z`, `records`, `source.load`, `seed`.
    """

    @property
    def pixels(self) -> Tensor: ...  # noqa: D102
    @property
    def z(self) -> Tensor: ...  # noqa: D102
    @property
    def truth(self) -> Tensor: ...  # noqa: D102
    @property
    def landmarks(self) -> Sequence[Tensor]: ...  # noqa: D102
    @property
    def indices(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def places(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def plan(self) -> Any: ...  # noqa: D102

    def masks(self, name: str) -> Tensor | None:
        """(B, H, W) bool: the region of an attribute; None where it has none."""
        ...

    def region(self, name: str) -> str | None:
        """Name of the region of an attribute."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One edit of one image: x' = x with `other` where `mask` is set.

    Attributes:
        image: Its row in the block.
        region: Name of what is changed.
        directions: Attribute -> what the edit means to do to it; only these decisions are read.
        mask: (H, W) bool: which pixels change.
        other: (3, H, W) in [0, 1]: what stands there afterwards.
        moved: How its controls are made.
        plain: (3, H, W): other content for the same pixels, as a further control; None for none.
        base: (3, H, W): the image to start from, where that is not the image itself.
        z_base: (A,) float64: what the classifier says of `base`.
    """

    image: int
    region: str
    directions: Mapping[int, Direction]
    mask: Tensor
    other: Tensor
    moved: Moved = "place"
    plain: Tensor | None = None
    base: Tensor | None = None
    z_base: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an image is not edited for some attributes.

    Attributes:
        image: Its row in the block.
        region: Name of what would be changed; None where the attribute has no region.
        attributes: Columns of the attributes.
        reason: In words.
    """

    image: int
    region: str | None
    attributes: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of images with a declared intention; its fields are its settings.

    Attributes:
        name: What it is called in tables and in the shell.
        summary: One sentence.
        needs: What it needs beside pixels, in words; empty for nothing.
        passes: Passes a region beside those of the controls.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs: ClassVar[str] = ""
    passes: ClassVar[int] = 1

    @property
    def title(self) -> str:
        """What no other edit of a study may be called: its rows are told by it."""
        return self.name

    def bound(self, plan: Any) -> "Edit":
        """The edit made ready for a study.

        Raises:
            InputError: The study lacks what it needs.
        """
        return self

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """What to do to a block, image by image."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Name and settings, as the manifest has them."""
        fields = (f.name for f in dataclasses.fields(self) if f.metadata.get("recorded", True))
        return {"edit": self.name, **{name: getattr(self, name) for name in fields}}


_EDITS: dict[str, type[Edit]] = {}
Class = TypeVar("Class", bound=type[Edit])


def edit(kind: Class) -> Class:
    """Put a class of edits into the registry."""
    _EDITS[kind.name] = kind
    return kind


def everything() -> tuple[type[Edit], ...]:
    """All kinds of edits, by name."""
    return tuple(_EDITS[name] for name in sorted(_EDITS))


def find(name: str) -> type[Edit]:
    """A kind of edit by its name.

    Raises:
        InputError: There is none of this name.
    """
    if name in _EDITS:
        return _EDITS[name]
    near = difflib.get_close_matches(str(name), _EDITS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(sorted(_EDITS))}"
    raise InputError(f"there is no edit {name!r}; {hint}")


def generator(block: Block, image: int, salt: int) -> torch.Generator:
    """Random numbers that depend on the image's content, the study's seed and `salt` alone, not on the block."""
    return generator_for(block.pixels[image], block.plan.seed * 1009 + salt)


def grouped(block: Block) -> dict[str | None, tuple[int, ...]]:
    """Region -> columns of the attributes whose region it is: they share each edit."""
    found: dict[str | None, list[int]] = {}
    for column, name in enumerate(block.names):
        found.setdefault(block.region(name), []).append(column)
    return {region: tuple(columns) for region, columns in found.items()}


def has(block: Block, image: int, attribute: int) -> bool:
    """Whether an image shows an attribute: by its truth; where that is not known, by the decision."""
    truth = int(block.truth[image, attribute])
    return truth == 1 if truth >= 0 else float(block.z[image, attribute]) >= 0


def removing(block: Block, image: int, attributes: Sequence[int]) -> dict[int, Direction]:
    """The intention of hiding a region: it removes what is there, and is neutral where there is nothing."""
    return {a: "remove" if has(block, image, a) else "neutral" for a in attributes}


def by_region(block: Block) -> Iterator[tuple[int, str, tuple[int, ...], Tensor] | Refusal]:
    """(image, region, attributes, mask) for each region of each image, or why there is none."""
    groups = grouped(block)
    for image in range(len(block.pixels)):
        for region, attributes in groups.items():
            masks = block.masks(block.names[attributes[0]])
            if region is None or masks is None:
                yield Refusal(image=image, region=None, attributes=attributes, reason="no region")
            elif not bool(masks[image].any()):
                yield Refusal(image=image, region=region, attributes=attributes, reason="the region is empty here")
            else:
                yield image, region, attributes, masks[image]


def covering(block: Block, others: Tensor) -> Iterator[Case | Refusal]:
    """One case a region of each image: there, another picture is shown, (B, 3, H, W)."""
    for found in by_region(block):
        if isinstance(found, Refusal):
            yield found
            continue
        image, region, attributes, mask = found
        directions = removing(block, image, attributes)
        yield Case(image=image, region=region, directions=directions, mask=mask, other=others[image])

"""Batches of an epoch: images read ahead of use and looked at, or what a cache kept of them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.data._ahead import read_ahead
from sightline.errors import InputError
from sightline.training.attention.cache import Block, Cache
from sightline.training.attention.masking import Features, Image, Looked
from sightline.training.attention.material import Material
from sightline.training.attention.pictures import CENTRE, View, views

CENTRE_AND_FLIP = (CENTRE, View(None, True))


def seed_of(*parts: object) -> int:
    """A seed that depends on all its parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@dataclass
class Batch:
    """Some images of a step.

    Attributes:
        number: Which batch of the epoch.
        positions: Of the images among the material's items; those that could not be read are left out.
        looked: What the frozen classifier says of them; None where no image could be read.
    """

    number: int
    positions: list[int]
    looked: Looked | None


class Source:
    """Where batches come from.

    Args:
        material: The images.
        masker: How they are looked at.
        batch: Images a batch.
        seed: Of the order and the views.
        augment: Whether views are drawn.
        device: Where batches are wanted.
        cache: What was kept; `views_kept` views of each image, one after the other.
        workers: Threads that read ahead.
    """

    def __init__(
        self,
        material: Material,
        masker: Features | Image,
        *,
        batch: int,
        seed: int,
        augment: bool,
        device: torch.device,
        cache: Cache | None = None,
        workers: int = 4,
    ) -> None:
        self.material, self.masker, self.batch, self.seed = material, masker, batch, seed
        self.augment, self.device, self.cache, self.workers = augment, device, cache, workers

    @property
    def kept(self) -> tuple[View, ...]:
        """The views of which a cache keeps features."""
        return CENTRE_AND_FLIP if self.augment else (CENTRE,)

    def steps(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-len(self.material.train) // self.batch)

    def epoch(self, epoch: int, *, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The training batches of an epoch from number `start` on; of each, the share of one of `world` processes."""
        train = self.material.train
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed_of("order", self.seed, epoch)))
        shuffled = [train[i] for i in order.tolist()]
        whole = [shuffled[i : i + self.batch] for i in range(0, len(shuffled), self.batch)]
        mine = [_share(rows, rank, world) for rows in whole]
        seed = seed_of("views", self.seed, epoch)
        crop = self.material.movable and self.cache is None
        drawn = views(len(self.material.items), seed, crop=crop, flip=True) if self.augment else None
        return self._batches(list(enumerate(mine))[start:], drawn)

    def validation(self, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The batches that choose the epoch, as they are (in the centre); every `world`th of them.

        Their order is drawn once: where folders are classes, a batch of neighbours would have one label.
        """
        order = torch.randperm(len(self.material.valid), generator=torch.Generator().manual_seed(0))
        valid = [self.material.valid[i] for i in order.tolist()]
        whole = [valid[i : i + self.batch] for i in range(0, len(valid), self.batch)]
        return self._batches(list(enumerate(whole))[rank::world], None)

    def _batches(self, wanted: list[tuple[int, list[int]]], drawn: Sequence[View] | None) -> Iterator[Batch]:
        if self.cache is not None:
            yield from (self._cached(self.cache, number, rows, drawn) for number, rows in wanted)
            return
        items = [(number, p, drawn[p] if drawn else CENTRE) for number, rows in wanted for p in rows]
        ends = {number: len(rows) for number, rows in wanted}
        pixels: list[Tensor] = []
        positions: list[int] = []
        met = 0
        for (number, position, _), found in read_ahead(
            items, lambda item: self.material.read(item[1], item[2]), workers=self.workers, ready=2 * self.batch
        ):
            met += 1
            if isinstance(found, InputError):
                self.note(position, str(found))
            else:
                pixels.append(found)
                positions.append(position)
            if met == ends[number]:
                looked = self.masker.look(torch.stack(pixels).to(self.device)) if pixels else None
                yield Batch(number, positions, looked)
                pixels, positions, met = [], [], 0

    def _cached(self, cache: Cache, number: int, rows: Sequence[int], drawn: Sequence[View] | None) -> Batch:
        good = [p for p in rows if p not in self.material.failed]
        if not good:
            return Batch(number, [], None)
        many = len(self.kept)
        at = [p * many + int(drawn is not None and drawn[p].flip) for p in good]
        outputs, features = cache.outputs(at, self.device), cache.features(at, self.device)
        return Batch(number, good, self.masker.known(outputs, features, cache.pixels(at, self.device)))

    def note(self, position: int, reason: str) -> None:
        """Remember an image that cannot be read.

        Raises:
            InputError: None can be read.
        """
        name = self.material.name(position)
        self.material.failed[position] = reason.removeprefix(f"{name}: ")
        if len(self.material.failed) == len(self.material.items):
            raise InputError(f"none of {len(self.material.items)} images can be read; the first: {name}: {reason}")

    def blocks(self) -> Iterator[tuple[Sequence[int], Block, Mapping[int, str]]]:
        """All rows of a cache, in order: every kept view of every image, validation's too."""
        many, count = len(self.kept), len(self.material.items)
        items = [(p, v) for p in range(count) for v in range(many)]
        numbers: list[int] = []
        pixels: list[Tensor] = []
        broken: dict[int, str] = {}
        found = read_ahead(
            items, lambda i: self.material.read(i[0], self.kept[i[1]]), workers=self.workers, ready=2 * self.batch
        )
        for place, ((position, _), result) in enumerate(found):
            numbers.append(place)
            if isinstance(result, InputError):
                with suppress(InputError):  # an epoch will say that nothing can be read
                    self.note(position, str(result))
                broken[place] = self.material.failed[position]
            else:
                pixels.append(result)
            if pixels and (len(numbers) >= self.batch or place + 1 == len(items)):
                kept = self._kept(torch.stack(pixels))
                yield numbers, kept, broken
                numbers, pixels, broken = [], [], {}
        if numbers:  # broken ones at the very end
            if len(numbers) == len(items):
                raise InputError(f"none of {len(items)} images can be read; the first: {broken[0]}")
            yield numbers, _none_of(kept), broken

    def _kept(self, pixels: Tensor) -> Block:
        looked = self.masker.look(pixels.to(self.device))
        return looked.outputs, looked.stored, pixels if self.masker.needs_pixels else None


def _none_of(block: Block) -> Block:
    """A block like another one, without rows."""
    outputs, features, pixels = block
    return outputs[:0], [f[:0] for f in features], None if pixels is None else pixels[:0]


def _share(rows: list[int], rank: int, world: int) -> list[int]:
    """A process's share of a batch; never empty, so that all processes step together."""
    return rows if world == 1 else (rows[rank::world] or [rows[rank % len(rows)]])

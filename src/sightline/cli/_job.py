"""The work of `sightline explain`: photos in batches through every method, on disk before they are on record."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightline.cli import _sheets
from sightline.cli._folder import SCORES, Folder, Record, key_of, stamp_of
from sightline.cli._trust import keep, of_image
from sightline.data.images import load_images
from sightline.errors import InputError, ModelError, SightlineError, TargetError

if TYPE_CHECKING:
    from sightline.classifier import Classifier
    from sightline.data.images import Box, How
    from sightline.explainers import Explainer
    from sightline.explanation import Explanation
    from sightline.metrics.trust import Trust
    from sightline.target import AnyTarget

Explanations = dict[str, "Explanation"]
Prediction = tuple[str | None, float | None]


@dataclass(kw_only=True)
class Job:
    """Photos to explain, how, and where to.

    Attributes:
        classifier: What is explained.
        explainers: Method -> explainer.
        target: What every photo is asked.
        how, box: How photos are fitted to the model's input.
        batch: Photos a batch.
        note: The protocol in a line, for the sheets.
        signed: Show evidence against too, for methods with a sign.
        trust: Check every map on its photo.
        seed: Of these checks.
        folder: Where to; set once the settings are known.
        failed: Photos that could not be read or explained, with the reason.
        advance: Called with (photos done, seconds since the start of the work).
        passes: Called with (method, passes done, passes in all) by methods that make many passes a photo.
    """

    classifier: "Classifier"
    explainers: dict[str, "Explainer"]
    target: "AnyTarget"
    how: "How"
    box: "Box | None"
    batch: int
    note: str = ""
    signed: bool = False
    trust: bool = False
    seed: int = 0
    folder: Folder = field(init=False)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    advance: Callable[[int, float], None] | None = None
    passes: Callable[[str, int, int], None] | None = None

    def run(self, photos: Sequence[Path]) -> None:
        """Explain photos; what is finished stays finished, whatever is raised.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
            SightlineError: No photo of the first batch can be explained; its first error.
        """
        self._follow()
        begin, handed, first = time.monotonic(), 0, True
        source = self._images(photos)
        writing: list[tuple[Path, Future[Record]]] = []
        pool = ThreadPoolExecutor(2, thread_name_prefix="sightline-write")
        try:
            for pixels, paths in source:
                pixels = pixels.to(self.classifier.device)
                for part, part_paths, found in self._explained(pixels, paths, strict=first):
                    predictions = predict(self.classifier, part)
                    cards = self._checked(part, found)
                    self._collect(writing)
                    for i, path in enumerate(part_paths):
                        single = {method: _single(e, i) for method, e in found.items()}
                        mine = {method: of_image(c, i) for method, c in cards.items()}
                        task = pool.submit(self._write, path, part[i].cpu(), single, predictions[i], mine)
                        writing.append((path, task))
                if first:  # so that the time of the first batch tells all that a photo costs
                    self._collect(writing)
                first, handed = False, handed + len(paths)
                if self.advance is not None:
                    self.advance(handed + len(source.failures), time.monotonic() - begin)
            self._collect(writing)
            shutil.rmtree(self.folder.path / SCORES, ignore_errors=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._keep(writing)
            self.failed.extend((f.path, f.reason) for f in source.failures)

    def _follow(self) -> None:
        """Let methods that make many passes tell of them, and keep their scores in case they are killed."""
        for name, explainer in self.explainers.items():
            if explainer.settings.get("checkpoint", "") is None:
                explainer.settings["checkpoint"] = str(self.folder.path / SCORES)
            if "progress" in explainer.settings:
                tell = self.passes
                explainer.settings["progress"] = False if tell is None else functools.partial(tell, name)

    def estimates(self, photo: Path) -> list[str]:
        """What a photo costs with the methods that make many passes; nothing if it cannot be read."""
        asked = {name: e for name, e in self.explainers.items() if "progress" in e.settings}
        found = []
        try:
            for pixels, _ in self._images([photo]) if asked else ():
                pixels = pixels.to(self.classifier.device)
                found += [f"{name}: {e.estimate(pixels, self.target)} a photo" for name, e in asked.items()]
        except SightlineError:  # the work itself will say what is wrong
            return []
        return found

    def _images(self, photos: Sequence[Path]) -> Any:
        """Photos in batches of one size, ready for the classifier."""
        size = self.classifier.size
        return load_images(photos, size=size, how=self.how, box=self.box, batch_size=self.batch, on_error="collect")

    def _collect(self, writing: list[tuple[Path, Future[Record]]]) -> None:
        """Wait for the files of photos and put them on record, in order."""
        while writing:
            _, task = writing[0]
            self.folder.append(task.result())
            writing.pop(0)

    def _keep(self, writing: list[tuple[Path, Future[Record]]]) -> None:
        """After an interruption: put on record what was written in full."""
        for _, task in writing:
            if task.done() and not task.cancelled() and task.exception() is None:
                self.folder.append(task.result())
        writing.clear()

    def _explained(
        self, pixels: Tensor, paths: list[Path], *, strict: bool
    ) -> "Iterable[tuple[Tensor, list[Path], Explanations]]":
        """A batch, or its photos one by one when the batch fails: a target may not exist on every photo."""
        try:
            return [(pixels, paths, self._ask(pixels))]
        except (TargetError, ModelError, InputError) as reason:
            if len(paths) == 1 and strict:
                raise
            batch_error = reason
        parts = []
        for i, path in enumerate(paths):
            try:
                parts.append((pixels[i : i + 1], [path], self._ask(pixels[i : i + 1])))
            except (TargetError, ModelError, InputError) as reason:
                self.failed.append((path, str(reason)))
        if not parts and strict:
            raise batch_error
        return parts

    def _ask(self, pixels: Tensor) -> Explanations:
        return {method: explainer(pixels, self.target) for method, explainer in self.explainers.items()}

    def _checked(self, pixels: Tensor, found: Explanations) -> "dict[str, Trust]":
        """The trust cards of each method's maps, if they are asked for."""
        if not self.trust:
            return {}
        from sightline.metrics.trust import trust

        return {
            method: trust(self.classifier, pixels, e, explainer=self.explainers[method], seed=self.seed)
            for method, e in found.items()
        }

    def _write(
        self, path: Path, pixels: Tensor, found: Explanations, predicted: Prediction, cards: "dict[str, Trust]"
    ) -> Record:
        """All files of one photo, then its record; runs in a thread of its own."""
        name = self.folder.name(path)
        record: Record = {
            "key": key_of(path),
            "stamp": stamp_of(path),
            "photo": str(path),
            "name": name,
            "predicted": predicted[0],
            "predicted_probability": predicted[1],
            "sheet": f"sheets/{name}.png",
            "rows": [],
        }
        for method, explanation in found.items():
            where = f"{method}/{name}"
            signed = self.signed and explanation.signed
            explanation.save(self.folder.path / where, pixels=pixels[None], replace=True, signed=signed)
            record["rows"] += _rows(explanation, method, where, signed)
            if method in cards:
                record.setdefault("trust", {})[method] = keep(
                    self.folder.path / where, cards[method], explanation, pixels[None]
                )
        sheet = _sheets.photo_sheet(self.folder.path, pixels, record, list(found), self.note, self.signed)
        _sheets.write(self.folder.path / record["sheet"], sheet)
        return record

    def write_overview(self, photos: Sequence[Path]) -> int:
        """Write the pages of the overview from what is on disk.

        Returns:
            Photos that stand on no page because there would be too many.
        """
        records = [self.folder.records[key] for key in map(key_of, photos) if key in self.folder.records]
        if not records:
            return 0
        rows = max(len(record["rows"]) // len(self.explainers) for record in records)
        step = max(1, _sheets.PAGE // rows)
        shown = records[: step * _sheets.PAGES]
        for old in self.folder.path.glob("overview-*.png"):
            old.unlink()
        pages = [shown[i : i + step] for i in range(0, len(shown), step)]
        for number, page in enumerate(pages, 1):
            source = self._images([Path(record["key"]) for record in page])
            seen = {key_of(path): pixels for batch in source for pixels, path in zip(*batch, strict=True)}
            title = f"page {number} of {len(pages)}"
            sheet = _sheets.overview_page(
                self.folder.path, page, seen, list(self.explainers), title=title, note=self.note, signed=self.signed
            )
            _sheets.write(self.folder.path / f"overview-{number:03d}.png", sheet)
        return len(records) - len(shown)


def _single(explanation: "Explanation", image: int) -> "Explanation":
    """The rows of one image, on the CPU, as an explanation of a batch of one."""
    rows = (explanation.image == image).nonzero().flatten().tolist()
    return _moved(explanation.select(rows))


def _moved(part: "Explanation") -> "Explanation":
    numbers: dict[str, Any] = {n: getattr(part, n).cpu() for n in ("maps", "score", "probability")}
    parts = {name: _moved(inner) for name, inner in part.parts.items()}
    image = torch.zeros(len(part), dtype=torch.long)
    return dataclasses.replace(part, **numbers, image=image, parts=parts)


def _rows(explanation: "Explanation", method: str, where: str, signed: bool) -> list[dict[str, Any]]:
    """The lines of the table for one photo and method, a line a target."""
    numbers = (explanation.score.tolist(), explanation.probability.tolist(), explanation.empty.tolist())
    return [
        {
            "method": method,
            "target": str(target),
            "score": score,
            "probability": probability,
            "empty": empty,
            "signed": signed,
            "maps": f"{where}/maps.npz",
            "row": t,
            "overlay": f"{where}/overlay-{t:04d}.png",
        }
        for t, (target, score, probability, empty) in enumerate(zip(explanation.targets, *numbers, strict=True))
    ]


def predict(classifier: "Classifier", pixels: Tensor) -> list[Prediction]:
    """What the classifier says of each image: a label and its probability, as far as it makes one decision."""
    outputs, labels = classifier(pixels), classifier.labels
    match classifier.decision:
        case "categorical":
            top = outputs.softmax(1).max(1)
            return [(labels[i], p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)]
        case "binary":
            name = labels[0] if labels[0] != "0" else "yes"
            yes = outputs[:, 0].sigmoid().tolist()
            return [(name if p >= 0.5 else f"not {name}", max(p, 1 - p)) for p in yes]
        case "multilabel":
            chosen = [(row >= 0).nonzero().flatten().tolist() for row in outputs]
            return [(", ".join(labels[i] for i in row) or "none", None) for row in chosen]
        case "segmentation":
            share = torch.nn.functional.one_hot(outputs.argmax(1), outputs.shape[1]).float().mean((1, 2))
            top = share.max(1)
            return [(f"mostly {labels[i]}", None) for i in top.indices.tolist()]
        case _:
            return [(None, None)] * len(pixels)

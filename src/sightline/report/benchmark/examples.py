"""Best and worst images of each method, with their maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from sightline import picture
from sightline.errors import StorageError
from sightline.report.benchmark import wording
from sightline.report.benchmark.results import Judge, Results
from sightline.report.page import Choice, Figure, Figures, Text

if TYPE_CHECKING:
    import polars

_ENDS = 3
_SIDE = 168  # pixels: pictures are small, and there are many
_QUALITY = 78


class Examples:
    """Makes the pictures; each file is read once.

    Args:
        results: The run.
        metric: What best and worst are by.
    """

    def __init__(self, results: Results, metric: Judge) -> None:
        self._results, self._metric = results, metric
        self._kept: dict[Path, str] = {}

    def of_model(self, model: str) -> Choice | Text:
        """For each method its best and its worst images; a text where the run kept no pictures."""
        import polars as pl

        rows = self._results.rows.filter(
            (pl.col("model") == model)
            & (pl.col("metric") == self._metric.label)
            & (pl.col("status") == "ok")
            & pl.col("value").is_finite()
        )
        options = []
        for method in self._results.methods:
            blocks = self._of_method(rows.filter(pl.col("method") == method), model, method)
            if blocks:
                options.append((method, blocks))
        if options:
            return Choice(label="method", options=options)
        return Text(f"The run kept no pictures of `{model}` with a value of {self._metric.label}.")

    def _of_method(self, rows: "polars.DataFrame", model: str, method: str) -> list[Figures]:
        kept = [i for i in rows["image_index"].unique() if self._there(i, model, method)]
        shown = rows.filter(rows["image_index"].is_in(kept))
        # A picture shows one map: of several targets of an image, the first.
        shown = shown.unique("image_index", keep="first", maintain_order=True)
        shown = shown.sort("value", "image", descending=[self._metric.better > 0, False])
        found = list(shown.iter_rows(named=True))
        ends = min(_ENDS, len(found) // 2) or len(found)
        place = f"of {wording.many(len(found), 'image')} with pictures, out of {len(rows):,} rows"
        titles = ("Best", "Worst") if len(found) > 1 else ("The only one",)
        parts = (found[:ends], found[::-1][:ends]) if len(found) > 1 else (found,)
        return [
            Figures(
                items=[figure for row in part for figure in self._pair(row, model, method)],
                title=f"{title} by {self._metric.title}, {method}",
                text=place[0].upper() + place[1:] + ".",
                group=2,
                width=128,
            )
            for title, part in zip(titles, parts, strict=True)
            if part
        ]

    def _there(self, index: int, model: str, method: str) -> bool:
        return self._results.photograph(index).is_file() and self._results.map(index, model, method).is_file()

    def _pair(self, row: dict[str, Any], model: str, method: str) -> Sequence[Figure]:
        index, name = row["image_index"], Path(row["image"]).name
        score = f"{self._metric.label} {row['value']:.3f}"
        truth = f", labelled {row['label']}" if row["label"] else ""
        return (
            Figure(
                picture=self._small(self._results.photograph(index)),
                alt=f"Image {row['image']}{truth}.",
                title=name,
                caption=row["label"] or "",
            ),
            Figure(
                picture=self._small(self._results.map(index, model, method)),
                alt=f"Map of {method} for {row['target']} on {row['image']}: {score}.",
                title=score,
                caption=f"target {row['target']}",
            ),
        )

    def _small(self, path: Path) -> str:
        """A picture of the run as a data URI."""
        if path not in self._kept:
            try:
                image = Image.open(path).convert("RGB")
            except OSError as reason:
                raise StorageError(
                    f"{path} cannot be read ({reason}); remove it, and the page is made without"
                ) from reason
            image.thumbnail((_SIDE, _SIDE))
            self._kept[path] = picture.to_data_uri(image, format="webp", quality=_QUALITY)
        return self._kept[path]

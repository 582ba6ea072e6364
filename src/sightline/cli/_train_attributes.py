"""`sightline train attributes`: a classifier of attributes, balanced or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli import _options as options

if TYPE_CHECKING:
    from rich.table import Table

TRAINING_PANEL, DATA_PANEL = "The training", "The data"

EPILOG = """What lies in the output folder:

classifier.safetensors (the best epoch's classifier: `--model FOLDER` opens it anywhere), manifest.json (what was asked), finished.jsonl (one line an epoch), checkpoint.safetensors (where it stands), report.html (curves).

The same command again goes on where it was stopped. Exit codes: 0 all is well, 2 an error, 130 interrupted.

Losses: bce leaves data as unbalanced as they are; moon weighs the frequent answer down; inverse-frequency (--set cap=20), effective-number and focal weigh otherwise; logit-adjusted shifts what is frequent. Weighted and unweighted loss on validation data are told beside each other.

Examples:

sightline train attributes celeba/ --backbone timm:resnet18 --option output_stride=16 --size 112 --fit align --loss moon --out runs/balanced

sightline train attributes faces.csv --attribute Smiling --attribute Eyeglasses --weights resnet18.pth --set epochs=10 --out runs/two

sightline train attributes faces:4000 --backbone facenet --size 64 --out runs/drawn

sightline report runs/balanced
"""  # noqa: E501 - the shell wraps it


def attributes(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A CelebA folder, a table (.csv, .tsv, .parquet) with a column 'path' and columns of 0 and 1, or "
            "faces:COUNT (rendered here).",
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "-b",
            help="torchvision:NAME, timm:NAME, or facenet (small, for rendered faces). Example: timm:resnet18",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = "torchvision:resnet18",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An argument of the library's builder; repeat for several. Example: --option output_stride=16 (a "
            "finer last map of a timm ResNet)",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights to begin with; the head may have other outputs. From scratch unless given. "
            "Example: --weights resnet18.pth",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="N|HxW",
            help="The input in pixels. Example: --size 112",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = "224",
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="How many of them. Example: --devices 2", rich_help_panel=options.MODEL_PANEL),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="An attribute to learn; repeat for several; all unless given. Example: --attribute Smiling",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="What chooses the epoch; by default CelebA's own part, or a tenth. Example: --validation dev.csv",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    image_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What each image counts: a table with the columns 'path' and 'weight'. Example: --image-weights w.csv",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    fit: Annotated[
        str,
        typer.Option(
            help="How an image becomes the input: crop, squash, pad, or align (by the landmarks of faces). "
            "Example: --fit align",
            rich_help_panel=DATA_PANEL,
        ),
    ] = "crop",
    box: options.Box = None,
    loss: Annotated[
        str,
        typer.Option(
            help="bce, moon, moon-euclidean, inverse-frequency, effective-number, focal or logit-adjusted. "
            "Example: --loss moon",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "bce",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SETTING=VALUE",
            help="A setting of the recipe; repeat for several. Example: --set epochs=30 --set precision=bf16-mixed "
            "--set patience=None",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where decoded images stay, for several trainings. Example: --cache images/",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="The run's folder, new or of an earlier run. Example: --out runs/balanced",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = Path("run"),
    overwrite: options.Overwrite = False,
) -> None:
    """Train a classifier of yes-or-no attributes on images, from scratch or from weights.

    What it costs is told first; it stops early, at what serves validation data best.
    """
    import torch

    from sightline.cli._train import changes_of

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    settings: dict[str, Any] = {"backbone": backbone, "options": changes_of(option or []), "weights": weights}
    settings |= {"size": options.sides(size), "mean": options.numbers(mean), "std": options.numbers(std)}
    settings |= {"device": chosen, "devices": devices, "validation": validation, "cache": cache}
    settings |= {"attributes": attribute or None, "out": out, "overwrite": overwrite, "loss": loss}
    work(data, (fit, options.numbers(box)), image_weights, {**settings, **changes_of(set_ or [])})


def work(
    data: str, how: tuple[str, tuple[float, ...] | None], image_weights: Path | None, settings: Mapping[str, Any]
) -> None:
    """Train, and write the report."""
    from sightline.cli._options import console
    from sightline.data.alignment import Preparation
    from sightline.report.attributes import Report
    from sightline.training import fit_attributes

    note = console(stderr=True)
    given: Any = {"fit": how[0], "box": how[1]}
    found = fit_attributes(
        data,
        preparation=Preparation(**given),
        image_weights=None if image_weights is None else weights_of(data, image_weights),
        announce=lambda line: note.print(line, markup=False),
        told=lambda row: note.print(_line(row), markup=False),
        **settings,
    )
    page = Report.of(found.out).write()
    console().print(_table(found.about))
    console().print(f"The classifier: {found.path}", soft_wrap=True, markup=False)
    console().print(f"The page: {page.resolve()}", soft_wrap=True, markup=False)


def weights_of(data: str, table: Path) -> Any:
    """Weights of the images to train on, in their order, from a table.

    Raises:
        InputError: No columns 'path' and 'weight', or an image without a weight; the text names it.
    """
    import polars
    import torch

    from sightline.errors import InputError
    from sightline.training.attributes.data import gathered

    suffix = table.suffix.lower()
    if suffix not in (".csv", ".parquet") or not table.is_file():
        raise InputError(f"{table}: must be a table (.csv or .parquet) with the columns 'path' and 'weight'")
    frame = polars.read_csv(table) if suffix == ".csv" else polars.read_parquet(table)
    if not {"path", "weight"} <= set(frame.columns):
        raise InputError(f"{table}: has the columns {', '.join(frame.columns)}; it needs 'path' and 'weight'")
    known = {str(path): float(weight) for path, weight in frame.select("path", "weight").iter_rows()}
    records = gathered(data, None, attributes=None, size=(8, 8), share=0.0, seed=0)[0].records
    if not records:
        raise InputError("--image-weights goes with images from files")
    names = [next((n for n in (str(r.path), r.path.name) if n in known), None) for r in records]
    if None in names:
        raise InputError(f"{table}: has no weight for {records[names.index(None)].path}")
    return torch.tensor([known[name] for name in names if name is not None], dtype=torch.float64)


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"epoch {row['epoch']}: loss {row['train_weighted']:.4f}; validation {row['valid_weighted']:.4f} (unweighted "
        f"{row['valid_unweighted']:.4f}), balanced error {row['valid_balanced_error']:.3f} ({row['seconds']:.1f} s)"
    )


def _table(about: Mapping[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    training = about["training"]
    title = f"epoch {training['epoch']} on the images that choose it, rarest answer first"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attribute")
    for heading in ("yes in training", "weight of yes", "of no", "misses", "false alarms", "balanced error"):
        table.add_column(heading, justify="right")
    rates = about["training_rates"]
    for name in sorted(rates, key=lambda n: min(rates[n] or 0.0, 1 - (rates[n] or 0.0))):
        row, (no, yes) = training["validation"][name], about["answer_weights"][name]
        cells = [_share(rates[name]), f"{yes:.3g}", f"{no:.3g}"]
        table.add_row(name, *cells, *(_share(row[key]) for key in ("fnr", "fpr", "balanced_error")))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


__all__: Sequence[str] = ("EPILOG", "attributes")

"""`sightline train`: what is trained beside a classifier."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import _options as options
from sightline.cli import _train_attributes as of_attributes

train = typer.Typer(
    no_args_is_help=True,
    help="Train a classifier of attributes, or an attention that explains a classifier.",
)

TRAINING_PANEL = "The training"

EPILOG = """What lies in the output folder:

attention.safetensors (the best epoch's attention: --set METHOD.weights=FILE for `explain` and `bench`), manifest.json (what was asked), finished.jsonl (one line an epoch), checkpoint.safetensors (where it stands), report.html (curves).

The same command again goes on where it was stopped. Exit codes: 0 all is well, 2 an error, 130 interrupted.

Images that you will evaluate on must not be trained on: --exclude leaves out every image with the same content.

Examples:

sightline train attention photos/ -m torchvision:resnet50 --weights resnet50.pth --out runs/l-cam

sightline train attention photos/ -m torchvision:resnet50 --weights resnet50.pth --method tame --recipe tame-resnet --set epochs=8 --exclude val/ --out runs/tame

sightline explain val/cat.jpg -m torchvision:resnet50 --weights resnet50.pth --method l-cam-fm --set l-cam-fm.weights=runs/l-cam/attention.safetensors --out maps
"""  # noqa: E501 - the shell wraps it


@train.callback()
def _group() -> None:
    """Train a classifier of attributes, or an attention that explains a classifier."""


train.command(epilog=of_attributes.EPILOG)(of_attributes.attributes)


@train.command(epilog=EPILOG)
def attention(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHOTO]...", help="Images to train on: files, folders, or quoted patterns."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images with labels in a table (.csv, .tsv, .parquet) with a column 'path'. Example: --table a.csv",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images with labels: a folder with a folder for each class, in the order of the outputs. "
            "Example: --classes train/ --set targets=label",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    model: options.ModelAsExplained = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    decision: options.Decision = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    device: options.Device = "auto",
    auxiliary: Annotated[
        str | None,
        typer.Option(
            help="For p-tame: the network whose features are read, named as --model is. Example: torchvision:resnet18",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    auxiliary_weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Its weights. Example: resnet18.pth", rich_help_panel=options.MODEL_PANEL),
    ] = None,
    fit: options.Fit = "crop",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO",
            help="Images, or folders, that will be evaluated on; repeat for several. Example: --exclude val/",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO",
            help="Images that choose the epoch, in place of a share of those to train on. Example: --validation dev/",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="l-cam-fm, l-cam-img, tame, t-tame, p-tame, or constant (the control). Example: --method l-cam-img",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "l-cam-fm",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer, as `sightline layers MODEL` lists them; repeat for several, shallow first; those of the "
            "papers unless given. Example: --layer layer4",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="A published recipe; 'paper' is the method's own. Example: --recipe paper-vgg",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "paper",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SETTING=VALUE",
            help="A setting of the recipe; repeat for several. Example: --set epochs=3 --set l1=0 --set balance=auto",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    directions: Annotated[
        str | None,
        typer.Option(
            help="For yes-or-no outputs: two (a map for each side; the default) or signed. Example: --directions two",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    cache: Annotated[
        str,
        typer.Option(
            help="Keep features until the end: on, off, or a folder in which they stay. Example: --cache off",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "on",
    cache_limit: Annotated[
        float,
        typer.Option(
            metavar="GIB", min=0.0, help="The most they may take. Example: 20", rich_help_panel=TRAINING_PANEL
        ),
    ] = 8.0,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="How many GPUs (or CPU processes). Example: 2", rich_help_panel=TRAINING_PANEL),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="The run's folder, new or of an earlier run. Example: --out runs/l-cam",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = Path("run"),
    overwrite: options.Overwrite = False,
) -> None:
    """Train an attention that explains a frozen classifier in one forward pass: L-CAM, TAME, T-TAME, P-TAME.

    What it costs is told first. Without labels it learns to explain the decisions that the classifier makes.
    """
    from sightline.cli import _train

    named = {"weights": weights, "labels": labels, "decision": decision, "mean": mean, "std": std, "size": size}
    _train.work(
        model,
        {**named, "device": device},
        _train.data_of(photos, table, classes),
        out,
        helper=(auxiliary, {"weights": auxiliary_weights, "device": device}),
        exclude=exclude or [],
        validation=validation,
        fit=fit,
        method=method,
        layer=layer,
        recipe=recipe,
        texts=set_ or [],
        directions=directions,
        cache=cache,
        cache_limit=cache_limit,
        devices=devices,
        overwrite=overwrite,
    )

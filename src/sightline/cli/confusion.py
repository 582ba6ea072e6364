"""`sightline confusion`: why a classifier takes one class for another, on labelled images, onto the disk."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import _options as options

EPILOG = """What lies in the output folder:

manifest.json (what was asked, and the limits of the kinds), rows/*.parquet (one row an image with all figures), thumbs/ (small pictures). `sightline report DIR` makes a page of it, `--export errors.csv` a table.

The same command again goes on where it was stopped. Exit codes: 0 all is well, 1 some images failed, 2 an error, 130 interrupted.

Examples:

sightline confusion val/ -m torchvision:resnet50 --weights resnet50.pth --labels classes.txt --out runs/why

sightline confusion --table val.csv -m python:net.py:build --method layer-cam --layer layer4 --out runs/why

sightline confusion val/ --wnids classes.csv --boxes xml/ -m torchvision:vgg16 --weights vgg16.pth --out runs/why
"""  # noqa: E501 - the shell wraps it


def confusion(
    photos: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A folder with a folder for each class, named like the labels."),
    ] = None,
    model: options.ModelAsExplained = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images in a table instead: .csv, .tsv or .parquet with the columns 'path', 'label' and, for the true "
            "object, 'boxes' or 'mask'. Example: --table val.csv",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    wnids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="FOLDER is laid out like ImageNet, classes by WordNet id: this file has the ids in the order of the "
            "outputs. Example: --wnids classes.csv",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="ImageNet's XML files with the boxes of the true objects. Example: --boxes xml/",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    fit: options.Fit = "crop",
    limit: options.Limit = None,
    batch: options.Batch = 32,
    method: Annotated[
        str,
        typer.Option(
            help="A method, as `sightline methods` lists them. Example: --method layer-cam",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = "grad-cam",
    layer: options.Layers = None,
    set_: options.Settings = None,
    keep: Annotated[
        float,
        typer.Option(
            help="Share of hottest pixels whose overlap is taken. Example: --keep 0.15",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = 0.15,
    mask: Annotated[
        float,
        typer.Option(
            help="Share of hottest pixels that masking keeps or takes out. Example: --mask 0.35",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = 0.35,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="NAME=VALUE",
            help="A limit of the kinds: coincide, beyond, part, cosine, deviations, both_ways or lift. They may be "
            "changed later, and nothing is computed again. Example: --threshold coincide=0.7",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    seed: options.Seed = 0,
    out: options.Out = Path("confusion"),
    overwrite: options.Overwrite = False,
) -> None:
    """Explain the misclassified images by the maps of the true and the predicted class, and sort the confusions.

    Kinds: near-identical classes, another name for the same place, several objects, context, unclear.
    """
    from sightline.cli import _confusion

    classifier = options.load_classifier(
        _confusion.named(model),
        weights=weights,
        labels=labels,
        mean=mean,
        std=std,
        size=size,
        precision=precision,
        device=device,
        decision="categorical",
    )
    failed = _confusion.work(
        _confusion.images_of(classifier, photos, table, wnids, boxes, limit),
        classifier,
        out,
        name=_confusion.short(_confusion.named(model)),
        method=method,
        settings=_confusion.settings_of(set_ or [], method),
        layer=layer or None,
        keep=keep,
        mask=mask,
        thresholds=_confusion.limits_of(limits or []),
        seed=seed,
        batch=batch,
        fit=fit,
        overwrite=overwrite,
    )
    if failed:
        raise typer.Exit(1)

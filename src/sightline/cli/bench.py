"""`sightline bench`: methods judged by metrics on many images, onto the disk."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import _options as options

EPILOG = """What lies in the output folder:

manifest.json (what was asked, and the protocol), rows/*.parquet (one row an image, target, method and metric), curves/*.parquet, thumbs/ (small pictures). `sightline report DIR` makes a page of it.

The same command again goes on where it was stopped; with more photos or more methods it does only what is new. Exit codes: 0 all is well, 1 some rows are errors, 2 an error, 130 interrupted.

A plan in TOML names several models, and data with boxes and masks:

out = "runs/first"
methods = ["grad-cam", { name = "rise", masks = 2000 }]
metrics = ["average-drop", { name = "insertion", steps = 50 }, "energy-pointing-game"]
\\[models.resnet50]
model = "torchvision:resnet50"
weights = "resnet50.pth"
\\[data]
format = "imagenet"
images = "val/"
boxes = "xml/"
classes = "classes.csv"

Examples:

sightline bench photos/ -m torchvision:resnet50 --weights resnet50.pth --method grad-cam --method rise --set rise.masks=2000 --metric insertion --metric average-drop --out runs/first

sightline bench --plan first.toml

sightline bench val/ -m torchvision:resnet50 --weights resnet50.pth --protocol lcam --method l-cam-fm --set l-cam-fm.weights=attention.safetensors --out runs/lcam
"""  # noqa: E501 - the shell wraps it


def bench(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHOTO]...", help="Image files, folders (with all below them), or quoted patterns."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A plan in TOML instead of the options below. Example: --plan first.toml"),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images with labels, boxes or masks in a table: .csv, .tsv or .parquet with a column 'path'. "
            "Example: --table val.csv",
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
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    fit: options.Fit = "crop",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take N images: the first ones, or of folders in a folder one of each in turn. Example: --limit 100",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(min=2, help="Images a block. Example: --batch 4", rich_help_panel=options.IMAGE_PANEL),
    ] = 8,
    method: options.Methods = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A metric, as `sightline metrics` lists them; repeat for several. Example: --metric insertion",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    target: options.Targets = None,
    layer: options.Layers = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="A preset that fills in methods and metrics; those that are named are added. lcam: average drop and "
            "increase in confidence at 100, 50 and 15 % of Grad-CAM, Grad-CAM++, Score-CAM, RISE, SIDU, SISE and "
            "Ada-SISE, as in the L-CAM papers, with their table as Markdown and LaTeX. Example: --protocol lcam",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME.SETTING=VALUE",
            help="A setting of a method or a metric. Example: --set insertion.steps=50",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            help="For what draws random numbers; repeat to do all of it for several. Example: --seed 0 --seed 1",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run's folder, new or of an earlier run; 'run' unless given. Example: --out runs/first",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Judge methods by metrics on many images: a table with controls and intervals that survives a kill.

    Rows are written as they come. What fails on one image is a row with its error.
    """
    from sightline.cli import _bench

    typed = {"PHOTO": photos, "--table": table, "--model": model, "--method": method, "--metric": metric}
    typed["--protocol"] = protocol
    if plan is not None:
        given = [name for name, value in typed.items() if value]
        if given:
            raise typer.BadParameter(f"{given[0]} stands in the plan; leave it or --plan away")
        checked, folder, protocol = _bench.from_file(plan, limit)
    else:
        named = {"weights": weights, "labels": labels, "decision": decision, "mean": mean, "std": std, "size": size}
        data: dict[str, Any] = {"format": "manifest", "table": table} if table else {"images": photos}
        checked, folder = _bench.from_options(
            model,
            {**named, "precision": precision, "device": device},
            {**data, "limit": limit},
            methods=method,
            metrics=metric,
            texts=set_ or [],
            targets=target or [],
            layers=layer or [],
            seeds=seed or [0],
            batch=batch,
            fit=fit,
            protocol=protocol,
        )
    if _bench.work(checked, out or folder or Path("run"), overwrite=overwrite, protocol=protocol):
        raise typer.Exit(1)

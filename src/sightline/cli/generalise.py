"""`sightline generalise`: does what is relevant to one model of a family carry over to another?"""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import _options as options

EPILOG = """FAMILY.toml names models with the factors they differ in, and images:

name = "faces"
out = "runs/faces"
methods = [{ name = "lrp", composite = "epsilon-plus" }, { name = "lrp", composite = "epsilon" }]
levels = [1, 2, 5, 10, 20, 30, 50, 75]
fills = ["dataset-mean", "blur"]
\\[models.imagenet-male-0]
model = "python:nets.py:mobilenet"
weights = "imagenet-male-0.safetensors"
labels = ["Male"]
decision = "binary"
target = "Male"
factors = { pretraining = "imagenet", task = "Male", seed = "0" }
\\[models.scratch-male-0]
model = "python:nets.py:mobilenet"
weights = "scratch-male-0.safetensors"
labels = ["Male"]
decision = "binary"
target = "Male"
factors = { pretraining = "scratch", task = "Male", seed = "0" }
\\[data]
format = "celeba"
root = "celeba/"
part = "test"
limit = 400

Two models or more; the more of each kind (several seeds, say), the more can be told. Without data of your own, \\[data] with format = "faces" and count = 200 renders faces. target is as in `sightline explain`; truth = "Male" names the attribute that is right where it is called otherwise.

What lies in the output folder:

report.html (whether relevance carries over, in sentences; opens offline), manifest.json (what was asked, and the protocol), decisions/, masked/, similarity/, validity/, parts/ (tidy tables), kept/ (all maps), thumbs/. `sightline report DIR --export index.csv` writes a table.

The cost is told before the work. The same command again goes on where it was stopped; other settings need another folder, or --overwrite.

Exit codes: 0 all is well, 1 some images failed, 2 an error, 130 interrupted.

Examples:

sightline generalise faces.toml

sightline generalise faces.toml --limit 32 --levels 5,20,50 --out runs/try

sightline generalise faces.toml --method lrp --set lrp.composite=epsilon --mode keep --mode remove --fill blur --out runs/epsilon
"""  # noqa: E501 - the shell wraps it


def generalise(
    family: Annotated[
        Path, typer.Argument(metavar="FAMILY.toml", help="Models with factors, images and settings; see below.")
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Take N images, or what the file says if that is fewer. Example: --limit 100",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method, as `sightline methods` lists them; repeat for several; those of the file unless given, "
            "else lrp with epsilon-plus. Example: --method lrp --method input-x-gradient",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    set_: options.Settings = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="Q,Q,...",
            help="Percent of the pixels that are kept or removed, rising; those of the file unless given, else "
            "1,2,5,10,20,30,50,75. Example: --levels 5,20,50",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(
            help="What stands where pixels are taken away: dataset-mean (unless given), image-mean, grey, blur, black; "
            "repeat for several. Example: --fill dataset-mean --fill blur",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="keep the top pixels (unless given), or remove them; repeat for both. "
            "Example: --mode keep --mode remove",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run's folder, new or of an earlier run; as the file says, else 'generalise'. "
            "Example: --out runs/a",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Mask images by the relevance of one model and show them to another: does what is relevant carry over?

    Every pair of models, with controls and intervals; what that depends on; whether the maps can be trusted to say so.
    """
    from sightline.cli import _generalise

    plan, folder = _generalise.plan_from(
        family, limit=limit, methods=method, texts=set_ or [], levels=levels, fills=fill, modes=mode
    )
    if _generalise.work(plan, out or folder or Path("generalise"), overwrite=overwrite):
        raise typer.Exit(1)

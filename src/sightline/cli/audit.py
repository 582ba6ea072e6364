"""`sightline audit`: what the yes-or-no decisions of a classifier rest on, onto the disk, with a report."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import _options as options

_EPILOG = """DATA is one of:

a folder of CelebA (list_attr_celeba.txt, img_align_celeba/, and landmarks and partition where they are there);

a table, .csv, .tsv or .parquet: a column 'path', columns of 1 and 0 (or 1 and -1) for the attributes, and optionally group columns, landmarks (lefteye_x, lefteye_y, ...) and masks (mask_<region>);

faces:N, N rendered faces, whose truth is known exactly: to try it out, without any data.

What lies in the output folder:

report.html (findings in sentences, with pictures; opens offline), manifest.json (what was asked, and the protocol), rows/, maps/, edits/ (tidy tables), thumbs/ (small pictures). `sightline report DIR --export errors.csv` writes a table. The same command again goes on where it was stopped.

Conditions, for continuous integration: a figure's name with an attribute, such as FNR(Bald), balanced_error(*) (any attribute), balanced_error(Eyeglasses, Male=no) (a group), low(FNR(Bald)) (an end of its interval), empty_rate(Bald, side=no, method=grad-cam), share_common(Bald, side=majority), disparity(Smiling, by=Male), difference(Bald, edit=occlude, direction=remove), findings(); compared with a number; joined by and, or. What is not defined is an error and never passes.

Exit codes: 0 all is well, 1 some images failed, 2 an error, 3 a condition of --fail-if holds, 130 interrupted.

Examples:

sightline audit faces:600 -m faces:unbalanced --group Smiling --edit occlude --out runs/try

sightline audit celeba/ -m runs/attributes/unbalanced --part test --group Male --edit occlude --out runs/unbalanced

sightline audit celeba/ -m runs/attributes/unbalanced --against runs/attributes/balanced --out runs/both

sightline audit celeba/ -m python:net.py:build --attribute Male --positive male --negative female --box 0.2,0.3,0.8,0.8 --group Young --out runs/gender

sightline audit faces.csv -m runs/attributes/mine --fail-if "balanced_error(Eyeglasses) > 0.1" --fail-if "findings(severity=2) > 0" --json audit.json --out runs/check
"""  # noqa: E501 - the shell wraps it
EPILOG = _EPILOG

DATA_PANEL, CHECK_PANEL = "The data", "The verdict"


def audit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A CelebA folder, a table of images, or faces:N; see below.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="As for `sightline explain`, or the folder that `sightline train attributes` wrote. "
            "Example: --model faces:unbalanced",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ],
    weights: options.Weights = None,
    labels: options.Labels = None,
    decision: options.Decision = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL_OR_RUN",
            help="A second model, audited on the same images and compared; or the folder of an earlier audit of them. "
            "Example: --against runs/attributes/balanced",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    against_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the second model. Example: --against-weights fixed.pth",
            rich_help_panel=options.MODEL_PANEL,
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Of CelebA: train, valid or test; test unless given, where a partition is told. Example: --part valid",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An attribute to audit, repeat for several; all that data and labels share unless given. "
            "Example: --attribute Eyeglasses --attribute Bald",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="For a classifier of categories and one --attribute: the output that says yes. "
            "Example: --attribute Male --positive male --negative female",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="The output that says no. Example: as above", rich_help_panel=DATA_PANEL),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An attribute or a column by which errors are told apart; repeat for several and their intersections. "
            "Example: --group Male --group Young",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE",
            help="Of rendered faces: how many have an attribute; as in CelebA unless given. Example: --rate Bald=0.5",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Where each attribute is: grid (rectangles of aligned faces), face-grid (the same, following the "
            "landmarks), landmarks (boxes from landmarks), exact (masks that come with the images), or a .toml "
            "file. What fits the data unless given. Example: --regions landmarks",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How an image becomes the input: align (by landmarks), crop, squash or pad; as the network was "
            "trained where its file says so, else crop. Example: --fit align",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    box: options.Box = None,
    limit: options.Limit = None,
    batch: options.Batch = 64,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method, as `sightline methods` lists them; repeat for several; grad-cam, hires-cam and grad-cam++ "
            "unless given. Example: --method hires-cam --method lrp",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]LAYER",
            help="A layer, as `sightline layers MODEL` lists them; repeat for several. Unless given, the last one with "
            "a map, after and before its ReLU. Example: --layer after=layer4",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    set_: options.Settings = None,
    edit: Annotated[
        list[str] | None,
        typer.Option(
            help="An experiment on the images, repeat for several: occlude, blur, reveal, swap, hottest, sweep, "
            "or of rendered faces counterfactual. Each costs some forward passes a region. Example: --edit occlude",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = None,
    min_group: Annotated[
        int,
        typer.Option(
            min=1,
            help="Images of either truth that a group needs to be ranked. Example: --min-group 50",
            rich_help_panel=options.METHODS_PANEL,
        ),
    ] = 20,
    seed: options.Seed = 0,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 3 if it holds; repeat for several. Example: --fail-if 'balanced_error(Eyeglasses) > 0.1'",
            rich_help_panel=CHECK_PANEL,
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write findings, tables and conditions for other programs. Example: --json audit.json",
            rich_help_panel=CHECK_PANEL,
        ),
    ] = None,
    out: options.Out = Path("audit"),
    overwrite: options.Overwrite = False,
) -> None:
    """Audit a classifier of yes-or-no attributes: its errors on both sides, where the evidence lies, what is bias.

    Findings are told in sentences, only where they are both large and more than chance.
    """
    from sightline.cli import _audit, _audit_data

    _audit.check(fail_if or [], json)
    given = {"labels": labels, "decision": decision, "mean": mean, "std": std, "size": size}
    given |= {"precision": precision, "device": device}
    classifier = options.load_classifier(model, weights=weights, **given)
    asked = _audit_data.Asked(
        data=data,
        part=part,
        attributes=tuple(attribute or ()),
        positive=positive,
        negative=negative,
        groups=tuple(group or ()),
        rates=tuple(rate or ()),
        regions=regions,
        fit=fit,
        box=box,
        limit=limit,
        seed=seed,
        settings={
            "methods": tuple(method) if method else None,
            "layers": _audit.layers_of(layer or []),
            "texts": tuple(set_ or ()),
            "edits": tuple(edit or ()),
            "min_group": min_group,
            "batch": batch,
        },
    )
    second = None
    if against is not None and not _audit.is_run(against):
        second = options.load_classifier(against, weights=against_weights, **given)
    elif against_weights is not None:
        raise typer.BadParameter("--against-weights belongs to a model that is named by --against")
    found, failed = _audit.work(asked, classifier, model, out, overwrite=overwrite)
    if against is not None:
        failed |= _audit.compare(asked, second, against, out, overwrite=overwrite)
    if code := _audit.conclude(found, fail_if or [], json, failed=failed):
        raise typer.Exit(code)

"""Options that several commands share: which model, with which weights, for which images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.classifier import Classifier

MODEL_PANEL, IMAGE_PANEL, METHODS_PANEL, OUTPUT_PANEL = "The model", "The images", "The question", "The output"

_MODEL = (
    "What is explained: torchvision:NAME, timm:NAME, hf:FOLDER_OR_NAME, python:FILE.py:FUNCTION (a function of yours "
    "that returns the model), or faces:balanced (shipped). Example: torchvision:resnet50"
)


def numbers(text: str | None) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` as numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} must be numbers with commas between them, such as 0.5,0.5,0.5") from None


def sides(text: str | None) -> int | tuple[int, int] | None:
    """`224` or `224x192` (height x width) as pixels."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} must be a side in pixels, such as 224, or HEIGHTxWIDTH, such as 192x256")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


Model = Annotated[str, typer.Option("--model", "-m", help=_MODEL, rich_help_panel=MODEL_PANEL)]
ModelAsExplained = Annotated[
    str | None,
    typer.Option("--model", "-m", help="As for `sightline explain`.", rich_help_panel=MODEL_PANEL),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The model's weights: .safetensors, or a state dict as torch.save writes it; 'random' if that is meant. "
        "Example: --weights resnet50.pth",
        rich_help_panel=MODEL_PANEL,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Names of the outputs: one a line, JSON, or CSV with a column 'name'. Example: --labels classes.txt",
        rich_help_panel=MODEL_PANEL,
    ),
]
Decision = Annotated[
    str | None,
    typer.Option(
        help="What the outputs mean: categorical, binary, multilabel, segmentation or embedding; inferred where it can "
        "be. Example: --decision multilabel",
        rich_help_panel=MODEL_PANEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Subtracted from pixels in [0, 1]; known for torchvision, timm and most hf models. "
        "Example: --mean 0.485,0.456,0.406",
        rich_help_panel=MODEL_PANEL,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Divides pixels after that. Example: --std 0.229,0.224,0.225",
        rich_help_panel=MODEL_PANEL,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW",
        help="Side of the model's input in pixels, or height x width; the model's own unless given. "
        "Example: --size 224",
        rich_help_panel=MODEL_PANEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where to run: auto (CUDA where there is one), cpu, cuda, cuda:1. Example: --device cpu",
        rich_help_panel=MODEL_PANEL,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, or bfloat16 (faster on new hardware, a little coarser). Example: --precision bfloat16",
        rich_help_panel=MODEL_PANEL,
    ),
]

Photos = Annotated[
    list[str],
    typer.Argument(metavar="PHOTO...", help="Image files, folders (with all below them), or quoted patterns."),
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="X0,Y0,X1,Y1",
        help="Cut this part out of every photo first, in fractions of width and height. Example: --box 0.2,0.3,0.8,0.8",
        rich_help_panel=IMAGE_PANEL,
    ),
]
Fit = Annotated[
    str,
    typer.Option(
        help="How a photo becomes the model's input: crop (shorter side resized, centre kept), squash, or pad. "
        "Example: --fit squash",
        rich_help_panel=IMAGE_PANEL,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Take the first N images. Example: --limit 100", rich_help_panel=IMAGE_PANEL),
]
Batch = Annotated[
    int,
    typer.Option(min=1, help="Photos at a time. Example: --batch 4 when memory is short", rich_help_panel=IMAGE_PANEL),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="A method, as `sightline methods` lists them; repeat for several; grad-cam unless given. "
        "Example: --method grad-cam --method hires-cam",
        rich_help_panel=METHODS_PANEL,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        help="The decision to explain; repeat for several of each photo; the decision made unless given. One of: "
        "predicted, an index or label, category:NAME, attribute:NAME, attribute:NAME:+1 (why yes), "
        "attribute:NAME:-1 (why no), both:NAME, contrast:NAME:NAME, region:NAME, each:A,B,C. "
        "Example: --target contrast:tabby:lynx",
        rich_help_panel=METHODS_PANEL,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        help="A layer, as `sightline layers MODEL` lists them; repeat to fuse several, shallow first; the last one "
        "with a spatial map unless given. Example: --layer layer4",
        rich_help_panel=METHODS_PANEL,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="METHOD.SETTING=VALUE",
        help="A setting of a method, as `sightline methods NAME` shows it. Example: --set grad-cam++.eps=1e-7",
        rich_help_panel=METHODS_PANEL,
    ),
]
Seed = Annotated[
    int,
    typer.Option(help="For methods that draw random numbers. Example: --seed 1", rich_help_panel=METHODS_PANEL),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="The folder to write to, new or of an earlier run. Example: --out run1",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Signed = Annotated[
    bool,
    typer.Option(
        "--signed",
        help="Show evidence against in a second colour on overlays and sheets, for methods with a sign. "
        "Example: --method hires-cam --signed",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
TrustCards = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Check every map on its photo: against controls, random weights, other classes and noise; the verdict in "
        "words, and a card beside the maps. It takes some ten explanations and 80 passes a map. "
        "Example: --method grad-cam --trust",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Remove what an earlier run left in the folder, and start afresh. Example: --out run1 --overwrite",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def load_classifier(model: str, **given: Any) -> "Classifier":
    """The classifier of the shared options; takes mean, std and size as they were typed."""
    from sightline.loading import load

    given["mean"], given["std"] = numbers(given.get("mean")), numbers(given.get("std"))
    given["size"] = sides(given.get("size"))
    return load(model, **given)


def console(*, stderr: bool = False) -> "Console":
    """A terminal as wide as it is; 120 columns in a file or a pipe."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, emoji=False)
    return (
        found
        if found.is_terminal
        else Console(stderr=stderr, highlight=False, emoji=False, width=max(found.width, 120))
    )

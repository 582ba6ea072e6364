"""Options of `sightline triads`, and what its help says at the end."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import _options as options

PEOPLE_PANEL = "People"

MAKE = """FOLDER holds the images; they are called by their paths from there, here, on the page, and in the answers.

Designs: runner-up (for each target, the image most like it to one group of models against the one most like it to another; where both agree a target is left out), contrasted (triads that the two groups order the other way round, by the greatest difference), balanced (every image as often, no model needed), random.

Two groups of models are --model and --against, two --similarity files, or --family with --by.

Examples:

sightline triads make faces/ --design balanced --trials 95 --catch 4 --practice 2 --out triads.csv

sightline triads make faces/ --family faces.toml --by pretraining --out triads.csv

sightline triads make faces/ -m torchvision:vgg16 --weights imagenet.pth --against python:nets.py:vggface --out triads.csv
"""  # noqa: E501 - the shell wraps it

PAGE = """The page is one file: open it, send it, or put it on any web server. Keys F and J answer, or a press on a picture; there is no time limit. Sides and order are drawn for each participant, every answer is kept in the browser at once, and the answers are saved as a table for `sightline triads score`. Nothing is fetched and nothing is sent. page.html?participant=NAME names the participant beforehand.

Example:

sightline triads page triads.csv faces/ --round --grey --out page.html
"""  # noqa: E501 - the shell wraps it

SCORE = """ANSWERS are the tables that the page saves, or folders of them; or a table of ratings with the columns participant, a, b, similarity.

Models are those of --family, --model and --against, --similarity; --by adds each value of a factor as a group. How alike a model finds images comes from its penultimate layer (--seen embedding), from it when only the relevant pixels are left (masked), or from its relevance maps (map). Maps are made with --method, or read from a finished `sightline generalise` with --run.

Examples:

sightline triads score answers/ --images faces/ --family faces.toml --by pretraining --catch 0.75 --out people.html

sightline triads score ratings.csv --images faces/ --family faces.toml --seen embedding --seen masked --seen map --run runs/faces

sightline triads score answers/ --similarity mine=mine.csv --json people.json
"""  # noqa: E501 - the shell wraps it

Family = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Models with factors, as for `sightline generalise`. Example: --family faces.toml",
        rich_help_panel=options.MODEL_PANEL,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        metavar="FACTOR",
        help="Put the models of the family into groups. Example: --by pretraining",
        rich_help_panel=options.MODEL_PANEL,
    ),
]
Against = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="A second model. Example: --against b.py", rich_help_panel=options.MODEL_PANEL),
]
AgainstWeights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Its weights. Example: --against-weights b.safetensors",
        rich_help_panel=options.MODEL_PANEL,
    ),
]
Matrix = Annotated[
    list[str] | None,
    typer.Option(
        "--similarity",
        metavar="[NAME=]FILE",
        help="A matrix of how alike a model finds images: .csv with names in the first line and column; repeat for "
        "several. Example: --similarity mine=mine.csv",
        rich_help_panel=options.MODEL_PANEL,
    ),
]
Seen = Annotated[
    list[str] | None,
    typer.Option(
        help="What similarity is read from: embedding (unless given), masked, map. Example: --seen masked",
        rich_help_panel=options.METHODS_PANEL,
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Read maps from a finished `sightline generalise` of the family. Example: --run runs/faces",
        rich_help_panel=options.METHODS_PANEL,
    ),
]
Method = Annotated[
    str, typer.Option(help="Makes the maps. Example: --method grad-cam", rich_help_panel=options.METHODS_PANEL)
]
Keep = Annotated[
    float,
    typer.Option(
        help="Percent of the pixels that a mask keeps. Example: --keep 10", rich_help_panel=options.METHODS_PANEL
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        help="The layer that is the embedding, or 'outputs'; the input of the head unless given. "
        "Example: --layer features@input",
        rich_help_panel=options.METHODS_PANEL,
    ),
]
Measure = Annotated[
    str,
    typer.Option(
        help="How embeddings are compared: cosine, pearson, euclidean. Example: --measure pearson",
        rich_help_panel=options.METHODS_PANEL,
    ),
]
Fit = Annotated[
    str,
    typer.Option(
        help="How a file becomes a model's input: squash, crop or pad. Example: --fit crop",
        rich_help_panel=options.IMAGE_PANEL,
    ),
]

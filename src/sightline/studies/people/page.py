"""A page that asks people triads: one HTML file that works offline, answered by keyboard, read back as a table."""

import base64
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import torch
from PIL import Image, ImageOps

from sightline.data.images import read_image
from sightline.errors import InputError
from sightline.files import atomic_write
from sightline.picture import photograph
from sightline.studies.people.models import Stimuli
from sightline.studies.people.triads import Triad, numbered

PROMPT = "Which of the two below is more like the one above?"
WELCOME = (
    "You will see three pictures at a time. Choose the one of the two below that is more like the one above, by "
    "your own idea of what is alike. There is no right answer and no time limit."
)
_MOST_PX, _DENSITY = 600, 2  # pixels a CSS pixel, so that pictures are sharp on a fine screen


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the page looks and what it says.

    Attributes:
        title: Its heading.
        prompt: The question above each triad.
        welcome: What stands on the first screen.
        thanks: What stands on the last.
        size: Side of a picture in CSS pixels; on a narrow screen they shrink.
        gap: Milliseconds without pictures between two trials.
        round: Show pictures through a circle.
        grey: Show them in grey.
    """

    title: str = "Which is more alike?"
    prompt: str = PROMPT
    welcome: str = WELCOME
    thanks: str = "Thank you. Please save your answers and send the file to whoever asked you."
    size: int = 150
    gap: int = 500
    round: bool = False
    grey: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.size <= _MOST_PX or not 0 <= self.gap <= 10_000:
            raise InputError(
                f"size must lie in 16 ... {_MOST_PX} px and gap in 0 ... 10000 ms, not {self.size}, {self.gap}"
            )


def triads_page(
    images: Stimuli | Mapping[str, Any],
    triads: Sequence[Triad],
    out: str | os.PathLike[str],
    *,
    look: Look | None = None,
) -> str:
    """Write a page that asks triads; nothing is fetched, and nothing is sent.

    Practice trials come first, in their order; trials and catch trials follow in an order drawn for each participant,
    with option 1 on the left in half of each kind (to within one). Keys F and J (or a press on a picture) answer. Each
    answer is kept in the browser at once, so a reload goes on. At the end, or at any time before, the answers are saved
    as a table that `read_triads` reads. `page.html?participant=NAME` names the participant beforehand.

    Args:
        images: Name -> a file, or pixels (3, H, W) in [0, 1]; or `Stimuli`. More than the triads name is no harm.
        triads: What is asked; see `with_extras` for practice and catch trials.
        out: The file to write (.html).
        look: How it looks and what it says.

    Returns:
        The experiment's name, 12 hex digits of what is asked and shown; it stands in every line of the answers.

    Raises:
        InputError: No triad, an image that is not there, or one that cannot be read.
        StorageError: The file cannot be written.
    """
    asked, look = numbered(triads), look or Look()
    if not any(triad.kind == "trial" for triad in asked):
        raise InputError("there is no triad of kind 'trial' to ask")
    names = list(dict.fromkeys(name for triad in asked for name in triad.names))
    uris = [_uri(one, look) for one in _images(images, names)]
    place = {name: i for i, name in enumerate(names)}
    plan = {
        "names": names,
        "trials": [
            {
                "trial": t.trial,
                "kind": t.kind,
                "expected": t.expected,
                "images": [place[name] for name in t.names],
                "sources": [t.source_1, t.source_2],
            }
            for t in asked
        ],
        "gap": look.gap,
    }
    content = json.dumps([plan, look.prompt, uris]).encode()
    plan["experiment"] = hashlib.sha256(content).hexdigest()[:12]
    data = _template().render(look=look, plan=_script(plan), pictures=_script(uris), density=_DENSITY).encode("utf-8")
    with atomic_write(out, size=len(data)) as file:
        file.write(data)
    return str(plan["experiment"])


def _images(images: Stimuli | Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    if isinstance(images, Stimuli):
        chosen = images.only(names)
        return list(chosen.paths) if chosen.pixels is None else list(chosen.pixels)
    missing = [name for name in names if name not in images]
    if missing:
        raise InputError(f"triads name image {missing[0]!r}, which is not among the {len(images)} images")
    return [images[name] for name in names]


def _uri(image: Any, look: Look) -> str:
    """A picture as a data URI, no larger than it is shown; WebP, near lossless."""
    pixels = read_image(image) if isinstance(image, str | os.PathLike) else torch.as_tensor(image)
    picture = Image.fromarray(photograph(pixels))
    if look.grey:
        picture = ImageOps.grayscale(picture).convert("RGB")
    side = look.size * _DENSITY
    if max(picture.size) > side:
        picture = ImageOps.contain(picture, (side, side), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    picture.save(held, "webp", quality=92, method=4)
    return f"data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}"


def _script(value: Any) -> str:
    """JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("triads.html")

"""What was typed about the data and the question of `sightline audit`, as the study takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sightline.cli._options import numbers
from sightline.data import annotations, faces
from sightline.data.alignment import Fit, Preparation
from sightline.data.annotations.record import Record
from sightline.data.regions import Regions
from sightline.errors import InputError
from sightline.target import Contrast

if TYPE_CHECKING:
    from sightline.data.faces import Faces


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed about data and question; the same for both models of a comparison."""

    data: str
    part: str | None
    attributes: tuple[str, ...]
    positive: str | None
    negative: str | None
    groups: tuple[str, ...]
    rates: tuple[str, ...]
    regions: str | None
    fit: str | None
    box: str | None
    limit: int | None
    seed: int
    settings: Mapping[str, Any]


def records_of(asked: Asked, size: tuple[int, int]) -> "Sequence[Record] | Faces":
    """The images that were named.

    Raises:
        InputError: Something that is none of the three kinds of data, or options of another kind.
    """
    path = Path(asked.data).expanduser()
    kind, colon, rest = asked.data.partition(":")
    if kind == "faces" and colon:
        if not rest.isdigit() or int(rest) < 1:
            raise InputError(f"{asked.data!r}: write faces:N with a number of faces, such as faces:600")
        _only(asked, "rendered faces", part=asked.part)
        return faces.sample(int(rest), seed=asked.seed, size=max(size), rates=_rates(asked.rates))
    if (path / "list_attr_celeba.txt").is_file():
        _only(asked, "CelebA", rate=asked.rates)
        told = (path / "list_eval_partition.txt").is_file()
        part: Any = asked.part or ("test" if told else None)
        return annotations.celeba(path, part=part)
    if path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        _only(asked, "a table", part=asked.part, rate=asked.rates)
        found = annotations.manifest(path)
        columns = [name for name in asked.groups if name not in found[0].attributes]
        return annotations.manifest(path, groups=columns) if columns else found
    raise InputError(
        f"{asked.data}: is no CelebA folder (list_attr_celeba.txt is not there), no table (.csv, .tsv, .parquet), and "
        "not faces:N; name one of these"
    )


def _only(asked: Asked, kind: str, **others: object) -> None:
    for name, value in others.items():
        if value:
            raise InputError(f"--{name} does not belong to {kind} ({asked.data}); leave it away")


def _rates(texts: Sequence[str]) -> dict[str, float] | None:
    found = {}
    for text in texts:
        name, _, share = text.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise InputError(f"cannot read --rate {text!r}; write NAME=SHARE, such as Bald=0.5") from None
    return found or None


def targets_of(asked: Asked) -> Any:
    """Names, a contrast for one attribute, or None for all that data and classifier share.

    Raises:
        InputError: `--positive` without `--negative`, or with several attributes.
    """
    if asked.positive is None and asked.negative is None:
        return asked.attributes or None
    if asked.positive is None or asked.negative is None or len(asked.attributes) != 1:
        raise InputError(
            "a pair of outputs needs --positive, --negative and the one --attribute of the data that they answer, such "
            "as --attribute Male --positive male --negative female"
        )
    return {asked.attributes[0]: Contrast(asked.positive, asked.negative)}


def preparation_of(asked: Asked) -> Preparation | None:
    """What was typed; None to take what the network's file says.

    Raises:
        InputError: Another word, or a box that is none.
    """
    if asked.fit is None and asked.box is None:
        return None
    fit = asked.fit or "crop"
    if fit not in get_args(Fit):
        raise InputError(f"--fit must be {', '.join(get_args(Fit))}, not {fit!r}")
    cut = numbers(asked.box)
    if cut is not None and (len(cut) != 4 or not (0 <= cut[0] < cut[2] <= 1 and 0 <= cut[1] < cut[3] <= 1)):
        raise InputError(f"--box must be x0,y0,x1,y1 with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, not {asked.box}")
    return Preparation(fit=fit, box=cut)  # type: ignore[arg-type]


def regions_of(asked: Asked, records: "Sequence[Record] | Faces", *, aligned: bool) -> Regions | None:
    """What was typed; None to take what fits the data. On aligned images landmarks stand where the frame has them.

    Raises:
        InputError: Another word, a file that cannot be read, or masks that do not come with the images.
    """
    if asked.regions == "exact" and not isinstance(records, faces.Faces) and not records[0].masks:
        raise InputError(
            "--regions exact needs masks that come with the images: columns mask_<region> of a table, or faces:N"
        )
    if asked.regions in (None, "exact"):
        return None
    made = {
        "grid": lambda: Regions.grid(),
        "face-grid": lambda: Regions.grid(frame="face"),
        "landmarks": lambda: Regions.landmarks(frame="input" if aligned else "face"),
    }
    if asked.regions in made:
        return made[asked.regions]()
    if str(asked.regions).endswith(".toml"):
        return Regions.read(str(asked.regions))
    raise InputError(f"--regions must be {', '.join(made)}, exact, or a .toml file, not {asked.regions!r}")

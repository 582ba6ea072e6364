"""ImageNet's layout: images named or filed by their WordNet id, and an XML file with boxes for each image."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from sightline.data.annotations.record import Record, Records
from sightline.data.boxes import as_boxes
from sightline.data.images import Failure, find_images
from sightline.data.labels import read_labels
from sightline.errors import InputError

_WNID = re.compile(r"n\d{8}")


def imagenet(
    images: str | os.PathLike[str],
    boxes: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[str] | str | os.PathLike[str],
    first_pixel: Literal[0, 1] = 0,
) -> Records:
    """Records of the classification and localisation set (Russakovsky et al. 2015, arXiv 1409.0575).

    An image's class is the WordNet id (`n01440764`) that its XML names first; without one, that of its folder, or with
    which its file's name begins. Boxes are those of the image's class: other objects of the XML are left aside.

    Args:
        images: The folder of images, flat (`val`) or with a folder a class (`train`).
        boxes: The folder of XML files, flat or in folders; each is named like its image.
        classes: WordNet ids in the order of the classifier's outputs, or a file with them: CSV with a column `wnid`,
            or text with a line for each (`n01440764 tench`).
        first_pixel: The number of the first pixel in the XML: 0 for ImageNet, 1 for files in the manner of Pascal VOC.
            Both name the last pixel *in* the box, so its right edge is one further.

    Returns:
        A record for each image, in natural order. `failures` names images without XML (their `boxes` are None) and
        XML without an image. An XML that is broken is an error where its record is read.

    Raises:
        InputError: A folder or file that cannot be read, or no images. Where a record is read: broken XML, a class that
            is not in `classes`.
    """
    wnids = _wnids(classes)
    files = _xml_files(Path(boxes)) if boxes is not None else {}
    paths = find_images(images)
    failures = []
    if boxes is not None:
        stems = {path.stem for path in paths}
        failures += [Failure(p, f"has no {p.stem}.xml in {boxes}") for p in paths if p.stem not in files]
        failures += [Failure(xml, f"has no image in {images}") for stem, xml in files.items() if stem not in stems]
    reader = _Reader(wnids, first_pixel)
    return Records([(p, files.get(p.stem)) for p in paths], reader.record, classes=tuple(wnids), failures=failures)


@dataclass(frozen=True)
class _Reader:
    wnids: Mapping[str, int]
    first_pixel: int

    def record(self, path: Path, xml: Path | None) -> Record:
        if xml is None:
            wnid = _named(path)
            return Record(path=path, label=self._label(path, wnid), name=wnid)
        root = _parse(xml)
        try:
            objects = [(_text(o, "name"), self._box(o)) for o in root.iter("object")]
            size = tuple(int(root.findtext(f"size/{side}") or 0) for side in ("height", "width"))
            wnid = objects[0][0] if objects else _named(path)
            boxes = as_boxes([box for name, box in objects if name == wnid])
        except (ValueError, InputError) as error:  # an InputError is one too; the text needs the file's name
            raise InputError(f"{xml}: {error}") from error
        known = (size[0], size[1]) if min(size) > 0 else None  # some files of the training set say 0
        return Record(path=path, label=self._label(path, wnid), name=wnid, boxes=boxes, size=known)

    def _label(self, path: Path, wnid: str | None) -> int | None:
        if wnid is not None and wnid not in self.wnids:
            raise InputError(f"{path}: its class {wnid} is none of the {len(self.wnids)} in classes=")
        return None if wnid is None else self.wnids[wnid]

    def _box(self, node: ElementTree.Element) -> list[float]:
        edges = ((n, int(n.endswith("max")) - self.first_pixel) for n in ("xmin", "ymin", "xmax", "ymax"))
        return [float(_text(node, f"bndbox/{name}")) + shift for name, shift in edges]


def _parse(xml: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(xml).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{xml}: is not valid XML ({error}); copy or download it again") from error
    except OSError as error:
        raise InputError(f"{xml}: could not be read ({error.strerror})") from error


def _text(node: ElementTree.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None or not found.strip():
        raise ValueError(f"<{node.tag}> has no {path}")
    return found.strip()


def _named(path: Path) -> str | None:
    """The WordNet id of the folder, or with which the file's name begins."""
    found = _WNID.fullmatch(path.parent.name) or _WNID.match(path.name)
    return found.group() if found else None


def _wnids(classes: Sequence[str] | str | os.PathLike[str]) -> dict[str, int]:
    if isinstance(classes, str | os.PathLike):
        source = Path(classes)
        classes = read_labels(source, column="wnid" if source.suffix.lower() in (".csv", ".tsv") else None)
    ids = [name.split()[0] for name in classes]
    for index, wnid in enumerate(ids):
        if not _WNID.fullmatch(wnid):
            raise InputError(f"class {index} is {wnid!r}; ImageNet's classes are WordNet ids like 'n01440764'")
    if len(set(ids)) != len(ids):
        raise InputError("classes= names a WordNet id twice; outputs have one each")
    return {wnid: index for index, wnid in enumerate(ids)}


def _xml_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of XML files; check the path")
    return {xml.stem: xml for xml in sorted(folder.rglob("*.xml"))}

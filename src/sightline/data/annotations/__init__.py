"""Images with what is known about them: class, boxes, masks, attributes, in the layouts of the field.

    >>> from sightline.data import annotations
    >>> records = annotations.coco("val2017", "instances_val2017.json")
    >>> for batch in annotations.load(records, size=224, on_error="collect"):
    ...     batch.pixels, batch.boxes, batch.regions, batch.records

A reader gives `Records`, a lazy sequence; `load` decodes, and brings boxes and masks along through resizing and
cropping.
"""

from sightline.data.annotations._members import Member
from sightline.data.annotations._shapes import MaskFile, Polygons, Runs, Shape, Union
from sightline.data.annotations.batches import Batch, Batches, load
from sightline.data.annotations.celeba import celeba
from sightline.data.annotations.coco import coco
from sightline.data.annotations.folders import folders
from sightline.data.annotations.imagenet import imagenet
from sightline.data.annotations.manifest import manifest
from sightline.data.annotations.record import Record, Records, Sample
from sightline.data.annotations.shards import shards

__all__ = [
    "Batch",
    "Batches",
    "MaskFile",
    "Member",
    "Polygons",
    "Record",
    "Records",
    "Runs",
    "Sample",
    "Shape",
    "Union",
    "celeba",
    "coco",
    "folders",
    "imagenet",
    "load",
    "manifest",
    "shards",
]

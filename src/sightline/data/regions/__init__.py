"""Where in a face the evidence of an attribute may lie: rectangles, boxes from landmarks, or exact masks.

    >>> from sightline.data.regions import Regions
    >>> regions = Regions.grid()
    >>> regions.of("Eyeglasses")
    'eyes'
    >>> regions.masks(["Eyeglasses", "Smiling"], (224, 224), count=1).shape
    torch.Size([1, 2, 224, 224])

Both published definitions are tables that a person can edit: `Regions.grid().write("mine.toml")`, then
`Regions.read("mine.toml")`.
"""

from sightline.data.regions._regions import Regions, default_regions

__all__ = ["Regions", "default_regions"]

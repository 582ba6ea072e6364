"""The explanation: rows of raw maps with what they explain and where they come from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.conservation import Conservation
from sightline.errors import InputError, StorageError
from sightline.registry import Polarity
from sightline.target import Attribute, Category, Contrast, Region, Similarity, Target

if TYPE_CHECKING:
    from PIL.Image import Image

_FIGURE_SIDE = 224
_TARGETS: dict[str, type[Target]] = {t.__name__: t for t in (Attribute, Category, Contrast, Region, Similarity)}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """N rows, image-major: one for each image and target.

    Attributes:
        maps: (N, h, w) float32, raw: signed where the method is signed, never rescaled, at the method's own resolution.
        image: (N,) which image of the batch a row explains.
        targets: N resolved targets.
        score: (N,) the scalar that was explained.
        probability: (N,) in [0, 1].
        empty: (N,) True where the map carries no energy in the reading of its method (a finding, not an error).
        method: Name in the registry.
        layers: Layers that were explained; none for methods that need none.
        polarity: How the method's maps are read: their `positive` part, their `absolute` value, or their `height`
            above the lowest value.
        signed: Whether raw values carry a sign.
        size: (H, W) of the images.
        provenance: Settings, classifier, weights' fingerprint, seed, versions.
        parts: For several layers, each layer's own explanation; empty for one layer.
        conservation: Where the relevance went, for methods that keep the books.
    """

    maps: Tensor
    image: Tensor
    targets: tuple[Target, ...]
    score: Tensor
    probability: Tensor
    method: str
    layers: tuple[str, ...]
    polarity: Polarity
    signed: bool
    size: tuple[int, int]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, "Explanation"] = field(default_factory=dict)
    conservation: Conservation | None = None

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def empty(self) -> Tensor:
        """(N,) True where the map carries no energy."""
        return self.energy().flatten(1).amax(1) <= 0

    def energy(self, polarity: Polarity | None = None) -> Tensor:
        """(N, h, w) the non-negative reading of the maps: positive part, absolute value, or height above the lowest."""
        match polarity or self.polarity:
            case "absolute":
                return self.maps.abs()
            case "height":
                return self.maps - self.maps.flatten(1).amin(1)[:, None, None]
        return self.maps.relu()

    def heatmaps(self, size: tuple[int, int] | None = None, *, polarity: Polarity | None = None) -> Tensor:
        """Maps for display and masking: the energy, min-max scaled, then upsampled bilinearly.

        Args:
            size: (H, W); by default that of the images.
            polarity: `positive`, `absolute` or `height`; by default the method's own reading.

        Returns:
            (N, H, W) in [0, 1]. A constant positive map is all ones, an empty one all zeros.
        """
        energy = self.energy(polarity)
        low, high = energy.flatten(1).amin(1)[:, None, None], energy.flatten(1).amax(1)[:, None, None]
        flat = high - low <= 0
        scaled = torch.where(flat, (high > 0).to(energy), (energy - low) / torch.where(flat, 1.0, high - low))
        size = self.size if size is None else size
        if tuple(scaled.shape[1:]) == tuple(size):
            return scaled
        return F.interpolate(scaled[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].clamp_(0, 1)

    def signed_heatmaps(self, size: tuple[int, int] | None = None) -> Tensor:
        """(N, H, W) in [-1, 1]: raw maps divided by their largest absolute value, zero stays zero."""
        scale = self.maps.abs().flatten(1).amax(1)[:, None, None]
        scaled = self.maps / torch.where(scale > 0, scale, 1.0)
        up = F.interpolate(scaled[:, None], size=size or self.size, mode="bilinear", align_corners=False)[:, 0]
        return up.clamp(-1, 1)

    def overlay(self, pixels: Tensor, *, signed: bool = False, opacity: float = 0.6) -> "np.ndarray[Any, Any]":
        """Heat maps over the images they explain.

        Args:
            pixels: (B, C, H, W) in [0, 1], the batch that was explained.
            signed: Show evidence against in the other colour of a diverging palette.
            opacity: 0 shows the image alone.

        Returns:
            (N, H, W, 3) uint8. A row whose map is empty shows the image alone.

        Raises:
            InputError: Pixels of another batch or size.
        """
        from sightline import picture

        if pixels.ndim != 4 or len(pixels) <= int(self.image.max()):
            raise InputError(f"overlay needs the batch that was explained, not pixels of shape {tuple(pixels.shape)}")
        size = (pixels.shape[-2], pixels.shape[-1])
        heat = self.signed_heatmaps(size) if signed else self.heatmaps(size)
        rows = []
        for n, i in enumerate(self.image.tolist()):
            photo = pixels[i].expand(3, -1, -1)
            shown = 0.0 if bool(self.empty[n]) and not signed else opacity
            rows.append(picture.overlay(photo, heat[n], opacity=shown, signed=signed))
        return np.stack(rows)

    def figure(self, row: int, pixels: Tensor, *, signed: bool = False, opacity: float = 0.6) -> "Image":
        """One row as a picture for people: overlay, title, and a colour bar with the raw numbers.

        Args:
            row: Which row.
            pixels: (B, C, H, W) in [0, 1], the batch that was explained.
            signed: Show evidence against too; the scale is then symmetric around zero.
            opacity: 0 shows the image alone.

        Returns:
            A Pillow image; an empty map shows the image alone and says so.
        """
        from PIL import Image

        from sightline import picture

        one = self.select(row)
        times = -(-_FIGURE_SIDE // min(pixels.shape[-2:]))  # small images are shown enlarged
        large = F.interpolate(pixels.float(), scale_factor=times, mode="bicubic").clamp(0, 1) if times > 1 else pixels
        shown = Image.fromarray(one.overlay(large, signed=signed, opacity=opacity)[0])
        low, high = picture.span_of(one.maps if signed else one.energy(), signed=signed)
        bar = picture.colour_bar(low, high, signed=signed, length=shown.width, label="raw values")
        sheet = Image.new("RGB", (max(shown.width, bar.width), shown.height + bar.height + 6), "white")
        sheet.paste(shown, (0, 0))
        sheet.paste(bar, (0, shown.height + 6))
        mark = ", empty" if bool(self.empty[row]) else ""
        return picture.annotate(
            sheet, str(self.targets[row]), f"p = {float(self.probability[row]):.3f}, {self.method}{mark}"
        )

    def title(self, row: int) -> str:
        """One line about a row: target, probability, method."""
        mark = ", empty" if bool(self.empty[row]) else ""
        return f"{self.targets[row]} (p = {float(self.probability[row]):.3f}), {self.method}{mark}"

    def select(self, rows: Any) -> "Explanation":
        """The explanation of some rows only (an index, slice, list or mask)."""
        index = torch.arange(len(self), device=self.maps.device)[rows].reshape(-1)
        keep = index.tolist()
        changed = {
            name: getattr(self, name)[index.to(getattr(self, name).device)]
            for name in ("maps", "image", "score", "probability")
        }
        rest = {n: getattr(self, n) for n in ("method", "layers", "polarity", "signed", "size", "provenance")}
        parts = {name: part.select(index) for name, part in self.parts.items()}
        books = self.conservation.select(index) if self.conservation is not None else None
        kept = tuple(self.targets[i] for i in keep)
        return Explanation(**changed, **rest, targets=kept, parts=parts, conservation=books)

    def save(
        self, folder: str | Path, *, pixels: Tensor | None = None, replace: bool = False, signed: bool = False
    ) -> Path:
        """Write `maps.npz` (raw), `manifest.json` and, if pixels are given, an overlay PNG a row; all or nothing.

        Args:
            folder: Where to.
            pixels: The batch that was explained, for the overlays.
            replace: Whether an existing folder may be replaced.
            signed: Whether the overlays show evidence against too.

        Raises:
            StorageError: The folder exists (and `replace` is False), or there is no space.
        """
        from sightline import files, picture

        folder = Path(folder)
        with files.atomic_folder(folder, replace=replace) as temporary:
            arrays = {
                "maps": self.maps,
                "image": self.image,
                "score": self.score,
                "probability": self.probability,
                "empty": self.empty,
            }
            masks = {
                f"target_{i}": v for i, t in enumerate(self.targets) for v in vars(t).values() if isinstance(v, Tensor)
            }
            books = {f"account_{n}": v for n, v in self.conservation.arrays().items()} if self.conservation else {}
            stored: dict[str, Any] = {k: v.detach().cpu().numpy() for k, v in {**arrays, **masks, **books}.items()}
            np.savez_compressed(temporary / "maps.npz", **stored)
            (temporary / "manifest.json").write_text(json.dumps(self.manifest(), indent=2), encoding="utf-8")
            if pixels is not None:
                for n, image in enumerate(self.overlay(pixels, signed=signed)):
                    picture.write_png(temporary / f"overlay-{n:04d}.png", image)
            for name, part in self.parts.items():
                part.save(temporary / "layers" / name, pixels=pixels, signed=signed)
        return folder

    def manifest(self) -> dict[str, Any]:
        """Everything but the numbers, ready for JSON."""
        return {
            "format": "sightline explanation 1",
            "method": self.method,
            "layers": list(self.layers),
            "polarity": self.polarity,
            "signed": self.signed,
            "size": list(self.size),
            "targets": [_write_target(t) for t in self.targets],
            "provenance": dict(self.provenance),
        } | ({"account": self.conservation.names()} if self.conservation else {})

    @classmethod
    def load(cls, folder: str | Path) -> "Explanation":
        """Read back what `save` wrote.

        Raises:
            StorageError: Not a folder of ours, or a broken one.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            with np.load(folder / "maps.npz", allow_pickle=False) as stored:
                arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
            targets = tuple(_read_target(t, arrays.get(f"target_{i}")) for i, t in enumerate(manifest["targets"]))
            parts = {n: cls.load(folder / "layers" / n) for n in manifest["layers"] if (folder / "layers" / n).is_dir()}
            rest = {n: manifest[n] for n in ("method", "polarity", "signed", "provenance")}
            numbers: dict[str, Any] = {n: arrays[n] for n in ("maps", "image", "score", "probability")}
            books = {n.removeprefix("account_"): v for n, v in arrays.items() if n.startswith("account_")}
            if "account" in manifest:  # not in folders of methods that keep no books, nor in older ones
                numbers["conservation"] = Conservation.restored(manifest["account"], books, len(numbers["maps"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as reason:
            raise StorageError(f"{folder} is no complete explanation ({reason}); explain again and save") from reason
        return cls(
            **numbers,
            **rest,
            targets=targets,
            layers=tuple(manifest["layers"]),
            size=tuple(manifest["size"]),
            parts=parts,
        )

    def _repr_html_(self) -> str:
        """Maps as pictures, for notebooks."""
        from html import escape

        from sightline import picture

        figures = []
        for n in range(min(len(self), 24)):
            heat = self.heatmaps()[n]
            uri = picture.to_data_uri(picture.colourise(heat))
            text = escape(self.title(n))
            figures.append(
                f'<figure style="margin:4px;width:180px"><img src="{uri}" alt="{text}" width="180">'
                f"<figcaption>{text}</figcaption></figure>"
            )
        more = f"<p>and {len(self) - 24} more rows</p>" if len(self) > 24 else ""
        return f'<div style="display:flex;flex-wrap:wrap">{"".join(figures)}</div>{more}'

    def __repr__(self) -> str:
        h, w = self.maps.shape[1:]
        rows = f"{len(self)} rows of {h}x{w}, {int(self.empty.sum())} empty"
        return f"Explanation({self.method}, {rows}, layers={list(self.layers)})"


def _write_target(target: Target) -> dict[str, Any]:
    values: dict[str, Any] = asdict(target) if is_dataclass(target) else {}
    return {"kind": type(target).__name__, "text": str(target)} | {
        k: v for k, v in values.items() if not isinstance(v, Tensor)
    }


def _read_target(record: dict[str, Any], array: Tensor | None) -> Target:
    kind = _TARGETS[record["kind"]]
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k not in ("kind", "text")
    }
    if array is not None:
        values["pixels" if kind is Region else "reference"] = array
    return kind(**values)

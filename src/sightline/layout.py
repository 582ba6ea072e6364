"""How a layer's output becomes a spatial map: channels first, channels last, or tokens on a grid."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sightline.errors import LayerError

Kind = Literal["nchw", "nhwc", "tokens"]
_MOST_PREFIX_TOKENS = 9  # one class token and up to eight registers or prompts


@dataclass(frozen=True)
class Layout:
    """The reading of a layer's output: `kind`, grid (height, width), channels, and leading class or register tokens."""

    kind: Kind
    channels: int
    height: int
    width: int
    prefix: int = 0

    def to_maps(self, value: Tensor) -> Tensor:
        """(B, ...) as the layer gives it -> (B, K, h, w)."""
        if self.kind == "nchw":
            return value
        if self.kind == "nhwc":
            return value.permute(0, 3, 1, 2)
        grid = value[:, self.prefix :].reshape(len(value), self.height, self.width, self.channels)
        return grid.permute(0, 3, 1, 2)

    def from_maps(self, maps: Tensor, like: Tensor) -> Tensor:
        """(B, K, h, w) -> as the layer gives it; leading tokens are taken from `like` (B, ...)."""
        if self.kind == "nchw":
            return maps
        if self.kind == "nhwc":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([like[:, : self.prefix], maps.flatten(2).transpose(1, 2)], 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, h, w)."""
        return self.channels, self.height, self.width


def first_tensor(output: Any) -> Tensor | None:
    """The feature tensor in what a module returns: itself, the first one of a tuple, list, dict or model output."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        for key in ("logits", "out", "last_hidden_state"):
            if isinstance(output.get(key), Tensor):
                return output[key]  # type: ignore[no-any-return]
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return next((v for v in output if isinstance(v, Tensor)), None)
    return None


def replace_first(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor replaced."""
    if output is old:
        return new
    if isinstance(output, dict):
        for key, value in output.items():
            if value is old:
                output[key] = new
        return output
    values = [new if v is old else v for v in output]
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)


def _plausible(h: int, w: int, size: tuple[int, int]) -> bool:
    H, W = size
    if h * w < 2 or h > H + 1 or w > W + 1:
        return False
    return abs(h - w * H / W) <= 1 and abs(w - h * W / H) <= 1


def _evidence(module: nn.Module, K: int) -> Kind | None:
    """What the producing module itself says about a 4-D output whose last axis has size K."""
    name = type(module).__name__
    if isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) == (K,) and name == "LayerNorm":
        return "nhwc"
    if isinstance(module, nn.Linear):
        return "nhwc"
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.GroupNorm) or "Pool2d" in name or "Norm2d" in name:
        return "nchw"
    return None


def _producer(module: nn.Module) -> nn.Module:
    leaves = [
        m for m in module.modules() if not list(m.children()) and not isinstance(m, nn.Dropout | nn.Identity | nn.ReLU)
    ]
    return leaves[-1] if leaves else module


def patch_grids(model: nn.Module, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Token grids that the model's patch embedding suggests, finest first: its own and halvings of it (Swin)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride and module.stride[0] > 1:
            h, w = (size[i] // module.stride[i] for i in (0, 1))
            grids = [(h, w)]
            while h > 1 and w > 1:
                h, w = (h + 1) // 2, (w + 1) // 2
                grids.append((h, w))
            return grids
    return []


def hints(model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """What a whole model tells about the layouts in it: keyword arguments for `read_layout`.

    Convolutions without a layer norm over the last axis mean that nothing in the model is channels last.
    """
    modules = list(model.modules())
    convolutions = any(isinstance(m, nn.Conv2d) for m in modules)
    norms = any(type(m) is nn.LayerNorm for m in modules)
    return {"grids": patch_grids(model, size), "convolutional": convolutions and not norms}


def _token_grid(tokens: int, size: tuple[int, int], grids: list[tuple[int, int]]) -> tuple[int, int, int] | None:
    H, W = size
    rounded = [(-(-H // s), -(-W // s)) for s in range(1, max(H, W))] + [(H // s, W // s) for s in range(1, max(H, W))]
    for known in (grids, rounded):
        fits = {(tokens - h * w, h, w) for h, w in known if h * w > 1 and 0 <= tokens - h * w <= _MOST_PREFIX_TOKENS}
        if fits:
            prefix, h, w = min(fits)
            return h, w, prefix
    return None


def read_layout(
    value: Tensor,
    module: nn.Module,
    size: tuple[int, int],
    *,
    name: str,
    grids: list[tuple[int, int]],
    kind: Kind | None = None,
    convolutional: bool = False,
) -> Layout | None:
    """Find out how an output carries space, from its shape and from the module that made it.

    Args:
        value: The output (B, ...).
        module: The module that returned it.
        size: The input's height and width.
        name: The layer's name, for messages.
        grids: Token grids to prefer (see `hints`).
        kind: A reading that the user asked for.
        convolutional: Nothing in the model is channels last, which settles it for bare activations.

    Returns:
        The layout, or None where there is no spatial map.

    Raises:
        LayerError: Two readings fit and nothing tells which; the text names both and how to choose.
    """
    shape = tuple(value.shape)
    if value.ndim == 3 and kind in (None, "tokens"):
        grid = _token_grid(shape[1], size, grids)
        return Layout("tokens", shape[2], *grid) if grid else None
    if value.ndim != 4:
        return None
    first = Layout("nchw", shape[1], shape[2], shape[3])
    last = Layout("nhwc", shape[3], shape[1], shape[2])
    if kind in ("nchw", "nhwc"):
        return first if kind == "nchw" else last
    fits = [layout for layout in (first, last) if _plausible(layout.height, layout.width, size)]
    if len(fits) < 2:
        return fits[0] if fits else None
    told = _evidence(module, shape[3]) or _evidence(_producer(module), shape[3])
    if told is None and convolutional and type(module).__module__ == "torch.nn.modules.activation":
        told = "nchw"
    if told is None:
        raise LayerError(
            f"layer {name!r} gives {shape}: this may be {first.channels} channels of {first.height}x{first.width} "
            "(nchw) or "
            f"{last.channels} channels of {last.height}x{last.width} (nhwc); say which: layer='{name}@nchw' or "
            f"'{name}@nhwc'"
        )
    return first if told == "nchw" else last

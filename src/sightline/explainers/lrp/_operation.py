"""One operation of a network, as the survey found it."""

from dataclasses import dataclass

from torch import Tensor

LINEAR = ("conv", "dense")
"""Kinds that have weights of their own."""


@dataclass
class Operation:
    """One operation of a network.

    Attributes:
        index: Its place in the order in which operations run.
        kind: See `Call`; a `norm` that was folded away is `folded`.
        function: The torch function.
        module: Qualified name of the module that called it.
        type: Type of that module.
        sources: For each operand the operations whose values are in it.
        moving: For each operand, whether it depends on the pixels.
        nonnegative: Whether the first operand is known to be >= 0.
        gate: Position of the operand that is a known gate, for products.
        shape: Of the output.
        rectified: A linear operation whose output (and its norm's) only ReLUs read.
        first: A linear operation before which there is no other.
        head: A linear operation after which there is no other.
        depth: Place among the linear operations, 0 (pixels) to 1 (scores).
        norm: The folded norm's weight and bias, and its operation.
    """

    index: int
    kind: str
    function: str
    module: str
    type: str
    sources: tuple[frozenset[int], ...]
    moving: tuple[bool, ...]
    nonnegative: bool
    gate: int | None
    shape: tuple[int, ...]
    rectified: bool = False
    first: bool = False
    head: bool = False
    depth: float = 0.0
    norm: tuple[Tensor, Tensor] | None = None
    why: str = ""
    unread: bool = False  # a function that no rule reads at all

    @property
    def name(self) -> str:
        """The module's name, and the function where it is not the module itself."""
        return f"{self.module or 'model'} ({self.function})"

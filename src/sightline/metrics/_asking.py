"""Log-odds of rows on altered images, chunk by chunk through the accelerated forward pass of the masking engine."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sightline import target as targets
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MetricError, ModelError, out_of_memory
from sightline.explainers.masking._forward import Forward, forward_for
from sightline.explainers.masking._memory import chunk_for, halved, release
from sightline.explainers.masking._options import Options, Space
from sightline.target import Target

AHEAD = 4
"""Chunks made at once for OpenVINO: PyTorch's threads spin after each operation, in the way of the passes."""
Make = Callable[[Tensor], Tensor]
"""(m,) positions -> (m, C, H, W) altered images."""

Read = Callable[[Tensor, Tensor], Tensor]
"""(m,) positions and the outputs (m, C, ...) for their images -> (m, ...) what is kept of them."""


class Asking:
    """Forward passes of one classifier on images of one size.

    Attributes:
        passes: How many images were asked so far.
    """

    def __init__(
        self, classifier: Classifier | BlackBox, size: tuple[int, int], options: Options, expected: int = 0
    ) -> None:
        self.classifier, self.size, self.options, self.expected = classifier, size, options, expected
        self.chunk = options.chunk or chunk_for(classifier, size)
        self.passes = 0
        self._forward: tuple[int, Forward] | None = None

    @property
    def own_precision(self) -> bool:
        """Whether altered images are asked in the classifier's own precision."""
        asked = self.options.precision
        return asked is None or isinstance(self.classifier, BlackBox) or asked == self.classifier.precision

    def margins(self, rows: Sequence[Target], count: int, make: Make, *, space: Space = "pixels") -> Tensor:
        """Log-odds (count,) float64 of resolved targets, one for each altered image that `make` gives.

        Raises:
            MetricError: A black box has no normalised space.
            ModelError: Not even one image fits into memory, or the outputs are not finite.
        """

        def read(index: Tensor, outputs: Tensor) -> Tensor:
            return targets.margins([rows[i] for i in index.tolist()], outputs)

        return self.ask(count, make, read, space=space)

    def ask(self, count: int, make: Make, read: Read, *, space: Space = "pixels") -> Tensor:
        """What `read` keeps of the outputs for each of `count` altered images: (count, ...) float64.

        Raises:
            MetricError, ModelError: As for `margins`.
        """
        if space == "normalised" and isinstance(self.classifier, BlackBox):
            raise MetricError("a BlackBox has no normalised space; leave space= at 'pixels'")
        forward = self._backend(max(count, self.expected))
        parts, start = [], 0
        while start < count:
            left, room = count - start, self.chunk * (AHEAD if forward.name == "openvino" else 1)
            index = torch.arange(start, start + -(-left // -(-left // room)))  # even chunks, none of one or two
            try:
                images = make(index).tensor_split(-(-len(index) // self.chunk))
                outputs = torch.cat([self._outputs(forward, part, space) for part in images])
            except (RuntimeError, MemoryError) as reason:
                if not out_of_memory(reason):
                    raise
                self.chunk = halved(reason, self.chunk, "metric")
                release()
                continue
            parts.append(read(index, outputs))
            start += len(index)
        self.passes += count
        found = torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)
        if bool(found.isnan().any()):
            raise ModelError("the model gives NaN for an altered image; try precision='float32'")
        return found

    def _backend(self, passes: int) -> Forward:
        """What runs so many passes; found once, as one batch is asked hundreds of times."""
        if self._forward is None or passes > self._forward[0]:
            self._forward = passes, forward_for(self.classifier, self.size, self.options, passes)
        return self._forward[1]

    def _outputs(self, forward: Forward, images: Tensor, space: Space) -> Tensor:
        count = len(images)
        if isinstance(self.classifier, Classifier) and space == "pixels":
            images = self.classifier.normalise(images, order=False)
        if forward.constant and count < self.chunk:  # a compiled graph takes one size only
            images = torch.cat([images, images[-1:].expand(self.chunk - count, *images.shape[1:])])
        memory = torch.channels_last if forward.channels_last else torch.contiguous_format
        with torch.inference_mode(False), torch.no_grad():
            return forward(images.contiguous(memory_format=memory))[:count]

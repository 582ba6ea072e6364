"""What runs the forward passes: eager PyTorch, or an accelerated graph that agrees with it."""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.classifier import BlackBox, Classifier
from sightline.errors import MissingExtraError, SightlineError, out_of_memory
from sightline.explainers.masking._options import Options
from sightline.explainers.masking._signals import same_signal_stack
from sightline.layout import first_tensor

# Root mean square of the difference to eager, over that of eager's outputs around their mean.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
_WORTH = 256  # passes from which on converting a model pays


@dataclass
class Forward:
    """Outputs of masked images by one backend.

    Attributes:
        name: `eager`, `openvino`, `compiled` or `black box`.
        call: (m, C, H, W) -> outputs (m, ...) float32, checked; where it masks by itself, (masks (m, 1, H, W),
            base (1, C, H, W), change (1, C, H, W)) -> outputs of base + masks * change.
        channels_last: The memory order that it wants.
        unchecked: Eager's way, as long as the first chunk has not been compared.
        note: Why it is not the backend that was asked for.
        constant: Every call must have the same number of images.
        agreed: Called when the first chunk agrees, so that one classifier is compared once.
        masks: Whether it masks by itself.
    """

    name: str
    call: Callable[..., Tensor]
    channels_last: bool
    unchecked: Callable[..., Tensor] | None = None
    precision: str = "float32"
    note: str | None = None
    constant: bool = False
    agreed: Callable[[], Any] | None = None
    masks: bool = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Ask; the first chunk is compared with eager, which takes over when they disagree."""
        if self.unchecked is None:
            return self.call(*inputs)
        expected = found = self.unchecked(*inputs)
        try:
            found = self.call(*inputs)
            off = _difference(found, expected)
            reason = None if off <= TOLERANCE[self.precision] else f"differs from eager by {off:.2g}"
        except Exception as failure:
            if out_of_memory(failure):
                raise
            reason = f"failed: {str(failure).splitlines()[0][:200]}"
        if reason is not None:
            self.note = f"{self.name} {reason}"
            self.name, self.call, self.constant, self.channels_last = "eager", self.unchecked, False, True
            found = expected
        elif self.agreed is not None:
            self.agreed()
        self.unchecked = None
        return found


def _difference(outputs: Tensor, expected: Tensor) -> float:
    scale = (expected - expected.mean()).square().mean().sqrt().clamp(min=1e-6)
    return float((outputs - expected).square().mean().sqrt() / scale)


def forward_for(
    classifier: Classifier | BlackBox, size: tuple[int, int], options: Options, passes: int, *, masks: bool = False
) -> Forward:
    """The backend that the options ask for, or the best one there is.

    `masks`: one that masks by itself is welcome. OpenVINO does: masks are a third of what masked images are, and
    PyTorch's idle threads, which spin for milliseconds after each of its operations, are in the way of OpenVINO's.

    Raises:
        MissingExtraError: `openvino` was asked for and is not installed.
    """
    if isinstance(classifier, BlackBox):
        return Forward("black box", classifier, False)
    twin, precision = classifier.twin(), options.precision or classifier.precision

    def eager(inputs: Tensor) -> Tensor:
        return classifier.scores(twin, inputs, precision)

    plain = Forward("eager", eager, True, precision=precision)
    if options.backend == "eager":
        return plain
    if options.backend == "compiled":
        compiled = classifier.cached(("compiled", size, precision), lambda: _compiled(twin))
        call = Forward("compiled", lambda x: classifier.scores(compiled, x, precision), True, precision=precision)
        call.constant = True
        return _compared(call, eager, classifier, size)
    there = importlib.util.find_spec("openvino") is not None
    if options.backend == "openvino" and not there:
        raise MissingExtraError("backend='openvino' needs OpenVINO: pip install 'sightline[openvino]'")
    key = ("openvino", size, precision, masks)
    if not there or classifier.device.type != "cpu":
        plain.note = "openvino runs on the CPU only" if options.backend == "openvino" else None
        return plain
    if options.backend == "auto" and passes < _WORTH:
        return plain
    try:
        graph = classifier.cached(key, lambda: _openvino(classifier, twin, size, precision, masks))
    except Exception as failure:
        if isinstance(failure, SightlineError):
            raise
        plain.note = f"openvino could not convert the model: {str(failure).splitlines()[0][:200]}"
        return plain
    call = Forward("openvino", _runner(classifier, graph[0]), False, precision=precision, masks=masks)
    return _compared(call, _masking(eager) if masks else eager, classifier, size)


def _masking(eager: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda masks, base, change: eager(torch.addcmul(base, masks, change))


def _compared(forward: Forward, eager: Callable[..., Tensor], classifier: Classifier, size: Any) -> Forward:
    """The forward with eager as its judge, unless it has agreed before."""
    key = ("agrees", forward.name, size, forward.precision, forward.masks)
    forward.unchecked = None if classifier.holds(key) else eager
    forward.agreed = lambda: classifier.cached(key, lambda: True)
    return forward


def _compiled(twin: nn.Module) -> Any:
    mode = "reduce-overhead" if next(twin.parameters()).is_cuda else "default"  # CUDA graphs
    return torch.compile(twin, dynamic=False, mode=mode)


class _Scores(nn.Module):
    """The replica down to the one tensor that holds the scores."""

    def __init__(self, twin: nn.Module, select: Callable[[Any], Any]) -> None:
        super().__init__()
        self.twin, self.select = twin, select

    def forward(self, values: Tensor) -> Tensor | None:
        return first_tensor(self.select(self.twin(values)))


class _MaskedScores(_Scores):
    """The same of base + masks * change, for masks (m, 1, H, W) of one image."""

    def forward(self, masks: Tensor, base: Tensor, change: Tensor) -> Tensor | None:  # type: ignore[override]
        return super().forward(base + masks * change)


def _openvino(classifier: Classifier, twin: nn.Module, size: tuple[int, int], precision: str, masks: bool) -> Any:
    import openvino

    blank = classifier.normalise(torch.zeros(2, classifier.channels, *size, device=classifier.device)).contiguous()
    with same_signal_stack(), warnings.catch_warnings():  # it traces by a function of PyTorch that warns of its age
        warnings.simplefilter("ignore")
        scores = (_MaskedScores if masks else _Scores)(twin, classifier.select).eval()
        example = (blank[:, :1], blank[:1], blank[:1]) if masks else blank
        model = openvino.convert_model(scores, example_input=example, share_weights=True)
        image = [classifier.channels, *size]
        model.reshape({0: [-1, 1, *size], 1: [1, *image], 2: [1, *image]} if masks else [-1, *image])
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        return openvino.Core().compile_model(model, "CPU", settings), scores  # it may read weights of the replica


def _runner(classifier: Classifier, graph: Any) -> Callable[..., Tensor]:
    with same_signal_stack():
        request = graph.create_infer_request()

    def run(*inputs: Tensor) -> Tensor:
        arrays = {n: value.contiguous().numpy() for n, value in enumerate(inputs)}
        with same_signal_stack():
            result = request.infer(arrays, share_inputs=True)
        return classifier.check_outputs(torch.from_numpy(result[0]), len(inputs[0]))

    return run

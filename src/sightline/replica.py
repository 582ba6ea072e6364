"""The private frozen replica: the user's parameters' storage under module objects of our own.

Whatever is put on the replica (hooks, out-of-place activations, folded batch norms) never reaches the user's
model: not its mode, its flags, its hooks nor its `.grad`.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from sightline.errors import ModelError

# Forward hooks belong to what the model computes, so they are kept; backward hooks would only watch our gradients.
_KEPT_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_DROPPED_HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside wrappers such as `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def _share(value: Tensor) -> Tensor:
    if nn.parameter.is_lazy(value):
        raise ModelError("the model has lazy parameters that are not there yet; run it once on an image first")
    return value.clone() if value.is_inference() else value.detach()


def replicate(model: nn.Module) -> nn.Module:
    """Copy the module objects of a model but not its weights; put the copy in eval mode, frozen.

    Parameters share their storage with the user's; buffers (running statistics) are copied because a forward pass
    may write to them. Forward hooks are kept, backward hooks are not.

    Raises:
        ModelError: A scripted model, lazy parameters, or module objects that cannot be copied.
    """
    model = unwrap(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript model hides its layers; pass the original module, or wrap it in sl.BlackBox")
    memo: dict[int, Any] = {}
    for module in model.modules():
        state = module.__dict__
        for name in _KEPT_HOOKS:
            memo[id(state[name])] = OrderedDict(state[name])
        for name in _DROPPED_HOOKS:
            if name in state:
                memo[id(state[name])] = OrderedDict()
        for parameter in module._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = nn.Parameter(_share(parameter), requires_grad=False)
        for buffer in module._buffers.values():
            if buffer is not None:
                memo[id(buffer)] = _share(buffer).clone()
        for value in state.values():
            if isinstance(value, Tensor):
                memo.setdefault(id(value), value.detach())
    try:
        twin = copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as reason:
        raise ModelError(
            f"the modules of {type(model).__name__} cannot be copied ({reason}); wrap it in sl.BlackBox"
        ) from reason
    return twin.eval()


def out_of_place(twin: nn.Module) -> nn.Module:
    """Clear the in-place flags of a replica's modules, for passes that look at many activations at once."""
    for module in twin.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]
    return twin


def versions(model: nn.Module) -> tuple[int, ...]:
    """A stamp that changes whenever a parameter or a buffer of the model is written to, replaced or moved."""
    tensors = [_share(t) if nn.parameter.is_lazy(t) else t for t in (*model.parameters(), *model.buffers())]
    return tuple(part for t in tensors for part in (id(t), t.data_ptr(), -1 if t.is_inference() else t._version))


def fold_batch_norms(twin: nn.Module) -> frozenset[tuple[str, str]]:
    """Fold batch norms into the convolutions (or linear layers) right before them, on a replica, where that is exact.

    Exact means: in the *graph* the batch norm is the only reader of the convolution, each runs once, and the norm uses
    running statistics. A model that cannot be traced stays as it is.

    Returns:
        Pairs of names (convolution, norm): between the two, values are no longer the original's.
    """
    try:
        graph = fx.Tracer().trace(twin)
    except Exception:  # noqa: BLE001 - tracing runs the model's own code; not to fold is always right
        return frozenset()
    modules = dict(twin.named_modules())
    calls = [node.target for node in graph.nodes if node.op == "call_module"]
    folded = set()
    for node in graph.nodes:
        if node.op != "call_module" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        before = node.args[0]
        norm = modules[str(node.target)]
        if (
            before.op != "call_module"
            or len(before.users) != 1
            or calls.count(node.target) > 1
            or calls.count(before.target) > 1
        ):
            continue
        first = modules[str(before.target)]
        pair = (type(first), type(norm))
        if (
            not (isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.track_running_stats)
            or _hooked(first)
            or _hooked(norm)
        ):
            continue
        if pair == (nn.Conv2d, nn.BatchNorm2d):
            _put(twin, str(before.target), fuse_conv_bn_eval(first, norm))
        elif pair == (nn.Linear, nn.BatchNorm1d):
            _put(twin, str(before.target), fuse_linear_bn_eval(first, norm))
        else:
            continue
        _put(twin, str(node.target), nn.Identity())
        folded.add((str(before.target), str(node.target)))
    return frozenset(folded)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, module.requires_grad_(False).eval())


def fingerprint(state: Mapping[str, Any]) -> str:
    """The first 16 hex digits of SHA-256 over the names, shapes and values of all weights of a state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]

"""Classifiers whose weights are random in part: private copies, made once a session, that share all other weights."""

import zlib
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MetricError
from sightline.metrics.session import Session

Order = Literal["cascading", "bottom-up", "independent"]
Initialiser = Literal["normal", "permuted"]
Statistics = Literal["kept", "reset"]


def stages(
    session: Session, order: Order, steps: int | None, initialiser: Initialiser, statistics: Statistics
) -> list[Classifier]:
    """The classifiers of a randomisation, one a step; see `parameter-randomisation`.

    Raises:
        MetricError: A setting that is none of ours, or a model without parameters.
    """
    known = {"order": (order, Order), "initialiser": (initialiser, Initialiser), "statistics": (statistics, Statistics)}
    for name, (given, kinds) in known.items():
        if given not in get_args(kinds):
            raise MetricError(f"{name} must be {' or '.join(map(repr, get_args(kinds)))}, not {given!r}")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise MetricError(f"steps is a number of steps from 1, or None for a step a module, not {steps!r}")

    def make() -> list[Classifier]:
        modules: list[str] = _whole(session).cached("output down", lambda: _from_the_output_down(session))
        parts = _parted(modules if order != "bottom-up" else modules[::-1], steps)
        alone = order == "independent"
        chosen = [parts[i] if alone else [n for part in parts[: i + 1] for n in part] for i in range(len(parts))]
        return [_randomised(session, names, initialiser, statistics) for names in chosen]

    return session.once(("randomised", order, steps, initialiser, statistics), make)


def _parted(names: list[str], steps: int | None) -> list[list[str]]:
    """Names in as many parts as there are steps, in their order, of lengths that differ by 1 at most."""
    n = len(names)
    count = n if steps is None else min(steps, n)
    return [names[i * n // count : (i + 1) * n // count] for i in range(count)]


def _whole(session: Session) -> Classifier:
    if isinstance(session.classifier, BlackBox):
        raise MetricError("a BlackBox shows no weights that could be randomised")
    return session.classifier


def _base(session: Session) -> nn.Module:
    classifier = _whole(session)
    return session.once("replica", lambda: replica.replicate(classifier.source).to(classifier.device))


def _from_the_output_down(session: Session) -> list[str]:
    """Names of the modules that hold parameters of their own and run, the last to run first.

    A module that is not called but read by its parent (the projection of an attention) follows its parent.
    """
    classifier, net = _whole(session), replica.replicate(_base(session))
    ran: dict[str, int] = {}  # in the order of the first call
    names = {module: name for name, module in net.named_modules()}

    def note(module: nn.Module, _inputs: object) -> None:
        ran.setdefault(names[module], len(ran))

    for module in names:
        module.register_forward_pre_hook(note)
    with torch.inference_mode(False), torch.no_grad():
        classifier.run(net, session.pixels[:1])
    place: dict[str, tuple[int, int]] = {}
    for name, module in net.named_modules():
        parent = name.rpartition(".")[0]
        if not any(p is not None for p in module._parameters.values()):
            continue
        if name in ran:
            place[name] = (ran[name], 0)
        elif parent and parent in ran:
            place[name] = (ran[parent], 1)
    if not place:
        raise MetricError(f"{type(classifier.source).__name__} has no parameters that could be randomised")
    return sorted(place, key=place.__getitem__, reverse=True)


def _randomised(session: Session, names: list[str], initialiser: Initialiser, statistics: Statistics) -> Classifier:
    """The classifier with random weights in the named modules; all others are shared with the user's model."""
    net = replica.replicate(_base(session))
    drawn: dict[int, nn.Parameter] = {}
    for name in names:
        module = net.get_submodule(name)
        for key, value in module._parameters.items():
            if value is not None and id(value) not in drawn:
                drawn[id(value)] = nn.Parameter(_draw(session, f"{name}.{key}", value, initialiser), False)
        if statistics == "reset" and isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
    for module in net.modules():  # all of them: weights may be tied
        for key, value in module._parameters.items():
            if value is not None and id(value) in drawn:
                module._parameters[key] = drawn[id(value)]
    return _whole(session).like(net, stands_in=True)


def _draw(session: Session, name: str, value: Tensor, initialiser: Initialiser) -> Tensor:
    """Random values for one parameter: the same in all steps."""

    def make() -> Tensor:
        generator = torch.Generator().manual_seed(session.seed * 4_294_967_291 % 2**62 + zlib.crc32(name.encode()))
        if initialiser == "permuted":
            order = torch.randperm(value.numel(), generator=generator)
            return value.detach().flatten()[order.to(value.device)].reshape(value.shape)
        noise = torch.randn(value.shape, generator=generator).to(value.device)
        flat = value.detach().float()
        return (flat.mean() + flat.std(correction=0) * noise).to(value.dtype)

    return session.once(("random parameter", name, initialiser), make)

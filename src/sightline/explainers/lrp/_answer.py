"""A question answered by relevance: where it starts, rounds of targets in one backward pass, and the account."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline import target as targets
from sightline.capture import taped
from sightline.conservation import Conservation
from sightline.errors import LayerError, ModelError, SightlineWarning
from sightline.explainers.lrp._plan import at_least_float, float_twin
from sightline.explainers.lrp._propagate import Propagation, Way, prepared, way
from sightline.explainers.lrp._shares import Bias
from sightline.explainers.lrp.composites import Composite
from sightline.explainers.question import Question, Round
from sightline.target import Similarity, Target

_TOGETHER = 8  # rounds of targets in one backward pass
TOLERANCE = 0.01
GROWTH = 1e3


@dataclass
class Forward:
    """One forward pass with rules.

    Attributes:
        question: What is asked.
        chosen: Plan and rules.
        values: (B, C, H, W) the normalised images.
        outputs: (B, n) with a graph.
        seen: Outputs of the tapped layers.
        accounts: Leaves whose gradients are the account of each operation.
    """

    question: Question
    chosen: Way
    values: Tensor
    outputs: Tensor
    seen: dict[str, Tensor]
    accounts: dict[int, Tensor]


def forward(
    question: Question, composite: Composite, bias: Bias, layers: Sequence[str] = (), *, pixels: bool, account: bool
) -> Forward:
    """Run the images once; call it inside `differentiable`.

    Raises:
        ModelError: The model has operations without a rule, or ends in probabilities.
        LayerError: A layer takes no part in the forward pass.
    """
    model = question.model
    plan = prepared(model, question.pixels)
    last = [plan.operations[i] for i in plan.outputs]
    if model.decision != "embedding" and any(op.kind == "softmax" or op.function == "sigmoid" for op in last):
        raise ModelError(
            "the model ends in a sigmoid or softmax, so its outputs are probabilities where scores (logits) are "
            "needed; take it off, or build the classifier with output= that undoes it"
        )
    chosen = way(plan, composite, bias)
    twin = float_twin(model)
    values = at_least_float(model.normalise(question.pixels).detach()).requires_grad_(pixels)
    mode = Propagation(chosen, len(values) if account else 0)
    with taped(twin, layers) as tape, mode:
        # Relevance keeps its books in float32: in bfloat16 sums near zero would lose what they are about.
        outputs = model.scores(twin, values, "float32")
    for name in layers:
        if name not in tape.seen:
            raise LayerError(f"layer {name!r} takes no part in the forward pass; choose another one")
    question.resolve(outputs)
    return Forward(question, chosen, values, outputs, tape.seen, mode.accounts)


def start(question: Question, outputs: Tensor, turn: Round, *, contrast: bool = False) -> Tensor:
    """Relevance of the outputs (B, n, ...) for one round of targets; it sums to each row's score.

    R_c = y_c ds/dy_c, which sums to s where s is linear in the outputs. A cosine is constant along y, so for a
    similarity the norm of y counts as a constant: R_c = y_c r_c / (|y| |r|). With `contrast` each output that the
    target does not ask about starts with -y_c / (their number), and the sum is no longer s.
    """
    y = outputs.detach().requires_grad_()
    rows: list[Target] = [question.targets[r] for r in turn.rows.tolist()]
    with torch.enable_grad():
        s = targets.scores(rows, y[turn.images])
        (gradient,) = torch.autograd.grad(s.sum(), y)
    R = (y * gradient).detach()
    alike = [i for i, row in enumerate(rows) if isinstance(row, Similarity)]
    for i in alike:
        e = y[turn.images[i]].detach()
        R[turn.images[i]] += s[i].detach() * e.square() / e.square().sum().clamp(min=1e-12)
    if contrast:
        rest = (gradient == 0) & (gradient != 0).flatten(1).any(1).reshape(-1, *[1] * (R.ndim - 1))
        R = R - rest * y.detach() / rest.sum(1, keepdim=True).clamp(min=1)
    return R


def relevance(
    run: Forward, wanted: Sequence[Tensor], *, contrast: bool = False
) -> Iterator[tuple[Round, list[Tensor], dict[int, Tensor]]]:
    """For each round relevance at the wanted tensors (whole batch) and each operation's account (B, 6).

    Several rounds share one batched backward pass.
    """
    question = run.question
    rounds = list(question.rounds())
    accounts = list(run.accounts.items())
    leaves = [*wanted, *(leaf for _, leaf in accounts)]
    for first in range(0, len(rounds), _TOGETHER):
        group = rounds[first : first + _TOGETHER]
        starts = torch.stack([start(question, run.outputs, turn, contrast=contrast) for turn in group])
        last = first + _TOGETHER >= len(rounds)
        if len(group) == 1:
            found = torch.autograd.grad(run.outputs, leaves, starts[0], retain_graph=not last, allow_unused=True)
            found = tuple(None if f is None else f[None] for f in found)
        else:
            found = torch.autograd.grad(
                run.outputs, leaves, starts, retain_graph=not last, allow_unused=True, is_grads_batched=True
            )
        if any(f is None for f in found[: len(wanted)]):
            raise LayerError("no relevance reaches this layer from the scores; choose a later one")
        for i, turn in enumerate(group):
            books = {
                index: value[i]
                for (index, _), value in zip(accounts, found[len(wanted) :], strict=True)
                if value is not None
            }
            yield turn, [f[i] for f in found[: len(wanted)] if f is not None], books


def balance(run: Forward, books: Sequence[tuple[Round, dict[int, Tensor]]], total: Tensor) -> Conservation:
    """Put the accounts of all rounds together."""
    indices = sorted({index for _, book in books for index in book})
    count = len(run.question.targets)
    sums = torch.zeros(6, len(indices), count, dtype=run.values.dtype, device=run.values.device)
    for turn, book in books:
        for place, index in enumerate(indices):
            if index in book:
                sums[:, place, turn.rows] = book[index][turn.images].T
    ops = [run.chosen.plan.operations[i] for i in indices]
    into, out, bias, eps, arrives, size = sums
    return Conservation(
        layers=tuple(op.name for op in ops),
        kinds=tuple(op.kind for op in ops),
        rules=tuple(str(run.chosen.rules[i]) for i in indices),
        relevance_in=into,
        relevance_out=out,
        bias=bias,
        stabiliser=eps,
        absolute_in=arrives,
        absolute=size,
        score=run.question.score.to(sums),
        total=total.to(sums),
    )


def audit(account: Conservation, *, strict: bool) -> None:
    """Warn, or raise, where the books do not balance.

    Raises:
        ModelError: They do not, and `strict` is set.
    """
    said = []
    lost = float(account.unexplained_share.max())
    if lost > TOLERANCE:
        said.append(f"{lost:.1%} of the score is lost in a way that the rules do not explain, most at {account.worst}")
    sums = [i for i, kind in enumerate(account.kinds) if kind == "sum"]
    if sums:
        growth = account.growth[sums]
        place = int(growth.amax(1).argmax())
        if float(growth[place].max()) > GROWTH:
            times = f"{float(growth[place].max()):.3g} times"
            said.append(
                f"at the sum {account.layers[sums[place]]} relevance grows {times} in size:"
                " its branches nearly cancel; a composite with ('sum', ZPlus()) stays bounded"
            )
    if said and strict:
        raise ModelError("; ".join(said))
    if said:
        warnings.warn("lrp: " + "; ".join(said) + " (see explanation.conservation)", SightlineWarning, stacklevel=2)

"""Logit adjustment after the fact: a trained classifier whose decisions no longer lean to what was frequent."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sightline.classifier import Classifier
from sightline.errors import InputError, ModelError


def logit_adjusted(classifier: Classifier, prior: Mapping[str, float] | None = None, *, tau: float = 1.0) -> Classifier:
    """A classifier with shifted logits, z' = z - tau log(S+ / S-) (Menon et al., 2021, arXiv 2007.07314).

    With tau = 1 it decides as if yes and no had been equally frequent in training, provided that the classifier was
    trained with plain cross-entropy and is calibrated. Nothing is trained: the shift goes into the bias of the head
    where the head has one, and behind the model elsewhere.

    Args:
        classifier: Yes-or-no outputs. It is not changed.
        prior: S+, the share of yes in training, of each label; by default what a file of `sightline train attributes`
            says.
        tau: How much.

    Returns:
        Another classifier, asked in the same way.

    Raises:
        InputError: A label without a share, or a share that is not between 0 and 1.
        ModelError: Outputs that are not yes-or-no.
    """
    if classifier.decision not in ("multilabel", "binary"):
        raise ModelError(f"logit adjustment shifts yes-or-no outputs; this classifier's are {classifier.decision}")
    known = getattr(classifier.source, "metadata", None) or {}
    shares = prior if prior is not None else known.get("training_rates")
    if shares is None:
        raise InputError("this classifier does not say how frequent its answers were in training; give prior=")
    missing = [name for name in classifier.labels if shares.get(name) is None]
    if missing:
        raise InputError(f"prior has no share of {missing[0]!r}; it has {', '.join(shares)}")
    S = torch.tensor([float(shares[name]) for name in classifier.labels], dtype=torch.float64)
    if bool(((S <= 0) | (S >= 1)).any()):
        worst = classifier.labels[int(((S - 0.5).abs()).argmax())]
        raise InputError(f"the share of {worst!r} is {shares[worst]}; it must be between 0 and 1")
    shift = (tau * torch.log(S / (1 - S))).float()
    model = _in_head(classifier, shift) or Shifted(copy.deepcopy(classifier.source), shift)
    model.metadata = {**known, "logit_adjusted": {"tau": tau}}  # type: ignore[assignment]
    return classifier.like(model)


class Shifted(nn.Module):
    """A model with a constant taken from its outputs.

    Args:
        model: Gives (B, A).
        shift: (A,) what is taken away.
    """

    def __init__(self, model: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Tensor:
        """Shifted logits."""
        out: Tensor = self.model(images) - self.shift
        return out


def _in_head(classifier: Classifier, shift: Tensor) -> nn.Module | None:
    """A copy with the shift in the bias of its last linear layer, where that does what it should; else None."""
    model = copy.deepcopy(classifier.source)
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == len(shift)]
    if not heads or heads[-1].bias is None:
        return None
    with torch.no_grad():
        heads[-1].bias.sub_(shift.to(heads[-1].bias))
    generator = torch.Generator().manual_seed(0)
    probe = torch.rand(2, classifier.channels, *classifier.size, generator=generator)
    asked, moved = classifier(probe).cpu(), classifier.like(model)(probe).cpu()
    return model if torch.allclose(asked - shift, moved, atol=1e-3, rtol=1e-3) else None

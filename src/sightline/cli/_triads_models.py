"""The models that `sightline triads` was given: how alike each of them finds images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sightline.classifier import Classifier
from sightline.cli._ask import read_settings
from sightline.cli._options import load_classifier
from sightline.errors import InputError
from sightline.studies import people
from sightline.studies.generalising.family import read_family
from sightline.studies.people import SimilarityMatrix, Stimuli
from sightline.target import AnyTarget


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models that were typed: a family, one or two models, or matrices from files."""

    family: Path | None = None
    by: str | None = None
    model: str | None = None
    weights: str | None = None
    against: str | None = None
    against_weights: str | None = None
    given: dict[str, Any]
    similarities: Sequence[str] = ()
    seen: Sequence[str] = ()
    run: Path | None = None
    method: str = "lrp"
    settings: Sequence[str] = ()
    keep: float = 20
    layer: str | None = None
    measure: str = "cosine"

    def matrices(self, images: Stimuli | None) -> list[tuple[str, SimilarityMatrix]]:
        """(group, matrix) of every model: the group is the value of `--by`, else the model's name.

        Raises:
            SightlineError: What cannot be used; the text names it.
        """
        found: list[tuple[str, SimilarityMatrix]] = []
        for text in self.similarities:
            name, equals, file = text.partition("=")
            matrix = people.read_similarity(file if equals else text, name=name if equals else None)
            found.append((matrix.name, matrix))
        members = self._members()
        if members and images is None:
            raise InputError("models judge images; name their folder with --images")
        if members and images is not None:
            group = {m.name: m.group for m in members}
            found += [(group[matrix.name], matrix) for matrix in self._asked(members, images)]
        return found

    def _members(self) -> list["Asked"]:
        members: list[Asked] = []
        if self.family is not None:
            family = read_family(self.family)
            if self.by is not None and self.by not in family.factors:
                raise InputError(f"--by {self.by}: factors of the family are {', '.join(family.factors) or 'none'}")
            for m in family:
                group = m.factors[self.by] if self.by else m.name
                members.append(Asked(m.name, group, m.classifier, m.target, m.layer, dict(m.settings)))
        elif self.by is not None:
            raise InputError("--by names a factor of a --family")
        names: set[str] = {m.name for m in members}
        for model, weights in ((self.model, self.weights), (self.against, self.against_weights)):
            if model is not None:
                classifier = load_classifier(model, weights=weights, **self.given)
                name = _free(_short(model, weights), names)
                members.append(Asked(name, name, classifier, None, None, {}))
        return members

    def _asked(self, members: Sequence["Asked"], images: Stimuli) -> list[SimilarityMatrix]:
        seen = tuple(self.seen) or ("embedding",)
        maps: dict[str, Any] = {}
        if {"masked", "map"} & set(seen):
            if self.run is not None:
                from sightline.studies import Generalisation

                maps = dict(people.run_maps(Generalisation(self.run), images.names))
            else:
                maps = {m.name: self._maps(m, images) for m in members}
        return people.model_similarities(
            {m.name: m.classifier for m in members},
            images,
            seen=seen,  # type: ignore[arg-type] # checked there
            maps=maps,
            keep=self.keep,
            layers={m.name: self.layer for m in members} if self.layer else None,
            measure=self.measure,  # type: ignore[arg-type] # checked there
        )

    def _maps(self, member: "Asked", images: Stimuli) -> Any:
        settings = read_settings(self.settings, [self.method])[self.method] | member.settings
        pixels = images.at(member.classifier.size)
        return people.relevance(
            member.classifier, pixels, method=self.method, target=member.target, layer=member.layer, **settings
        )


class Asked(NamedTuple):
    """A model that was typed, and the group it belongs to."""

    name: str
    group: str
    classifier: Classifier
    target: AnyTarget
    layer: Any
    settings: dict[str, Any]


def _short(model: str, weights: str | None) -> str:
    stem = Path(weights).stem if weights and weights != "random" else model.rpartition(":")[2]
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in stem).strip("-") or "model"


def _free(name: str, names: set[str]) -> str:
    found, number = name, 2
    while found in names:
        found, number = f"{name}-{number}", number + 1
    names.add(found)
    return found

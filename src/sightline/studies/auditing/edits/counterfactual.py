"""Exact counterfactuals of rendered faces."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sightline.data.faces import NAMES, Faces, Parameters, render
from sightline.errors import InputError
from sightline.studies.auditing.edits.base import Block, Case, Direction, Edit, Refusal, edit


def _rendered(plan: Any, name: str) -> Faces:
    """The study's faces.

    Raises:
        InputError: It has photographs.
    """
    if not isinstance(plan.records, Faces):
        raise InputError(f"the edit {name!r} needs rendered faces; for photographs use swap, or pairs made elsewhere")
    return plan.records


@edit
@dataclass(frozen=True, kw_only=True)
class Counterfactual(Edit):
    """Switch one attribute of a rendered face, everything else equal; the change carried elsewhere is its control."""

    name: ClassVar[str] = "counterfactual"
    summary: ClassVar[str] = "the same rendered face with the attribute switched"
    needs: ClassVar[str] = "rendered faces"

    def bound(self, plan: Any) -> Edit:
        """Checks that there are rendered faces."""
        _rendered(plan, self.name)
        return self

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case an attribute of each image."""
        faces = block.plan.records[list(block.places)]
        for attribute, name in enumerate(block.names):
            if name not in NAMES:
                for image in range(len(faces)):
                    reason = "the renderer does not know this attribute"
                    yield Refusal(image=image, region=None, attributes=(attribute,), reason=reason)
                continue
            others = render(faces.parameters.switch(name), size=block.pixels.shape[-1]).to(block.pixels.device)
            on = faces.attributes[:, faces.names.index(name)].tolist()
            for image, other in enumerate(others):
                mask = (other != block.pixels[image]).any(0)
                direction: Direction = "remove" if on[image] else "insert"
                if not bool(mask.any()):
                    reason = "no pixel shows the attribute"
                    yield Refusal(image=image, region=name, attributes=(attribute,), reason=reason)
                else:
                    yield Case(
                        image=image,
                        region=name,
                        directions={attribute: direction},
                        mask=mask,
                        other=other,
                        moved="change",
                    )


@edit
@dataclass(frozen=True, kw_only=True)
class Cue(Edit):
    """Switch the planted cue of rendered faces and read all attributes: which of them follow it?

    It goes with one attribute; the decisions on the others are read as well.
    """

    name: ClassVar[str] = "cue"
    summary: ClassVar[str] = "the same rendered face with the planted cue switched"
    needs: ClassVar[str] = "rendered faces with a shortcut"

    def bound(self, plan: Any) -> Edit:
        """Checks that there are rendered faces with a planted shortcut."""
        if _rendered(plan, self.name).parameters.shortcut is None:
            raise InputError("no shortcut was planted in these faces; draw them with shortcut=")
        return self

    def cases(self, block: Block) -> Iterator[Case | Refusal]:
        """One case an image."""
        faces = block.plan.records[list(block.places)]
        p = faces.parameters
        switched = Parameters(p.attributes, p.nuisance, p.keys, ~p.cue, p.shortcut)
        others = render(switched, size=block.pixels.shape[-1]).to(block.pixels.device)
        for image, (other, on) in enumerate(zip(others, faces.cue.tolist(), strict=True)):
            yield Case(
                image=image,
                region="cue",
                directions=dict.fromkeys(range(len(block.names)), "remove" if on else "insert"),
                mask=(other != block.pixels[image]).any(0),
                other=other,
                moved="change",
            )

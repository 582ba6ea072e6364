"""What is to be trained, on what, by which recipe; checked before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.classifier import BlackBox, Classifier
from sightline.data.fitting import How
from sightline.errors import MethodError
from sightline.explainers.learned._attention import Attention, Directions, Kind, default_layers
from sightline.explainers.learned._channels import directions_for
from sightline.explainers.learned._file import about_of
from sightline.training.attention.material import Material, material
from sightline.training.attention.recipe import Recipe, recipe_of
from sightline.training.attention.targets import check_labels


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be trained on what."""

    classifier: Classifier
    auxiliary: Classifier | None
    method: Kind
    layers: tuple[str, ...]
    directions: Directions
    variant: Mapping[str, Any]
    recipe: Recipe
    material: Material
    fit: How

    def settings(self, world: int) -> dict[str, Any]:
        """What decides about the numbers."""
        described = self.classifier.describe()
        described.pop("device")
        helper = None if self.auxiliary is None else {**self.auxiliary.describe(), "device": None}
        return {
            "method": self.method,
            "layers": list(self.layers),
            "directions": self.directions,
            "variant": dict(self.variant),
            "recipe": self.recipe.described(),
            "backbone": described,
            "auxiliary": helper,
            "size": list(self.classifier.size),
            "fit": self.fit,
            "images": {**self.material.counts(), "digest": self.material.digest},
            "processes": world,
        }

    def about(self, attention: Attention) -> dict[str, Any]:
        """What stands in the attention's file, beside the training."""
        return about_of(
            attention,
            self.classifier,
            auxiliary=self.auxiliary,
            mask_space="features" if self.method == "l-cam-fm" else self.recipe.mask_space,
            recipe=self.recipe.described(),
            images={**self.material.counts(), "digest": self.material.digest},
        )


def job_of(
    classifier: Classifier | BlackBox,
    data: Any,
    *,
    method: Kind = "l-cam-fm",
    layer: str | Sequence[str] | None = None,
    recipe: str | Recipe = "paper",
    directions: Directions | None = None,
    auxiliary: Classifier | None = None,
    variant: Mapping[str, Any] | None = None,
    validation_images: Any = None,
    exclude: Any = (),
    fit: How = "crop",
    **changes: Any,
) -> Job:
    """Check what is asked; settings as for `fit_attention`.

    Raises:
        SightlineError: What cannot be done; the text names it.
    """
    if isinstance(classifier, BlackBox):
        raise MethodError(
            "training needs gradients through the classifier, which a BlackBox does not give: train p-tame beside a "
            "Classifier of a similar task; the weights then explain a BlackBox with the same outputs"
        )
    name = "constant" if method == "learned-constant" else method  # type: ignore[comparison-overlap]
    found = recipe_of(recipe, name, **changes)
    sides = directions_for(classifier, directions)
    named = (layer,) if isinstance(layer, str) else tuple(layer or ())
    layers = named or default_layers(name, classifier, auxiliary=auxiliary)
    share = 0.0 if validation_images is not None else found.validation
    images = material(data, classifier, share=share, validation=validation_images, exclude=exclude, how=fit)
    check_labels(found.targets, images.labels, "images")
    return Job(
        classifier=classifier,
        auxiliary=auxiliary,
        method=name,
        layers=layers,
        directions=sides,
        variant=dict(variant or {}),
        recipe=found,
        material=images,
        fit=fit,
    )

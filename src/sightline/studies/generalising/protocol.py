"""What the manifest says of a study beside its settings: family, methods, and the switches that move the figures."""

from typing import TYPE_CHECKING, Any

from sightline.studies.benchmarking.plan import settled

if TYPE_CHECKING:
    from sightline.studies.generalising.plan import Plan


def protocol(plan: "Plan") -> dict[str, Any]:
    """Switches that move the figures, to be printed under the tables."""
    return {
        "explained": "the decision of each member on the unaltered image, resolved once",
        "ranking": "raw signed relevance, the highest first; bilinear to the target's size, antialiased where it "
        "shrinks; ties by a random permutation that belongs to the image",
        "smoothing": f"Gaussian of {plan.smooth:g} of the width" if plan.smooth else "none",
        "levels": ", ".join(f"{q:g} %" for q in plan.levels),
        "modes": ", ".join(f"{mode} the top q % of the pixels" for mode in plan.modes),
        "fills": ", ".join(plan.fills),
        "random": "pixels of a random permutation",
        "controls": ", ".join(plan.controls),
        "input": {m.name: "x".join(map(str, m.classifier.size)) for m in plan.family},
        "images": plan.source.described["images"],
        "regions": plan.source.described["regions"],
        "count": len(plan.source.keys),
        "precision": plan.options.precision or "the model's own",
        "backend": plan.options.backend,
        "seed": plan.seed,
    }


def manifest(plan: "Plan") -> dict[str, Any]:
    """All of it, as the run's folder has it."""
    settings = plan.settings()
    return {
        "study": "generalise",
        "settings": settings,
        "family": {
            "name": plan.family.name,
            "factors": list(plan.family.factors),
            "members": {m.name: dict(m.factors) for m in plan.family},
        },
        "models": settings["models"],
        "methods": [{"name": m.name, "label": m.label, **settled(m)} for m in plan.methods],
        "levels": list(plan.levels),
        "fills": list(plan.fills),
        "modes": list(plan.modes),
        "controls": list(plan.controls),
        "regions": list(plan.source.regions),
        "labels": {m.name: list(m.classifier.labels[:1000]) for m in plan.family},
        "data": {"images": len(plan.source.keys), "root": plan.root},
        "protocol": protocol(plan),
        "versions": settings["versions"],
        "seed": plan.seed,
    }

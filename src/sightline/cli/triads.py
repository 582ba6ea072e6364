"""`sightline triads`: whose idea of what looks alike do people share? Choose questions, ask them, score answers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import _options as options
from sightline.cli._triads_options import (
    MAKE,
    PAGE,
    PEOPLE_PANEL,
    SCORE,
    Against,
    AgainstWeights,
    By,
    Family,
    Fit,
    Keep,
    Layer,
    Matrix,
    Measure,
    Method,
    Run,
    Seen,
)

triads = typer.Typer(
    no_args_is_help=True,
    help="Ask people which of two images is more like a third, and compare their choices with models'.",
)


@triads.callback()
def _group() -> None:
    """Ask people which of two images is more like a third, and compare their choices with models'."""


def _given(labels: Any, decision: Any, mean: Any, std: Any, size: Any, device: str) -> dict[str, Any]:
    return {"labels": labels, "decision": decision, "mean": mean, "std": std, "size": size, "device": device}


@triads.command(epilog=MAKE)
def make(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images.")],
    design: Annotated[
        str,
        typer.Option(
            help="runner-up, contrasted, balanced or random. Example: --design balanced", rich_help_panel=PEOPLE_PANEL
        ),
    ] = "runner-up",
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many; one a target unless given. Example: --trials 95", rich_help_panel=PEOPLE_PANEL
        ),
    ] = None,
    catch: Annotated[
        int,
        typer.Option(
            min=0,
            help="Trials in which one option is the target itself, to see who looks. Example: --catch 4",
            rich_help_panel=PEOPLE_PANEL,
        ),
    ] = 0,
    practice: Annotated[
        int,
        typer.Option(
            min=0, help="Trials before, that do not count. Example: --practice 2", rich_help_panel=PEOPLE_PANEL
        ),
    ] = 2,
    identities: Annotated[
        bool,
        typer.Option(
            "--identities",
            help="Images of one subfolder show the same person: none of them is an option beside another. "
            "Example: --identities",
            rich_help_panel=PEOPLE_PANEL,
        ),
    ] = False,
    seed: options.Seed = 0,
    family: Family = None,
    by: By = None,
    model: options.ModelAsExplained = None,
    weights: options.Weights = None,
    against: Against = None,
    against_weights: AgainstWeights = None,
    similarity: Matrix = None,
    labels: options.Labels = None,
    decision: options.Decision = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    device: options.Device = "auto",
    seen: Seen = None,
    run: Run = None,
    method: Method = "lrp",
    set_: options.Settings = None,
    keep: Keep = 20,
    layer: Layer = None,
    measure: Measure = "cosine",
    fit: Fit = "squash",
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where to. Example: --out triads.csv")] = Path(
        "triads.csv"
    ),
) -> None:
    """Choose which triads to ask."""
    from sightline.cli import _triads
    from sightline.cli._triads_models import Models

    models = Models(
        family=family,
        by=by,
        model=model,
        weights=weights,
        against=against,
        against_weights=against_weights,
        given=_given(labels, decision, mean, std, size, device),
        similarities=similarity or (),
        seen=seen or (),
        run=run,
        method=method,
        settings=set_ or (),
        keep=keep,
        layer=layer,
        measure=measure,
    )
    _triads.make(
        folder,
        models,
        fit=fit,
        design=design,
        trials=trials,
        identities=identities,
        catch=catch,
        practice=practice,
        seed=seed,
        out=out,
    )


@triads.command(epilog=PAGE)
def page(
    plan: Annotated[Path, typer.Argument(metavar="TRIADS.csv", help="What `sightline triads make` wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images.")],
    title: Annotated[str | None, typer.Option(help="Heading of the page. Example: --title Faces")] = None,
    prompt: Annotated[str | None, typer.Option(help="The question. Example: --prompt 'Who is more like her?'")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of a picture in pixels; 150 unless given. Example: --size 200")
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(help="Milliseconds between two questions; 500 unless given. Example: --gap 300"),
    ] = None,
    round_: Annotated[bool, typer.Option("--round", help="Show pictures through a circle. Example: --round")] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Show pictures in grey. Example: --grey")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where to. Example: --out page.html")] = Path(
        "triads.html"
    ),
) -> None:
    """Write the page that asks them: one HTML file."""
    from sightline.cli import _triads

    _triads.page(plan, folder, out, title=title, prompt=prompt, size=size, gap=gap, round=round_, grey=grey)


@triads.command(epilog=SCORE)
def score(
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="Tables (.csv), or folders of them.")],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The images, for models. Example: --images faces/",
            rich_help_panel=options.IMAGE_PANEL,
        ),
    ] = None,
    family: Family = None,
    by: By = None,
    model: options.ModelAsExplained = None,
    weights: options.Weights = None,
    against: Against = None,
    against_weights: AgainstWeights = None,
    similarity: Matrix = None,
    labels: options.Labels = None,
    decision: options.Decision = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    device: options.Device = "auto",
    seen: Seen = None,
    run: Run = None,
    method: Method = "lrp",
    set_: options.Settings = None,
    keep: Keep = 20,
    layer: Layer = None,
    measure: Measure = "cosine",
    fit: Fit = "squash",
    catch: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Leave out who passed a smaller share of the catch trials. Example: --catch 0.75",
            rich_help_panel=PEOPLE_PANEL,
        ),
    ] = 0.0,
    item: Annotated[
        str,
        typer.Option(
            help="What is resampled beside participants: target, or triad. Example: --item triad",
            rich_help_panel=PEOPLE_PANEL,
        ),
    ] = "target",
    resamples: Annotated[
        int, typer.Option(min=1, help="Of the bootstrap. Example: --resamples 500", rich_help_panel=PEOPLE_PANEL)
    ] = 2000,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page too. Example: --out people.html")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all tables for other programs. Example: --json a.json")
    ] = None,
) -> None:
    """Score answers: do models choose as people do, as far as people agree with each other?"""
    from sightline.cli import _triads
    from sightline.cli._triads_models import Models

    models = Models(
        family=family,
        by=by,
        model=model,
        weights=weights,
        against=against,
        against_weights=against_weights,
        given=_given(labels, decision, mean, std, size, device),
        similarities=similarity or (),
        seen=seen or (),
        run=run,
        method=method,
        settings=set_ or (),
        keep=keep,
        layer=layer,
        measure=measure,
    )
    settings = {"catch": catch, "item": item, "resamples": resamples, "seed": seed}
    _triads.score(answers, images, models, fit=fit, out=out, json_=json, **settings)

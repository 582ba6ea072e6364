"""The decorator of methods on masked images: it adds the engine's settings to the method's own."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sightline import registry
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._options import Options, defaults
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Method, Paper, Polarity

Function = TypeVar("Function", bound=Callable[..., Maps])


def masked(
    name: str,
    *,
    paper: Paper | None,
    summary: str,
    cost: str,
    forwards: int,
    needs: frozenset[str] | set[str] = frozenset(),
    signed: bool,
    polarity: Polarity = "positive",
    options: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> Callable[[Function], Function]:
    """Register a function of a `Question` and an `Engine` that returns `Maps`.

    Its keyword-only parameters and the fields of `Options` are the method's settings, but for those it has no use for.

    Args:
        name: As in the paper, in kebab-case.
        paper: The source.
        summary: One sentence.
        cost: In words.
        forwards: Full forward passes an image with the default settings.
        needs: `features`, `gradients`, or nothing.
        signed: Whether raw maps carry a sign.
        polarity: How heat maps read a raw map.
        options: Defaults of the engine's settings that differ for this method.
        without: Settings of the engine that would do nothing: `ANYTIME` or `ASKED`. To give one is an error.
    """

    def register(function: Function) -> Function:
        own = registry.keyword_settings(function)
        shared = {k: v for k, v in defaults(**(options or {})).items() if k not in without}

        def run(question: Question, **settings: Any) -> Maps:
            chosen = Options(**{k: settings[k] for k in shared})
            mine = {k: settings[k] for k in own}
            engine = Engine(question, name, chosen, mine)
            result = function(question, engine, **mine)
            result = replace(result, record={**result.record, "masking": engine.record})
            if engine.stopped is not None:
                raise _with_maps(engine.stopped, result, engine)
            return result

        run.__doc__, run.__module__, run.__qualname__ = function.__doc__, function.__module__, function.__qualname__
        registry.add(
            Method(
                name=name,
                family="masking",
                paper=paper,
                summary=summary,
                cost=cost,
                forwards=forwards,
                needs=frozenset(needs),
                signed=signed,
                polarity=polarity,
                settings={**own, **shared},
                function=run,
                runner="question",
                unrecorded=frozenset({"progress", "checkpoint", "chunk"}),
            )
        )
        return function

    return register


def _with_maps(reason: BaseException, maps: Maps, engine: Engine) -> BaseException:
    """The exception with the partial maps in it; the explainer turns them into an explanation."""
    done, of = sum(engine.record["passes"]), sum(engine.record["masks"])
    reason.sightline_maps = maps  # type: ignore[attr-defined]
    keep = " (and in the checkpoint: repeat the call to go on)" if engine.options.checkpoint else ""
    reason.add_note(f"{engine.name}: {done} of {of} passes are done; sl.partial(exception) gives their map{keep}")
    return reason

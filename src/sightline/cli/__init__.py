"""The shell: `sightline COMMAND`. One file a command; torch and tables are imported where a command runs."""

import importlib
import importlib.util
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sightline.errors import SightlineError, SightlineWarning

COMMANDS = (
    "demo",
    "explain",
    "methods",
    "layers",
    "metrics",
    "bench",
    "confusion",
    "train",
    "audit",
    "generalise",
    "triads",
    "report",
    "serve",
)
"""Commands in the order of the help. One is there when `sightline/cli/NAME.py` is: its function, or group, NAME."""

EXIT_SOME_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130


class Shell(TyperGroup):
    """The group of commands: errors of ours become one red line, an interruption becomes exit code 130."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept `--debug` after the command as well as before it."""
        before_dashes = args[: args.index("--")] if "--" in args else args
        if "--debug" in before_dashes:
            args = [a for i, a in enumerate(args) if a != "--debug" or i >= len(before_dashes)]
            ctx.obj = "debug"
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        debug = ctx.obj == "debug" or os.environ.get("SIGHTLINE_DEBUG", "") not in ("", "0")
        try:
            with _plain_warnings():
                return super().invoke(ctx)
        except SightlineError as error:
            if debug:
                raise
            typer.secho(f"error: {one_line(error)}", fg="red", err=True)
            raise typer.Exit(EXIT_ERROR) from error
        except KeyboardInterrupt as error:
            typer.secho(f"interrupted{f': {one_line(error)}' if str(error) else ''}", fg="yellow", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error


def one_line(text: object) -> str:
    """Text without line breaks."""
    return " ".join(str(text).split())


class _plain_warnings:  # noqa: N801 - used as a context manager
    """Warnings of ours as one yellow line each, without the place in the code."""

    def __enter__(self) -> None:
        import warnings

        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("always", SightlineWarning)
        usual = warnings.showwarning

        def show(message: Any, category: Any, *rest: Any, **more: Any) -> None:
            if issubclass(category, SightlineWarning):
                typer.secho(f"warning: {one_line(message)}", fg="yellow", err=True)
            else:
                usual(message, category, *rest, **more)

        warnings.showwarning = show

    def __exit__(self, *error: Any) -> None:
        self._caught.__exit__(*error)


_EPILOG = """Three to start with:

sightline demo

sightline explain photos/ --model torchvision:resnet50 --weights resnet50.pth --method grad-cam --method hires-cam

sightline layers timm:convnext_tiny --weights convnext.safetensors
"""

app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        from sightline import __version__

        typer.echo(f"sightline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
    _debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the whole traceback of an error (or set SIGHTLINE_DEBUG=1)."),
    ] = False,
) -> None:
    """Show where an image classifier looks, and measure whether that picture can be trusted.

    `sightline COMMAND --help` explains each command with examples.
    """


def _register() -> None:
    for name in COMMANDS:
        if importlib.util.find_spec(f"{__name__}.{name}") is not None:
            module = importlib.import_module(f"{__name__}.{name}")
            command = getattr(module, name)
            if isinstance(command, typer.Typer):  # a group of commands, with epilogs of their own
                app.add_typer(command, name=name)
            else:
                app.command(name, epilog=getattr(module, "EPILOG", None))(command)


_register()


def main() -> None:
    """Run the shell; the console script `sightline` and `python -m sightline` come here."""
    app(prog_name="sightline", args=sys.argv[1:])

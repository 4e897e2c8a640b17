"""The `lightface` command: its groups, and how an error becomes one line and an exit code."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lightface import __version__
from lightface.cli import (
    calibrate,
    cluster,
    detect,
    doctor,
    embed,
    enroll,
    evaluate,
    find,
    gallery,
    identify,
    models,
    people,
    program,
    train,
    verify,
)
from lightface.cli.console import KEPT, complain
from lightface.cli.options import CommandApp
from lightface.cli.program import TROUBLE, describe_failure
from lightface.errors import LightfaceError


class LightfaceGroup(TyperGroup):
    """Ends every trouble with one line on stderr and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs.update(prog_name="lightface", standalone_mode=False)
        status = TROUBLE
        try:
            status = super().main(*args, **kwargs)
            sys.stdout.flush()
        except typer.TyperException as error:
            complain(describe_usage(error))
        except typer.Abort:
            complain("stopped; nothing was changed")
        except LightfaceError as error:
            complain(str(error))
            status = TROUBLE
        sys.exit(status)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.TyperException, typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as error:
            complain(f"interrupted; {str(error) or KEPT}")
        except Exception as error:  # a crash must not say 1, which means "different"
            complain(describe_failure(error))
        raise typer.Exit(TROUBLE)


app = CommandApp(
    cls=LightfaceGroup,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> NoReturn:
    """As the console script does; for `torchrun -m lightface.cli.main`, and scripts that were installed before."""
    program.run(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lightface {__version__}")
        raise typer.Exit


@app.callback()
def lightface(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Photographs in, names out: face recognition that never leaves this machine."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_JOBS = "The jobs"
_FIGURES = "Figures"
_GALLERIES = "Galleries and models"
_MORE = "More"
app.command(rich_help_panel=_JOBS)(enroll.enroll)
app.command(rich_help_panel=_JOBS)(verify.verify)
app.command(rich_help_panel=_JOBS)(embed.embed)
app.command(rich_help_panel=_JOBS)(identify.identify)
app.command(rich_help_panel=_JOBS)(find.find)
app.command(rich_help_panel=_JOBS)(cluster.cluster)
app.command(rich_help_panel=_JOBS)(people.people)
app.command(rich_help_panel=_FIGURES)(evaluate.evaluate)
app.command(rich_help_panel=_FIGURES)(calibrate.calibrate)
app.add_typer(gallery.app, name="gallery", rich_help_panel=_GALLERIES)
app.add_typer(models.app, name="models", rich_help_panel=_GALLERIES)
for command in (detect.detect, train.train, doctor.doctor):
    app.command(rich_help_panel=_MORE)(command)


# What is wrong with a command line, in one line.


# What pydantic, by which typer converts, calls a value that is none of its kind.
_WANTED = {
    "float_parsing": "a number",
    "int_parsing": "a whole number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
}
_DATE = "a date, such as 2026-11-01, or with a time, 2026-11-01T18:30:00"


def describe_usage(error: typer.TyperException) -> str:
    """The problem, and the command whose help has the remedy."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lightface"
    theirs = error.format_message().rstrip(".").replace("Value error, ", "")  # pydantic's words
    message = _describe_value(error) or f"{theirs[:1].lower()}{theirs[1:]}"
    return f"{message} (see '{command} --help')"


def _describe_value(error: typer.TyperException) -> str | None:
    """A value of the wrong kind, and where it was given; None for other errors."""
    param, cause = getattr(error, "param", None), error.__cause__
    if param is None or cause is None or not hasattr(cause, "errors"):
        return None
    found = cause.errors()[0]
    wanted = _WANTED.get(found["type"])
    if param.type_descriptor.annotation is datetime:
        wanted = _DATE
    if wanted is None:
        return None
    return f"{_source_of(param, error)} is {found['input']!r}; it must be {wanted.format(**found.get('ctx', {}))}"


def _source_of(param: Any, error: Any) -> str:
    """The name of the variable or option that gave the value."""
    source = error.ctx.get_parameter_source(param.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(param.envvar)
    return str(max(param.opts, key=len))


if __name__ == "__main__":
    run()

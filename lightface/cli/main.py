"""The `lightface` command: its groups, and how an error becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lightface import __version__
from lightface.cli import doctor, gallery, models
from lightface.cli.console import complain
from lightface.errors import LightfaceError

TROUBLE = 2  # as cmp: 0 same or done, 1 different or unknown, 2 trouble
_INTERRUPTED = 130  # typer's own answer to Ctrl-C


class LightfaceGroup(TyperGroup):
    """Ends every trouble with one line on stderr and exit code 2."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = "lightface", *rest: Any, **extra: Any
    ) -> None:
        extra["standalone_mode"] = False
        try:
            status = super().main(args, "lightface", *rest, **extra)
            sys.stdout.flush()
        except LightfaceError as error:
            complain(str(error))
            status = TROUBLE
        except typer.TyperException as error:
            complain(_describe_usage(error))
            status = TROUBLE
        except typer.Abort:
            complain("stopped; nothing was changed")
            status = TROUBLE
        except BrokenPipeError:
            _silence_stdout()  # whoever read the results has seen enough
            status = TROUBLE
        except OSError as error:
            _silence_stdout()
            complain(f"cannot write the result ({error.strerror or error}); check where it goes")
            status = TROUBLE
        if status == _INTERRUPTED:
            complain("interrupted; what was finished is kept")
            status = TROUBLE
        sys.exit(status)


app = typer.Typer(
    cls=LightfaceGroup,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """The console script."""
    app()


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


def _silence_stdout() -> None:
    """Drop what is still buffered: Python would try again to write it at exit, and print a traceback."""
    with contextlib.suppress(OSError):  # a test's stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe_usage(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lightface"
    return f"{message[:1].lower()}{message[1:]} (see '{command} --help')"


_GALLERIES = "Galleries and models"
app.add_typer(gallery.app, name="gallery", rich_help_panel=_GALLERIES)
app.add_typer(models.app, name="models", rich_help_panel=_GALLERIES)

app.command(rich_help_panel="Help")(doctor.doctor)

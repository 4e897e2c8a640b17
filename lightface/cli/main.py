"""The `lightface` command: its groups, and how an error becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
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
    gallery,
    identify,
    models,
    train,
    verify,
)
from lightface.cli.commands import CommandApp
from lightface.cli.console import KEPT, complain
from lightface.cli.usage import describe_usage
from lightface.errors import LightfaceError

TROUBLE = 2  # as cmp: 0 same or done, 1 different or unknown, 2 trouble


class LightfaceGroup(TyperGroup):
    """Ends every trouble with one line on stderr and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs.update(prog_name="lightface", standalone_mode=False)
        try:
            status = super().main(*args, **kwargs)
            sys.stdout.flush()
        except typer.TyperException as error:
            complain(describe_usage(error))
            status = TROUBLE
        except typer.Abort:
            complain("stopped; nothing was changed")
            status = TROUBLE
        except OSError as error:
            status = _give_up_stdout(error)
        sys.exit(status)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LightfaceError as error:
            complain(str(error))
        except KeyboardInterrupt as error:
            complain(f"interrupted; {str(error) or KEPT}")
        except OSError as error:
            _give_up_stdout(error)
        raise typer.Exit(TROUBLE)


app = CommandApp(
    cls=LightfaceGroup,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(sys.stdout.fileno(), "wb", closefd=False)),
            encoding=sys.stdout.encoding,
            # A file name need not be text, nor every name fit the terminal's encoding.
            errors="backslashreplace" if sys.stdout.errors == "strict" else sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
        )
    app()


class _Stdout(io.FileIO):
    """Whoever reads a pipe may have seen enough; that changes nothing about the answer and its exit code."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


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


def _give_up_stdout(error: OSError) -> int:
    """The library has errors of its own: what is left is a stdout that takes no more."""
    complain(f"cannot write the result ({error.strerror or error}); check where it goes")
    # Python would try at exit to write what is still buffered, and print a traceback.
    with contextlib.suppress(OSError):  # a test's stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return TROUBLE


_JOBS = "The jobs"
_FIGURES = "Figures"
_GALLERIES = "Galleries and models"
_MORE = "More"
app.command(rich_help_panel=_JOBS)(enroll.enroll)
app.command(rich_help_panel=_JOBS)(verify.verify)
app.command(rich_help_panel=_JOBS)(embed.embed)
app.command(rich_help_panel=_JOBS)(identify.identify)
app.command(rich_help_panel=_JOBS)(cluster.cluster)
app.command(rich_help_panel=_FIGURES)(evaluate.evaluate)
app.command(rich_help_panel=_FIGURES)(calibrate.calibrate)
app.add_typer(gallery.app, name="gallery", rich_help_panel=_GALLERIES)
app.add_typer(models.app, name="models", rich_help_panel=_GALLERIES)
for command in (detect.detect, train.train, doctor.doctor):
    app.command(rich_help_panel=_MORE)(command)

if __name__ == "__main__":
    run()

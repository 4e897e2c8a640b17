"""The `lightface` command: its groups, and how an error becomes one line and an exit code."""

from __future__ import annotations

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
    program,
    train,
    verify,
)
from lightface.cli.commands import CommandApp
from lightface.cli.console import KEPT, complain
from lightface.cli.program import TROUBLE, describe_failure
from lightface.cli.usage import describe_usage
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
app.command(rich_help_panel=_JOBS)(cluster.cluster)
app.command(rich_help_panel=_FIGURES)(evaluate.evaluate)
app.command(rich_help_panel=_FIGURES)(calibrate.calibrate)
app.add_typer(gallery.app, name="gallery", rich_help_panel=_GALLERIES)
app.add_typer(models.app, name="models", rich_help_panel=_GALLERIES)
for command in (detect.detect, train.train, doctor.doctor):
    app.command(rich_help_panel=_MORE)(command)

if __name__ == "__main__":
    run()

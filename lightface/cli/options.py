"""Options that commands share: each setting as an option of its own, and how much is said on stderr."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperOption

from lightface.cli.console import show_messages
from lightface.cli.inputs import refuse_urls
from lightface.cli.program import check_surroundings
from lightface.cli.settings import Settings, load_settings, option_name, setting_types, variable_name
from lightface.locations import to_path

GALLERY = ("gallery", "key_file")
MODEL = ("model", "device", "precision", "flip")
DETECTION = ("det_threshold", "min_face_size", "max_side", "turns", "max_pixels", "allow_truncated")
EMBEDDING = (*MODEL, *DETECTION, "min_quality")
BATCH = ("batch_size", "workers")

_SETTINGS_PANEL = "Settings (also in the configuration file)"

PHOTO_ARGUMENT: Any = typer.Argument(
    metavar="PHOTO",
    parser=to_path,
    help="Photographs and folders, also by URL; - stands for a list of them on stdin, or for a photograph.",
)
Photos = Annotated[list[Path], PHOTO_ARGUMENT]
Recursive = Annotated[
    bool, typer.Option("--recursive/--no-recursive", help="Search the folders in the folders that are named.")
]
Selection = Literal["largest", "center", "all", "require-one"]  # the words of FaceSelection, which needs numpy
TableFormat = Annotated[
    Literal["parquet", "csv", "jsonl", "npz"] | None,
    typer.Option("--format", help="What is written to stdout (default: csv); files say it by their suffix."),
]
AlreadyAligned = Annotated[
    bool, typer.Option("--already-aligned", help="The photographs are crops in the network's frame: detect nothing.")
]
FaceChoice = Annotated[Selection, typer.Option("--face-selection", help="Which of a photograph's faces to take.")]
Every = Annotated[
    float | None,
    typer.Option(
        "--every", metavar="S", min=0, help="Seconds between the frames of a video to look at (default: 0.5)."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what goes on inside.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def command_group(help: str) -> typer.Typer:
    """A group of commands that prints its help when no command is named."""
    group = CommandApp(help=help, invoke_without_command=True)

    @group.callback(help=help)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return group


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `settings: Settings` by an option for each named setting.

    Every command so decorated takes --quiet and --verbose too.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**arguments: Any) -> None:
            show_messages(quiet=arguments.pop("quiet"), verbose=arguments.pop("verbose"))
            options = {name: arguments.pop(name) for name in names}
            refuse_urls(arguments.values())
            if "device" in names:  # or nothing is loaded
                check_surroundings()
            function(settings=load_settings(options), **arguments)

        signature = inspect.signature(function, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]
        # typer reads the options off the signature.
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *map(_setting_parameter, names), *_verbosity_parameters()]
        )
        command.__annotations__ = {}
        return command

    return decorate


def _setting_parameter(name: str) -> inspect.Parameter:
    (help_text,) = [known.metadata["help"] for known in fields(Settings) if known.name == name]
    kind, flag = setting_types()[name], option_name(name)
    option = typer.Option(
        f"{flag}/--no-{flag.removeprefix('--')}" if kind is bool else flag,
        envvar=variable_name(name),
        help=help_text,
        show_default=False,
        rich_help_panel=_SETTINGS_PANEL,
    )
    return _keyword(name, Annotated[kind | None, option], None)


def _verbosity_parameters() -> list[inspect.Parameter]:
    return [_keyword("quiet", Quiet, False), _keyword("verbose", Verbose, False)]


def _keyword(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# Commands whose --help can be read at 80 columns, down to the longest option name, and which take nothing empty.


_MAY_BE_EMPTY = frozenset({"agreed"})  # the note of `gallery consent`, which '' takes away


class ReadableCommand(TyperCommand):
    """Keeps the column of types narrow, for it takes its room from the names: choices stand in the help text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = re.sub(r"(?<!\n)\n(?!\n)", " ", self.help or "")  # the source's line ends are not the screen's
        for param in self.params:
            if isinstance(param, TyperOption) and param.metavar is None:
                choices = param.type_descriptor.choices
                if choices is not None:
                    param.help = f"{param.help} One of: {', '.join(map(str, choices))}."
                param.metavar = "" if param.is_flag else _metavar_of(param)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses an empty value, such as of a variable that is not set: as a path it would be the current folder."""
        given = {} if ctx.resilient_parsing else self.make_parser(ctx).parse_args(args=list(args))[0]
        for param in self.params:
            value = given.get(param.name)
            is_empty = value == "" or (isinstance(value, list | tuple) and "" in value)
            if is_empty and param.name not in _MAY_BE_EMPTY:
                is_option = isinstance(param, TyperOption)
                name = max(param.opts, key=len) if is_option else f"the argument {param.metavar}"
                ctx.fail(f"{name} is empty; give it a value, or leave it out")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What is required stands bare, as in every manual."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class CommandApp(typer.Typer):
    """A typer.Typer of such commands."""

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        return super().command(name, **{"cls": ReadableCommand, **options})


def _metavar_of(option: TyperOption) -> str:
    annotation = option.type_descriptor.annotation
    if annotation in (int, float):
        return "N"
    return "WORD" if option.type_descriptor.choices is not None else "TEXT"

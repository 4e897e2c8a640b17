"""What a person at the terminal sees on stderr: notes, warnings, progress, questions. Results: see `results`.

Whatever is printed is one line in which everything shows: file names and the like may hold line breaks and escapes.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from lightface.cli.program import name_flags
from lightface.errors import ConfigError
from lightface.words import visible

# Everything goes through one console, so that a line printed while a bar is shown does not tear it.
_console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

_RATE_OVER_S = 120  # a figure with its interval may take 20

KEPT = "what was finished is kept"  # by a command that is interrupted
GOES_ON = f"{KEPT}, and the same command goes on from there"

_library = logging.getLogger("lightface")
_notes = logging.getLogger("lightface.cli")


def show_messages(*, quiet: bool, verbose: bool) -> None:
    """Choose what is shown: everything that the library logs, notes and warnings, or errors alone."""
    _library.addHandler(_handler)
    _library.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    _notes.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO)


def is_verbose() -> bool:
    """Whether everything is to be said."""
    return _notes.isEnabledFor(logging.DEBUG)


def note(message: str) -> None:
    """Say something that is good to know."""
    _notes.info("%s", message)


def complain(message: str) -> None:
    """Say in one line what went wrong, however quiet it is to be."""
    line = " ".join(part.strip() for part in name_flags(message).split("\n"))
    _console.print(f"lightface: {visible(line)}")


def debug(message: str) -> None:
    """Say something that only --verbose is curious about."""
    _notes.debug("%s", message)


@contextmanager
def if_interrupted(outcome: str) -> Iterator[None]:
    """Have Ctrl-C in the block told as "interrupted; " and this outcome."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(outcome) from error


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left while the block runs; call what it yields with the items finished, and of how many.

    Shown only at a terminal, and not where it is to be quiet.
    """
    with progress_bars(label) as (advance,):
        yield advance


@contextmanager
def progress_bars(*labels: str) -> Iterator[tuple[Callable[[int, int], None], ...]]:
    """The same for work in several stages: the bar of each is shown from when it is first heard of."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
    )
    shown = _console.is_terminal and _notes.isEnabledFor(logging.INFO)
    with Progress(
        *columns, console=_console, transient=True, disable=not shown, speed_estimate_period=_RATE_OVER_S
    ) as progress:
        yield tuple(_advance(progress, label, is_shown=len(labels) == 1) for label in labels)


def _advance(progress: Progress, label: str, *, is_shown: bool) -> Callable[[int, int], None]:
    task = progress.add_task(label, total=None, start=is_shown, visible=is_shown)

    def advance(done: int, total: int) -> None:
        if not is_shown:
            progress.start_task(task)  # the time before is another stage's
        progress.update(task, completed=done, total=total, visible=True)

    return advance


@contextmanager
def counting_bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """The same, for work that says of each of `total` items that it is finished."""
    with progress_bar(label) as advance:
        advance(0, total)
        numbers = itertools.count(1)
        yield lambda: advance(next(numbers), total)


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = name_flags(record.getMessage())
        _console.print(visible(message if record.name == _notes.name else f"lightface: {message}"))


_handler = _ConsoleHandler()


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


# Ask whoever sits at the terminal, if there is one.


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the answer is yes, or was given before. ConfigError where nobody can be asked."""
    if yes:
        return
    if not is_terminal():
        raise ConfigError("nobody can be asked, since stdin is no terminal; give --yes")
    typer.confirm(visible(question), abort=True, err=True)

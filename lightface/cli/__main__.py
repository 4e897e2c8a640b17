"""The console script, and `python -m lightface.cli`."""

from __future__ import annotations

from typing import NoReturn

from lightface.cli import program


def run() -> NoReturn:
    """Run the command line, trouble in importing it included."""
    program.run(_start)


def _start() -> None:
    from lightface.cli.main import app

    app()


if __name__ == "__main__":
    run()

"""`lightface train`: weights from photographs."""

from __future__ import annotations

import logging
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note
from lightface.cli.options import with_settings
from lightface.cli.settings import Settings
from lightface.errors import ConfigError

if TYPE_CHECKING:
    from lightface.training.config import TrainingConfig
    from lightface.training.export import Exported
    from lightface.training.preflight import Preflight
    from lightface.training.progress import Progress

_SECONDS_BETWEEN_NOTES = 10.0


@with_settings("device")
def train(
    settings: Settings,
    *,
    config: Annotated[
        Path | None, typer.Option("--config", help="The recipe, a TOML file (default with --data: people.toml).")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder with a folder for each person, or with an index of crops in shards."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="Tell people apart by softmax, cosface or arcface.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the run (default: runs/ and the recipe's name).")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the weights (default: by the folder of the run).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in this folder.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", min=0, help="Shorten the schedule to so many minutes in all.")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Try it on drawn faces, for a minute.")] = False,
) -> None:
    """Train a LightCNN: on your own people, by a recipe, or on with a run that was stopped."""
    from lightface.training.export import export_run
    from lightface.training.train import train as train_network

    with _smoke_folder(smoke) as synthetic:
        recipe = _find_recipe(config, resume=resume, folder=synthetic or data)
        chosen = _load_recipe(recipe, folder=synthetic or data, objective=objective)
        run = resume or output or (synthetic or Path()) / "runs" / recipe.stem
        logging.getLogger("lightface.training").setLevel(logging.getLogger("lightface.cli").level)
        report = train_network(
            chosen,
            run,
            device=settings.device or "auto",
            resume=resume is not None,
            max_minutes=max_minutes,
            on_preflight=_note_preflight,
            on_progress=_noter(),
        )
        if not report.leads:
            return
        if not report.finished:
            note(f"stopped after {report.at.samples:,} crops; go on with: {_resume_command(run, max_minutes)}")
            raise typer.Exit(2)
        exported = export_run(chosen, run, run, name=name or run.absolute().name)
        _print_result(exported, kept=synthetic is None or output is not None)


def _find_recipe(config: Path | None, *, resume: Path | None, folder: Path | None) -> Path:
    from lightface.models.registry import shipped_folder
    from lightface.training.loop import CONFIG

    if resume is not None:
        if config is not None:
            raise ConfigError("a resumed run has its recipe in its folder; leave out --config")
        return resume / CONFIG
    if config is not None:
        return config
    if folder is None:
        raise ConfigError("nothing to train on; give --data with your people, --config with a recipe, or --smoke")
    return shipped_folder() / "recipes" / "people.toml"

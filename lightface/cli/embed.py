"""`lightface embed`: every face of a folder of photographs, into one table."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightface.cli.console import GOES_ON, complain, if_interrupted, note, progress_bar
from lightface.cli.inputs import STANDARD_STREAM, expand_stdin
from lightface.cli.loading import describe_pipeline, load_face_pipeline
from lightface.cli.options import (
    BATCH,
    EMBEDDING,
    AlreadyAligned,
    Every,
    FaceChoice,
    Json,
    Recursive,
    TableFormat,
    with_settings,
)
from lightface.cli.results import TableOutput, print_json
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, FaceNotFoundError
from lightface.locations import to_path
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.batch import EmbedProgress, EmbedSummary, Engine

_RAY_PANEL = "On a Ray cluster"


@with_settings(*EMBEDDING, *BATCH)
def embed(
    settings: Settings,
    *,
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO",
            parser=to_path,
            help="Photographs and folders, also by URL as s3://bucket/folder; - stands for a list of them on stdin.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .parquet, .csv, .jsonl or .npz file, also by URL; FOLDER/ for parts in Parquet; - is stdout.",
        ),
    ],
    format: TableFormat = None,
    face_selection: FaceChoice = "all",
    already_aligned: AlreadyAligned = False,
    every: Every = None,
    recursive: Recursive = True,
    drop_others: Annotated[
        bool,
        typer.Option("--drop-others", help="Drop the rows of photographs that are still there, but not named now."),
    ] = False,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Who does the work.", rich_help_panel=_RAY_PANEL)] = (
        "local"
    ),
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Of the cluster (default: RAY_ADDRESS, else one on this machine for the time of the run).",
            show_default=False,
            rich_help_panel=_RAY_PANEL,
        ),
    ] = None,
    ray_gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Share of a GPU for each worker (default: 1 where the cluster has any).",
            show_default=False,
            rich_help_panel=_RAY_PANEL,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Embed every face of photographs and folders into one table, a row a face.

    Stopped at any time, the next run goes on from there; run again, it does only what is new or has changed. The table
    holds what is named: to add a folder, name it and those before. Exit code 0 unless no photograph gave a face.
    """
    from lightface.batch import embed_folder, open_output
    from lightface.records import FaceSelection

    chosen = _choose_engine(engine, ray_address, ray_gpus)
    to_stdout = output == str(STANDARD_STREAM)
    with if_interrupted("nothing is kept of a table for stdout" if to_stdout else GOES_ON), ExitStack() as stack:
        table = stack.enter_context(TableOutput(Path(output), format))
        place = str(table.path) if to_stdout else output
        open_output(place).prepare()
        pipeline = load_face_pipeline(settings, already_aligned=already_aligned, every_s=every)
        advance = stack.enter_context(progress_bar("embedding"))

        def follow(progress: EmbedProgress) -> None:
            advance(progress.done, progress.total)

        summary = embed_folder(
            pipeline,
            expand_stdin(photos, may_be_picture=False),
            place,
            selection=FaceSelection(face_selection),
            recursive=recursive,
            drop_others=drop_others,
            engine=chosen,
            progress=follow,
            **settings.given("batch_size", "workers"),
        )
        table.finish()
    if as_json and not to_stdout:
        print_json(summary)
    _conclude(summary, output, describe_pipeline(pipeline) if engine == "local" else "by Ray")


def _choose_engine(name: str, address: str | None, gpus: float | None) -> Engine:
    from lightface.batch import LocalEngine

    if name == "local":
        if address is not None or gpus is not None:
            raise ConfigError("--ray-address and --ray-gpus are of --engine ray; name that too")
        return LocalEngine()
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # or Ray tells of dead workers on stdout, among the rows
    try:
        from lightface.batch.ray_engine import RayEngine
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray, lightface's extra 'ray' ({error}); pip install ray") from error
    return RayEngine(address, gpus)


def _conclude(summary: EmbedSummary, output: str, used: str) -> None:
    for failure in summary.first_failures:
        complain(explain(failure.path, failure.message))
    unnamed = summary.failed - len(summary.first_failures)
    if unnamed:
        complain(f"and {count_of(unnamed, 'photograph')} more; the table says which")
    failures = ", ".join(f"{count:,} {reason}" for reason, count in summary.failures_in_output.items())
    if not summary.faces_in_output:
        raise FaceNotFoundError(f"no photograph gave a face ({failures}); the table says which")
    tried = summary.embedded + summary.failed
    note(
        str(summary)
        + (f"; {summary.removed:,} gone" if summary.removed else "")
        + (f"; in {summary.seconds:.1f} s ({tried / summary.seconds:.1f}/s), {used}" if tried else "")
    )
    if output != str(STANDARD_STREAM):
        without = f"; photographs without a face: {failures}" if failures else ""
        note(f"{output} holds {count_of(summary.faces_in_output, 'face')}{without}")

"""`lightface embed`: every face of a folder of photographs, into one table."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note, progress_bar
from lightface.cli.inputs import STANDARD_STREAM, expand_stdin
from lightface.cli.loading import describe_pipeline, load_face_pipeline
from lightface.cli.options import (
    BATCH,
    EMBEDDING,
    AlreadyAligned,
    FaceChoice,
    Json,
    Photos,
    Recursive,
    TableFormat,
    with_settings,
)
from lightface.cli.results import TableOutput, print_json
from lightface.cli.settings import Settings
from lightface.errors import FaceNotFoundError

if TYPE_CHECKING:
    from lightface.batch import EmbedProgress, EmbedSummary


@with_settings(*EMBEDDING, *BATCH)
def embed(
    settings: Settings,
    *,
    photos: Photos,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A .parquet, .csv, .jsonl or .npz file; - is stdout.")
    ],
    format: TableFormat = None,
    face_selection: FaceChoice = "all",
    already_aligned: AlreadyAligned = False,
    recursive: Recursive = True,
    as_json: Json = False,
) -> None:
    """Embed every face of photographs and folders into one table, a row a face.

    Stopped at any time, the next run goes on from there; run again, it does only what is new or has changed. Exit
    code 0 unless no photograph gave a face.
    """
    from lightface.batch import embed_folder
    from lightface.faces import FaceSelection
    from lightface.reports import check_output

    with ExitStack() as stack:
        table = stack.enter_context(TableOutput(output, format))
        check_output(table.path)
        pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
        advance = stack.enter_context(progress_bar("embedding"))

        def follow(progress: EmbedProgress) -> None:
            advance(progress.done, progress.total)

        summary = embed_folder(
            pipeline,
            expand_stdin(photos),
            table.path,
            selection=FaceSelection(face_selection),
            recursive=recursive,
            progress=follow,
            **settings.given("batch_size", "workers"),
        )
        table.finish()
    if as_json and output != STANDARD_STREAM:
        print_json(summary)
    _conclude(summary, output, describe_pipeline(pipeline))


def _conclude(summary: EmbedSummary, output: Path, used: str) -> None:
    failures = ", ".join(f"{count} {reason}" for reason, count in summary.failures_in_output.items())
    if not summary.faces_in_output:
        raise FaceNotFoundError(f"no photograph gave a face ({failures}); {output} says which and why")
    tried = summary.embedded + summary.failed
    note(
        f"embedded {summary.embedded} photographs with {summary.faces} faces; {summary.unchanged} unchanged"
        + (f"; {summary.removed} gone" if summary.removed else "")
        + (f"; in {summary.seconds:.1f} s ({tried / summary.seconds:.1f}/s), {used}" if tried else "")
    )
    if output != STANDARD_STREAM:
        without = f"; photographs without: {failures}" if failures else ""
        note(f"{output} holds {summary.faces_in_output} faces{without}")

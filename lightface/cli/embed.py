"""`lightface embed`: every face of a folder of photographs, into one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note, progress_bar
from lightface.cli.inputs import expand_stdin
from lightface.cli.loading import load_face_pipeline
from lightface.cli.options import BATCH, EMBEDDING, AlreadyAligned, FaceChoice, Json, Photos, Recursive, with_settings
from lightface.cli.results import print_json
from lightface.cli.settings import Settings

if TYPE_CHECKING:
    from lightface.batch import EmbedProgress, EmbedSummary


@with_settings(*EMBEDDING, *BATCH)
def embed(
    settings: Settings,
    *,
    photos: Photos,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="TABLE", help="Where to: .parquet, .csv, .jsonl or .npz.")
    ],
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

    check_output(output)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    with progress_bar("embedding") as advance:

        def follow(progress: EmbedProgress) -> None:
            advance(progress.done, progress.total)

        summary = embed_folder(
            pipeline,
            expand_stdin(photos),
            output,
            selection=FaceSelection(face_selection),
            recursive=recursive,
            progress=follow,
            **settings.given("batch_size", "workers"),
        )
    if as_json:
        print_json(summary)
    _conclude(summary, output)


def _conclude(summary: EmbedSummary, output: Path) -> None:
    tried = summary.embedded + summary.failed
    note(
        f"embedded {summary.faces} faces of {summary.embedded} photographs in {summary.seconds:.1f} s"
        + (f" ({tried / summary.seconds:.1f} photographs/s)" if tried and summary.seconds else "")
        + (f"; {summary.unchanged} photographs unchanged" if summary.unchanged else "")
        + (f"; {summary.removed} gone" if summary.removed else "")
    )
    failures = ", ".join(f"{reason} {count}" for reason, count in summary.failures_in_output.items())
    note(f"{output} holds {summary.faces_in_output} faces" + (f"; photographs without: {failures}" if failures else ""))
    if not summary.faces_in_output:
        raise typer.Exit(2)

"""The faces of what a user names: of face tables as they are, and of folders by tables that are kept for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note, progress_bar
from lightface.cli.loading import load_face_pipeline
from lightface.cli.results import make_folder
from lightface.cli.settings import Settings
from lightface.folders import cache_folder
from lightface.locations import to_path

if TYPE_CHECKING:
    from lightface.batch import EmbedProgress
    from lightface.pipeline import FacePipeline
    from lightface.tables import FaceRow

Faces = Annotated[
    list[Path],
    typer.Argument(
        metavar="FACES",
        parser=to_path,
        help="Folders of photographs, or face tables that embed wrote, also in parts or by URL.",
    ),
]


def kept_tables_folder() -> Path:
    """Where the face tables of folders are kept, in the user's cache folder. Embeddings are personal data."""
    return cache_folder() / "faces"


def kept_numbers(places: Sequence[Path], *, recursive: bool = True) -> Path:
    """Where the numbers of the groups of these places are kept: beside the tables of folders, also for other tables."""
    return kept_tables_folder() / f"{_key_of(places, recursive=recursive)}.groups.json"


def read_faces_of(
    settings: Settings,
    places: Sequence[Path],
    *,
    recursive: bool = True,
    already_aligned: bool = False,
    pipeline: FacePipeline | None = None,
) -> list[FaceRow]:
    """The rows of tables and of folders, one place after the other; a photograph of several counts once.

    A folder is embedded first, into a table in `kept_tables_folder`: the next run does what is new. The `pipeline` that
    embeds is loaded where the first folder needs it. Raises TableError for what is no face table, OutputError where a
    table cannot be kept.
    """
    from lightface.tables import holds_parts, read_faces

    rows: list[FaceRow] = []
    seen: set[str] = set()
    for place in places:
        table = place
        if place.is_dir() and not holds_parts(place):
            pipeline = pipeline or load_face_pipeline(settings, already_aligned=already_aligned)
            table = _embed(settings, pipeline, place, recursive=recursive)
        new = [row for row in read_faces(table) if str(row.image_path) not in seen]
        seen.update(str(row.image_path) for row in new)
        rows += new
    return rows


def _key_of(places: Sequence[Path], *, recursive: bool) -> str:
    """A file name for what is kept of places, the same in whatever order they are named."""
    from lightface.tables import name_photo

    names = {str(name_photo(place)) for place in places}
    real = sorted({os.path.realpath(name) if os.path.isabs(name) else name for name in names})
    text = "\n".join([*real, str(recursive)])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _embed(settings: Settings, pipeline: FacePipeline, folder: Path, *, recursive: bool) -> Path:
    from lightface.batch import embed_folder

    kept = kept_tables_folder()
    make_folder(kept)
    kept.chmod(0o700)  # the files in it are private too; this hides which folders were looked at
    table = kept / f"{_key_of([folder], recursive=recursive)}.parquet"
    if not table.exists():
        _take_over_renamed(folder, table)
    with progress_bar("embedding") as advance:

        def follow(progress: EmbedProgress) -> None:
            advance(progress.done, progress.total)

        summary = embed_folder(
            pipeline, [folder], table, recursive=recursive, progress=follow, **settings.given("batch_size", "workers")
        )
    note(f"{summary}; kept in {table} with its journal")
    return table


def _take_over_renamed(folder: Path, table: Path) -> None:
    """Go on with the journal that was kept for the folder under its name of before, and with its groups' numbers."""
    from lightface.batch.job import is_of_renamed, journal_path

    for journal in sorted(table.parent.glob("*.parquet.journal")):
        if is_of_renamed(journal, folder):
            os.replace(journal, journal_path(table))
            journal.with_suffix("").unlink(missing_ok=True)
            numbers = journal.with_suffix("").with_suffix(".groups.json")
            if numbers.exists():
                os.replace(numbers, table.with_suffix(".groups.json"))
            return

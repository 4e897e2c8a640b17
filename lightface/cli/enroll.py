"""`lightface enroll`: make people known."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import GOES_ON, complain, counting_bar, if_interrupted, note
from lightface.cli.inputs import find_photos_of
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import (
    EMBEDDING,
    GALLERY,
    AlreadyAligned,
    FaceChoice,
    Json,
    Recursive,
    with_settings,
)
from lightface.cli.results import explain, print_json, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, DuplicateFaceError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.pipeline import EnrolledPhoto, FacePipeline


@with_settings(*GALLERY, *EMBEDDING)
def enroll(
    settings: Settings,
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Who is on the photographs.")] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PHOTO", help="Photographs and folders; - stands for a list of paths on stdin."),
    ] = None,
    people: Annotated[
        Path | None, typer.Option("--people", metavar="DIR", help="Enroll a folder a person, as in DIR/Alice/1.jpg.")
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option("--consent", metavar="NOTE", help="What they have agreed to, for 'gallery show'."),
    ] = None,
    face_selection: FaceChoice = "require-one",
    already_aligned: AlreadyAligned = False,
    recursive: Recursive = True,
    as_json: Json = False,
) -> None:
    """Enroll a person from photographs, or many from a folder of folders.

    Each photograph that is refused is named with its reason; the others are enrolled all the same.
    """
    planned = _plan(name, photos, people, recursive=recursive)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    results: list[EnrolledPhoto] = []
    try:
        with if_interrupted(GOES_ON):
            _enroll(settings, pipeline, planned, results, face_selection=face_selection, consent=consent)
    finally:
        if results:  # those before Ctrl-C, too
            _print(results, as_json=as_json)
    _conclude(results)


def _enroll(
    settings: Settings,
    pipeline: FacePipeline,
    planned: Sequence[tuple[str, Sequence[Path]]],
    results: list[EnrolledPhoto],
    *,
    face_selection: str,
    consent: str | None,
) -> None:
    """Add to `results` what becomes of each photograph, as it is known."""
    from lightface.faces import FaceSelection
    from lightface.gallery.records import CONSENT
    from lightface.pipeline import enroll_photos
    from lightface.stopping import StopRequest, stop_on_signals

    metadata = {CONSENT: consent} if consent else None
    stop = StopRequest()
    with (
        open_gallery_of(settings, model_id=pipeline.model_id, create=True) as gallery,
        counting_bar("enrolling", sum(len(paths) for _, paths in planned)) as count,
        stop_on_signals(stop, numbers=[signal.SIGINT]),
    ):

        def follow(result: EnrolledPhoto) -> None:
            results.append(result)
            if result.error is not None and not isinstance(result.error, DuplicateFaceError):
                complain(explain(result.path, result.error))
            count()
            if stop.requested:  # not earlier, when the gallery may have taken what is not in `results` yet
                raise KeyboardInterrupt

        gallery.check_names(person for person, _ in planned)
        for person, paths in planned:
            enrolled = enroll_photos(
                pipeline,
                gallery,
                person,
                paths,
                selection=FaceSelection(face_selection),
                metadata=metadata,
                progress=follow,
            )
            if metadata and any(isinstance(one.error, DuplicateFaceError) for one in enrolled):
                gallery.set_metadata(person, metadata)  # all may have been enrolled before


def _plan(
    name: str | None, photos: list[Path] | None, people: Path | None, *, recursive: bool
) -> list[tuple[str, list[Path]]]:
    if people is not None:
        if name is not None:
            raise ConfigError("give either a name with photographs, or --people with a folder a person")
        from lightface.pipeline import find_people

        return list(find_people(people).items())
    if name is None or not photos:
        raise ConfigError("nobody to enroll; give a name and photographs, or --people with a folder a person")
    return [(name, find_photos_of(photos, recursive=recursive))]


def _print(results: Sequence[EnrolledPhoto], *, as_json: bool) -> None:
    if as_json:
        print_json([_to_row(result) for result in results])
    else:
        columns = ("status", "person", "photograph", "reason")
        print_table(columns, [(one.status, one.person_name, one.path, _reason(one) or "") for one in results])


def _conclude(results: list[EnrolledPhoto]) -> None:
    """Say what was done; exit code 2 where nothing was, unless it had been done before."""
    from lightface.faces import Status

    enrolled = sum(result.status is Status.ENROLLED for result in results)
    known = sum(isinstance(result.error, DuplicateFaceError) for result in results)
    if not enrolled and not known:
        raise typer.Exit(2)  # each refusal has been told
    note(
        f"enrolled {enrolled:,} of {count_of(len(results), 'photograph')}; "
        f"{count_of(known, 'was', 'were')} enrolled already, {len(results) - enrolled - known:,} refused"
    )


def _to_row(result: EnrolledPhoto) -> dict[str, object]:
    detection = result.face.detection if result.face is not None else None
    return {
        "image_path": result.path,
        "person_name": result.person_name,
        "status": result.status,
        "bbox": None if detection is None else detection.box_px,
        "det_score": None if detection is None else detection.score,
        "quality": None if result.face is None else result.face.quality,
        "error": _reason(result),
    }


def _reason(result: EnrolledPhoto) -> str | None:
    return None if result.error is None else result.error.reason

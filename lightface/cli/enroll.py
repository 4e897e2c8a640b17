"""`lightface enroll`: make people known."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import GOES_ON, complain, counting_bar, if_interrupted, note
from lightface.cli.inputs import find_photos_of, read_entries
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import (
    EMBEDDING,
    GALLERY,
    PHOTO_ARGUMENT,
    AlreadyAligned,
    FaceChoice,
    Json,
    Recursive,
    with_settings,
)
from lightface.cli.photo_names import (
    Albums,
    Contacts,
    FromDigikam,
    FromPicasa,
    FromXmp,
    Sidecars,
    leave_out_own,
    read_photo_names,
)
from lightface.cli.results import print_json, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, DuplicateFaceError
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.pipeline import EnrolledPhoto, FacePipeline
    from lightface.pipeline.named_faces import NamedFace


@with_settings("threshold", *GALLERY, *EMBEDDING)
def enroll(
    settings: Settings,
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Who is on the photographs.")] = None,
    photos: Annotated[list[Path] | None, PHOTO_ARGUMENT] = None,
    people: Annotated[
        Path | None, typer.Option("--people", metavar="DIR", help="Enroll a folder a person, as in DIR/Alice/1.jpg.")
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option("--consent", metavar="NOTE", help="What they have agreed to, for 'gallery show'."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="KEY=VALUE",
            help="What else is to be known of them, such as age=child for 'calibrate --within'; may be given again.",
        ),
    ] = None,
    even_if_alike: Annotated[
        bool, typer.Option("--even-if-alike", help="Enroll faces that resemble somebody else, too.")
    ] = False,
    from_xmp: FromXmp = None,
    sidecars: Sidecars = None,
    from_picasa: FromPicasa = None,
    contacts: Contacts = None,
    from_digikam: FromDigikam = None,
    albums: Albums = None,
    face_selection: FaceChoice = "require-one",
    already_aligned: AlreadyAligned = False,
    recursive: Recursive = True,
    as_json: Json = False,
) -> None:
    """Enroll a person from photographs, many from a folder of folders, or those whom another program has named.

    Each photograph that is refused is named with its reason; the others are enrolled all the same. One that resembles
    somebody else more is refused (identity_conflict), one that is unlike the person's own is told. Faces that another
    program has marked (--from-xmp and the like) are sought where the marks are. The more people and photographs, the
    better 'lightface calibrate' measures the threshold.
    """
    from lightface.gallery.records import CONSENT

    known = read_entries(metadata or [], option="--metadata") | ({CONSENT: consent} if consent else {})
    is_named_elsewhere = not (from_xmp is None and from_picasa is None and from_digikam is None)
    if is_named_elsewhere and (name is not None or people is not None or already_aligned):
        raise ConfigError("another program names people, photographs and faces; give no others, nor --already-aligned")
    named = read_photo_names(
        from_xmp=from_xmp,
        from_picasa=from_picasa,
        from_digikam=from_digikam,
        sidecars=sidecars,
        contacts=contacts,
        albums=albums,
        recursive=recursive,
    )
    planned = {} if named is not None else _plan(name, photos, people, recursive=recursive)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    results: list[EnrolledPhoto] = []
    try:
        with if_interrupted(GOES_ON):
            _enroll(
                settings,
                pipeline,
                planned,
                named,
                results,
                face_selection=face_selection,
                even_if_alike=even_if_alike,
                metadata=known,
            )
    finally:
        if results:  # those before Ctrl-C, too
            _print(results, as_json=as_json)
    _conclude(results)


def _enroll(
    settings: Settings,
    pipeline: FacePipeline,
    planned: Mapping[str, Sequence[Path]],
    named: Mapping[Path, list[NamedFace]] | None,
    results: list[EnrolledPhoto],
    *,
    face_selection: str,
    even_if_alike: bool,
    metadata: dict[str, str],
) -> None:
    """Add to `results` what becomes of each photograph of the people planned, or of each face that is named."""
    from lightface.pipeline import enroll_people
    from lightface.pipeline.enroll import enroll_named_faces
    from lightface.records import FaceSelection
    from lightface.stopping import StopRequest, stop_on_signals

    stop = StopRequest()
    with (
        open_gallery_of(settings, model_id=pipeline.model_id, create=True) as gallery,
        counting_bar("enrolling", sum(map(len, (planned or named or {}).values()))) as count,
        stop_on_signals(stop, numbers=[signal.SIGINT]),
    ):

        def look_at(path: Path) -> None:
            count()
            if stop.requested:
                raise KeyboardInterrupt

        def follow(result: EnrolledPhoto) -> None:
            results.append(result)
            _tell_doubts(result)
            if stop.requested:  # not earlier, when the gallery may have taken what is not in `results` yet
                raise KeyboardInterrupt

        if named is None:
            job = partial(enroll_people, pipeline, gallery, planned, selection=FaceSelection(face_selection))
        else:
            job = partial(enroll_named_faces, pipeline, gallery, leave_out_own(named, gallery))
        job(
            metadata=metadata,
            even_if_alike=even_if_alike,
            looked_at=look_at,
            progress=follow,
            **settings.given("threshold"),
        )
        if metadata:  # those of whom all was enrolled before
            known = {one.person_name for one in results if isinstance(one.error, DuplicateFaceError)}
            for person in sorted(known):
                gallery.set_metadata(person, metadata)


def _tell_doubts(result: EnrolledPhoto) -> None:
    if result.error is not None and not isinstance(result.error, DuplicateFaceError):
        remedy = ", or give --even-if-alike" if result.alike is not None else ""
        complain(explain(result.path, result.error) + remedy)
    if result.moved_from is not None:
        note(f"{result.path} has moved: the gallery names it now, and no more {result.moved_from}")
    if result.unlike is not None:
        note(
            f"{result.path} is unlike the other photographs of {result.person_name}: similarity "
            f"{result.unlike.similarity:.2f} to the nearest, {result.unlike.source_path}; look who is on it"
        )


def _plan(
    name: str | None, photos: list[Path] | None, people: Path | None, *, recursive: bool
) -> dict[str, list[Path]]:
    from lightface.images import is_photo_name

    if people is not None:
        if name is not None:
            raise ConfigError("give either a name with photographs, or --people with a folder a person")
        from lightface.pipeline import find_people

        return find_people(people)
    if name is None or not photos:
        raise ConfigError("nobody to enroll; give a name and photographs, or --people with a folder a person")
    if is_photo_name(name) and os.path.isfile(name):
        raise ConfigError(f"the name comes first, and {name!r} is a photograph; give NAME PHOTO...")
    return {name: find_photos_of(photos, recursive=recursive)}


def _print(results: Sequence[EnrolledPhoto], *, as_json: bool) -> None:
    if as_json:
        print_json([result.to_dict() for result in results])
    else:
        columns = ("status", "person", "photograph", "reason")
        print_table(columns, [(one.status, one.person_name, one.path, _reason(one) or "") for one in results])


def _conclude(results: list[EnrolledPhoto]) -> None:
    """Say what was done; exit code 2 where nothing was, unless it had been done before."""
    from lightface.records import Status

    enrolled = sum(result.status is Status.ENROLLED for result in results)
    known = sum(isinstance(result.error, DuplicateFaceError) for result in results)
    if results and not enrolled and not known:
        raise typer.Exit(2)  # each refusal has been told
    note(
        f"enrolled {enrolled:,} of {count_of(len(results), 'photograph')}; "
        f"{count_of(known, 'was', 'were')} enrolled already, {len(results) - enrolled - known:,} refused"
    )


def _reason(result: EnrolledPhoto) -> str | None:
    return None if result.error is None else result.error.reason

"""`lightface find`: the photographs that show somebody, of whom there are some photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, note
from lightface.cli.face_tables import read_faces_of
from lightface.cli.inputs import find_photos_of
from lightface.cli.loading import load_face_pipeline
from lightface.cli.options import BATCH, EMBEDDING, AlreadyAligned, FaceChoice, Json, Photos, Recursive, with_settings
from lightface.cli.results import name_below, print_json, print_table, refuse_to_replace
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, PhotoError
from lightface.locations import RemotePath, to_path
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.pipeline import FacePipeline, PhotoFaces
    from lightface.pipeline.find import PersonSearch, QueryPerson
    from lightface.records import AlignedFace, FaceEmbedding
    from lightface.tables import FaceRow

Places = Annotated[
    list[Path],
    typer.Option(
        "--in",
        metavar="FACES",
        parser=to_path,
        help="A folder of photographs, or a face table that embed wrote; several: --in A --in B.",
    ),
]
CopyTo = Annotated[
    Path | None, typer.Option("--copy-to", metavar="DIR", help="Copy the photographs found into a new folder.")
]
LinkTo = Annotated[Path | None, typer.Option("--link-to", metavar="DIR", help="The same with links instead of copies.")]
Sheet = Annotated[Path | None, typer.Option("--sheet", metavar="PICTURE", help="Draw the faces looked for and found.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the faces found: .parquet, .csv, .jsonl or .npz."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", "-k", min=1, help="How many photographs to take, the most similar first.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=-1,
        max=1,
        help="Cosine from which a face is the person's (default: derived from the weights' thresholds, the number of "
        "faces and of photographs of the person, so that one search in ten finds a stranger).",
    ),
]
EvenIfUnlike = Annotated[
    bool, typer.Option("--even-if-unlike", help="Search even though the photographs seem to show different people.")
]

_MOST_ON_SHEET = 300  # faces: some 50 rows, 11,000 px


@with_settings(*EMBEDDING, *BATCH)
def find(
    settings: Settings,
    *,
    photos: Photos,
    places: Places,
    copy_to: CopyTo = None,
    link_to: LinkTo = None,
    limit: Limit = None,
    sheet: Sheet = None,
    output: Output = None,
    threshold: Threshold = None,
    even_if_unlike: EvenIfUnlike = False,
    face_selection: FaceChoice = "largest",
    recursive: Recursive = True,
    already_aligned: AlreadyAligned = False,
    as_json: Json = False,
) -> None:
    """Find the photographs with a person, of whom you name one photograph or several; nobody is enrolled.

    Exit code 0: found, 1: nobody, 2: trouble. A photograph that you named and that lies among those searched is listed
    as `query`, copied and linked with the others, and does not count as found. A folder is embedded first, into a table
    that is kept: the next search does only what is new.
    """
    from lightface.pipeline.find import find_person

    named = find_photos_of(photos, recursive=recursive)
    _check_results(named, places, {"--copy-to": copy_to, "--link-to": link_to}, sheet, output)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    person = _look_at(pipeline, named, face_selection, even_if_unlike=even_if_unlike)
    rows = read_faces_of(settings, places, recursive=recursive, already_aligned=already_aligned, pipeline=pipeline)
    search = find_person(person, rows, threshold=threshold, limit=limit)
    for folder, copy in ((copy_to, True), (link_to, False)):
        if folder is not None and search.found:
            _gather(search, places, folder, copy=copy)
    if output is not None:
        from lightface.tables import write_faces

        write_faces(output, search.rows())
        note(f"wrote {output}")
    if sheet is not None:
        _draw_sheet(search, pipeline, sheet)
    _report(search, as_json=as_json)


def _check_results(
    named: Sequence[Path],
    places: Sequence[Path],
    folders: dict[str, Path | None],
    sheet: Path | None,
    output: Path | None,
) -> None:
    """What would go wrong only after the search."""
    from lightface.images import check_picture
    from lightface.tables import check_folder, check_output

    if None not in folders.values():
        raise ConfigError("--copy-to and --link-to are two ways for one thing; choose one")
    for option, folder in folders.items():
        if folder is not None:
            check_folder(folder)
            _refuse_within(places, folder, option)
    if sheet is not None:
        check_picture(sheet)
        refuse_to_replace(named, [sheet], option="--sheet")
    if output is not None:
        refuse_to_replace([*named, *places], [output], option="--output")
        check_output(output)


def _refuse_within(places: Sequence[Path], folder: Path, option: str) -> None:
    """ConfigError for a folder that lies in one that is searched: the next search would find what is put there."""
    inner = Path(os.path.realpath(folder))
    for place in places:
        if not isinstance(place, RemotePath) and place.is_dir() and inner.is_relative_to(os.path.realpath(place)):
            raise ConfigError(f"{option} {folder} lies in {place}, which is searched; choose a place outside it")


def _look_at(
    pipeline: FacePipeline, named: Sequence[Path], face_selection: str, *, even_if_unlike: bool
) -> QueryPerson:
    """The person who is looked for, with what is to be said about the photographs."""
    from lightface.pipeline.find import describe_person
    from lightface.records import FaceSelection

    def tell(photo: PhotoFaces) -> None:
        if photo.not_selected:
            note(f"{photo.path}: {photo.not_selected + 1} faces, the {face_selection} taken; see --face-selection")

    person = describe_person(
        pipeline, named, selection=FaceSelection(face_selection), even_if_unlike=even_if_unlike, progress=tell
    )
    for photo in person.failed:
        complain(f"{explain(photo.path, photo.error)}; the others are taken")
    if person.unlike:
        worst = min(person.unlike, key=lambda one: one.similarity or 0)
        note(
            f"{count_of(len(person.unlike), 'photograph')} of {len(person.faces)} would not pass as the person of the "
            f"others, the least alike {worst.path} (similarity {worst.similarity:.2f}); leave out who is somebody else"
        )
    return person


def _gather(search: PersonSearch, places: Sequence[Path], folder: Path, *, copy: bool) -> None:
    from lightface.tables import gather_photos

    paths = [one.face.image_path for one in search.found]
    local = [path for path in paths if not isinstance(path, RemotePath)]
    gone = gather_photos(folder, name_below(places, local), copy=copy)
    note(
        f"made {folder} with {count_of(len(local) - gone, 'photograph')}"
        + (f"; {count_of(gone, 'photograph is', 'photographs are')} gone" if gone else "")
        + (f"; {count_of(len(paths) - len(local), 'photograph')} by URL left out" if len(local) < len(paths) else "")
    )


def _draw_sheet(search: PersonSearch, pipeline: FacePipeline, sheet: Path) -> None:
    """The faces looked for, then those found with their similarities."""
    from lightface.drawing import contact_sheet
    from lightface.images import save_image

    wanted = [(one.path, one.face, f"looked for: {one.path.name}") for one in search.person.faces]
    wanted += [
        (one.face.image_path, _to_embedding(one.face), f"{one.similarity:.3f} {one.face.image_path.name}")
        for one in search.found
        if not one.is_query
    ]
    crops: list[AlignedFace] = []
    captions: list[str] = []
    for path, face, caption in wanted[:_MOST_ON_SHEET]:
        try:
            crops.append(pipeline.crop_of(pipeline.load_photo(path), face))
        except PhotoError as error:
            note(f"not on the sheet: {explain(path, error)}")
        else:
            captions.append(caption)
    save_image(contact_sheet(crops, captions, frame_lines=False), sheet)
    left_out = max(0, len(wanted) - _MOST_ON_SHEET)
    note(f"drew {sheet}" + (f" with the first {_MOST_ON_SHEET} faces" if left_out else ""))


def _to_embedding(row: FaceRow) -> FaceEmbedding:
    """The face of a row as the pipeline takes it."""
    from lightface.records import DetectedFace, FaceEmbedding

    assert row.embedding is not None and row.model_id is not None  # or it would not have been compared
    detection = None
    if row.bbox is not None and row.landmarks is not None:
        detection = DetectedFace(row.bbox, row.landmarks, row.det_score or 0.0)
    return FaceEmbedding(row.embedding, row.model_id, detection, row.quality)


def _report(search: PersonSearch, *, as_json: bool) -> None:
    if as_json:
        print_json(search.to_dict())
    elif search.found:
        lines = [
            (one.face.image_path, one.face.face_index, "query" if one.is_query else "found", f"{one.similarity:.3f}")
            for one in search.found
        ]
        print_table(("photograph", "face", "status", "similarity"), lines)
    note(str(search))
    if search.left_out:
        note(f"{count_of(search.left_out, 'more photograph')} left out by --limit")
    if search.nearest is not None and not as_json:
        nearest = search.nearest
        note(f"nobody else reaches that; nearest is {nearest.face.image_path} with {nearest.similarity:.3f}")
    raise typer.Exit(0 if search.is_found else 1)

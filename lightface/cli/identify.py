"""`lightface identify`: who is on these photographs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, counting_bar, debug, note
from lightface.cli.inputs import find_photos_of
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import EMBEDDING, GALLERY, AlreadyAligned, FaceChoice, Json, Photos, Recursive, with_settings
from lightface.cli.results import explain, make_folder, plan_pictures, print_json, print_table
from lightface.cli.settings import Settings
from lightface.errors import FaceNotFoundError, LightfaceError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.pipeline import FaceGates, IdentifiedFace, IdentifiedPhoto, RefusedFace
    from lightface.records import Status
    from lightface.tables import FaceRow


@with_settings("threshold", "review_threshold", *GALLERY, *EMBEDDING)
def identify(
    settings: Settings,
    *,
    photos: Photos,
    limit: Annotated[int, typer.Option("--limit", "-k", min=1, help="How many of the nearest people to show.")] = 3,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="PATH", help="Draw boxes and names: a picture, or a folder for many."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the face table, paths absolute: .parquet, .csv, .jsonl or .npz.",
        ),
    ] = None,
    recursive: Recursive = True,
    face_selection: FaceChoice = "all",
    already_aligned: AlreadyAligned = False,
    as_json: Json = False,
) -> None:
    """Say who is on photographs; nobody is named twice in one.

    For one photograph, exit code 0: somebody was matched, 1: nobody, 2: trouble. For several, 2 if none had a face.
    What a threshold promises holds for people such as those it was measured on (--verbose says on whom): children, for
    one, are taken for each other far more often.
    """
    from lightface.pipeline import describe_basis, identify_photos, resolve_bands
    from lightface.records import FaceSelection
    from lightface.tables import check_output, name_photo, write_faces

    paths = find_photos_of(photos, recursive=recursive)
    pictures = {} if draw is None else plan_pictures(draw, photos, paths, option="--draw")
    if output is not None:
        check_output(output)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    with open_gallery_of(settings, model_id=pipeline.model_id) as gallery:
        bands = resolve_bands(pipeline.record, gallery=gallery, **settings.given("threshold", "review_threshold"))
        debug(describe_basis(pipeline.record, gallery=gallery, threshold=settings.threshold))
        with counting_bar("identifying", len(paths)) as count:
            results = identify_photos(
                pipeline,
                gallery,
                paths,
                bands=bands,
                selection=FaceSelection(face_selection),
                limit=limit,
                progress=lambda _: count(),
            )
    for result in results:
        if result.path in pictures and (result.faces or result.refused):
            _draw(result, pictures[result.path], pipeline.gates)
    if output is not None:
        named = [replace(result, path=name_photo(result.path)) for result in results]  # as in the tables of `embed`
        write_faces(output, [row for result in named for row, _ in _to_rows(result, bands.threshold)])
        note(f"wrote {output}")
    _report(results, bands.threshold, as_json=as_json)


def _report(results: Sequence[IdentifiedPhoto], threshold: float, *, as_json: bool) -> None:
    failed = [result for result in results if result.error is not None]
    if len(failed) == len(results) == 1 and not failed[0].refused:
        assert failed[0].error is not None
        raise LightfaceError(explain(failed[0].path, failed[0].error))
    if as_json:
        print_json([_to_json(row, face) for result in results for row, face in _to_rows(result, threshold)])
    else:
        _print(results)
    for result in failed:
        assert result.error is not None
        complain(explain(result.path, result.error))
    if len(failed) == len(results) == 1:
        raise typer.Exit(2)
    if len(failed) == len(results):
        raise FaceNotFoundError(f"nobody to identify in any of {count_of(len(results), 'photograph')}")
    left_out = sum(result.not_selected for result in results)
    if left_out:
        note(f"{count_of(left_out, 'face was', 'faces were')} left out by --face-selection")
    counts = Counter(str(_status(face)) for result in results for face in result.faces)
    if len(results) == 1:
        raise typer.Exit(0 if counts["matched"] else 1)
    counts.update({"rejected": sum(len(result.refused) for result in results)})
    words = ", ".join(f"{counts[status]:,} {status}" for status in sorted(+counts))
    note(
        f"{count_of(counts.total(), 'face')} in {count_of(len(results), 'photograph')}: {words}; "
        f"{count_of(len(failed), 'photograph')} without a face that could be looked for"
    )


def _print(results: Sequence[IdentifiedPhoto]) -> None:
    """A line for each face; the reason of those that were refused has a column where there are some."""
    lines: list[tuple[object, ...]] = []
    for result in results:
        lines += [(*_to_line(result, index, face), "") for index, face in enumerate(result.faces)]
        lines += [
            (result.path, index, "rejected", None, None, None, refused.error.reason)
            for index, refused in _number_refused(result)
        ]
    columns = ("photograph", "face", "status", "person", "similarity", "nearest", "reason")
    count = len(columns) if any(result.refused for result in results) else len(columns) - 1
    print_table(columns[:count], [line[:count] for line in lines])


def _number_refused(result: IdentifiedPhoto) -> Iterator[tuple[int, RefusedFace]]:
    """The refused faces, numbered after all others: a face has the number that `embed` gives it, limits or not."""
    return enumerate(result.refused, start=len(result.faces) + result.not_selected)


def _status(face: IdentifiedFace) -> Status:
    from lightface.records import Status

    return Status.UNKNOWN if face.match is None else face.match.status


def _to_line(result: IdentifiedPhoto, index: int, found: IdentifiedFace) -> tuple[object, ...]:
    similarity = None if found.match is None else f"{found.match.similarity:.3f}"
    nearest = ", ".join(f"{other.person_name} {other.similarity:.3f}" for other in found.candidates)
    name = None if found.match is None else found.match.person_name
    return result.path, index, _status(found), name, similarity, nearest


def _to_rows(result: IdentifiedPhoto, threshold: float) -> Iterator[tuple[FaceRow, IdentifiedFace | None]]:
    """The rows of the face table: one a face, and one for a photograph without."""
    from lightface.records import Status
    from lightface.tables import FaceRow, describe_face

    if result.error is not None and not result.refused:
        yield FaceRow(image_path=result.path, status=Status.ERROR, error=result.error.reason), None
    for index, found in enumerate(result.faces):
        row = describe_face(
            result.path, index, found.face, status=_status(found), match=found.match, threshold=threshold
        )
        yield row, found
    for index, refused in _number_refused(result):
        yield (
            FaceRow(
                image_path=result.path,
                face_index=index,
                bbox=refused.detection.box_px,
                landmarks=refused.detection.landmarks_px,
                det_score=refused.detection.score,
                status=Status.REJECTED,
                error=refused.error.reason,
            ),
            None,
        )


def _to_json(row: FaceRow, found: IdentifiedFace | None) -> dict[str, object]:
    """The columns of the face table without the embedding, and the nearest people."""
    columns = {name: getattr(row, name) for name in row.__dataclass_fields__ if name != "embedding"}
    return {**columns, "candidates": [] if found is None else found.candidates}


def _draw(result: IdentifiedPhoto, picture: Path, gates: FaceGates) -> None:
    from lightface.drawing import draw_faces
    from lightface.images import load_photo, save_image

    drawn = [(index, found) for index, found in enumerate(result.faces) if found.face.detection is not None]
    names = [
        "unknown" if found.match is None else f"{found.match.person_name} {found.match.similarity:.2f}"
        for _, found in drawn
    ]
    labels = [f"{index}: {name}" for (index, _), name in zip(drawn, names, strict=True)]
    boxes = [found.face.detection for _, found in drawn if found.face.detection is not None]
    refused = [
        (one.detection, f"{index}: refused, {one.error.reason.replace('_', ' ')}")
        for index, one in _number_refused(result)
    ]
    photo = load_photo(result.path, max_pixels=gates.max_pixels, allow_truncated=gates.allow_truncated)
    make_folder(picture.parent)
    save_image(draw_faces(photo.image_rgb, boxes, labels, refused=refused), picture)
    note(f"drew {picture}")

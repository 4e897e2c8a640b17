"""`lightface identify`: who is on these photographs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightface.cli.console import complain, counting_bar, debug, is_verbose, note
from lightface.cli.inputs import find_photos_of
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import (
    EMBEDDING,
    GALLERY,
    AlreadyAligned,
    Every,
    FaceChoice,
    Json,
    Photos,
    Recursive,
    with_settings,
)
from lightface.cli.photo_names import (
    RemoveXmp,
    Sidecars,
    WriteReview,
    WriteXmp,
    names_written,
    plan_xmp,
    remove_xmp_names,
)
from lightface.cli.results import make_folder, plan_pictures, print_json, print_table
from lightface.cli.settings import Settings
from lightface.errors import FaceNotFoundError, LightfaceError
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.pipeline import FacePipeline, IdentifiedFace, IdentifiedPhoto

SCHEMA_VERSION = 1  # of what --json prints


@with_settings("threshold", "review_threshold", *GALLERY, *EMBEDDING)
def identify(
    settings: Settings,
    *,
    photos: Photos,
    limit: Annotated[
        int | None, typer.Option("--limit", "-k", min=1, help="How many of the nearest people to show (default: 3).")
    ] = None,
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
    write_xmp: WriteXmp = None,
    write_review: WriteReview = False,
    sidecars: Sidecars = None,
    remove_xmp: RemoveXmp = None,
    recursive: Recursive = True,
    face_selection: FaceChoice = "all",
    already_aligned: AlreadyAligned = False,
    by: Annotated[
        Literal["photo", "person"],
        typer.Option("--by", help="Of several photographs: who is on each, or the photographs of each person."),
    ] = "photo",
    every: Every = None,
    as_json: Json = False,
) -> None:
    """Say who is on photographs; nobody is named twice in one.

    For several photographs, names alone are printed, and who is unknown on several has a number; --verbose prints a
    line for each face, with similarities and the nearest people, as for one.

    For one photograph, exit code 0: somebody was matched, 1: nobody, 2: trouble. For several, 2 if none had a face.
    What a threshold promises holds for people such as those it was measured on (--verbose says on whom): children, for
    one, are taken for each other far more often.
    """
    from lightface.pipeline import describe_basis, identify_photos, resolve_bands
    from lightface.pipeline.identify import DEFAULT_LIMIT
    from lightface.records import FaceSelection
    from lightface.tables import check_output, name_photo, write_faces

    is_metadata = write_xmp is not None or remove_xmp is not None  # which videos have none of
    paths = find_photos_of(photos, recursive=recursive, videos=not is_metadata)
    xmp = plan_xmp(
        write_xmp,
        remove_xmp,
        sidecars,
        photos,
        paths,
        with_review=write_review,
        already_aligned=already_aligned,
    )
    if xmp is not None and remove_xmp is not None:
        remove_xmp_names(xmp, paths)
        return
    pictures = {} if draw is None else plan_pictures(draw, photos, paths, option="--draw")
    if output is not None:
        check_output(output)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned, every_s=every)
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
                limit=DEFAULT_LIMIT if limit is None else limit,
                progress=lambda _: count(),
            )
    for result in results:
        if result.path in pictures and any(one.face.span is not None for one in result.faces):
            complain(f"{result.path} is a video, and is not drawn; the table has the time of each face's best frame")
        elif result.path in pictures and (result.faces or result.refused):
            _draw(result, pictures[result.path], pipeline)
    if output is not None:
        named = [replace(result, path=name_photo(result.path)) for result in results]  # as in the tables of `embed`
        write_faces(output, [row for result in named for row in result.rows()])
        note(f"wrote {output}")
    with names_written(xmp, results):
        _report(results, by=by, as_json=as_json)


def _report(results: Sequence[IdentifiedPhoto], *, by: str, as_json: bool) -> None:
    failed = [result for result in results if result.error is not None]
    if len(failed) == len(results) == 1 and not failed[0].refused:
        assert failed[0].error is not None
        raise LightfaceError(explain(failed[0].path, failed[0].error))
    if as_json:
        print_json(_to_json(results))
    elif len(results) == 1 or is_verbose():
        _print(results)
    else:
        _print_names(results, by=by)
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
    counts = Counter(str(face.status) for result in results for face in result.faces)
    if len(results) == 1:
        raise typer.Exit(0 if counts["matched"] else 1)
    counts.update({"rejected": sum(len(result.refused) for result in results)})
    words = ", ".join(f"{counts[status]:,} {status}" for status in sorted(+counts))
    note(
        f"{count_of(counts.total(), 'face')} in {count_of(len(results), 'photograph')}: {words}; "
        f"{count_of(len(failed), 'photograph')} without a face that could be looked for"
    )


def _to_json(results: Sequence[IdentifiedPhoto]) -> dict[str, object]:
    """All faces in one list; `unknown_person` is the number of somebody who is unknown on several photographs."""
    from lightface.pipeline.identify import number_unknown

    numbers = number_unknown(results)
    faces = [
        {**face, "unknown_person": numbers.get((result.path, face["face_index"]))}
        for result in results
        for face in result.to_dict()["faces"]
    ]
    return {"schema_version": SCHEMA_VERSION, "threshold": results[0].threshold, "faces": faces}


def _print(results: Sequence[IdentifiedPhoto]) -> None:
    """A line for each face; the reason of those that were refused has a column where there are some."""
    lines: list[tuple[object, ...]] = []
    for result in results:
        lines += [(*_to_line(result, index, face), "") for index, face in enumerate(result.faces)]
        lines += [
            (result.path, index, "rejected", None, None, None, refused.error.reason)
            for index, refused in result.numbered_refused()
        ]
    columns = ("photograph", "face", "status", "person", "similarity", "nearest", "reason")
    count = len(columns) if any(result.refused for result in results) else len(columns) - 1
    print_table(columns[:count], [line[:count] for line in lines])


def _print_names(results: Sequence[IdentifiedPhoto], *, by: str) -> None:
    """A line for each photograph with a face, or for each person and photograph: people first, then the unknown."""
    from lightface.pipeline.identify import number_unknown

    numbers = number_unknown(results)
    sizes = Counter(numbers.values())
    names: dict[Path, list[str]] = {}
    people: list[tuple[tuple[int, int, str], str, Path]] = []  # in their order: named, numbered, unknown
    for result in results:
        for index, face in enumerate(result.faces):
            number = numbers.get((result.path, index))
            name = _name(face, number)
            names.setdefault(result.path, []).append(name)
            rank = 0 if face.match is not None else 2 if number is None else 1
            label = name if number is None else f"{name} ({count_of(sizes[number], 'photograph')})"
            people.append(((rank, number or 0, name), label, result.path))
    if by == "person":
        people.sort(key=lambda one: one[0])
        print_table(("person", "photograph"), [(label, path) for _, label, path in people])
        return
    print_table(("photograph", "people"), [(path, ", ".join(on_it)) for path, on_it in names.items()])


def _name(found: IdentifiedFace, number: int | None) -> str:
    if found.match is not None:
        return f"{found.match.person_name} (review)" if found.status == "review" else found.match.person_name
    return "unknown" if number is None else f"unknown {number}"


def _to_line(result: IdentifiedPhoto, index: int, found: IdentifiedFace) -> tuple[object, ...]:
    similarity = None if found.match is None else f"{found.match.similarity:.3f}"
    nearest = ", ".join(f"{other.person_name} {other.similarity:.3f}" for other in found.candidates)
    name = None if found.match is None else found.match.person_name
    return result.path, index, found.status, name, similarity, nearest


def _draw(result: IdentifiedPhoto, picture: Path, pipeline: FacePipeline) -> None:
    from lightface.images import save_image

    make_folder(picture.parent)
    save_image(result.draw(pipeline.load_photo(result.path).image_rgb), picture)
    note(f"drew {picture}")

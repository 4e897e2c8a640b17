"""`lightface verify`: are two photographs of one person?"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import counting_bar, note
from lightface.cli.inputs import STANDARD_STREAM, read_pairs, stdin_as_file
from lightface.cli.loading import load_face_pipeline, poor_raise_of, resolve_threshold_of
from lightface.cli.options import (
    EMBEDDING,
    GALLERY,
    AlreadyAligned,
    FaceChoice,
    Json,
    Selection,
    TableFormat,
    with_settings,
)
from lightface.cli.results import TableOutput, print_json, print_line, refuse_to_replace
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, LightfaceError
from lightface.locations import to_path
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.pipeline import FacePipeline, PhotoFaces, VerifiedPair
    from lightface.records import Verification
    from lightface.tables import PairRow
    from lightface.tables.text_lists import NamedPair


@with_settings("threshold", *GALLERY, *EMBEDDING)
def verify(
    settings: Settings,
    *,
    photo_a: Annotated[
        Path | None,
        typer.Argument(metavar="A", parser=to_path, help="A photograph, also by URL; - reads it from stdin."),
    ] = None,
    photo_b: Annotated[
        Path | None, typer.Argument(metavar="B", parser=to_path, help="Another; - reads it from stdin.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", metavar="CSV", help="Compare many: two paths a line; - is stdin.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="With --pairs: the results (default: stdout).")
    ] = None,
    format: TableFormat = None,
    face_selection: FaceChoice = "largest",
    already_aligned: AlreadyAligned = False,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="PICTURE", help="Draw the two side by side, with the answer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether two photographs show the same person. Exit code 0: same, 1: different, 2: trouble.

    The similarity is a cosine, -1 to 1, not a probability. From the threshold upwards, the answer is same. What a
    threshold promises holds for people such as those it was measured on (--verbose says on whom): children, for one,
    are taken for each other far more often. The threshold is that of a gallery only where you name one: by option,
    variable or configuration file.
    """
    if pairs is not None:
        if as_json:
            raise ConfigError("--json is for one pair; with --pairs, give --format jsonl")
        if photo_a is not None or sheet is not None:
            raise ConfigError("with --pairs, the photographs are in the list, and no sheet is drawn; leave them out")
        if output is not None:
            refuse_to_replace([pairs], [output], option="--output")
        with TableOutput(output or STANDARD_STREAM, format) as table:
            _verify_list(pairs, table, settings, face_selection, already_aligned=already_aligned)
        return
    if photo_a is None or photo_b is None:
        raise ConfigError("two photographs are needed; name them, or a list of them with --pairs")
    if output is not None or format is not None:
        raise ConfigError("--output and --format belong to --pairs; use --json for one pair")
    verification = _verify(photo_a, photo_b, settings, face_selection, already_aligned=already_aligned, sheet=sheet)
    _report(photo_a, photo_b, verification, as_json=as_json)
    raise typer.Exit(0 if verification.status == "same" else 1)


def _verify(
    photo_a: Path,
    photo_b: Path,
    settings: Settings,
    face_selection: Selection,
    *,
    already_aligned: bool,
    sheet: Path | None,
) -> Verification:
    from lightface.images import check_picture
    from lightface.pipeline import verify_pairs
    from lightface.records import FaceSelection

    if photo_a == photo_b == STANDARD_STREAM:
        raise ConfigError("stdin has one photograph; give - once")
    if sheet is not None:
        check_picture(sheet)
        refuse_to_replace([photo_a, photo_b], [sheet], option="--sheet")
    with stdin_as_file() if STANDARD_STREAM in (photo_a, photo_b) else nullcontext(STANDARD_STREAM) as received:
        pipeline = load_face_pipeline(settings, already_aligned=already_aligned)

        def tell_choice(photo: PhotoFaces) -> None:
            if photo.not_selected and face_selection == "largest":
                name = "stdin" if photo.path == received else photo.path
                note(f"{name}: {photo.not_selected + 1} faces, the largest taken; see --face-selection")

        (pair,) = verify_pairs(
            pipeline,
            [
                (
                    received if photo_a == STANDARD_STREAM else photo_a,
                    received if photo_b == STANDARD_STREAM else photo_b,
                )
            ],
            threshold=resolve_threshold_of(settings, pipeline),
            poor_raise=poor_raise_of(settings),
            selection=FaceSelection(face_selection),
            progress=tell_choice,
        )
        if pair.verification is None:
            assert pair.error is not None and pair.failed_path is not None
            message = explain(pair.failed_path, pair.error)
            # What came by stdin has no name that would mean anything to the user.
            raise LightfaceError(message.replace(str(received), "stdin") if pair.failed_path == received else message)
        if sheet is not None:
            _draw_sheet(pair, pair.verification, pipeline, sheet)
        return pair.verification


def _verify_list(
    pairs: Path, table: TableOutput, settings: Settings, face_selection: Selection, *, already_aligned: bool
) -> None:
    from lightface.pipeline import verify_pairs
    from lightface.records import FaceSelection
    from lightface.tables import check_output, write_pairs

    check_output(table.path)
    listed = read_pairs(pairs)
    pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
    threshold = resolve_threshold_of(settings, pipeline)
    with counting_bar("comparing", len({path for pair in listed for path in (pair.path_a, pair.path_b)})) as count:
        results = verify_pairs(
            pipeline,
            [(pair.path_a, pair.path_b) for pair in listed],
            threshold=threshold,
            poor_raise=poor_raise_of(settings),
            selection=FaceSelection(face_selection),
            progress=lambda _: count(),
        )
    write_pairs(table.path, map(_to_row, listed, results))
    table.finish()
    counts = Counter(str(result.status) for result in results)
    if counts["error"] == len(results):
        raise LightfaceError(f"none of {count_of(len(results), 'pair')} could be compared; the results say why")
    words = ", ".join(f"{counts[status]:,} {status}" for status in sorted(counts))
    note(f"compared {count_of(len(results), 'pair')}: {words}")


def _to_row(listed: NamedPair, pair: VerifiedPair) -> PairRow:
    """Photographs go by the names that the list has for them."""
    from lightface.tables import PairRow

    found = pair.verification
    named = {pair.path_b: Path(listed.name_b), pair.path_a: Path(listed.name_a)}
    return PairRow(
        path_a=Path(listed.name_a),
        path_b=Path(listed.name_b),
        similarity=None if found is None else found.similarity,
        threshold=None if found is None else found.threshold,
        status=pair.status,
        error=None if pair.error is None else pair.error.reason,
        error_path=None if pair.failed_path is None else named[pair.failed_path],
    )


def _draw_sheet(pair: VerifiedPair, verification: Verification, pipeline: FacePipeline, sheet: Path) -> None:
    from lightface.drawing import side_by_side
    from lightface.images import save_image

    photo_a, photo_b = pipeline.load_photo(pair.path_a), pipeline.load_photo(pair.path_b)
    picture = side_by_side(
        (photo_a.image_rgb, photo_b.image_rgb),
        (pipeline.crop_of(photo_a, verification.face_a), pipeline.crop_of(photo_b, verification.face_b)),
        (pair.path_a.name, pair.path_b.name),
        headline=str(verification),
    )
    save_image(picture, sheet)
    note(f"drew {sheet}")


def _report(photo_a: Path, photo_b: Path, verification: Verification, *, as_json: bool) -> None:
    photos = (photo_a, photo_b)
    if as_json:
        result = verification.to_dict()
        faces = [{"image_path": photo, **face} for photo, face in zip(photos, result["faces"], strict=True)]
        print_json({**result, "faces": faces})
        return
    print_line(str(verification))
    for photo, face in zip(photos, (verification.face_a, verification.face_b), strict=True):
        print_line(f"  {photo}: {face}")

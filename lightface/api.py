"""The jobs in one call each, with what they need loaded once: `import lightface` offers these.

print(lightface.verify("a.jpg", "b.jpg"))
lightface.enroll("Grace Hopper", "hopper.jpg")
print(lightface.identify("party.jpg"))

A photograph is a path or URL, the bytes of a picture file, such a file that is open, an array or a Pillow picture; see
`PhotoSource`. A `gallery` is an open one, or its place; None is the default place, which the command line uses too.
A `pipeline` is one that `load_pipeline` made; None is `default_pipeline()`. Environment variables and the configuration
file have no say here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from lightface.batch import EmbedProgress, EmbedSummary, Engine
from lightface.batch import embed_folder as embed_folder_with
from lightface.errors import check_flag
from lightface.gallery import Gallery, default_gallery_path, open_gallery
from lightface.images import PhotoSource
from lightface.images.photos import find_sources
from lightface.locations import as_path, to_local_path
from lightface.matching import POOR_RAISE
from lightface.models.registry import find_record
from lightface.pipeline.cluster import DEFAULT_MIN_SIZE, FaceGroups, cluster_faces
from lightface.pipeline.enroll import EnrolledPhoto, enroll_people
from lightface.pipeline.face_pipeline import FacePipeline, load_pipeline
from lightface.pipeline.find import PersonSearch, describe_person, find_person
from lightface.pipeline.identify import DEFAULT_LIMIT, IdentifiedPhoto, identify_photos
from lightface.pipeline.spec import to_selection
from lightface.pipeline.thresholds import resolve_bands, resolve_threshold
from lightface.pipeline.verify import verify_photos
from lightface.records import DetectedFace, FaceEmbedding, FaceSelection, Status, Verification
from lightface.tables import TABLE_SUFFIXES, FaceRow, describe_face, holds_parts, name_photo, read_faces

if TYPE_CHECKING:
    from lightface.evaluation.calibrate import Proposal
    from lightface.evaluation.evaluate import Evaluation

_default: FacePipeline | None = None
_loading = threading.Lock()


class FolderOptions(TypedDict, total=False):
    """The options of `embed_folder`, whose defaults are those of `lightface.batch.embed_folder`."""

    recursive: bool
    drop_others: bool
    batch_size: int
    workers: int | None
    engine: Engine
    progress: Callable[[EmbedProgress], None]


def default_pipeline() -> FacePipeline:
    """The shipped weights with the usual limits on the best device of this machine, loaded once for all threads.

    Errors as in `load_pipeline`.
    """
    global _default
    with _loading:
        if _default is None:
            _default = load_pipeline()
        return _default


def verify(
    photo_a: PhotoSource,
    photo_b: PhotoSource,
    *,
    threshold: float | None = None,
    selection: FaceSelection | str = FaceSelection.LARGEST,
    pipeline: FacePipeline | None = None,
) -> Verification:
    """Say whether two photographs show one person: `result.status` is SAME or DIFFERENT, `result.similarity` a cosine.

    `threshold` is the cosine from which they do; None: the one measured for the weights at a false-accept rate of 1e-3,
    and more where both faces are poor. Of several faces the `selection` says which is meant. Raises PhotoError where a
    photograph cannot be read or has no fitting face, ThresholdError where no threshold is known.
    """
    used = pipeline or default_pipeline()
    decides = resolve_threshold(used.record, threshold=threshold)
    poor_raise = POOR_RAISE if threshold is None else 0.0
    return verify_photos(
        used, photo_a, photo_b, threshold=decides, poor_raise=poor_raise, selection=to_selection(selection)
    )


def identify(
    photo: PhotoSource,
    *,
    gallery: Gallery | Path | str | None = None,
    threshold: float | None = None,
    review_threshold: float | None = None,
    limit: int = DEFAULT_LIMIT,
    selection: FaceSelection | str = FaceSelection.ALL,
    pipeline: FacePipeline | None = None,
) -> IdentifiedPhoto:
    """Name the faces of a photograph, largest first; nobody is named twice.

    A face in `result.faces` has a `match`, which is None for somebody unknown, and `limit` candidates. The thresholds
    are those of `resolve_bands`. Raises PhotoError where the photograph cannot be read or has no usable face,
    GalleryError where there is no gallery or nobody is enrolled. For many photographs see `identify_photos`.
    """
    used = pipeline or default_pipeline()
    with _opened(gallery, model_id=used.model_id) as opened:
        bands = resolve_bands(used.record, gallery=opened, threshold=threshold, review_threshold=review_threshold)
        chosen = to_selection(selection)
        (result,) = identify_photos(used, opened, [photo], bands=bands, limit=limit, selection=chosen)
    if result.error is not None:
        raise result.error
    return result


def enroll(
    name: str,
    *photos: PhotoSource,
    gallery: Gallery | Path | str | None = None,
    selection: FaceSelection | str = FaceSelection.REQUIRE_ONE,
    metadata: Mapping[str, str] | None = None,
    even_if_alike: bool = False,
    pipeline: FacePipeline | None = None,
) -> list[EnrolledPhoto]:
    """Add a face of each photograph to the person of that name, one result a photograph; a missing gallery is made.

    What is fine is enrolled at once. A photograph that is refused has an `error` that says why; see `enroll_photos`.
    """
    check_flag("even_if_alike", even_if_alike)
    used = pipeline or default_pipeline()
    with _opened(gallery, model_id=used.model_id, create=True) as opened:
        return enroll_people(
            used,
            opened,
            {name: photos},
            selection=to_selection(selection),
            metadata=metadata,
            even_if_alike=even_if_alike,
        )


def embed(
    photo: PhotoSource,
    *,
    selection: FaceSelection | str = FaceSelection.ALL,
    pipeline: FacePipeline | None = None,
) -> list[FaceEmbedding]:
    """The faces of a photograph as unit vectors, largest first: the product of two is their cosine.

    Raises PhotoError where the photograph cannot be read or has no usable face.
    """
    used = pipeline or default_pipeline()
    (result,) = used.selecting(to_selection(selection)).embed_paths([photo])
    if result.error is not None:
        raise result.error
    return list(result.faces)


def embed_folder(
    photos: Path | str | Iterable[Path | str],
    output: Path | str,
    *,
    selection: FaceSelection | str = FaceSelection.ALL,
    pipeline: FacePipeline | None = None,
    **options: Unpack[FolderOptions],
) -> EmbedSummary:
    """Embed photographs and folders into one table: .parquet, .csv, .jsonl or .npz. The next run does what is new.

    The options and errors are those of `lightface.batch.embed_folder`. On a CPU, 500 photographs and more are shared
    among processes, which import the program that called: keep the call under `if __name__ == "__main__":`, or set
    `workers=1`.
    """
    used = pipeline or default_pipeline()
    return embed_folder_with(used, _to_list(photos), output, selection=to_selection(selection), **options)


def detect(photo: PhotoSource, *, pipeline: FacePipeline | None = None) -> list[DetectedFace]:
    """The faces of a photograph, largest first; [] where there is none. Pixels are those of the upright photograph.

    Faces that are too small or too doubtful for the pipeline's limits are left out. ImageError where the photograph
    cannot be read.
    """
    used = pipeline or default_pipeline()
    return used.detect_photo(used.load_photo(photo))


def cluster(
    photos: Path | str | Iterable[Path | str],
    *,
    threshold: float | None = None,
    min_size: int = DEFAULT_MIN_SIZE,
    recursive: bool = True,
    pipeline: FacePipeline | None = None,
) -> FaceGroups:
    """Group the faces of photographs and folders, or of a table that `embed_folder` wrote, by likeness.

    Photographs are embedded each time; for many, `embed_folder` keeps what it has done. Errors as in `cluster_faces`.
    """
    check_flag("recursive", recursive)
    rows = _read_rows(_to_list(photos), recursive=recursive, pipeline=pipeline)
    return cluster_faces(rows, threshold=threshold, min_size=min_size)


def find(
    photos: PhotoSource | list[PhotoSource] | tuple[PhotoSource, ...],
    faces: Path | str | Iterable[Path | str],
    *,
    threshold: float | None = None,
    limit: int | None = None,
    selection: FaceSelection | str = FaceSelection.LARGEST,
    even_if_unlike: bool = False,
    recursive: bool = True,
    pipeline: FacePipeline | None = None,
) -> PersonSearch:
    """The photographs among `faces` that show one person, of whom there are `photos` (one, or a list); see `found`.

    `faces` are photographs, folders and tables that `embed_folder` wrote. Photographs are embedded each time; for many,
    `embed_folder` keeps what it has done. `threshold` is a cosine; None: one that suits so many faces. Photographs that
    clearly show different people are refused, unless `even_if_unlike`. Errors as in `describe_person` and
    `find_person` of `lightface.pipeline.find`.
    """
    used = pipeline or default_pipeline()
    check_flag("recursive", recursive)
    check_flag("even_if_unlike", even_if_unlike)
    given = photos if isinstance(photos, list | tuple) else [photos]
    person = describe_person(used, given, selection=to_selection(selection), even_if_unlike=even_if_unlike)
    rows = _read_rows(_to_list(faces), recursive=recursive, pipeline=used)
    return find_person(person, rows, threshold=threshold, limit=limit)


def evaluate(pairs: Path | str, *, pipeline: FacePipeline | None = None) -> Evaluation:
    """Measure the weights on a folder of people, a list of pairs or a data set as published, each figure with interval.

    What a path is, is told by its layout; see `read_protocol`. EvaluationError where it cannot be read or measured.
    """
    from lightface.evaluation.evaluate import evaluate_pairs  # not before, for the other jobs to start sooner
    from lightface.evaluation.protocols import read_protocol

    return evaluate_pairs(pipeline or default_pipeline(), read_protocol(to_local_path(pairs)))


def calibrate(
    far: float, *, gallery: Gallery | Path | str | None = None, dry_run: bool = False, allow_looser: bool = False
) -> Proposal:
    """Measure the threshold of a gallery at a false-accept rate on its own samples, and keep it unless `dry_run`.

    The threshold of the weights stays where what was measured is looser, unless `allow_looser`. EvaluationError where
    the pairs are too few, with how many are missing.
    """
    from lightface.evaluation.calibrate import calibrate_gallery, propose_thresholds, store_calibration

    check_flag("dry_run", dry_run)
    check_flag("allow_looser", allow_looser)
    with _opened(gallery, model_id=None) as opened:
        measured = calibrate_gallery(opened, far=far)
        record = None if opened.model_id is None else find_record(opened.model_id)
        proposal = propose_thresholds(opened, measured, record, allow_looser=allow_looser)
        if not dry_run:
            store_calibration(opened, proposal)
    return proposal


@contextmanager
def _opened(gallery: Gallery | Path | str | None, *, model_id: str | None, create: bool = False) -> Iterator[Gallery]:
    """The gallery itself, which stays open, or the one at a place for the time of the block."""
    if isinstance(gallery, Gallery):
        yield gallery
        return
    with open_gallery(default_gallery_path() if gallery is None else gallery, model_id=model_id, create=create) as new:
        yield new


def _read_rows(places: Sequence[Path | str], *, recursive: bool, pipeline: FacePipeline | None) -> list[FaceRow]:
    """The faces of tables, then those of photographs and folders; a photograph of several counts once."""
    rows: list[FaceRow] = []
    seen: set[str] = set()
    for table in filter(_is_table, places):
        new = [row for row in read_faces(as_path(table)) if str(row.image_path) not in seen]
        seen.update(str(row.image_path) for row in new)
        rows += new
    sources = [place for place in places if not _is_table(place)]
    if sources:
        used = (pipeline or default_pipeline()).selecting(FaceSelection.ALL)
        for photo in used.embed_paths(find_sources(sources, recursive=recursive)):
            path = name_photo(photo.path)
            faces = () if str(path) in seen else photo.faces
            rows += [describe_face(path, index, face, status=Status.EMBEDDED) for index, face in enumerate(faces)]
    return rows


def _to_list(places: Path | str | Iterable[Path | str]) -> Sequence[Path | str]:
    return [places] if isinstance(places, str | os.PathLike) else list(places)


def _is_table(place: Path | str) -> bool:
    path = as_path(place)
    return path.suffix.lower() in TABLE_SUFFIXES or (path.is_dir() and holds_parts(path))

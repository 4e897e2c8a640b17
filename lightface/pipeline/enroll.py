"""Enroll people from photographs: what is fine is kept at once, what is not is listed with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import (
    ConfigError,
    DuplicateFaceError,
    FaceNotFoundError,
    ImageError,
    PersonNotFoundError,
    PhotoError,
)
from lightface.faces import FaceEmbedding, FaceSelection, Status
from lightface.gallery import FaceSample, Gallery, normalize_name
from lightface.images import PassedOver, PhotoSource, find_folders, find_photos, hash_file
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces
from lightface.sources import as_source


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledPhoto:
    """What became of one photograph."""

    path: Path
    person_name: str
    status: Status  # ENROLLED or REJECTED
    face: FaceEmbedding | None = None  # None where none was found
    error: PhotoError | None = None  # why it was rejected


def enroll_photos(
    pipeline: FacePipeline,
    gallery: Gallery,
    name: str,
    paths: Sequence[PhotoSource],
    *,
    selection: FaceSelection = FaceSelection.REQUIRE_ONE,
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Add one face of each photograph to the person of that name, who is made if new and at least one is fine.

    Each photograph is enrolled by itself and stays so if the rest is interrupted; `progress` hears of each. One that
    this person was enrolled from before is not embedded again. Raises
    GalleryError for an impossible name or another model's gallery, ConfigError for the selection ALL.
    """
    if selection is FaceSelection.ALL:
        raise ConfigError("the faces of one photograph are not all one person; choose largest, center or require-one")
    name = normalize_name(name)
    gallery.check_names([name])  # before hours of work
    places = [as_source(path) for path in paths]
    known = {path for path in places if _is_enrolled(gallery, name, path)}
    photos = pipeline.embed_paths([path for path in places if path not in known], selection=selection)
    results = []
    for path in places:
        result = _refuse_known(name, path) if path in known else _enroll(gallery, name, next(photos), metadata)
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def enroll_people(
    pipeline: FacePipeline,
    gallery: Gallery,
    folder: Path | str,
    *,
    selection: FaceSelection = FaceSelection.REQUIRE_ONE,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Enroll a people folder, `people/Alice/1.jpg`; see `find_people` and `enroll_photos`."""
    results = []
    people = find_people(folder)
    gallery.check_names(people)
    for name, paths in people.items():
        results += enroll_photos(pipeline, gallery, name, paths, selection=selection, progress=progress)
    return results


def find_people(folder: Path | str) -> dict[str, list[Path]]:
    """The photographs of each person in a people folder, a sub-folder a person, by name.

    Links to folders count. Raises ImageError where the folder cannot be read and FaceNotFoundError where no sub-folder
    has a photograph.
    """
    passed_over = PassedOver()
    photos = {person.name: find_photos([person], passed_over=passed_over) for person in find_folders(folder)}
    passed_over.tell()
    people = {name: paths for name, paths in photos.items() if paths}
    if not people:
        raise FaceNotFoundError(f"no folder in {folder} has photographs; expected a folder a person, as in Alice/1.jpg")
    return people


def _is_enrolled(gallery: Gallery, name: str, path: Path) -> bool:
    try:
        sample = gallery.find_enrolled(hash_file(path))
        return sample is not None and sample.person_id == gallery.find_person(name).id
    except (ImageError, PersonNotFoundError):  # to be told when it is its turn
        return False


def _refuse_known(name: str, path: Path) -> EnrolledPhoto:
    error = DuplicateFaceError(f"{path} is enrolled for {name!r} already; leave it out")
    return EnrolledPhoto(path, name, Status.REJECTED, error=error)


def _enroll(gallery: Gallery, name: str, photo: PhotoFaces, metadata: Mapping[str, str] | None) -> EnrolledPhoto:
    if photo.error is not None:
        return EnrolledPhoto(photo.path, name, Status.REJECTED, error=photo.error)
    (face,) = photo.faces
    try:
        gallery.enroll(name, [_to_sample(photo, face)], metadata=metadata)
    except PhotoError as error:  # a duplicate, or somebody else's
        return EnrolledPhoto(photo.path, name, Status.REJECTED, face=face, error=error)
    return EnrolledPhoto(photo.path, name, Status.ENROLLED, face=face)


def _to_sample(photo: PhotoFaces, face: FaceEmbedding) -> FaceSample:
    assert photo.sha256 is not None  # it was read
    return FaceSample(
        vector=face.vector,
        model_id=face.model_id,
        source_path=str(photo.path.absolute()),  # not resolved: the user's own name for the place
        image_sha256=photo.sha256,
        box_px=face.detection.box_px if face.detection else None,
        det_score=face.detection.score if face.detection else None,
        quality=face.quality,
    )

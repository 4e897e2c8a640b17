"""Enroll people from photographs: what is fine is kept at once, what is not is listed with its reason."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightface.errors import (
    ConfigError,
    DuplicateFaceError,
    FaceNotFoundError,
    IdentityConflictError,
    ImageError,
    PhotoError,
    ThresholdError,
)
from lightface.gallery import Gallery, NewSample, normalize_name
from lightface.gallery.likeness import Conflict, find_conflicts, find_parts
from lightface.images import PassedOver, PhotoSource, find_folders, find_photos, hash_file
from lightface.images.photos import as_source
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, stack_vectors
from lightface.pipeline.named_faces import NamedFace, choose_faces
from lightface.pipeline.thresholds import resolve_bands
from lightface.records import BoxPx, FaceEmbedding, FaceSelection, Status, to_plain
from lightface.words import explain, visible

_log = logging.getLogger(__name__)

# Photographs that are embedded before they are compared with each other and stored: of several people enough to sort
# out whose is whose, of one as many as go through the networks together.
_OF_MANY_PEOPLE = 256
_OF_ONE_PERSON = 8
_OWN_SAMPLES = 100  # of a person, the latest: those that new faces should resemble

_Planned = tuple[str, Path]  # a person's name, and a photograph


@dataclass(frozen=True, slots=True)
class UnlikeSample:
    """The nearest of a person's own samples to a new face that resembles none of them."""

    similarity: float  # cosine
    source_path: str


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledPhoto:
    """What became of one photograph."""

    path: Path
    person_name: str
    status: Status  # ENROLLED or REJECTED
    face: FaceEmbedding | None = None  # None where none was found
    error: PhotoError | None = None  # why it was rejected
    alike: Conflict | None = None  # of one that was rejected for that: somebody else whom it resembles
    unlike: UnlikeSample | None = None  # of one that was enrolled: it does not resemble the person's other samples
    moved_from: str | None = None  # of one that was enrolled before: where it lay then, and no file does any more

    def __str__(self) -> str:
        done = f"{self.path}: {self.status} as {self.person_name}"
        return visible(done if self.error is None else explain(self.path, self.error))

    def to_dict(self) -> dict[str, Any]:
        """What `json.dumps` takes; the embedding is left out."""
        detection = None if self.face is None else self.face.detection
        return {
            "image_path": str(self.path),
            "person_name": self.person_name,
            "status": self.status.value,
            "bbox": None if detection is None else list(detection.box_px),
            "det_score": None if detection is None else detection.score,
            "quality": None if self.face is None else self.face.quality,
            "error": None if self.error is None else self.error.reason,
            "alike": to_plain(self.alike),
            "unlike": to_plain(self.unlike),
            "moved_from": self.moved_from,
        }


def enroll_photos(
    pipeline: FacePipeline,
    gallery: Gallery,
    name: str,
    paths: Sequence[PhotoSource],
    *,
    selection: FaceSelection | str = FaceSelection.REQUIRE_ONE,
    metadata: Mapping[str, str] | None = None,
    threshold: float | None = None,
    even_if_alike: bool = False,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Add one face of each photograph to the person of that name, who is made if new and at least one is fine.

    A face that resembles somebody else is rejected with IdentityConflictError, see `find_conflicts`, unless it
    is to be enrolled `even_if_alike`. The `threshold` (cosine) for that is by default the one that decides in this
    gallery, see `resolve_bands`; where none is known, nothing is compared. A face that is unlike the person's own
    samples is enrolled, and told as such.

    Each photograph is listed once. What is enrolled stays so if the rest is interrupted; `progress` hears of each. One
    that this person was enrolled from before is not embedded again. Raises GalleryError for an impossible name or
    another model's gallery, ConfigError for the selection ALL.
    """
    return enroll_people(
        pipeline,
        gallery,
        {name: paths},
        selection=selection,
        metadata=metadata,
        threshold=threshold,
        even_if_alike=even_if_alike,
        progress=progress,
    )


def enroll_people(
    pipeline: FacePipeline,
    gallery: Gallery,
    people: Path | str | Mapping[str, Sequence[PhotoSource]],
    *,
    selection: FaceSelection | str = FaceSelection.REQUIRE_ONE,
    metadata: Mapping[str, str] | None = None,
    threshold: float | None = None,
    even_if_alike: bool = False,
    looked_at: Callable[[Path], None] | None = None,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Enroll a people folder, `people/Alice/1.jpg`, or the photographs of each name; see `enroll_photos`.

    Up to 256 photographs of several people are embedded, of which `looked_at` hears, before they are compared with each
    other and with who is enrolled, and stored: within these it matters little whose folder comes first. A
    KeyboardInterrupt is raised on once those that are embedded by then are stored.
    """
    if selection == FaceSelection.ALL:
        raise ConfigError("the faces of one photograph are not all one person; choose largest, center or require-one")
    if not isinstance(people, Mapping):
        people = find_people(people)
    gallery.check_names(people)  # before hours of work
    named: dict[str, list[PhotoSource]] = {}
    for name, paths in people.items():
        named.setdefault(normalize_name(name), []).extend(paths)
    planned = [(name, as_source(path)) for name, paths in named.items() for path in paths]
    gallery.check_model(pipeline.model_id)
    decides = _find_threshold(pipeline, gallery, threshold)
    enrolment = _Enrolment(pipeline.selecting(selection), gallery, metadata or {}, decides, even_if_alike)
    return _enroll_planned(enrolment, planned, looked_at, progress)


def enroll_named_faces(
    pipeline: FacePipeline,
    gallery: Gallery,
    photos: Mapping[Path, Sequence[NamedFace]],
    *,
    metadata: Mapping[str, str] | None = None,
    threshold: float | None = None,
    even_if_alike: bool = False,
    looked_at: Callable[[Path], None] | None = None,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Enroll the faces that somebody has marked and named in photographs: one result for each name in each of them.

    Which face is meant, `choose_faces` says; a result without one has the error that says why. All else, and the errors
    raised, are as in `enroll_people`.
    """
    gallery.check_names({one.name for faces in photos.values() for one in faces})
    named = {
        path: [replace(one, name=normalize_name(one.name)) for one in faces] for path, faces in photos.items() if faces
    }
    planned = [(name, path) for path, faces in named.items() for name in dict.fromkeys(one.name for one in faces)]
    gallery.check_model(pipeline.model_id)
    decides = _find_threshold(pipeline, gallery, threshold)
    everybody = pipeline.selecting(FaceSelection.ALL)
    enrolment = _Enrolment(everybody, gallery, metadata or {}, decides, even_if_alike, named=named)
    return _enroll_planned(enrolment, planned, looked_at, progress)


def _enroll_planned(
    enrolment: _Enrolment,
    planned: Sequence[_Planned],
    looked_at: Callable[[Path], None] | None,
    progress: Callable[[EnrolledPhoto], None] | None,
) -> list[EnrolledPhoto]:
    at_once = _OF_MANY_PEOPLE if len({name for name, _ in planned}) > 1 else _OF_ONE_PERSON
    results = []
    with enrolment.gallery.enrolling_together():
        for start in range(0, len(planned), at_once):
            for result in enrolment.enroll(planned[start : start + at_once], looked_at):
                results.append(result)
                if progress is not None:
                    progress(result)
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


def _find_threshold(pipeline: FacePipeline, gallery: Gallery, threshold: float | None) -> float | None:
    try:
        return resolve_bands(pipeline.record, gallery=gallery, threshold=threshold).threshold
    except ThresholdError:
        if threshold is not None:
            raise
        _log.warning("no threshold is known for these weights: new faces are not compared with who is enrolled")
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Enrolment:
    """How photographs are enrolled."""

    pipeline: FacePipeline
    gallery: Gallery
    metadata: Mapping[str, str]
    threshold: float | None  # None: faces are not compared
    even_if_alike: bool
    named: Mapping[Path, Sequence[NamedFace]] = field(default_factory=dict)  # of photographs with more than one name

    def enroll(self, planned: Sequence[_Planned], looked_at: Callable[[Path], None] | None) -> Iterator[EnrolledPhoto]:
        """Embed photographs, compare their faces with all others, and store them one by one."""
        known = {one: sha256 for one in planned if (sha256 := self._find_enrolled(*one)) is not None}
        photos: dict[_Planned, PhotoFaces] = {}
        interrupted = None
        try:
            paths = list(dict.fromkeys(path for name, path in planned if (name, path) not in known))
            embedded = zip(paths, self.pipeline.embed_paths(paths), strict=True)
            read: dict[Path, PhotoFaces] = {}
            for one in planned:
                name, path = one
                if one not in known:
                    while path not in read:
                        read.update([next(embedded)])
                    photos[one] = self._choose(name, path, read[path])
                if looked_at is not None:
                    looked_at(path)
        except KeyboardInterrupt as error:
            interrupted = error
        conflicts = self._find_conflicts(photos)
        unlike = self._find_unlike({one: photo for one, photo in photos.items() if one not in conflicts})
        files = {known[one]: str(one[1].absolute()) for one in known}
        moved = self.gallery.follow_photos({sha256: file for sha256, file in files.items() if os.path.isfile(file)})
        for one in planned:
            name, path = one
            if one in known:
                duplicate = DuplicateFaceError(f"{path} is enrolled for {name!r} already; leave it out")
                moved_from = moved.get(known[one]) if files[known[one]] == str(path.absolute()) else None
                yield EnrolledPhoto(path, name, Status.REJECTED, error=duplicate, moved_from=moved_from)
            elif one in photos:
                yield self._store(name, photos[one], conflicts.get(one), unlike.get(one))
        if interrupted is not None:
            raise interrupted

    def _choose(self, name: str, path: Path, photo: PhotoFaces) -> PhotoFaces:
        """The photograph with this person's face alone, where faces are named in it; the selection has chosen else."""
        return choose_faces(photo, self.named[path])[name] if path in self.named else photo

    def _find_enrolled(self, name: str, path: Path) -> str | None:
        """The SHA-256 of a photograph that this person was enrolled from; None where they were not."""
        person = self.gallery.find_person(name)
        if person is None:
            return None
        boxes: list[BoxPx | None] = [one.box_px for one in self.named.get(path, ()) if one.name == name]
        try:
            digest = hash_file(path)
        except ImageError:  # to be told when it is its turn
            return None
        samples = [self.gallery.find_enrolled(digest, box_px) for box_px in boxes or [None]]
        is_own = any(sample is not None and sample.person_id == person.id for sample in samples)
        return digest if is_own else None

    def _find_conflicts(self, photos: Mapping[_Planned, PhotoFaces]) -> dict[_Planned, Conflict]:
        if self.threshold is None or self.even_if_alike:
            return {}
        faces = _faces_of(photos)
        vectors = {name: stack_vectors([face for _, face in owned.values()]) for name, owned in faces.items()}
        found = find_conflicts(self.gallery, vectors, threshold=self.threshold)
        alike = {
            (name, sha256): conflict
            for name, owned in faces.items()
            for sha256, conflict in zip(owned, found[name], strict=True)
        }
        conflicts = ((one, alike.get((one[0], photo.sha256 or ""))) for one, photo in photos.items())
        return {one: conflict for one, conflict in conflicts if conflict is not None}

    def _find_unlike(self, photos: Mapping[_Planned, PhotoFaces]) -> dict[_Planned, UnlikeSample]:
        """Photographs whose faces are unlike those that the person has or, of a new person, unlike most of these."""
        unlike: dict[_Planned, UnlikeSample] = {}
        if self.threshold is None:
            return unlike
        for name, owned in _faces_of(photos).items():
            person = self.gallery.find_person(name)
            stored = [] if person is None else self.gallery.samples(person.id)[-_OWN_SAMPLES:]
            paths = [sample.source_path for sample in stored] + [str(path) for (_, path), _ in owned.values()]
            vectors = np.stack([sample.vector for sample in stored] + [face.vector for _, face in owned.values()])
            labels = find_parts(vectors, threshold=self.threshold)
            is_own = np.isin(labels, labels[: len(stored)] if stored else 0)
            for place, (one, face) in enumerate(owned.values(), start=len(stored)):
                if not is_own[place]:
                    scores = np.where(is_own, vectors @ face.vector, -np.inf)
                    unlike[one] = UnlikeSample(float(scores.max()), paths[int(scores.argmax())])
        return unlike

    def _store(
        self, name: str, photo: PhotoFaces, alike: Conflict | None, unlike: UnlikeSample | None
    ) -> EnrolledPhoto:
        if photo.error is not None:
            return EnrolledPhoto(photo.path, name, Status.REJECTED, error=photo.error)
        (face,) = photo.faces
        sample = _to_sample(photo, face)
        if alike is not None and self.gallery.find_enrolled(sample.image_sha256, sample.box_px) is None:
            error = IdentityConflictError(
                f"{photo.path} resembles {alike.person_name!r} more than {name!r} (similarity {alike.similarity:.2f}, "
                f"threshold {self.threshold:.2f}); enroll it there, or leave it out"
            )
            return EnrolledPhoto(photo.path, name, Status.REJECTED, face=face, error=error, alike=alike)
        try:
            self.gallery.enroll(name, [sample], metadata=self.metadata)
        except PhotoError as refusal:  # a duplicate, or somebody else's
            return EnrolledPhoto(photo.path, name, Status.REJECTED, face=face, error=refusal.as_result())
        return EnrolledPhoto(photo.path, name, Status.ENROLLED, face=face, unlike=unlike)


def _faces_of(photos: Mapping[_Planned, PhotoFaces]) -> dict[str, dict[str, tuple[_Planned, FaceEmbedding]]]:
    """By name and by the photograph's SHA-256 the face that is to be enrolled: a copy says nothing new of anybody."""
    faces: dict[str, dict[str, tuple[_Planned, FaceEmbedding]]] = {}
    for one, photo in photos.items():
        if photo.error is None and photo.sha256 is not None:
            faces.setdefault(one[0], {}).setdefault(photo.sha256, (one, photo.faces[0]))
    return faces


def _to_sample(photo: PhotoFaces, face: FaceEmbedding) -> NewSample:
    assert photo.sha256 is not None  # it was read
    return NewSample(
        vector=face.vector,
        model_id=face.model_id,
        source_path=str(photo.path.absolute()),  # not resolved: the user's own name for the place
        image_sha256=photo.sha256,
        box_px=face.detection.box_px if face.detection else None,
        det_score=face.detection.score if face.detection else None,
        quality=face.quality,
    )

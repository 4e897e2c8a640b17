"""Photograph -> embedded faces: decode, detect, gate, select, align, embed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from lightface.alignment import accept_aligned, align_face, is_coarse
from lightface.detection import FaceDetector, MtcnnDetector, select_faces
from lightface.embedding import Embedder
from lightface.errors import (
    FaceTooSmallError,
    ImageError,
    LowDetectionScoreError,
    LowQualityError,
    PhotoError,
    check_count,
    check_flag,
)
from lightface.images import GivenPicture, Photo, PhotoSource, count_pixels, hash_file, load_photo
from lightface.images.photos import as_source
from lightface.images.video import DEFAULT_EVERY_S, is_video_name, read_frames
from lightface.locations import RemotePath
from lightface.machine import return_unused_memory, survive_forks
from lightface.models.registry import DEFAULT_WEIGHTS, WeightsRecord
from lightface.models.weights import load_model
from lightface.pipeline.spec import FaceGates, PipelineSpec, to_selection
from lightface.pipeline.thresholds import resolve_threshold
from lightface.pipeline.tracks import Tracker
from lightface.quality import FaceQuality, measure_crop, measure_quality
from lightface.records import AlignedFace, DetectedFace, FaceEmbedding, FaceSelection, FloatArray
from lightface.words import count_of, explain, visible


@dataclass(frozen=True, slots=True, eq=False)
class RefusedFace:
    """A face that was found and not used."""

    detection: DetectedFace
    error: PhotoError

    def __str__(self) -> str:
        return visible(str(self.error))

    def to_dict(self) -> dict[str, Any]:
        """Where it was found and why it was refused, for `json.dumps`."""
        return {**self.detection.to_dict(), "error": self.error.reason}


@dataclass(frozen=True, slots=True, eq=False)
class PhotoFaces:
    """What became of one photograph: faces, or an error that says why there are none."""

    path: Path
    sha256: str | None  # of the file's bytes; None where it could not be read
    faces: tuple[FaceEmbedding, ...] = ()  # largest first
    refused: tuple[RefusedFace, ...] = ()
    error: PhotoError | None = None
    not_selected: int = 0  # faces that passed the gates, and which the selection left out

    def __str__(self) -> str:
        if self.error is not None:
            return visible(explain(self.path, self.error))
        return visible(f"{self.path}: {count_of(len(self.faces), 'face')}")

    def to_dict(self) -> dict[str, Any]:
        """The faces with their embeddings, for `json.dumps`; `error` is the word for why there are none."""
        return {
            "image_path": str(self.path),
            "sha256": self.sha256,
            "faces": [face.to_dict() for face in self.faces],
            "refused": [face.to_dict() for face in self.refused],
            "error": None if self.error is None else self.error.reason,
            "not_selected": self.not_selected,
        }


class FacePipeline:
    """A detector and an embedder in a row, behind one set of gates."""

    def __init__(
        self,
        detector: FaceDetector,
        embedder: Embedder,
        *,
        gates: FaceGates = FaceGates(),
        selection: FaceSelection | str = FaceSelection.ALL,
        spec: PipelineSpec | None = None,
    ) -> None:
        survive_forks()
        self.detector = detector
        self.embedder = embedder
        self.gates = gates
        self.selection = to_selection(selection)  # which of a photograph's faces are taken
        self.spec = spec  # what `build_pipeline` makes the same pipeline of; None where the parts were made one by one

    def selecting(self, selection: FaceSelection | str) -> FacePipeline:
        """A pipeline of the same parts that takes other faces of a photograph."""
        selection = to_selection(selection)
        spec = None if self.spec is None else replace(self.spec, selection=selection)
        return FacePipeline(self.detector, self.embedder, gates=self.gates, selection=selection, spec=spec)

    def without_gates(self, *, already_aligned: bool = False) -> FacePipeline:
        """A pipeline of the same parts that takes every face that the detector finds, or crops as they are."""
        gates = self.gates.opened(already_aligned=already_aligned)
        spec = None if self.spec is None else replace(self.spec, gates=gates)
        return FacePipeline(self.detector, self.embedder, gates=gates, selection=self.selection, spec=spec)

    def fingerprint(self, *, of_crops: bool = False, **beside: object) -> str:
        """Everything that decides which faces and embeddings a photograph yields, as JSON; equal where that is equal.

        The device is left out: work may be begun on one machine and finished on another. `beside` is what a caller
        adds, such as the number of a method. Detector, gates and selection have no say in aligned crops (`of_crops`).
        """
        recognisability = self.record.recognisability
        decides: dict[str, Any] = {
            "model": self.model_id,
            "precision": self.embedder.precision,
            "recognisability": None if recognisability is None else recognisability.digest,
            **beside,
        }
        if not of_crops:
            decides["selection"] = self.selection.value
            decides["gates"] = asdict(self.gates)
            if self.gates.every_s == DEFAULT_EVERY_S:  # what was made before there were videos still holds
                del decides["gates"]["every_s"]
            # A library user's own detector may have no settings.
            decides["detector"] = repr(getattr(self.detector, "settings", None))
        return json.dumps(decides, sort_keys=True)

    @property
    def model_id(self) -> str:
        """Embeddings are comparable where this is equal."""
        return self.embedder.model_id

    @property
    def record(self) -> WeightsRecord:
        """The record of the weights."""
        return self.embedder.record

    def load_photo(self, source: PhotoSource) -> Photo:
        """A photograph with all its pixels, read as this pipeline reads. ImageError where it cannot be."""
        return load_photo(source, max_pixels=self.gates.max_pixels, allow_truncated=self.gates.allow_truncated)

    def detect_photo(self, photo: Photo) -> list[DetectedFace]:
        """The faces of one photograph that pass the gates on size and score, largest first; [] where there is none.

        Boxes end at the photograph's edges.
        """
        photo = photo.whole(max_pixels=self.gates.max_pixels)
        faces = [face for face in self.detector.detect(photo.image_rgb) if self._complain(photo, face) is None]
        return [face.clipped(photo.size) for face in faces]

    def embed_photo(self, photo: Photo) -> list[FaceEmbedding]:
        """The selected faces of one photograph, largest first. PhotoError, of the fitting kind, when there is none."""
        (result,) = self.embed_photos([photo])
        if result.error is not None:
            raise result.error
        return list(result.faces)

    def crop_of(self, photo: Photo, face: FaceEmbedding) -> AlignedFace:
        """The crop of a whole photograph that was embedded as this face. LowQualityError where it cannot be aligned."""
        if face.detection is None:
            return accept_aligned(photo.image_rgb, self.embedder.frame)
        return align_face(photo.image_rgb, face.detection, self.embedder.frame)

    def embed_photos(self, photos: Sequence[Photo]) -> list[PhotoFaces]:
        """The same for several photographs of any sizes at once; one result a photograph, in their order."""
        looks = self._look_at(photos)
        vectors = self.embedder.embed([face.aligned for look in looks for face in look.ready])
        known = self.record.recognisability
        shares = np.ones(len(vectors)) if known is None else known.measure(vectors)
        embedded = iter(zip(vectors, shares.tolist(), strict=True))
        return [self._describe(photo, look, embedded) for photo, look in zip(photos, looks, strict=True)]

    def embed_paths(
        self, paths: Iterable[PhotoSource], *, batch_size: int = 8, workers: int = 2, videos: bool = False
    ) -> Iterator[PhotoFaces]:
        """Decode and embed photographs by path, or as `PhotoSource`: one result each, in order, in constant memory.

        `workers` threads decode ahead while `batch_size` photographs at a time are embedded. ConfigError, before the
        first, where either is no whole number of 1 or more. With `videos`, a file that its suffix makes one is read
        as a video: its faces are tracks, in the order in which they begin.
        """
        check_count("batch_size", batch_size)
        check_count("workers", workers)
        sources = map(as_source, paths)
        if not videos:
            return self._embed_paths(sources, batch_size=batch_size, workers=workers)
        return self._embed_mixed(sources, batch_size=batch_size, workers=workers)

    def _embed_mixed(self, paths: Iterable[Path], *, batch_size: int, workers: int) -> Iterator[PhotoFaces]:
        for is_video, group in groupby(paths, _is_video):
            if is_video:
                yield from (self._embed_video(path, batch_size) for path in group)
            else:
                yield from self._embed_paths(group, batch_size=batch_size, workers=workers)

    def _embed_video(self, path: Path, batch_size: int) -> PhotoFaces:
        """The tracks of a video, as the faces of a photograph; the frames of one batch are in memory at a time."""
        gates, error = self.gates, None
        tracker = Tracker(resolve_threshold(self.record))
        try:
            if gates.already_aligned:
                raise ImageError(f"{str(path)!r} is a video, and no aligned crop; name crops")
            frames = read_frames(path, every_s=gates.every_s, max_pixels=gates.max_pixels)
            sha256 = hash_file(path)
            while first := next(frames, None):
                at_once = min(batch_size, max(1, _PIXELS_AT_ONCE * 3 // first.image_rgb.size))
                batch = [first, *islice(frames, at_once - 1)]
                results = self.embed_photos([Photo(path, sha256, frame.image_rgb) for frame in batch])
                for frame, result in zip(batch, results, strict=True):
                    tracker.add(frame.time_s, result.faces)
                    error = result.error or error
        except PhotoError as reason:
            return PhotoFaces(path, None, error=reason.as_result())
        faces = tuple(track.as_face() for track in tracker.tracks)
        return PhotoFaces(path, sha256, faces=faces, error=None if faces else error)

    def _embed_paths(self, paths: Iterable[Path], *, batch_size: int, workers: int) -> Iterator[PhotoFaces]:
        gates = self.gates
        enough_px = None if gates.already_aligned else gates.max_side_px
        for batch in load_in_batches(
            paths,
            max_pixels=gates.max_pixels,
            allow_truncated=gates.allow_truncated,
            batch_size=batch_size,
            workers=workers,
            enough_px=enough_px,
        ):
            results = self._embed_loaded(batch)
            batch.clear()  # these pixels make room for the next
            yield from results

    def _embed_loaded(self, batch: Sequence[Loaded]) -> list[PhotoFaces]:
        photos = [photo for _, photo in batch if isinstance(photo, Photo)]
        results = iter(self.embed_photos(photos))
        return [
            next(results) if isinstance(photo, Photo) else PhotoFaces(path, None, error=photo) for path, photo in batch
        ]

    def _look_at(self, photos: Sequence[Photo]) -> list[_Look]:
        if self.gates.already_aligned:
            return [self._take_crop(photo) for photo in photos]
        detected = self.detector.detect_batch(
            [photo.image_rgb for photo in photos], reductions=[photo.reduction for photo in photos]
        )
        return [self._judge(photo, faces) for photo, faces in zip(photos, detected, strict=True)]

    def _take_crop(self, photo: Photo) -> _Look:
        try:
            crop = accept_aligned(photo.image_rgb, self.embedder.frame)
            return _Look(ready=(_ReadyFace(crop, self._pass(measure_crop(crop))),))
        except LowQualityError as error:
            return _Look(error=error.as_result())

    def _judge(self, photo: Photo, detected: Sequence[DetectedFace]) -> _Look:
        # Size and score come before the selection: who stands far behind is no second face.
        complaints = [(face, self._complain(photo, face)) for face in detected]
        good = [face for face, complaint in complaints if complaint is None]
        refused = [
            RefusedFace(face.clipped(photo.size), complaint) for face, complaint in complaints if complaint is not None
        ]
        if refused and not good:
            return _Look(refused=tuple(refused), error=refused[0].error)
        try:
            selected = select_faces(good, self.selection, image_size=photo.size, turns=self.gates.turns)
            if photo.reduction > 1 and any(
                is_coarse(face.reduced(photo.reduction), self.embedder.frame) for face in selected
            ):
                photo = photo.whole(max_pixels=self.gates.max_pixels)
                selected = self.detector.relocate(photo.image_rgb, selected)
        except PhotoError as error:
            return _Look(refused=tuple(refused), error=error.as_result())
        ready: list[_ReadyFace] = []
        for face in selected:
            try:
                ready.append(self._align(photo, face))
            except LowQualityError as error:
                refused.append(RefusedFace(face.clipped(photo.size), error.as_result()))
        return _Look(
            tuple(ready),
            tuple(refused),
            error=None if ready else refused[-1].error,
            not_selected=len(good) - len(selected),
        )

    def _complain(self, photo: Photo, face: DetectedFace) -> PhotoError | None:
        gates = self.gates
        smallest_px = max(gates.min_face_size_px, gates.min_face_share * min(photo.size))
        size_px = face.clipped(photo.size).size_px
        if size_px < smallest_px:
            return FaceTooSmallError(
                f"the face is {size_px:.0f} px small, under the minimum of {smallest_px:.0f}; "
                "use a larger photograph, or lower `min_face_size_px`"
            )
        if face.score < gates.det_threshold:
            return LowDetectionScoreError(
                f"the face's detection score is {face.score:.2f}, under the minimum of {gates.det_threshold:.2f}; "
                "use a clearer photograph, or lower `det_threshold`"
            )
        return None

    def _align(self, photo: Photo, face: DetectedFace) -> _ReadyFace:
        seen = face.reduced(photo.reduction) if photo.reduction > 1 else face
        quality = self._pass(measure_quality(photo.image_rgb, seen))
        crop = align_face(photo.image_rgb, seen, self.embedder.frame)
        return _ReadyFace(replace(crop, detection=face.clipped(photo.size)), quality)

    def _describe(self, photo: Photo, look: _Look, embedded: Iterator[tuple[FloatArray, float]]) -> PhotoFaces:
        """What became of a photograph, with the vector and the recognisability of each of its faces."""
        faces: list[FaceEmbedding] = []
        refused, error = list(look.refused), look.error
        for face, (vector, share) in zip(look.ready, embedded, strict=False):  # the rest are of other photographs
            detection = face.aligned.detection
            try:
                quality = self._pass(face.quality.recognised(share))
            except LowQualityError as reason:
                error = reason.as_result()
                if detection is not None:
                    refused.append(RefusedFace(detection, error))
            else:
                faces.append(FaceEmbedding(vector, self.model_id, detection, quality.score))
        return PhotoFaces(
            photo.path,
            photo.sha256,
            faces=tuple(faces),
            refused=tuple(refused),
            error=None if faces else error,
            not_selected=look.not_selected,
        )

    def _pass(self, quality: FaceQuality) -> FaceQuality:
        """The quality that was given. LowQualityError where the gate refuses it."""
        if quality.flaw is not None and quality.score < self.gates.min_quality:
            raise LowQualityError(
                f"the face is {quality.flaw}: its quality is {quality.score:.2f}, under the minimum of "
                f"{self.gates.min_quality:.2f}; {quality.flaw.remedy}, or lower `min_quality`"
            )
        return quality


def load_pipeline(
    *,
    model: str = DEFAULT_WEIGHTS,
    device: str = "auto",
    precision: str = "auto",
    flip: bool | None = None,
    gates: FaceGates = FaceGates(),
    selection: FaceSelection | str = FaceSelection.ALL,
) -> FacePipeline:
    """MTCNN and registered weights on one device.

    Raises WeightsError for weights that are unknown or damaged, DeviceError for a device or precision that this
    machine does not have, ConfigError for a gate out of range.
    """
    search = gates.search_settings()
    return build_pipeline(PipelineSpec(model, device, precision, flip, search, gates, to_selection(selection)))


def build_pipeline(spec: PipelineSpec) -> FacePipeline:
    """The pipeline of a spec. Errors as in `load_pipeline`."""
    if spec.flip is not None:
        check_flag("flip", spec.flip)
    embedder = Embedder(load_model(spec.model), device=spec.device, precision=spec.precision, flip=spec.flip)
    detector = MtcnnDetector(embedder.device, spec.search, precision=embedder.precision)
    # The precision that was chosen here: rows of one table are of one, whichever machine makes them.
    spec = replace(spec, precision=embedder.precision)
    return FacePipeline(detector, embedder, gates=spec.gates, selection=spec.selection, spec=spec)


def _is_video(path: Path) -> bool:
    return is_video_name(path.name) and not isinstance(path, GivenPicture)


def stack_vectors(faces: Sequence[FaceEmbedding]) -> FloatArray:
    """The (N, 256) rows of at least one face."""
    return np.stack([face.vector for face in faces])


@dataclass(frozen=True, slots=True, eq=False)
class _ReadyFace:
    """A face on its way into the network."""

    aligned: AlignedFace
    quality: FaceQuality


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What a photograph offers before anything is embedded."""

    ready: tuple[_ReadyFace, ...] = ()
    refused: tuple[RefusedFace, ...] = ()
    error: PhotoError | None = None
    not_selected: int = 0


# Decode photographs ahead of the networks, a batch at a time.


Loaded = tuple[Path, Photo | PhotoError]

# The most pixels of a batch, unless one photograph alone has more. That is two photographs from a telephone, 75 MB.
# More would not speed up detection, which takes two such photographs at once, reduced as it sees them.
_PIXELS_AT_ONCE = 25_000_000

# The header of a photograph on another machine is not at hand. In JPEGs of good quality, a byte holds some 3 pixels.
_PIXELS_A_BYTE = 4

# The little that is kept of each photograph lies between large blocks that were freed. These cannot be given back, and
# do not fit the next photograph, so that the heap grows although nothing is held.
_BATCHES_BETWEEN_TRIMS = 16

_READERS = 8  # at once, of what comes from other machines: most of the time they wait


def load_in_batches(
    paths: Iterable[Path],
    *,
    max_pixels: int,
    batch_size: int,
    workers: int,
    enough_px: int | None = None,
    allow_truncated: bool = False,
) -> Iterator[list[Loaded]]:
    """Each path with its photograph, or with the error that it met, in order, up to `batch_size` at once.

    Photographs far larger than `enough_px` may come reduced, see `load_photo`.

    Every `batch_size`-th path begins a batch, so that runs of so many give the same batches when they are taken apart.

    Decoders release Python's lock, so `workers` threads decode the next batch while the networks work on one. Large
    photographs make smaller batches, so that memory does not grow with them; the caller must let go of a batch before
    the next is asked for.
    """

    def load(path: Path) -> Photo | PhotoError:
        try:
            return load_photo(path, max_pixels=max_pixels, enough_px=enough_px, allow_truncated=allow_truncated)
        except PhotoError as error:
            return error.as_result()
        finally:
            if isinstance(path, GivenPicture):
                path.release()

    decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    try:
        ready = None
        for number, group in enumerate(_group(paths, batch_size)):
            if number % _BATCHES_BETWEEN_TRIMS == 0:
                return_unused_memory()
            following = [
                (path, (readers if isinstance(path, RemotePath) else decoders).submit(load, path)) for path in group
            ]
            if ready is not None:
                yield [(path, photo.result()) for path, photo in ready]
            ready = following
        if ready is not None:
            yield [(path, photo.result()) for path, photo in ready]
    finally:
        # The consumer may stop half-way, for example by Ctrl-C.
        for executor in (decoders, readers):
            executor.shutdown(wait=True, cancel_futures=True)


def _group(paths: Iterable[Path], batch_size: int) -> Iterator[list[Path]]:
    """Runs of paths whose photographs stay within `_PIXELS_AT_ONCE`, or single ones."""
    group: list[Path] = []
    pixels = 0
    for number, path in enumerate(paths):
        size = path.size_bytes * _PIXELS_A_BYTE if isinstance(path, RemotePath) else count_pixels(path)
        if group and (number % batch_size == 0 or pixels + size > _PIXELS_AT_ONCE):
            yield group
            group, pixels = [], 0
        group.append(path)
        pixels += size
    if group:
        yield group

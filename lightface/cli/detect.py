"""`lightface detect`: which faces are seen, and how they come to lie in LightCNN's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, counting_bar, note
from lightface.cli.inputs import find_photos_of
from lightface.cli.loading import detection_of
from lightface.cli.options import DETECTION, Json, Photos, Recursive, with_settings
from lightface.cli.results import crop_names, make_folder, plan_pictures, print_json, print_table, refuse_to_replace
from lightface.cli.settings import Settings
from lightface.errors import FaceNotFoundError, LowQualityError, PhotoError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.images import Photo
    from lightface.quality import FaceQuality
    from lightface.records import AlignedFace, DetectedFace


@dataclass(frozen=True, slots=True)
class _Found:
    """One face of one photograph."""

    path: Path
    index: int  # in its photograph, 0 for the largest
    face: DetectedFace
    quality: FaceQuality
    crop: AlignedFace | None  # None where the landmarks cannot be aligned


@with_settings("model", "device", *DETECTION)
def detect(
    settings: Settings,
    *,
    photos: Photos,
    recursive: Recursive = True,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="PATH", help="Draw boxes and landmarks: a picture, or a folder for many."),
    ] = None,
    crops: Annotated[
        Path | None, typer.Option("--crops", metavar="DIR", help="Write the aligned crop of each face here.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="PICTURE", help="One picture of all crops, with the rows of eyes and mouth."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the faces in photographs: boxes, scores, quality, and how they lie in LightCNN's frame."""
    paths = find_photos_of(photos, recursive=recursive)
    pictures = {} if draw is None else plan_pictures(draw, photos, paths, option="--draw")
    if sheet is not None:
        refuse_to_replace(paths, [sheet], option="--sheet")
    search = _Search(settings)
    found: list[_Found] = []
    with counting_bar("detecting", len(paths)) as count:
        for path, name in crop_names(photos, paths).items():
            count()
            try:
                photo = search.load(path)
            except PhotoError as error:
                if len(paths) == 1:
                    raise
                complain(str(error))
                continue
            faces = search.find(photo)
            if not faces and len(paths) > 1:
                complain(f"{path}: no face found; {search.remedy}")
            if path in pictures:
                _draw(photo, faces, pictures[path])
            if crops is not None:
                _write_crops(faces, crops / name)
            found += faces
    if not found:
        where = str(paths[0]) if len(paths) == 1 else f"any of {count_of(len(paths), 'photograph')}"
        raise FaceNotFoundError(f"no face found in {where}; {search.remedy}")
    if sheet is not None:
        _write_sheet(found, sheet)
    if as_json:
        print_json([_to_row(one) for one in found])
    else:
        _print_faces(found)
    if len(paths) > 1:
        without = len(paths) - len({one.path for one in found})
        note(
            f"{count_of(len(found), 'face')} in {count_of(len(paths), 'photograph')}; "
            f"{count_of(without, 'photograph')} without a face"
        )


class _Search:
    """A detector with its settings, and the frame of the weights."""

    def __init__(self, settings: Settings) -> None:
        from lightface.detection import MtcnnDetector, MtcnnSettings
        from lightface.detection.detector import advise_on_missing
        from lightface.embedding import resolve_device
        from lightface.models.registry import DEFAULT_WEIGHTS, find_weights

        self._frame = find_weights(settings.model or DEFAULT_WEIGHTS).contract.frame
        self._reading = settings.given("max_pixels", "allow_truncated")
        detection = MtcnnSettings(**detection_of(settings))
        self._detector = MtcnnDetector(resolve_device(settings.device or "auto"), detection)
        self.remedy = advise_on_missing(turns=detection.turns)  # where no face is found

    def load(self, path: Path) -> Photo:
        from lightface.images import load_photo

        return load_photo(path, **self._reading)

    def find(self, photo: Photo) -> list[_Found]:
        from lightface.quality import measure_quality

        return [
            _Found(
                path=photo.path,
                index=index,
                face=face,
                quality=measure_quality(photo.image_rgb, face),
                crop=self._align(photo, face),
            )
            for index, face in enumerate(face.clipped(photo.size) for face in self._detector.detect(photo.image_rgb))
        ]

    def _align(self, photo: Photo, face: DetectedFace) -> AlignedFace | None:
        from lightface.alignment import align_face

        try:
            return align_face(photo.image_rgb, face, self._frame)
        except LowQualityError as error:
            complain(f"{photo.path}: {error}")
            return None


def _draw(photo: Photo, found: Sequence[_Found], picture: Path) -> None:
    from lightface.drawing import draw_faces
    from lightface.images import save_image

    labels = [f"{one.index}: {one.face.score:.2f}" for one in found]
    make_folder(picture.parent)
    save_image(draw_faces(photo.image_rgb, [one.face for one in found], labels), picture)
    note(f"drew {picture}")


def _write_crops(found: Sequence[_Found], place: Path) -> None:
    from lightface.images import save_image

    make_folder(place.parent)
    for one in found:
        if one.crop is not None:
            save_image(one.crop.pixels, place.with_name(f"{place.name}-{one.index}.png"))


def _write_sheet(found: Sequence[_Found], sheet: Path) -> None:
    from lightface.drawing import contact_sheet
    from lightface.images import save_image

    aligned = [(one.crop, f"{one.path.name} {one.index}") for one in found if one.crop is not None]
    save_image(contact_sheet([crop for crop, _ in aligned], [caption for _, caption in aligned]), sheet)
    note(f"drew {sheet}")


def _print_faces(found: Sequence[_Found]) -> None:
    rows = [
        (
            one.path,
            one.index,
            f"{one.face.score:.3f}",
            f"{one.quality.score:.2f}",
            one.quality.flaw if round(one.quality.score, 2) < 1 else "",  # nothing that a quality of 1.00 would show
            " ".join(f"{edge:.0f}" for edge in one.face.box_px),
        )
        for one in found
    ]
    print_table(("photograph", "face", "score", "quality", "lowered most by", "box (x_min y_min x_max y_max)"), rows)


def _to_row(one: _Found) -> dict[str, object]:
    """The columns of the face table that a detector can fill."""
    return {
        "image_path": one.path,
        "face_index": one.index,
        "bbox": one.face.box_px,
        "landmarks": one.face.landmarks_px,
        "det_score": one.face.score,
        "quality": one.quality.score,
    }

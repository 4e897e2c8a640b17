"""Photographs that a program holds: bytes, open files, arrays and Pillow pictures go wherever a path goes."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours import GREEN, RED
from PIL import ExifTags, Image
from stand_ins import paint

from lightface.errors import ImageError, ImageTooLargeError
from lightface.gallery import Gallery
from lightface.images import GivenPicture, PhotoSource, count_pixels, load_photo
from lightface.matching import DecisionBands
from lightface.pipeline import FacePipeline, enroll_photos, identify_photos, verify_photos
from lightface.records import ByteArray


def _png(image_rgb: ByteArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_rgb).save(buffer, "PNG")
    return buffer.getvalue()


SOURCES: dict[str, Callable[[ByteArray], PhotoSource]] = {
    "bytes": _png,
    "bytearray": lambda image: bytearray(_png(image)),
    "memoryview": lambda image: memoryview(_png(image)),
    "file": lambda image: io.BytesIO(_png(image)),
    "array": lambda image: image,
    "a turned view of an array": lambda image: np.ascontiguousarray(image[::-1])[::-1],
    "RGB and opacity": lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
    "Pillow": Image.fromarray,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_each_kind_is_loaded(kind: str, astronaut_rgb: ByteArray) -> None:
    photo = load_photo(SOURCES[kind](astronaut_rgb))
    assert (photo.image_rgb == astronaut_rgb).all()
    assert len(photo.sha256) == 64
    assert photo.whole() is photo


def test_the_same_picture_has_the_same_hash_and_another_has_another(astronaut_rgb: ByteArray) -> None:
    hashes = [load_photo(image).sha256 for image in (astronaut_rgb, astronaut_rgb.copy(), astronaut_rgb[:-1])]
    assert hashes[0] == hashes[1] != hashes[2]


def test_grey_arrays_become_rgb_and_pillow_pictures_upright(astronaut_rgb: ByteArray) -> None:
    grey = np.ascontiguousarray(astronaut_rgb[..., 0])
    for array in (grey, grey[..., None]):
        assert (load_photo(array).image_rgb == grey[..., None]).all()
    image = Image.fromarray(astronaut_rgb)
    image.getexif()[ExifTags.Base.Orientation] = 6
    assert (load_photo(image).image_rgb == np.rot90(astronaut_rgb, -1)).all()
    assert np.asarray(image).shape == astronaut_rgb.shape  # it stays as it was


def test_a_file_that_is_open_has_its_name(tmp_path: Path, astronaut_rgb: ByteArray) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(_png(astronaut_rgb))
    with path.open("rb") as file:
        assert load_photo(file).path.name == "photo.png"
    assert str(load_photo(astronaut_rgb).path).startswith("picture ")


@pytest.mark.parametrize(
    "source",
    [
        *(None, 3, 1.5, [b"list"], {}, object(), Image, b"", b"no picture"),
        *(np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 7), np.uint8), np.zeros((5, 5, 3)), np.zeros(5, np.uint8)),
        *(np.zeros((5, 5), np.float32), np.array(["text"]), np.zeros((2, 5, 5, 3), np.uint8)),
        *(io.StringIO("text"), io.BytesIO()),
    ],
    ids=lambda source: f"{type(source).__name__} {getattr(source, 'shape', '')}",
)
def test_anything_else_is_refused_in_one_line(source: Any) -> None:
    with pytest.raises(ImageError) as caught:
        load_photo(source)
    assert str(caught.value).strip() and "\n" not in str(caught.value)


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.files.MOST_BYTES", 5_000_000)
    with open("/dev/zero", "rb") as endless, pytest.raises(ImageError, match=r"it has more than 0\.0 GB"):
        load_photo(endless)


def test_the_pixel_limit_holds(astronaut_rgb: ByteArray) -> None:
    for source in (astronaut_rgb, _png(astronaut_rgb), Image.fromarray(astronaut_rgb)):
        with pytest.raises(ImageTooLargeError):
            load_photo(source, max_pixels=1000)
    assert count_pixels(GivenPicture(astronaut_rgb)) == astronaut_rgb[..., 0].size


def test_every_job_takes_them(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    path = paint(tmp_path / "red.png", RED)
    data, array = path.read_bytes(), load_photo(path).image_rgb
    file, green = io.BytesIO(data), load_photo(paint(tmp_path / "green.png", GREEN)).image_rgb
    pairs: list[tuple[PhotoSource, PhotoSource, str]] = [
        *((data, array, "same"), (file, file, "same"), (path, Image.open(io.BytesIO(data)), "same")),
        (data, green, "different"),
    ]
    for source_a, source_b, status in pairs:
        assert verify_photos(pipeline, source_a, source_b, threshold=0.9).status == status
    (enrolled,) = enroll_photos(pipeline, gallery, "Rhea", [data])
    assert enrolled.status == "enrolled"
    (again,) = enroll_photos(pipeline, gallery, "Rhea", [io.BytesIO(data)])
    assert again.error is not None and again.error.reason == "duplicate"
    found = identify_photos(pipeline, gallery, [array, green], bands=DecisionBands(0.9))
    assert [photo.faces[0].match is not None for photo in found] == [True, False]


def test_no_job_takes_anything_else(pipeline: FacePipeline, gallery: Gallery) -> None:
    nothing: Any = None
    for job in (
        lambda: verify_photos(pipeline, nothing, b"", threshold=0),
        lambda: list(pipeline.embed_paths([nothing])),
        lambda: enroll_photos(pipeline, gallery, "Rhea", [nothing]),
    ):
        with pytest.raises(ImageError, match="not of the type NoneType"):
            job()


def test_results_let_go_of_the_pictures_and_travel(pipeline: FacePipeline, tmp_path: Path) -> None:
    array = load_photo(paint(tmp_path / "red.png", RED)).image_rgb
    (result,) = pipeline.embed_paths([array])
    assert isinstance(result.path, GivenPicture) and result.path.image is None and result.faces
    assert pickle.loads(pickle.dumps(result)).path == Path(str(result.path))

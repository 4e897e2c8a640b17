"""A face that says nothing is nobody: whichever way it comes in, it is never taken for somebody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from stand_ins import MeanEmbedder, make_pipeline

from lightface.alignment import align_face
from lightface.detection import MtcnnDetector
from lightface.embedding import Embedder
from lightface.errors import LowQualityError
from lightface.gallery import open_gallery
from lightface.images import Photo, load_photo
from lightface.models.recognisability import Recognisability
from lightface.models.weights import load_model
from lightface.pipeline import FaceGates, FacePipeline, PhotoFaces, enroll_photos, reembed_gallery
from lightface.records import AlignedFace, ByteArray, FaceSelection

Spoil = Callable[[ByteArray], ByteArray]


def reduce(size_px: int, how: int) -> Spoil:
    def apply(image: ByteArray) -> ByteArray:
        small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=how).astype(np.uint8)

    return apply


def add_noise(image: ByteArray) -> ByteArray:
    return np.clip(image + np.random.default_rng(0).normal(0, 100, image.shape), 0, 255).astype(np.uint8)


# Of an aligned crop of 128 px. What any two people have in common there let them pass for one another.
SPOILED: dict[str, Spoil] = {
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 8).astype(np.uint8),
    "8 px": reduce(8, cv2.INTER_CUBIC),
    "mosaic": reduce(8, cv2.INTER_NEAREST),
    "nearly dark": lambda image: (image * 0.03).astype(np.uint8),
    "nearly white": lambda image: np.clip(image * 12.0, 0, 255).astype(np.uint8),
    "without contrast": lambda image: (120 + image * 0.03).astype(np.uint8),
    "noise": add_noise,
    "black": np.zeros_like,
    "upside down": lambda image: image[::-1, ::-1].copy(),
    "on its side": lambda image: np.rot90(image).copy(),
    "all but covered": lambda image: np.where(np.arange(128)[:, None, None] < 95, 128, image).astype(np.uint8),
}


def to_photo(pixels: ByteArray) -> Photo:
    return Photo(Path("face.png"), "0" * 64, pixels)


def embed(pipeline: FacePipeline, pictures: Sequence[ByteArray]) -> list[PhotoFaces]:
    return pipeline.selecting(FaceSelection.LARGEST).embed_photos([to_photo(picture) for picture in pictures])


def matches(pipeline: FacePipeline, results: Sequence[PhotoFaces]) -> int:
    """Pairs that are taken for one person."""
    vectors = [face.vector for result in results for face in result.faces]
    return sum(float(a @ b) >= pipeline.record.thresholds["1e-3"] for a, b in combinations(vectors, 2))


@pytest.fixture(scope="module")
def crop_pipeline(detector: MtcnnDetector) -> FacePipeline:
    embedder = Embedder(load_model(), device="cpu")
    return FacePipeline(detector, embedder, gates=FaceGates(already_aligned=True))


@pytest.fixture(scope="module")
def two_crops(detector: MtcnnDetector, grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray) -> list[ByteArray]:
    """The aligned faces of two people."""
    return [align_face(image, detector.detect(image)[0]).pixels for image in (grace_hopper_rgb, astronaut_rgb)]


@pytest.fixture(scope="module")
def photos(photo_paths: list[Path]) -> list[ByteArray]:
    """One research photograph of each of ten people."""
    people = sorted({path.parent for path in photo_paths if path.parent.parent.name == "people"})[:10]
    return [load_photo(sorted(person.iterdir())[0]).image_rgb for person in people]


@pytest.fixture(scope="module")
def crops(detector: MtcnnDetector, photos: list[ByteArray]) -> list[ByteArray]:
    return [align_face(image, faces[0]).pixels for image in photos if (faces := detector.detect(image))]


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled_crops_of_two_people_are_nobody(
    crop_pipeline: FacePipeline, two_crops: list[ByteArray], kind: str
) -> None:
    results = embed(crop_pipeline, [SPOILED[kind](crop) for crop in two_crops])
    assert [result.faces for result in results] == [(), ()]
    for result in results:
        assert isinstance(result.error, LowQualityError) and result.error.reason == "low_quality"


def test_whole_crops_stay(crop_pipeline: FacePipeline, two_crops: list[ByteArray]) -> None:
    results = embed(crop_pipeline, two_crops)
    qualities = [face.quality for result in results for face in result.faces]
    assert len(qualities) == 2 and all(quality is not None and quality > 0.8 for quality in qualities)
    assert matches(crop_pipeline, results) == 0


def test_the_reason_and_the_remedy_are_told(crop_pipeline: FacePipeline, two_crops: list[ByteArray]) -> None:
    (result,) = embed(crop_pipeline, [SPOILED["upside down"](two_crops[0])])
    assert "the face is unrecognisable: its quality is 0.0" in str(result.error)
    assert "use a clear photograph of the whole face, upright" in str(result.error)


def test_without_the_gate_it_is_embedded_and_its_quality_tells(
    crop_pipeline: FacePipeline, two_crops: list[ByteArray]
) -> None:
    gates = replace(crop_pipeline.gates, min_quality=0)
    ungated = FacePipeline(crop_pipeline.detector, crop_pipeline.embedder, gates=gates)
    results = embed(ungated, [SPOILED["upside down"](crop) for crop in two_crops])
    assert [len(result.faces) for result in results] == [1, 1]
    assert all(face.quality is not None and face.quality < 0.1 for result in results for face in result.faces)


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled_crops_of_ten_people_match_nobody(
    crop_pipeline: FacePipeline, crops: list[ByteArray], kind: str
) -> None:
    clean = embed(crop_pipeline, crops)
    spoiled = embed(crop_pipeline, [SPOILED[kind](crop) for crop in crops])
    assert matches(crop_pipeline, spoiled) == 0
    for person, result in enumerate(spoiled):
        assert matches(crop_pipeline, [result, *clean[:person], *clean[person + 1 :]]) == matches(
            crop_pipeline, [*clean[:person], *clean[person + 1 :]]
        )
    assert [len(result.faces) for result in clean] == [1] * len(crops)


@pytest.mark.parametrize("kind", ["blurred", "8 px", "mosaic", "nearly dark"])
def test_photographs_with_spoiled_faces_match_nobody(
    detector: MtcnnDetector, crop_pipeline: FacePipeline, photos: list[ByteArray], kind: str
) -> None:
    """The face of each photograph is scaled to that of a crop, spoiled, and looked for."""
    pipeline = FacePipeline(detector, crop_pipeline.embedder)
    spoiled = []
    for image in photos:
        (face, *_) = detector.detect(image)
        scale = 128 / (2.2 * face.size_px)
        near = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
        rows, columns = (side // 16 * 16 for side in near.shape[:2])
        tiles = np.ascontiguousarray(near[:rows, :columns])
        if kind in ("8 px", "mosaic"):
            how = cv2.INTER_CUBIC if kind == "8 px" else cv2.INTER_NEAREST
            small = cv2.resize(tiles, (columns // 16, rows // 16), interpolation=cv2.INTER_AREA)
            tiles = cv2.resize(small, (columns, rows), interpolation=how).astype(np.uint8)
        else:
            tiles = SPOILED[kind](tiles)
        spoiled.append(cv2.resize(tiles, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(np.uint8))
    assert matches(pipeline, embed(pipeline, spoiled)) == 0


def test_half_precision_decides_alike(two_crops: list[ByteArray]) -> None:
    faces = [
        AlignedFace(pixels, frame=load_model().record.contract.frame, detection=None)
        for crop in two_crops
        for pixels in (crop, *(spoil(crop) for spoil in SPOILED.values()))
    ]
    known = load_model().record.recognisability
    assert known is not None
    exact, usual = (
        known.measure(Embedder(load_model(), device="cpu", precision=precision).embed(faces))
        for precision in ("fp32", "bf16")
    )
    assert np.abs(exact - usual).max() < 0.1
    assert ((exact < 0.1) == (usual < 0.1)).all()


def test_a_gallery_is_moved_with_who_is_in_it(tmp_path: Path) -> None:
    """Who was let in stays in, whatever other weights make of the face."""
    strict = MeanEmbedder("strict")
    nobody = Recognisability.pack(np.zeros((1, 256), np.float32), np.zeros(1, np.float32))
    strict.record = replace(strict.record, recognisability=nobody)
    photo = tmp_path / "sharp.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)).save(photo)
    with open_gallery(tmp_path / "gallery.sqlite", create=True) as gallery:
        enroll_photos(make_pipeline(MeanEmbedder()), gallery, "Ruby", [photo])
        gated = make_pipeline(strict, min_quality=0.1)
        with pytest.raises(LowQualityError, match="the face is unrecognisable"):
            gated.embed_photo(load_photo(photo))
        assert reembed_gallery(gated, gallery).embedded == 1


def test_weights_that_know_nothing_of_it_refuse_nothing_for_it() -> None:
    embedder = MeanEmbedder()
    embedder.record = replace(embedder.record, recognisability=None)
    pipeline = make_pipeline(embedder)
    assert len(embed(pipeline, [np.full((80, 80, 3), 200, np.uint8)])[0].faces) == 1

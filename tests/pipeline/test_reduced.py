"""Large JPEGs are decoded as small as their faces allow, and give the faces of the whole photograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lightface.errors import ImageTooLargeError
from lightface.images import Photo, load_photo
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline
from lightface.records import ByteArray


@pytest.fixture(scope="module")
def pipeline() -> FacePipeline:
    return load_pipeline(device="cpu", gates=FaceGates(max_side_px=800))


@pytest.fixture
def decoded_whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The photographs that were decoded a second time."""
    paths: list[Path] = []
    whole = Photo.whole

    def count(photo: Photo, **options: Any) -> Photo:
        paths.append(photo.path)
        return whole(photo, **options)

    monkeypatch.setattr(Photo, "whole", count)
    yield paths


def save_portrait(path: Path, portrait_rgb: ByteArray, *, height: int) -> Path:
    """The portrait at `height` px, on a grey canvas of 1,700 by 1,600 px."""
    ratio = height / len(portrait_rgb)
    how = cv2.INTER_CUBIC if ratio > 1 else cv2.INTER_AREA
    portrait = cv2.resize(portrait_rgb, None, fx=ratio, fy=ratio, interpolation=how)
    canvas = np.full((1600, 1701, 3), 120, np.uint8)
    canvas[50 : 50 + len(portrait), 100 : 100 + portrait.shape[1]] = portrait
    Image.fromarray(canvas).save(path, quality=95)
    return path


@pytest.mark.parametrize(("height", "is_coarse"), [(1500, False), (340, True)])
def test_faces_are_those_of_the_whole_photograph(
    pipeline: FacePipeline,
    decoded_whole: list[Path],
    grace_hopper_rgb: ByteArray,
    tmp_path: Path,
    height: int,
    is_coarse: bool,
) -> None:
    path = save_portrait(tmp_path / "hopper.jpg", grace_hopper_rgb, height=height)
    (expected,) = pipeline.embed_photo(load_photo(path))
    (result,) = pipeline.embed_paths([path])
    assert decoded_whole == ([path] if is_coarse else [])
    (face,) = result.faces
    assert face.detection is not None and expected.detection is not None
    eyes_px = np.linalg.norm(expected.detection.landmarks_px[0] - expected.detection.landmarks_px[1])
    assert np.abs(face.detection.landmarks_px - expected.detection.landmarks_px).max() < 0.08 * eyes_px
    assert np.abs(np.subtract(face.detection.box_px, expected.detection.box_px)).max() < 0.2 * eyes_px
    assert face.vector @ expected.vector > 0.95
    assert face.quality is not None and face.quality == pytest.approx(expected.quality, abs=0.1)


def test_the_limit_of_pixels_counts_the_whole_photograph(grace_hopper_rgb: ByteArray, tmp_path: Path) -> None:
    path = save_portrait(tmp_path / "hopper.jpg", grace_hopper_rgb, height=1500)
    with pytest.raises(ImageTooLargeError, match="1701x1600"):
        load_photo(path, enough_px=400, max_pixels=1_000_000)

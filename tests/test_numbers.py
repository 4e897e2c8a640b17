"""Numbers that a program hands in are refused in one line and with one kind of error, whichever call they are for."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import embed_folder
from lightface.clustering import cluster_vectors
from lightface.detection import MtcnnSettings
from lightface.embedding import resolve_device
from lightface.errors import LightfaceError, check_count, check_number
from lightface.evaluation.calibrate import calibrate_gallery
from lightface.gallery import Gallery, StoredThreshold, audit_gallery, open_gallery
from lightface.images import load_photo
from lightface.matching import DecisionBands
from lightface.pipeline import (
    FaceGates,
    enroll_photos,
    identify_photos,
    reembed_gallery,
    resolve_bands,
    resolve_threshold,
    verify_pairs,
    verify_photos,
)
from lightface.pipeline.cluster import cluster_faces

NO_NUMBERS = ["0.4", "", b"1", math.nan, math.inf, -math.inf, [0.4], {}, True, 1j, Decimal("NaN"), np.array([0.4, 0.5])]


@pytest.mark.parametrize("value", [0, 1, 0.5, Fraction(1, 2), np.float32(0.5), np.int64(1), np.float64(1)])
def test_a_number_is_one_whoever_made_it(value: Any) -> None:
    check_number("it", value, low=0, high=1)


@pytest.mark.parametrize("value", [*NO_NUMBERS, None, 1.1, -1e-9, 10**400])
def test_anything_else_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(LightfaceError, match=r"^it is .*; give a number from 0 to 1$"):
        check_number("it", value, low=0, high=1)


@pytest.mark.parametrize("value", [*NO_NUMBERS, None, 0, 1.0, 2.5, 10**20])
def test_a_count_is_whole(value: Any) -> None:
    with pytest.raises(LightfaceError, match=r"^it is .*; give a whole number from 1 to 1e\+09$"):
        check_count("it", value)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    gallery = open_gallery(tmp_path / "gallery.sqlite", create=True)
    red = paint(tmp_path / "red.png", (200, 9, 9))
    enroll_photos(make_pipeline(MeanEmbedder()), gallery, "Ruby", [red], threshold=0.9)
    return gallery


def _embed(**numbers: Any) -> Callable[[Gallery, Path], object]:
    return lambda gallery, photo: make_pipeline(MeanEmbedder()).embed_paths([photo], **numbers)


def _calls(value: Any) -> dict[str, Callable[[Gallery, Path], object]]:
    """Each call that takes a threshold, rate, limit, count or size, with `value` for it."""
    pipeline = make_pipeline(MeanEmbedder())
    return {
        "bands": lambda gallery, photo: DecisionBands(value),
        "review": lambda gallery, photo: DecisionBands(0.5, value),
        "resolve_threshold": lambda gallery, photo: resolve_threshold(None, threshold=value),
        "resolve_bands": lambda gallery, photo: resolve_bands(None, threshold=value),
        "verify": lambda gallery, photo: verify_photos(pipeline, photo, photo, threshold=value),
        "pairs": lambda gallery, photo: verify_pairs(pipeline, [], threshold=value),
        "enroll": lambda gallery, photo: enroll_photos(pipeline, gallery, "Ann", [photo], threshold=value),
        "limit": lambda gallery, photo: identify_photos(
            pipeline, gallery, [photo], bands=DecisionBands(0.5), limit=value
        ),
        "cluster": lambda gallery, photo: cluster_faces([], threshold=value),
        "min_size": lambda gallery, photo: cluster_faces([], threshold=0.5, min_size=value),
        "vectors": lambda gallery, photo: cluster_vectors(np.eye(2, dtype=np.float32), threshold=value),
        "reembed": lambda gallery, photo: reembed_gallery(pipeline, gallery, threshold=value),
        "audit": lambda gallery, photo: audit_gallery(gallery, threshold=value),
        "audit quality": lambda gallery, photo: audit_gallery(gallery, threshold=0.5, min_quality=value),
        "far": lambda gallery, photo: calibrate_gallery(gallery, far=value),
        "review_far": lambda gallery, photo: calibrate_gallery(gallery, far=1e-3, review_far=value),
        "stored far": lambda gallery, photo: StoredThreshold(value, 0.5, "x"),
        "stored": lambda gallery, photo: StoredThreshold(1e-3, value, "x"),
        "retention": lambda gallery, photo: gallery.retention.set_days(value),
        "log": lambda gallery, photo: gallery.log.set_days(value),
        "max_pixels": lambda gallery, photo: load_photo(photo, max_pixels=value),
        "enough_px": lambda gallery, photo: load_photo(photo, enough_px=value),
        "batch_size": _embed(batch_size=value),
        "workers": _embed(workers=value),
        "folder batch": lambda gallery, photo: embed_folder(pipeline, [], "faces.csv", batch_size=value),
        "folder workers": lambda gallery, photo: embed_folder(pipeline, [], "faces.csv", workers=value),
        **{
            f"gate {name}": lambda gallery, photo, name=name: FaceGates(**{name: value})  # type: ignore[misc]
            for name in (
                *("det_threshold", "min_face_size_px", "min_face_share", "min_quality", "max_side_px", "max_pixels"),
            )
        },
        **{
            f"detector {name}": lambda gallery, photo, name=name: MtcnnSettings(**{name: value})  # type: ignore[misc]
            for name in ("det_threshold", "min_face_size_px", "min_face_share", "max_side_px", "pyramid_factor")
        },
    }


@pytest.mark.parametrize("call", _calls(None))
def test_every_call_refuses_what_is_no_number(call: str, gallery: Gallery, tmp_path: Path) -> None:
    photo = paint(tmp_path / "probe.png", (9, 9, 200))
    with gallery:
        before = gallery.people(), gallery.log.days, gallery.retention.days
        for value in NO_NUMBERS:
            with pytest.raises(LightfaceError, match=r"; give a (whole )?number") as caught:
                _calls(value)[call](gallery, photo)
            assert "\n" not in str(caught.value)
        assert (gallery.people(), gallery.log.days, gallery.retention.days) == before


@pytest.mark.parametrize("name", [None, 5, "", [], "tpu", "cuda:99999", "cpu:256"])
def test_a_device_is_a_name(name: Any) -> None:
    with pytest.raises(LightfaceError, match="device"):
        resolve_device(name)

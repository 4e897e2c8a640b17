"""Photographs become embedded faces, or a reason why not."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import LANDMARKS, MeanEmbedder, ScriptedDetector, make_pipeline, paint

from lightface.errors import (
    FaceNotFoundError,
    FaceTooSmallError,
    ImageError,
    ImageTooLargeError,
    LowDetectionScoreError,
    LowQualityError,
    MissingFileError,
    MultipleFacesError,
    PhotoError,
)
from lightface.images import Photo, load_photo
from lightface.pipeline import FaceGates, FacePipeline, face_pipeline, load_pipeline
from lightface.pipeline.face_pipeline import load_in_batches
from lightface.records import ByteArray, DetectedFace, FaceSelection


def make_face(left: float, side: float, *, score: float = 0.99, upside_down: bool = False) -> DetectedFace:
    landmarks = LANDMARKS * side + np.array((left, 0), np.float32)
    if upside_down:
        landmarks[:, 1] = side - landmarks[:, 1]
    return DetectedFace((left, 0.0, left + side, side), landmarks, score)


def make_photo(*, width: int = 400, height: int = 200, brightness: int = 255) -> Photo:
    """Noise, which is sharp and well exposed."""
    image = np.random.default_rng(0).integers(0, brightness, (height, width, 3), np.uint8)
    return Photo(Path("photo.png"), "0" * 64, image)


def make_scripted(*faces: DetectedFace, **gates: Any) -> FacePipeline:
    return FacePipeline(ScriptedDetector(*faces), MeanEmbedder(), gates=FaceGates(**{"min_quality": 0.0, **gates}))


def test_a_refusal_that_is_kept_lets_go_of_the_pixels(tmp_path: Path) -> None:
    """Of 6,000 photographs, `identify` kept those of all with a refused face: their errors had frames, these pixels."""
    too_dark, upside_down = make_scripted(make_face(0, 100), min_quality=0.5), make_face(0, 100, upside_down=True)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    results = [
        *too_dark.embed_photos([make_photo(brightness=9)]),
        *make_scripted(make_face(200, 100), upside_down).embed_photos([make_photo()]),
        *make_scripted().embed_photos([make_photo()]),
        *make_scripted(make_face(0, 100), make_face(200, 100))
        .selecting(FaceSelection.REQUIRE_ONE)
        .embed_photos([make_photo()]),
        *make_scripted().embed_paths([broken, tmp_path / "missing.jpg"]),
    ]
    kept: list[BaseException | None] = [one.error for one in results]
    kept += [face.error for one in results for face in one.refused]
    assert sum(error is not None for error in kept) == 7
    for error in kept:
        while error is not None:
            assert error.__traceback__ is None
            error = error.__cause__ or error.__context__


def test_a_face_carries_its_vector_and_where_it_was_found() -> None:
    face = make_face(20, 100)
    pipeline = make_scripted(face)
    (embedded,) = pipeline.embed_photo(make_photo())
    assert embedded.detection is face
    assert embedded.model_id == pipeline.model_id == "stand-in"
    assert embedded.quality is not None
    assert 0 <= embedded.quality <= 1
    assert np.isclose(np.linalg.norm(embedded.vector), 1)


@pytest.mark.parametrize(
    ("face", "gates", "error", "remedy"),
    [
        (make_face(0, 29), {}, FaceTooSmallError, "`min_face_size_px`"),
        (make_face(0, 100), {"min_face_size_px": 100.5}, FaceTooSmallError, "100 px small"),
        (make_face(0, 100), {"min_face_share": 1.0}, FaceTooSmallError, "100 px small"),
        (make_face(0, 100, score=0.89), {}, LowDetectionScoreError, "`det_threshold`"),
        (make_face(0, 100, score=0.95), {"det_threshold": 0.96}, LowDetectionScoreError, "0.95"),
        (make_face(0, 100), {"min_quality": 1.0}, LowQualityError, "`min_quality`"),
        (make_face(0, 100, upside_down=True), {}, LowQualityError, "not below its eyes"),
    ],
)
def test_a_face_that_does_not_satisfy_the_gates(
    face: DetectedFace, gates: dict[str, float], error: type[PhotoError], remedy: str
) -> None:
    pipeline = make_scripted(face, **gates)
    with pytest.raises(error, match=remedy):
        pipeline.embed_photo(make_photo())
    (result,) = pipeline.embed_photos([make_photo()])
    assert result.faces == ()
    assert [refused.detection for refused in result.refused] == [face]
    assert result.error is not None
    assert result.error.reason == result.refused[0].error.reason == error.reason


def test_a_face_exactly_at_the_gates_passes() -> None:
    pipeline = make_scripted(make_face(0, 100, score=0.9), min_face_size_px=100.0, det_threshold=0.9)
    assert len(pipeline.embed_photo(make_photo())) == 1


def test_quality_is_no_gate_where_it_is_lowered_to_0() -> None:
    assert len(make_scripted(make_face(0, 100)).embed_photo(make_photo(brightness=2))) == 1
    with pytest.raises(
        LowQualityError, match=r"the face is too dark: its quality is 0\.\d\d, under the minimum of 0\.10"
    ):
        make_scripted(make_face(0, 100), min_quality=FaceGates().min_quality).embed_photo(make_photo(brightness=2))


def test_a_small_face_in_the_background_is_no_second_face() -> None:
    near, far = make_face(0, 100), make_face(200, 20)
    (result,) = make_scripted(near, far).selecting(FaceSelection.REQUIRE_ONE).embed_photos([make_photo()])
    assert result.error is None
    assert [face.detection for face in result.faces] == [near]
    assert [refused.detection for refused in result.refused] == [far]


def test_the_selection_chooses_among_the_faces() -> None:
    large, middle = make_face(0, 120), make_face(150, 100)
    pipeline = make_scripted(large, middle)
    chosen = {
        selection: [face.detection for face in pipeline.selecting(selection).embed_photo(make_photo())]
        for selection in (FaceSelection.ALL, FaceSelection.LARGEST, FaceSelection.CENTER)
    }
    assert chosen == {
        FaceSelection.ALL: [large, middle],
        FaceSelection.LARGEST: [large],
        FaceSelection.CENTER: [middle],
    }
    with pytest.raises(MultipleFacesError, match="`selection`"):
        pipeline.selecting(FaceSelection.REQUIRE_ONE).embed_photo(make_photo())


def test_one_usable_face_is_enough() -> None:
    good, bad = make_face(0, 100), make_face(200, 100, upside_down=True)
    (result,) = make_scripted(good, bad).embed_photos([make_photo()])
    assert result.error is None
    assert [face.detection for face in result.faces] == [good]
    assert [refused.error.reason for refused in result.refused] == ["low_quality"]


def test_no_face_is_an_error_of_its_kind() -> None:
    with pytest.raises(FaceNotFoundError):
        make_scripted().embed_photo(make_photo())


def test_results_keep_the_order_of_the_photographs(tmp_path: Path) -> None:
    paths = [
        paint(tmp_path / "red.png", (200, 10, 10)),
        tmp_path / "missing.png",
        paint(tmp_path / "black.png", (0, 0, 0)),
        paint(tmp_path / "pair.png", (10, 10, 200), width=160),
        paint(tmp_path / "huge.png", (9, 9, 9), width=2000),
        paint(tmp_path / "green.png", (10, 200, 10)),
    ]
    pipeline = make_pipeline(MeanEmbedder(), max_pixels=100_000)
    for batch_size, workers in [(1, 1), (2, 3), (8, 2)]:
        results = list(pipeline.embed_paths(iter(paths), batch_size=batch_size, workers=workers))
        assert [result.path for result in results] == paths
        assert [len(result.faces) for result in results] == [1, 0, 0, 2, 0, 1]
        assert [type(result.error) for result in results if result.error] == [
            *[MissingFileError, FaceNotFoundError, ImageTooLargeError]
        ]
        assert [int(np.argmax(result.faces[0].vector)) for result in results if result.faces] == [0, 2, 1]
        assert [result.sha256 is None for result in results] == [False, True, False, False, True, False]


def test_no_more_photographs_are_read_ahead_than_agreed(tmp_path: Path) -> None:
    path = paint(tmp_path / "red.png", (200, 10, 10))
    asked = 0

    def ask() -> Iterator[Path]:
        nonlocal asked
        for _ in range(100):
            asked += 1
            yield path

    results = make_pipeline(MeanEmbedder()).embed_paths(ask(), batch_size=4, workers=2)
    next(results)
    assert asked <= 2 * 4 + 2
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert asked <= 2 * 4 + 2


def test_nothing_to_embed_is_nothing() -> None:
    pipeline = make_pipeline(MeanEmbedder())
    assert pipeline.embed_photos([]) == []
    assert list(pipeline.embed_paths([])) == []


def test_an_aligned_crop_needs_no_detector() -> None:
    pipeline = FacePipeline(ScriptedDetector(), MeanEmbedder(), gates=FaceGates(already_aligned=True))
    (face,) = pipeline.embed_photo(make_photo(width=144, height=144))
    assert face.detection is None
    assert face.quality == 1  # noise is sharp and of full contrast
    with pytest.raises(LowQualityError):
        pipeline.embed_photo(make_photo(width=144, height=100))


@pytest.fixture(scope="module")
def real_pipeline() -> FacePipeline:
    return load_pipeline(device="cpu")


def test_a_real_face_in_a_batch_is_the_face_alone(
    real_pipeline: FacePipeline, grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray
) -> None:
    photos = [Photo(Path("h"), "0" * 64, grace_hopper_rgb), Photo(Path("c"), "1" * 64, astronaut_rgb)]
    together = [result.faces[0] for result in real_pipeline.selecting(FaceSelection.LARGEST).embed_photos(photos)]
    for photo, face in zip(photos, together, strict=True):
        (alone,) = real_pipeline.selecting(FaceSelection.LARGEST).embed_photo(photo)
        assert float(alone.vector @ face.vector) > 0.99999
    assert abs(float(together[0].vector @ together[1].vector)) < real_pipeline.record.thresholds["1e-3"]


def test_a_doubtful_face_is_reported_as_doubtful(grace_hopper_rgb: ByteArray) -> None:
    gates = FaceGates(det_threshold=1.0)
    photo = Photo(Path("h"), "0" * 64, grace_hopper_rgb)
    (result,) = load_pipeline(device="cpu", gates=gates).selecting(FaceSelection.LARGEST).embed_photos([photo])
    assert isinstance(result.error, LowDetectionScoreError)
    assert result.refused[0].detection.score < 1


# Photographs are decoded ahead, and never more than fit.


SIDE = 80  # of a painted picture


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [paint(tmp_path / f"{n:02}.png", (10 * n, 9, 9), width=SIDE) for n in range(20)]


def sizes_of(paths: list[Path], *, batch_size: int = 8) -> list[int]:
    batches = list(load_in_batches(paths, max_pixels=10**9, batch_size=batch_size, workers=2))
    assert [path for batch in batches for path, _ in batch] == paths
    return [len(batch) for batch in batches]


def test_a_batch_is_bounded_by_its_photographs(paths: list[Path]) -> None:
    assert sizes_of(paths) == [8, 8, 4]
    assert sizes_of([]) == []


@pytest.mark.parametrize(("pixels", "size"), [(3 * SIDE**2, 3), (3 * SIDE**2 - 1, 2), (1, 1)])
def test_a_batch_is_bounded_by_its_pixels_and_never_empty(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, pixels: int, size: int
) -> None:
    monkeypatch.setattr(face_pipeline, "_PIXELS_AT_ONCE", pixels)
    assert set(sizes_of(paths[:18], batch_size=18)[:-1]) == {size}


def test_batches_are_the_same_for_runs_that_are_taken_apart(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_pipeline, "_PIXELS_AT_ONCE", 3 * SIDE**2)
    together = sizes_of(paths)
    apart = [size for start in range(0, len(paths), 8) for size in sizes_of(paths[start : start + 8])]
    assert together == apart == [3, 3, 2, 3, 3, 2, 3, 1]


def test_what_cannot_be_read_has_its_place(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    named = [paths[0], tmp_path / "missing.jpg", tmp_path / "text.jpg", tmp_path, paths[1]]
    ((_, first), *failed, (_, last)) = next(load_in_batches(named, max_pixels=10**9, batch_size=8, workers=2))
    assert isinstance(first, Photo) and isinstance(last, Photo)
    assert all(isinstance(error, ImageError) for _, error in failed) and len(failed) == 3


def test_no_more_than_two_batches_are_in_memory(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lock, alive, most = threading.Lock(), 0, 0

    def forget() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def load(path: Path, *, max_pixels: int, enough_px: int | None, allow_truncated: bool) -> Photo:
        nonlocal alive, most
        photo = load_photo(path, max_pixels=max_pixels, enough_px=enough_px)
        weakref.finalize(photo.image_rgb, forget)
        with lock:
            alive += 1
            most = max(most, alive)
        return photo

    monkeypatch.setattr(face_pipeline, "load_photo", load)
    monkeypatch.setattr(face_pipeline, "_PIXELS_AT_ONCE", 3 * SIDE**2)
    results = list(make_pipeline(MeanEmbedder()).embed_paths(paths))
    assert [result.path for result in results] == paths
    assert most <= 6
    assert alive == 0


def test_freed_memory_is_given_back_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [paint(tmp_path / f"{number}.png", (number, 9, 9)) for number in range(40)]
    given_back: list[int] = []
    loaded = 0
    monkeypatch.setattr(face_pipeline, "return_unused_memory", lambda: given_back.append(loaded))
    for batch in load_in_batches(photos, max_pixels=10**6, batch_size=1, workers=1):
        loaded += len(batch)
    assert given_back == [0, 15, 31]  # while a batch is ahead


# What journals and caches of before this function had stored, of the same pipelines.
_GATES = (
    '{"allow_truncated": false, "already_aligned": false, "det_threshold": 0.5, "max_pixels": 120000000, '
    '"max_side_px": 1600, "min_face_share": 0.0, "min_face_size_px": 55.0, "min_quality": 0.1, "turns": false}'
)
_DETECTOR = (
    "MtcnnSettings(min_face_size_px=30.0, min_face_share=0.0, propose_threshold=0.7, refine_threshold=0.7, "
    "det_threshold=0.5, max_side_px=1600, turns=False, pyramid_factor=0.709)"
)


def test_what_was_made_before_is_recognised() -> None:
    gates = FaceGates(min_face_size_px=55.0, det_threshold=0.5, turns=False)
    pipeline = load_pipeline(device="cpu", precision="fp32", gates=gates, selection=FaceSelection.LARGEST)
    record = pipeline.record
    assert record.recognisability is not None
    made_by = f'"model": "{record.model_id}", "precision": "fp32", "recognisability": "{record.recognisability.digest}"'
    assert pipeline.fingerprint(method=4) == (
        f'{{"detector": "{_DETECTOR}", "gates": {_GATES}, "method": 4, {made_by}, "selection": "largest"}}'
    )
    assert pipeline.fingerprint(method=3, framing="detect") == (
        f'{{"detector": "{_DETECTOR}", "framing": "detect", "gates": {_GATES}, "method": 3, {made_by}, '
        '"selection": "largest"}'
    )
    assert pipeline.fingerprint(of_crops=True, method=3, framing="arcface") == (
        f'{{"framing": "arcface", "method": 3, {made_by}}}'
    )


def test_a_detector_without_settings_has_a_fingerprint() -> None:
    pipeline = make_scripted()
    assert '"detector": "None"' in pipeline.fingerprint()
    assert pipeline.fingerprint() == make_scripted().fingerprint()
    assert pipeline.fingerprint() != pipeline.selecting(FaceSelection.CENTER).fingerprint()
    assert pipeline.fingerprint() != make_scripted(det_threshold=0.8).fingerprint()


def test_without_gates_every_face_passes() -> None:
    doubtful, tiny = make_face(0, 100, score=0.1), make_face(200, 3)
    strict = make_scripted(doubtful, tiny, det_threshold=0.9, min_face_size_px=50, max_pixels=1_000_000)
    strict = strict.selecting(FaceSelection.LARGEST)
    assert strict.embed_photos([make_photo()])[0].error is not None
    opened = strict.without_gates()
    (face,) = opened.embed_photo(make_photo())
    assert face.detection is not None
    assert face.detection.score == doubtful.score
    assert (opened.gates.max_pixels, opened.gates.already_aligned) == (1_000_000, False)
    assert strict.without_gates(already_aligned=True).gates.already_aligned


def test_a_spec_holds_what_its_pipeline_does() -> None:
    gates = FaceGates(min_face_size_px=55.0)
    pipeline = load_pipeline(device="cpu", gates=gates, selection=FaceSelection.CENTER)
    spec = pipeline.spec
    assert spec is not None
    assert (spec.gates, spec.selection, spec.precision) == (gates, FaceSelection.CENTER, pipeline.embedder.precision)
    assert pipeline.selecting(FaceSelection.ALL).spec == replace(spec, selection=FaceSelection.ALL)
    assert pipeline.without_gates().spec is None  # its detector is still the one that was made for the gates


def test_the_crop_of_a_face_is_the_one_that_was_embedded(tmp_path: Path) -> None:
    path = paint(tmp_path / "red.png", (200, 30, 30))
    for pipeline in (make_pipeline(MeanEmbedder()), make_pipeline(MeanEmbedder(), already_aligned=True)):
        photo = pipeline.load_photo(path)
        (face,) = pipeline.embed_photo(photo)
        assert (pipeline.embedder.embed([pipeline.crop_of(photo, face)])[0] == face.vector).all()


def test_a_pipeline_reads_within_its_limits(tmp_path: Path) -> None:
    path = paint(tmp_path / "red.png", (200, 30, 30))
    with pytest.raises(ImageTooLargeError):
        make_pipeline(MeanEmbedder(), max_pixels=100).load_photo(path)

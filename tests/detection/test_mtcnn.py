"""The cascade on real photographs, held against facenet-pytorch's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lightface.detection import FaceDetector, MtcnnDetector, MtcnnSettings
from lightface.errors import ConfigError
from lightface.faces import BoxPx, ByteArray, DetectedFace
from lightface.images import load_photo

AS_FACENET = MtcnnSettings(min_face_size_px=20, det_threshold=0.7, max_side_px=None)


@pytest.fixture(scope="module")
def plain_detector() -> MtcnnDetector:
    """With facenet-pytorch's settings."""
    return MtcnnDetector(settings=AS_FACENET)


def overlap(box_a: BoxPx, box_b: BoxPx) -> float:
    """Intersection over union."""
    a, b = np.reshape(box_a, (2, 2)), np.reshape(box_b, (2, 2))
    shared = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None).prod()
    return float(shared / ((a[1] - a[0]).prod() + (b[1] - b[0]).prod() - shared))


def reference_faces(image_rgb: ByteArray) -> list[DetectedFace]:
    """What facenet-pytorch finds, boxes cut off at the photograph's edges and largest first."""
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN(keep_all=True, min_face_size=20)
    boxes, scores, landmarks = mtcnn.detect(image_rgb, landmarks=True)
    if boxes is None:
        return []
    width, height = image_rgb.shape[1::-1]
    faces = [
        DetectedFace(tuple(np.clip(box.astype(float), 0, [width, height] * 2).tolist()), points, float(score))
        for box, score, points in zip(boxes, scores, landmarks, strict=True)
    ]
    return sorted(faces, key=area, reverse=True)


def area(face: DetectedFace) -> float:
    x_min, y_min, x_max, y_max = face.box_px
    return (x_max - x_min) * (y_max - y_min)


def assert_same_faces(found: list[DetectedFace], expected: list[DetectedFace], *, landmark_px: float = 0.1) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        assert overlap(face.box_px, other.box_px) > 0.99
        assert np.abs(face.landmarks_px - other.landmarks_px).max() < landmark_px
        assert face.score == pytest.approx(other.score, abs=1e-3)


# --- against facenet-pytorch ------------------------------------------------------------------------


def test_portraits_give_facenets_faces(
    plain_detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    for image_rgb in (astronaut_rgb, grace_hopper_rgb):
        expected = reference_faces(image_rgb)
        assert len(expected) >= 1
        assert_same_faces(plain_detector.detect(image_rgb), expected)


def test_research_photographs_give_facenets_faces(plain_detector: MtcnnDetector, photo_paths: list[Path]) -> None:
    groups = [path for path in photo_paths if path.parent.name == "groups"]
    people = [path for path in photo_paths if path.parent.name != "groups"]
    faces = 0
    for path in groups + people[::12]:
        image_rgb = load_photo(path).image_rgb
        expected = reference_faces(image_rgb)
        assert_same_faces(plain_detector.detect(image_rgb), expected)
        faces += len(expected)
    assert faces >= 35


# --- what is returned -------------------------------------------------------------------------------


def test_landmarks_lie_where_the_face_has_them(detector: MtcnnDetector, grace_hopper_rgb: ByteArray) -> None:
    (face,) = detector.detect(grace_hopper_rgb)
    assert face.landmarks_px.shape == (5, 2) and face.landmarks_px.dtype == np.float32
    # Read off the photograph by eye: the pupils, the nose's tip, the corners of the mouth.
    by_eye = np.array([(223, 190), (306, 187), (268, 236), (230, 281), (308, 275)])
    assert np.abs(face.landmarks_px - by_eye).max() < 5
    assert 0.99 < face.score <= 1
    assert isinstance(face.score, float) and all(isinstance(edge, float) for edge in face.box_px)


def test_a_protocol_is_kept(detector: MtcnnDetector) -> None:
    as_protocol: FaceDetector = detector
    assert as_protocol.detect_batch([]) == []


def test_faces_come_largest_first(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    head = astronaut_rgb[20:260, 120:360]
    sheet = np.zeros((260, 520, 3), np.uint8)
    sheet[:120, :120] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    sheet[10:250, 130:370] = head
    sheet[:80, 400:480] = cv2.resize(head, (80, 80), interpolation=cv2.INTER_AREA)
    faces = detector.detect(sheet)
    assert [round(area(face) ** 0.5 / 10) for face in faces] == sorted(
        (round(area(face) ** 0.5 / 10) for face in faces), reverse=True
    )
    assert [int(face.landmarks_px[2, 0] // 125) for face in faces] == [1, 0, 3]


def test_boxes_end_at_the_photographs_edge(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    close_rgb = astronaut_rgb[70:175, 180:260]
    (face,) = detector.detect(close_rgb)
    x_min, y_min, x_max, y_max = face.box_px
    assert 0 <= x_min < x_max <= 80 and 0 <= y_min < y_max <= 105
    assert x_min == 0 or x_max == 80 or y_min == 0 or y_max == 105


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (11, 11), (12, 12), (20, 20), (29, 400), (400, 13), (31, 31)])
def test_small_images_hold_no_face(detector: MtcnnDetector, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_no_face_is_an_empty_list(detector: MtcnnDetector) -> None:
    assert detector.detect(np.zeros((200, 300, 3), np.uint8)) == []
    sky = np.linspace(0, 255, 200 * 300 * 3).reshape(200, 300, 3).astype(np.uint8)
    assert detector.detect(sky) == []


def test_read_only_and_sliced_images_are_taken(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    frozen = astronaut_rgb.copy()
    frozen.flags.writeable = False
    expected = detector.detect(astronaut_rgb)
    assert_same_faces(detector.detect(frozen), expected)
    doubled = np.zeros((1024, 1024, 3), np.uint8)
    doubled[::2, ::2] = astronaut_rgb
    assert_same_faces(detector.detect(doubled[::2, ::2]), expected)


# --- batches ----------------------------------------------------------------------------------------


def test_a_batch_of_all_sizes_gives_what_each_gives_alone(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    images = [
        astronaut_rgb,
        np.zeros((8, 8, 3), np.uint8),
        grace_hopper_rgb,
        np.zeros((90, 70, 3), np.uint8),
        astronaut_rgb[:, ::-1].copy(),
        astronaut_rgb[20:300, 100:380],
    ]
    batch = detector.detect_batch(images)
    assert [len(faces) for faces in batch] == [1, 0, 1, 0, 1, 1]
    for image, faces in zip(images, batch, strict=True):
        assert_same_faces(faces, detector.detect(image), landmark_px=0.01)


def test_a_batch_larger_than_one_pass_is_split(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [astronaut_rgb, astronaut_rgb[:, ::-1].copy(), np.zeros((8, 8, 3), np.uint8), astronaut_rgb]
    together = detector.detect_batch(images)
    monkeypatch.setattr("lightface.detection.mtcnn._PIXELS_AT_ONCE", 300_000)
    for faces, expected in zip(detector.detect_batch(images), together, strict=True):
        assert_same_faces(faces, expected, landmark_px=0.01)


def test_a_crowd_is_found_whole(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    head = cv2.resize(astronaut_rgb[20:260, 120:360], (80, 80), interpolation=cv2.INTER_AREA)
    crowd = np.tile(head, (15, 20, 1))
    faces = detector.detect(crowd)
    assert len(faces) == 300
    noses = {tuple((face.landmarks_px[2] // 80).astype(int).tolist()) for face in faces}
    assert noses == {(column, row) for column in range(20) for row in range(15)}


# --- settings ---------------------------------------------------------------------------------------


def test_a_long_photograph_is_reduced_and_answered_in_its_own_pixels(
    detector: MtcnnDetector, astronaut_rgb: ByteArray
) -> None:
    large = cv2.resize(astronaut_rgb, (2048, 2048), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    (at_full_size,) = detector.detect(astronaut_rgb)
    (reduced,) = MtcnnDetector(settings=MtcnnSettings(max_side_px=512)).detect(large)
    # Pixel middles: 0 of the small photograph is 1.5 of the large one.
    assert np.abs(reduced.landmarks_px - ((at_full_size.landmarks_px + 0.5) * 4 - 0.5)).max() < 6
    assert overlap(reduced.box_px, tuple(4 * edge for edge in at_full_size.box_px)) > 0.9


def test_sides_that_reduce_unevenly_keep_their_own_ratio(astronaut_rgb: ByteArray) -> None:
    wide = np.zeros((512, 1003, 3), np.uint8)
    wide[:, 491:] = astronaut_rgb
    (face,) = MtcnnDetector(settings=MtcnnSettings(max_side_px=301)).detect(wide)
    (expected,) = MtcnnDetector(settings=MtcnnSettings(max_side_px=None)).detect(wide)
    assert np.abs(face.landmarks_px - expected.landmarks_px).max() < 5


def test_faces_well_below_the_minimum_size_are_not_looked_for(astronaut_rgb: ByteArray) -> None:
    small_rgb = cv2.resize(astronaut_rgb, (192, 192), interpolation=cv2.INTER_AREA).astype(np.uint8)
    (face,) = MtcnnDetector(settings=MtcnnSettings(min_face_size_px=30)).detect(small_rgb)
    assert 30 < face.size_px < 40
    assert MtcnnDetector(settings=MtcnnSettings(min_face_size_px=100)).detect(small_rgb) == []


def test_the_minimum_size_counts_pixels_of_the_photograph(astronaut_rgb: ByteArray) -> None:
    # The face measures some 33 px when the photograph is reduced to 192, and 133 px before.
    large = np.zeros((768, 768, 3), np.uint8)
    large[:] = cv2.resize(astronaut_rgb, (768, 768), interpolation=cv2.INTER_CUBIC)
    for min_face_size_px, count in ((30, 1), (120, 1), (400, 0)):
        settings = MtcnnSettings(min_face_size_px=min_face_size_px, max_side_px=192)
        assert len(MtcnnDetector(settings=settings).detect(large)) == count


def test_the_score_must_exceed_the_threshold(astronaut_rgb: ByteArray) -> None:
    (face,) = MtcnnDetector(settings=MtcnnSettings(det_threshold=0.5)).detect(astronaut_rgb)
    assert MtcnnDetector(settings=MtcnnSettings(det_threshold=face.score)).detect(astronaut_rgb) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_face_size_px", 0),
        ("min_face_size_px", float("nan")),
        ("propose_threshold", 1.1),
        ("refine_threshold", -0.1),
        ("det_threshold", float("nan")),
        ("max_side_px", 11),
        ("pyramid_factor", 1.0),
        ("pyramid_factor", 0.0),
    ],
)
def test_settings_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{option} is {value}; it must"):
        MtcnnSettings(**{option: value})

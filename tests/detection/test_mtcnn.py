"""The cascade on real photographs, held against facenet-pytorch's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightface.detection import FaceDetector, MtcnnDetector, MtcnnSettings
from lightface.errors import ConfigError
from lightface.images import load_photo
from lightface.records import BoxPx, ByteArray, DetectedFace

AS_FACENET = MtcnnSettings(min_face_size_px=20, propose_threshold=0.6, det_threshold=0.7, max_side_px=None)


def overlap(box_a: BoxPx, box_b: BoxPx) -> float:
    """Intersection over union."""
    a, b = np.reshape(box_a, (2, 2)), np.reshape(box_b, (2, 2))
    shared = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None).prod()
    return float(shared / ((a[1] - a[0]).prod() + (b[1] - b[0]).prod() - shared))


def reference_faces(image_rgb: ByteArray, *, min_face_size_px: int = 20) -> list[DetectedFace]:
    """What facenet-pytorch finds, boxes cut off at the photograph's edges and largest first."""
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN(keep_all=True, min_face_size=min_face_size_px)
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


def assert_equal_faces(found: list[DetectedFace], expected: list[DetectedFace]) -> None:
    assert [face.box_px for face in found] == [face.box_px for face in expected]
    assert [face.score for face in found] == [face.score for face in expected]
    for face, other in zip(found, expected, strict=True):
        assert (face.landmarks_px == other.landmarks_px).all()


class Comparison:
    """Faces held against those of facenet-pytorch, which are the ones that count."""

    def __init__(self) -> None:
        self.expected = 0
        self.own = 0
        self.errors: list[float] = []  # mean distance of landmarks, as a share of the distance of the eyes

    def add(self, found: list[DetectedFace], expected: list[DetectedFace]) -> None:
        self.expected += len(expected)
        self.own += len(found)
        for other in expected:
            nearest = max(found, key=lambda face: overlap(face.box_px, other.box_px), default=None)
            if nearest is not None and overlap(nearest.box_px, other.box_px) > 0.5:
                distances = np.linalg.norm(nearest.landmarks_px - other.landmarks_px.astype(float), axis=1)
                eyes_px = np.linalg.norm(np.subtract(*other.landmarks_px[:2].astype(float)))
                self.errors.append(float(distances.mean() / eyes_px))

    def __str__(self) -> str:
        middle, high = np.percentile(self.errors, (50, 95))
        return (
            f"{len(self.errors)} of {self.expected} faces found ({self.own} in all), landmarks off by {middle:.1%} of "
            f"the distance of the eyes (median), {high:.1%} (95th percentile)"
        )

    def check(self, *, min_recall: float, max_error: float = 0.05, max_error_95: float = 0.12) -> None:
        print(self)
        assert len(self.errors) >= min_recall * self.expected, str(self)
        middle, high = np.percentile(self.errors, (50, 95))
        assert middle < max_error and high < max_error_95, str(self)


def paste(portraits: Sequence[ByteArray], size: tuple[int, int], *, seed: int) -> ByteArray:
    """A canvas of `size` (height, width) full of portraits at many scales."""
    random = np.random.default_rng(seed)
    canvas = np.full((*size, 3), 90, np.uint8)
    top = 0
    while top < size[0]:
        height, left = int(random.integers(130, 420)), 0
        while left < size[1]:
            portrait = portraits[int(random.integers(len(portraits)))]
            width = round(portrait.shape[1] * height / portrait.shape[0])
            small = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
            part = canvas[top : top + height, left : left + width]
            part[:] = small[: part.shape[0], : part.shape[1]]
            left += width
        top += height
    return canvas


# --- against facenet-pytorch ------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_portraits_give_facenets_faces_at_equal_settings(
    precision: str, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    detector, comparison = MtcnnDetector(settings=AS_FACENET, precision=precision), Comparison()
    for image_rgb in (astronaut_rgb, grace_hopper_rgb, paste([astronaut_rgb, grace_hopper_rgb], (600, 800), seed=0)):
        comparison.add(detector.detect(image_rgb), reference_faces(image_rgb))
    assert comparison.expected >= 8
    comparison.check(min_recall=1)


@pytest.mark.slow
def test_research_photographs_give_facenets_faces_at_equal_settings(photo_paths: list[Path]) -> None:
    detector, comparison = MtcnnDetector(settings=AS_FACENET, precision="fp32"), Comparison()
    groups = [path for path in photo_paths if path.parent.name == "groups"]
    people = [path for path in photo_paths if path.parent.name != "groups"]
    for path in groups + people[::12]:
        image_rgb = load_photo(path).image_rgb
        comparison.add(detector.detect(image_rgb), reference_faces(image_rgb))
    assert comparison.expected >= 35
    # The two that are missing are an earring, and a face of 33 px whose mouth is covered.
    comparison.check(min_recall=0.94)
    assert comparison.own <= comparison.expected + 2


@pytest.mark.parametrize("side", [1280, 2560])
def test_the_defaults_find_the_faces_of_40_px_in_pasted_portraits(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray, side: int
) -> None:
    comparison = Comparison()
    image_rgb = paste([astronaut_rgb, grace_hopper_rgb], (side * 3 // 4, side), seed=side)
    comparison.add(detector.detect(image_rgb), of_40_px(reference_faces(image_rgb)))
    assert comparison.expected >= 10
    comparison.check(min_recall=0.99)


@pytest.mark.slow
def test_the_defaults_find_the_faces_of_40_px_in_research_photographs(
    detector: MtcnnDetector, photo_paths: list[Path]
) -> None:
    comparison = Comparison()
    photos = [load_photo(path).image_rgb for path in photo_paths]
    for image_rgb in [*photos[::5], paste(photos, (960, 1280), seed=1), paste(photos, (3000, 4000), seed=2)]:
        # From 30 px on, since to look for smaller ones takes twice as long.
        comparison.add(detector.detect(image_rgb), of_40_px(reference_faces(image_rgb, min_face_size_px=30)))
    assert comparison.expected >= 150
    comparison.check(min_recall=0.99)


def of_40_px(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Those that are large enough to be asked for, and score as the defaults want."""
    return [face for face in faces if face.size_px >= 40 and face.score > MtcnnSettings().det_threshold]


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


# --- at the edge ------------------------------------------------------------------------------------


def cut_to_box(image_rgb: ByteArray, face: DetectedFace, inset: float) -> tuple[ByteArray, tuple[int, int]]:
    """The face's box less `inset` of its sides on each side, and the (x, y) corner where it was cut."""
    x_min, y_min, x_max, y_max = face.box_px
    dx, dy = inset * (x_max - x_min), inset * (y_max - y_min)
    left, top, right, bottom = round(x_min + dx), round(y_min + dy), round(x_max - dx), round(y_max - dy)
    return image_rgb[top:bottom, left:right], (left, top)


@pytest.mark.parametrize("inset", [0, 0.05])
@pytest.mark.parametrize("portrait", ["astronaut_rgb", "grace_hopper_rgb"])
def test_a_face_that_fills_or_leaves_the_picture_is_where_it_was(
    detector: MtcnnDetector, request: pytest.FixtureRequest, portrait: str, inset: float
) -> None:
    image_rgb: ByteArray = request.getfixturevalue(portrait)
    (whole,) = detector.detect(image_rgb)
    close_rgb, corner_px = cut_to_box(image_rgb, whole, inset)
    (face,) = detector.detect(close_rgb)
    eyes_px = float(np.linalg.norm(whole.landmarks_px[0] - whole.landmarks_px[1]))
    moved = face.landmarks_px + np.array(corner_px) - whole.landmarks_px
    assert np.linalg.norm(moved, axis=1).mean() < 0.05 * eyes_px
    if inset:
        x_min, y_min, x_max, y_max = face.box_px
        assert min(x_min, y_min) < 0 or x_max > close_rgb.shape[1] or y_max > close_rgb.shape[0]


@pytest.mark.slow
def test_research_faces_that_fill_or_leave_the_picture_are_found(
    detector: MtcnnDetector, photo_paths: list[Path]
) -> None:
    images = [load_photo(path).image_rgb for path in photo_paths if path.parent.name != "groups"][::4]
    found = count = 0
    for image_rgb in images:
        for whole in detector.detect(image_rgb)[:1]:
            close_rgb, corner_px = cut_to_box(image_rgb, whole.clipped(image_rgb.shape[:2]), 0.05)
            count += 1
            eyes_px = float(np.linalg.norm(whole.landmarks_px[0] - whole.landmarks_px[1]))
            for face in detector.detect(close_rgb)[:1]:
                moved = face.landmarks_px + np.array(corner_px) - whole.landmarks_px
                found += bool(np.linalg.norm(moved, axis=1).mean() < 0.1 * eyes_px)
    assert count >= 45 and found >= 0.95 * count


def test_landmarks_are_located_anew_at_the_edge_too(detector: MtcnnDetector, grace_hopper_rgb: ByteArray) -> None:
    (whole,) = detector.detect(grace_hopper_rgb)
    close_rgb = cut_to_box(grace_hopper_rgb, whole, 0.05)[0]
    large_rgb = cv2.resize(close_rgb, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    (small,), (expected,) = detector.detect(close_rgb), detector.detect(large_rgb)
    x_min, y_min, x_max, y_max = (2 * edge for edge in small.box_px)
    twice = DetectedFace((x_min, y_min, x_max, y_max), small.landmarks_px * 2, small.score)
    (found,) = detector.relocate(large_rgb, [twice])
    eyes_px = np.linalg.norm(expected.landmarks_px[0] - expected.landmarks_px[1])
    assert np.abs(found.landmarks_px - expected.landmarks_px).max() < 0.04 * eyes_px


# --- which way up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("portrait", ["astronaut_rgb", "grace_hopper_rgb"])
def test_a_turned_photograph_gives_the_faces_of_the_upright_one(
    detector: MtcnnDetector, request: pytest.FixtureRequest, portrait: str, quarters: int
) -> None:
    image_rgb: ByteArray = request.getfixturevalue(portrait)
    (upright,) = detector.detect(image_rgb)
    (face,) = detector.detect(np.ascontiguousarray(np.rot90(image_rgb, quarters)))
    expected = turned(upright.landmarks_px, quarters, image_rgb.shape[:2])
    eyes_px = np.linalg.norm(upright.landmarks_px[0] - upright.landmarks_px[1])
    assert np.abs(face.landmarks_px - expected).max() < 0.03 * eyes_px
    corners = np.sort(turned(np.reshape(upright.box_px, (2, 2)) - 1, quarters, image_rgb.shape[:2]) + 1, axis=0)
    assert overlap(face.box_px, tuple(corners.ravel().tolist())) > 0.9


def turned(points: np.ndarray, quarters: int, size: tuple[int, ...]) -> np.ndarray:
    """Where pixels (N, 2), x and y, of a picture of `size` (height, width) go when `numpy.rot90` turns it."""
    height, width = size
    for _ in range(quarters):
        points = np.stack([points[:, 1], width - 1 - points[:, 0]], axis=1)
        height, width = width, height
    return points


def test_several_faces_of_a_turned_photograph_are_found(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    both = np.hstack([astronaut_rgb, grace_hopper_rgb[:512]])
    upright = detector.detect(both)
    faces = detector.detect(np.ascontiguousarray(np.rot90(both, 2)))
    assert len(faces) == len(upright) == 2
    for face, expected in zip(faces, upright, strict=True):
        assert np.abs(face.landmarks_px - turned(expected.landmarks_px, 2, both.shape[:2])).max() < 3


def test_turns_can_be_left_out(grace_hopper_rgb: ByteArray) -> None:
    on_its_side = np.ascontiguousarray(np.rot90(grace_hopper_rgb))
    assert len(MtcnnDetector().detect(on_its_side)) == 1
    assert MtcnnDetector(settings=MtcnnSettings(turns=False)).detect(on_its_side) == []


@pytest.mark.slow
def test_research_portraits_are_found_whichever_way_up(detector: MtcnnDetector, photo_paths: list[Path]) -> None:
    images = [load_photo(path).image_rgb for path in photo_paths if path.parent.name != "groups"][::8]
    for quarters in (1, 2, 3):
        right = 0
        for image_rgb in images:
            upright, found = detector.detect(image_rgb)[0], detector.detect(np.rot90(image_rgb, quarters))
            eyes_px = np.linalg.norm(upright.landmarks_px[0] - upright.landmarks_px[1])
            expected = turned(upright.landmarks_px, quarters, image_rgb.shape[:2])
            right += any(np.abs(face.landmarks_px - expected).max() < 0.2 * eyes_px for face in found)
        assert len(images) >= 25 and right >= 0.95 * len(images)


# --- bad and strange images -------------------------------------------------------------------------


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
    assert_equal_faces(detector.detect(frozen), expected)
    doubled = np.zeros((1024, 1024, 3), np.uint8)
    doubled[::2, ::2] = astronaut_rgb
    assert_equal_faces(detector.detect(doubled[::2, ::2]), expected)


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
        assert_equal_faces(faces, detector.detect(image))


def test_a_batch_larger_than_one_pass_is_split(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [astronaut_rgb, astronaut_rgb[:, ::-1].copy(), np.zeros((8, 8, 3), np.uint8), astronaut_rgb]
    together = detector.detect_batch(images)
    monkeypatch.setattr("lightface.detection.mtcnn._PIXELS_AT_ONCE", 300_000)
    for faces, expected in zip(detector.detect_batch(images), together, strict=True):
        assert_equal_faces(faces, expected)


def test_a_reduced_photograph_shows_the_same_faces(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    wholes = [np.kron(image, np.ones((4, 4, 1), np.uint8)) for image in (astronaut_rgb, grace_hopper_rgb)]
    means = [whole[::4, ::4] for whole in wholes]
    for (face,), (expected,) in zip(
        detector.detect_batch(means, reductions=[4, 4]), detector.detect_batch(wholes), strict=True
    ):
        eyes_px = np.linalg.norm(expected.landmarks_px[0] - expected.landmarks_px[1])
        assert np.abs(np.subtract(face.box_px, expected.box_px)).max() < 0.05 * expected.size_px
        assert np.abs(face.landmarks_px - expected.landmarks_px).max() < 0.05 * eyes_px


def test_a_crowd_is_found_whole(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    head = cv2.resize(astronaut_rgb[20:260, 120:360], (80, 80), interpolation=cv2.INTER_AREA)
    crowd = np.tile(head, (15, 20, 1)).astype(np.uint8)
    faces = detector.detect(crowd)
    assert len(faces) == 300
    noses = {tuple((face.landmarks_px[2] // 80).astype(int).tolist()) for face in faces}
    assert noses == {(column, row) for column in range(20) for row in range(15)}


# --- settings ---------------------------------------------------------------------------------------


def test_landmarks_of_a_long_photograph_come_from_its_own_pixels(astronaut_rgb: ByteArray) -> None:
    large = cv2.resize(astronaut_rgb, (2048, 2048), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    for max_side_px in (None, 512):
        (face,) = MtcnnDetector(settings=MtcnnSettings(max_side_px=max_side_px)).detect(large)
        (small,) = MtcnnDetector().detect(astronaut_rgb)
        # Pixel middles: 0 of the small photograph is 1.5 of the large one.
        assert np.abs(face.landmarks_px - ((small.landmarks_px + 0.5) * 4 - 0.5)).max() < 10
        x_min, y_min, x_max, y_max = (4 * edge for edge in small.box_px)
        assert overlap(face.box_px, (x_min, y_min, x_max, y_max)) > 0.85


def test_faces_well_below_the_minimum_size_are_not_looked_for(astronaut_rgb: ByteArray) -> None:
    small_rgb = cv2.resize(astronaut_rgb, (192, 192), interpolation=cv2.INTER_AREA).astype(np.uint8)
    (face,) = MtcnnDetector(settings=MtcnnSettings(min_face_size_px=30)).detect(small_rgb)
    assert 30 < face.size_px < 40
    assert MtcnnDetector(settings=MtcnnSettings(min_face_size_px=100)).detect(small_rgb) == []


def test_the_minimum_size_may_be_a_share_of_the_shorter_side(astronaut_rgb: ByteArray) -> None:
    # The face measures some 88 px, 17 % of the photograph, wherever the photograph ends to the right.
    for image_rgb in (astronaut_rgb, np.hstack([astronaut_rgb, astronaut_rgb[:, :100]])):
        for share, count in ((0.1, 1), (0.16, 1), (0.5, 0)):
            assert len(MtcnnDetector(settings=MtcnnSettings(min_face_share=share)).detect(image_rgb)) == count
    tiny = MtcnnSettings(min_face_size_px=100, min_face_share=0.01)  # the larger of the two
    assert MtcnnDetector(settings=tiny).detect(astronaut_rgb[::3, ::3]) == []


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
        ("min_face_share", 1.1),
        ("propose_threshold", 1.1),
        ("refine_threshold", -0.1),
        ("det_threshold", float("nan")),
        ("max_side_px", 11),
        ("pyramid_factor", 1.0),
        ("pyramid_factor", 0.0),
    ],
)
def test_settings_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{option} is {value}; give a number"):
        replace(MtcnnSettings(), **{option: value})  # type: ignore[arg-type]

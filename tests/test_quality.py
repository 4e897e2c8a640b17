"""The score falls with what makes a face hard to recognise, and with nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lightface.detection import MtcnnDetector
from lightface.quality import FaceQuality, Flaw, measure_quality
from lightface.records import ByteArray, DetectedFace

FRONTAL = np.array([(80, 70), (120, 70), (100, 94), (85, 118), (115, 118)], np.float32)


@pytest.fixture(scope="module")
def portrait(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> tuple[ByteArray, DetectedFace]:
    (found,) = detector.detect(astronaut_rgb)
    return astronaut_rgb, found


def synthetic(landmarks: np.ndarray[tuple[int, ...], np.dtype[np.float32]], score: float = 1.0) -> FaceQuality:
    noise = np.random.default_rng(0).integers(20, 236, (200, 200, 1), np.uint8).repeat(3, axis=2)
    return measure_quality(noise, DetectedFace((60, 50, 140, 130), landmarks.astype(np.float32), score))


def test_good_portraits_score_high(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    for image_rgb in (astronaut_rgb, grace_hopper_rgb):
        (found,) = detector.detect(image_rgb)
        quality = measure_quality(image_rgb, found)
        assert 0.8 < quality.score <= 1
        assert quality.det_score == found.score
        assert abs(quality.yaw) < 0.4 and abs(quality.roll_degrees) < 10


def test_a_flawless_face_scores_1() -> None:
    quality = synthetic(FRONTAL)
    assert quality.score == pytest.approx(1)
    assert quality.flaw is None
    assert quality.eye_distance_px == pytest.approx(40)
    assert quality.yaw == pytest.approx(0, abs=1e-6)
    assert quality.roll_degrees == pytest.approx(0, abs=1e-6)


def test_blur_lowers_sharpness_step_by_step(portrait: tuple[ByteArray, DetectedFace]) -> None:
    image_rgb, found = portrait
    measured = [measure_quality(image_rgb, found)] + [
        measure_quality(cv2.GaussianBlur(image_rgb, (0, 0), sigma).astype(np.uint8), found) for sigma in (1, 2, 4, 8)
    ]
    sharpness = [quality.sharpness for quality in measured]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 0.15 and sharpness[-1] < 0.02
    assert measured[-1].score < 0.25 * measured[0].score
    assert measured[-1].contrast > 70


def test_darkness_lowers_contrast_not_sharpness_and_glare_covers(portrait: tuple[ByteArray, DetectedFace]) -> None:
    image_rgb, found = portrait
    plain = measure_quality(image_rgb, found)
    dark = measure_quality((image_rgb * 0.2).astype(np.uint8), found)
    glaring = measure_quality(np.clip(image_rgb * 3.0, 0, 255).astype(np.uint8), found)
    assert plain.contrast > 90 and plain.covered < 0.1
    assert dark.contrast < 40 and glaring.covered > 0.15
    assert dark.sharpness == pytest.approx(plain.sharpness, rel=0.2)
    assert max(dark.score, glaring.score) < 0.6 * plain.score


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_a_shaken_face_is_blurred_in_whichever_direction(
    portrait: tuple[ByteArray, DetectedFace], degrees: float
) -> None:
    """Across the movement it is as sharp as before, which hid it."""
    image_rgb, found = portrait
    line = np.zeros((21, 21), np.float32)
    line[10] = 1 / 21
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D((10, 10), degrees, 1), (21, 21))
    quality = measure_quality(cv2.filter2D(image_rgb, -1, turned / turned.sum()).astype(np.uint8), found)
    assert quality.score < 0.1 and quality.flaw is Flaw.BLURRED


@pytest.mark.parametrize("grey", [0, 12, 128])
@pytest.mark.parametrize("part", ["left", "right", "mouth"])
def test_a_face_behind_something_plain_is_covered(
    portrait: tuple[ByteArray, DetectedFace], part: str, grey: int
) -> None:
    image_rgb, found = portrait
    covered = image_rgb.copy()
    column, row = (round(float(middle)) for middle in found.landmarks_px.mean(axis=0))
    view = {"left": covered[:, :column], "right": covered[:, column:], "mouth": covered[row:]}[part]
    view[...] = grey
    quality = measure_quality(covered, found)
    assert quality.covered > 0.3 and quality.score < 0.1


@pytest.mark.parametrize(("across", "down", "proportion"), [(0.5, 1, 2), (1, 0.5, 0.5), (0.8, 1, 1.25), (1, 0.8, 0.8)])
@pytest.mark.parametrize("nose_shift_px", [0, 10])
def test_a_squeezed_face_is_distorted_and_a_turned_one_is_not(
    nose_shift_px: float, across: float, down: float, proportion: float
) -> None:
    """The eyes of a turned face look closer: that is no distortion. A fifth is within what people's faces have."""
    usual = FRONTAL.copy()
    usual[3:, 1] -= 8  # as far from eye to mouth as from eye to eye
    turned = (usual - 100) * np.array([1 / math.hypot(1, 0.8 * nose_shift_px / 20), 1], np.float32) + 100
    turned[2, 0] += nose_shift_px / math.hypot(1, 0.8 * nose_shift_px / 20)
    quality = synthetic((turned - 100) * np.array([across, down], np.float32) + 100)
    assert quality.proportion == pytest.approx(proportion, rel=0.05)
    assert (quality.flaw is Flaw.DISTORTED) == (across == 0.5 or down == 0.5)


def test_a_darker_but_contrasty_face_is_not_punished(portrait: tuple[ByteArray, DetectedFace]) -> None:
    image_rgb, found = portrait
    darker = (image_rgb * 0.7).astype(np.uint8)
    assert measure_quality(darker, found).score > 0.95 * measure_quality(image_rgb, found).score


def test_a_reduced_face_loses(portrait: tuple[ByteArray, DetectedFace]) -> None:
    image_rgb, found = portrait
    scores = []
    for scale in (1.0, 0.5, 0.25):
        size = (int(512 * scale), int(512 * scale))
        small_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        quality = measure_quality(small_rgb, replace(found, landmarks_px=found.landmarks_px * np.float32(scale)))
        scores.append(quality.score)
        assert quality.eye_distance_px == pytest.approx(scale * measure_quality(image_rgb, found).eye_distance_px)
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < 0.4 * scores[0]


@pytest.mark.parametrize(("nose_shift_px", "yaw", "score"), [(8, 0.4, 1), (-16, -0.8, 0.5), (24, 1.2, 0)])
def test_a_face_turned_aside_loses(nose_shift_px: float, yaw: float, score: float) -> None:
    landmarks = FRONTAL.copy()
    landmarks[2, 0] += nose_shift_px
    quality = synthetic(landmarks)
    assert quality.yaw == pytest.approx(yaw)
    assert quality.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("degrees", [-120, -30, 15, 90, 179])
def test_roll_is_told_but_costs_nothing(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    quality = synthetic((FRONTAL - 100) @ turn.T + 100)
    assert quality.roll_degrees == pytest.approx(degrees, abs=1e-4)  # clockwise, y down
    assert quality.yaw == pytest.approx(0, abs=1e-5)
    assert quality.score == pytest.approx(1)


def test_the_detectors_score_is_a_share() -> None:
    assert synthetic(FRONTAL, score=0.6).score == pytest.approx(0.6)


def test_a_face_over_the_edge_is_measured_by_what_shows(portrait: tuple[ByteArray, DetectedFace]) -> None:
    image_rgb, found = portrait
    left = int(found.landmarks_px[0, 0])
    shifted = replace(found, landmarks_px=found.landmarks_px - np.array([left, 0], np.float32))
    quality = measure_quality(image_rgb[:, left:], shifted)
    assert quality.score > 0.5


@pytest.mark.parametrize("landmarks", [FRONTAL + 5000, FRONTAL - 5000, np.full((5, 2), 100.0)])
def test_nonsense_scores_0(landmarks: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    quality = synthetic(landmarks)
    assert quality.score == 0
    assert np.isfinite([quality.yaw, quality.roll_degrees, quality.sharpness]).all()


def test_a_blank_picture_scores_0() -> None:
    for level in (0, 128, 255):
        blank = np.full((200, 200, 3), level, np.uint8)
        face = DetectedFace((60, 50, 140, 130), FRONTAL, 1.0)
        assert measure_quality(blank, face).score == 0


@pytest.mark.parametrize("flaw", [Flaw.SMALL, Flaw.BLURRED, Flaw.DARK, Flaw.BRIGHT, Flaw.FLAT])
def test_what_is_wrong_with_a_portrait_is_named(portrait: tuple[ByteArray, DetectedFace], flaw: Flaw) -> None:
    image_rgb, found = portrait
    match flaw:
        case Flaw.SMALL:
            image_rgb = cv2.resize(image_rgb, (96, 96), interpolation=cv2.INTER_AREA).astype(np.uint8)
            found = replace(found, landmarks_px=found.landmarks_px * np.float32(96 / 512))
        case Flaw.BLURRED:
            image_rgb = cv2.GaussianBlur(image_rgb, (0, 0), 6).astype(np.uint8)
        case Flaw.DARK:
            image_rgb = (image_rgb * 0.1).astype(np.uint8)
        case Flaw.BRIGHT:
            image_rgb = np.clip(image_rgb * 4.0, 0, 255).astype(np.uint8)
        case Flaw.FLAT:
            image_rgb = (128 + (image_rgb.astype(float) - 128) * 0.15).astype(np.uint8)
    assert measure_quality(image_rgb, found).flaw is flaw


def test_a_doubtful_face_and_one_turned_away_are_named() -> None:
    aside = FRONTAL.copy()
    aside[2, 0] += 16
    assert synthetic(aside).flaw is Flaw.TURNED
    assert synthetic(FRONTAL, score=0.8).flaw is Flaw.DOUBTFUL
    assert all(flaw.remedy.startswith("use a ") for flaw in Flaw)

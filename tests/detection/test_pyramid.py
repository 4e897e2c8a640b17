"""What is shown to the networks, held against means of the photograph's own pixels."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from lightface.detection.candidates import Candidates
from lightface.detection.pyramid import Level, cut_crops, halve, plan_levels, render_level
from lightface.records import ByteArray, FloatArray


def pool(image_rgb: ByteArray, height: int, width: int) -> FloatArray:
    """The same by torch, from the pixels themselves."""
    pixels = torch.tensor(image_rgb).permute(2, 0, 1).double()
    return np.asarray(adaptive_avg_pool2d(pixels, (height, width)).permute(1, 2, 0), np.float32)


@pytest.fixture(scope="module")
def noise_rgb() -> ByteArray:
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)


@pytest.fixture(scope="module")
def scene_rgb() -> ByteArray:
    """Smooth, so that a mean and a draw between pixels agree, and of an odd size."""
    small = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(cv2.resize(small, (331, 243), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_halves_are_means_of_four(noise_rgb: ByteArray) -> None:
    halves = halve(noise_rgb).images_rgb
    assert [half.shape for half in halves] == [(61, 83, 3), (30, 41, 3), (15, 20, 3)]
    assert halves[0] is noise_rgb
    for larger, smaller in pairwise(halves):
        height, width = smaller.shape[:2]
        assert np.abs(smaller - pool(larger[: 2 * height, : 2 * width], height, width)).max() <= 0.5


@pytest.mark.parametrize("size", [(243, 331), (200, 273), (90, 123), (61, 83)])
def test_levels_are_the_photograph_made_smaller(scene_rgb: ByteArray, size: tuple[int, int]) -> None:
    level = render_level(halve(scene_rgb), Level(0, size[0] / 243, size))
    assert level.shape == (*size, 3) and level.dtype == np.uint8
    assert np.abs(level - pool(scene_rgb, *size)).mean() < 3


def test_no_pixel_is_left_out() -> None:
    spotted = np.zeros((400, 400, 3), np.uint8)
    spotted[200:202, 200:202] = 255
    for side in (12, 20, 37, 50, 90, 130):
        level = render_level(halve(spotted), Level(0, side / 400, (side, side))).astype(float)
        # Much as much light as the photograph has, where a draw of single pixels may miss the spot.
        assert 0.5 < level.sum() / side**2 / (spotted.mean() * 3) < 2


def test_crops_show_the_box_and_grey_outside_the_image(scene_rgb: ByteArray) -> None:
    boxes = [
        (1, 1, 331, 243),  # everything: boxes count from 1, the last pixel included
        (41.9, 71.2, 130.7, 160.1),
        (30, 30, 34, 34),  # grows
        (-20, -9, 92, 75),  # over the edge
        (270, 150, 600, 290),
        (340, 5, 380, 45),  # beside the photograph
        (-30, 5, 0, 35),
    ]
    height, width = scene_rgb.shape[:2]
    beyond = np.pad(scene_rgb, ((50, 300), (50, 300), (0, 0)), constant_values=128)
    expected = [
        scene_rgb,
        scene_rgb[70:160, 40:130],
        scene_rgb[29:34, 29:34],
        beyond[50 - 10 : 50 + 75, 50 - 21 : 50 + 92],
        beyond[50 + 149 : 50 + 290, 50 + 269 : 50 + 600],
    ]
    assert (height, width) == (243, 331)
    several = Candidates(np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64))
    inside, crops = cut_crops([halve(scene_rgb)], several, size_px=24)
    assert inside.tolist() == [0, 1, 2, 3, 4]
    assert crops.shape == (5, 24, 24, 3) and crops.dtype == np.uint8
    for crop, pixels in zip(crops, expected, strict=True):
        assert np.abs(crop - pool(pixels, 24, 24)).mean() < 3


def test_each_crop_comes_from_its_own_image(scene_rgb: ByteArray) -> None:
    photos = [halve(scene_rgb), halve(scene_rgb[:20, :30])]
    boxes = np.array([(5, 5, 28, 28), (5, 5, 18, 18), (40, 40, 60, 60), (40, 40, 60, 60)], np.float32)
    several = Candidates(boxes, np.ones(4, np.float32), np.array([1, 0, 1, 0]))
    inside, crops = cut_crops(photos, several, size_px=12)
    assert inside.tolist() == [0, 1, 3]
    cut_off = np.pad(scene_rgb[4:20, 4:28], ((0, 8), (0, 0), (0, 0)), constant_values=128)
    for crop, pixels in zip(crops, (cut_off, scene_rgb[4:18, 4:18], scene_rgb[39:60, 39:60]), strict=True):
        assert np.abs(crop - pool(pixels, 12, 12)).mean() < 3


def test_a_photograph_may_be_longer_than_warpaffine_takes(scene_rgb: ByteArray) -> None:
    long_rgb = np.zeros((60, 40_000, 3), np.uint8)
    long_rgb[:, 39_000:39_060] = scene_rgb[:60, :60]
    box = np.array([[39_001, 1, 39_060, 60]], np.float32)
    one = Candidates(box, np.ones(1, np.float32), np.zeros(1, np.int64))
    _, crops = cut_crops([halve(long_rgb)], one, size_px=48)
    assert np.abs(crops[0] - pool(scene_rgb[:60, :60], 48, 48)).mean() < 3


def test_levels_reach_from_the_smallest_face_to_the_whole_image() -> None:
    levels = plan_levels(3, (480, 640), smallest_face_px=24, factor=0.5)
    assert [level.scale for level in levels] == [0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert levels[0].size == (241, 321)
    assert min(levels[-1].size) >= 12 > 480 * levels[-1].scale / 2
    assert {level.image_index for level in levels} == {3}


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (11, 400), (23, 23)])
def test_an_image_smaller_than_the_smallest_face_has_no_level(size: tuple[int, int]) -> None:
    assert plan_levels(0, size, smallest_face_px=24, factor=0.709) == []


def test_a_large_photograph_is_turned_at_the_size_that_is_searched() -> None:
    """Whole, it would be in memory twice. What is odd at its end is left out before it becomes the beginning."""
    image_rgb = np.random.default_rng(0).integers(0, 256, (403, 602, 3), np.uint8)
    halves = halve(image_rgb)
    for quarters in (1, 2, 3):
        turned = halves.turned(quarters, step=5.0)  # a half again has 4 pixels for one, the next would have 8
        assert np.array_equal(turned.images_rgb[0], np.rot90(halves.images_rgb[2], quarters))
        assert turned.size == ((400, 600) if quarters == 2 else (600, 400))
        whole = halves.turned(quarters)
        assert np.array_equal(whole.images_rgb[0], np.rot90(image_rgb, quarters))

"""Every pixel shown to a network is the mean of the photograph's pixels under it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from lightface.detection.candidates import Candidates
from lightface.detection.pyramid import (
    Level,
    cut_crops,
    limit_side,
    plan_levels,
    render_levels,
    sum_areas,
)
from lightface.faces import ByteArray, FloatArray


def pool(image_rgb: ByteArray, height: int, width: int) -> FloatArray:
    """The same by torch, from the pixels themselves."""
    pixels = torch.tensor(image_rgb).permute(2, 0, 1).double()
    return np.asarray(adaptive_avg_pool2d(pixels, (height, width)).permute(1, 2, 0), np.float32)


@pytest.fixture(scope="module")
def noise_rgb() -> ByteArray:
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)


@pytest.mark.parametrize("size", [(61, 83), (30, 41), (12, 17), (1, 1), (70, 100), (61, 20)])
def test_levels_are_area_means(noise_rgb: ByteArray, size: tuple[int, int]) -> None:
    levels = render_levels([sum_areas(noise_rgb)], [Level(0, 1.0, size)])
    assert levels.dtype == np.float32
    assert levels[0] == pytest.approx(pool(noise_rgb, *size), abs=1e-4)


def test_levels_of_several_images_are_stacked(noise_rgb: ByteArray) -> None:
    tables = [sum_areas(noise_rgb), sum_areas(255 - noise_rgb)]
    levels = render_levels(tables, [Level(1, 1.0, (12, 12)), Level(0, 1.0, (12, 12))])
    assert levels.sum(axis=0) == pytest.approx(np.full((12, 12, 3), 255), abs=1e-3)


def test_sums_may_overflow() -> None:
    white = np.full((4200, 4000, 3), 255, np.uint8)  # 4.3e9 a channel
    levels = render_levels([sum_areas(white)], [Level(0, 1.0, (100, 90))])
    assert (levels == 255).all()


def test_crops_are_area_means_and_cut_off_at_the_edge(noise_rgb: ByteArray) -> None:
    boxes = [
        (1, 1, 83, 61),  # everything: boxes count from 1, the last pixel included
        (11.9, 21.2, 40.7, 50.1),
        (30, 30, 34, 34),  # grows
        (-20, -9, 12, 15),  # over the edge
        (70, 50, 200, 90),
        (90, 5, 120, 35),  # beside the photograph
        (-30, 5, 0, 35),
    ]
    expected = [
        noise_rgb,
        noise_rgb[20:50, 10:40],
        noise_rgb[29:34, 29:34],
        noise_rgb[:15, :12],
        noise_rgb[49:, 69:],
    ]
    several = Candidates(np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64))
    inside, crops = cut_crops([sum_areas(noise_rgb)], several, size_px=24)
    assert inside.tolist() == [0, 1, 2, 3, 4]
    assert crops.shape == (5, 24, 24, 3) and crops.dtype == np.float32
    for crop, pixels in zip(crops, expected, strict=True):
        assert crop == pytest.approx(pool(pixels, 24, 24), abs=1e-4)


def test_each_crop_comes_from_its_own_image(noise_rgb: ByteArray) -> None:
    tables = [sum_areas(noise_rgb), sum_areas(noise_rgb[:20, :30])]
    boxes = np.array([(5, 5, 28, 28), (5, 5, 18, 18), (40, 40, 60, 60), (40, 40, 60, 60)], np.float32)
    several = Candidates(boxes, np.ones(4, np.float32), np.array([1, 0, 1, 0]))
    inside, crops = cut_crops(tables, several, size_px=12)
    assert inside.tolist() == [0, 1, 3]
    assert crops[0] == pytest.approx(pool(noise_rgb[4:20, 4:28], 12, 12), abs=1e-4)
    assert crops[1] == pytest.approx(pool(noise_rgb[4:18, 4:18], 12, 12), abs=1e-4)
    assert crops[2] == pytest.approx(pool(noise_rgb[39:60, 39:60], 12, 12), abs=1e-4)


def test_levels_reach_from_the_smallest_face_to_the_whole_image() -> None:
    levels = plan_levels(3, (480, 640), smallest_face_px=24, factor=0.5)
    assert [level.scale for level in levels] == [0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert levels[0].size == (241, 321)
    assert min(levels[-1].size) >= 12 > 480 * levels[-1].scale / 2
    assert {level.image_index for level in levels} == {3}


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (11, 400), (23, 23)])
def test_an_image_smaller_than_the_smallest_face_has_no_level(size: tuple[int, int]) -> None:
    assert plan_levels(0, size, smallest_face_px=24, factor=0.709) == []


def test_only_long_images_are_reduced(noise_rgb: ByteArray) -> None:
    assert limit_side(noise_rgb, None) is noise_rgb
    assert limit_side(noise_rgb, 83) is noise_rgb
    assert limit_side(noise_rgb, 40).shape == (29, 40, 3)
    assert limit_side(noise_rgb[:1], 20).shape == (1, 20, 3)
    assert limit_side(noise_rgb, 40).mean() == pytest.approx(noise_rgb.mean(), abs=1)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lightface.training.augmentation import Augmentation, augment, cut_frame

NONE = Augmentation.none()


@pytest.fixture
def crops() -> Tensor:
    """Smooth random crops."""
    noise = torch.rand(8, 1, 36, 36, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(noise, (144, 144), mode="bilinear") * 255).byte()


def once(crops: Tensor, augmentation: Augmentation, size_px: int = 128, seed: int = 0) -> Tensor:
    return augment(crops, size_px=size_px, augmentation=augmentation, generator=torch.Generator().manual_seed(seed))


def test_without_strength_the_frame_comes_out(crops: Tensor) -> None:
    plain = once(crops, NONE)
    assert plain.shape == (8, 1, 128, 128)
    torch.testing.assert_close(plain, cut_frame(crops), atol=1e-4, rtol=0)
    torch.testing.assert_close(plain[:, :, 0, 0] * 255, crops[:, :, 8, 8].float(), atol=0.02, rtol=0)


@pytest.mark.parametrize("size_px", [16, 32, 48, 64, 96])
def test_small_images_show_the_same_frame(crops: Tensor, size_px: int) -> None:
    expected = F.interpolate(cut_frame(crops), (size_px, size_px), mode="area")
    small = once(crops, NONE, size_px)
    assert small.shape == (8, 1, size_px, size_px)
    assert float((small - expected).abs().mean()) < 0.03


def test_a_flip_mirrors(crops: Tensor) -> None:
    flipped = once(crops, replace(NONE, flip=1.0))
    torch.testing.assert_close(flipped, cut_frame(crops).flip(-1), atol=1e-4, rtol=0)


def test_a_turn_keeps_the_middle_and_moves_the_edge() -> None:
    crop = torch.zeros(1, 1, 144, 144, dtype=torch.uint8)
    crop[..., 70:74, 70:74] = 255
    crop[..., 70:74, 110:114] = 255  # 40 px to the right
    turned = once(crop, replace(NONE, rotation_degrees=30.0), seed=3)[0, 0]
    assert float(turned[62:66, 62:66].mean()) > 0.7
    rows, columns = torch.nonzero(turned > 0.5, as_tuple=True)
    far = torch.hypot(rows - 63.5, columns - 63.5) > 20
    distance = torch.hypot(rows[far] - 63.5, columns[far] - 63.5).mean()
    assert float(distance) == pytest.approx(40, abs=1)
    assert float((rows[far] - 63.5).abs().mean()) > 2


def test_light_changes_the_mean_but_not_the_places(crops: Tensor) -> None:
    changed = once(crops, replace(NONE, brightness=0.1, contrast=0.2))
    plain = cut_frame(crops)
    for before, after in zip(plain, changed, strict=True):
        assert np.corrcoef(before.flatten(), after.flatten())[0, 1] > 0.99
    means = changed.mean((1, 2, 3)) - plain.mean((1, 2, 3))
    assert 0.01 < float(means.abs().mean()) <= 0.1


def detail(images: Tensor) -> Tensor:
    return (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))


def test_blur_takes_detail_from_its_share_of_the_batch(crops: Tensor) -> None:
    noisy = torch.randint(0, 256, crops.shape, dtype=torch.uint8)
    blurred = once(noisy, replace(NONE, blur=0.5, blur_sigma_px=(1.5, 2.0)))
    smoother = detail(blurred) < 0.5 * detail(cut_frame(noisy))
    assert int(smoother.sum()) == 4
    torch.testing.assert_close(blurred.mean((1, 2, 3)), cut_frame(noisy).mean((1, 2, 3)), atol=0.01, rtol=0)


def test_low_resolution_is_averaging_and_enlarging(crops: Tensor) -> None:
    reduced = once(crops, replace(NONE, low_resolution=1.0, low_resolution_px=(32, 32)))
    small = F.interpolate(cut_frame(crops), (32, 32), mode="area")
    expected = F.interpolate(small, (128, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(reduced, expected, atol=1e-4, rtol=0)


def test_low_resolution_gives_each_image_its_own_size() -> None:
    noisy = torch.randint(0, 256, (6, 1, 144, 144), dtype=torch.uint8)
    reduced = once(noisy, replace(NONE, low_resolution=1.0, low_resolution_px=(20, 60)))
    assert len({round(float(value), 4) for value in detail(reduced)}) == 6


def test_noise_and_erasing(crops: Tensor) -> None:
    plain = cut_frame(crops)
    noisy = once(crops, replace(NONE, noise=1.0, noise_sigma=0.05))
    assert 0.001 < float((noisy - plain).std()) < 0.05
    erased = once(crops, replace(NONE, erasing=1.0, erasing_area=(0.1, 0.1)))
    changed = ((erased - plain).abs() > 1e-3).float().mean((1, 2, 3))
    assert float(changed.mean()) == pytest.approx(0.1, abs=0.02)


def test_everything_at_once_stays_in_range_and_repeats(crops: Tensor) -> None:
    strong = Augmentation(blur=1.0, low_resolution=1.0, noise=1.0, erasing=1.0)
    first, again, other = (once(crops, strong, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.min()) >= 0 and float(first.max()) <= 1


def test_colour_crops_are_taken_too() -> None:
    crops = torch.randint(0, 256, (4, 3, 144, 144), dtype=torch.uint8)
    assert once(crops, Augmentation(blur=0.5, low_resolution=0.5), 64).shape == (4, 3, 64, 64)


def test_on_a_gpu_nothing_waits_for_the_device() -> None:
    # Fake tensors have a device and no values: reading one of them on the host raises.
    with FakeTensorMode():
        crops = torch.empty(16, 1, 144, 144, dtype=torch.uint8, device="cuda")
        images = augment(crops, size_px=96, augmentation=Augmentation(blur=0.5))
    assert images.shape == (16, 1, 96, 96)
    assert images.device.type == "cuda"

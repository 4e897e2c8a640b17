"""Batched augmentation of aligned crops, on whatever device the crops are.

One call turns stored crops (wider than the network's frame, so that shifts and turns bring real pixels in) into
network input at the wanted resolution. Geometry is one resampling; light, blur, noise and erasing follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_PX = 128


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strengths. Zero switches one off; `Augmentation.none()` leaves only the crop to the frame."""

    rotation_degrees: float = 7.0  # uniform in +-
    scale: float = 0.08  # uniform in 1 +-
    shift: float = 0.04  # share of the frame, uniform in +-, both axes
    flip: float = 0.5  # probability
    contrast: float = 0.35  # uniform in 1 +-
    brightness: float = 0.15  # share of white, uniform in +-
    gamma: float = 0.25  # exponent exp(uniform in +-)
    low_resolution: float = 0.25  # probability
    low_resolution_px: tuple[int, int] = (24, 64)  # the face is reduced to this many pixels and enlarged again
    noise: float = 0.15  # probability
    noise_sigma: float = 0.06  # largest standard deviation, share of white
    erasing: float = 0.1  # probability
    erasing_area: tuple[float, float] = (0.02, 0.15)  # share of the crop

    @classmethod
    def none(cls) -> Augmentation:
        return cls(0, 0, 0, 0, 0, 0, 0, 0, (24, 64), 0, 0, 0)


def augment(
    crops: Tensor, *, size_px: int, augmentation: Augmentation, generator: torch.Generator | None = None
) -> Tensor:
    """(N, C, H, W) uint8 crops, square, at least 128 px -> (N, C, size_px, size_px) float32 in 0..1.

    The centre 128x128 pixels of a crop are the network's frame. `generator` must live on the crops' device.
    """
    images = _place(crops, size_px, augmentation, generator)
    images = _change_light(images, augmentation, generator)
    images = _reduce_resolution(images, augmentation, generator)
    images = _add_noise(images, augmentation, generator)
    images = _erase(images, augmentation, generator)
    return images.clamp_(0, 1)


def _uniform(n: int, low: float, high: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, device=like.device, generator=generator) * (high - low) + low


def _place(crops: Tensor, size_px: int, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    n, _, height, _ = crops.shape
    images = crops.float() / 255
    if size_px * 2 <= FRAME_PX:
        # Bilinear sampling at half the resolution or less aliases; average areas first.
        images = F.avg_pool2d(images, FRAME_PX // size_px)
    angle = _uniform(n, -a.rotation_degrees, a.rotation_degrees, images, generator) * (math.pi / 180)
    zoom = (FRAME_PX / height) / _uniform(n, 1 - a.scale, 1 + a.scale, images, generator)
    mirror = torch.where(_uniform(n, 0, 1, images, generator) < a.flip, -1.0, 1.0)
    shift = FRAME_PX / height * 2 * a.shift
    theta = torch.zeros(n, 2, 3, device=images.device)
    theta[:, 0, 0] = zoom * torch.cos(angle) * mirror
    theta[:, 0, 1] = -zoom * torch.sin(angle)
    theta[:, 1, 0] = zoom * torch.sin(angle) * mirror
    theta[:, 1, 1] = zoom * torch.cos(angle)
    theta[:, 0, 2] = _uniform(n, -shift, shift, images, generator)
    theta[:, 1, 2] = _uniform(n, -shift, shift, images, generator)
    grid = F.affine_grid(theta, [n, images.shape[1], size_px, size_px], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _change_light(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    n = len(images)
    if a.gamma:
        exponent = torch.exp(_uniform(n, -a.gamma, a.gamma, images, generator)).view(n, 1, 1, 1)
        images = images.clamp_min(1e-4) ** exponent
    if a.contrast or a.brightness:
        gain = _uniform(n, 1 - a.contrast, 1 + a.contrast, images, generator).view(n, 1, 1, 1)
        offset = _uniform(n, -a.brightness, a.brightness, images, generator).view(n, 1, 1, 1)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * gain + mean + offset
    return images


def _reduce_resolution(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    """The chosen share of the batch in up to four sizes, since one resize call takes one size."""
    count = int(len(images) * a.low_resolution)
    if not count:
        return images
    size_px = images.shape[-1]
    order = torch.randperm(len(images), device=images.device, generator=generator)[:count]
    low, high = (px * size_px / FRAME_PX for px in a.low_resolution_px)
    images = images.clone()
    for part in order.tensor_split(min(4, count)):
        target = round(float(_uniform(1, low, high, images, generator)))
        small = F.interpolate(images[part], (target, target), mode="area")
        images[part] = F.interpolate(small, (size_px, size_px), mode="bilinear", align_corners=False)
    return images


def _add_noise(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    if not a.noise:
        return images
    n = len(images)
    chosen = _uniform(n, 0, 1, images, generator) < a.noise
    sigma = (_uniform(n, 0, a.noise_sigma, images, generator) * chosen).view(n, 1, 1, 1)
    noise = torch.randn(images.shape, device=images.device, generator=generator)
    return images + noise * sigma


def _erase(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    if not a.erasing:
        return images
    n, size_px = len(images), images.shape[-1]
    chosen = _uniform(n, 0, 1, images, generator) < a.erasing
    area = _uniform(n, *a.erasing_area, images, generator)
    aspect = torch.exp(_uniform(n, -0.7, 0.7, images, generator))
    width, height = (area * aspect).sqrt() * size_px, (area / aspect).sqrt() * size_px
    left = _uniform(n, 0, 1, images, generator) * (size_px - width)
    top = _uniform(n, 0, 1, images, generator) * (size_px - height)
    line = torch.arange(size_px, device=images.device)
    columns = (line >= left[:, None]) & (line < (left + width)[:, None])
    rows = (line >= top[:, None]) & (line < (top + height)[:, None])
    hole = (rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]).unsqueeze(1)
    fill = _uniform(n, 0, 1, images, generator).view(n, 1, 1, 1)
    return torch.where(hole, fill, images)

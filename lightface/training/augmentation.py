"""Batched augmentation of aligned crops, on whatever device the crops are.

One call turns stored crops (wider than the network's frame, so that shifts and turns bring real pixels in) into
network input at the wanted resolution. Geometry is one resampling; light, blur, low resolution, noise and erasing
follow. Nothing here waits for the device or depends on what was drawn, so that a GPU is never idle for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lightface.errors import ConfigError
from lightface.frame import FRAME_PX, TRAINING_MARGIN_PX


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strengths. Zero switches one off; `Augmentation.none()` leaves only the crop to the frame.

    The defaults are what LightCNN's authors do, a random crop of 128 pixels out of 144 and a flip.
    Raises ConfigError for a value out of range.
    """

    rotation_degrees: float = 0.0  # uniform in +-
    scale: float = 0.0  # uniform in 1 +-
    shift: float = 0.0625  # share of the frame, uniform in +-, both axes
    flip: float = 0.5  # probability
    contrast: float = 0.0  # uniform in 1 +-
    brightness: float = 0.0  # share of white, uniform in +-
    gamma: float = 0.0  # exponent exp(uniform in +-)
    blur: float = 0.0  # share of the batch
    blur_sigma_px: tuple[float, float] = (0.3, 2.0)  # of the frame; each axis draws its own, as a shaken camera does
    low_resolution: float = 0.0  # share of the batch
    low_resolution_px: tuple[int, int] = (24, 64)  # the frame is reduced to this many pixels and enlarged again
    noise: float = 0.0  # probability
    noise_sigma: float = 0.06  # largest standard deviation, share of white
    erasing: float = 0.0  # probability
    erasing_area: tuple[float, float] = (0.02, 0.15)  # share of the frame

    def __post_init__(self) -> None:
        for name in ("flip", "blur", "low_resolution", "noise", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie in 0..1")
        for name in ("rotation_degrees", "scale", "shift", "contrast", "brightness", "gamma", "noise_sigma"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.scale >= 1:
            raise ConfigError(f"scale is {self.scale}; it must be below 1, or faces would be enlarged without end")
        for name in ("blur_sigma_px", "low_resolution_px", "erasing_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} is {low}, {high}; give the smaller first, and more than 0")

    @classmethod
    def none(cls) -> Augmentation:
        """The crop to the frame, and nothing else."""
        return cls(shift=0, flip=0)


def augment(
    crops: Tensor, *, size_px: int, augmentation: Augmentation, generator: torch.Generator | None = None
) -> Tensor:
    """(N, C, 144, 144) uint8 crops -> (N, C, size_px, size_px) float32 in 0..1.

    The centre 128x128 pixels of a crop are the network's frame; `size_px` is a multiple of 16 up to 128. `generator`
    must live on the crops' device.
    """
    images = _place(crops, size_px, augmentation, generator)
    images = _change_light(images, augmentation, generator)
    images = _blur(images, augmentation, generator)
    images = _reduce_resolution(images, augmentation, generator)
    images = _add_noise(images, augmentation, generator)
    images = _erase(images, augmentation, generator)
    return images.clamp_(0, 1)


def cut_frame(crops: Tensor) -> Tensor:
    """(N, C, 144, 144) uint8 crops -> (N, C, 128, 128) float32 in 0..1: what the network is given in use."""
    frame = slice(TRAINING_MARGIN_PX, TRAINING_MARGIN_PX + FRAME_PX)
    return crops[..., frame, frame].float() / 255


def _uniform(n: int, low: float, high: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, device=like.device, generator=generator) * (high - low) + low


def _place(crops: Tensor, size_px: int, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    n, channels, height, _ = crops.shape
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
    grid = F.affine_grid(theta, [n, channels, size_px, size_px], align_corners=False)
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


def _blur(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    part = _draw_share(images, a.blur, generator)
    if part is None:
        return images
    size_px = images.shape[-1]
    line = torch.arange(size_px, device=images.device)
    squares = (line[:, None] - line[None, :]) ** 2

    def draw_filters() -> Tensor:
        sigma = _uniform(len(part), *a.blur_sigma_px, images, generator) * (size_px / FRAME_PX)
        return torch.softmax(-squares / (2 * sigma.view(-1, 1, 1) ** 2), dim=-1)

    rows, columns = draw_filters(), draw_filters()
    return images.index_copy(0, part, _apply_separable(images[part], rows, columns))


def _reduce_resolution(images: Tensor, a: Augmentation, generator: torch.Generator | None) -> Tensor:
    """Average areas down to a size of each image's own, then enlarge linearly.

    Both are linear in the pixels, so the pair is a (size, size) matrix for each image: sizes can differ within a
    batch, and the host need not know them.
    """
    part = _draw_share(images, a.low_resolution, generator)
    if part is None:
        return images
    size_px = images.shape[-1]
    low, high = (px * size_px / FRAME_PX for px in a.low_resolution_px)
    cells = _uniform(len(part), low, high, images, generator).round().clamp_min(1).view(-1, 1, 1)
    cell = torch.arange(round(high) + 1, device=images.device)
    pixel = torch.arange(size_px, device=images.device)
    edge = cell[:, None] * (size_px / cells)  # where each cell begins, in pixels
    overlap = torch.minimum(edge + size_px / cells, pixel + 1) - torch.maximum(edge, pixel)
    reduce = overlap.clamp_min(0) * (cells / size_px)  # (n, cell, pixel); cells beyond the image's last stay empty
    place = ((pixel + 0.5) * (cells / size_px) - 0.5).clamp_min(0).minimum(cells - 1)  # (n, 1, pixel) in cells
    enlarge = (1 - (place - cell[:, None]).abs()).clamp_min(0).transpose(1, 2)  # (n, pixel, cell)
    filters = enlarge @ reduce
    return images.index_copy(0, part, _apply_separable(images[part], filters, filters))


def _draw_share(images: Tensor, share: float, generator: torch.Generator | None) -> Tensor | None:
    """Which images of the batch; always as many, for their number must not depend on the device."""
    count = round(len(images) * share)
    return torch.randperm(len(images), device=images.device, generator=generator)[:count] if count else None


def _apply_separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (n, C, size, size), filtered along both axes by matrices (n, size, size)."""
    return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


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

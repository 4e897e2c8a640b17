"""LightCNN as its paper draws it, in plain torch: what a user has who loads the published checkpoints elsewhere.

Same layers and state-dict keys as ours; the maximum is taken over the two halves of `torch.split`, nothing is fused,
and images go through as float32 (N, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainMfm(nn.Module):
    def __init__(self, filter: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor) -> Tensor:
        x = self.filter(x)
        first, second = torch.split(x, x.shape[1] // 2, dim=1)
        return torch.max(first, second)


class PlainGroup(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = _conv(in_channels, in_channels, 1)
        self.conv = _conv(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.conv_a(x))
        return out


class PlainResBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.conv2 = _conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x)) + x
        return out


class PlainLightCNN9(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(1, 48, 5),
            nn.MaxPool2d(2, ceil_mode=True),
            PlainGroup(48, 96),
            nn.MaxPool2d(2, ceil_mode=True),
            PlainGroup(96, 192),
            nn.MaxPool2d(2, ceil_mode=True),
            PlainGroup(192, 128),
            PlainGroup(128, 128),
            nn.MaxPool2d(2, ceil_mode=True),
        )
        self.fc1 = PlainMfm(nn.Linear(8 * 8 * 128, 512))

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.fc1(self.features(images).flatten(1))
        return embedding


class PlainLightCNN29v2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv(1, 48, 5)
        self.block1 = _res_blocks(1, 48)
        self.group1 = PlainGroup(48, 96)
        self.block2 = _res_blocks(2, 96)
        self.group2 = PlainGroup(96, 192)
        self.block3 = _res_blocks(3, 192)
        self.group3 = PlainGroup(192, 128)
        self.block4 = _res_blocks(4, 128)
        self.group4 = PlainGroup(128, 128)
        self.fc = nn.Linear(8 * 8 * 128, 256)

    def forward(self, images: Tensor) -> Tensor:
        x = _pool(self.conv1(images))
        x = _pool(self.group1(self.block1(x)))
        x = _pool(self.group2(self.block2(x)))
        x = self.group3(self.block3(x))
        x = _pool(self.group4(self.block4(x)))
        embedding: Tensor = self.fc(x.flatten(1))
        return embedding


PLAIN_NETWORKS = {"lightcnn9": PlainLightCNN9, "lightcnn29v2": PlainLightCNN29v2}


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> PlainMfm:
    return PlainMfm(nn.Conv2d(in_channels, 2 * out_channels, kernel_size, padding=kernel_size // 2))


def _res_blocks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(PlainResBlock(channels) for _ in range(count)))


def _pool(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 2, ceil_mode=True) + nn.functional.avg_pool2d(x, 2, ceil_mode=True)

"""LightCNN-9, -29, -29v2 and -V4, with the state-dict keys of the published checkpoints.

Source: Wu, He, Sun, Tan, "A Light CNN for Deep Face Representation with Noisy Labels", tables I and II, and the
networks that its authors released.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightface.errors import ConfigError
from lightface.frame import EMBEDDING_SIZE, FRAME_PX
from lightface.models.layers import MFM, Group, Padding, Pool, Pooling, ResBlock, conv_mfm, linear_mfm


@dataclass(frozen=True, slots=True)
class Architecture:
    """A member of the family, as its authors released it."""

    name: str
    in_channels: int
    pooling: Pooling


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("lightcnn9", in_channels=1, pooling="max"),
        Architecture("lightcnn29", in_channels=1, pooling="max"),
        Architecture("lightcnn29v2", in_channels=1, pooling="max+avg"),
        Architecture("lightcnnv4", in_channels=3, pooling="max+avg"),
    )
}


@dataclass(frozen=True, slots=True)
class Structure:
    """What may differ from the released networks. The defaults are theirs."""

    pooling: Pooling | None = None  # None: the architecture's own
    padding: Padding = "same"
    inner_dropout: float = 0.0  # of whole channels, after each pooling; in training only
    norm: bool = False  # batch normalisation inside every MFM and of the embedding, for training


class LightCNN(nn.Module):
    """Base of the family: images (N, C, 128, 128), float, in the scale of the weights' contract -> (N, 256).

    The embedding is not scaled to unit length. Another image size is taken too: the last map is then resized to the
    one of 128 px, for the low-resolution part of a training run.
    """

    fc_in_size: tuple[int, int]  # height and width of the last map at 128 px

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        # Without gain and offset of its own: what it learns is the mean, around which cosines tell people apart best.
        self.embedding_norm = nn.BatchNorm1d(EMBEDDING_SIZE, affine=False) if structure.norm else None

    def forward(self, images: Tensor, corner_px: tuple[int, int] | None = None) -> Tensor:
        """`corner_px` (row, column): the images are a window of the frame that begins there, both multiples of 16.

        What lies outside the window is left out of the last map. It needs padding "same".
        """
        maps = self.extract_maps(images)
        if corner_px is not None:
            maps = _place_maps(maps, self.fc_in_size, corner_px)
        elif maps.shape[-2:] != self.fc_in_size:
            maps = nn.functional.interpolate(maps, self.fc_in_size, mode="bilinear", align_corners=False)
        embedding: Tensor = self.embed_maps(maps.flatten(1))
        return embedding if self.embedding_norm is None else self.embedding_norm(embedding)

    def extract_maps(self, images: Tensor) -> Tensor:
        """The last feature maps, (N, 128, h, w)."""
        raise NotImplementedError

    def embed_maps(self, flat_maps: Tensor) -> Tensor:
        """(N, 128 * h * w) -> (N, 256)."""
        raise NotImplementedError

    @property
    def pooled_parts(self) -> list[tuple[nn.Module, nn.Module]]:
        """Each pooling after the part whose maps it is given, which ends in an MFM."""
        raise NotImplementedError

    @property
    def last_filter(self) -> nn.Linear:
        """The linear layer that makes the embedding, in an MFM or plain."""
        raise NotImplementedError

    @torch.no_grad()
    def fold_norms(self) -> None:
        """Merge every batch normalisation into its filter, which leaves a plain LightCNN. Call in evaluation mode."""
        for module in self.modules():
            if isinstance(module, MFM):
                module.fold_norm()
        norm, last = self.embedding_norm, self.last_filter
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            # max(a, b) moves and grows with its two halves, as long as the gain is positive.
            copies = last.out_features // EMBEDDING_SIZE
            gain = torch.rsqrt(norm.running_var + norm.eps).repeat(copies)
            last.bias.copy_((last.bias - norm.running_mean.repeat(copies)) * gain)
            last.weight.mul_(gain[:, None])
            self.embedding_norm = None

    def _measure_maps(self, in_channels: int) -> int:
        """Set `fc_in_size` and return the number of features that the last layer receives."""
        with torch.no_grad():
            was_training = self.training
            self.eval()
            try:
                maps = self.extract_maps(torch.zeros(1, in_channels, FRAME_PX, FRAME_PX))
            except RuntimeError as error:  # torch's word for a kernel larger than its map
                raise ConfigError("this network's maps vanish without padding; use padding same or full") from error
            self.train(was_training)
        self.fc_in_size = (maps.shape[-2], maps.shape[-1])
        return maps[0].numel()


class LightCNN9(LightCNN):
    """Nine convolutions; 5,480,864 parameters."""

    def __init__(self, architecture: Architecture, structure: Structure) -> None:
        super().__init__(structure)
        padding, norm = structure.padding, structure.norm
        pool = _pool_factory(architecture, structure)
        self.features = nn.Sequential(
            conv_mfm(architecture.in_channels, 48, 5, padding=padding, norm=norm),
            pool(),
            Group(48, 96, padding=padding, norm=norm),
            pool(),
            Group(96, 192, padding=padding, norm=norm),
            pool(),
            Group(192, 128, padding=padding, norm=norm),
            Group(128, 128, padding=padding, norm=norm),
            pool(),
        )
        self.fc1 = linear_mfm(self._measure_maps(architecture.in_channels), EMBEDDING_SIZE, norm=norm)

    def extract_maps(self, images: Tensor) -> Tensor:
        maps: Tensor = self.features(images)
        return maps

    def embed_maps(self, flat_maps: Tensor) -> Tensor:
        embedding: Tensor = self.fc1(flat_maps)
        return embedding

    @property
    def pooled_parts(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.features[at - 1], self.features[at]) for at in (1, 3, 5, 8)]

    @property
    def last_filter(self) -> nn.Linear:
        assert isinstance(self.fc1.filter, nn.Linear)
        return self.fc1.filter


class LightCNN29(LightCNN):
    """LightCNN-29 and -29v2, which differ in pooling and in the embedding layer (MFM, plain linear)."""

    def __init__(self, architecture: Architecture, structure: Structure) -> None:
        super().__init__(structure)
        padding, norm = structure.padding, structure.norm
        pool = _pool_factory(architecture, structure)
        self.conv1 = conv_mfm(architecture.in_channels, 48, 5, padding=padding, norm=norm)
        self.block1 = _res_blocks(1, 48, padding=padding, norm=norm)
        self.group1 = Group(48, 96, padding=padding, norm=norm)
        self.block2 = _res_blocks(2, 96, padding=padding, norm=norm)
        self.group2 = Group(96, 192, padding=padding, norm=norm)
        self.block3 = _res_blocks(3, 192, padding=padding, norm=norm)
        self.group3 = Group(192, 128, padding=padding, norm=norm)
        self.block4 = _res_blocks(4, 128, padding=padding, norm=norm)
        self.group4 = Group(128, 128, padding=padding, norm=norm)
        self.pool1, self.pool2, self.pool3, self.pool4 = pool(), pool(), pool(), pool()
        features = self._measure_maps(architecture.in_channels)
        self.fc: nn.Module
        if architecture.name == "lightcnn29":
            self.fc = linear_mfm(features, EMBEDDING_SIZE, norm=norm)
        else:
            self.fc = nn.Linear(features, EMBEDDING_SIZE)

    def extract_maps(self, images: Tensor) -> Tensor:
        x = self.pool1(self.conv1(images))
        x = self.pool2(self.group1(self.block1(x)))
        x = self.pool3(self.group2(self.block2(x)))
        x = self.group3(self.block3(x))
        maps: Tensor = self.pool4(self.group4(self.block4(x)))
        return maps

    def embed_maps(self, flat_maps: Tensor) -> Tensor:
        embedding: Tensor = self.fc(flat_maps)
        return embedding

    @property
    def pooled_parts(self) -> list[tuple[nn.Module, nn.Module]]:
        parts = [self.conv1, self.group1, self.group2, self.group4]
        return list(zip(parts, [self.pool1, self.pool2, self.pool3, self.pool4], strict=True))

    @property
    def last_filter(self) -> nn.Linear:
        last = self.fc.filter if isinstance(self.fc, MFM) else self.fc
        assert isinstance(last, nn.Linear)
        return last


class LightCNNV4(LightCNN):
    """LightCNN-V4: three colour channels, 3x3 throughout, no 1x1 MFMs."""

    def __init__(self, architecture: Architecture, structure: Structure) -> None:
        super().__init__(structure)
        padding, norm = structure.padding, structure.norm
        pool = _pool_factory(architecture, structure)
        self.conv1 = conv_mfm(architecture.in_channels, 48, 3, padding=padding, norm=norm)
        self.block1 = _res_blocks(1, 48, padding=padding, norm=norm)
        self.conv2 = conv_mfm(48, 96, 3, padding=padding, norm=norm)
        self.block2 = _res_blocks(2, 96, padding=padding, norm=norm)
        self.conv3 = conv_mfm(96, 192, 3, padding=padding, norm=norm)
        self.block3 = _res_blocks(3, 192, padding=padding, norm=norm)
        self.conv4 = conv_mfm(192, 128, 3, padding=padding, norm=norm)
        self.block4 = _res_blocks(4, 128, padding=padding, norm=norm)
        self.conv5 = conv_mfm(128, 128, 3, padding=padding, norm=norm)
        self.pool1, self.pool2, self.pool3, self.pool4 = pool(), pool(), pool(), pool()
        self.fc = nn.Linear(self._measure_maps(architecture.in_channels), EMBEDDING_SIZE)

    def extract_maps(self, images: Tensor) -> Tensor:
        x = self.pool1(self.conv1(images))
        x = self.pool2(self.conv2(self.block1(x)))
        x = self.pool3(self.conv3(self.block2(x)))
        x = self.conv4(self.block3(x))
        maps: Tensor = self.pool4(self.conv5(self.block4(x)))
        return maps

    def embed_maps(self, flat_maps: Tensor) -> Tensor:
        embedding: Tensor = self.fc(flat_maps)
        return embedding

    @property
    def pooled_parts(self) -> list[tuple[nn.Module, nn.Module]]:
        parts = [self.conv1, self.conv2, self.conv3, self.conv5]
        return list(zip(parts, [self.pool1, self.pool2, self.pool3, self.pool4], strict=True))

    @property
    def last_filter(self) -> nn.Linear:
        return self.fc


def build_lightcnn(architecture: str, structure: Structure | None = None) -> LightCNN:
    """A network with fresh weights, in training mode.

    `architecture` is a key of `ARCHITECTURES`; KeyError for another. ConfigError when padding "valid" leaves no map.
    Every MFM filter starts with variance 1/fan_in, which keeps the second moment through the maximum of two.
    """
    found = ARCHITECTURES[architecture]
    structure = structure or Structure()
    network: LightCNN
    if found.name == "lightcnn9":
        network = LightCNN9(found, structure)
    elif found.name == "lightcnnv4":
        network = LightCNNV4(found, structure)
    else:
        network = LightCNN29(found, structure)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _place_maps(maps: Tensor, full_size: tuple[int, int], corner_px: tuple[int, int]) -> Tensor:
    """The maps of a window in the maps of the whole frame, which are zero elsewhere."""
    cell_px = FRAME_PX // full_size[0]
    top, left = (pixel // cell_px for pixel in corner_px)
    bottom, right = full_size[0] - top - maps.shape[-2], full_size[1] - left - maps.shape[-1]
    return nn.functional.pad(maps, (left, right, top, bottom))


def _res_blocks(count: int, channels: int, *, padding: Padding, norm: bool) -> nn.Sequential:
    return nn.Sequential(*(ResBlock(channels, padding=padding, norm=norm) for _ in range(count)))


def _pool_factory(architecture: Architecture, structure: Structure) -> Callable[[], nn.Module]:
    kind = architecture.pooling if structure.pooling is None else structure.pooling

    def make() -> nn.Module:
        if structure.inner_dropout:
            return nn.Sequential(Pool(kind), nn.Dropout2d(structure.inner_dropout))
        return Pool(kind)

    return make

"""The building blocks of LightCNN: max-feature-map (MFM), pooling and padding variants.

Source: Wu, He, Sun, Tan, "A Light CNN for Deep Face Representation with Noisy Labels", section III-A.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["max", "avg", "max+avg", "stochastic"]
Padding = Literal["same", "valid", "full"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
PADDINGS: tuple[Padding, ...] = get_args(Padding)


class MFM(nn.Module):
    """MFM 2/1: one filter with twice the output channels, then the elementwise maximum of the two halves.

    With `norm`, batch normalisation stands between the filter and the maximum; it is there for training
    only, and `fold_norm` merges it into the filter without changing the function.
    """

    def __init__(self, filter: nn.Conv2d | nn.Linear, *, norm: bool = False) -> None:
        super().__init__()
        self.filter = filter
        self.norm: nn.Module | None = None
        if norm:
            channels = filter.weight.shape[0]
            self.norm = nn.BatchNorm2d(channels) if isinstance(filter, nn.Conv2d) else nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.filter(x)
        if self.norm is not None:
            x = self.norm(x)
        return max_feature_map(x)

    @torch.no_grad()
    def fold_norm(self) -> None:
        """Merge the batch normalisation (its running statistics) into the filter; exact in evaluation mode."""
        if self.norm is None:
            return
        norm = self.norm
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        assert self.filter.bias is not None
        self.filter.bias.copy_((self.filter.bias - norm.running_mean) * gain + norm.bias)
        self.filter.weight.mul_(gain.reshape(-1, *[1] * (self.filter.weight.dim() - 1)))
        self.norm = None


def conv_mfm(
    in_channels: int, out_channels: int, kernel_size: int, *, padding: Padding = "same", norm: bool = False
) -> MFM:
    """A convolutional MFM: (N, in, H, W) -> (N, out, H', W'), stride 1."""
    margin = {"same": kernel_size // 2, "valid": 0, "full": kernel_size - 1}[padding]
    return MFM(nn.Conv2d(in_channels, 2 * out_channels, kernel_size, padding=margin), norm=norm)


def linear_mfm(in_features: int, out_features: int, *, norm: bool = False) -> MFM:
    """A fully connected MFM: (N, in) -> (N, out)."""
    return MFM(nn.Linear(in_features, 2 * out_features), norm=norm)


class Group(nn.Module):
    """A 1x1 MFM (`conv_a`, in -> in), then a 3x3 MFM (`conv`, in -> out)."""

    def __init__(self, in_channels: int, out_channels: int, *, padding: Padding, norm: bool) -> None:
        super().__init__()
        self.conv_a = conv_mfm(in_channels, in_channels, 1, norm=norm)
        self.conv = conv_mfm(in_channels, out_channels, 3, padding=padding, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.conv_a(x))
        return out


class ResBlock(nn.Module):
    """Two 3x3 MFMs (`conv1`, `conv2`) plus identity; the identity is cropped or padded where the padding needs it."""

    def __init__(self, channels: int, *, padding: Padding, norm: bool) -> None:
        super().__init__()
        self.conv1 = conv_mfm(channels, channels, 3, padding=padding, norm=norm)
        self.conv2 = conv_mfm(channels, channels, 3, padding=padding, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        growth = (out.shape[-1] - x.shape[-1]) // 2
        identity = F.pad(x, [growth] * 4) if growth else x
        return out + identity


class Pool(nn.Module):
    """2x2 pooling with stride 2, the last row and column kept (ceil): (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))."""

    def __init__(self, kind: Pooling = "max") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "max":
            return F.max_pool2d(x, 2, ceil_mode=True)
        if self.kind == "avg":
            return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        if self.kind == "max+avg":
            average = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
            return F.max_pool2d(x, 2, ceil_mode=True) + average
        return _stochastic_pool(x, sample=self.training)

    def extra_repr(self) -> str:
        return self.kind


def max_feature_map(x: Tensor) -> Tensor:
    """The elementwise maximum of the two halves of dimension 1: (N, 2C, ...) -> (N, C, ...)."""
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        out: Tensor = _MaxFeatureMap.apply(x)
        return out
    first, second = x.chunk(2, dim=1)
    return torch.maximum(first, second)


class _MaxFeatureMap(torch.autograd.Function):
    """MFM with a backward pass that only needs the mask of the winner.

    Autograd's own backward of `maximum` compares and divides (ties get half each) and takes 40 % of a training
    step on the CPU; here a tie goes to the first half.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (grad,) = grad_outputs
        (first_wins,) = ctx.saved_tensors
        to_first = grad * first_wins
        return torch.cat([to_first, grad - to_first], dim=1)


def _stochastic_pool(x: Tensor, *, sample: bool) -> Tensor:
    """Zeiler and Fergus 2013: a cell of the window with probability a_i / sum(a); in evaluation the weighted mean.

    Activations of LightCNN can be negative: they get probability 0, and a window without any positive one is
    drawn uniformly.
    """
    height, width = x.shape[-2:]
    x = F.pad(x, [0, width % 2, 0, height % 2], mode="replicate")
    n, channels, height, width = x.shape
    windows = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 1, 2, 4, 3, 5).flatten(-2)
    weights = windows.detach().clamp_min(0)
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, torch.ones_like(weights))
    if not sample:
        return (windows * weights).sum(-1) / weights.sum(-1)
    # Of exponential waiting times at these rates, the shortest is each cell's with its probability. `multinomial` would
    # wait for a GPU, and raise where activations are not finite, before the loss could tell.
    waits = torch.empty_like(weights, dtype=torch.float32).exponential_()
    chosen = (weights / waits).argmax(-1, keepdim=True)
    return windows.gather(-1, chosen).squeeze(-1)

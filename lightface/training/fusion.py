"""Faster training steps on the CPU: batch normalisation, maximum and pooling as one layer.

Much of a step of LightCNN on a CPU is not arithmetic but reading and writing maps. `fuse_layers` exchanges the
layers of a network for ones that compute the same through kernels.cpp, which is built on first use.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightface.errors import ConfigError
from lightface.files import check_own_folder, check_owned, make_folder, read_regular, write_private
from lightface.folders import cache_folder
from lightface.machine import processor_features
from lightface.models.layers import MFM, Pool
from lightface.models.lightcnn import LightCNN

_LANES = 16  # of kernels.cpp: channels, and the columns of the first layer's images, come in multiples of it
_TAPS = 25  # of the first layer's filters
_CELLS = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def fuse_layers(network: LightCNN) -> None:
    """Exchange the convolutional MFMs of a network on the CPU, in place, for fused ones of the same weights and names.

    A max pooling becomes part of the one before it. ConfigError where kernels cannot be built.
    """
    load_library()
    pooled: set[nn.Module] = set()
    pools: set[nn.Module] = set()
    for part, pool in network.pooled_parts:
        if isinstance(pool, Pool) and pool.kind == "max":
            pooled.add([module for module in part.modules() if isinstance(module, MFM)][-1])
            pools.add(pool)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child in pools:
                setattr(parent, name, nn.Identity())
            elif type(child) is MFM and isinstance(child.filter, nn.Conv2d):
                is_first = child in pooled and _is_first(child.filter)
                setattr(parent, name, (FirstMFM if is_first else FusedMFM)(child, pooled=child in pooled))


def _is_first(filter: nn.Conv2d) -> bool:
    """Whether it is what kernels.cpp calls the first layer."""
    return filter.weight.shape == (96, 1, 5, 5) and filter.padding == (2, 2)


class FusedMFM(MFM):
    """A convolutional `MFM`, with the 2x2 max pooling after it where it is `pooled`. In training, its own kernels."""

    def __init__(self, mfm: MFM, *, pooled: bool) -> None:
        super().__init__(mfm.filter)
        self.norm = mfm.norm
        self.pool = Pool("max") if pooled else nn.Identity()
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            out: Tensor = self.pool(super().forward(x))
            return out
        x = self.filter(x).contiguous(memory_format=torch.channels_last)
        pools_here = self.pooled and x.shape[-2] % 2 == x.shape[-1] % 2 == 0  # `Pool` takes sides that are odd
        norm = self.norm
        if norm is None:
            weight, bias, scaled = torch.ones(x.shape[1]), torch.zeros(x.shape[1]), None
        else:
            assert isinstance(norm, nn.BatchNorm2d)
            moments = _measure(x.detach(), norm)
            _remember(moments, norm)
            weight, bias, scaled = norm.weight, norm.bias, moments.scale(norm.eps)
        joined: Tensor = _Join.apply(x, weight, bias, scaled, pools_here)
        if not pools_here:
            joined = self.pool(joined)
        return joined


class FirstMFM(FusedMFM):
    """The pooled MFM of 5x5 filters on grey images, whose answers are never stored."""

    def forward(self, x: Tensor) -> Tensor:
        norm, (height, width) = self.norm, x.shape[-2:]
        if not self.training or height % 2 or width % _LANES:
            return super().forward(x)
        images = x.float().contiguous()
        weight = bias = scaled = taps = None
        if norm is not None:
            assert isinstance(norm, nn.BatchNorm2d)
            taps = _correlate(images)
            moments = taps.answer(self.filter)
            _remember(moments, norm)
            weight, bias, scaled = norm.weight, norm.bias, moments.scale(norm.eps)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        joined: Tensor = _JoinFirst.apply(
            images, self.filter.weight, self.filter.bias, weight, bias, scaled, taps, dtype
        )
        return joined


class _Scaled(NamedTuple):
    """What normalises a channel: (x - mean) * rate."""

    mean: Tensor
    rate: Tensor


class _Moments(NamedTuple):
    """Of each channel over a batch, float64."""

    mean: Tensor
    variance: Tensor
    values: int  # they are of

    def scale(self, eps: float) -> _Scaled:
        return _Scaled(self.mean, torch.rsqrt(self.variance + eps))


def _measure(x: Tensor, norm: nn.BatchNorm2d) -> _Moments:
    images, channels, height, width = x.shape
    sums = torch.zeros(images, 2, channels, dtype=torch.float64)
    assert norm.running_mean is not None
    shift = norm.running_mean.contiguous()  # near the mean, so that the squares stay small
    call(f"add_up_{_CELLS[x.dtype]}", x, images, height * width, channels, shift, sums)
    count = images * height * width
    mean, square = sums.sum(dim=0) / count
    return _Moments(mean + shift, (square - mean.square()).clamp_min(0), count)


@torch.no_grad()
def _remember(moments: _Moments, norm: nn.BatchNorm2d) -> None:
    """Move the running statistics as torch's batch normalisation does."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    unbiased = moments.variance * (moments.values / (moments.values - 1))
    norm.running_mean.lerp_(moments.mean.float(), norm.momentum)
    norm.running_var.lerp_(unbiased.float(), norm.momentum)
    norm.num_batches_tracked += 1


class _Join(torch.autograd.Function):
    """(N, 2C, H, W) -> (N, C, H, W), or (N, C, H/2, W/2) where it `pools`; channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, scaled: _Scaled | None, pools: bool) -> Tensor:
        gain, offset = weight, bias
        if scaled is not None:
            gain = weight * scaled.rate
            offset = bias - scaled.mean * gain
        joined, winners = _empty_outputs(x.shape[0], x.shape[1] // 2, *_halve(x.shape[-2:], pools), x.dtype)
        sizes = _sizes(joined, pools)
        call(f"join_{_CELLS[x.dtype]}", x, gain.float(), offset.float(), *sizes, joined, winners)
        ctx.save_for_backward(x, winners, weight)
        ctx.scaled, ctx.pools = scaled, pools
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, winners, weight = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        cells, sizes = _CELLS[x.dtype], _sizes(gradient, ctx.pools)
        affine = _Affine(weight, torch.zeros_like(weight), torch.zeros_like(weight))
        of_weight = of_bias = None
        if ctx.scaled is not None:
            sums = torch.zeros(x.shape[0], 2, x.shape[1], dtype=torch.float64)
            call(f"add_up_gradients_{cells}", gradient, winners, x, *sizes, sums)
            of_bias, of_product = sums.sum(dim=0)
            affine, of_weight = _differentiate(weight, ctx.scaled, of_bias, of_product, count=x.numel() // x.shape[1])
            of_weight, of_bias = of_weight.float(), of_bias.float()
        of_x = torch.empty_like(x)
        call(f"spread_{cells}", gradient, winners, x, *(part.float() for part in affine), *sizes, of_x)
        return of_x, of_weight, of_bias, None, None


class _Taps(NamedTuple):
    """Sums over all patches of a batch, float64: of two taps' products (25, 25), and of each tap's pixels (25,)."""

    products: Tensor
    pixels: Tensor
    patches: int

    def answer(self, filter: nn.Conv2d | nn.Linear) -> _Moments:
        """The moments of w.p + b, of filter w and patch p: its mean is w.E[p] + b, its variance w'Cov[p]w."""
        assert filter.bias is not None
        filters = filter.weight.detach().reshape(-1, _TAPS).double()
        without_bias = filters @ self.pixels / self.patches
        squares = ((filters @ self.products) * filters).sum(dim=1) / self.patches
        variance = (squares - without_bias.square()).clamp_min(0)
        return _Moments(without_bias + filter.bias.detach().double(), variance, self.patches)


def _correlate(images: Tensor) -> _Taps:
    count, _, height, width = images.shape
    sums = torch.empty(count, _TAPS, _TAPS + 1, dtype=torch.float64)
    call("correlate_taps", images, count, height, width, sums)
    total = sums.sum(dim=0)
    return _Taps(total[:, :-1], total[:, -1], images.numel())


class _JoinFirst(torch.autograd.Function):
    """(N, 1, H, W) float32 images -> (N, 48, H/2, W/2) channels_last; `taps` where batch normalisation is `scaled`."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        filters: Tensor,
        filter_bias: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        scaled: _Scaled | None,
        taps: _Taps | None,
        dtype: torch.dtype,
    ) -> Tensor:
        gain, offset = torch.ones_like(filter_bias), filter_bias
        if scaled is not None:
            assert weight is not None and bias is not None
            gain = weight * scaled.rate
            offset = (filter_bias - scaled.mean) * gain + bias
        kernel = (filters.reshape(-1, _TAPS) * gain[:, None]).T.float().contiguous()
        joined, winners = _empty_outputs(len(images), len(filters) // 2, *_halve(images.shape[-2:], True), dtype)
        call(f"join_first_{_CELLS[dtype]}", images, kernel, offset.float(), *_sizes(joined, True), joined, winners)
        ctx.save_for_backward(images, winners, filters, filter_bias, weight)
        ctx.scaled, ctx.taps = scaled, taps
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """All follows from the sums of the gradient and of gradient * p over the winners, of patches p."""
        images, winners, filters, filter_bias, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        sums = torch.zeros(len(images), _TAPS + 1, len(filters), dtype=torch.float64)
        call(f"add_up_first_{_CELLS[gradient.dtype]}", gradient, winners, images, *_sizes(gradient, True), sums)
        total = sums.sum(dim=0)
        of_filters, of_bias = total[:-1].T, total[-1]
        if ctx.scaled is None:
            return None, of_filters.float().reshape(filters.shape), of_bias.float(), None, None, None, None, None
        flat, taps = filters.reshape(-1, _TAPS).double(), ctx.taps
        of_product = (flat * of_filters).sum(dim=1) + filter_bias * of_bias
        affine, of_weight = _differentiate(weight, ctx.scaled, of_bias, of_product, count=taps.patches)
        answers = flat @ taps.products + filter_bias[:, None] * taps.pixels  # of answer * p over all patches
        slope, tilt, level = (part[:, None] for part in affine)
        of_filters = (slope * of_filters + tilt * answers + level * taps.pixels).float().reshape(filters.shape)
        nothing = torch.zeros_like(filter_bias)  # the mean takes away what the bias adds
        return None, of_filters, nothing, of_weight.float(), of_bias.float(), None, None, None


class _Affine(NamedTuple):
    """The gradient of x: slope * (that of the output, where x won) + tilt * x + level, by channel."""

    slope: Tensor
    tilt: Tensor
    level: Tensor


def _differentiate(
    weight: Tensor, scaled: _Scaled, of_bias: Tensor, of_product: Tensor, *, count: int
) -> tuple[_Affine, Tensor]:
    """Through batch normalisation, by the sums of the gradient and of gradient * x; and the gradient of its weight."""
    of_weight = (of_product - scaled.mean * of_bias) * scaled.rate
    slope = weight * scaled.rate
    tilt = -slope * scaled.rate * of_weight / count
    return _Affine(slope, tilt, -slope * of_bias / count - tilt * scaled.mean), of_weight


def _halve(size: torch.Size, pools: bool) -> tuple[int, int]:
    return (size[0] // 2, size[1] // 2) if pools else (size[0], size[1])


def _empty_outputs(images: int, channels: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    joined = torch.empty(images, channels, height, width, dtype=dtype, memory_format=torch.channels_last)
    return joined, torch.empty(images, height, width, channels, dtype=torch.uint8)


def _sizes(joined: Tensor, pools: bool) -> tuple[int, int, int, int, int]:
    """As the kernels take them."""
    images, channels, height, width = joined.shape
    return images, height, width, channels, 2 if pools else 1


# Builds kernels.cpp with the machine's compiler, once, and calls what is in it.


_SOURCE = Path(__file__).with_name("kernels.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")


def call(kernel: str, *arguments: Tensor | int) -> None:
    """Run a kernel on contiguous CPU tensors, with as many threads as torch uses.

    Its name ends with the type of the activations: see the end of kernels.cpp, whose order the arguments have.
    """
    numbers = [
        ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, Tensor) else ctypes.c_int64(argument)
        for argument in arguments
    ]
    getattr(load_library(), kernel)(*numbers, ctypes.c_int(torch.get_num_threads()))


@cache
def load_library() -> ctypes.CDLL:
    """The kernels, built for this processor unless they are already. ConfigError where that is not possible."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise ConfigError("compile = true needs the compiler g++ on a CPU, and there is none; set compile = false")
    source = _SOURCE.read_bytes()
    made_of = [source, *(text.encode() for text in (compiler, *_FLAGS, processor_features()))]
    folder = cache_folder() / "kernels"
    name = hashlib.sha256(b"|".join(made_of)).hexdigest()[:16]
    try:
        _close_to_others(folder)
        path = _find_built(folder, name) or _build(compiler, folder, name)
        return ctypes.CDLL(str(path))
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or folder}"
        raise ConfigError(f"cannot keep or load kernels ({reason}); set compile = false") from error


def _close_to_others(folder: Path) -> None:
    """See to it that nobody else can put a library there, which would run as ours. OSError where somebody can."""
    make_folder(folder)
    for place in (folder, folder.parent):
        check_own_folder(place)


def _find_built(folder: Path, name: str) -> Path | None:
    """The library that was built of this, if its contents are still those that its name tells."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        check_owned(path)
        if path == folder / _name(name, read_regular(path)):
            return path
    return None


def _name(name: str, built: bytes) -> str:
    return f"{name}-{hashlib.sha256(built).hexdigest()[:32]}.so"


def _build(compiler: str, folder: Path, name: str) -> Path:
    with tempfile.TemporaryDirectory() as workshop:
        result = Path(workshop) / "kernels.so"
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(result)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[:200])
            raise ConfigError(f"{compiler} cannot build the kernels ({reason}); set compile = false")
        built = result.read_bytes()
    path = folder / _name(name, built)
    with write_private(path) as file:
        file.write(built)
    return path

"""MTCNN's three networks behind one seam: pixels go in, plain CPU arrays come out.

The weights are those that the package facenet-pytorch 2.5.3 carries; of it nothing else is used, and nothing is
imported. To run the networks on another backend, replace `MtcnnNetworks`: the cascade knows no more than its methods.

Every layer is a convolution here: a fully connected layer is one as large as its map, and the heads that share their
input are one. All passes have one of three shapes, whatever is searched, because oneDNN spends some milliseconds on a
shape that it has not met; and what a picture yields does not depend on those that pass with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightface.errors import DeviceError, WeightsError
from lightface.machine import DTYPES, usual_precision
from lightface.records import ByteArray, FloatArray

WINDOW_PX = 12  # what P-Net looks at
STRIDE_PX = 2  # and how far its window moves
REFINE_CROP_PX = 24  # what R-Net looks at
LOCATE_CROP_PX = 48  # what O-Net looks at

# Pictures in a pass. A sheet's activations stay in the processor's cache; few crops waste little when most are padding.
_SHEETS_AT_ONCE, _REFINED_AT_ONCE, _LOCATED_AT_ONCE = 1, 32, 8
_TIMES_MORE_ON_A_GPU = 16


class MtcnnNetworks:
    """P-Net, R-Net and O-Net on one device.

    `precision` is fp32, bf16, fp16, or auto, see `usual_precision`. Every method takes (N, H, W, 3) uint8 RGB.
    Scores are probabilities of a face, 0..1. Offsets are the corrections of a box's x_min, y_min, x_max, y_max as
    fractions of its width and height.

    Raises DeviceError for a device or precision that this machine does not have, WeightsError where facenet-pytorch is
    not installed.
    """

    def __init__(self, device: str | torch.device = "cpu", *, precision: str = "auto") -> None:
        try:
            self.device = torch.device(device)
            self.precision = usual_precision(self.device) if precision == "auto" else precision
            place = _Place(self.device, DTYPES[self.precision])
            self._pnet, self._rnet, self._onet = (_load_network(name, place) for name in ("pnet", "rnet", "onet"))
        except (RuntimeError, AssertionError) as error:  # torch raises either for a device it cannot use
            reason = str(error).splitlines()[0]
            raise DeviceError(f"cannot detect faces on device {str(device)!r} ({reason}); use cpu") from error
        except KeyError as error:
            raise DeviceError(f"unknown precision {precision!r}; choose from auto, {', '.join(DTYPES)}") from error

    def propose(self, sheets: ByteArray) -> tuple[FloatArray, FloatArray]:
        """Slide P-Net's 12x12 window, in steps of 2 px, over N sheets.

        Returns (N, rows, columns) scores and (N, rows, columns, 4) offsets, a place for each position of the window.
        """
        found = self._run(self._pnet, sheets, at_once=_SHEETS_AT_ONCE)
        return found[..., 0], found[..., 1:]

    def refine(self, crops: ByteArray) -> tuple[FloatArray, FloatArray]:
        """Judge N crops of 24x24 px with R-Net: (N,) scores, (N, 4) offsets."""
        found = self._run(self._rnet, crops, at_once=_REFINED_AT_ONCE)[:, 0, 0]
        return found[:, 0], found[:, 1:]

    def locate(self, crops: ByteArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Judge N crops of 48x48 px with O-Net: (N,) scores, (N, 4) offsets, (N, 5, 2) landmarks.

        A landmark is x, y as fractions of the crop, in the order of `DetectedFace.landmarks_px`.
        """
        found = self._run(self._onet, crops, at_once=_LOCATED_AT_ONCE)[:, 0, 0]
        # O-Net lists five x, then five y.
        return found[:, 0], found[:, 1:5], found[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1)

    @torch.inference_mode()
    def _run(self, network: _Network, pictures: ByteArray, *, at_once: int) -> FloatArray:
        """(N, rows, columns, channels): the score of a face, then what else the network tells."""
        if self.device.type == "cuda":
            at_once *= _TIMES_MORE_ON_A_GPU
        height, width, channels = network.shape(*pictures.shape[1:3])
        found = np.empty((len(pictures), height, width, channels), np.float32)
        for start in range(0, len(pictures), at_once):
            part = pictures[start : start + at_once]
            if len(part) < at_once:
                padding = np.zeros((at_once - len(part), *part.shape[1:]), np.uint8)
                output = network(np.concatenate([part, padding]))[: len(part)]
            else:
                output = network(part)
            output[:, 0].sigmoid_()
            found[start : start + at_once] = output.permute(0, 2, 3, 1).cpu().numpy()
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and how the networks compute."""

    device: torch.device
    dtype: torch.dtype

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor there; on the CPU in oneDNN's own layout, in which a network takes half the time."""
        tensor = tensor.to(self.device, self.dtype)
        has_onednn = self.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return tensor.to_mkldnn() if has_onednn else tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A convolution, the slopes of its PReLU, and the side of the squares of which the maximum is kept."""

    weight: Tensor
    bias: Tensor
    slopes: Tensor | None = None
    pool: int | None = None

    def convert(self, change: Callable[[Tensor], Tensor]) -> _Layer:
        """The layer with its tensors changed."""
        slopes = None if self.slopes is None else change(self.slopes)
        return _Layer(change(self.weight), change(self.bias), slopes, self.pool)


class _Network:
    """Layers one after another."""

    def __init__(self, layers: list[_Layer], place: _Place) -> None:
        self._kernels = [(layer.weight.shape[-1], layer.pool) for layer in layers]
        self._channels = len(layers[-1].bias)
        self._layers = [layer.convert(place.put) for layer in layers]
        self._place = place

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Rows, columns and channels of what becomes of a picture."""
        for kernel, pool in self._kernels:
            height, width = height - kernel + 1, width - kernel + 1
            if pool is not None:
                height, width = (-(-(side - pool) // 2) + 1 for side in (height, width))
        return height, width, self._channels

    def __call__(self, pictures: ByteArray) -> Tensor:
        """(N, channels, rows, columns) float32 for (N, H, W, 3) uint8."""
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
        # Half precision holds the whole numbers from -128 to 127 as they are.
        flow = self._place.put(pixels.to(self._place.dtype) - 128)
        for layer in self._layers:
            flow = F.conv2d(flow, layer.weight, layer.bias)
            if layer.slopes is not None:
                flow = torch.prelu(flow, layer.slopes)
            if layer.pool is not None:
                flow = F.max_pool2d(flow, layer.pool, stride=2, ceil_mode=True)
        return (flow.to_dense() if flow.is_mkldnn else flow).float()


def _load_network(name: str, place: _Place) -> _Network:
    # Not imported: with it would come torchvision, which takes as long as torch itself.
    package = find_spec("facenet_pytorch")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("the weights of MTCNN come with facenet-pytorch, which is not installed; install it")
    path = Path(package.submodule_search_locations[0], "data", f"{name}.pt")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return _Network(_LAYOUTS[name](state), place)


def _lay_out_pnet(state: dict[str, Tensor]) -> list[_Layer]:
    return [
        *(_take_layer(state, number, pool=pool) for number, pool in ((1, 2), (2, None), (3, None))),
        _take_heads(state, "conv4_1", "conv4_2"),
    ]


def _lay_out_rnet(state: dict[str, Tensor]) -> list[_Layer]:
    return [
        *(_take_layer(state, number, pool=pool) for number, pool in ((1, 3), (2, 3), (3, None))),
        _take_layer(state, 4, kind="dense", map_px=3),
        _take_heads(state, "dense5_1", "dense5_2"),
    ]


def _lay_out_onet(state: dict[str, Tensor]) -> list[_Layer]:
    return [
        *(_take_layer(state, number, pool=pool) for number, pool in ((1, 3), (2, 3), (3, 2), (4, None))),
        _take_layer(state, 5, kind="dense", map_px=3),
        _take_heads(state, "dense6_1", "dense6_2", "dense6_3"),
    ]


_LAYOUTS = {"pnet": _lay_out_pnet, "rnet": _lay_out_rnet, "onet": _lay_out_onet}


def _take_layer(
    state: dict[str, Tensor], number: int, *, kind: str = "conv", pool: int | None = None, map_px: int = 0
) -> _Layer:
    weight, bias = state[f"{kind}{number}.weight"], state[f"{kind}{number}.bias"]
    if kind == "dense":
        # The networks came from a framework that counts columns first.
        weight = weight.reshape(len(weight), map_px, map_px, -1).permute(0, 3, 2, 1)
    if number == 1:
        # They expect (pixel - 127.5) / 128 and get pixel - 128, a whole number.
        bias = bias + weight.sum(dim=(1, 2, 3)) * 0.5 / 128
        weight = weight / 128
    return _Layer(weight.contiguous(), bias, state[f"prelu{number}.weight"], pool)


def _take_heads(state: dict[str, Tensor], judge: str, *others: str) -> _Layer:
    """One layer of what several say. Of the two scores that softmax weighs, only the difference matters."""
    no_face, face = state[f"{judge}.weight"]
    no_face_bias, face_bias = state[f"{judge}.bias"]
    weight = torch.cat([(face - no_face)[None], *(state[f"{other}.weight"] for other in others)])
    bias = torch.cat([(face_bias - no_face_bias)[None], *(state[f"{other}.bias"] for other in others)])
    return _Layer(weight.reshape(len(weight), -1, 1, 1).contiguous(), bias)

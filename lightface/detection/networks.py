"""MTCNN's three networks behind one seam: pixels go in, plain CPU arrays come out.

The networks and their weights are those of facenet-pytorch 2.5.3; nothing else in lightface imports it. To
run them on another backend, replace `MtcnnNetworks`: the cascade knows no more than its methods.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch import ONet, PNet, RNet
from torch import nn

from lightface.errors import DeviceError
from lightface.faces import FloatArray

WINDOW_PX = 12  # what P-Net looks at
STRIDE_PX = 2  # and how far its window moves
REFINE_CROP_PX = 24  # what R-Net looks at
LOCATE_CROP_PX = 48  # what O-Net looks at

# A crowd yields thousands of crops; this many at a time keep the activations under 200 MB.
_CROPS_AT_ONCE = 512


class MtcnnNetworks:
    """P-Net, R-Net and O-Net on one device.

    Every method takes (N, H, W, 3) float32 RGB, 0..255. Scores are probabilities of a face, 0..1. Offsets are
    the corrections of a box's x_min, y_min, x_max, y_max as fractions of its width and height.

    Raises DeviceError for a device that this machine does not have.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        networks = [
            _load_network(PNet(pretrained=False), "pnet.pt"),
            _load_network(RNet(pretrained=False), "rnet.pt"),
            _load_network(ONet(pretrained=False), "onet.pt"),
        ]
        try:
            self.device = torch.device(device)
            self._pnet, self._rnet, self._onet = (network.to(self.device) for network in networks)
        except (RuntimeError, AssertionError) as error:  # torch raises either for a device it cannot use
            reason = str(error).splitlines()[0]
            raise DeviceError(f"cannot detect faces on device {str(device)!r} ({reason}); use cpu") from error

    @torch.inference_mode()
    def propose(self, levels: FloatArray, *, threshold: float) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
        """Slide P-Net's 12x12 window, in steps of 2 px, over N pictures of one size, 12 px or more a side.

        Returns the K windows that score `threshold` or more: (K, 3) int64 picture, row, column in steps;
        (K,) scores; (K, 4) offsets.
        """
        offsets, scores = self._pnet(self._to_input(levels))
        is_face = scores[:, 1] >= threshold
        found = is_face.nonzero(), scores[:, 1][is_face], offsets.permute(0, 2, 3, 1)[is_face]
        windows, scores, offsets = (tensor.cpu().numpy() for tensor in found)
        return windows, scores, offsets

    @torch.inference_mode()
    def refine(self, crops: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Judge N crops of 24x24 px with R-Net: (N,) scores, (N, 4) offsets."""
        if not len(crops):
            return np.empty(0, np.float32), np.empty((0, 4), np.float32)
        offsets, scores = self._judge(self._rnet, crops)
        return scores[:, 1], offsets

    @torch.inference_mode()
    def locate(self, crops: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Judge N crops of 48x48 px with O-Net: (N,) scores, (N, 4) offsets, (N, 5, 2) landmarks.

        A landmark is x, y as fractions of the crop, in the order of `DetectedFace.landmarks_px`.
        """
        if not len(crops):
            return np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32)
        offsets, points, scores = self._judge(self._onet, crops)
        # O-Net lists five x, then five y.
        return scores[:, 1], offsets, points.reshape(-1, 2, 5).transpose(0, 2, 1)

    def _judge(self, network: nn.Module, crops: FloatArray) -> list[FloatArray]:
        parts = [
            network(self._to_input(crops[start : start + _CROPS_AT_ONCE]))
            for start in range(0, len(crops), _CROPS_AT_ONCE)
        ]
        return [torch.cat(output).cpu().numpy() for output in zip(*parts, strict=True)]

    def _to_input(self, pictures: FloatArray) -> torch.Tensor:
        # The permuted view of (N, H, W, 3) is channels_last, in which P-Net runs a third faster on a CPU.
        pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
        return (pixels - 127.5) / 128


def _load_network(network: nn.Module, file_name: str) -> nn.Module:
    with as_file(files("facenet_pytorch") / "data" / file_name) as path:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

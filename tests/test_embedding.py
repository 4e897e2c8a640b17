from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lightface.alignment import accept_aligned, align_face
from lightface.detection import MtcnnDetector
from lightface.embedding import Embedder, resolve_device, to_network_input
from lightface.errors import DeviceError
from lightface.images import decode_photo
from lightface.models.weights import LoadedModel, load_model
from lightface.records import AlignedFace, ByteArray, Frame, InputContract

RESEARCH_CROPS = Path(__file__).parents[1].parent / "shared" / "data" / "dev-00.zip"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model()


@pytest.fixture(scope="module")
def faces() -> list[AlignedFace]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 16, 16, 3), np.uint8)
    return [AlignedFace(np.kron(pixels, np.ones((8, 8, 1), np.uint8)), Frame(), None) for pixels in coarse]


def test_rows_have_unit_length_and_keep_the_order(model: LoadedModel, faces: list[AlignedFace]) -> None:
    embedder = Embedder(model, device="cpu")
    rows = embedder.embed(faces[:3])
    assert rows.shape == (3, 256) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(faces[2::-1]), rows[::-1], atol=1e-5)


def test_no_faces_are_no_rows(model: LoadedModel) -> None:
    assert Embedder(model, device="cpu").embed([]).shape == (0, 256)


def test_the_size_of_the_batch_does_not_matter(model: LoadedModel, faces: list[AlignedFace]) -> None:
    alone = Embedder(model, device="cpu", precision="fp32", batch_size=1).embed(faces[:18])
    together = Embedder(model, device="cpu", precision="fp32", batch_size=16).embed(faces[:18])
    assert (alone * together).sum(1).min() >= 0.99999


@pytest.fixture(scope="module")
def real_crops(detector: MtcnnDetector, grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray) -> list[AlignedFace]:
    """Two portraits, mirrored and dark too; research crops where they lie beside a checkout."""
    portraits = [align_face(rgb, detector.detect(rgb)[0]) for rgb in (grace_hopper_rgb, astronaut_rgb)]
    mirrored = [replace(face, pixels=np.ascontiguousarray(face.pixels[:, ::-1])) for face in portraits]
    dark = [replace(face, pixels=face.pixels // 4) for face in portraits]
    return [*portraits, *mirrored, *dark, *read_research_crops(count=24)]


def read_research_crops(*, count: int) -> list[AlignedFace]:
    if not RESEARCH_CROPS.exists():
        return []
    with zipfile.ZipFile(RESEARCH_CROPS) as shard:
        names = sorted(name for name in shard.namelist() if name.endswith((".png", ".jpg", ".webp")))
        chosen = names[:: len(names) // count][:count]
        crops = [decode_photo(shard.read(name), name=name) for name in chosen]
    return [accept_aligned(crop) for crop in crops]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_embeddings_of_real_faces_stay_near_fp32(
    model: LoadedModel, real_crops: list[AlignedFace], precision: str, flip: bool
) -> None:
    exact = Embedder(model, device="cpu", precision="fp32", flip=flip).embed(real_crops)
    usual = Embedder(model, device="cpu", precision=precision, flip=flip).embed(real_crops)
    assert (exact * usual).sum(1).min() >= 0.999


def test_auto_takes_bf16_where_the_processor_multiplies_it(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for multiplies, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("lightface.machine.multiplies_bf16", lambda answer=multiplies: answer)
        assert Embedder(model, device="cpu").precision == precision


def test_flip_averaging_makes_mirror_images_equal(model: LoadedModel, faces: list[AlignedFace]) -> None:
    mirrored = AlignedFace(np.ascontiguousarray(faces[0].pixels[:, ::-1]), Frame(), None)
    plain, averaged = Embedder(model, device="cpu", flip=False), Embedder(model, device="cpu", flip=True)
    assert averaged.model_id == plain.model_id + "+flip"
    rows = averaged.embed([faces[0], mirrored])
    assert rows[0] @ rows[1] > 0.99999
    rows = plain.embed([faces[0], mirrored])
    assert rows[0] @ rows[1] < 0.999


def test_flip_averaging_is_the_weights_own_unless_told(model: LoadedModel) -> None:
    measured = replace(model.record, flip=True, thresholds={"1e-3": 0.4}, accuracy={"EER": 0.1})
    averaging = LoadedModel(measured, model.network)
    assert Embedder(averaging, device="cpu").record == measured
    assert Embedder(averaging, device="cpu", flip=True).record == measured
    plain = Embedder(averaging, device="cpu", flip=False)
    assert plain.model_id == measured.model_id.removesuffix("+flip")
    # What was measured with flip averaging says nothing of embeddings without it.
    assert plain.record.thresholds == {} and plain.record.accuracy == {}


def test_the_contract_sets_channels_order_and_scale() -> None:
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[..., 0] = 255  # red
    face = AlignedFace(pixels, Frame(), None)
    grey = to_network_input([face], InputContract())
    assert grey.shape == (1, 1, 128, 128) and grey.dtype == np.float32
    assert np.allclose(grey, 76 / 255)  # 0.299 * 255, rounded
    bgr = to_network_input([face], InputContract(channels=3, order="bgr"))
    assert bgr.shape == (1, 3, 128, 128)
    assert bgr[0, :, 0, 0].tolist() == [0, 0, 1]
    rgb = to_network_input([face], InputContract(channels=3, order="rgb", scale=1.0))
    assert rgb[0, :, 0, 0].tolist() == [255, 0, 0]


def test_a_face_in_another_frame_is_refused() -> None:
    face = AlignedFace(np.zeros((128, 128, 3), np.uint8), Frame(eye_row_px=48), None)
    with pytest.raises(ValueError, match="was given to weights for"):
        to_network_input([face], InputContract())


def test_two_embedders_share_a_model_without_disturbing_each_other(
    model: LoadedModel, faces: list[AlignedFace]
) -> None:
    Embedder(model, device="cpu", precision="bf16")
    assert next(model.network.parameters()).is_contiguous()
    assert model.network.state_dict()["features.0.filter.weight"].dtype == torch.float32


def test_the_device_really_used_is_reported(model: LoadedModel) -> None:
    assert Embedder(model, device="cpu").device == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert Embedder(model, device="auto").device.type == best


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", "mps:7", ""])
def test_a_device_that_is_not_there_is_one_clear_error(name: str) -> None:
    with pytest.raises(DeviceError, match="device"):
        resolve_device(name)


def test_precisions_that_do_not_fit_are_refused(model: LoadedModel) -> None:
    with pytest.raises(DeviceError, match="unknown precision 'int8'"):
        Embedder(model, device="cpu", precision="int8")
    with pytest.raises(DeviceError, match="fp16 on the CPU"):
        Embedder(model, device="cpu", precision="fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(model: LoadedModel, faces: list[AlignedFace]) -> None:
    cpu = Embedder(model, device="cpu").embed(faces)
    for precision, least in (("fp32", 0.9999), ("fp16", 0.999), ("bf16", 0.998)):
        cuda = Embedder(model, device="cuda", precision=precision).embed(faces)
        assert (cpu * cuda).sum(1).min() >= least

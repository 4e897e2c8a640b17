from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lightface import doctor
from lightface.doctor import Check, Health, check_installation, draw_golden_face, format_golden, read_golden
from lightface.embedding import Embedder
from lightface.gallery import NewSample, open_gallery
from lightface.models.registry import DEFAULT_WEIGHTS, WeightsRecord, find_weights, list_weights
from lightface.models.weights import load_model


@pytest.fixture(scope="module")
def few_faces() -> Iterator[None]:
    """Parity over a batch of nine, since the tests are about the verdicts."""
    patch = pytest.MonkeyPatch()
    patch.setattr(doctor, "_LARGE_BATCH", 8)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def healthy(few_faces: None) -> list[Check]:
    return list(check_installation(device="cpu"))


def faults(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.health is Health.FAULT]


def test_a_sound_installation_passes(healthy: list[Check]) -> None:
    assert faults(healthy) == []
    names = [check.name for check in healthy]
    figures = ["golden embedding", "parity", "parity", "precision"]
    assert names == ["versions", "device", "weights", "detector", *figures, "gallery"]
    assert f"torch {torch.__version__.split('+')[0]}" in healthy[0].detail


def test_every_shipped_model_has_its_golden_embedding() -> None:
    for record in list_weights():
        golden = read_golden(record)
        assert golden is not None, f"{record.name}: run scripts/make-golden"
        assert golden.shape == (256,)
        assert np.linalg.norm(golden) == pytest.approx(1, abs=1e-5)


def test_the_golden_face_is_the_same_everywhere() -> None:
    pixels = draw_golden_face(find_weights(DEFAULT_WEIGHTS)).pixels
    assert pixels.shape == (128, 128, 3) and pixels.dtype == np.uint8
    assert pixels[40, 64 - 22].tolist() == [50, 40, 40]  # a pupil on the row of the eyes
    assert pixels[88, 64].tolist() == [150, 70, 70]  # the mouth on its row
    assert int(pixels.astype(np.int64).sum()) == 6_253_530


@pytest.fixture
def copied_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsRecord:
    """A copy of the shipped folder, to be spoilt."""
    folder = tmp_path / "weights"
    shutil.copytree(find_weights(DEFAULT_WEIGHTS).file.parent, folder)
    monkeypatch.setattr("lightface.models.registry.shipped_folder", lambda: folder)
    return find_weights(DEFAULT_WEIGHTS)


def test_a_changed_byte_in_the_weights_is_a_fault(copied_weights: WeightsRecord) -> None:
    data = bytearray(copied_weights.file.read_bytes())
    data[-1] ^= 1
    copied_weights.file.write_bytes(data)
    found = faults(list(check_installation(device="cpu")))
    assert [check.name for check in found] == ["weights", "embedding"]
    assert "restore or import it again" in found[0].detail


def test_a_damaged_registry_is_a_fault(copied_weights: WeightsRecord) -> None:
    (copied_weights.file.parent / "registry.toml").write_text("[lightcnn9")
    assert [check.name for check in faults(list(check_installation(device="cpu")))] == ["weights", "embedding"]


def test_an_embedding_unlike_the_golden_one_is_a_fault(copied_weights: WeightsRecord, few_faces: None) -> None:
    other = np.eye(256, dtype=np.float32)[0]
    (copied_weights.file.parent / "golden.toml").write_text(format_golden(copied_weights, other))
    (found,) = faults(list(check_installation(device="cpu")))
    assert found.name == "golden embedding"
    assert "try `device` cpu" in found.remedy


@pytest.mark.parametrize("text", ["", "[lightcnn9]\n", "no toml", '[lightcnn9]\nsha256 = "0"\nembedding = ""\n'])
def test_without_a_golden_embedding_there_is_a_note(copied_weights: WeightsRecord, text: str) -> None:
    (copied_weights.file.parent / "golden.toml").write_text(text)
    assert read_golden(copied_weights) is None


def test_a_golden_embedding_survives_its_file(copied_weights: WeightsRecord) -> None:
    embedding = np.random.default_rng(0).normal(size=256).astype(np.float32)
    (copied_weights.file.parent / "golden.toml").write_text(format_golden(copied_weights, embedding))
    read = read_golden(copied_weights)
    assert read is not None
    np.testing.assert_array_equal(read, embedding)


def test_a_device_that_is_not_there_is_a_fault() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    found = faults(list(check_installation(device="cuda")))
    assert [check.name for check in found] == ["device", "detector", "embedding"]
    assert "use `device` cpu" in found[0].detail


def test_the_gallery_is_looked_over(tmp_path: Path, healthy: list[Check]) -> None:
    record = find_weights(DEFAULT_WEIGHTS)
    path = tmp_path / "g.sqlite"
    sample = NewSample(
        vector=np.eye(256, dtype=np.float32)[0], model_id="other-0", source_path="a.jpg", image_sha256="0" * 64
    )
    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [sample])
    check = doctor._check_gallery(path, record)
    assert check.health is Health.NOTE
    assert "1 person, 1 sample, model other-0" in check.detail
    assert "gallery reembed" in check.remedy
    own = tmp_path / "own.sqlite"
    with open_gallery(own, create=True) as gallery:
        gallery.enroll("Ada", [dataclasses.replace(sample, model_id=record.model_id)])
    assert doctor._check_gallery(own, record).health is Health.OK
    (tmp_path / "text").write_text("hello " * 100)
    found = doctor._check(doctor._check_gallery, tmp_path / "text", record)
    assert (found.name, found.health) == ("gallery", Health.FAULT)


def test_a_precision_far_from_fp32_is_a_fault() -> None:
    exact = Embedder(load_model(), device="cpu", precision="fp32")
    assert doctor._check_precision(exact, exact).health is Health.OK
    # Flip averaging moves an embedding by more than bf16 may.
    other = Embedder(load_model(), device="cpu", precision="fp32", flip=not exact.record.flip)
    found = doctor._check_precision(exact, other)
    assert found.health is Health.FAULT
    assert (
        "auto is fp32" in found.detail
        and found.remedy == "set LIGHTFACE_PRECISION=fp32, or `precision` where a command has it"
    )


def test_parity_that_is_lost_is_a_fault() -> None:
    assert doctor._parity("batches", 0.999995).health is Health.OK
    assert doctor._parity("batches", 0.99998).health is Health.FAULT

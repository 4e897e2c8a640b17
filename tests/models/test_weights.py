from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightface.errors import ChecksumError, WeightsError
from lightface.models.checkpoints import describe
from lightface.models.lightcnn import build_lightcnn
from lightface.models.registry import find_weights, imported_folder, register_weights, verify_weights
from lightface.models.weights import load_model, read_state, write_weights


def test_the_shipped_weights_load_and_are_plain_lightcnn() -> None:
    model = load_model()
    assert not model.network.training
    assert model.network.state_dict().keys() == build_lightcnn("lightcnn9").state_dict().keys()
    assert {tensor.dtype for tensor in read_state(model.record.file).values()} == {torch.float16}
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    shipped = find_weights("lightcnn9")
    data = bytearray(shipped.file.read_bytes())
    data[-1] ^= 1
    imported_folder().mkdir(parents=True)
    file = imported_folder() / "changed.safetensors"
    file.write_bytes(data)
    register_weights(replace(shipped, name="changed", file=file), imported_folder())
    with pytest.raises(ChecksumError, match=r"is not the file that was registered as 'changed'"):
        load_model("changed")
    verify_weights(shipped)


def test_a_missing_file_is_one_clear_error() -> None:
    register_weights(replace(find_weights("lightcnn9"), name="gone"), imported_folder())
    with pytest.raises(WeightsError, match="cannot read the weights"):
        load_model("gone")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 4).half(), "b": torch.arange(5)}
    record = find_weights("lightcnn9")
    sha256 = write_weights(tmp_path / "w.safetensors", state, describe(record))
    verify_weights(replace(record, file=tmp_path / "w.safetensors", sha256=sha256))
    read = read_state(tmp_path / "w.safetensors")
    assert torch.equal(read["a"], state["a"]) and torch.equal(read["b"], state["b"])


def test_a_record_of_an_unknown_network_is_refused() -> None:
    file = imported_folder() / "new.safetensors"
    sha256 = write_weights(file, {"a": torch.zeros(1)}, {})
    record = replace(find_weights("lightcnn9"), name="new", file=file, sha256=sha256, pooling="unheard")
    register_weights(record, imported_folder())
    with pytest.raises(WeightsError, match="does not know"):
        load_model("new")

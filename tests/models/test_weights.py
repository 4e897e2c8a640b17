from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lightface.errors import CheckpointError, ChecksumError, WeightsError
from lightface.models.lightcnn import ARCHITECTURES, build_lightcnn
from lightface.models.registry import find_weights, imported_folder, list_weights, register_weights, verify_weights
from lightface.models.weights import describe, import_checkpoint, load_model, read_checkpoint, read_state, write_weights


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


CLASSIFIERS = {"lightcnn9": (79077, True), "lightcnn29": (79077, True), "lightcnn29v2": (80013, False)}


def upstream_file(path: Path, state: dict[str, Tensor], *, old_format: bool = False, **extra: Any) -> Path:
    content = {"epoch": 80, "arch": "LightCNN", "prec1": 98.7, **extra}
    content["state_dict"] = {f"module.{key}": value for key, value in state.items()}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    return path


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_upstream_checkpoint_is_recognised_and_keeps_its_forward_pass(
    tmp_path: Path, architecture: str, old_format: bool
) -> None:
    torch.manual_seed(0)
    network = build_lightcnn(architecture).eval()
    state = dict(network.state_dict())
    if architecture in CLASSIFIERS:
        classes, has_bias = CLASSIFIERS[architecture]
        state["fc2.weight"] = torch.zeros(1, 1).expand(classes, 256).contiguous()
        if has_bias:
            state["fc2.bias"] = torch.zeros(classes)
    path = upstream_file(tmp_path / "LightCNN_checkpoint.pth.tar", state, old_format=old_format, optimizer={"lr": 0.1})

    record = import_checkpoint(path, name="theirs")

    assert record.architecture == architecture
    assert record.contract.order == ("bgr" if architecture == "lightcnnv4" else "grey")
    model = load_model("theirs")
    images = torch.rand(2, ARCHITECTURES[architecture].in_channels, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(model.network(images), network(images), rtol=1e-5, atol=1e-5)


def test_a_bare_state_dict_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(build_lightcnn("lightcnn9").state_dict(), path)
    assert import_checkpoint(path, name="bare").architecture == "lightcnn9"
    assert "bare" in [record.name for record in list_weights()]


def test_an_exported_file_brings_its_record_along(tmp_path: Path) -> None:
    state = build_lightcnn("lightcnn9").state_dict()
    bare = tmp_path / "bare.safetensors"
    save_file(state, bare)
    record, _ = read_checkpoint(bare, name="mine")
    described = describe(record) | {"another tool's": "note"}
    write_weights(tmp_path / "exported.safetensors", state, described)
    imported = import_checkpoint(tmp_path / "exported.safetensors", name="mine")
    assert imported.training_data == "imported from bare.safetensors"
    assert imported.contract == record.contract


def test_figures_are_believed_of_the_very_tensors_only(tmp_path: Path) -> None:
    state = dict(build_lightcnn("lightcnn9").state_dict())
    record = replace(find_weights("lightcnn9"), thresholds={"1e-3": 0.4}, accuracy={"EER": 0.1})
    path = tmp_path / "w.safetensors"
    write_weights(path, state, describe(record))
    assert import_checkpoint(path, name="whole").thresholds == {"1e-3": 0.4}
    data = bytearray(path.read_bytes())
    data[-2] ^= 1  # one bit of one number
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="was changed since it was written"):
        import_checkpoint(path, name="changed")
    save_file(state, path, metadata=describe(record))  # nothing proves that the figures are of these
    unproven = import_checkpoint(path, name="unproven")
    assert (unproven.thresholds, unproven.accuracy, unproven.licence) == ({}, {}, record.licence)


def test_imported_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(build_lightcnn("lightcnn9").state_dict(), path)
    record = import_checkpoint(path, name="private")
    assert record.file.stat().st_mode & 0o777 == 0o600
    assert imported_folder().stat().st_mode & 0o777 == 0o700


def test_what_does_not_fit_is_refused_with_the_offending_keys(tmp_path: Path) -> None:
    state = dict(build_lightcnn("lightcnn9").state_dict())
    del state["features.4.conv.filter.bias"]
    state["features.2.conv.filter.weight"] = torch.zeros(192, 48, 5, 5)
    state["features.9.extra"] = torch.zeros(1)
    state["fc1.filter.bias"] = torch.full((512,), torch.nan)
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(upstream_file(tmp_path / "odd.pth.tar", state), name="odd")
    message = str(caught.value)
    assert "features.4.conv.filter.bias is missing" in message
    assert "features.2.conv.filter.weight is (192, 48, 5, 5), not (192, 48, 3, 3)" in message
    assert "features.9.extra is unexpected" in message
    assert "fc1.filter.bias has values that are not finite" in message
    assert not (imported_folder() / "odd.safetensors").exists()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("reached",)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": {"module.a": x}}])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: Any, wrap: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(wrap(Payload()), "evil.pth.tar")
    (tmp_path / "plain.pth.tar").write_bytes(pickle.dumps(wrap(Payload())))
    for name in ("evil.pth.tar", "plain.pth.tar"):
        with pytest.raises(CheckpointError, match="no checkpoint that can be read safely"):
            import_checkpoint(Path(name), name="evil")
    assert not (tmp_path / "reached").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken zip", b"\x80\x02}q\x00."])
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, content: bytes) -> None:
    for suffix in (".pth.tar", ".safetensors"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            import_checkpoint(path, name="x")
        assert "\n" not in str(caught.value)


def test_another_network_is_refused_by_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"layer1.0.conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"none of lightcnn9.*layer1\.0\.conv1\.weight"):
        import_checkpoint(path, name="resnet")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(CheckpointError, match="is not a file"):
            import_checkpoint(path, name="x")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(build_lightcnn("lightcnn9").state_dict(), path)
    import_checkpoint(path, name="once")
    for name in ("once", "lightcnn9"):
        with pytest.raises(WeightsError, match="exist already"):
            import_checkpoint(path, name=name)
    for name in ("", "../up", "a b", ".hidden"):
        with pytest.raises(WeightsError, match="is no name"):
            import_checkpoint(path, name=name)

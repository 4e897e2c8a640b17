"""The record of which embeddings are nobody's: packed, read back, and refused where it is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from lightface.errors import CheckpointError, WeightsError
from lightface.models.lightcnn import build_lightcnn
from lightface.models.recognisability import Recognisability
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights, imported_folder, register_weights, shipped_folder
from lightface.models.weights import describe, import_checkpoint, write_weights


def make(size: int = 256) -> Recognisability:
    """Two families: the first looks at the first number, the second at the second."""
    return Recognisability.pack(np.eye(2, size, dtype=np.float32) * 4, np.array([-1.0, -1.0], np.float32))


def test_the_lowest_family_counts_and_a_share_is_between_0_and_1() -> None:
    rows = np.zeros((4, 256), np.float32)
    rows[:, :2] = [(0.7, 0.7), (0.7, 0.3), (0.2, 0.7), (0.7, -0.7)]
    np.testing.assert_allclose(make().measure(rows), [1, 0.2, 0, 0], atol=1e-3)
    assert make().measure(np.zeros((0, 256), np.float32)).shape == (0,)
    assert make().embedding_size == 256 and make(8).embedding_size == 8


def test_one_is_told_from_another() -> None:
    other = replace(make(), offsets=(0.0, 0.0))
    assert make() == make() and make().digest == make().digest
    assert other != make() and other.digest != make().digest


def test_it_survives_the_registry() -> None:
    record = replace(
        find_weights(DEFAULT_WEIGHTS),
        name="mine",
        file=imported_folder() / "mine.safetensors",
        recognisability=make(),
    )
    register_weights(record, imported_folder())
    assert find_weights("mine") == record
    register_weights(replace(record, recognisability=None), imported_folder())
    assert find_weights("mine").recognisability is None


def test_a_registry_from_before_is_read() -> None:
    """As lightface wrote it until it knew of recognisability."""
    text = (shipped_folder() / "registry.toml").read_text()
    old = text[: text.index("[lightcnn9.recognisability]")].replace("[lightcnn9", "[old")
    imported_folder().mkdir(parents=True)
    (imported_folder() / "registry.toml").write_text(old)
    assert find_weights("old").recognisability is None
    assert find_weights("old").thresholds == find_weights(DEFAULT_WEIGHTS).thresholds


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('directions = "', 'directions = "!!'),  # no base64
        ('directions = "', 'directions = "AAAA'),  # fits no number of families
        ("offsets = [", 'offsets = ["x",'),
        ("offsets = [", "offsets = [nan,"),
        ("offsets = [", "unheard = 1\noffsets = ["),
    ],
)
def test_a_damaged_one_is_one_clear_error(right: str, wrong: str) -> None:
    record = replace(find_weights(DEFAULT_WEIGHTS), name="mine", recognisability=make())
    register_weights(record, imported_folder())
    registry = imported_folder() / "registry.toml"
    registry.write_text(registry.read_text().replace(right, wrong))
    with pytest.raises(WeightsError, match=r"the record \[mine\] is damaged"):
        find_weights("mine")


def test_one_for_other_embeddings_is_refused() -> None:
    with pytest.raises(ValueError, match="256 numbers"):
        replace(find_weights(DEFAULT_WEIGHTS), recognisability=make(128))


def test_exported_weights_bring_it_along_with_the_proof_that_it_is_theirs(tmp_path: Path) -> None:
    state = dict(build_lightcnn("lightcnn9").state_dict())
    record = replace(find_weights(DEFAULT_WEIGHTS), recognisability=make())
    path = tmp_path / "w.safetensors"
    write_weights(path, state, describe(record))
    assert import_checkpoint(path, name="proven").recognisability == make()
    save_file(state, path, metadata=describe(record))
    assert import_checkpoint(path, name="unproven").recognisability is None
    damaged = {key: text.replace('"offsets": [', '"offsets": ["x", ') for key, text in describe(record).items()}
    write_weights(path, state, damaged)
    with pytest.raises(CheckpointError, match="damaged description"):
        import_checkpoint(path, name="damaged")


def test_the_shipped_weights_have_it_and_are_the_same_as_ever() -> None:
    """Galleries belong to these bytes."""
    record = find_weights(DEFAULT_WEIGHTS)
    assert record.recognisability is not None
    assert record.model_id == "lightcnn9-ba1f0cdb94be+flip"

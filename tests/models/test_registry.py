from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightface.errors import OutputError, WeightsError
from lightface.models.registry import (
    DEFAULT_WEIGHTS,
    find_weights,
    imported_folder,
    list_weights,
    register_weights,
    shipped_folder,
    write_model_file,
)


def test_the_default_weights_are_shipped_with_all_that_users_need() -> None:
    record = find_weights(DEFAULT_WEIGHTS)
    assert record.architecture == "lightcnn9"
    assert record.file == shipped_folder() / "lightcnn9.safetensors"
    assert record.contract.frame.eye_row_px == 40
    assert 0 < record.thresholds["1e-2"] < record.thresholds["1e-3"] < 1
    assert record.licence and record.training_data and record.accuracy
    assert "Licence" in record.read_card()


def test_shipped_files_stay_small() -> None:
    limits = {"lightcnn9": 12e6, "lightcnn29v2": 22e6}
    for record in list_weights():
        assert record.file.stat().st_size <= limits[record.architecture]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"unknown weights 'resnet'; choose from: .*lightcnn9"):
        find_weights("resnet")


def test_a_record_survives_the_file() -> None:
    record = replace(
        find_weights(DEFAULT_WEIGHTS), name="other", file=imported_folder() / "o.safetensors", thresholds={}, card=""
    )
    register_weights(record, imported_folder())
    assert find_weights("other") == record
    register_weights(replace(record, licence="changed"), imported_folder())
    assert find_weights("other").licence == "changed"
    assert [known.name for known in list_weights()].count("other") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "cannot read the registry"),
        ("[x]\nunheard = 1\n", "unknown key 'unheard'"),
        ("[x]\nfile = 'a'\n", "damaged"),
        ("x = 3\n", "damaged"),
    ],
)
def test_a_damaged_registry_is_one_clear_error(text: str, message: str) -> None:
    imported_folder().mkdir(parents=True)
    (imported_folder() / "registry.toml").write_text(text)
    with pytest.raises(WeightsError, match=message):
        list_weights()


def test_a_file_never_lies_outside_the_registrys_folder(tmp_path: Path) -> None:
    record = replace(find_weights(DEFAULT_WEIGHTS), name="away", file=tmp_path / "away.safetensors")
    register_weights(record, imported_folder())
    text = (imported_folder() / "registry.toml").read_text().replace("away.safetensors", "../../../etc/passwd")
    (imported_folder() / "registry.toml").write_text(text)
    assert find_weights("away").file == imported_folder() / "passwd"


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_model_file(tmp_path / "file" / "registry.toml", b"")

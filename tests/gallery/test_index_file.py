"""The file of an index comes back as it was written, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from lightface.gallery.index import Codes, encode
from lightface.gallery.index_file import IndexSource, read_index, write_index

SOURCE = IndexSource("made in a test", 12, "2026-01-01 abc")
SHAPE = (50, 16)


@pytest.fixture
def codes() -> Codes:
    rows = np.random.default_rng(0).normal(size=SHAPE)
    return encode(np.arange(100, 150), (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


@pytest.fixture
def path(codes: Codes, tmp_path: Path) -> Path:
    path = tmp_path / "index"
    cut = [slice(0, 20), slice(20, 21), slice(21, 50)]
    write_index(
        path,
        SOURCE,
        SHAPE,
        (Codes(codes.person_ids[part], codes.values[part], codes.steps[part], codes.errors[part]) for part in cut),
    )
    return path


def test_codes_come_back_as_they_were(path: Path, codes: Codes) -> None:
    read = read_index(path)
    assert read is not None
    source, found = read
    assert source == SOURCE
    for name in ("person_ids", "values", "steps", "errors"):
        array, expected = getattr(found, name), getattr(codes, name)
        assert np.array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_only_its_owner_may_read_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_any_changed_byte_is_noticed_or_changes_nothing(path: Path, codes: Codes) -> None:
    data, rng = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = data.copy()
        place = rng.integers(0, len(data) if rng.random() < 0.5 else 600)
        damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged.tobytes())
        read = read_index(path)
        if read is None or read[0] != SOURCE:
            refused += 1
        else:
            assert all(
                np.array_equal(getattr(read[1], name), getattr(codes, name)) for name in ("person_ids", "values")
            )
    assert refused > 200


def test_a_cut_or_unfinished_file_is_no_index(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for length in (0, 5, 100, 4095, 4096, 5000, len(data) - 1):
        path.write_bytes(data[:length])
        assert read_index(path) is None
    path.write_bytes(b"\0" * 4096 + data[4096:])
    assert read_index(path) is None
    assert read_index(tmp_path / "missing") is None
    assert read_index(tmp_path) is None


def test_a_failure_leaves_no_file(tmp_path: Path, codes: Codes) -> None:
    def break_off() -> object:
        yield codes
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        write_index(tmp_path / "index", SOURCE, SHAPE, break_off())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []

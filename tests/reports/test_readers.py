"""A table comes back as the rows that were written; what is no face table is told in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import TableError
from lightface.faces import Status
from lightface.remote import to_path
from lightface.reports import TABLE_SUFFIXES, FaceRow, holds_parts, read_faces, write_faces

EMBEDDING = np.linspace(-1, 1, 256, dtype=np.float32) / np.float32(np.sqrt(86))
EMBEDDING = (EMBEDDING / np.linalg.norm(EMBEDDING)).astype(np.float32)


@pytest.fixture
def rows() -> list[FaceRow]:
    landmarks = np.array([[10.5, 20], [30.25, 20], [20, 30], [12, 40], [28, 40.125]], np.float32)
    face = FaceRow(
        image_path=Path("/photos/früh, neu.jpg"),
        face_index=0,
        bbox=(1.5, 2.0, 101.5, 142.0),
        landmarks=landmarks,
        det_score=0.998,
        quality=0.75,
        embedding=EMBEDDING,
        model_id="tiny-0123",
        person_id=7,
        person_name='Ada, "Countess"\nof Löwenstein',
        similarity=0.625,
        threshold=0.4,
        status=Status.MATCHED,
    )
    plain = FaceRow(
        image_path=Path("b.png"), face_index=1, embedding=EMBEDDING, model_id="tiny-0123", status=Status.EMBEDDED
    )
    return [face, plain, FaceRow(image_path=Path("broken.jpg"), status=Status.ERROR, error="invalid_image")]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_what_was_written_comes_back(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / f"faces{suffix}"
    write_faces(path, rows)
    found = read_faces(path)
    assert len(found) == 3
    for one, written in zip(found, rows, strict=True):
        for name in FaceRow.__dataclass_fields__:
            value, expected = getattr(one, name), getattr(written, name)
            if name in ("embedding", "landmarks") and expected is not None:
                assert value.dtype == np.float32 and np.array_equal(value, expected)
            else:
                assert value == expected, name


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    write_faces(tmp_path / f"none{suffix}", [])
    assert read_faces(tmp_path / f"none{suffix}") == []


@pytest.fixture(params=["here", "by URL"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, rows: list[FaceRow]) -> Iterator[Path]:
    """A folder with the rows in three parts, one of them the hundred-thousandth, and the mark that they are all."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for row, name in zip(rows, ("faces-00000", "faces-99999", "faces-100000"), strict=True):
        write_faces(folder / f"{name}.parquet", [row])
    (folder / "_SUCCESS").touch()
    (folder / "faces.parquet.old").write_text("not a part")
    yield folder if request.param == "here" else to_path(f"local://{folder}/")


def test_a_table_in_parts(parts: Path, rows: list[FaceRow]) -> None:
    assert [row.image_path for row in read_faces(parts)] == [row.image_path for row in rows]


def test_parts_without_their_mark_are_no_table(parts: Path, tmp_path: Path) -> None:
    assert not holds_parts(tmp_path) and not holds_parts(tmp_path / "missing") and holds_parts(parts)
    (tmp_path / "faces" / "_SUCCESS").unlink()
    with pytest.raises(TableError, match="is not complete; wait for 'lightface embed', or run it again"):
        read_faces(parts)
    (tmp_path / "other").mkdir()
    with pytest.raises(TableError, match=r"there is no face table in .*other"):
        read_faces(tmp_path / "other")


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_by_url(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    write_faces(tmp_path / f"faces{suffix}", rows)
    url = f"local://{tmp_path}/faces{suffix}"
    assert [row.image_path for row in read_faces(to_path(url))] == [row.image_path for row in rows]
    with pytest.raises(TableError, match=r"cannot read 'local://.*missing.*; give a table"):
        read_faces(to_path(f"local://{tmp_path}/missing{suffix}"))


def test_columns_of_other_programs_are_passed_over_and_most_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    cells = {"image_path": "a.jpg", "embedding": EMBEDDING.tolist(), "model_id": "m", "camera": "Leica"}
    path.write_text(json.dumps(cells) + "\n\n")
    (row,) = read_faces(path)
    assert (row.image_path, row.status, row.bbox, row.face_index) == (Path("a.jpg"), Status.EMBEDDED, None, None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"embedding": [1.0, 2.0]}, "face 1: embedding is not 256 numbers"),
        ({"embedding": [2.0] * 256}, "face 1: the embedding has not length 1"),
        ({"embedding": [float("nan")] * 256}, "embedding is not 256 numbers"),
        ({"embedding": ["a"] * 256}, "face 1: could not convert"),
        ({"model_id": None}, "face 1: an embedding without model_id"),
        ({"image_path": None}, "face 1: there is no image_path"),
        ({"image_path": 3}, "face 1: image_path is 3, no text"),
        ({"bbox": [1, 2, 3]}, "face 1: bbox is not 4 numbers"),
        ({"landmarks": [[1, 2]]}, "face 1: landmarks is not 5 x 2 numbers"),
        ({"face_index": "first"}, "face 1: could not convert"),
        ({"quality": float("inf")}, "face 1: quality is inf"),
        ({"status": "fine"}, "face 1: 'fine' is not a valid Status"),
    ],
)
def test_a_cell_that_does_not_belong_there(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    path = tmp_path / "faces.jsonl"
    cells = {"image_path": "a.jpg", "embedding": EMBEDDING.tolist(), "model_id": "m"}
    path.write_text(json.dumps({**cells, **changes}) + "\n")
    with pytest.raises(TableError, match=complaint):
        read_faces(path)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe rubbish", b'{"a": 1}\n', b"a,b\n1,2\n", b"[[[["])
def test_what_is_no_face_table(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"faces{suffix}"
    path.write_bytes(data)
    if suffix == ".jsonl" and not data:
        return  # a table without rows
    with pytest.raises(TableError, match=r"faces\.") as caught:
        read_faces(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_cut_short_is_refused(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / f"faces{suffix}"
    write_faces(path, rows[:2])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(TableError):
        read_faces(path)


def test_missing_files_and_unknown_suffixes(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        read_faces(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"it would end in one of .parquet, .csv, .jsonl, .npz"):
        read_faces(tmp_path / "faces.xlsx")


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_in_a_file_whose_name_is_no_text(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n" + suffix.encode())
    write_faces(path, rows)
    assert [row.image_path for row in read_faces(path)] == [row.image_path for row in rows]

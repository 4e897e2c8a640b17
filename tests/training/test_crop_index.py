from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightface.errors import TrainingError
from lightface.training.crop_index import CropEntry, find_index, read_index

HEADER = "row,shard,name,split,source,identity\n"


def write(folder: Path, rows: str) -> Path:
    path = folder / "index.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    return path


def test_rows_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path, "0,a.zip,1.webp,train,web,\n1,sub/b.tar,x/2.webp,dev,film,Zoë\n")
    assert read_index(path) == [
        CropEntry(tmp_path / "a.zip", "1.webp", "", "train", "web"),
        CropEntry(tmp_path / "sub/b.tar", "x/2.webp", "Zoë", "dev", "film"),
    ]
    assert read_index(path)[1].place == "b.tar/x/2.webp"


def test_parquet_says_the_same(tmp_path: Path) -> None:
    table = pa.table({"shard": ["a.zip", "a.zip"], "name": ["1.png", "2.png"], "identity": [7280, None]})
    pq.write_table(table, tmp_path / "index.parquet")
    assert find_index(tmp_path) == tmp_path / "index.parquet"
    assert [entry.identity for entry in read_index(tmp_path / "index.parquet")] == ["7280", ""]


def test_a_folder_without_index(tmp_path: Path) -> None:
    assert find_index(tmp_path) is None


@pytest.mark.parametrize("name", ["../1.png", "/etc/passwd", "a/../../b", "..\\b", "a\0b"])
@pytest.mark.parametrize("column", ["shard", "name"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str, column: str) -> None:
    values = {"shard": "a.zip", "name": "1.png"} | {column: name}
    pq.write_table(pa.table({key: [value] for key, value in values.items()}), tmp_path / "index.parquet")
    with pytest.raises(TrainingError, match=r"row 0 names .* which leaves its folder"):
        read_index(tmp_path / "index.parquet")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "lists no crops"),
        ("0,a.zip,,train,,\n", "row 0 has no 'name'"),
        ("0,a.zip,1.png,test,,\n", "row 0 has the split 'test'; use train, dev or nothing"),
    ],
)
def test_what_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_index(write(tmp_path, rows))


def test_damaged_files(tmp_path: Path) -> None:
    for name in ("index.csv", "index.parquet"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00broken")
        with pytest.raises(TrainingError, match="cannot read the index"):
            read_index(tmp_path / name)

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightface.crops import CropEntry, ShardReader, find_index, read_index
from lightface.errors import ImageError, TrainingError

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


@pytest.fixture
def reader() -> Iterator[ShardReader]:
    with ShardReader() as shards:
        yield shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as shard:
        shard.writestr("x/1.png", b"zipped")
        shard.writestr("huge.png", b"\0" * (5 << 20))
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name, data in (("x/1.png", b"tarred"), ("huge.png", b"\0" * (5 << 20))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        directory = tarfile.TarInfo("x")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
    (tmp_path / "plain.png").write_bytes(b"plain")
    return tmp_path


def test_members_and_files(folder: Path, reader: ShardReader) -> None:
    assert reader.read(folder / "a.zip", "x/1.png") == b"zipped"
    assert reader.read(folder / "b.tar", "x/1.png") == b"tarred"
    assert reader.read(folder / "plain.png", None) == b"plain"


@pytest.mark.parametrize(
    ("file", "member", "message"),
    [
        ("a.zip", "2.png", "a.zip has no member '2.png'"),
        ("b.tar", "2.png", "b.tar has no member '2.png'"),
        ("a.zip", "huge.png", "too many for a picture"),
        ("b.tar", "huge.png", "too many for a picture"),
        ("b.tar", "link.png", "b.tar has no member 'link.png'"),
        ("b.tar", "x", "is no file"),
        ("missing.png", None, "cannot read"),
    ],
)
def test_a_member_that_cannot_be_had_is_an_image_error(
    folder: Path, reader: ShardReader, file: str, member: str | None, message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        reader.read(folder / file, member)


def test_a_damaged_member(folder: Path, reader: ShardReader) -> None:
    data = bytearray((folder / "a.zip").read_bytes())
    start = data.index(b"x/1.png") + len("x/1.png")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    (folder / "a.zip").write_bytes(data)
    with pytest.raises(ImageError, match="cannot read"):
        reader.read(folder / "a.zip", "x/1.png")


@pytest.mark.parametrize("name", ["none.zip", "none.tar", "broken.zip", "broken.tar"])
def test_a_shard_that_is_none_stops_everything(tmp_path: Path, reader: ShardReader, name: str) -> None:
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"no archive" * 100)
    with pytest.raises(TrainingError, match="cannot open the shard"):
        reader.read(tmp_path / name, "1.png")

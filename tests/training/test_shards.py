from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightface.errors import ImageError, TrainingError
from lightface.training.shards import ShardReader


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
        ("a.zip", "huge.png", "too many for a crop"),
        ("b.tar", "huge.png", "too many for a crop"),
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

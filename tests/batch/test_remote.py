"""Photographs and tables by URL: the rows of files, and one line for a place that does not do what is asked of it."""

from __future__ import annotations

import io
import pickle
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from stand_ins import MeanEmbedder, make_pipeline
from typer.testing import CliRunner

from lightface.batch import embed_folder, journal_path
from lightface.batch import output as batch_output
from lightface.cli.main import app
from lightface.errors import ConfigError, ImageError, OutputError, RemoteError, TableError
from lightface.images import load_photo
from lightface.locations import RemotePath
from lightface.tables import read_faces


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """What lies in memory, by a driver that fails at it as a test has it."""

    protocol = "faulty"
    store = MemoryFileSystem.store
    pseudo_dirs = MemoryFileSystem.pseudo_dirs
    faults: dict[str, BaseException] = {}  # noqa: RUF012  # name of a method -> what it raises
    count = 0  # how many reads succeed before faults begin

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "memory://")))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._try("ls", path, detail=detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        return self._try("info", path, **options)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return self._try("open", path, mode, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> Any:
        return self._try("put_file", lpath, rpath, **options)

    def _try(self, name: str, *arguments: Any, **options: Any) -> Any:
        if name in self.faults and FaultyFileSystem.count <= 0:
            raise self.faults[name]
        FaultyFileSystem.count -= name == "open"
        return getattr(super(), name)(*arguments, **options)


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)


@pytest.fixture
def bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder in memory, with a hidden file; reads that fail are tried again at once."""
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/bucket/", recursive=True)
    memory.put_file(str(folder / "a.png"), "/bucket/.thumbs/a.png")
    memory.pipe("/bucket/notes.txt", b"no photograph")
    monkeypatch.setattr("lightface.locations._PAUSES_S", (0, 0))
    FaultyFileSystem.faults, FaultyFileSystem.count = {}, 0
    yield "memory://bucket"
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def embed(place: str, output: Path | str, **options: Any) -> Any:
    return embed_folder(make_pipeline(MeanEmbedder()), [place], output, **options)


def test_the_rows_are_those_of_files(bucket: str, folder: Path, tmp_path: Path) -> None:
    summary = embed(bucket, tmp_path / "remote.parquet")
    embed(str(folder), tmp_path / "local.parquet")
    assert (summary.embedded, summary.failed) == (3, 2)
    expected = [
        {**row, "image_path": row["image_path"].replace(str(folder), bucket)}
        for row in pq.read_table(tmp_path / "local.parquet").to_pylist()
    ]
    assert pq.read_table(tmp_path / "remote.parquet").to_pylist() == expected


def test_a_second_run_does_what_is_new_or_changed(bucket: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "faces.csv"
    embed(f"{bucket}/", output)
    memory = fsspec.filesystem("memory")
    memory.put_file(str(folder / "b.png"), "/bucket/a.png")
    memory.put_file(str(folder / "b.png"), "/bucket/c.png")
    memory.rm("/bucket/below", recursive=True)
    summary = embed(bucket, output)
    assert (summary.embedded, summary.failed, summary.unchanged, summary.removed) == (2, 1, 2, 1)
    assert embed(bucket, output, recursive=False).embedded == 0
    assert embed(f"{bucket}/notes.txt", tmp_path / "notes.csv").failed == 1  # named outright


@pytest.mark.parametrize("place", ["memory://tables/faces/", "here/"])
def test_a_table_in_parts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_output, "_ROWS_A_PART", 2)
    memory, written = fsspec.filesystem("memory"), tmp_path / "here"

    def read_parts() -> list[str]:
        if place.startswith("memory"):
            memory.get(f"{place}", f"{written}/", recursive=True)
        return [path.name for path in sorted(written.iterdir())]

    embed(bucket, tmp_path / "whole.parquet")
    embed(bucket, place)
    assert read_parts() == ["_SUCCESS", *(f"faces-0000{number}.parquet" for number in range(3))]
    assert ds.dataset(written).to_table().equals(pq.read_table(tmp_path / "whole.parquet"))
    assert {path.parent.name for path in tmp_path.rglob("*.journal")} >= {tmp_path.name}
    assert stat.S_IMODE(journal_path(place).stat().st_mode) == 0o600
    if not place.startswith("memory"):
        assert {stat.S_IMODE(path.stat().st_mode) for path in written.iterdir()} == {0o600}
    # Fewer rows leave no part of the earlier table behind.
    with pytest.raises(
        OutputError, match=r"has photographs that are still there, but not named now, as .*/b.png; name"
    ):
        embed(f"{bucket}/a.png", place)
    assert embed(f"{bucket}/a.png", place, drop_others=True).removed == 4
    if place.startswith("memory"):
        assert memory.ls("/tables/faces", detail=False) == [
            "/tables/faces/_SUCCESS",
            "/tables/faces/faces-00000.parquet",
        ]
    else:
        assert read_parts() == ["_SUCCESS", "faces-00000.parquet"]


def test_a_table_by_url(bucket: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    embed(bucket, "memory://tables/faces.parquet")
    whole = memory.cat("/tables/faces.parquet")
    embed(bucket, tmp_path / "faces.parquet")
    assert whole == (tmp_path / "faces.parquet").read_bytes()
    memory.rm("/tables/faces.parquet")  # it is missed, and written again
    assert embed(bucket, "memory://tables/faces.parquet").embedded == 0
    assert memory.cat("/tables/faces.parquet") == whole
    with pytest.raises(OutputError, match="end its name in"):
        embed(bucket, "memory://tables/faces.xlsx")


def test_a_lost_connection_ends_the_run_and_the_next_one_goes_on(bucket: str, tmp_path: Path) -> None:
    place, output = bucket.replace("memory", "faulty"), tmp_path / "faces.parquet"
    lost = ConnectionResetError("the connection was reset\nby peer")
    FaultyFileSystem.faults, FaultyFileSystem.count = {"open": lost, "info": lost}, 2
    with pytest.raises(RemoteError, match="cannot read 'faulty://bucket/") as caught:
        embed(place, output, batch_size=1)
    assert "\n" not in str(caught.value)
    assert not output.exists()
    FaultyFileSystem.faults = {}
    summary = embed(place, output)
    assert 1 <= summary.unchanged <= 2
    assert summary.faces_in_output == 4
    embed(place, tmp_path / "undisturbed.parquet")
    assert pq.read_table(output).equals(pq.read_table(tmp_path / "undisturbed.parquet"))


def test_what_is_wrong_with_one_photograph_is_told_of_it_alone(bucket: str, tmp_path: Path) -> None:
    place = bucket.replace("memory", "faulty")
    for fault, reason in (
        (ValueError("archived"), "invalid_image"),
        (PermissionError("denied"), "invalid_image"),
        (FileNotFoundError("gone"), "missing_file"),
    ):
        FaultyFileSystem.faults = {"open": fault}
        assert embed(place, tmp_path / "faces.csv").failures_in_output == {reason: 5}
    FaultyFileSystem.faults = {}
    assert embed(place, tmp_path / "faces.csv").faces_in_output == 4


class EndlessFile(io.RawIOBase):
    """What a place sends that never stops: whoever asks for all of it would get an end of memory."""

    sent = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= 1 << 20, "all of it was asked for"
        EndlessFile.sent += size
        return bytes(size)


def test_what_never_ends_is_told_of_it_alone(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph whose place says that it has 12 bytes, and a table; neither is asked for again."""
    monkeypatch.setattr("lightface.files.MOST_BYTES", 5_000_000)  # a gibibyte takes seconds
    monkeypatch.setattr(FaultyFileSystem, "open", lambda *_, **__: EndlessFile())
    monkeypatch.setattr(FaultyFileSystem, "cat_file", lambda system, path: system.open(path).read(), raising=False)
    monkeypatch.setattr(EndlessFile, "sent", 0)
    photo = RemotePath("faulty://bucket/a.png", stamp="12:etag")
    with pytest.raises(ImageError, match=r"cannot read 'faulty://bucket/a\.png' \(it has more than 0\.0 GB\)"):
        load_photo(photo)
    with pytest.raises(TableError, match=r"faulty://bucket/faces\.parquet.*it has more than 0\.0 GB"):
        list(read_faces("faulty://bucket/faces.parquet"))
    assert EndlessFile.sent < 2 * 7_000_000


def test_a_table_that_cannot_be_written_costs_no_photograph(bucket: str) -> None:
    output = "faulty://tables/faces/"
    FaultyFileSystem.faults = {"put_file": PermissionError("Access Denied")}
    with pytest.raises(RemoteError, match=r"cannot write .*Access Denied"):
        embed(bucket, output)
    FaultyFileSystem.faults = {}
    assert embed(bucket, output).unchanged == 4


@pytest.mark.parametrize(
    ("place", "fault", "told"),
    [
        ("memory://nothing", None, "cannot read 'memory://nothing' (it does not exist)"),
        ("faulty://bucket", PermissionError("Access Denied"), "cannot read 'faulty://bucket' (Access Denied)"),
        ("faulty://bucket", TimeoutError(), "cannot read 'faulty://bucket' (TimeoutError)"),
        ("nosuch://bucket", None, "nosuch:// needs a driver of fsspec: Protocol not known: nosuch"),
        ("sftp://clerk:secret@host/photos", None, "a URL with a password"),
    ],
)
def test_an_unreadable_bucket_is_one_line(
    bucket: str, tmp_path: Path, place: str, fault: BaseException | None, told: str
) -> None:
    if fault is not None:
        FaultyFileSystem.faults = {"ls": fault}
    result = CliRunner().invoke(app, ["embed", place, "-o", str(tmp_path / "faces.csv")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"lightface: {told}")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.output


def test_a_missing_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match="Install s3fs"):
        embed("s3://bucket/photos", tmp_path / "faces.csv")


def test_options_of_ray_without_ray_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightface.batch.ray_engine", None)
    arguments = ["embed", str(tmp_path), "-o", str(tmp_path / "faces.csv")]
    for options, told in ((["--engine", "ray"], "pip install ray"), (["--ray-gpus", "0.5"], "--engine ray")):
        result = CliRunner().invoke(app, [*arguments, *options])
        assert result.exit_code == 2
        assert told in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_url_is_a_path_to_whoever_shows_it() -> None:
    path = RemotePath("s3://bucket/a//b c.jpg", stamp="12:etag")
    assert str(path) == f"{path}" == "s3://bucket/a//b c.jpg"
    assert (path.name, path.suffix, path.size_bytes) == ("b c.jpg", ".jpg", 12)
    assert path != RemotePath("s3://bucket/a/b c.jpg")
    twin = pickle.loads(pickle.dumps(path))
    assert (twin, twin.stamp, {path: 1}[twin]) == (path, "12:etag", 1)

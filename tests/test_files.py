"""Files are written whole or not at all, and only their owner may read them."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightface.batch.journal import Journal
from lightface.errors import GalleryError, LightfaceError, OutputError
from lightface.evaluation.cache import EmbeddingCache
from lightface.files import (
    _sweep,
    check_owned,
    make_folder,
    open_regular,
    open_text,
    read_regular,
    touch_private,
    write_private,
)
from lightface.gallery.keys import make_key_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, data: bytes) -> None:
    with write_private(path) as file:
        file.write(data)


def test_a_file_is_its_owners_whatever_lay_there_before(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600
    assert os.listdir(tmp_path) == ["faces.csv"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_stops_half_way_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(b"old")
    with pytest.raises(error), write_private(path) as file:
        file.write(b"new")
        file.flush()
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["faces.csv"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    link.symlink_to("elsewhere/target")
    write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert mode_of(target) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link"]


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is a folder or a device"):
        write(pipe, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["missing/file", "n" * 300, "folder"])
def test_an_impossible_place_is_the_systems_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(b"old")
    program = f"""
import resource, signal
from pathlib import Path
from lightface.files import write_private
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with write_private(Path({str(path)!r})) as file:
        file.write(bytes(5000))
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["faces.csv"]


def test_touch_makes_a_private_file_and_keeps_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    touch_private(path)
    assert mode_of(path) == 0o600
    path.write_bytes(b"kept")
    touch_private(path)
    assert path.read_bytes() == b"kept"


WRITE = """if True:
    import os, signal, sys
    from pathlib import Path
    from lightface.files import write_private
    with write_private(Path(sys.argv[1])) as file:
        file.write(b"faces" * int(sys.argv[2]))
        file.flush()
        print(flush=True)
        sys.stdin.readline()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("faces", [0, 10_000])
def test_what_a_killed_process_was_writing_is_deleted_by_the_next_but_not_while_it_lives(
    tmp_path: Path, faces: int
) -> None:
    command: list[str | Path] = [sys.executable, "-c", WRITE, tmp_path / "faces.csv", str(faces)]
    other = "from pathlib import Path\nfrom lightface.files import write_private\n"
    other += f"with write_private(Path({str(tmp_path / 'other.csv')!r})) as file:\n    file.write(b'x')\n"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        subprocess.run([sys.executable, "-c", other], check=True)
        assert len(list(tmp_path.glob(".lightface-*.partial"))) == 1
        writer.communicate(b"\n")
    assert len(list(tmp_path.glob(".lightface-*.partial"))) == 1
    subprocess.run([sys.executable, "-c", other], check=True)
    assert os.listdir(tmp_path) == ["other.csv"]


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
def test_what_is_about_to_be_renamed_is_not_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.replace

    def sweep_and_rename(partial: str, target: str) -> None:
        _sweep.__wrapped__(str(tmp_path))  # as another process may at any moment
        rename(partial, target)

    monkeypatch.setattr(os, "replace", sweep_and_rename)
    write(tmp_path / "faces.csv", b"new")
    assert os.listdir(tmp_path) == ["faces.csv"]


# --- what others put into a shared folder ------------------------------------------------------------

PROGRAM_SECONDS = 300  # after which a test that waits for a pipe has failed


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Give a file, or a link, to another user."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345, follow_symlinks=False)
        else:  # then everything is another user's
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    return give


@pytest.mark.skipif(os.name != "posix", reason="needs owners")
@pytest.mark.parametrize("name", ["gallery", "gallery-wal", "gallery-shm", "gallery-journal"])
def test_what_another_user_put_there_is_refused(tmp_path: Path, stranger: Callable[[Path], None], name: str) -> None:
    tmp_path.chmod(0o1777)
    check_owned(tmp_path / "gallery")  # nothing is there
    (tmp_path / "gallery").write_bytes(b"")
    (tmp_path / name).write_bytes(b"planted")
    check_owned(tmp_path / "gallery")
    stranger(tmp_path / name)
    with pytest.raises(PermissionError, match="another user put it there; delete it"):
        check_owned(tmp_path / "gallery")


@pytest.mark.skipif(os.name != "posix", reason="needs owners")
def test_a_link_that_another_user_made_is_not_followed(tmp_path: Path, stranger: Callable[[Path], None]) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    check_owned(tmp_path / "link")
    stranger(tmp_path / "link")
    for refuse in (check_owned, lambda path: write(path, b"new")):
        with pytest.raises(PermissionError, match="another user put it there"):
            refuse(tmp_path / "link")
    assert (tmp_path / "target").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to give files away")
def test_the_files_of_a_folders_owner_are_fine_where_nobody_else_writes(tmp_path: Path) -> None:
    folder = tmp_path / "bound into a container"
    folder.mkdir(mode=0o755)
    (folder / "gallery").write_bytes(b"")
    for path in (folder, folder / "gallery"):
        os.chown(path, 12345, 12345)
    check_owned(folder / "gallery")
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        check_owned(folder / "gallery")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_planted_pipe_blocks_nobody_who_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lightface-x.partial")
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / ".lightface-y.partial").symlink_to(tmp_path / "kept")
    program = f"""if True:
        from pathlib import Path
        from lightface.files import write_private
        with write_private(Path({str(tmp_path / "faces.csv")!r})) as file:
            file.write(b"faces")
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PROGRAM_SECONDS)
    assert (tmp_path / "faces.csv").read_bytes() == b"faces"
    assert (tmp_path / "kept").read_bytes() == b"kept"


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"contents"
    assert open_text(tmp_path / "file").read() == "contents"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))
        for name in ("pipe", "endless", "socket"):
            with pytest.raises(OSError, match="not a regular file"):
                open_regular(tmp_path / name)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nowhere")


@pytest.mark.skipif(os.name != "posix", reason="needs owners")
def test_journals_caches_and_keys_of_another_user_are_not_believed(
    tmp_path: Path, stranger: Callable[[Path], None]
) -> None:
    tmp_path.chmod(0o1777)
    key = make_key_file(tmp_path / "key")
    Journal(tmp_path / "journal").close()
    with EmbeddingCache(tmp_path / "cache"):
        pass
    opened: dict[str, tuple[type[LightfaceError], Callable[[], object]]] = {
        "key": (GalleryError, key.read),
        "journal": (OutputError, lambda: Journal(tmp_path / "journal")),
        "cache": (OutputError, lambda: EmbeddingCache(tmp_path / "cache")),
    }
    for name, (kind, open_it) in opened.items():
        stranger(tmp_path / name)
        with pytest.raises(kind, match="another user put it there"):
            open_it()


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_pipe_is_no_journal_and_no_cache(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for open_it in (Journal, EmbeddingCache):
        with pytest.raises(OutputError, match="a pipe or a device"):
            open_it(tmp_path / "pipe")


def test_folders_that_are_made_are_their_owners_with_those_above(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3
    make_folder(tmp_path / "a" / "b")  # as it is
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "folder")


# --- power cuts --------------------------------------------------------------------------------------


def test_the_folder_of_a_new_file_is_flushed_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, list[str]]] = []
    flush = os.fsync

    def record(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), os.listdir(tmp_path)))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write(tmp_path / "faces.csv", b"new")
    assert flushed[-1] == (str(tmp_path), ["faces.csv"])
    touch_private(tmp_path / "gallery")
    assert flushed[-1][0] == str(tmp_path) and "gallery" in flushed[-1][1]


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])
def test_a_folder_that_cannot_be_flushed_is_told_where_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    flush = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    write(tmp_path / "faces.csv", b"new")
    assert (tmp_path / "faces.csv").read_bytes() == b"new"
    assert ("may lose it in a power cut" in caplog.text) == (number == errno.EIO)
    if number == errno.EIO:
        with pytest.raises(GalleryError, match="Input/output error"):
            make_key_file(tmp_path / "key")
    else:
        make_key_file(tmp_path / "key")

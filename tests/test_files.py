"""Files are written whole or not at all, and only their owner may read them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lightface.files import _sweep, touch_private, write_private


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
    command = [sys.executable, "-c", WRITE, tmp_path / "faces.csv", str(faces)]
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

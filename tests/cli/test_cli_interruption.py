"""What is finished is kept: Ctrl-C and a full disk in the middle of real commands, in processes of their own."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lightface.gallery import open_gallery

COMMAND = [sys.executable, "-m", "lightface.cli.main"]

INTERRUPTED = "lightface: interrupted; what was finished is kept, and the same command goes on from there\n"

# Slows the embedding down, so that there is a middle in which to interrupt.
SLOWLY = [
    sys.executable,
    "-c",
    "import sys, time\n"
    "from lightface.embedding import Embedder\n"
    "embed = Embedder.embed\n"
    "def slowly(self, faces):\n"
    "    vectors = embed(self, faces)\n"
    "    time.sleep(1)\n"
    "    return vectors\n"
    "Embedder.embed = slowly\n"
    "from lightface.cli.main import run\n"
    "run()\n",
]


@pytest.fixture
def photos(tmp_path: Path, grace_hopper_path: Path) -> Path:
    """Twenty-four photographs of one person: the same picture, told apart by a byte at the end."""
    folder = tmp_path / "photos"
    folder.mkdir()
    data = grace_hopper_path.read_bytes()
    for number in range(24):
        (folder / f"{number:02}.jpg").write_bytes(data + bytes([number]))
    return folder


def interrupt_when(ready: Callable[[], bool], command: list[str], *, deadline_s: float = 600) -> tuple[int, str, str]:
    """Run a command, press Ctrl-C once `ready`, and return its exit code, stdout and stderr."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + deadline_s
    while not ready() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=deadline_s)
    return process.returncode, stdout, stderr


def count_enrolled(path: Path) -> int:
    if not path.exists():
        return 0
    with open_gallery(path, create=True) as gallery:
        return gallery.stats().sample_count


@pytest.mark.slow
def test_ctrl_c_in_enroll_keeps_what_was_enrolled(tmp_path: Path, photos: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    arguments = ["enroll", "Grace Hopper", str(photos), "--gallery", str(gallery)]
    status, stdout, stderr = interrupt_when(lambda: count_enrolled(gallery) > 0, [*SLOWLY, *arguments])
    assert (status, stderr) == (2, INTERRUPTED)
    kept = count_enrolled(gallery)
    assert 0 < kept < 24
    told = [line.split()[-1] for line in stdout.splitlines()[1:]]
    assert told == [str(photos / f"{number:02}.jpg") for number in range(kept)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.endswith(
        f"enrolled {24 - kept} of 24 photographs; {kept} {'was' if kept == 1 else 'were'} enrolled already, 0 refused\n"
    )


@pytest.mark.slow
def test_ctrl_c_in_embed_keeps_what_was_embedded(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "faces.csv"
    journal = tmp_path / "faces.csv.journal"
    arguments = ["embed", str(photos), "-o", str(output), "--batch-size", "4"]

    def has_begun() -> bool:
        return journal.exists() and sum(path.stat().st_size for path in tmp_path.glob("faces.csv.journal*")) > 40_000

    status, _, stderr = interrupt_when(has_begun, [*SLOWLY, *arguments])
    assert (status, stderr) == (2, INTERRUPTED)
    assert not output.exists()  # no half-written table
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    embedded = int(done.stderr.split()[1])
    assert 0 < embedded < 24
    assert f"; {24 - embedded} unchanged" in done.stderr
    assert output.read_text(encoding="utf-8").count("\n") == 25


def fill_disk_at(size: int) -> Callable[[], None]:
    """As a disk that is full: in the process to come, writes beyond `size` bytes of a file fail."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.slow
@pytest.mark.parametrize("room", [20_000, 100_000])  # for the journal; for that, but not for the table of 130 kB
def test_a_full_disk_leaves_the_old_table(tmp_path: Path, photos: Path, room: int) -> None:
    output = tmp_path / "faces.csv"
    output.write_text("the table of yesterday")
    done = subprocess.run(
        [*COMMAND, "embed", str(photos), "-o", str(output), "-q"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=fill_disk_at(room),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lightface: ") and done.stderr.count("\n") == 1, done.stderr
    assert output.read_text() == "the table of yesterday"
    assert not list(tmp_path.glob(".lightface-*"))


def test_a_full_disk_in_enroll_is_told_in_one_line(tmp_path: Path, grace_hopper_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "enroll", "Ada", str(grace_hopper_path), "--gallery", str(tmp_path / "g.sqlite")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=fill_disk_at(1000),
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("lightface: ") and done.stderr.count("\n") == 1, done.stderr


def test_weights_with_a_changed_byte_are_refused(tmp_path: Path, grace_hopper_path: Path) -> None:
    from lightface.models.registry import shipped_folder

    folder = tmp_path / "weights"
    shutil.copytree(shipped_folder(), folder)
    (file,) = folder.glob("lightcnn9.safetensors")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    program = (
        "import pathlib, lightface.models.registry as registry\n"
        f"registry.shipped_folder = lambda: pathlib.Path({str(folder)!r})\n"
        "from lightface.cli.main import run\nrun()\n"
    )
    command = [sys.executable, "-c", program, "verify", str(grace_hopper_path), str(grace_hopper_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not the file that was registered as 'lightcnn9'" in done.stderr and done.stderr.count("\n") == 1

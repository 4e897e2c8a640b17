"""How the program ends: whatever happens, one line on stderr and a code that is true. A crash never says 1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line

PROGRAM = "from lightface.cli.__main__ import run; run()"


def run(script: str, *arguments: str, shell: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script of Python in a process of its own; `shell` has redirections and limits around `"$@"`."""
    command = ["/bin/sh", "-c", shell or '"$@"', "sh", sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def assert_trouble(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("lightface: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


# --- streams ----------------------------------------------------------------------------------------


def test_a_closed_stdout_is_told() -> None:
    done = run(PROGRAM, "models", "list", shell='"$@" >&-')
    assert_trouble(done, "cannot write the result (Bad file descriptor); check where stdout goes")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["models", "list"], ["--help"], ["--version"], ["embed", "--help"]])
def test_a_full_stdout_is_told(arguments: list[str]) -> None:
    assert_trouble(
        run(PROGRAM, *arguments, shell='"$@" >/dev/full'), "cannot write the result (No space left on device)"
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-", "2>&- <&-"])
def test_without_stderr_or_stdin_the_answer_and_its_code_are_the_same(redirection: str) -> None:
    done = run(PROGRAM, "models", "list", shell=f'"$@" {redirection}')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run(PROGRAM, "models", "list").stdout != ""
    refused = run(PROGRAM, "models", "info", "none", shell=f'"$@" {redirection}')
    assert (refused.returncode, refused.stdout) == (2, "")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    script = (
        "from lightface.cli import program\n"
        "def start():\n"
        "    with open('mine.txt', 'w') as file:\n"
        "        print('a result', flush=True)\n"
        "        assert file.fileno() > 2\n"
        "program.run(start)\n"
    )
    assert_trouble(run(script, shell='"$@" >&-', cwd=tmp_path), "cannot write the result")
    assert run(script, shell='"$@" >&- 2>&- <&-', cwd=tmp_path).returncode == 2
    assert (tmp_path / "mine.txt").read_text() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_an_answer_that_cannot_be_written_is_none() -> None:
    script = "import sys\nfrom lightface.cli import program\nprogram.run(lambda: (print('different'), sys.exit(1)))"
    assert_trouble(run(script, shell='"$@" >/dev/full'), "cannot write the result")


# --- crashes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("first\nsecond"), "a fault in lightface (RuntimeError: first second); --verbose shows where"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory"),
        (MemoryError(), "there is not enough memory (MemoryError); close other programs"),
        (RecursionError("maximum recursion depth exceeded"), "a fault in lightface (RecursionError"),
        (ImportError("libx.so: failed to map segment from shared object"), "not enough memory"),
        (ModuleNotFoundError("No module named 'cv2'"), "the installation is not whole (No module named 'cv2'); run"),
        (AssertionError(), "a fault in lightface (AssertionError: )"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),  # from which typer makes exit code 1
        (FileNotFoundError(2, "No such file or directory", "a\nb"), "'a\\nb' (No such file or directory)"),
        (EOFError("no data left"), "a fault in lightface (EOFError: no data left)"),
        (SystemError("error return without exception set"), "SystemError"),
    ],
)
def test_a_crash_says_2_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("lightface.models.registry.list_weights", fail)
    assert_one_line(cli("models", "list"), words)


def test_verbose_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.models.registry.list_weights", lambda: 1 // 0)
    result = cli("models", "list", "--verbose")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr and "1 // 0" in result.stderr


@pytest.mark.parametrize("module", ["typer", "rich.console", "platformdirs"])
def test_a_library_that_cannot_be_imported_is_told(module: str) -> None:
    done = run(f"import sys; sys.modules[{module!r}] = None; {PROGRAM}", "models", "list")
    assert_trouble(done, "the installation is not whole", module.split(".")[0])


def test_a_library_that_ends_the_process_does_not_say_1() -> None:
    """OpenBLAS and OpenMP call exit(1) where there is no memory or no thread to be had."""
    script = "import ctypes; from lightface.cli import program; program.run(lambda: ctypes.CDLL(None).exit(1))"
    assert run(script).returncode == 2


@pytest.mark.parametrize(("raised", "code"), [("SystemExit", 0), ("SystemExit(0)", 0), ("SystemExit(1)", 1)])
def test_answers_keep_their_codes_and_what_is_registered_for_the_end_is_done(raised: str, code: int) -> None:
    script = (
        "import atexit\n"
        "from lightface.cli import program\n"
        "atexit.register(print, 'at the end')\n"
        "def start():\n"
        "    print('an answer')\n"
        f"    raise {raised}\n"
        "program.run(start)\n"
    )
    done = run(script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "an answer\nat the end\n", "")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("KeyboardInterrupt", "interrupted; nothing was changed"),
        ("SystemExit('not here')", "not here"),
        ("MemoryError", "there is not enough memory"),
        ("BaseException('what')", "a fault in lightface (BaseException: what)"),
    ],
)
def test_what_is_raised_outside_of_a_command(raised: str, words: str) -> None:
    script = f"from lightface.cli import program\ndef start():\n    raise {raised}\nprogram.run(start)"
    assert_trouble(run(script), words)


def test_a_thread_that_fails_prints_no_traceback() -> None:
    script = (
        "import sys, threading\n"
        "from lightface.cli import program\n"
        "def start():\n"
        "    thread = threading.Thread(target=lambda: 1 // 0)\n"
        "    thread.start(); thread.join()\n"
        "    sys.exit(2)\n"
        "program.run(start)\n"
    )
    assert_trouble(run(script), "ZeroDivisionError")


def test_ctrl_c_outside_of_a_command_is_told_in_one_line() -> None:
    script = "import os, time\nfrom lightface.cli import program\n"
    script += "program.run(lambda: (os.write(2, b'ready\\n'), time.sleep(60)))"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "lightface: interrupted; nothing was changed\n"
    assert process.returncode == 2


# --- surroundings -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are kept by Linux")
@pytest.mark.parametrize("limit_kb", [100_000, 400_000, 3_500_000])  # exit(1) of OpenBLAS, and two segmentation faults
def test_too_little_memory_is_told_before_native_libraries_crash(limit_kb: int) -> None:
    done = run(PROGRAM, "verify", "a.jpg", "b.jpg", shell=f'ulimit -v {limit_kb} && "$@"')
    assert_trouble(done, f"'ulimit -v' allows {limit_kb} kB", "raise it")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no folder that is in use")
def test_a_current_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = run(PROGRAM, "embed", "photos", "-o", "x.csv", shell='rmdir "$PWD" && "$@"', cwd=folder)
    assert_trouble(done, "there is no current folder any more", "change into one")


def test_a_worker_that_cannot_begin_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "from lightface.batch.local import _Died, _Worker\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        _Worker((b'no pickle', 1, 30)).embed([])\n"
        "    except _Died:\n"
        "        print('broken')\n"
    )
    started = time.monotonic()
    command = [sys.executable, str(tmp_path / "work.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "broken\n", ""), time.monotonic() - started

"""Whatever the bytes, only a `LightfaceError` with one line comes out, and a door says so soon.

Each door is offered its own good file, damaged: cut off, overwritten, spliced with itself, swollen.
`--hypothesis-profile soak` tries a hundred times as many.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from doors import DOORS, Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightface.errors import LightfaceError

_ENDINGS = (b"\0", b"\xff", b"\n", b"9", b'"', b"[", b"\x80", b"e9999", b"..", b"/")


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for door in DOORS:
        door.make(folder / door.name)
    return folder


@st.composite
def wounds(draw: st.DrawFn) -> list[tuple[str, float, float, bytes]]:
    """What is done to a file, in order: the places are shares of its length."""
    share = st.floats(0, 1, exclude_max=True)
    bytes_ = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(_ENDINGS))
    kinds = st.sampled_from(["cut", "overwrite", "overwrite", "insert", "delete", "repeat", "head"])
    return draw(st.lists(st.tuples(kinds, share, share, bytes_), min_size=1, max_size=4))


def damage(data: bytes, wounds: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, first, second, new in wounds:
        start, end = sorted((int(first * len(data)), int(second * len(data))))
        match kind:
            case "cut":
                data = data[:start]
            case "overwrite":
                data = data[:start] + new + data[start + len(new) :]
            case "head":  # where most formats say how large they are
                start = int(first * min(len(data), 64))
                data = data[:start] + new + data[start + len(new) :]
            case "insert":
                data = data[:start] + new + data[start:]
            case "delete":
                data = data[:start] + data[min(end, start + 64) :]
            case "repeat":
                data = data[:start] + data[start : min(end, start + 256)] * 3 + data[end:]
    return data


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_good_file_comes_in(door: Door, good_files: Path, tmp_path: Path) -> None:
    path = tmp_path / door.name
    path.write_bytes((good_files / door.name).read_bytes())
    if door.name.startswith("net."):  # a checkpoint of a few small tensors: it is read, and fits no network
        with pytest.raises(LightfaceError, match="does not fit the network"):
            door.enter(path)
    else:
        door.enter(path)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(wounds=wounds())
def test_a_damaged_file_gives_one_line(
    door: Door, wounds: list[tuple[str, float, float, bytes]], good_files: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "door"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / door.name
    path.write_bytes(damage((good_files / door.name).read_bytes(), wounds))
    try:
        door.enter(path)
    except LightfaceError as error:
        assert str(error) and "\n" not in str(error)

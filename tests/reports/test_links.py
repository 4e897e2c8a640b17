"""A folder of links: one for each photograph, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lightface.errors import OutputError
from lightface.reports import check_folder, link_groups


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / folder / "1.jpg" for folder in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    return paths


def test_links_by_group(tmp_path: Path, photos: list[Path]) -> None:
    folder = tmp_path / "groups"
    gone = link_groups(folder, {"1": [photos[0], photos[1], photos[0]], "2": [photos[2], tmp_path / "gone.jpg"]})
    assert gone == 1
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg")) == [
        *("1/1 (2).jpg", "1/1.jpg", "2/1.jpg")
    ]
    assert os.readlink(folder / "1" / "1.jpg") == str(photos[0])
    assert (folder / "1" / "1 (2).jpg").read_text() == "b"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_copies_where_there_are_no_links(tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link_groups(tmp_path / "groups", {"1": photos})
    copy = tmp_path / "groups" / "1" / "1 (3).jpg"
    assert not copy.is_symlink() and copy.read_text() == "c"


def test_nothing_is_overwritten_and_nothing_is_left_half_done(
    tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="not an empty folder"):
        check_folder(tmp_path / "a")
    with pytest.raises(OutputError, match="cannot write into"):
        check_folder(tmp_path / "none" / "groups")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")
    monkeypatch.setattr(Path, "is_file", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        link_groups(tmp_path / "empty", {"1": photos})
    assert sorted(os.listdir(tmp_path)) == before
    assert not any((tmp_path / "empty").iterdir())

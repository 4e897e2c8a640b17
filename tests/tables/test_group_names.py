"""The file of names, as it is written and as spreadsheets give it back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lightface.errors import OutputError, TableError
from lightface.tables.group_names import NameRow, NamesFile, read_names, write_names

ROWS = (
    NameRow(
        3, 'Ada "the Countess", \u05e2\u05d3\u05d4', 5, 4, "/p/a,b.jpg", "2 of 3 from the left", "", ("abc", "def")
    ),
    NameRow(12, "=cmd|'/c calc'!A1", 2, 2, "=1.jpg", "the only one", "+1", ("ghi",)),
    NameRow(13, "'=Eve", 2, 2, "/p/\udcff\r.jpg", "", "", ()),
)


def without_lines(names: NamesFile) -> list[NameRow]:
    return [
        NameRow(row.number, row.name, row.faces, row.photographs, row.example, row.face, row.note, row.tokens)
        for row in names.rows
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    write_names(path, ROWS, NamesFile())
    assert without_lines(read_names(path)) == list(ROWS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\r\n") == 4
    assert b"12,'=cmd|'/c calc'!A1,2,2,'=1.jpg,the only one,'+1,ghi" in data


@pytest.mark.parametrize(
    "text",
    [
        "group;name;check\r\n3;Ada;abc def\r\n",
        '"sep=;"\r\ngroup;name;check\r\n3;Ada;abc def\r\n',
        "sep=;\r\ngroup;name;check\r\n3;Ada;abc def\r\n",
        "group\tname\tcheck\n3\tAda\tabc def\n",
        "check,NAME , group,,\nabc def,  Ada ,3.0,,\n,,,,\n",
    ],
)
def test_other_spellings_of_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert without_lines(read_names(path)) == [NameRow(3, "Ada", tokens=("abc", "def"))]


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_names(tmp_path / "names.csv") == NamesFile()


@pytest.mark.parametrize("group", ["", "0", "-1", "1.5", "nan", "inf", "1e300", "x"])
def test_a_name_without_a_number_is_refused(tmp_path: Path, group: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(f"group,name,check\n{group},Ada,abc\n")
    with pytest.raises(TableError, match=r"line 2: the group .* is no number"):
        read_names(path)


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    write_names(path, ROWS, NamesFile())
    was = read_names(path)
    changed = path.read_bytes() + b"14,Bo,1,1,,,,abc\r\n"
    path.write_bytes(changed)
    with pytest.raises(OutputError, match="was changed meanwhile"):
        write_names(path, ROWS, was)
    with pytest.raises(OutputError, match="was changed meanwhile"):
        write_names(path, ROWS, NamesFile())
    assert path.read_bytes() == changed


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.csv").mkdir()
    with pytest.raises(TableError, match="cannot read the names"):
        read_names(tmp_path / "names.csv")
    with pytest.raises(OutputError):
        write_names(tmp_path / "names.csv", ROWS, NamesFile())

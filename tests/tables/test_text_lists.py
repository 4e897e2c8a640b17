"""Lists of pairs as people write them and spreadsheets save them, and where the files are that they name."""

from __future__ import annotations

import codecs
import csv
import os
import shutil
from pathlib import Path

import pytest

from lightface.errors import EvaluationError
from lightface.evaluation.groups import read_groups
from lightface.evaluation.protocols import read_protocol
from lightface.evaluation.protocols.crops import read_crop_index
from lightface.records import Status
from lightface.tables import PairRow, write_pairs
from lightface.tables.text_lists import NamedPair, read_lines, read_list, read_named_pairs

NAMES = ("a.jpg", "b.jpg", "café.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        (folder / name).touch()
    return folder


def read(folder: Path, text: str | bytes, *, labelled: bool = False) -> list[NamedPair]:
    data = text if isinstance(text, bytes) else text.encode()
    return read_named_pairs(folder / "pairs.csv", data, [folder], labelled=labelled)


def names_of(pairs: list[NamedPair]) -> list[tuple[str, str]]:
    return [(pair.name_a, pair.name_b) for pair in pairs]


# --- what they look like ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headings",
    [
        *(
            "path_a,path_b",
            "img1,img2",
            "Image 1,Image 2",
            "image_a,image_b",
            "left,right",
            "first,second",
            "file0,file1",
        ),
        *(
            "Photo A,Photo B",
            "path1,path2",
            "a,b",
            "1,2",
            "img_path_1,img_path_2",
            "image1_path,image2_path",
            "photo,photo",
        ),
        *("Bild 1,Bild 2", "file,filename", '"path_a","path_b"'),
    ],
)
def test_headings_are_recognised(folder: Path, headings: str) -> None:
    assert names_of(read(folder, f"{headings}\na.jpg,b.jpg\n")) == [("a.jpg", "b.jpg")]
    (pair,) = read(folder, f"{headings},same\na.jpg,b.jpg,1\n", labelled=True)
    assert (pair.name_a, pair.name_b, pair.label) == ("a.jpg", "b.jpg", "1")


def test_columns_by_their_headings_wherever_they_stand(folder: Path) -> None:
    text = "id,img2,note,label,img1\n7,b.jpg,x,0,a.jpg\n8,a.jpg,,1,b.jpg,\n"
    assert names_of(read(folder, text)) == [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")]
    assert [pair.label for pair in read(folder, text, labelled=True)] == ["0", "1"]


def test_a_list_for_evaluate_is_one_for_verify(folder: Path) -> None:
    assert names_of(read(folder, "a.jpg,b.jpg,1\nb.jpg,a.jpg,different\n")) == [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")]


def test_files_that_are_called_as_headings_are_files(folder: Path) -> None:
    (folder / "left").touch()
    (folder / "right").touch()
    assert names_of(read(folder, "left,right\na.jpg,b.jpg\n")) == [("left", "right"), ("a.jpg", "b.jpg")]


@pytest.mark.parametrize(
    ("text", "labelled", "words"),
    [
        (
            "vorher,nachher\na.jpg,b.jpg\n",
            False,
            "line 1: 'vorher,nachher' is neither two photographs nor known headings",
        ),
        ("path_a,path_b\na.jpg\n", False, "line 2: 1 column; give two paths"),
        ("a.jpg\n", False, "line 1: there are no two paths"),
        ("a.jpg,b.jpg\na.jpg,b.jpg,c.jpg\n", False, "line 2: 3 columns; give two paths"),
        ("a.jpg,b.jpg\n\na.jpg,\n", False, "line 3: a path is missing"),
        ('a.jpg,b.jpg\n"a"x,b.jpg\n', False, "line 2: not CSV"),
        ("7,a.jpg,b.jpg\n8,b.jpg,a.jpg\n", False, "has 3 columns and no headings path_a and path_b"),
        ("img1,img2,age,sex\na.jpg,b.jpg,1,1\n", True, "line 1: no column is named same"),
        ("img1,img2,same\na.jpg,b.jpg\n", True, "line 2: 2 columns; give two paths and a label"),
        (b"\xff\xfea", False, "is no text in UTF-16"),
        (b"\xff\xfe\0\0a\0\0\0", False, "is not a text"),
        (b"\x89PNG\0", False, "is not a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder: Path, text: str | bytes, labelled: bool, words: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        read(folder, text, labelled=labelled)
    assert words in str(caught.value)


def test_a_list_without_end_is_noticed_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first mebibytes are read, of a file that takes no room on the disk."""
    (folder / "good.csv").write_bytes(b"a.jpg,b.jpg\r" * 300_000)  # as an old Macintosh ends lines
    assert len(read_lines(folder / "good.csv")) == 300_000
    endless = folder / "line.csv"
    with endless.open("wb") as file:
        file.write(b"a" * (3 << 20))
        file.truncate(1 << 43)
    with pytest.raises(EvaluationError, match="a line of it has more than 1,048,576 bytes, so it is no list"):
        read_list(endless)
    monkeypatch.setattr("lightface.files._MOST_LIST_BYTES", 10_000_000)
    (folder / "lines.csv").write_bytes(b"a.jpg,b.jpg\n" * 1_000_000)
    with pytest.raises(EvaluationError, match="it has more than 10 MB"):
        read_list(folder / "lines.csv")


def test_a_cell_that_is_too_long_is_told_with_its_line_in_every_list(tmp_path: Path) -> None:
    cell = "b" * 200_000  # more than Python's csv takes
    (tmp_path / "groups.csv").write_text(f"path,age\na.jpg,{cell}\n")
    with pytest.raises(EvaluationError, match="line 2: not CSV"):
        read_groups(tmp_path / "groups.csv")
    (tmp_path / "index.csv").write_text(f"shard,name,identity,split\na.zip,{cell},x,dev\n")
    with pytest.raises(EvaluationError, match=r"cannot read the index .*field larger"):
        read_crop_index(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("a.jpg;café.jpg\n", "a.jpg\tcafé.jpg\r\n", "a.jpg, café.jpg\n", "a.jpg ,\tcafé.jpg \n", "a.jpg,café.jpg"),
        *('"a.jpg", "café.jpg"\n', "sep=;\r\na.jpg;café.jpg\r\n", "a.jpg,café.jpg\r\n,\r\n", "\n\na.jpg,café.jpg\n\n"),
        *("path_a;path_b;same\na.jpg;café.jpg;1\n", "a.jpg,café.jpg\r", "a.jpg,café.jpg,,\n"[:-3]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_separators_blanks_and_encodings(folder: Path, text: str, encoding: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    (pair,) = read(folder, mark + text.encode(encoding))
    assert (pair.path_a, pair.path_b) == (folder / "a.jpg", folder / "café.jpg")
    assert (pair.name_a, pair.name_b) == ("a.jpg", "café.jpg")


def test_windows_1252_is_shown_where_there_is_no_file(folder: Path) -> None:
    (pair,) = read(folder, "a.jpg,naïve.jpg\n".encode("cp1252"))
    assert pair.name_b == "naïve.jpg"


def test_separators_within_names(folder: Path) -> None:
    for name in ("a;b.jpg", "c;d.jpg", "a,b.jpg", "c,d.jpg"):
        (folder / name).touch()
    assert names_of(read(folder, "a;b.jpg,c;d.jpg\n")) == [("a;b.jpg", "c;d.jpg")]
    assert names_of(read(folder, "a,b.jpg;c,d.jpg\n")) == [("a,b.jpg", "c,d.jpg")]


@pytest.mark.parametrize("labelled", [False, True])
def test_every_file_name_comes_back(tmp_path: Path, labelled: bool) -> None:
    raw = [
        b"\xff.jpg",
        b"caf\xe9.jpg",
        "cafe\u0301.jpg".encode(),
        b"a\nb.jpg",
        b"a\rb.jpg",
        "a\u2028b\x85c.jpg".encode(),
    ]
    raw += [
        b" a.jpg",
        b"a.jpg ",
        b'a"b.jpg',
        b"a,b;c\td.jpg",
        b"=1.jpg",
        b"'=1.jpg",
        b"\\udcff.jpg",
        b"\\.jpg",
        b"\x1b.jpg",
    ]
    names = [os.fsdecode(name) for name in raw]
    for name in names:
        (tmp_path / name).touch()
    listed = tmp_path / "pairs.csv"
    with listed.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([name, names[0], *(["1"] if labelled else [])] for name in names)
    pairs = read_named_pairs(listed, listed.read_bytes(), [tmp_path], labelled=labelled)
    assert [pair.path_a for pair in pairs] == [tmp_path / name for name in names]
    assert [pair.name_a for pair in pairs] == names and {pair.path_b for pair in pairs} == {tmp_path / names[0]}


def test_the_results_of_verify_are_a_list_again(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"\xff.jpg", b"=1.jpg", b"a\nb.jpg", b"a\rb.jpg")]
    for name in names:
        (tmp_path / name).touch()
    result = tmp_path / "result.csv"
    write_pairs(result, [PairRow(path_a=Path(name), path_b=Path(names[0]), status=Status.SAME) for name in names])
    pairs = read_named_pairs(result, result.read_bytes(), [tmp_path], labelled=False)
    assert [pair.path_a.name for pair in pairs] == names


@pytest.mark.parametrize("name", ["pairs_u2028.csv", "pairs_cp1252.csv", "pairs_other_headings.csv"])
def test_small_inputs_that_failed(tmp_path: Path, name: str) -> None:
    data = {
        "pairs_u2028.csv": "a.jpg,b\u2028c.jpg\n".encode(),
        "pairs_cp1252.csv": b"a.jpg,caf\xe9.jpg\n",
        "pairs_other_headings.csv": b"img1,img2\na.jpg,b.jpg\n",
    }[name]
    wanted = {"pairs_u2028.csv": "b\u2028c.jpg", "pairs_cp1252.csv": "café.jpg", "pairs_other_headings.csv": "b.jpg"}
    assert names_of(read(tmp_path, data)) == [("a.jpg", wanted[name])]


# --- where their files are --------------------------------------------------------------------------


def test_paths_are_sought_beside_the_list_first(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("b.jpg", "c.jpg"):
        (other / name).touch()
    data = f"a.jpg,b.jpg\nc.jpg,none.jpg\n{folder / 'a.jpg'},a.jpg\n".encode()
    pairs = read_named_pairs(folder / "pairs.csv", data, [folder, other], labelled=False)
    assert [(pair.path_a, pair.path_b) for pair in pairs] == [
        (folder / "a.jpg", folder / "b.jpg"),
        (other / "c.jpg", folder / "none.jpg"),
        (folder / "a.jpg", folder / "a.jpg"),
    ]
    first, second = caplog.messages
    assert f"1 path is not in '{folder}', and taken from '{other}', as c.jpg" in first
    assert f"1 path is in two folders, and taken from '{folder}', as b.jpg" in second


def test_one_file_by_two_ways_is_no_doubt(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "link").symlink_to(folder)
    read_named_pairs(folder / "pairs.csv", b"a.jpg,b.jpg\n", [folder, tmp_path / "link"], labelled=False)
    shutil.copytree(folder, tmp_path / "links", copy_function=lambda source, target: os.link(source, target))
    read_named_pairs(folder / "pairs.csv", b"a.jpg,b.jpg\n", [folder, tmp_path / "links"], labelled=False)
    assert caplog.messages == []


def test_a_url_in_a_list_is_not_fetched(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pair,) = read(folder, "a.jpg,http://127.0.0.1:9/b.jpg\n")
    assert isinstance(pair.path_b, type(Path())) and not pair.path_b.exists()
    (message,) = caplog.messages
    assert "1 path is a URL, and not fetched: only what you name yourself is, as http://127.0.0.1:9/b.jpg" in message


def test_evaluate_seeks_in_the_current_folder_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed = tmp_path / "lists" / "pairs.csv"
    listed.parent.mkdir()
    listed.write_text("a.jpg;b.jpg;1\na.jpg;café.jpg;0\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    paths = [picture.path.resolve() for picture in read_protocol(listed).pictures]  # type: ignore[attr-defined]
    assert paths == [folder / name for name in NAMES]
    assert "3 paths are not in" in caplog.text


def test_groups_of_pictures_whose_names_are_no_text(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_bytes(b'path,sex\nP1/\xff.jpg,f\n"P2/a\nb.jpg",m\n"P2/a\xe2\x80\xa8b.jpg",m\n')
    groups = read_groups(table).groups["sex"]
    assert groups == {os.fsdecode(b"P1/\xff.jpg"): "f", "P2/a\nb.jpg": "m", "P2/a\u2028b.jpg": "m"}

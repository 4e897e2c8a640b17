"""Tables come back as they were written, in every format, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightface.errors import OutputError
from lightface.records import DetectedFace, FaceEmbedding, Match, Status
from lightface.tables import (
    TABLE_SUFFIXES,
    FaceRow,
    PairRow,
    check_folder,
    check_output,
    describe_face,
    link_groups,
    read_faces,
    write_faces,
    write_pairs,
)
from lightface.tables.rows import FACE_COLUMNS, PAIR_COLUMNS

EMBEDDING = np.linspace(-1, 1, 256, dtype=np.float32) / np.float32(np.sqrt(86))
LANDMARKS = np.array([[10.5, 20], [30.25, 20], [20, 30], [12, 40], [28, 40.125]], np.float32)
COLUMNS = [
    *("image_path", "face_index", "bbox", "landmarks", "det_score", "quality", "embedding", "model_id"),
    *("person_id", "person_name", "similarity", "threshold", "status", "error"),
    *("time_start", "time_end", "time_best"),
]


@pytest.fixture
def face_row() -> FaceRow:
    face = FaceEmbedding(EMBEDDING, "tiny-0123", DetectedFace((1.5, 2, 101.5, 142), LANDMARKS, 0.998), 0.75)
    match = Match(
        person_id=7,
        person_name='Ada, "Countess"\nof Löwenstein',
        similarity=0.625,
        status=Status.MATCHED,
        threshold=0.4,
    )
    return describe_face(Path("/photos/früh.jpg"), 0, face, status=Status.MATCHED, match=match)


@pytest.fixture
def failed_row() -> FaceRow:
    return FaceRow(image_path=Path("/photos/broken.jpg"), status=Status.ERROR, error="invalid_image")


def test_the_columns_are_the_fields_of_the_rows() -> None:
    assert [column.name for column in FACE_COLUMNS] == [field.name for field in fields(FaceRow)] == COLUMNS
    assert [column.name for column in PAIR_COLUMNS] == [field.name for field in fields(PairRow)]


def test_parquet_comes_back_with_its_types(tmp_path: Path, face_row: FaceRow, failed_row: FaceRow) -> None:
    path = tmp_path / "faces.parquet"
    write_faces(path, [face_row, failed_row])
    table = pq.read_table(path)
    assert table.column_names == COLUMNS
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 256)
    assert table.schema.field("bbox").type == pa.list_(pa.float32(), 4)
    assert table.schema.field("landmarks").type == pa.list_(pa.list_(pa.float32(), 2), 5)
    face, failed = table.to_pylist()
    assert np.array_equal(np.array(face.pop("embedding"), np.float32), EMBEDDING)
    assert face == {
        "image_path": "/photos/früh.jpg",
        "face_index": 0,
        "bbox": [1.5, 2, 101.5, 142],
        "landmarks": LANDMARKS.tolist(),
        "det_score": 0.998,
        "quality": 0.75,
        "model_id": "tiny-0123",
        "person_id": 7,
        "person_name": 'Ada, "Countess"\nof Löwenstein',
        "similarity": 0.625,
        "threshold": 0.4,
        "status": "matched",
        "error": None,
        "time_start": None,
        "time_end": None,
        "time_best": None,
    }
    assert {name: value for name, value in failed.items() if value is not None} == {
        "image_path": "/photos/broken.jpg",
        "status": "error",
        "error": "invalid_image",
    }


def test_csv_holds_arrays_as_json_and_nothing_for_null(tmp_path: Path, face_row: FaceRow, failed_row: FaceRow) -> None:
    path = tmp_path / "faces.csv"
    write_faces(path, [face_row, failed_row])
    with path.open(encoding="utf-8", newline="") as file:
        face, failed = csv.DictReader(file)
    assert list(face) == COLUMNS
    assert np.array_equal(np.array(json.loads(face["embedding"]), np.float32), EMBEDDING)
    assert json.loads(face["landmarks"]) == LANDMARKS.tolist()
    assert face["person_name"] == 'Ada, "Countess"\nof Löwenstein'
    assert (face["det_score"], face["status"]) == ("0.998", "matched")
    assert {name for name, value in failed.items() if value} == {"image_path", "status", "error"}


def test_json_lines_hold_one_object_a_line(tmp_path: Path, face_row: FaceRow, failed_row: FaceRow) -> None:
    path = tmp_path / "faces.JSONL"
    write_faces(path, [face_row, failed_row])
    face, failed = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1])
    assert list(face) == list(failed) == COLUMNS
    assert np.array_equal(np.array(face["embedding"], np.float32), EMBEDDING)
    assert face["bbox"] == [1.5, 2, 101.5, 142]
    assert failed["embedding"] is None
    assert failed["status"] == "error"


def test_npz_needs_no_pickle(tmp_path: Path, face_row: FaceRow, failed_row: FaceRow) -> None:
    path = tmp_path / "faces.npz"
    write_faces(path, [face_row, failed_row])
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays.files == COLUMNS
        assert arrays["embedding"].shape == (2, 256)
        assert arrays["embedding"].dtype == np.float32
        assert np.array_equal(arrays["embedding"][0], EMBEDDING)
        assert np.isnan(arrays["embedding"][1]).all()
        assert arrays["landmarks"].shape == (2, 5, 2)
        assert arrays["face_index"].tolist() == [0, -1]
        assert arrays["image_path"].tolist() == ["/photos/früh.jpg", "/photos/broken.jpg"]
        assert arrays["person_name"][1] == ""


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_without_rows_still_has_its_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    write_faces(path, [])
    match suffix:
        case ".parquet":
            assert pq.read_table(path).column_names == COLUMNS
        case ".csv":
            assert path.read_text() == ",".join(COLUMNS) + "\n"
        case ".jsonl":
            assert path.read_text() == ""
        case ".npz":
            with np.load(path) as arrays:
                assert arrays["embedding"].shape == (0, 256)


def test_more_rows_than_one_group_of_parquet(tmp_path: Path, face_row: FaceRow) -> None:
    path = tmp_path / "many.parquet"
    write_faces(path, (face_row for _ in range(5000)))
    file = pq.ParquetFile(path)
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (5000, 2)


def test_pairs_have_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    same = PairRow(path_a=Path("a.jpg"), path_b=Path("b.jpg"), similarity=0.5, threshold=0.25, status=Status.SAME)
    spoiled = PairRow(
        path_a=Path("a.jpg"),
        path_b=Path("c.jpg"),
        status=Status.ERROR,
        error="face_not_found",
        error_path=Path("c.jpg"),
    )
    write_pairs(path, [same, spoiled])
    assert path.read_text().splitlines() == [
        "path_a,path_b,similarity,threshold,status,error,error_path",
        "a.jpg,b.jpg,0.5,0.25,same,,",
        "a.jpg,c.jpg,,,error,face_not_found,c.jpg",
    ]


# Whatever a file system takes: no UTF-8, ends of lines, formulas, and what looks as these do in tables.
ODD_NAMES = [
    *(b"\xff", b"caf\xe9", b"a\nb", b"a\rb", b"a\r\nb", "a\u2028b\u2029c\x85".encode(), b"\x1b[2J", "\u202e".encode()),
    *(b"=1+1", b"+1", b"-1", b"@a", b"\tx", "\uff1d1".encode(), b"'=1", b"''=1", b"'", b" a", b"a ", b'a"b', b"a,b;c"),
    *(
        b"\\udcff",
        b"\\u005cudcff",
        b"\\\xff",
        b"\\u000d",
        b"null",
        b"nan",
        b"\xed\xb3\xbf",
        "\ufeffa".encode(),
        b"C:\\udc80",
    ),
]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@pytest.mark.parametrize("folder", [b"", b"/photos/"])
def test_every_file_name_comes_back(tmp_path: Path, suffix: str, folder: bytes) -> None:
    path = tmp_path / f"faces{suffix}"
    photos = [Path(os.fsdecode(folder + name)) for name in ODD_NAMES]
    write_faces(path, [FaceRow(image_path=photo, status=Status.ERROR, person_name=str(photo)) for photo in photos])
    rows = read_faces(path)
    assert [row.image_path for row in rows] == photos
    assert [row.person_name for row in rows] == [str(photo) for photo in photos]


def test_other_programs_read_a_table_with_odd_names(tmp_path: Path) -> None:
    photos = [Path(os.fsdecode(b"/photos/" + name)) for name in ODD_NAMES]
    for suffix in (".csv", ".parquet"):
        write_faces(tmp_path / f"faces{suffix}", [FaceRow(image_path=photo, status=Status.ERROR) for photo in photos])
    with (tmp_path / "faces.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["image_path"] == "/photos/\\udcff"
    assert len(pq.read_table(tmp_path / "faces.parquet").to_pylist()) == len(photos)


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, face_row: FaceRow) -> None:
    path = tmp_path / "faces.csv"
    names = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", "'=1", "Ada = Bo", "O'Neil"]
    write_faces(path, [replace(face_row, person_name=name) for name in names])
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row["person_name"] for row in csv.DictReader(file)]
    assert cells == [*("'" + name for name in names[:5]), "\\u000d=1", "'\uff1d1", "''=1", "Ada = Bo", "O'Neil"]
    assert [row.person_name for row in read_faces(path)] == names


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_only_the_owner_may_read_a_table(tmp_path: Path, suffix: str, face_row: FaceRow) -> None:
    path = tmp_path / f"faces{suffix}"
    path.write_text("as it was")
    path.chmod(0o644)
    write_faces(path, [face_row])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_stops_half_way_leaves_the_old_table(
    tmp_path: Path, suffix: str, face_row: FaceRow, error: BaseException | type[BaseException]
) -> None:
    path = tmp_path / f"faces{suffix}"
    path.write_text("as it was")

    def rows() -> Iterator[FaceRow]:
        yield face_row
        raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_faces(path, rows())
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("resource", reason="needs a limit on the size of files")
    path = tmp_path / f"faces{suffix}"
    path.write_text("as it was")
    # In a process of its own, for the limit holds for every file that a process writes.
    script = """if True:
        import resource, sys
        from pathlib import Path
        import numpy as np
        from lightface.errors import OutputError
        from lightface.records import Status
        from lightface.tables import FaceRow, write_faces

        vectors = np.random.default_rng(0).normal(size=(500, 256)).astype(np.float32)
        rows = [FaceRow(image_path=Path("a"), status=Status.EMBEDDED, embedding=vector) for vector in vectors]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_faces(Path(sys.argv[1]), rows)
        except OutputError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {str(path)!r} (File too large); what lay there before is as it was\n"
    assert done.stderr == ""
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == [path.name]


def test_an_unknown_suffix_names_the_four(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"'faces.xlsx'; end its name in one of .parquet, .csv, .jsonl, .npz"):
        write_faces(tmp_path / "faces.xlsx", [])


@pytest.mark.parametrize(
    ("name", "complaint"), [("folder.csv", "is a folder"), ("missing/faces.csv", "there is no folder")]
)
def test_a_place_that_cannot_be_written_is_noticed_beforehand(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match=complaint):
        check_output(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_noticed_beforehand(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "faces.csv")


# A folder of links: one for each photograph, whole or not at all.


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

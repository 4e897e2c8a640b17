"""A table comes back as the rows that were written; what is no face table is told in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightface.errors import TableError
from lightface.locations import to_path
from lightface.records import Status
from lightface.tables import TABLE_SUFFIXES, FaceRow, holds_parts, read_faces, write_faces

EMBEDDING = np.linspace(-1, 1, 256, dtype=np.float32) / np.float32(np.sqrt(86))
EMBEDDING = (EMBEDDING / np.linalg.norm(EMBEDDING)).astype(np.float32)


@pytest.fixture
def rows() -> list[FaceRow]:
    landmarks = np.array([[10.5, 20], [30.25, 20], [20, 30], [12, 40], [28, 40.125]], np.float32)
    face = FaceRow(
        image_path=Path("/photos/früh, neu.jpg"),
        face_index=0,
        bbox=(1.5, 2.0, 101.5, 142.0),
        landmarks=landmarks,
        det_score=0.998,
        quality=0.75,
        embedding=EMBEDDING,
        model_id="tiny-0123",
        person_id=7,
        person_name='Ada, "Countess"\nof Löwenstein',
        similarity=0.625,
        threshold=0.4,
        status=Status.MATCHED,
    )
    plain = FaceRow(
        image_path=Path("b.png"), face_index=1, embedding=EMBEDDING, model_id="tiny-0123", status=Status.EMBEDDED
    )
    return [face, plain, FaceRow(image_path=Path("broken.jpg"), status=Status.ERROR, error="invalid_image")]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_what_was_written_comes_back(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / f"faces{suffix}"
    write_faces(path, rows)
    found = read_faces(path)
    assert len(found) == 3
    for one, written in zip(found, rows, strict=True):
        for name in FaceRow.__dataclass_fields__:
            value, expected = getattr(one, name), getattr(written, name)
            if name in ("embedding", "landmarks") and expected is not None:
                assert value.dtype == np.float32 and np.array_equal(value, expected)
            else:
                assert value == expected, name


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    write_faces(tmp_path / f"none{suffix}", [])
    assert read_faces(tmp_path / f"none{suffix}") == []


@pytest.fixture(params=["here", "by URL"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, rows: list[FaceRow]) -> Iterator[Path]:
    """A folder with the rows in three parts, one of them the hundred-thousandth, and the mark that they are all."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for row, name in zip(rows, ("faces-00000", "faces-99999", "faces-100000"), strict=True):
        write_faces(folder / f"{name}.parquet", [row])
    (folder / "_SUCCESS").touch()
    (folder / "faces.parquet.old").write_text("not a part")
    yield folder if request.param == "here" else to_path(f"local://{folder}/")


def test_a_table_in_parts(parts: Path, rows: list[FaceRow]) -> None:
    assert [row.image_path for row in read_faces(parts)] == [row.image_path for row in rows]


def test_parts_without_their_mark_are_no_table(parts: Path, tmp_path: Path) -> None:
    assert not holds_parts(tmp_path) and not holds_parts(tmp_path / "missing") and holds_parts(parts)
    (tmp_path / "faces" / "_SUCCESS").unlink()
    with pytest.raises(TableError, match="is not complete; wait for 'lightface embed', or run it again"):
        read_faces(parts)
    (tmp_path / "other").mkdir()
    with pytest.raises(TableError, match=r"there is no face table in .*other"):
        read_faces(tmp_path / "other")


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_by_url(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    write_faces(tmp_path / f"faces{suffix}", rows)
    url = f"local://{tmp_path}/faces{suffix}"
    assert [row.image_path for row in read_faces(to_path(url))] == [row.image_path for row in rows]
    with pytest.raises(TableError, match=r"cannot read 'local://.*missing.*; give a table"):
        read_faces(to_path(f"local://{tmp_path}/missing{suffix}"))


def test_columns_of_other_programs_are_passed_over_and_most_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    cells = {"image_path": "a.jpg", "embedding": EMBEDDING.tolist(), "model_id": "m", "camera": "Leica"}
    path.write_text(json.dumps(cells) + "\n\n")
    (row,) = read_faces(path)
    assert (row.image_path, row.status, row.bbox, row.face_index) == (Path("a.jpg"), Status.EMBEDDED, None, None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"embedding": [1.0, 2.0]}, "face 1: embedding is not 256 numbers"),
        ({"embedding": [2.0] * 256}, "face 1: the embedding has not length 1"),
        ({"embedding": [float("nan")] * 256}, "embedding is not 256 numbers"),
        ({"embedding": ["a"] * 256}, "face 1: could not convert"),
        ({"model_id": None}, "face 1: an embedding without model_id"),
        ({"image_path": None}, "face 1: there is no image_path"),
        ({"image_path": 3}, "face 1: image_path is 3, no text"),
        ({"bbox": [1, 2, 3]}, "face 1: bbox is not 4 numbers"),
        ({"landmarks": [[1, 2]]}, "face 1: landmarks is not 5 x 2 numbers"),
        ({"face_index": "first"}, "face 1: could not convert"),
        ({"quality": float("inf")}, "face 1: quality is inf"),
        ({"status": "fine"}, "face 1: 'fine' is not a valid Status"),
    ],
)
def test_a_cell_that_does_not_belong_there(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    path = tmp_path / "faces.jsonl"
    cells = {"image_path": "a.jpg", "embedding": EMBEDDING.tolist(), "model_id": "m"}
    path.write_text(json.dumps({**cells, **changes}) + "\n")
    with pytest.raises(TableError, match=complaint):
        read_faces(path)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe rubbish", b'{"a": 1}\n', b"a,b\n1,2\n", b"[[[["])
def test_what_is_no_face_table(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"faces{suffix}"
    path.write_bytes(data)
    if suffix == ".jsonl" and not data:
        return  # a table without rows
    with pytest.raises(TableError, match=r"faces\.") as caught:
        read_faces(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_cut_short_is_refused(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / f"faces{suffix}"
    write_faces(path, rows[:2])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(TableError):
        read_faces(path)


def test_missing_files_and_unknown_suffixes(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        read_faces(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"faces\.xlsx' does not exist"):
        read_faces(tmp_path / "faces.xlsx")
    (tmp_path / "faces.xlsx").touch()
    with pytest.raises(TableError, match=r"it would end in one of .parquet, .csv, .jsonl, .npz"):
        read_faces(tmp_path / "faces.xlsx")


# --- files that would grow ---------------------------------------------------------------------------


def _parquet(path: Path, columns: dict[str, object]) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")


def _many_rows(path: Path) -> None:
    rows = 1_500_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), ["a.jpg"]).cast(pa.string())
    nothing = pa.nulls(rows, pa.list_(pa.float32(), 256))
    _parquet(path, {"image_path": texts, "embedding": nothing, "model_id": pa.nulls(rows, pa.string())})


def _long_text(path: Path) -> None:
    vectors = pa.array([EMBEDDING], pa.list_(pa.float32(), 256))
    _parquet(path, {"image_path": ["a" * 400_000_000], "embedding": vectors, "model_id": ["tiny"]})


def _a_text_again_and_again(path: Path) -> None:
    rows = 100_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), ["a" * 1_000_000])
    nothing = pa.nulls(rows, pa.list_(pa.float32(), 256))
    _parquet(path, {"image_path": texts, "embedding": nothing, "model_id": pa.nulls(rows, pa.string())})


def _long_embedding(path: Path) -> None:
    vectors = pa.array([np.zeros(100_000_000, np.float32)], pa.list_(pa.float32()))
    _parquet(path, {"image_path": ["a.jpg"], "embedding": vectors, "model_id": ["tiny"]})


def _many_npz_rows(path: Path) -> None:
    rows = 600_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, kind, row in (
            ("image_path", "<U1", (rows,)),
            ("embedding", "<f4", (rows, 256)),
            ("model_id", "<U1", (rows,)),
        ):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": kind, "fortran_order": False, "shape": row}
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(rows // 20_000):
                    member.write(bytes(20_000 * int(np.prod(row[1:])) * 4))


def _lying_npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("image_path", "embedding", "model_id"):
            with archive.open(f"{name}.npy", "w") as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 256)}
                np.lib.format.write_array_header_1_0(member, header)


def _short_lines(path: Path) -> None:
    path.write_text("image_path,embedding,model_id\n" + "a,,\n" * 800_000)


def _one_line(path: Path) -> None:
    """A third of a gigabyte on the disk, of which less than a part in 250 is read."""
    with path.open("w") as file:
        file.write("image_path,embedding,model_id\n" if path.suffix == ".csv" else '{"image_path": "')
        file.writelines(["a" * 1_000_000] * 300)


def _one_row_of_many_lines(path: Path) -> None:
    with path.open("w") as file:
        file.write("image_path,embedding,model_id\n")
        file.writelines(['"a\n",' * 10_000] * 2_000)


GROWING = {
    "line.csv": _one_line,
    "row.csv": _one_row_of_many_lines,
    "line.jsonl": _one_line,
    "rows.parquet": _many_rows,
    "text.parquet": _long_text,
    "texts.parquet": _a_text_again_and_again,
    "embedding.parquet": _long_embedding,
    "rows.npz": _many_npz_rows,
    "lying.npz": _lying_npz,
    "rows.csv": _short_lines,
}

READ = """if True:
    import sys
    from pathlib import Path
    from lightface.errors import TableError
    from lightface.tables import read_faces
    import pyarrow.parquet, pyarrow.compute

    def peak_mb() -> int:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

    before = peak_mb()
    try:
        read_faces(Path(sys.argv[1]))
        print("it was read")
    except TableError as error:
        print(error)
    print(peak_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
@pytest.mark.parametrize("name", GROWING)
def test_a_small_table_that_would_grow_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    GROWING[name](tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / name], capture_output=True, text=True, check=True, timeout=120
    )
    error, grown_mb = done.stdout.splitlines()
    assert error.startswith(f"cannot read '{tmp_path / name}'") and "give a table that 'lightface embed' wrote" in error
    assert int(grown_mb) < 400


def test_a_row_may_be_long_and_have_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    note = "x\n" * 40_000
    path.write_text(f'image_path,embedding,model_id,note\n"a\nb.jpg",,,"{note}"\n' + f'c.jpg,,,"{note}"\n' * 20)
    assert [row.image_path.name for row in read_faces(path)] == ["a\nb.jpg", *["c.jpg"] * 20]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_that_a_spreadsheet_saved_again(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / f"faces{suffix}"
    write_faces(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a byte order mark
    assert [row.image_path for row in read_faces(path)] == [row.image_path for row in rows]


def _columns(**changes: object) -> dict[str, Any]:
    return {
        "image_path": np.array(["a", "b"]),
        "embedding": np.tile(EMBEDDING, (2, 1)),
        "model_id": np.array(["m", "m"]),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_path": np.array(["a", None], object)}, "its column image_path is damaged, or of objects"),
        ({"embedding": np.array([None, 1], object)}, "its column embedding is damaged, or of objects"),
        ({"embedding": np.array([["a"] * 256] * 2)}, "its column embedding is of the type <U1"),
        ({"embedding": np.zeros((2, 256), "datetime64[s]")}, "its column embedding is of the type datetime64"),
        ({"embedding": np.zeros((2, 256), np.complex64)}, "its column embedding is of the type complex64"),
        ({"image_path": np.array([b"a", b"b"])}, "its column image_path is of the type"),
        ({"image_path": np.zeros(2, [("a", "i4")])}, "its column image_path is of the type"),
        ({"image_path": np.array("a")}, "its columns are of different lengths"),
        ({"embedding": np.ones((2, 3, 4))}, "embedding is not 256 numbers"),
    ],
)
def test_a_malformed_npz_is_refused_in_words_of_ours(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "faces.npz"
    np.savez(path, **_columns(**changes))
    with pytest.raises(TableError) as caught:
        read_faces(path)
    assert words in str(caught.value) and "pickle" not in str(caught.value)


def test_what_is_no_npz_advises_nobody_to_unpickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", **_columns())
    assert len(read_faces(tmp_path / "good.npz")) == 2
    np.save(tmp_path / "single.npy", np.zeros(3))
    good, path = (tmp_path / "good.npz").read_bytes(), tmp_path / "faces.npz"
    for data in (bytes(5000), good[: len(good) // 2], (tmp_path / "single.npy").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(TableError, match="it is no NPZ file") as caught:
            read_faces(path)
        assert "pickle" not in str(caught.value)


def test_many_photographs_without_a_face_are_read(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    count = 50_000
    write_faces(
        path,
        (
            FaceRow(image_path=Path(f"/photos/{number}.jpg"), status=Status.ERROR, error="face_not_found")
            for number in range(count)
        ),
    )
    assert len(read_faces(path)) == count


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    for suffix in TABLE_SUFFIXES:
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(TableError, match="it is a pipe or a device, not a regular file"):
            read_faces(tmp_path / f"pipe{suffix}")


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_in_a_file_whose_name_is_no_text(tmp_path: Path, suffix: str, rows: list[FaceRow]) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n" + suffix.encode())
    write_faces(path, rows)
    assert [row.image_path for row in read_faces(path)] == [row.image_path for row in rows]

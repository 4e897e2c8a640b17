"""InsightFace's pickles and the crops of the training index."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faces_of_colour import colour_of, make_colour_pipeline
from PIL import Image
from pyarrow.csv import ConvertOptions, read_csv

from lightface.errors import EvaluationError
from lightface.evaluation.evaluate import evaluate_pairs
from lightface.evaluation.pair_list import Framing
from lightface.evaluation.protocols import ProtocolName, read_protocol, recognise_protocol


def encode(person: int, picture: int, size: int = 112) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (size, size), colour_of(person, picture)).save(buffer, "PNG")
    return buffer.getvalue()


def make_content() -> tuple[list[bytes], list[bool]]:
    """Ten people: a pair of each, and a pair of each with the next."""
    crops, labels = [], []
    for person in range(1, 11):
        crops += [encode(person, 1), encode(person, 2), encode(person, 1), encode(person % 10 + 1, 1)]
        labels += [True, False]
    return crops, labels


@pytest.mark.parametrize("as_list", [True, False])
def test_insightfaces_pickle(tmp_path: Path, as_list: bool) -> None:
    path = tmp_path / "lfw.bin"
    content: Any = make_content()
    path.write_bytes(pickle.dumps(list(content) if as_list else content, protocol=4))
    assert recognise_protocol(path) is ProtocolName.INSIGHTFACE_BIN
    pairs = read_protocol(path)
    assert pairs.framing is Framing.ARCFACE and pairs.same.tolist() == [True, False] * 10
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 2).tolist()
    evaluation = evaluate_pairs(make_colour_pipeline(noise=0.2), pairs)
    assert evaluation.failures == () and evaluation.figures.equal_error_rate.estimate == 0  # type: ignore[union-attr]


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Protocol 2 with its byte strings, as Python 2 wrote them: SHORT_BINSTRING or BINSTRING."""
    crops, labels = make_content()
    parts = [b"\x80\x02]("]
    parts += [b"T" + len(crop).to_bytes(4, "little") + crop for crop in crops]
    parts += [b"e]("] + [b"\x88" if label else b"\x89" for label in labels] + [b"e\x86."]
    (tmp_path / "old.bin").write_bytes(b"".join(parts))
    pairs = read_protocol(tmp_path / "old.bin")
    assert pairs.a.size == 20 and pairs.pictures[0].load().image_rgb[0, 0].tolist() == [10, 20, 100]


class Evil:
    """Runs a command when it is unpickled by anybody who lets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.marker, "owned")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_something_runs_nothing(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([encode(1, 1), Evil(marker)], [True]), protocol=protocol))
    with pytest.raises(EvaluationError, match=r"it asks for .* and no such file needs that"):
        read_protocol(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (([b"a"], [True]), "does not hold two pictures for each label"),
        ("text", "does not hold two pictures"),
        (([b"a", "b"], [True]), "picture 1 is a str"),
        (([b"a", b"b"], [2]), "label 0 is neither true nor false"),
        (([np.zeros(3), b"b"], [True]), "it asks for"),
    ],
)
def test_what_is_not_of_that_form(tmp_path: Path, content: object, problem: str) -> None:
    (tmp_path / "odd.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(EvaluationError, match=problem):
        read_protocol(tmp_path / "odd.bin")


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps(make_content())[:-200], b"\x80\x04\x82\x01."])
def test_damaged_pickles_are_refused_in_a_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "damaged.bin").write_bytes(data)
    with pytest.raises(EvaluationError, match=r"damaged\.bin is not read"):
        read_protocol(tmp_path / "damaged.bin")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Two people with three crops each in a shard, the last crop of nobody known."""
    with zipfile.ZipFile(tmp_path / "dev-00.zip", "w") as shard:
        for row in range(7):
            shard.writestr(f"{row}.png", encode(row // 3 + 1, row % 3, size=144))
    lines = [
        f"{row},dev-00.zip,{row}.png,{'dev' if row else 'train'},{'' if row == 6 else row // 3}" for row in range(7)
    ]
    (tmp_path / "index.csv").write_text("\n".join(["row,shard,name,split,identity", *lines]))
    (tmp_path / "dev-pairs.csv").write_text("row_a,row_b,same\n1,2,1\n3,4,1\n1,3,0\n4,6,0\n")
    return tmp_path


def test_crops_by_their_index_and_pairs(crops: Path) -> None:
    assert recognise_protocol(crops) is ProtocolName.CROPS
    pairs = read_protocol(crops)
    assert [picture.name for picture in pairs.pictures] == [f"dev-00.zip/{row}.png" for row in (1, 2, 3, 4, 6)]
    assert pairs.same.tolist() == [True, True, False, False] and pairs.framing is Framing.LIGHTCNN
    assert pairs.people.tolist() == [0, 0, 1, 1, 2] and pairs.knows_people
    evaluation = evaluate_pairs(make_colour_pipeline(noise=0.2), pairs)
    assert evaluation.failures == () and evaluation.figures.area.estimate == 1  # type: ignore[union-attr]


def test_an_index_in_parquet_of_crops_in_a_tar_says_the_same(crops: Path) -> None:
    """What `train` reads, `evaluate` reads, too."""
    before = read_protocol(crops)
    with zipfile.ZipFile(crops / "dev-00.zip") as packed, tarfile.open(crops / "dev-00.tar", "w") as tar:
        for name in packed.namelist():
            member = tarfile.TarInfo(name)
            member.size = packed.getinfo(name).file_size
            tar.addfile(member, packed.open(name))
    table = read_csv(crops / "index.csv", convert_options=ConvertOptions(column_types={"identity": pa.string()}))
    table = table.set_column(table.column_names.index("shard"), "shard", pa.array(["dev-00.tar"] * len(table)))
    pq.write_table(table, crops / "index.parquet")
    (crops / "index.csv").unlink()
    assert recognise_protocol(crops) is recognise_protocol(crops / "index.parquet") is ProtocolName.CROPS
    pairs = read_protocol(crops)
    assert [picture.name for picture in pairs.pictures][:2] == ["dev-00.tar/1.png", "dev-00.tar/2.png"]
    assert [one.sha256() for one in pairs.pictures] == [one.sha256() for one in before.pictures]
    assert pairs.same.tolist() == before.same.tolist() and pairs.people.tolist() == before.people.tolist()


def test_without_pairs_all_labelled_development_crops_are_paired(crops: Path) -> None:
    (crops / "dev-pairs.csv").unlink()
    pairs = read_protocol(crops)
    assert [picture.name for picture in pairs.pictures] == [f"dev-00.zip/{row}.png" for row in range(1, 6)]
    assert pairs.same.sum() == 1 + 3 and (~pairs.same).sum() == 2 * 3


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("dev-pairs.csv", "row_a,row_b\n1,2\n", "has no column 'same'"),
        ("dev-pairs.csv", "row_a,row_b,same\n1,2,1\n1,2\n", "row 1, '1,2,', is no pair"),
        ("dev-pairs.csv", "row_a,row_b,same\n1,2,1\n1,x,0\n", "row 1, '1,x,0', is no pair"),
        ("dev-pairs.csv", "row_a,row_b,same\n1,2,1\n1,99,0\n", "names row 99, and the index has no such row"),
        ("index.csv", "row,name\n0,a\n", "row 0 has no 'shard'"),
        ("index.csv", "shard,name\na.zip,b.png\n../up.zip,b.png\n", "row 1 names '../up.zip', which leaves its folder"),
        ("index.csv", "shard,name\n" + "gone.zip,b.png\n" * 7, "cannot open .*gone.zip"),
    ],
)
def test_a_malformed_index_names_its_row(crops: Path, file: str, text: str, problem: str) -> None:
    (crops / file).write_text(text)
    with pytest.raises(EvaluationError, match=problem):
        read_protocol(crops)


def test_a_member_that_is_missing_is_a_failure_like_any_other(crops: Path) -> None:
    index = (crops / "index.csv").read_text().replace(",6.png", ",gone.png")
    (crops / "index.csv").write_text(index)
    evaluation = evaluate_pairs(make_colour_pipeline(noise=0.2), read_protocol(crops))
    (failure,) = evaluation.failures
    assert (failure.name, failure.reason) == ("dev-00.zip/gone.png", "invalid_image")
    assert evaluation.figures.impostors_lost == 1

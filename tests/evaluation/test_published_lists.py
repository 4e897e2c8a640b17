"""LFW, CALFW, CPLFW, AgeDB-30 and CFP-FP in the layouts that they are published in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from faces_of_colour import make_colour_pipeline, paint_person

from lightface.errors import EvaluationError
from lightface.evaluation.evaluate import evaluate_pairs
from lightface.evaluation.protocols import ProtocolName, lfw, read_protocol, recognise_protocol
from lightface.records import FaceSelection


def make_lfw(folder: Path, *, images: str = "lfw_funneled") -> Path:
    """Ten sets of two pairs of one person and two pairs of different people."""
    lines = ["10\t2"]
    for fold in range(10):
        person, other = f"Person_{fold}", f"Person_{(fold + 1) % 10}"
        lines += [f"{person}\t1\t{2 + number}" for number in range(2)]
        lines += [f"{person}\t{1 + number}\t{other}\t1" for number in range(2)]
        for number in range(1, 4):
            paint_person(folder / images / person / f"{person}_{number:04d}.jpg", fold + 1, number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("images", [".", "lfw", "lfw_funneled", "lfw-deepfunneled"])
def test_lfw_beside_its_list(tmp_path: Path, images: str) -> None:
    folder = make_lfw(tmp_path, images=images)
    assert recognise_protocol(folder) is ProtocolName.LFW
    pairs = read_protocol(folder)
    assert pairs.a.size == 40 and pairs.same.sum() == 20
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 4).tolist()
    assert pairs.same[:4].tolist() == [True, True, False, False]
    assert pairs.pictures[0].name == "Person_0/Person_0_0001.jpg"
    assert len(set(pairs.people.tolist())) == 10 and pairs.is_consistent
    assert pairs.selection is FaceSelection.CENTER
    evaluation = evaluate_pairs(make_colour_pipeline(noise=0.2), pairs)
    assert evaluation.failures == ()
    assert evaluation.figures.accuracy is not None and evaluation.figures.accuracy.mean == 1


def test_lfw_as_scikit_learn_leaves_it(tmp_path: Path) -> None:
    home = tmp_path / "scikit_learn_data"
    make_lfw(home / "lfw_home")
    for path in (home, home / "lfw_home", home / "lfw_home" / "pairs.txt"):
        assert read_protocol(path).a.size == 40
    shutil.move(home / "lfw_home" / "lfw_funneled", tmp_path / "elsewhere")
    with pytest.raises(EvaluationError, match=r"no folder 'Person_0' .* `images`"):
        read_protocol(home)
    assert read_protocol(home, images=tmp_path / "elsewhere").a.size == 40


def test_lfws_view_1_has_no_folds(tmp_path: Path) -> None:
    folder = make_lfw(tmp_path)
    lines = (folder / "pairs.txt").read_text().splitlines()[1:]
    (folder / "pairsDevTest.txt").write_text("\n".join(["20", *lines]))
    pairs = read_protocol(folder / "pairsDevTest.txt")
    assert np.bincount(pairs.folds[pairs.same]).tolist() == [2] * 10


def test_download_asks_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("sklearn.datasets.fetch_lfw_pairs", lambda **how: asked.append(how))
    lfw.download_lfw(tmp_path)
    assert asked[0]["data_home"] == str(tmp_path)

    def fail(**how: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("sklearn.datasets.fetch_lfw_pairs", fail)
    with pytest.raises(EvaluationError, match=r"could not fetch LFW .no route to host."):
        lfw.download_lfw(tmp_path)


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (1, "ten\t2", "no count of pairs"),
        (1, "9\t2", "View 2 has ten"),
        (1, "10\t3", "60 pairs are announced and 40 listed"),
        (7, "Person_1\t1", "2 columns"),
        (7, "Person_1\tone\t2", "'Person_1' 'one' is no picture"),
        (7, "../secret\t1\t2", "is no picture"),
    ],
)
def test_a_malformed_lfw_list_names_its_line(tmp_path: Path, line: int, text: str, problem: str) -> None:
    listed = make_lfw(tmp_path) / "pairs.txt"
    lines = listed.read_text().splitlines()
    lines[line - 1] = text
    listed.write_text("\n".join(lines))
    with pytest.raises(EvaluationError, match=f"pairs.txt, line {line}: .*{problem}"):
        read_protocol(listed)


@pytest.mark.parametrize(("name", "first_label"), [("CALFW", 7), ("CPLFW", 1)])
def test_cross_lfw(tmp_path: Path, name: str, first_label: int) -> None:
    rows = [("Ann_Lee_0001.jpg", first_label), ("Ann_Lee_0002.jpg", first_label)]
    rows += [("Ann_Lee_0001.jpg", 0), ("Bo_0001.jpg", 0)]
    listed = tmp_path / f"pairs_{name}.txt"
    listed.write_text("".join(f"{file} {label}\n" for file, label in rows))
    (tmp_path / "aligned images").mkdir()
    assert recognise_protocol(tmp_path) == name.lower()
    pairs = read_protocol(tmp_path)
    assert pairs.name == name and pairs.same.tolist() == [True, False]
    assert pairs.person_names == ("Ann_Lee", "Bo") and pairs.people.tolist() == [0, 0, 1]
    assert pairs.pictures[2].path == tmp_path / "aligned images" / "Bo_0001.jpg"  # type: ignore[attr-defined]
    for text, problem in [
        ("Ann_Lee_0001.jpg 1\n", "line 1: the second picture of the pair is missing"),
        ("Ann_Lee_0001.jpg 1\nBo_0001.jpg 0\n", "line 2: the pair has the labels 1 and 0"),
        ("Ann_Lee_0001.jpg 1\nBo_0001.jpg\n", "line 2: 'Bo_0001.jpg' is no picture and label"),
        ("Ann_Lee_0001.jpg 1\n../Bo.jpg 1\n", "line 2: '../Bo.jpg 1' is no picture and label"),
    ]:
        listed.write_text(text)
        with pytest.raises(EvaluationError, match=problem):
            read_protocol(listed)


def write_agedb_protocol(path: Path, splits: list[list[tuple[str, str, int]]]) -> None:
    """The nesting of 04_FINAL_protocol_30_years.mat: cells of structures of cells of structures."""

    def cell(items: list[Any]) -> np.ndarray:
        array = np.empty(len(items), object)
        array[:] = items
        return array

    outer = np.empty((len(splits), 1), object)
    for row, split in enumerate(splits):
        pictures = np.empty((2, len(split)), object)
        for column, pair in enumerate(split):
            for side in (0, 1):
                pictures[side, column] = {"name": cell([pair[side]])[0], "age": 30}
        outer[row, 0] = {"pairs": pictures, "labels": np.array([[pair[2] for pair in split]])}
    scipy.io.savemat(path, {"splits": outer})


def test_agedb_in_matlab_and_as_text(tmp_path: Path) -> None:
    splits = [
        [(f"Ann{fold}_1_20", f"Ann{fold}_2_50", 1), (f"Ann{fold}_1_20", f"Bo{fold}_3_50", -1)] for fold in range(10)
    ]
    listed = tmp_path / "04_FINAL_protocol_30_years.mat"
    write_agedb_protocol(listed, splits)
    (tmp_path / "03_Protocol_Images").mkdir()
    assert recognise_protocol(tmp_path) is ProtocolName.AGEDB_30
    pairs = read_protocol(tmp_path)
    assert pairs.same.tolist() == [True, False] * 10
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 2).tolist()
    first = pairs.pictures[0]
    assert first.path == tmp_path / "03_Protocol_Images" / "Ann0_1_20.jpg"  # type: ignore[attr-defined]

    text = tmp_path / "agedb_30_pair.txt"
    text.write_text("".join(f"{a}.jpg {b}.jpg {label}\n" for split in splits for a, b, label in split))
    again = read_protocol(text)
    assert again.same.tolist() == pairs.same.tolist() and again.folds.tolist() == pairs.folds.tolist()

    text.write_text("a.jpg b.jpg 1\na.jpg b.jpg 2\n")
    with pytest.raises(EvaluationError, match=r"line 2: 'a.jpg b.jpg 2' is no pair"):
        read_protocol(text)
    write_agedb_protocol(listed, [[("../a", "b", 1)]])
    with pytest.raises(EvaluationError, match="not laid out as AgeDB's protocol"):
        read_protocol(listed)
    listed.write_bytes(b"MATLAB? no")
    with pytest.raises(EvaluationError, match=r"AgeDB|cannot read"):
        read_protocol(listed)


def make_cfp(folder: Path) -> Path:
    protocol = folder / "Protocol"
    for kind, view in (("F", "frontal"), ("P", "profile")):
        lines = [f"{number} ../Data/Images/{number:03d}/{view}/01.jpg" for number in range(1, 12)]
        protocol.mkdir(parents=True, exist_ok=True)
        (protocol / f"Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for fold in range(1, 11):
        split = protocol / "Split" / "FP" / f"{fold:02d}"
        split.mkdir(parents=True)
        (split / "same.txt").write_text(f"{fold},{fold}\n")
        (split / "diff.txt").write_text(f"{fold},{fold + 1}\n")
    return folder


def test_cfp(tmp_path: Path) -> None:
    folder = make_cfp(tmp_path)
    assert recognise_protocol(folder) is ProtocolName.CFP_FP
    pairs = read_protocol(folder)
    assert pairs.same.tolist() == [True, False] * 10 and pairs.folds.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert pairs.pictures[1].path == folder / "Data" / "Images" / "001" / "profile" / "01.jpg"  # type: ignore[attr-defined]
    assert pairs.person_names[:2] == ("001", "002") and pairs.is_consistent
    split = folder / "Protocol" / "Split" / "FP" / "03"
    (split / "diff.txt").write_text("3,4\n3;5\n")
    with pytest.raises(EvaluationError, match=r"diff.txt, line 2: '3;5' is no pair"):
        read_protocol(folder)
    (split / "diff.txt").write_text("3,99\n")
    with pytest.raises(EvaluationError, match=r"diff.txt, line 1: '3,99' names a picture that no list has"):
        read_protocol(folder)
    (split / "diff.txt").unlink()
    with pytest.raises(EvaluationError, match="cannot read the list"):
        read_protocol(folder)
    (folder / "Protocol" / "Pair_list_P.txt").write_text("1 ../Data/Images/001/profile/01.jpg\nnonsense\n")
    with pytest.raises(EvaluationError, match=r"Pair_list_P.txt, line 2: 'nonsense' is no numbered picture"):
        read_protocol(folder)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import Framing, stratified_folds
from lightface.evaluation.protocols import ProtocolName, read_protocol, recognise_protocol


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_labels_and_a_header(tmp_path: Path) -> None:
    listed = write(
        tmp_path / "pairs.csv",
        '\ufefffirst,second,same\na.jpg,b.jpg,1\n\n"c, d.jpg",a.jpg,different\nb.jpg,e.jpg,YES\nf.jpg,c.jpg,0\n',
    )
    pairs = read_protocol(listed)
    names = [picture.name for picture in pairs.pictures]
    assert names == ["a.jpg", "b.jpg", "c, d.jpg", "e.jpg", "f.jpg", "c.jpg"]
    assert pairs.a.tolist() == [0, 2, 1, 4] and pairs.b.tolist() == [1, 0, 3, 5]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.pictures[0].path == tmp_path / "a.jpg"  # type: ignore[attr-defined]
    # a, b and e are of one person, by way of b.
    assert pairs.people[[0, 1, 3]].tolist() == [pairs.people[0]] * 3
    assert len(set(pairs.people.tolist())) == 4 and not pairs.knows_people
    assert (pairs.framing, recognise_protocol(listed)) == (Framing.DETECT, ProtocolName.PAIRS)


def test_pictures_elsewhere_and_absolute_paths(tmp_path: Path) -> None:
    listed = write(tmp_path / "pairs.csv", f"a.jpg,{tmp_path / 'b.jpg'},1\na.jpg,c.jpg,0\n")
    pairs = read_protocol(listed, images=tmp_path / "there", framing=Framing.LIGHTCNN)
    paths = [picture.path for picture in pairs.pictures]  # type: ignore[attr-defined]
    assert paths == [tmp_path / "there" / "a.jpg", tmp_path / "b.jpg", tmp_path / "there" / "c.jpg"]
    assert pairs.framing is Framing.LIGHTCNN


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a,b,1\na,c\n", 2, "2 columns"),
        ("a.jpg,b.jpg,maybe\na.jpg,c.jpg,0\n", 1, "'maybe' is no label"),
        ("a,b,1\na,c,0\nb,c,maybe\n", 3, "'maybe' is no label"),
        ("a,b,same\n\na,b,c,0\n", 3, "4 columns"),
        ("a,b,1\n,c,0\n", 2, "a path is missing"),
        ('a,b,1\n"a"x,c,0\n', 2, "not CSV"),
    ],
)
def test_a_malformed_list_names_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    listed = write(tmp_path / "pairs.csv", text)
    with pytest.raises(EvaluationError, match=f"pairs.csv, line {line}: .*{problem}"):
        read_protocol(listed)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no pairs"), ("a,b,1\n", "no pairs of different people")],
)
def test_an_empty_class_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(EvaluationError, match=f"has {problem}, so nothing can be measured"):
        read_protocol(write(tmp_path / "pairs.csv", text))


def test_pairs_of_different_people_alone_are_enough_for_false_matches(tmp_path: Path) -> None:
    assert read_protocol(write(tmp_path / "pairs.csv", "a,b,0\nc,d,0\n")).same.tolist() == [False, False]


def test_a_list_that_contradicts_itself_is_known_for_it(tmp_path: Path) -> None:
    text = "a,b,1\nb,c,1\na,c,{}\nd,a,0\n"
    assert read_protocol(write(tmp_path / "pairs.csv", text.format(1))).is_consistent
    assert not read_protocol(write(tmp_path / "pairs.csv", text.format(0))).is_consistent


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="does not exist"):
        read_protocol(tmp_path / "missing.csv")
    with pytest.raises(EvaluationError, match="`protocol`, one of pairs, lfw"):
        read_protocol(write(tmp_path / "list.xyz", "a,b,1\n"))
    (tmp_path / "zip.csv").write_bytes(b"PK\0\3")
    with pytest.raises(EvaluationError, match=r"zip.csv is not a text; give the list itself, saved as CSV UTF-8"):
        read_protocol(tmp_path / "zip.csv")


def test_folds_hold_a_tenth_of_either_kind() -> None:
    same = np.arange(330) < 30
    folds = stratified_folds(same)
    assert np.bincount(folds[same]).tolist() == [3] * 10 and np.bincount(folds[~same]).tolist() == [30] * 10

"""A person out of photographs, and the photographs that show them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import (
    ConfigError,
    FaceNotFoundError,
    LowQualityError,
    ModelMismatchError,
    ThresholdError,
)
from lightface.matching import template_factor
from lightface.models.registry import WeightsRecord, find_weights
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.pipeline.find import QueryPerson, describe_embedded, describe_person, find_person, search_threshold
from lightface.records import FaceEmbedding, FaceSelection, FloatArray, Status
from lightface.tables import FaceRow

MODEL = "lightcnn9-ba1f0cdb94be+flip"


@pytest.fixture
def record() -> WeightsRecord:
    return find_weights("lightcnn9")


def unit(*values: float) -> FloatArray:
    """A unit vector that begins with these values; what is missing to length 1 lies on the last axis."""
    vector = np.zeros(256, np.float32)
    vector[: len(values)] = values
    vector[-1] = np.sqrt(max(0.0, 1 - float(vector @ vector)))
    return vector


def photo(name: str, vector: FloatArray) -> PhotoFaces:
    return PhotoFaces(Path("/query", name), None, faces=(FaceEmbedding(vector, MODEL, None, 0.9),))


def row(name: str, similarity: float, index: int = 0) -> FaceRow:
    """A face of this cosine to the person of `ada`."""
    vector = np.zeros(256, np.float32)
    vector[0], vector[1 + index] = similarity, np.sqrt(1 - similarity**2)
    place = Path("/photos", name)
    return FaceRow(image_path=place, face_index=index, embedding=vector, model_id=MODEL, status=Status.EMBEDDED)


@pytest.fixture
def ada(record: WeightsRecord) -> QueryPerson:
    return describe_embedded([photo("ada.jpg", unit(1.0))], record)


def names(search: object) -> list[str]:
    return [one.face.image_path.name for one in search.found]  # type: ignore[attr-defined]


def test_photographs_are_found_by_likeness_down_to_the_threshold_inclusive(ada: QueryPerson) -> None:
    empty = FaceRow(image_path=Path("/photos/empty.jpg"), status=Status.ERROR, error="face_not_found")
    search = find_person(ada, [row("low.jpg", 0.25), row("exact.jpg", 0.5), row("high.jpg", 0.9), empty], threshold=0.5)
    assert names(search) == ["high.jpg", "exact.jpg"]
    assert (search.faces_searched, search.photos_searched, search.is_found) == (3, 3, True)
    assert str(search) == "2 photographs of 3 found; searched 3 faces at threshold 0.500"
    assert [(one.status, one.threshold) for one in search.rows()] == [(Status.MATCHED, 0.5)] * 2
    assert search.rows()[1].similarity == pytest.approx(0.5)


def test_nobody_is_found_twice_on_one_photograph(ada: QueryPerson) -> None:
    search = find_person(ada, [row("a.jpg", 0.7, 0), row("a.jpg", 0.8, 1)], threshold=0.5)
    assert [(one.face.face_index, round(one.similarity, 2)) for one in search.found] == [(1, 0.8)]


def test_a_limit_says_what_it_leaves_out(ada: QueryPerson) -> None:
    search = find_person(ada, [row(f"{number}.jpg", number / 10) for number in (6, 7, 8)], threshold=0.5, limit=2)
    assert names(search) == ["8.jpg", "7.jpg"] and search.left_out == 1 and search.is_found
    with pytest.raises(ConfigError, match="limit"):
        find_person(ada, [row("a.jpg", 0.9)], threshold=0.5, limit=0)


def test_a_photograph_that_was_given_does_not_count_as_found(ada: QueryPerson) -> None:
    own = replace(row("x", 0.999), image_path=Path("/query/ada.jpg"))
    search = find_person(ada, [own, row("low.jpg", 0.3)], threshold=0.5)
    assert [one.is_query for one in search.found] == [True]
    assert not search.is_found
    assert search.nearest is not None and search.nearest.face.image_path.name == "low.jpg"
    both = find_person(ada, [own, row("high.jpg", 0.8)], threshold=0.5, limit=1)
    assert both.is_found and both.nearest is None


def test_a_link_to_a_photograph_that_was_given_is_known_again(record: WeightsRecord, tmp_path: Path) -> None:
    (tmp_path / "ada.jpg").write_bytes(b"")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "ada.jpg")
    given = replace(photo("", unit(1.0)), path=tmp_path / "link.jpg")
    own = replace(row("x", 0.999), image_path=tmp_path / "ada.jpg")
    assert find_person(describe_embedded([given], record), [own], threshold=0.5).found[0].is_query


def test_the_search_as_json(ada: QueryPerson) -> None:
    search = json.loads(json.dumps(find_person(ada, [row("a.jpg", 0.8)], threshold=0.5).to_dict()))
    assert set(search) == {
        *("schema_version", "model_id", "threshold", "faces_searched", "photographs_searched"),
        *("query", "found", "left_out_by_limit", "nearest"),
    }
    assert (search["schema_version"], search["threshold"]) == (1, 0.5)
    assert search["query"] == [{"image_path": "/query/ada.jpg", "bbox": None, "similarity_to_others": None}]
    assert search["found"] == [
        {
            "image_path": "/photos/a.jpg",
            "face_index": 0,
            "bbox": None,
            "similarity": pytest.approx(0.8),
            "threshold": 0.5,
            "is_query": False,
        }
    ]


def test_the_threshold_rises_with_the_faces_and_with_the_photographs_of_the_person(record: WeightsRecord) -> None:
    few, hundred, many = (search_threshold(record, count) for count in (1, 100, 10_000))
    assert few == hundred == pytest.approx(record.thresholds["1e-3"])  # never looser than for two photographs
    # At 0.1 strangers a search of 10,000 faces: a rate of 1e-5, beyond those that were measured.
    assert record.thresholds["1e-4"] < many < 0.7
    assert search_threshold(record, 10_000, query_count=3) == pytest.approx(many * template_factor({3: 1}))


def test_weights_without_thresholds_need_one(record: WeightsRecord, ada: QueryPerson) -> None:
    with pytest.raises(ThresholdError, match="`threshold`"):
        search_threshold(replace(record, thresholds={}), 10)
    with pytest.raises(ThresholdError):
        find_person(ada, [row("a.jpg", 0.9)], threshold=float("nan"))


def test_several_photographs_are_one_person_by_their_mean(record: WeightsRecord) -> None:
    person = describe_embedded(
        [photo("a.jpg", unit(0.8, 0.6)), photo("b.jpg", unit(0.8, -0.6))], record, even_if_unlike=True
    )
    np.testing.assert_allclose(person.vector[:2], [1, 0], atol=1e-3)
    assert [one.similarity for one in person.faces] == pytest.approx([0.28, 0.28], abs=1e-3)


def test_photographs_that_are_unlike_are_told_and_clearly_different_people_refused(record: WeightsRecord) -> None:
    ada, doubtful, eve = photo("a.jpg", unit(1.0)), photo("b.jpg", unit(0.4)), photo("c.jpg", unit(0.0, 1.0))
    assert [one.path.name for one in describe_embedded([ada, doubtful], record).unlike] == ["a.jpg", "b.jpg"]
    assert describe_embedded([ada, photo("d.jpg", unit(0.9))], record).unlike == ()
    with pytest.raises(ConfigError, match=r"a\.jpg and /query/c\.jpg seem to show two people .*`even_if_unlike`"):
        describe_embedded([ada, eve], record)
    with pytest.raises(ConfigError, match=r"c\.jpg seems to show somebody else than the other photographs"):
        describe_embedded([ada, photo("d.jpg", unit(0.9)), eve], record)
    assert len(describe_embedded([ada, eve], record, even_if_unlike=True).unlike) == 2


def test_photographs_without_a_face_are_left_out_unless_all_are(record: WeightsRecord) -> None:
    dark = PhotoFaces(Path("/query/dark.jpg"), None, error=LowQualityError("the face is dark; take a light one"))
    person = describe_embedded([dark, photo("a.jpg", unit(1.0))], record)
    assert [one.path.name for one in person.failed] == ["dark.jpg"] and len(person.faces) == 1
    with pytest.raises(LowQualityError, match=r"dark\.jpg: the face is dark"):
        describe_embedded([dark], record)
    with pytest.raises(FaceNotFoundError, match="none of 2 photographs"):
        describe_embedded([dark, dark], record)
    with pytest.raises(FaceNotFoundError, match="no photograph was given"):
        describe_embedded([], record)


def test_one_face_of_each_photograph_is_looked_for(pipeline: FacePipeline) -> None:
    with pytest.raises(ConfigError, match="takes one face"):
        describe_person(pipeline, [], selection=FaceSelection.ALL)


def test_faces_of_other_weights_and_none_at_all_are_refused(ada: QueryPerson) -> None:
    with pytest.raises(
        ModelMismatchError, match=f"embedded by other, and those looked for by {MODEL.replace('+', '.')}"
    ):
        find_person(ada, [row("a.jpg", 0.9), replace(row("b.jpg", 0.9), model_id="other")], threshold=0.5)
    with pytest.raises(FaceNotFoundError, match="no face in what is to be searched"):
        find_person(ada, [FaceRow(image_path=Path("a.jpg"), status=Status.ERROR)], threshold=0.5)

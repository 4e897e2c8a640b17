"""Groups out of rows, and people out of groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import paint

from lightface.clustering import strict_threshold
from lightface.errors import ClusterError, FaceNotFoundError, IdentityConflictError, ThresholdError
from lightface.gallery import Gallery
from lightface.images import hash_file
from lightface.models.registry import find_weights
from lightface.pipeline.cluster import cluster_faces, enroll_groups
from lightface.records import Status
from lightface.tables import FaceRow

BOX = (10.0, 10.0, 60.0, 70.0)


def make_row(path: Path, axis: int, *, model_id: str = "tiny") -> FaceRow:
    """A face of cosine 0.8 to an axis, as a painted file."""
    number = int(path.stem)
    paint(path, (number, 5 * axis, 100))
    vector = np.zeros(256, np.float32)
    vector[axis], vector[100 + number] = 0.8, 0.6
    return FaceRow(
        image_path=path,
        face_index=0,
        bbox=BOX,
        det_score=0.99,
        quality=0.8,
        embedding=vector,
        model_id=model_id,
        status=Status.EMBEDDED,
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[FaceRow]:
    """Two faces of one person, three of another, one of a third, and a photograph without a face."""
    axes = [1, 2, 3, 1, 2, 2]
    faces = [make_row(tmp_path / f"{number}.png", axis) for number, axis in enumerate(axes)]
    return [*faces, FaceRow(image_path=Path("empty.png"), status=Status.ERROR, error="face_not_found")]


def places(faces: object) -> list[int]:
    return [int(one.face.image_path.stem) for one in faces]  # type: ignore[attr-defined]


def test_groups_by_size_and_typicality(rows: list[FaceRow]) -> None:
    groups = cluster_faces(rows, threshold=0.5)
    assert [sorted(places(group)) for group in groups.groups] == [[1, 4, 5], [0, 3]]
    assert places(groups.alone) == [2]
    assert [one.cluster for one in groups.faces] == [1, 1, 1, 2, 2, None]
    assert groups.faces[0].similarity == pytest.approx((2 * 0.64 + 1) / np.sqrt(3 + 6 * 0.64), abs=1e-4)
    assert groups.faces[-1].similarity is None
    assert (groups.model_id, groups.threshold) == ("tiny", 0.5)
    assert [len(group) for group in cluster_faces(rows, threshold=0.5, min_size=3).groups] == [3]
    assert [len(group) for group in cluster_faces(rows, threshold=0.5, min_size=1).groups] == [3, 2, 1]


def test_two_faces_of_one_photograph_are_two_people(rows: list[FaceRow]) -> None:
    twin = replace(rows[0], face_index=1, bbox=(100.0, 10.0, 150.0, 70.0))
    groups = cluster_faces([*rows, twin], threshold=0.5)
    assert all(len({one.face.image_path for one in group}) == len(group) for group in groups.groups)


def test_the_default_threshold_is_derived_from_those_of_the_weights(rows: list[FaceRow], tmp_path: Path) -> None:
    record = find_weights("lightcnn9")
    known = make_row(tmp_path / "9.png", 1, model_id=record.model_id)
    rates = {float(far): cosine for far, cosine in record.thresholds.items()}
    assert cluster_faces([known]).threshold == strict_threshold(rates, 1) > record.thresholds["1e-2"]
    many = [replace(known, image_path=Path(f"{number}.png")) for number in range(3000)]
    assert cluster_faces(many).threshold == strict_threshold(rates, 3000) > record.thresholds["1e-3"]
    with pytest.raises(ThresholdError, match="for tiny; give a `threshold`"):
        cluster_faces(rows)


def test_what_cannot_be_grouped(rows: list[FaceRow], tmp_path: Path) -> None:
    with pytest.raises(FaceNotFoundError, match="no face"):
        cluster_faces(rows[-1:], threshold=0.5)
    with pytest.raises(ClusterError, match=r"by 2 models \(other, tiny\)"):
        cluster_faces([*rows, make_row(tmp_path / "9.png", 1, model_id="other")], threshold=0.5)


def test_people_of_groups(rows: list[FaceRow], gallery: Gallery) -> None:
    heard: list[Any] = []
    results = enroll_groups(gallery, cluster_faces(rows, threshold=0.5), "Guest", progress=heard.append)
    assert [result.person_name for result in results] == ["Guest 1"] * 3 + ["Guest 2"] * 2
    assert {result.status for result in results} == {Status.ENROLLED}
    assert heard == results
    assert [person.name for person in gallery.people()] == ["Guest 1", "Guest 2"]
    sample = gallery.samples("Guest 2")[0]
    assert (sample.box_px, sample.model_id) == (BOX, "tiny") and sample.quality == pytest.approx(0.8)
    assert sample.image_sha256 == hash_file(Path(sample.source_path))


def test_a_photograph_that_is_gone_is_refused_alone(rows: list[FaceRow], gallery: Gallery) -> None:
    rows[5].image_path.unlink()
    results = enroll_groups(gallery, cluster_faces(rows, threshold=0.5), "Guest")
    (gone,) = [one for one in results if one.error is not None]
    assert gone.path == rows[5].image_path and gone.error is not None and gone.error.reason == "missing_file"
    assert [len(gallery.samples(name)) for name in ("Guest 1", "Guest 2")] == [2, 2]


def test_nobody_becomes_a_person_twice(rows: list[FaceRow], gallery: Gallery) -> None:
    enroll_groups(gallery, cluster_faces([rows[1], rows[4]], threshold=0.5), "Ada")
    results = enroll_groups(gallery, cluster_faces(rows, threshold=0.5), "Guest")
    known, new = results[:3], results[3:]  # the groups of 1, 4 and 5, and of 0 and 3
    assert all(isinstance(one.error, IdentityConflictError) for one in known)
    assert "group 1 resembles 'Ada 1', who is enrolled already" in str(known[0].error)
    assert {(one.person_name, one.status) for one in new} == {("Guest 1", Status.ENROLLED)}
    assert [(person.name, len(gallery.samples(person.id))) for person in gallery.people()] == [
        ("Ada 1", 2),
        ("Guest 1", 2),
    ]


def test_numbers_that_are_taken_are_passed_over(rows: list[FaceRow], gallery: Gallery) -> None:
    (first, second), _ = cluster_faces(rows, threshold=0.5).groups, None
    enroll_groups(gallery, cluster_faces([one.face for one in second], threshold=0.5), "GUEST")
    results = enroll_groups(gallery, cluster_faces([one.face for one in first], threshold=0.5), "Guest")
    assert {result.person_name for result in results} == {"Guest 2"}

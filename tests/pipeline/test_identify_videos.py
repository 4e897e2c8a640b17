"""Who is named for the tracks of a video."""

from __future__ import annotations

import numpy as np

from lightface.gallery.search import SearchResult
from lightface.pipeline.identify import _at_one_time
from lightface.records import FaceEmbedding, FloatArray, Match, Status, TimeSpan


def found(similarity: float, person_id: int = 1) -> SearchResult:
    return SearchResult(Match(person_id, f"Person {person_id}", similarity, Status.MATCHED, 0.5), ())


def seen(vector: FloatArray, start_s: float, end_s: float) -> FaceEmbedding:
    return FaceEmbedding(vector, "m", None, 0.5, TimeSpan(start_s, end_s, start_s))


def test_who_comes_back_is_named_twice_but_never_at_one_time() -> None:
    vector = np.eye(256, dtype=np.float32)[0]
    faces = [seen(vector, 0, 2), seen(vector, 5, 9), seen(vector, 8, 12), seen(vector, 8, 12)]
    results = _at_one_time([found(0.9), found(0.7), found(0.8), found(0.6, person_id=2)], faces)
    assert [None if one.match is None else one.match.person_id for one in results] == [1, None, 1, 2]

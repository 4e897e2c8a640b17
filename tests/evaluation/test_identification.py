from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.identification import measure_identification
from lightface.evaluation.pair_list import PackedPicture, PairList, stratified_folds
from lightface.measurement.pairs import pair_up


def make_list(people: np.ndarray) -> PairList:
    a, b, same = pair_up(people)
    return PairList(
        name="made up",
        source=Path("nowhere"),
        pictures=tuple(PackedPicture(str(number), b"") for number in range(people.size)),
        a=a,
        b=b,
        same=same,
        folds=stratified_folds(same),
        people=people,
        person_names=("",) * (int(people.max()) + 1),
        knows_people=True,
    )


def embed(vectors: np.ndarray, failed: tuple[int, ...] = ()) -> EmbeddedPictures:
    usable = np.ones(len(vectors), np.bool_)
    usable[list(failed)] = False
    rows = np.where(usable[:, None], vectors, 0).astype(np.float32)
    return EmbeddedPictures(
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), usable, np.full(usable.size, np.nan), ()
    )


def test_ranks_by_hand() -> None:
    # Three people with a direction each; picture 3 (of person 1) points to person 2 first and to its own second.
    people = np.array([0, 0, 1, 1, 2, 2])
    vectors = np.eye(3)[people] + 0.0
    vectors[3] = [0.1, 0.5, 0.8]
    figures = measure_identification(make_list(people), embed(vectors), fpirs=())
    assert figures is not None
    assert (figures.people_enrolled, figures.probes, figures.probes_failed) == (3, 3, 0)
    assert figures.rank_1.estimate == pytest.approx(2 / 3)
    assert figures.cmc == pytest.approx((2 / 3, 1, 1))


def test_failed_pictures_are_probes_that_are_not_found() -> None:
    people = np.repeat(np.arange(4), 3)
    figures = measure_identification(make_list(people), embed(np.eye(4)[people], failed=(0, 5)), fpirs=())
    assert figures is not None
    # Of the first two people one picture is enrolled, one is found, and one failed; of the others two are found.
    assert (figures.probes, figures.probes_failed) == (8, 2)
    assert figures.rank_1.estimate == pytest.approx(6 / 8)
    assert figures.cmc[-1] == pytest.approx(6 / 8)


def test_ties_count_against_the_right_person() -> None:
    people = np.repeat(np.arange(3), 2)
    figures = measure_identification(make_list(people), embed(np.ones((6, 3))), fpirs=())
    assert figures is not None and figures.cmc == (0, 0, 1)


def test_strangers_and_enrolled_people_at_one_threshold() -> None:
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 4)
    vectors = generator.normal(size=(30, 64))[people] + 0.4 * generator.normal(size=(120, 64))
    figures = measure_identification(make_list(people), embed(vectors), fpirs=(0.1, 0.01))
    assert figures is not None
    assert figures.stranger_probes == 120  # each once
    easy, hard = figures.open_set
    assert easy.tpir is not None and easy.tpir.estimate == 1 and 0.1 < (easy.threshold or 0) < 0.8
    assert easy.tpir.method == "Wilson" and easy.tpir.low == pytest.approx(60 / (60 + 1.96**2), abs=1e-3)
    assert hard.tpir is None and hard.strangers_missing == 880


def test_few_people_give_no_figures() -> None:
    people = np.array([0, 0, 1, 1, 2])
    assert measure_identification(make_list(people), embed(np.eye(3)[people])) is None

"""Numbers of groups from run to run."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lightface.pipeline.cluster import FaceGroups, GroupedFace
from lightface.pipeline.group_numbers import GroupNumbers, face_token, number_groups, read_numbers, write_numbers
from lightface.records import Status
from lightface.tables import FaceRow


def face(number: int, *, path: str = "a.jpg", noise: float = 0.0) -> GroupedFace:
    vector = np.random.default_rng(number).normal(size=256).astype(np.float32)
    vector = vector / np.linalg.norm(vector) + np.float32(noise)
    row = FaceRow(image_path=Path(path), embedding=vector, model_id="tiny", status=Status.EMBEDDED)
    return GroupedFace(row, 1)


def run(groups: Sequence[Sequence[int]], earlier: GroupNumbers) -> tuple[list[int | None], GroupNumbers]:
    made = FaceGroups("tiny", 0.5, tuple(tuple(map(face, group)) for group in groups), ())
    numbered, numbers = number_groups(made, earlier)
    assert all(len({one.cluster for one in group}) == 1 for group in numbered.groups)
    return [group[0].cluster for group in numbered.groups], numbers


FIRST: Sequence[Sequence[int]] = [range(10), range(10, 15), range(15, 18)]


@pytest.mark.parametrize(
    ("groups", "numbers"),
    [
        (FIRST, [1, 2, 3]),
        (FIRST[::-1], [3, 2, 1]),
        ([range(20, 60), *FIRST], [4, 1, 2, 3]),  # new ones on top
        ([range(10, 15), range(15, 18)], [2, 3]),  # one is gone
        ([range(6), range(6, 10)], [1, 4]),  # one in two parts: the larger keeps the number
        ([range(15)], [1]),  # two in one
        ([[*range(10, 15), *range(30, 60)]], [2]),  # grown to many times its size
        ([[0, *range(20, 40)]], [4]),  # a stray face takes no number with it
        ([[0, 1, 10, 11, 12], [2, 3, 13, 14]], [2, 1]),  # whatever shares most in sum
        ([], []),
    ],
)
def test_a_group_keeps_its_number_as_long_as_it_is_that_group(
    groups: Sequence[Sequence[int]], numbers: Sequence[int]
) -> None:
    _, earlier = run(FIRST, GroupNumbers())
    assert run(groups, earlier)[0] == numbers


def test_a_number_is_never_given_again_but_to_the_same_faces() -> None:
    _, kept = run(FIRST, GroupNumbers())
    numbers, kept = run([range(10)], kept)
    numbers, kept = run([range(40, 50), range(10)], kept)
    assert numbers == [4, 1]
    numbers, kept = run([range(60, 65), range(10, 15)], kept)
    assert (numbers, kept.last) == ([5, 2], 5)


def test_many_groups_are_matched_group_by_group() -> None:
    """No table of all groups against all numbers: that would have 10^8 entries."""
    groups = [[2 * number, 2 * number + 1] for number in range(10_000)]
    tokens: Mapping[str, int] = {
        token: place
        for place, group in enumerate(groups, start=1)
        for token in (face_token(face(one)) for one in group)
    }
    numbers, _ = run(groups[::-1], GroupNumbers(10_000, tokens))
    assert numbers == list(range(10_000, 0, -1))


def test_a_face_is_known_wherever_its_picture_lies_and_if_it_is_embedded_again() -> None:
    assert face_token(face(1)) == face_token(face(1, path="moved/b.jpg")) == face_token(face(1, noise=1e-8))
    assert face_token(face(1)).isalpha() and face_token(face(1)) != face_token(face(2))


def test_numbers_are_kept_privately_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "faces" / "a.groups.json"
    assert read_numbers(path) == GroupNumbers()
    numbers = GroupNumbers(7, {"abc": 3})
    write_numbers(path, numbers)
    assert read_numbers(path) == numbers
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o500)
    write_numbers(tmp_path / "a.groups.json", GroupNumbers(1, {}))
    assert "the next run may give others" in caplog.text


def test_a_place_that_is_a_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "faces").write_text("")
    write_numbers(tmp_path / "faces" / "a.groups.json", GroupNumbers(1, {}))
    assert "the next run may give others" in caplog.text

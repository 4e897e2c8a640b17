"""Which face of a photograph a job takes."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.detection import select_faces
from lightface.errors import FaceNotFoundError, MultipleFacesError
from lightface.records import BoxPx, DetectedFace, FaceSelection


def face(box_px: BoxPx) -> DetectedFace:
    return DetectedFace(box_px=box_px, landmarks_px=np.zeros((5, 2), np.float32), score=0.99)


LARGE_AT_EDGE = face((0, 0, 60, 80))
SMALL_IN_MIDDLE = face((90, 40, 120, 70))
SMALL_AT_EDGE = face((170, 70, 199, 99))
FACES = [LARGE_AT_EDGE, SMALL_IN_MIDDLE, SMALL_AT_EDGE]
SIZE = (100, 200)  # height, width


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (FaceSelection.LARGEST, [LARGE_AT_EDGE]),
        (FaceSelection.CENTER, [SMALL_IN_MIDDLE]),
        (FaceSelection.ALL, FACES),
    ],
)
def test_rules(selection: FaceSelection, expected: list[DetectedFace]) -> None:
    assert select_faces(FACES, selection, image_size=SIZE) == expected
    assert select_faces(FACES[::-1], selection, image_size=SIZE) in (expected, expected[::-1])


def test_the_middle_is_the_photographs_not_the_faces() -> None:
    assert select_faces(FACES, FaceSelection.CENTER, image_size=(190, 390)) == [SMALL_AT_EDGE]


def test_height_and_width_are_not_mistaken() -> None:
    low, right = face((40, 140, 60, 160)), face((140, 40, 160, 60))
    assert select_faces([low, right], FaceSelection.CENTER, image_size=(300, 100)) == [low]
    assert select_faces([low, right], FaceSelection.CENTER, image_size=(100, 300)) == [right]


@pytest.mark.parametrize("selection", FaceSelection)
def test_one_face_satisfies_every_rule(selection: FaceSelection) -> None:
    assert select_faces([SMALL_AT_EDGE], selection, image_size=SIZE) == [SMALL_AT_EDGE]


@pytest.mark.parametrize("selection", FaceSelection)
def test_no_face_is_an_error_under_every_rule(selection: FaceSelection) -> None:
    with pytest.raises(FaceNotFoundError, match="no face found"):
        select_faces([], selection, image_size=SIZE)


def test_require_one_refuses_two_and_says_how_to_choose() -> None:
    with pytest.raises(MultipleFacesError, match=r"3 faces found.*`selection`"):
        select_faces(FACES, FaceSelection.REQUIRE_ONE, image_size=SIZE)

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightface.errors import TrainingError
from lightface.images import load_photo
from lightface.records import ByteArray, DetectedFace
from lightface.training.people_folder import align_people


class OneFace:
    """Finds one face, with the eyes on row 200 and the mouth on row 296, twice the size of a training crop's."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        self.calls += 1
        if image_rgb.max() == 0:
            return []
        landmarks = np.array([[160, 200], [240, 200], [200, 250], [170, 296], [230, 296]], np.float32)
        return [DetectedFace((100, 100, 300, 350), landmarks, 0.99)]

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        return [self.detect(image) for image in images_rgb]

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        return list(faces)


def write(path: Path, image: ByteArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    photo = np.full((400, 400, 3), 90, np.uint8)
    photo[190:210, 190:210] = 255  # between the eyes
    write(tmp_path / "people/Alice/1.png", photo)
    write(tmp_path / "people/Bob/1.png", np.zeros((400, 400, 3), np.uint8))
    write(tmp_path / "people/Bob/2.png", np.full((144, 144, 3), 33, np.uint8))
    (tmp_path / "people/Bob/notes.txt").write_text("not a picture")
    return tmp_path / "people"


def test_faces_are_aligned_into_the_training_frame(people: Path, tmp_path: Path) -> None:
    entries, refused = align_people(people, cache=tmp_path / "cache", detector=OneFace())
    assert [entry.identity for entry in entries] == ["Alice", "Bob"]
    crop = load_photo(entries[0].file).image_rgb
    assert crop.shape == (144, 144, 3)
    # The middle of the eyes lies on column 72, row 48; the photograph's scale is halved.
    white = np.argwhere(crop[..., 0] > 200)
    assert white.mean(axis=0).tolist() == pytest.approx([47.5, 71.5], abs=1)
    assert len(white) == pytest.approx(100, abs=25)
    assert refused == ["Bob/1.png: no face found that is large and clear enough; use another photograph"]


def test_a_crop_of_the_training_size_is_taken_as_it_is(people: Path, tmp_path: Path) -> None:
    entries, _ = align_people(people, cache=tmp_path / "cache", detector=OneFace())
    assert np.unique(load_photo(entries[1].file).image_rgb).tolist() == [33]


def test_photographs_are_aligned_once(people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="lightface.training.people_folder")
    detector = OneFace()
    first = align_people(people, cache=tmp_path / "cache", detector=detector)
    assert detector.calls == 2
    assert caplog.messages == [
        "aligned Alice: 1 crop so far, 0 photographs refused",
        "aligned Bob: 2 crops so far, 1 photograph refused",
        "passed over 1 .txt",  # once for all people
    ]
    caplog.clear()
    assert align_people(people, cache=tmp_path / "cache", detector=detector) == first
    shutil.copy(people / "Alice/1.png", people / "Alice/copy.png")
    align_people(people, cache=tmp_path / "cache", detector=detector)
    assert detector.calls == 2
    assert set(caplog.messages) == {"passed over 1 .txt"}


def test_a_folder_without_people(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="neither an index nor a folder for each person"):
        align_people(tmp_path, cache=tmp_path / "cache")


def test_people_without_faces(tmp_path: Path) -> None:
    write(tmp_path / "people/Bob/1.png", np.zeros((400, 400, 3), np.uint8))
    with pytest.raises(TrainingError, match=r"no photograph in .* shows a face .* Bob/1.png"):
        align_people(tmp_path / "people", cache=tmp_path / "cache", detector=OneFace())
    (tmp_path / "empty/Carol").mkdir(parents=True)
    with pytest.raises(TrainingError, match="no photograph in"):
        align_people(tmp_path / "empty", cache=tmp_path / "cache", detector=OneFace())


def test_a_refusal_is_remembered_for_want_of_a_face_alone(people: Path, tmp_path: Path) -> None:
    """What cannot be read today may be read by another installation."""
    (people / "Alice" / "2.png").write_bytes(b"no picture")
    _, refused = align_people(people, cache=tmp_path / "cache", detector=OneFace())
    assert len(refused) == 2
    (remembered,) = tmp_path.glob("cache/*/*.txt")
    assert "no face found" in remembered.read_text()

"""Which embeddings are nobody's is learnt from good faces and copies of them that are spoiled here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lightface.detection import MtcnnDetector
from lightface.embedding import Embedder
from lightface.errors import TrainingError
from lightface.models.recognisability import Recognisability
from lightface.models.registry import find_weights
from lightface.records import AlignedFace, ByteArray, FloatArray, Frame
from lightface.training import recognisability
from lightface.training.config import TrainingConfig
from lightface.training.export import export_run
from lightface.training.recognisability import FAMILIES, face_of_crop, find_faces, learn_recognisability, spoil


class ThumbnailEmbedder(Embedder):
    """Embeds a face as 16x16 grey pixels without their mean: where there is nothing, all faces come out alike."""

    def __init__(self) -> None:
        self.record = find_weights("lightcnn9")

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        small = [cv2.resize(face.pixels[..., 0], (16, 16), interpolation=cv2.INTER_AREA).ravel() for face in faces]
        rows = np.array(small, np.float32).reshape(-1, 256)
        rows = rows - rows.mean(axis=1, keepdims=True) + np.float32(1)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def draw_faces(count: int, *, seed: int) -> list[AlignedFace]:
    """What all have in common, and what each has of its own."""
    common = np.random.default_rng(0).normal(0, 50, (8, 8))
    own = np.random.default_rng(seed).normal(0, 35, (count, 8, 8))
    return [
        AlignedFace(
            to_pixels(cv2.resize(128 + common + each, (128, 128), interpolation=cv2.INTER_CUBIC)), Frame(), None
        )
        for each in own
    ]


def to_pixels(grey: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> ByteArray:
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def learnt() -> Recognisability:
    known = learn_recognisability(ThumbnailEmbedder(), draw_faces(300, seed=1))
    assert known is not None
    return known


def test_good_faces_that_were_not_seen_pass(learnt: Recognisability) -> None:
    shares = learnt.measure(ThumbnailEmbedder().embed(draw_faces(400, seed=2)))
    assert np.mean(shares >= 0.1) > 0.9 and np.mean(shares > 0.5) > 0.75


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((128, 128, 3), np.uint8),
        np.full((128, 128, 3), 140, np.uint8),
        to_pixels(np.random.default_rng(3).normal(128, 60, (128, 128))),
        draw_faces(1, seed=4)[0].pixels[::-1, ::-1],
        255 - draw_faces(1, seed=4)[0].pixels,
        np.roll(draw_faces(1, seed=4)[0].pixels, 50, axis=0),  # in no family
    ],
    ids=["black", "grey", "noise", "upside down", "inverted", "rolled"],
)
def test_what_is_nobody_does_not(learnt: Recognisability, pixels: ByteArray) -> None:
    (share,) = learnt.measure(ThumbnailEmbedder().embed([AlignedFace(np.ascontiguousarray(pixels), Frame(), None)]))
    assert share < 0.1


def test_the_same_faces_teach_the_same(learnt: Recognisability) -> None:
    assert learn_recognisability(ThumbnailEmbedder(), draw_faces(300, seed=1)) == learnt


def test_too_few_faces_teach_nothing() -> None:
    assert learn_recognisability(ThumbnailEmbedder(), draw_faces(recognisability.MIN_FACES - 1, seed=1)) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_spoils_a_crop(family: tuple[recognisability.Way, ...]) -> None:
    face, generator = draw_faces(1, seed=5)[0].pixels, np.random.default_rng(0)
    for way in family:
        for _ in range(5):
            spoiled = spoil(face, (way,), generator)
            assert spoiled.shape == face.shape and spoiled.dtype == np.uint8
            assert (spoiled != face).any()


def test_a_training_crop_is_a_face_in_the_networks_frame() -> None:
    crop = np.zeros((3, 144, 144), np.uint8)
    crop[:, 8:136, 8:136] = np.array([1, 2, 3])[:, None, None]  # blue, green, red
    assert np.array_equal(face_of_crop(crop).pixels, np.full((128, 128, 3), (3, 2, 1)))
    assert np.array_equal(face_of_crop(crop[:1]).pixels, np.ones((128, 128, 3)))


def test_faces_are_found_in_photographs_and_crops(
    tmp_path: Path, detector: MtcnnDetector, grace_hopper_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(grace_hopper_path).save(tmp_path / "portrait.png")
    Image.new("RGB", (144, 144), "red").save(tmp_path / "crop.png")
    Image.new("RGB", (200, 100), "red").save(tmp_path / "nobody.png")
    with pytest.raises(TrainingError, match=r"has 2 photographs with a usable face; give 200 and more"):
        find_faces(tmp_path, detector=detector)
    monkeypatch.setattr(recognisability, "MIN_FACES", 2)
    assert [face.pixels.shape for face in find_faces(tmp_path, detector=detector)] == [(128, 128, 3)] * 2


def test_training_writes_it_into_the_record(
    tiny_config: TrainingConfig, one_epoch_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognisability, "MIN_FACES", 12)
    monkeypatch.setattr(recognisability, "_LEAST_SPREAD", 0.0)  # faces are nearly alike to weights of one epoch
    monkeypatch.setattr("lightface.training.export.MAX_FACES", 12)
    exported = export_run(tiny_config, one_epoch_run, tmp_path, name="drawn")
    known = exported.record.recognisability
    assert known is not None and len(known.offsets) == len(FAMILIES) and known.embedding_size == 256
    assert known.directions in (tmp_path / "registry.toml").read_text()
    monkeypatch.undo()
    assert export_run(tiny_config, one_epoch_run, tmp_path, name="fewer").record.recognisability is None

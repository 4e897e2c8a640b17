"""A gallery moves to other weights whole, or stays as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colours import DARK_RED, GREEN, RED, paint_two
from PIL import Image
from stand_ins import LANDMARKS, MeanEmbedder, ScriptedDetector, make_pipeline, paint

from lightface.detection import MtcnnDetector, MtcnnSettings
from lightface.errors import GalleryError
from lightface.gallery import Gallery, StoredThreshold
from lightface.measurement.metrics import SourcedThreshold
from lightface.pipeline import FaceGates, FacePipeline, PhotoFaces, Trouble, enroll_photos, reembed_gallery
from lightface.pipeline.reembed import Naming, PairFlips, compare_embeddings
from lightface.records import AlignedFace, ByteArray, DetectedFace, FaceSelection, FloatArray


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    return {"Ruby": paint(tmp_path / "red.png", RED), "Gwen": paint_two(tmp_path / "two.png", GREEN, RED)}


@pytest.fixture
def enrolled(pipeline: FacePipeline, gallery: Gallery, photos: dict[str, Path]) -> Gallery:
    for name, path in photos.items():
        enroll_photos(pipeline, gallery, name, [path], selection=FaceSelection.LARGEST)
    gallery.set_threshold(StoredThreshold(0.001, 0.4, "a test"))
    return gallery


@pytest.fixture
def other() -> FacePipeline:
    return make_pipeline(MeanEmbedder("other"))


def test_every_sample_is_embedded_by_the_new_model(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path]
) -> None:
    before = enrolled.samples()
    heard: list[PhotoFaces] = []
    report = reembed_gallery(other, enrolled, progress=heard.append)
    assert (report.model_id_before, report.model_id_after, report.embedded) == ("stand-in", "other", 2)
    assert report.unusable == ()
    assert [photo.path for photo in heard] == list(photos.values())
    after = enrolled.samples()
    assert {sample.model_id for sample in after} == {"other"}
    assert [(one.id, one.person_id, one.box_px) for one in after] == [
        (one.id, one.person_id, one.box_px) for one in before
    ]
    assert all(np.allclose(new.vector, old.vector) for new, old in zip(after, before, strict=True))
    assert enrolled.thresholds() == []  # they were the old model's


def test_a_gallery_of_these_weights_is_left_alone(enrolled: Gallery) -> None:
    same = make_pipeline(MeanEmbedder("stand-in"))
    heard: list[PhotoFaces] = []
    report = reembed_gallery(same, enrolled, progress=heard.append)
    assert (report.embedded, report.moved, heard) == (0, False, [])
    assert len(enrolled.thresholds()) == 1  # still those of its weights


def test_a_dry_run_changes_nothing(other: FacePipeline, enrolled: Gallery) -> None:
    report = reembed_gallery(other, enrolled, dry_run=True)
    assert report.embedded == 2
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.thresholds()) == 1


@pytest.mark.parametrize(
    ("change", "trouble", "reason"),
    [
        ("removed", Trouble.GONE, "does not exist|cannot read"),
        ("altered", Trouble.CHANGED, "has changed since"),
        ("broken", Trouble.UNREADABLE, "not a picture|cannot"),
    ],
)
def test_a_photograph_that_is_not_what_it_was(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path], change: str, trouble: Trouble, reason: str
) -> None:
    photos["Ruby"].unlink()
    if change == "altered":
        paint(photos["Ruby"], GREEN)
    if change == "broken":
        photos["Ruby"].write_bytes(b"no picture")
    with pytest.raises(GalleryError, match=r"1 of 2 samples .*`drop_unusable`"):
        reembed_gallery(other, enrolled)
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.samples()) == 2

    report = reembed_gallery(other, enrolled, dry_run=True)
    (unusable,) = report.unusable
    assert unusable.sample.source_path == str(photos["Ruby"])
    assert (unusable.person_name, unusable.trouble) == ("Ruby", trouble)
    assert re.search(reason, str(unusable.error))
    assert not report.moved

    report = reembed_gallery(other, enrolled, drop_unusable=True)
    assert (report.embedded, len(report.unusable), report.moved) == (1, 1, True)
    (left,) = enrolled.samples()
    assert (gwen := enrolled.find_person("Gwen")) is not None and left.person_id == gwen.id
    assert enrolled.model_id == "other"


def test_a_face_that_is_not_found_again(enrolled: Gallery) -> None:
    blind = FacePipeline(ScriptedDetector(), MeanEmbedder("other"), gates=FaceGates())
    with pytest.raises(GalleryError, match="2 of 2 samples"):
        reembed_gallery(blind, enrolled)
    report = reembed_gallery(blind, enrolled, dry_run=True)
    assert [one.trouble for one in report.unusable] == [Trouble.FACE_NOT_FOUND] * 2


def test_what_is_gone_is_told_before_anything_is_embedded(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path]
) -> None:
    photos["Gwen"].unlink()
    heard: list[PhotoFaces] = []
    with pytest.raises(GalleryError, match=r"1 of 2 samples .*two\.png \(it is gone\); `dry_run` lists them"):
        reembed_gallery(other, enrolled, progress=heard.append)
    assert heard == []


def test_gates_do_not_hold_for_who_was_let_in(enrolled: Gallery) -> None:
    strict = make_pipeline(MeanEmbedder("other"), min_quality=1.0, det_threshold=1.0, min_face_size_px=1000.0)
    assert reembed_gallery(strict, enrolled).embedded == 2


def test_the_right_one_of_two_faces_is_taken(other: FacePipeline, enrolled: Gallery) -> None:
    reembed_gallery(other, enrolled)
    (sample,) = enrolled.samples("Gwen")
    assert np.argmax(sample.vector) == 1


class SwappedEmbedder(MeanEmbedder):
    """Takes red for green and green for red where there is much of the one, and so confuses people."""

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        rows = super().embed(faces)
        strong = rows[:, 0] > 0.995
        rows[strong, 0], rows[strong, 1] = rows[strong, 1], rows[strong, 0].copy()
        return rows


def test_who_is_named_otherwise_is_listed_by_name(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    for name, colours in {"Ruby": (RED, DARK_RED), "Gwen": (GREEN, (20, 150, 20))}.items():
        for number, colour in enumerate(colours):
            enroll_photos(pipeline, gallery, name, [paint(tmp_path / name / f"{number}.png", colour)])
    gallery.set_threshold(StoredThreshold(0.001, 0.9, "a test"))
    swapped = FacePipeline(pipeline.detector, SwappedEmbedder("swapped"), gates=pipeline.gates)
    report = reembed_gallery(swapped, gallery, dry_run=True)
    shift = report.shift
    assert shift.threshold_before is not None and shift.threshold_after is not None
    assert (shift.threshold_before.threshold, shift.threshold_before.source) == (0.9, "calibrated")
    record = swapped.record
    assert shift.threshold_after.threshold == record.thresholds["1e-3"]
    assert shift.same is not None and shift.same.pairs == 2 and shift.same.mean_before > 0.95
    assert shift.named_right_before == 4
    (flip, *_) = report.flipped
    assert (flip.person_name, flip.name_before, flip.name_after) == ("Ruby", "Ruby", "Gwen")
    assert flip.source_path == str(tmp_path / "Ruby" / "0.png")
    given = reembed_gallery(swapped, gallery, dry_run=True, threshold=-1.0).shift
    assert given.threshold_before == given.threshold_after and given.threshold_after is not None
    assert given.threshold_after.source == "as given"
    assert given.pair_flips == PairFlips(0, 0, 0, 0)


def test_an_empty_gallery_has_nothing_to_embed(other: FacePipeline, gallery: Gallery) -> None:
    assert reembed_gallery(other, gallery).embedded == 0


# --- no gate holds ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_face(grace_hopper_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face of some 14 px in a picture of 400 x 300."""
    canvas = np.zeros((300, 400, 3), np.uint8)
    canvas[100:147, 100:140] = cv2.resize(grace_hopper_rgb, (40, 47), interpolation=cv2.INTER_AREA)
    path = tmp_path_factory.mktemp("small") / "small.png"
    Image.fromarray(canvas).save(path)
    return path


def pipeline_of(detector: MtcnnDetector, name: str, **gates: Any) -> FacePipeline:
    """The real detector, looking for what the gates let through."""
    limits = FaceGates(**gates)
    settings = MtcnnSettings(
        min_face_size_px=limits.min_face_size_px,
        min_face_share=limits.min_face_share,
        det_threshold=limits.det_threshold,
        max_side_px=limits.max_side_px,
        turns=limits.turns,
    )
    return FacePipeline(detector.with_settings(settings), MeanEmbedder(name), gates=limits)


LOOSE: dict[str, Any] = {"min_face_size_px": 8.0, "det_threshold": 0.5, "min_quality": 0.0, "max_side_px": None}


@pytest.mark.parametrize(
    "gate",
    [
        {"det_threshold": 1.0},
        {"min_face_size_px": 100.0},
        {"min_face_share": 0.9},
        {"min_quality": 1.0},
        {"max_side_px": 100},
        {"max_pixels": 1000},
        {"already_aligned": True},
        {},
    ],
    ids=str,
)
def test_a_face_that_was_let_in_is_found_whatever_the_gate(
    detector: MtcnnDetector, gallery: Gallery, small_face: Path, gate: dict[str, Any]
) -> None:
    enroll_photos(pipeline_of(detector, "loose", **LOOSE), gallery, "Grace", [small_face])
    (before,) = gallery.samples()
    assert before.box_px is not None and before.box_px[2] - before.box_px[0] < 20
    strict = pipeline_of(detector, "strict", **gate)
    (refused,) = strict.embed_paths([small_face])
    assert gate == {"already_aligned": True} or refused.error is not None
    report = reembed_gallery(strict, gallery, drop_unusable=True)
    assert (report.embedded, report.unusable) == (1, ())
    (after,) = gallery.samples()
    assert (after.id, after.model_id) == (before.id, "strict")
    assert after.vector @ before.vector == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def unusual(grace_hopper_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Photographs of one face that a gate refuses, by what is wrong with them."""
    folder, portrait = tmp_path_factory.mktemp("unusual"), Image.fromarray(grace_hopper_rgb)
    soft = portrait.resize((portrait.width // 24, portrait.height // 24)).resize(portrait.size)
    found = {name: folder / f"{name}.jpg" for name in ("on its side", "cut short", "dark", "blurred", "clipped")}
    portrait.rotate(90, expand=True).save(found["on its side"])
    portrait.save(found["cut short"], quality=95)
    data = found["cut short"].read_bytes()
    found["cut short"].write_bytes(data[: int(len(data) * 0.97)])
    portrait.point(lambda value: value // 6).save(found["dark"])
    soft.save(found["blurred"])
    portrait.point(lambda value: min(255, 3 * value)).save(found["clipped"])
    return found


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        ("on its side", {"turns": False}),
        ("cut short", {"allow_truncated": False}),
        *((fault, {"min_quality": 1.0}) for fault in ("dark", "blurred", "clipped")),
    ],
)
def test_no_gate_makes_a_sample_disappear(
    detector: MtcnnDetector, gallery: Gallery, unusual: dict[str, Path], fault: str, gate: dict[str, Any]
) -> None:
    path = unusual[fault]
    loose = pipeline_of(detector, "loose", min_quality=0.0, det_threshold=0.5, turns=True, allow_truncated=True)
    enroll_photos(loose, gallery, "Grace", [path])
    (before,) = gallery.samples()
    strict = pipeline_of(detector, "strict", **gate)
    (refused,) = strict.embed_paths([path])
    assert refused.error is not None
    report = reembed_gallery(strict, gallery, drop_unusable=True)
    assert (report.embedded, report.unusable) == (1, ())
    (after,) = gallery.samples()
    assert (after.id, after.model_id) == (before.id, "strict")
    assert after.vector @ before.vector == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("gate", [{"allow_truncated": False}, {"max_pixels": 1000}], ids=str)
def test_a_crop_that_a_gate_refuses_is_embedded_as_a_crop(
    detector: MtcnnDetector, gallery: Gallery, tmp_path: Path, grace_hopper_rgb: ByteArray, gate: dict[str, Any]
) -> None:
    path = tmp_path / "crop.jpg"
    Image.fromarray(cv2.resize(grace_hopper_rgb[:512], (128, 128), interpolation=cv2.INTER_AREA)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    loose = pipeline_of(detector, "loose", already_aligned=True, min_quality=0.0, allow_truncated=True)
    enroll_photos(loose, gallery, "Crop", [path])
    (before,) = gallery.samples()
    assert before.box_px is None
    strict = pipeline_of(detector, "strict", **{"allow_truncated": True, **gate})
    assert reembed_gallery(strict, gallery, drop_unusable=True).unusable == ()
    (after,) = gallery.samples()
    assert after.vector @ before.vector == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("already_aligned", [False, True])
def test_a_crop_is_embedded_as_a_crop(
    detector: MtcnnDetector, gallery: Gallery, tmp_path: Path, grace_hopper_rgb: ByteArray, already_aligned: bool
) -> None:
    """Whatever is set, and beside a photograph; the whole picture, and not the face that a detector finds in it."""
    crop, photo = tmp_path / "crop.png", tmp_path / "photo.png"
    Image.fromarray(grace_hopper_rgb[:512]).save(photo)
    Image.fromarray(cv2.resize(grace_hopper_rgb[:512], (128, 128), interpolation=cv2.INTER_AREA)).save(crop)
    for name, path, aligned in (("Crop", crop, True), ("Photo", photo, False)):
        enroll_photos(
            pipeline_of(detector, "first", already_aligned=aligned), gallery, name, [path], even_if_alike=True
        )
    before = {sample.id: sample for sample in gallery.samples()}
    reembed_gallery(pipeline_of(detector, "second", already_aligned=already_aligned), gallery)
    for sample in gallery.samples():
        assert sample.vector @ before[sample.id].vector == pytest.approx(1, abs=1e-6)


def test_of_overlapping_faces_the_one_that_the_box_marks_is_taken(gallery: Gallery, tmp_path: Path) -> None:
    path = paint(tmp_path / "two.png", RED)
    faces = [DetectedFace((0.0, 0.0, 40.0 + wider, 40.0), LANDMARKS * 40, 0.99) for wider in (30, 0)]
    enroll_photos(
        FacePipeline(ScriptedDetector(faces[1]), MeanEmbedder(), gates=FaceGates(min_quality=0)), gallery, "Ann", [path]
    )

    class Widths(MeanEmbedder):
        def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
            rows = np.zeros((len(faces), 256), np.float32)
            for row, face in zip(rows, faces, strict=True):
                assert face.detection is not None
                row[int(face.detection.box_px[2])] = 1
            return rows

    reembed_gallery(FacePipeline(ScriptedDetector(*faces), Widths("widths"), gates=FaceGates()), gallery)
    (sample,) = gallery.samples()
    assert np.argmax(sample.vector) == 40


# What two sets of embeddings of the same samples differ in, held to plain counting.


def make_rows(noise: float, *, seed: int = 0, people: int = 40) -> tuple[FloatArray, np.ndarray]:
    """More samples than fit in one block, sorted by person; the same people whatever the noise."""
    person = np.sort(np.random.default_rng(1).integers(0, people, 600))
    _, person = np.unique(person, return_inverse=True)
    directions = np.random.default_rng(2).normal(size=(people, 32))
    rows = directions[person] + noise * np.random.default_rng(seed).normal(size=(600, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), person.astype(np.int64)


def at(threshold: float) -> SourcedThreshold:
    return SourcedThreshold(threshold, "a test")


def test_scores_and_flips_are_those_of_plain_counting() -> None:
    (before, person), (after, _) = make_rows(1.0), make_rows(0.8, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=at(0.4), threshold_after=at(0.5))
    rows, columns = np.triu_indices(600, 1)
    same = person[rows] == person[columns]
    scores = [np.clip(each @ each.T, -1, 1)[rows, columns] for each in (before, after)]
    for kind, found in ((same, shift.same), (~same, shift.different)):
        assert found is not None and found.pairs == kind.sum()
        assert [found.mean_before, found.mean_after] == pytest.approx([each[kind].mean() for each in scores], abs=1e-5)
        assert [found.median_before, found.median_after] == pytest.approx(
            [np.median(each[kind]) for each in scores], abs=1e-4
        )
    was, now = scores[0] >= 0.4, scores[1] >= 0.5
    assert shift.pair_flips == PairFlips(
        same_lost=int((same & was & ~now).sum()),
        same_gained=int((same & ~was & now).sum()),
        different_lost=int((~same & was & ~now).sum()),
        different_gained=int((~same & ~was & now).sum()),
    )
    assert min(shift.pair_flips.same_lost, shift.pair_flips.same_gained, shift.pair_flips.different_lost) > 0


def name_plainly(vectors: FloatArray, person: np.ndarray, place: int, threshold: float) -> int | None:
    left = np.arange(len(person)) != place
    templates = {who: vectors[left & (person == who)].sum(axis=0) for who in np.unique(person[left]).tolist()}
    cosines = {who: float(vectors[place] @ (sum_ / np.linalg.norm(sum_))) for who, sum_ in templates.items()}
    best = max(cosines, key=lambda who: cosines[who])
    return best if cosines[best] >= threshold else None


def test_a_sample_is_named_by_all_others() -> None:
    (before, person), (after, _) = make_rows(1.5), make_rows(1.2, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=at(0.5), threshold_after=at(0.6))
    plain = [
        (name_plainly(before, person, place, 0.5), name_plainly(after, person, place, 0.6)) for place in range(600)
    ]
    flips = {flip.sample: (flip.before.person, flip.after.person) for flip in shift.flipped}
    assert flips == {place: pair for place, pair in enumerate(plain) if pair[0] != pair[1]} != {}
    assert shift.named_right_before == sum(pair[0] == who for pair, who in zip(plain, person, strict=True))
    assert shift.named_right_after == sum(pair[1] == who for pair, who in zip(plain, person, strict=True))


def test_the_only_sample_of_a_person_can_be_nobody_but_others() -> None:
    before = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    after = np.eye(4, dtype=np.float32)[[0, 0, 0]]
    shift = compare_embeddings(before, after, np.array([0, 0, 1]), threshold_before=at(0.5), threshold_after=at(0.5))
    (flip,) = shift.flipped
    assert (flip.sample, flip.before, flip.after) == (2, Naming(None, 0.0), Naming(0, 1.0))
    assert (shift.named_right_before, shift.named_right_after) == (2, 2)


def test_an_unknown_threshold_is_made_as_strict_as_the_known_one() -> None:
    (before, person), (after, _) = make_rows(1.0), make_rows(0.8, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=None, threshold_after=at(0.45))
    assert shift.threshold_before is not None and "as strict" in shift.threshold_before.source
    rows, columns = np.triu_indices(600, 1)
    different = person[rows] != person[columns]
    accepted = [
        int(((each @ each.T)[rows, columns][different] >= limit).sum())
        for each, limit in ((before, shift.threshold_before.threshold), (after, 0.45))
    ]
    assert accepted[0] == pytest.approx(accepted[1], abs=3) and accepted[1] > 50
    other = compare_embeddings(after, before, person, threshold_before=at(0.45), threshold_after=None)
    assert other.threshold_after is not None
    assert other.threshold_after.threshold == shift.threshold_before.threshold


def test_without_any_threshold_nothing_is_decided() -> None:
    rows, person = make_rows(1.0)
    shift = compare_embeddings(rows, rows, person, threshold_before=None, threshold_after=None)
    assert shift.same is not None and shift.same.mean_before == shift.same.mean_after
    assert (shift.pair_flips, shift.named_right_before, shift.flipped) == (None, None, ())
    alone = compare_embeddings(rows[:1], rows[:1], person[:1], threshold_before=None, threshold_after=at(0.4))
    assert (alone.same, alone.different, alone.threshold_before, alone.pair_flips) == (None, None, None, None)


def test_no_samples_are_no_shift() -> None:
    nothing = np.zeros((0, 4), np.float32)
    shift = compare_embeddings(
        nothing, nothing, np.zeros(0, np.int64), threshold_before=at(0.4), threshold_after=at(0.4)
    )
    assert (shift.same, shift.different, shift.pair_flips, shift.flipped) == (None, None, None, ())

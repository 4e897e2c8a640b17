"""What is drawn is where it should be; how it looks is for the eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightface import drawing
from lightface.alignment import accept_aligned, align_face
from lightface.detection import MtcnnDetector
from lightface.drawing import contact_sheet, draw_faces, side_by_side
from lightface.records import AlignedFace, ByteArray, DetectedFace

LANDMARKS = np.array([(80, 90), (120, 90), (100, 112), (85, 138), (115, 138)], np.float32)
FACE = DetectedFace(box_px=(60, 60, 140, 160), landmarks_px=LANDMARKS, score=0.99)


@pytest.fixture
def grey_rgb() -> ByteArray:
    return np.full((200, 300, 3), 120, np.uint8)


def changed(before: ByteArray, after: ByteArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((before != after).any(axis=-1), np.bool_)


# --- draw_faces -------------------------------------------------------------------------------------


def test_the_photograph_itself_is_left_alone(grey_rgb: ByteArray) -> None:
    drawn = draw_faces(grey_rgb, [FACE], ["Ada"])
    assert drawn.shape == grey_rgb.shape and drawn.dtype == np.uint8
    assert (grey_rgb == 120).all()


def test_box_landmarks_and_label_are_where_the_face_is(grey_rgb: ByteArray) -> None:
    plain = changed(grey_rgb, draw_faces(grey_rgb, [FACE], [""]))
    assert plain[60, 60:141].all() and plain[160, 60:141].all()
    assert plain[60:161, 60].all() and plain[60:161, 140].all()
    assert all(plain[int(y), int(x)] for x, y in LANDMARKS)
    assert not plain[:56].any() and not plain[:, :56].any() and not plain[:, 144:].any()
    labelled = changed(grey_rgb, draw_faces(grey_rgb, [FACE], ["Ada"])) & ~plain
    rows, columns = np.nonzero(labelled)
    assert rows.min() >= 40 and rows.max() < 60
    assert columns.min() >= 56 and columns.max() < 140


def test_eyes_nose_and_mouth_differ_in_colour(grey_rgb: ByteArray) -> None:
    drawn = draw_faces(grey_rgb, [FACE], [""])
    colours = [tuple(drawn[int(y), int(x)].tolist()) for x, y in LANDMARKS]
    assert colours[0] == colours[1] and colours[3] == colours[4]
    assert len(set(colours)) == 3


def test_refused_faces_are_drawn_in_another_colour_with_their_reason(grey_rgb: ByteArray) -> None:
    used, refused = draw_faces(grey_rgb, [FACE], ["Ada"]), draw_faces(grey_rgb, [], [], refused=[(FACE, "Ada")])
    assert (changed(grey_rgb, used) == changed(grey_rgb, refused)).all()
    for drawn, colour, other in (
        (used, drawing._ACCENT, drawing._FAINT_INK),
        (refused, drawing._FAINT_INK, drawing._ACCENT),
    ):
        assert (drawn == colour).all(axis=-1).sum() > 200 and not (drawn == other).all(axis=-1).any()


@pytest.mark.parametrize("name", ["Zoë Łukasz", "Ελένη", "Жанна", "张伟", "山田さくら", "김민수", "Đỗ Thị"])
def test_names_of_every_script_are_written_not_replaced(grey_rgb: ByteArray, name: str) -> None:
    written = draw_faces(grey_rgb, [FACE], [name])
    replaced = draw_faces(grey_rgb, [FACE], ["?" * len(name)])
    assert changed(written, replaced).sum() > 30


def test_right_to_left_names_begin_on_the_right(grey_rgb: ByteArray) -> None:
    hebrew = "שרה כהן"
    assert drawing._shorten(f"{hebrew} 0.71", 15, 200) == f"{hebrew[::-1]} 0.71"
    assert drawing._shorten("Ada 0.71", 15, 200) == "Ada 0.71"


@pytest.mark.parametrize("box", [(0, 0, 300, 200), (250, 3, 300, 60), (-20, -20, 30, 40), (280, 190, 400, 300)])
def test_a_label_stays_within_the_photograph(grey_rgb: ByteArray, box: tuple[float, float, float, float]) -> None:
    face = replace(FACE, box_px=box, landmarks_px=LANDMARKS - 1000)
    boxed, labelled = draw_faces(grey_rgb, [face], [""]), draw_faces(grey_rgb, [face], ["Ada Lovelace 0.99"])
    assert changed(boxed, labelled).sum() > 300  # the tag with all its letters


def test_a_long_label_loses_its_middle() -> None:
    text = "a very long name indeed, of a person with many ancestors 0.98"
    shown = drawing._shorten(text, 15, 200)
    assert shown.startswith("a very") and "…" in shown and shown.endswith("0.98")
    assert drawing._measure_px(shown, 15) <= 200
    assert drawing._shorten(text, 15, 0) == "…" or drawing._measure_px(drawing._shorten(text, 15, 0), 15) > 0


def test_a_label_is_one_line() -> None:
    assert drawing._shorten("two\nlines\tand  gaps", 15, 1000) == "two lines and gaps"


def test_a_label_with_what_is_no_character_is_drawn(grey_rgb: ByteArray) -> None:
    """OpenCV ends the process at half of a surrogate pair, which stands for a byte of a file name."""
    assert drawing._shorten("\udcff\u202e.jpg", 15, 1000) == r"\udcff\u202e.jpg"
    plain, labelled = draw_faces(grey_rgb, [FACE], [""]), draw_faces(grey_rgb, [FACE], ["\udcff.jpg"])
    assert changed(plain, labelled).sum() > 300


def test_labels_are_as_many_as_faces(grey_rgb: ByteArray) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        draw_faces(grey_rgb, [FACE, FACE], ["Ada"])
    assert (draw_faces(grey_rgb, [], []) == grey_rgb).all()


def test_the_smallest_and_flattest_pictures_are_drawn_on() -> None:
    for shape in ((1, 1, 3), (5, 400, 3), (400, 5, 3)):
        assert draw_faces(np.zeros(shape, np.uint8), [FACE], ["Ada"]).shape == shape


# --- contact_sheet ----------------------------------------------------------------------------------


def crop_of(value: int) -> AlignedFace:
    return accept_aligned(np.full((128, 128, 3), value, np.uint8))


def test_crops_stand_in_rows_of_the_wanted_length() -> None:
    sheet = contact_sheet([crop_of(90)] * 5, ["a"] * 5, columns=3, frame_lines=False)
    # 3 cells of 192 and 4 gaps of 12 across; 2 rows of 192 and a caption of 27, 3 gaps down.
    assert sheet.shape == (2 * (192 + 27) + 3 * 12, 3 * 192 + 4 * 12, 3)
    cells = [(12, 12), (12, 216), (12, 420), (243, 12), (243, 216)]
    assert all((sheet[top : top + 192, left : left + 192] == 90).all() for top, left in cells)
    assert (sheet[243 : 243 + 192, 420:] == sheet[0, 0]).all()


def test_a_short_sheet_is_no_wider_than_its_crops() -> None:
    assert contact_sheet([crop_of(90)], ["a"]).shape[1] == 192 + 2 * 12


def test_no_crops_make_an_empty_sheet() -> None:
    sheet = contact_sheet([], [])
    assert sheet.ndim == 3 and sheet.size > 0


def test_lines_stand_on_the_frames_rows() -> None:
    plain = contact_sheet([crop_of(90)], [""], frame_lines=False)
    lined = contact_sheet([crop_of(90)], [""])
    difference = changed(plain, lined)[12 : 12 + 192, 12 : 12 + 192]
    full_rows = np.flatnonzero(difference.all(axis=1))
    # The middle of row 40 of 128 is (40 + 1/2) * 192/128 - 1/2.
    assert full_rows.tolist() == [round(40.5 * 1.5 - 0.5), round(88.5 * 1.5 - 0.5)]


def test_dots_show_where_eyes_and_mouth_fell(detector: MtcnnDetector, astronaut_rgb: ByteArray) -> None:
    (found,) = detector.detect(astronaut_rgb)
    aligned = align_face(astronaut_rgb, found)
    with_dots = contact_sheet([aligned], [""])
    without = contact_sheet([replace(aligned, detection=None)], [""])
    rows, columns = np.nonzero(changed(with_dots, without)[12:204, 12:204])
    eyes = rows < 80
    assert rows[eyes].mean() == pytest.approx(60.5, abs=1)
    assert columns[eyes].mean() == pytest.approx(96.5, abs=1)
    mouth = rows > 120
    assert rows[mouth].mean() == pytest.approx(132.5, abs=1)


def test_captions_are_as_many_as_crops() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        contact_sheet([crop_of(90)], [])


# --- side_by_side -----------------------------------------------------------------------------------


def test_both_photographs_and_faces_are_shown(
    detector: MtcnnDetector, astronaut_rgb: ByteArray, grace_hopper_rgb: ByteArray
) -> None:
    photos = astronaut_rgb, grace_hopper_rgb
    crops = tuple(align_face(photo, detector.detect(photo)[0]) for photo in photos)
    sheet = side_by_side(photos, (crops[0], crops[1]), ("a.jpg", "b.jpg"), headline="different")
    assert sheet.shape[1] == 2 * 384 + 3 * 12
    again = side_by_side(photos, (crops[0], crops[0]), ("a.jpg", "b.jpg"), headline="different")
    difference = changed(sheet, again)
    assert not difference[:, : 384 + 12].any()
    assert difference[:, 384 + 24 :].mean() > 0.3


def test_crops_that_came_aligned_need_no_box() -> None:
    photo = np.full((144, 144, 3), 90, np.uint8)
    crop = accept_aligned(photo)
    sheet = side_by_side((photo, photo), (crop, crop), ("a", "b"), headline="")
    # 42 of banner and a gap above the first photograph.
    assert (sheet[54 : 54 + 384, 12 : 12 + 384] == 90).all()


def test_a_long_headline_is_shortened() -> None:
    photo = np.full((144, 144, 3), 90, np.uint8)
    crop = accept_aligned(photo)
    short = side_by_side((photo, photo), (crop, crop), ("a", "b"), headline="same")
    long = side_by_side((photo, photo), (crop, crop), ("a" * 500, "b" * 500), headline="same " * 200)
    assert short.shape == long.shape

"""Names, boxes and what a sample must be to be stored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import make_sample

from lightface.errors import GalleryError
from lightface.gallery import StoredThreshold
from lightface.gallery.records import check_sample, folded_name, is_same_face, name_key, normalize_name
from lightface.records import BoxPx


class TestNames:
    def test_are_composed_and_stripped(self) -> None:
        assert normalize_name("  Rene\u0301e O'Hara ") == "Ren\u00e9e O'Hara"

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Ada", "aDA"),
            ("Ren\u00e9e", "RENE\u0301E"),
            ("Stra\u00dfer", "STRASSER"),
            ("\u0391\u03a3", "\u03b1\u03c2"),
        ],
    )
    def test_spellings_of_one_name(self, one: str, other: str) -> None:
        assert name_key(one) == name_key(other)

    def test_different_names(self) -> None:
        assert (
            len({name_key(name) for name in ("Ana", "An\u00e3", "Anna", "Ana B", "\u5f20\u4f1f", "\u5f20\u5a01")}) == 6
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Ann Lee", "ann  lee"),
            ("Ann Lee", "AnnLee"),
            ("Ann Lee", "Ann\u00a0Lee"),
            ("Ann Lee", "Ann\u3000Lee"),
            ("Ann", "A\u200bnn"),
            ("Ann", "Ann\ufeff"),
            ("Ann", "A\u00adnn"),
            ("Ann", "\u202eAnn"),
            ("Ann", "Ann\ufe0f"),
            ("Ann", "A\u034fnn"),
            ("Ann", "Ann\u3164"),
            ("Ann", "\uff21\uff4e\uff4e"),
            ("Ren\u00e9e", "RENE\u0301E"),
            ("\ufb01n", "FIN"),
            ("Stra\u00dfer", "STRASSER"),
            ("\u212bke", "\u00e5KE"),
        ],
    )
    def test_names_that_look_alike_are_folded_into_one(self, one: str, other: str) -> None:
        assert folded_name(one) == folded_name(other)

    def test_names_that_can_be_told_apart_are_not(self) -> None:
        names = ("Ana", "An\u00e3", "Anna", "Ana B", "\u5f20\u4f1f", "\u5f20\u5a01", "Ana 1", "Ana 2", "\u3164", "-")
        assert len({folded_name(name) for name in names}) == len(names)

    @given(st.text())
    def test_folding_is_stable(self, name: str) -> None:
        try:
            folded = folded_name(name)
        except GalleryError:
            return
        assert folded == folded_name(normalize_name(name)) == folded_name(name_key(name))
        assert folded[0] == " " or folded == name_key(name)

    @pytest.mark.parametrize("name", ["", "   ", "\t\n", "\u200b", "\u200e\u00ad "])
    def test_empty_and_invisible_names_are_refused(self, name: str) -> None:
        with pytest.raises(GalleryError, match="name is empty"):
            normalize_name(name)

    @pytest.mark.parametrize("name", ["A\nB", "A\x00B", "\x1b[31mA", "A\u2028B", "A\udcff"])
    def test_names_that_cannot_be_printed_are_refused(self, name: str) -> None:
        with pytest.raises(GalleryError, match="cannot be printed") as caught:
            normalize_name(name)
        assert str(caught.value).isascii() and str(caught.value).isprintable()

    def test_joiners_inside_a_name_are_kept(self) -> None:
        assert (
            normalize_name("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627") == "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"
        )

    @given(st.text())
    def test_normalising_twice_is_normalising_once(self, name: str) -> None:
        try:
            normalized = normalize_name(name)
        except GalleryError:
            return
        assert normalize_name(normalized) == normalized
        assert name_key(normalized) == name_key(name) == name_key(name_key(name))


class TestIsSameFace:
    box: BoxPx = (0, 0, 100, 100)

    @pytest.mark.parametrize(
        ("other", "same"),
        [
            ((0, 0, 100, 100), True),
            ((4, 3, 103, 105), True),  # the same detector with other settings
            ((0, 0, 100, 50), True),  # exactly half
            ((0, 0, 100, 49), False),
            ((50, 0, 150, 100), False),
            ((100, 0, 200, 100), False),
            ((300, 300, 400, 400), False),
            (None, True),  # the whole picture was taken for the face
        ],
    )
    def test_by_overlap(self, other: BoxPx | None, same: bool) -> None:
        assert is_same_face(self.box, other) is same
        assert is_same_face(other, self.box) is same

    def test_without_area(self) -> None:
        assert is_same_face((5, 5, 5, 5), (5, 5, 5, 5))
        assert not is_same_face((5, 5, 5, 5), (6, 5, 6, 5))


class TestCheckSample:
    def test_a_good_one(self) -> None:
        check_sample(make_sample(1))
        check_sample(make_sample(1, box_px=None, det_score=None, quality=None))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"vector": np.zeros(256, np.float32)}, "length 1, not 0"),
            ({"vector": np.full(256, np.nan, np.float32)}, "length 1, not nan"),
            ({"vector": np.full(256, 1, np.float32)}, "length 1, not 16"),
            ({"vector": np.eye(1, 256)[0]}, "float64"),
            ({"vector": np.eye(2, 256, dtype=np.float32)}, r"\(2, 256\)"),
            ({"vector": np.zeros(0, np.float32)}, r"\(0,\)"),
            ({"model_id": ""}, "names no model"),
            ({"image_sha256": "abc"}, "64 hex digits"),
            ({"image_sha256": "A" * 64}, "64 hex digits"),
            ({"box_px": (0, 0, math.nan, 1)}, "finite"),
            ({"det_score": math.inf}, "finite"),
            ({"quality": math.nan}, "finite"),
        ],
    )
    def test_a_bad_one(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(GalleryError, match=words):
            check_sample(make_sample(1, **changes))


@pytest.mark.parametrize(("far", "threshold"), [(0, 0.4), (1, 0.4), (math.nan, 0.4), (0.001, math.nan)])
def test_impossible_thresholds_are_refused(far: float, threshold: float) -> None:
    with pytest.raises(GalleryError, match=r"a (false-accept rate|threshold) is .*; give a number"):
        StoredThreshold(far, threshold, "pairs.csv")

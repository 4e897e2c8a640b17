"""Videos in a folder job: a row a track, remembered as photographs are."""

from __future__ import annotations

import logging
import sqlite3
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import embed_folder
from lightface.images.photos import find_sources
from lightface.tables import read_faces

av = pytest.importorskip("av", reason="videos need PyAV, the extra 'video'")

RED, BLUE, BLACK = (200, 20, 20), (20, 20, 200), (0, 0, 0)


def film(path: Path, colours: list[tuple[int, int, int]], *, side: int = 80) -> Path:
    """A second of each colour, at ten frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height = stream.width = side
        stream.pix_fmt = "yuv420p"
        for number in range(10 * len(colours)):
            image = np.full((side, side, 3), colours[number // 10], np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".npz"])
def test_a_video_has_a_row_for_each_appearance_and_is_not_embedded_again(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / "in"
    paint(place / "a.png", RED)
    clip = film(place / "clip.mp4", [RED, RED, BLACK, BLACK, BLACK, BLUE])
    embedder = MeanEmbedder()
    table = tmp_path / f"faces{suffix}"
    first = embed_folder(make_pipeline(embedder), [place], table)
    assert (first.embedded, first.faces) == (2, 3)
    photo, *tracks = read_faces(table)
    assert photo.time_start is photo.time_end is photo.time_best is None
    assert [row.image_path for row in tracks] == [clip, clip]
    assert [(row.time_start, row.time_end) for row in tracks] == [(0, 1.5), (5, 5.5)]
    assert all(row.time_best is not None and row.embedding is not None for row in tracks)
    count = embedder.count
    again = embed_folder(make_pipeline(embedder), [place], table)
    assert (again.unchanged, embedder.count) == (2, count)


def test_a_journal_made_before_there_were_videos_goes_on(tmp_path: Path) -> None:
    paint(tmp_path / "in" / "a.png", RED)
    table, embedder = tmp_path / "faces.csv", MeanEmbedder()
    embed_folder(make_pipeline(embedder), [tmp_path / "in"], table)
    with sqlite3.connect(f"{table}.journal") as journal:
        journal.execute("DROP TABLE track")
    journal.close()
    assert embed_folder(make_pipeline(embedder), [tmp_path / "in"], table).unchanged == 1


def test_a_video_without_a_face_or_damaged_is_one_failure_among_others(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", RED)
    film(tmp_path / "black.mp4", [BLACK])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "out").mkdir()
    summary = embed_folder(make_pipeline(MeanEmbedder()), [tmp_path], tmp_path / "out" / "faces.csv")
    assert dict(summary.failures_in_output) == {"face_not_found": 1, "invalid_image": 1}
    assert summary.faces == 1


def test_without_the_extra_videos_in_folders_are_told_and_named_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clip = film(tmp_path / "clip.mp4", [RED])
    paint(tmp_path / "a.png", RED)
    monkeypatch.setattr("lightface.images.photos.find_spec", lambda name: None)
    monkeypatch.setattr("lightface.images.video.find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert find_sources([tmp_path], videos=True) == [tmp_path / "a.png"]
    assert "passed over 1 .mp4; install av (lightface's extra 'video')" in caplog.text
    (result,) = make_pipeline(MeanEmbedder()).embed_paths([clip], videos=True)
    assert "pip install av" in str(result.error)

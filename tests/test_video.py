"""Videos frame by frame; the clips are made here by PyAV."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import ConfigError, ImageError, ImageTooLargeError, MissingFileError
from lightface.images.video import is_video_name, read_frames
from lightface.records import ByteArray

av = pytest.importorskip("av", reason="videos need PyAV, the extra 'video'")


def film(path: Path, images: Sequence[ByteArray], *, times_ms: Sequence[int] | None = None) -> Path:
    """Images as a video of ten frames a second, or at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number * 100 if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(count: int, *, side: int = 64) -> list[ByteArray]:
    return [np.full((side, side, 3), 10 * number % 250, np.uint8) for number in range(count)]


def times_of(path: Path, every_s: float) -> list[float]:
    return [round(frame.time_s, 3) for frame in read_frames(path, every_s=every_s)]


def test_frames_are_taken_at_the_interval_with_their_times_and_pixels(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", greys(21))
    frames = list(read_frames(clip, every_s=0.5))
    assert [round(frame.time_s, 3) for frame in frames] == [0, 0.5, 1, 1.5, 2]
    assert [abs(float(frame.image_rgb.mean()) - 50 * number) < 6 for number, frame in enumerate(frames)] == [True] * 5
    assert frames[0].image_rgb.shape == (64, 64, 3)


def test_a_variable_frame_rate_goes_by_time_stamps(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", greys(6), times_ms=[0, 40, 80, 900, 940, 3000])
    assert times_of(clip, 0.5) == [0, 0.9, 3]


def test_a_damaged_end_keeps_what_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0)
    clip = film(tmp_path / "clip.mkv", [noise.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(40)])
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        times = times_of(clip, 0.1)
    assert times[0] == 0 and 10 < len(times) < 40


def test_what_is_no_video_ends_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 99)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    for path in (text, empty, playlist):
        with pytest.raises(ImageError) as caught:
            list(read_frames(path))
        assert path.name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(MissingFileError):
        list(read_frames(tmp_path / "none.mp4"))


def test_sound_alone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ImageError, match="no pictures in it"):
        list(read_frames(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_stream_without_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "live.mp4")
    with pytest.raises(ImageError, match="live"):
        list(read_frames(tmp_path / "live.mp4"))


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", greys(2, side=128))
    with pytest.raises(ImageTooLargeError, match="128 x 128"):
        list(read_frames(clip, max_pixels=128 * 128 - 1))


def test_an_interval_is_a_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every_s"):
        read_frames(tmp_path / "clip.mkv", every_s=-1)


def test_videos_are_known_by_their_suffix() -> None:
    assert is_video_name("A.MOV") and not is_video_name("a.jpg")


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rotation_that_the_file_asks_for_is_done(tmp_path: Path, quarters: int) -> None:
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:20, :20] = 240  # a corner tells all four turns apart
    stored = np.ascontiguousarray(np.rot90(upright, -quarters))
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = stored.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(90 * quarters)
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (seen,) = read_frames(path)
    assert seen.image_rgb.shape == upright.shape
    assert float(np.abs(seen.image_rgb.astype(int) - upright).mean()) < 5


def test_time_stamps_that_jump_back_go_on_from_where_they_were(tmp_path: Path) -> None:
    """As in two recordings that were joined by appending their streams."""
    one, two = film(tmp_path / "a.ts", greys(11)), film(tmp_path / "b.ts", greys(11))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    times = times_of(joined, 0.1)
    assert times == sorted(times) and len(times) > 15

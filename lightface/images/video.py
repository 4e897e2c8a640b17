"""Videos, frame by frame: each upright, with its time. Needs PyAV, lightface's extra 'video'."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from lightface.errors import ImageError, MissingFileError, check_number
from lightface.files import open_regular
from lightface.images.decoding import DEFAULT_MAX_PIXELS
from lightface.images.failures import DECODE_ERRORS, describe_reason, quote, too_large
from lightface.records import ByteArray

_log = logging.getLogger(__name__)

DEFAULT_EVERY_S: Final = 0.5  # between frames that are looked at

VIDEO_SUFFIXES: Final = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv"),
        *(".mpg", ".mpeg", ".m2v", ".mts", ".m2ts", ".vob", ".ogv", ".mxf", ".dv"),
    }
)

# Containers that hold their own frames. Playlists and lists of files are none of them: they would name URLs to fetch.
_CONTAINERS: Final = "mov,mp4,matroska,webm,avi,asf,flv,mpeg,mpegts,mpegvideo,ogg,mxf,dv,h264,hevc,m4v"


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame of a video."""

    time_s: float  # since the first frame
    image_rgb: ByteArray = field(repr=False)  # (H, W, 3) uint8, upright


def is_video_name(name: str) -> bool:
    """Whether a file is taken for a video: by its suffix."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def read_frames(
    path: Path, *, every_s: float = DEFAULT_EVERY_S, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[VideoFrame]:
    """The first frame of a video, and then the next one that lies `every_s` seconds or more after the last one given.

    One frame is in memory at a time. Times are those of the file; where they jump back, they go on from where they
    were. Of a video that is damaged after its first frame, what was read before stays, and the damage is logged.

    Raises ImageError when PyAV or the file is missing, or there is no frame in it that can be decoded,
    ImageTooLargeError when a frame has more than `max_pixels` pixels, ConfigError for a number out of range.
    """
    check_number("every_s", every_s, low=0)
    check_number("max_pixels", max_pixels, low=1)
    if find_spec("av") is None:
        raise ImageError(f"{quote(path)} is a video, which needs PyAV; pip install av (lightface's extra 'video')")
    return _read_frames(path, every_s, max_pixels)


def _read_frames(path: Path, every_s: float, max_pixels: int) -> Iterator[VideoFrame]:
    last_s: float | None = None
    try:
        for time_s, frame in _decode(path, max_pixels):
            if last_s is None or time_s >= last_s + every_s:
                last_s = time_s
                yield VideoFrame(time_s, _to_upright(frame))
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{quote(path)} does not exist; check the path") from error
    except DECODE_ERRORS as error:  # PyAV's own errors are kinds of OSError and ValueError
        if last_s is None:
            raise ImageError(
                f"{quote(path)} is no video that can be read ({describe_reason(error)}); check the file"
            ) from error
        _log.warning(
            "%s is damaged after %.1f s (%s); what comes before was read", path, last_s, describe_reason(error)
        )
        return
    if last_s is None:
        raise ImageError(f"{quote(path)} has no frame that can be decoded; check the file")


def _decode(path: Path, max_pixels: int) -> Iterator[tuple[float, Any]]:
    """The decoded frames with their times, from 0 and never falling."""
    import av

    options = {"format_whitelist": _CONTAINERS}
    container: Any  # whose kind depends on a mode that is "r" here
    # The file is opened here and not by its name, which FFmpeg might take for a URL.
    with open_regular(path) as file, av.open(file, options=options, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise ImageError(f"{quote(path)} has no pictures in it, as a sound file; name a video")
        stream = container.streams.video[0]
        _check_size(path, stream.codec_context, max_pixels)
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        offset_s: float | None = None
        last_s = 0.0
        with closing(container.decode(stream)) as frames:
            for number, frame in enumerate(frames):
                _check_size(path, frame, max_pixels)
                stamp_s = number / rate if frame.time is None else frame.time
                if offset_s is None or stamp_s + offset_s < last_s:
                    offset_s = last_s - stamp_s
                last_s = stamp_s + offset_s
                yield last_s, frame


def _check_size(path: Path, picture: Any, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise too_large(str(path), f"frames of {picture.width} x {picture.height} pixels", f"{max_pixels:,} pixels")


def _to_upright(frame: Any) -> ByteArray:
    image_rgb: ByteArray = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4  # the file says by how much viewers turn it, counter-clockwise
    return np.ascontiguousarray(np.rot90(image_rgb, quarters)) if quarters else image_rgb

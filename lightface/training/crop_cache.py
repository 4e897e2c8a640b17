"""Decode every crop once, into one memory-mapped array, so that epochs cost no decoding."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lightface.errors import ImageError, TrainingError
from lightface.faces import ByteArray
from lightface.files import check_owned, check_regular, make_folder, write_private
from lightface.images import decode_photo
from lightface.training.augmentation import CROP_PX
from lightface.training.crop_index import CropEntry
from lightface.training.shards import ShardReader

logger = logging.getLogger(__name__)

_FORMAT = "1"  # raise it when the same crops would be stored differently
_AT_ONCE = 2048  # crops between two messages


@dataclass(frozen=True, slots=True, eq=False)
class CropPixels:
    """The decoded crops of an index, in its order."""

    pixels: ByteArray  # (N, C, 144, 144) uint8, read-only and memory-mapped; black where unreadable
    digests: npt.NDArray[np.uint64]  # (N,) equal where the pixels are
    unreadable: dict[int, str]  # row -> reason


def load_pixels(entries: Sequence[CropEntry], *, channels: int, cache: Path) -> CropPixels:
    """The pixels of every crop: grey for one channel, BGR for three (as LightCNN-V4 takes them).

    They are decoded when the cache has none of these very files. TrainingError when a shard is missing or the cache
    cannot be written.
    """
    path = cache / f"crops-{_fingerprint(entries, channels)}.npy"
    try:
        if not path.exists():
            _write_cache(entries, path, channels)
        return _read_cache(path)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"cannot keep decoded crops in {cache} ({error}); choose another folder as 'cache' in [data]"
        ) from error


def _write_cache(entries: Sequence[CropEntry], path: Path, channels: int) -> None:
    make_folder(path.parent)
    shape = (len(entries), channels, CROP_PX, CROP_PX)
    _check_space(path.parent, int(np.prod(shape)))
    with write_private(path) as file:
        pixels = np.lib.format.open_memmap(file.name, mode="w+", dtype=np.uint8, shape=shape)
        digests = np.zeros(len(entries), np.uint64)
        unreadable: dict[int, str] = {}
        for row, crop in enumerate(_decode_all(entries, channels)):
            if isinstance(crop, ImageError):
                unreadable[row] = str(crop)
                crop = pixels[row]
            else:
                pixels[row] = crop
            digests[row] = int.from_bytes(hashlib.blake2b(crop.tobytes(), digest_size=8).digest(), "little")
        pixels.flush()
        del pixels
        # The pixels come last: where they are, the rest is.
        _save_findings(path, digests, unreadable)


def _decode_all(entries: Sequence[CropEntry], channels: int) -> Iterator[ByteArray | ImageError]:
    with ShardReader() as shards, ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(entries), _AT_ONCE):
            part = entries[start : start + _AT_ONCE]
            yield from threads.map(lambda entry: _decode(shards, entry, channels), part)
            logger.info("decoded %s of %s crops", f"{start + len(part):,}", f"{len(entries):,}")


def _decode(shards: ShardReader, entry: CropEntry, channels: int) -> ByteArray | ImageError:
    try:
        data = shards.read(entry.file, entry.member)
        image_rgb = decode_photo(data, name=entry.place, max_pixels=CROP_PX * CROP_PX)
    except ImageError as error:
        return error.as_result()
    if image_rgb.shape[:2] != (CROP_PX, CROP_PX):
        return ImageError(f"{entry.place} is {image_rgb.shape[1]}x{image_rgb.shape[0]}; crops are {CROP_PX}x{CROP_PX}")
    if channels == 1:
        return np.asarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)[None]
    return image_rgb[..., ::-1].transpose(2, 0, 1)


def _read_cache(path: Path) -> CropPixels:
    for file in (path, path.with_suffix(".npz")):
        check_owned(file)
        check_regular(file)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as findings:
        reasons = zip(findings["unreadable_rows"].tolist(), findings["reasons"].tolist(), strict=True)
        return CropPixels(np.load(path, mmap_mode="r"), findings["digests"], dict(reasons))


def _save_findings(path: Path, digests: npt.NDArray[np.uint64], unreadable: dict[int, str]) -> None:
    with write_private(path.with_suffix(".npz")) as file:
        np.savez(
            file,
            digests=digests,
            unreadable_rows=np.array(list(unreadable), np.int64),
            reasons=np.array(list(unreadable.values()), np.str_),
        )


def _fingerprint(entries: Sequence[CropEntry], channels: int) -> str:
    """Of the files' names, sizes and times, and of what is taken from them."""
    digest = hashlib.sha256(f"{_FORMAT} {CROP_PX} {channels}".encode())
    for file in sorted({entry.file for entry in entries}):
        try:
            stat = file.stat()
        except OSError as error:
            raise TrainingError(f"cannot find {file} ({error.strerror}); the index names it") from error
        digest.update(f"\n{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    for entry in entries:
        digest.update(f"\n{entry.file.name}/{entry.member}".encode())
    return digest.hexdigest()[:16]


def _check_space(folder: Path, needed: int) -> None:
    """Ahead, since a full disk under a memory map ends the process without a word."""
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise TrainingError(
            f"decoded crops take {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            "choose another folder as 'cache' in [data]"
        )

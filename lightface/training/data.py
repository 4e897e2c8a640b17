"""Everything that a run knows of its crops: pixels, people, the teacher's embeddings."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from lightface.crops import CropEntry, ShardReader, find_index, read_index
from lightface.errors import ImageError, TrainingError
from lightface.files import check_owned, check_regular, make_folder, write_private
from lightface.folders import cache_folder
from lightface.frame import CROP_PX
from lightface.images import decode_photo
from lightface.records import BoolArray, ByteArray, FloatArray, IntArray
from lightface.training.config import DataSettings
from lightface.training.group_shares import Cells, read_cells
from lightface.words import count_of

logger = logging.getLogger(__name__)

# What numpy raises on files that are cut off or damaged; it reads their header as Python's text.
_NUMPY_ERRORS = (OSError, EOFError, ValueError, TypeError, SyntaxError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True, slots=True, eq=False)
class TeacherRows:
    """What the teachers say of each crop, side by side."""

    rows: FloatArray  # (N, D) of each teacher a part of length sqrt(weight); zeros where it does not know the crop
    known: BoolArray  # (N, T) whether a teacher knows a crop
    columns: IntArray  # (D,) the teacher, from 0, that a column is of
    weights: FloatArray  # (T,) of the teachers' cosines in their mean; they add to 1
    centred: BoolArray  # (T,) whether the teacher's mean is taken off
    names: tuple[str, ...]  # (T,) for messages

    @property
    def complete(self) -> bool:
        """Whether every teacher knows every crop."""
        return bool(self.known.all())

    def choose(self, rows: IntArray) -> TeacherRows:
        """Those of some crops."""
        return replace(self, rows=self.rows[rows], known=self.known[rows])

    def move_to_people(self, people: npt.NDArray[np.str_], *, share: float) -> TeacherRows:
        """The rows, each moved by `share` to the mean of its person's; see `move_to_people`."""
        lengths: FloatArray = np.sqrt(self.known.astype(np.float32) @ self.weights)[:, None]
        lengths[self.known.all(axis=1)] = 1  # and not nearly so
        unit: FloatArray = self.rows / lengths.clip(min=1e-12)
        return replace(self, rows=move_to_people(unit, people, share=share) * lengths)

    def find_mean(self) -> FloatArray:
        """(D,) the mean over the crops that each teacher knows; 0 for a teacher that keeps it, or knows none."""
        rows = torch.from_numpy(self.rows)
        if self.complete:
            mean = rows.mean(dim=0)
        else:
            mean = rows.sum(dim=0) / torch.from_numpy(self.known.sum(axis=0).clip(min=1)[self.columns])
        found: FloatArray = mean.numpy() * self.centred[self.columns]
        return found

    def centre(self, mean: FloatArray) -> FloatArray:
        """(N, D) rows without `mean`, of unit length; zeros in the parts of teachers that do not know the crop.

        What all faces have in common says nothing of a person. The network's embedding is centred, too.
        """
        rows = (self.rows - mean) * self.known[:, self.columns]
        centred: FloatArray = F.normalize(torch.from_numpy(rows)).numpy()
        return centred


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """All crops of the data folders, one folder after another, each in the order of its index."""

    entries: Sequence[CropEntry]  # (N,)
    decoded: CropPixels
    teacher: TeacherRows | None  # of N rows
    refused: Sequence[str]  # photographs without a usable face, with the reason
    cells: Cells | None = None  # of N crops; None: no groups are told apart

    def __len__(self) -> int:
        return len(self.entries)

    def list_folders(self) -> list[str]:
        """What the entries call the data folders, in their order; one "" where there is a single one."""
        return list(dict.fromkeys(entry.folder for entry in self.entries))


def load_crops(settings: DataSettings, *, channels: int) -> CropSet:
    """Read the indexes or align the people of the data folders, decode what is not in the cache, load the teachers.

    TrainingError when something is missing or damaged.
    """
    if not settings.folders:
        raise TrainingError("no training data is named; give `folder`, or 'folder' in [data] of the recipe")
    cache = settings.cache or default_cache()
    entries: list[CropEntry] = []
    refused: list[str] = []
    sizes = []
    for folder, name in zip(settings.folders, _name_folders(settings.folders), strict=True):
        found, left_out = _list_crops(folder, cache=cache)
        entries += [replace(entry, folder=name) for entry in found] if name else found
        refused += left_out
        sizes.append(len(found))
    _tell_shared_names(entries)
    teachers = [settings.find_files(teacher) for teacher in settings.teachers]
    teacher = load_teachers(teachers, sizes, weights=settings.teacher_weights, centred=settings.centre_teachers)
    cells = None if settings.groups is None else read_cells(settings, entries, sizes)
    pixels = load_pixels(entries, channels=channels, cache=cache)
    return CropSet(entries, pixels, teacher, refused, cells)


def _list_crops(folder: Path, *, cache: Path) -> tuple[list[CropEntry], list[str]]:
    """The crops of one data folder, and the photographs refused, with why."""
    if not folder.is_dir():
        raise TrainingError(f"there is no data folder {folder}; give `folder`, or 'folder' in [data] of the recipe")
    index = find_index(folder)
    if index is not None:
        return read_index(index), []
    # Only people folders need a detector, and with it facenet-pytorch.
    from lightface.training.people_folder import align_people

    return align_people(folder, cache=cache)


def _name_folders(folders: Sequence[Path]) -> list[str]:
    """What to call each, "" for a single one: its own name, or all of its path where another has that, too."""
    if len(folders) == 1:
        return [""]
    counts = Counter(folder.name for folder in folders)
    return [folder.name if counts[folder.name] == 1 else str(folder) for folder in folders]


def _tell_shared_names(entries: Sequence[CropEntry]) -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.identity:
            folders[entry.identity].add(entry.folder)
    shared = sorted(name for name, places in folders.items() if len(places) > 1)
    if shared:
        logger.warning(
            "%s in several data folders, such as %r, and taken for another person in each; "
            "list one person's crops in one folder",
            count_of(len(shared), "name is", "names are"),
            shared[0],
        )


def load_teachers(
    files: Sequence[Sequence[Path | None]],
    sizes: Sequence[int],
    *,
    weights: Sequence[float] = (),
    centred: Sequence[bool] = (),
) -> TeacherRows | None:
    """The embeddings of each teacher, a file or None for each data folder, which have `sizes` crops.

    Several teachers are laid side by side, so that the cosine of two rows is the mean of the teachers' cosines, by
    `weights` where there are any. None without a teacher. TrainingError for a file that does not fit.
    """
    if not files:
        return None
    shares = np.array(weights or [1.0] * len(files), np.float32)
    shares /= shares.sum()
    parts, known, columns = [], [], []
    for number, (paths, share) in enumerate(zip(files, shares, strict=True)):
        read = [None if path is None else _read_teacher(path, n) for path, n in zip(paths, sizes, strict=True)]
        widths = {rows.shape[1] for rows in read if rows is not None}
        if len(widths) > 1:
            named = ", ".join(path.name for path in paths if path is not None)
            raise TrainingError(f"the files of one teacher have rows of {sorted(widths)} numbers ({named}); embed anew")
        (width,) = widths
        filled = [
            np.zeros((n, width), np.float32) if rows is None else rows for rows, n in zip(read, sizes, strict=True)
        ]
        parts.append(np.concatenate(filled) * np.sqrt(share))
        known.append(np.repeat([rows is not None for rows in read], sizes))
        columns += [number] * width
    return TeacherRows(
        rows=np.concatenate(parts, axis=1),
        known=np.stack(known, axis=1),
        columns=np.array(columns, np.int64),
        weights=shares,
        centred=np.array(centred or [True] * len(files)),
        names=tuple(next(path.name for path in paths if path is not None) for paths in files),
    )


def _read_teacher(path: Path, count: int) -> FloatArray:
    """(count, D) rows of unit length."""
    try:
        check_regular(path)
        embeddings = np.load(path, allow_pickle=False)
    except _NUMPY_ERRORS as error:
        reason = getattr(error, "strerror", None) or "no array of numbers, or damaged"  # numpy advises to unpickle
        raise TrainingError(
            f"cannot read the teacher's embeddings {path} ({reason}); save them with numpy.save"
        ) from error
    if not isinstance(embeddings, np.ndarray) or embeddings.dtype.kind not in "fiu":  # an .npz, or texts
        raise TrainingError(f"{path} is no array of numbers; save the teacher's embeddings with numpy.save")
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise TrainingError(f"{path} has the shape {embeddings.shape}; expected a row for each of {count:,} crops")
    with np.errstate(over="ignore"):  # what overflows is refused below
        embeddings = embeddings.astype(np.float32)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise TrainingError(f"{path} has rows that are zero or not finite; compute them again")
    rows: FloatArray = embeddings / lengths
    return rows


def move_to_people(teacher: FloatArray, people: npt.NDArray[np.str_], *, share: float) -> FloatArray:
    """The teacher's embeddings (N, D), of unit length, each moved by `share`, 0..1, to its person's mean; "" is nobody.

    The mean of several photographs knows a person better than the teacher's view of a single one does.
    """
    known = np.flatnonzero(people != "")
    names, numbers = np.unique(people[known], return_inverse=True)
    sums = np.zeros((len(names), teacher.shape[1]), np.float32)
    np.add.at(sums, numbers, teacher[known])
    moved = teacher.copy()
    moved[known] = _scale_to_unit((1 - share) * teacher[known] + share * _scale_to_unit(sums)[numbers])
    return moved


def _scale_to_unit(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
    return rows / lengths


def default_cache() -> Path:
    """Where decoded crops are kept unless the recipe says otherwise. It can be deleted at any time."""
    return cache_folder() / "training"


# Decode every crop once, into one memory-mapped array, so that epochs cost no decoding.


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

"""Everything that a run knows of its crops: pixels, people, the teacher's embeddings."""

from __future__ import annotations

import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from lightface.errors import TrainingError
from lightface.faces import FloatArray
from lightface.files import check_regular
from lightface.training.config import DataSettings
from lightface.training.crop_cache import CropPixels, load_pixels
from lightface.training.crop_index import CropEntry, find_index, read_index

# What numpy raises on files that are cut off or damaged; it reads their header as Python's text.
_NUMPY_ERRORS = (OSError, EOFError, ValueError, TypeError, SyntaxError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """All crops of a data folder, in the order of its index."""

    entries: Sequence[CropEntry]  # (N,)
    decoded: CropPixels
    teacher: FloatArray | None  # (N, D) rows of unit length
    refused: Sequence[str]  # photographs without a usable face, with the reason

    def __len__(self) -> int:
        return len(self.entries)


def load_crops(settings: DataSettings, *, channels: int) -> CropSet:
    """Read the index or align the people of a data folder, decode what is not in the cache, load the teachers.

    TrainingError when something is missing or damaged.
    """
    folder = settings.folder
    if folder is None:
        raise TrainingError("no training data is named; give --data, or 'folder' in [data] of the recipe")
    if not folder.is_dir():
        raise TrainingError(f"there is no data folder {folder}; give --data, or 'folder' in [data] of the recipe")
    cache = settings.cache or default_cache()
    index = find_index(folder)
    refused: list[str] = []
    if index is not None:
        entries = read_index(index)
    else:
        # Only people folders need a detector, and with it facenet-pytorch.
        from lightface.training.people_folder import align_people

        entries, refused = align_people(folder, cache=cache)
    teacher = load_teachers(
        [folder / path for path in settings.teachers], len(entries), weights=settings.teacher_weights
    )
    return CropSet(entries, load_pixels(entries, channels=channels, cache=cache), teacher, refused)


def load_teachers(paths: Sequence[Path], count: int, *, weights: Sequence[float] = ()) -> FloatArray | None:
    """The teachers' embeddings, (count, D), each row of unit length; None without a teacher.

    Several teachers are laid side by side, so that the cosine of two rows is the mean of the teachers' cosines, by
    `weights` where there are any.
    """
    if not paths:
        return None
    shares = np.array(weights or [1.0] * len(paths), np.float32)
    shares /= shares.sum()
    parts = []
    for path, share in zip(paths, shares, strict=True):
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
        parts.append(embeddings / lengths * np.sqrt(share))
    return np.concatenate(parts, axis=1)


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
    return platformdirs.user_cache_path("lightface") / "training"

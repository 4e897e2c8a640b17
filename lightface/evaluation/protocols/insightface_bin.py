"""InsightFace's verification files (`lfw.bin`, `agedb_30.bin`, `cfp_fp.bin` ...): crops and labels in one pickle.

The pickle is a pair: a list of encoded pictures, two a pair in turn, and a list of labels. A pickle can run any code
as it is read, so this one is read by an unpickler that knows no names at all: lists, bytes, numbers and truth values
need none.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import NoReturn

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import FOLD_COUNT, Framing, ListedPair, PackedPicture, PairList, build_pair_list
from lightface.files import open_regular

# What damaged or hostile pickles raise, beyond UnpicklingError.
_UNPICKLING_ERRORS = (
    *(pickle.UnpicklingError, EOFError, AttributeError, LookupError, ValueError, TypeError),
    *(OverflowError, MemoryError, RecursionError, UnicodeDecodeError),
)


def read_insightface_bin(path: Path, *, framing: Framing = Framing.ARCFACE) -> PairList:
    """Read a verification file; its crops are aligned to ArcFace's template, 112x112, unless `framing` says otherwise.

    Ten equal runs of pairs are the folds, as InsightFace measures them. EvaluationError for a file that is not of this
    form, or whose pickle asks for anything but plain data.
    """
    crops, labels = _read(path)
    pictures = [PackedPicture(f"{path.name} {position}", data) for position, data in enumerate(crops)]
    pairs = (
        ListedPair(pictures[2 * position], pictures[2 * position + 1], same, position * FOLD_COUNT // len(labels))
        for position, same in enumerate(labels)
    )
    return build_pair_list(f"InsightFace {path.stem}", path, pairs, framing=framing)


class _PlainUnpickler(pickle.Unpickler):
    """Knows no classes and no functions, so that reading cannot run anything."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and no such file needs that")

    def persistent_load(self, identifier: object) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside itself")


def _read(path: Path) -> tuple[list[bytes], list[bool]]:
    try:
        with open_regular(path) as file:
            # Files written by Python 2 hold the pictures as its strings.
            content = _PlainUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise EvaluationError(f"cannot read {path} ({error.strerror}); check the path") from error
    except _UNPICKLING_ERRORS as error:
        raise EvaluationError(f"{path} is not read: {error}; get a verification file of plain pictures") from error
    match content:
        case [list(crops), list(labels)] if len(crops) == 2 * len(labels):
            pass
        case _:
            raise EvaluationError(f"{path} does not hold two pictures for each label; get it again from its source")
    for position, crop in enumerate(crops):
        if not isinstance(crop, bytes):
            raise EvaluationError(
                f"{path}: picture {position} is a {type(crop).__name__}, no encoded picture; get it again"
            )
    for position, label in enumerate(labels):
        if label not in (0, 1):
            raise EvaluationError(f"{path}: label {position} is neither true nor false; get it again from its source")
    return crops, [bool(label) for label in labels]

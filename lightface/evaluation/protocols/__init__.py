"""The protocols, a file each, and which of them a path is."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import Framing, PairList
from lightface.evaluation.protocols.agedb import find_agedb_list, read_agedb
from lightface.evaluation.protocols.cfp import is_cfp, read_cfp
from lightface.evaluation.protocols.crops import is_crop_index, read_crop_index
from lightface.evaluation.protocols.insightface_bin import read_insightface_bin
from lightface.evaluation.protocols.lfw import (
    download_lfw,
    find_cross_lfw_list,
    find_lfw_list,
    read_cross_lfw,
    read_lfw,
)
from lightface.evaluation.protocols.own_photos import read_pairs_csv, read_people, read_strangers
from lightface.measurement.pairs import DEFAULT_PAIR_LIMIT

__all__ = ["ProtocolName", "download_lfw", "read_protocol", "recognise_protocol"]


class ProtocolName(StrEnum):
    """What can be evaluated."""

    PAIRS = "pairs"
    LFW = "lfw"
    CALFW = "calfw"
    CPLFW = "cplfw"
    AGEDB_30 = "agedb30"
    CFP_FP = "cfp-fp"
    INSIGHTFACE_BIN = "bin"
    PEOPLE = "people"
    STRANGERS = "strangers"
    CROPS = "crops"


def recognise_protocol(path: Path) -> ProtocolName:
    """The protocol that a file or folder is laid out for. EvaluationError where there is nothing, or none fits."""
    if path.is_dir():
        return _recognise_folder(path)
    if not path.is_file():
        raise EvaluationError(f"{path} does not exist; name a list of pairs, or a folder of a data set or of people")
    name = path.name.lower()
    if is_crop_index(path):
        return ProtocolName.CROPS
    if "calfw" in name or "cplfw" in name:
        return ProtocolName.CALFW if "calfw" in name else ProtocolName.CPLFW
    if name.endswith(".mat") or name.startswith("agedb"):
        return ProtocolName.AGEDB_30
    by_suffix = {".csv": ProtocolName.PAIRS, ".bin": ProtocolName.INSIGHTFACE_BIN, ".txt": ProtocolName.LFW}
    if path.suffix.lower() not in by_suffix:
        known = ", ".join(ProtocolName)
        raise EvaluationError(f"it is not clear what {path} is; say so with `protocol`, one of {known}")
    return by_suffix[path.suffix.lower()]


def read_protocol(
    path: Path,
    *,
    protocol: ProtocolName | None = None,
    images: Path | None = None,
    framing: Framing | None = None,
    pair_limit: int = DEFAULT_PAIR_LIMIT,
) -> PairList:
    """The pairs at `path`. `images` says where a list's pictures lie, `framing` replaces what the protocol says.

    Raises EvaluationError for what cannot be read, with the line of a malformed list.
    """
    how = {} if framing is None else {"framing": framing}
    match protocol or recognise_protocol(path):
        case ProtocolName.PAIRS:
            return read_pairs_csv(path, images=images, **how)
        case ProtocolName.LFW:
            return read_lfw(path, images=images, **how)
        case ProtocolName.CALFW | ProtocolName.CPLFW:
            return read_cross_lfw(path, images=images, **how)
        case ProtocolName.AGEDB_30:
            return read_agedb(path, images=images, **how)
        case ProtocolName.CFP_FP:
            return read_cfp(path, images=images, **how)
        case ProtocolName.INSIGHTFACE_BIN:
            return read_insightface_bin(path, **how)
        case ProtocolName.PEOPLE:
            return read_people(path, pair_limit=pair_limit, **how)
        case ProtocolName.STRANGERS:
            return read_strangers(path, pair_limit=pair_limit, **how)
        case ProtocolName.CROPS:
            return read_crop_index(path, pair_limit=pair_limit, **how)


def _recognise_folder(folder: Path) -> ProtocolName:
    if is_cfp(folder):
        return ProtocolName.CFP_FP
    if listed := find_cross_lfw_list(folder):
        return ProtocolName.CPLFW if "CPLFW" in listed.name else ProtocolName.CALFW
    if find_agedb_list(folder):
        return ProtocolName.AGEDB_30
    if find_lfw_list(folder):
        return ProtocolName.LFW
    return ProtocolName.CROPS if is_crop_index(folder) else ProtocolName.PEOPLE

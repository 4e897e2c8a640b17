"""Look over an installation: is everything there, and does it compute what it should?

Each check says what is wrong and how to mend it. The centre of it is a golden embedding: that of a drawn face, stored
beside the weights when they were made. Whatever goes wrong between a photograph and its embedding on this machine (a
broken build of torch, a device that miscalculates, a wrong frame) shows there.
"""

from __future__ import annotations

import base64
import importlib.metadata
import platform
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import torch

import lightface
from lightface.detection import MtcnnDetector
from lightface.embedding import Embedder, resolve_device
from lightface.errors import LightfaceError, LockedGalleryError
from lightface.gallery import default_gallery_path, describe_place, gallery_exists, open_gallery
from lightface.models.registry import DEFAULT_WEIGHTS, WeightsRecord, list_weights, verify_weights
from lightface.models.weights import load_model
from lightface.records import AlignedFace, FloatArray
from lightface.words import count_of

GOLDEN_FILE: Final = "golden.toml"  # beside the weights: a table for each, with checksum and embedding

_PACKAGES: Final = ("torch", "torchvision", "facenet-pytorch", "numpy", "opencv-python-headless", "pillow")
_GOLDEN_SIMILARITY: Final = 0.9999  # what another processor's rounding leaves far behind
_PARITY_SIMILARITY: Final = 0.99999
_PRECISION_SIMILARITY: Final = 0.999  # of bf16 and fp16 to fp32
_REINSTALL: Final = "install the versions in constraints.txt, or try `device` cpu"
_LARGE_BATCH: Final = 64
_EVERY: Final = 9  # of the large batch, this face and its multiples are embedded again on their own


class Health(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"  # works, but is worth knowing
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    health: Health
    detail: str  # what was found
    remedy: str = ""  # what to do about it


def check_installation(
    *, model: str = DEFAULT_WEIGHTS, device: str = "auto", gallery: Path | str | None = None
) -> Iterator[Check]:
    """Run every check, those that a fault makes impossible excepted. Never raises a LightfaceError."""
    yield _check_versions()
    yield _check(_check_device, device)
    for record in _all_weights():
        yield _check(_check_weights, record) if isinstance(record, WeightsRecord) else record
    yield _check(_check_detector, device)
    try:
        loaded = load_model(model)
        single = Embedder(loaded, device=device, precision="fp32", batch_size=1)
        batched = Embedder(loaded, device=device, precision="fp32", batch_size=_LARGE_BATCH)
        usual = Embedder(loaded, device=device)
    except LightfaceError as error:
        yield Check("embedding", Health.FAULT, str(error))
    else:
        yield _check(_check_golden, single)
        yield _check_batches(single, batched)
        yield _check_threads(batched)
        yield _check_precision(single, usual)
        yield _check(_check_gallery, default_gallery_path() if gallery is None else gallery, single.record)


def draw_golden_face(record: WeightsRecord) -> AlignedFace:
    """A drawn face in the frame of the weights, the same to the last bit everywhere: integers only."""
    frame = record.contract.frame
    rows, columns = np.mgrid[: frame.size_px, : frame.size_px]
    center = frame.size_px // 2
    eye_row, mouth_row = round(frame.eye_row_px), round(frame.mouth_row_px)
    pixels = np.full((frame.size_px, frame.size_px, 3), (70, 80, 90), dtype=np.uint8)

    def paint(row: int, column: int, half_height: int, half_width: int, colour: tuple[int, int, int]) -> None:
        distance = (rows - row) ** 2 * half_width**2 + (columns - column) ** 2 * half_height**2
        pixels[distance <= (half_height * half_width) ** 2] = colour

    paint(center, center, 62, 46, (205, 165, 140))  # the head
    for side in (-22, 22):
        paint(eye_row - 12, center + side, 2, 13, (80, 55, 45))  # a brow
        paint(eye_row, center + side, 5, 10, (240, 240, 235))
        paint(eye_row, center + side, 4, 4, (50, 40, 40))
    paint((eye_row + mouth_row) // 2 + 6, center, 5, 8, (180, 135, 115))  # the nose
    paint(mouth_row, center, 4, 17, (150, 70, 70))
    return AlignedFace(pixels=pixels, frame=frame, detection=None)


def read_golden(record: WeightsRecord) -> FloatArray | None:
    """The stored embedding (256,) of `draw_golden_face`; None where there is none for exactly these weights."""
    try:
        tables = tomllib.loads((record.file.parent / GOLDEN_FILE).read_text(encoding="ascii"))
        table = tables[record.name]
        if table["sha256"] != record.sha256:
            return None
        return np.frombuffer(base64.b64decode(table["embedding"]), dtype="<f4").astype(np.float32)
    except (OSError, KeyError, TypeError, ValueError):
        return None


def format_golden(record: WeightsRecord, embedding: FloatArray) -> str:
    """The table that `read_golden` reads."""
    encoded = base64.b64encode(embedding.astype("<f4").tobytes()).decode("ascii")
    return f'[{record.name}]\nsha256 = "{record.sha256}"\nembedding = "{encoded}"\n'


def _check(check: Callable[..., Check], *arguments: object) -> Check:
    try:
        return check(*arguments)
    except LightfaceError as error:  # its message ends with the remedy
        return Check(check.__name__.removeprefix("_check_"), Health.FAULT, str(error))


def _check_versions() -> Check:
    found = [f"{package} {importlib.metadata.version(package)}" for package in _PACKAGES]
    own = [f"lightface {lightface.__version__}", f"Python {platform.python_version()}"]
    return Check("versions", Health.OK, ", ".join([*own, *found]))


def _check_device(name: str) -> Check:
    device = resolve_device(name)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Check("device", Health.OK, f"{device} ({what}), {count_of(torch.get_num_threads(), 'thread')}")


def _all_weights() -> list[WeightsRecord | Check]:
    try:
        return [*list_weights()]
    except LightfaceError as error:
        return [Check("weights", Health.FAULT, str(error))]


def _check_weights(record: WeightsRecord) -> Check:
    verify_weights(record)
    if not record.thresholds:
        return Check("weights", Health.NOTE, f"{record.name}: no threshold is known", "measure one with 'calibrate'")
    return Check("weights", Health.OK, f"{record.name}: checksum as registered")


def _check_detector(device: str) -> Check:
    detector = MtcnnDetector(resolve_device(device))
    if detector.detect(np.zeros((96, 96, 3), np.uint8)):
        return Check("detector", Health.FAULT, "finds a face in a black picture", _REINSTALL)
    return Check("detector", Health.OK, f"MTCNN on {detector.device}")


def _check_golden(embedder: Embedder) -> Check:
    golden = read_golden(embedder.record)
    if golden is None:
        return Check("golden embedding", Health.NOTE, f"none is stored for {embedder.record.model_id}")
    similarity = _cosine(embedder.embed([draw_golden_face(embedder.record)])[0], golden)
    detail = f"cosine {similarity:.6f} to the stored one"
    if similarity >= _GOLDEN_SIMILARITY:
        return Check("golden embedding", Health.OK, detail)
    return Check("golden embedding", Health.FAULT, detail, _REINSTALL)


def _check_batches(single: Embedder, batched: Embedder) -> Check:
    faces = _variants(single.record)
    similarity = _smallest_cosine(single.embed(faces[::_EVERY]), batched.embed(faces)[::_EVERY])
    return _parity(f"batches of 1 and {_LARGE_BATCH}", similarity)


def _check_threads(embedder: Embedder) -> Check:
    faces = _variants(embedder.record)[::_EVERY]
    threads = torch.get_num_threads()
    many = embedder.embed(faces)
    try:
        torch.set_num_threads(1)
        one = embedder.embed(faces)
    finally:
        torch.set_num_threads(threads)
    return _parity(f"1 and {threads} threads", _smallest_cosine(one, many))


def _check_precision(exact: Embedder, usual: Embedder) -> Check:
    """What the precision auto comes to here, against fp32."""
    faces = _variants(exact.record)[::_EVERY]
    similarity = _smallest_cosine(exact.embed(faces), usual.embed(faces))
    detail = f"auto is {usual.precision}, which agrees with fp32 to cosine {similarity:.6f}"
    if similarity >= _PRECISION_SIMILARITY:
        return Check("precision", Health.OK, detail)
    return Check(
        "precision", Health.FAULT, detail, "set LIGHTFACE_PRECISION=fp32, or `precision` where a command has it"
    )


def _check_gallery(place: Path | str, record: WeightsRecord) -> Check:
    where = describe_place(place)
    if not gallery_exists(place):
        return Check("gallery", Health.OK, f"none yet at {where}; 'lightface enroll' makes it")
    try:
        with open_gallery(place) as gallery:
            stats = gallery.stats()
    except LockedGalleryError:
        return Check("gallery", Health.OK, f"{where}: encrypted, and not opened here")
    size = f"{count_of(stats.person_count, 'person')}, {count_of(stats.sample_count, 'sample')}"
    counts = f"{where}: {size}, model {stats.model_id}"
    if stats.model_id is not None and not stats.model_id.startswith(record.model_id):
        return Check("gallery", Health.NOTE, counts, f"for {record.name}: lightface gallery reembed")
    return Check("gallery", Health.OK, counts)


def _variants(record: WeightsRecord) -> list[AlignedFace]:
    """Faces enough to fill a large batch and begin another, each one a little different."""
    face = draw_golden_face(record)
    return [
        AlignedFace(pixels=np.roll(face.pixels, shift, axis=1), frame=face.frame, detection=None)
        for shift in range(_LARGE_BATCH + 2)
    ]


def _parity(what: str, similarity: float) -> Check:
    detail = f"{what} agree to cosine {similarity:.7f}"
    if similarity >= _PARITY_SIMILARITY:
        return Check("parity", Health.OK, detail)
    return Check("parity", Health.FAULT, detail, _REINSTALL)


def _smallest_cosine(rows_a: FloatArray, rows_b: FloatArray) -> float:
    return min(_cosine(a, b) for a, b in zip(rows_a, rows_b, strict=True))


def _cosine(a: FloatArray, b: FloatArray) -> float:
    return float(a.astype(np.float64) @ b.astype(np.float64))

"""Who can be among the people nearest to a face, told from codes of 8 bits: a quarter of what the rows take to read.

A person is scored by the cosine between a probe and their template, the normalised mean of their samples. A code's
score comes with a bound on its error, so that nobody who belongs to the nearest is missed: what is found here is a
superset of them, some tens of people, whose samples are then compared exactly. The codes decide about time only, never
about the result.

With a row x = s c + e (c its code, s its step) and a probe q = t d + f, the score s t (c . d) differs from q . x by
f . (s c) + q . e, hence by no more than |f| |s c| + |q| |e| (Cauchy and Schwarz).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from lightface.faces import FloatArray
from lightface.gallery.records import IntArray

CodeArray = npt.NDArray[np.int8]

_TOP_CODE: Final = 127
_SCORES_AT_ONCE: Final = 16_000_000  # 64 MB
_PROBES_AT_ONCE: Final = 16
_RUN: Final = 64  # rows of which only the best is asked for when the k-th highest is looked for

# More than float32 can add to an error: in scaling a product, and in a template that was normalised.
_ROUNDING: Final = np.float32(1e-5)


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """People's templates in 8 bits, each with a step of its own."""

    person_ids: IntArray  # (K,) int64, ascending
    values: CodeArray  # (K, D), -127..127
    steps: FloatArray  # (K,) float32: a row is about its step times its values
    errors: FloatArray  # (K,) float32: the length of what is missing from that, or a little more

    def __len__(self) -> int:
        return len(self.person_ids)

    @classmethod
    def none(cls) -> Self:
        """Of nobody."""
        numbers = np.empty(0, np.float32)
        return cls(np.empty(0, np.int64), np.empty((0, 0), np.int8), numbers, numbers)

    def rows_of(self, person_ids: IntArray) -> IntArray:
        """The rows (N,) of those people who are among these."""
        return np.flatnonzero(np.isin(self.person_ids, person_ids))


def encode(person_ids: IntArray, templates: FloatArray) -> Codes:
    """Codes of (K, D) float32 rows of length 1, or 0."""
    steps = (np.abs(templates).max(axis=1) / np.float32(_TOP_CODE)).astype(np.float32)
    values = np.rint(templates / np.where(steps > 0, steps, np.float32(1))[:, None])
    values = np.clip(values, -_TOP_CODE, _TOP_CODE).astype(np.int8)
    # The length of a difference is right to some 1e-7 in float32; it is rounded up by more than that.
    errors = np.linalg.norm(templates - values * steps[:, None], axis=1) * np.float32(1.0001) + np.float32(1e-6)
    return Codes(person_ids, values, steps, errors.astype(np.float32))


def find_near(codes: Codes, probes: FloatArray, k: int, *, leave_out: IntArray) -> IntArray:
    """Rows (N,) that include the `k` nearest, or all where there are fewer, of each unit row of `probes` (P, D).

    `leave_out` are rows that are not to be found.
    """
    found = [np.empty(0, np.int64)]
    for lowest, highest in _bounds(codes, probes):
        lowest[leave_out] = highest[leave_out] = -np.inf
        found.append(np.flatnonzero((highest >= _kth_highest(lowest, k)) & (highest > -np.inf)))
    return np.unique(np.concatenate(found))


def _bounds(codes: Codes, probes: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """For each probe, the lowest and the highest (K,) that each row's score can be."""
    at_once = max(1, min(_PROBES_AT_ONCE, _SCORES_AT_ONCE // max(1, len(codes))))
    for start in range(0, len(probes), at_once):
        part = probes[start : start + at_once]
        coded = encode(np.arange(len(part)), part)
        products = _multiply(codes.values, coded.values)
        for probe, row, step, error in zip(part, products, coded.steps, coded.errors, strict=True):
            scores = row.astype(np.float32)
            scores *= codes.steps
            scores *= step
            slack = codes.errors * (np.linalg.norm(probe) + error)
            slack += error * np.float32(1.01) + _ROUNDING  # |s c| <= |x| + |e|, and this is for |x|
            yield scores - slack, scores + slack


def _multiply(rows: CodeArray, probes: CodeArray) -> npt.NDArray[np.int32] | FloatArray:
    """Products (P, K) of codes, without an error."""
    if _multiplies_exactly():
        import torch  # not at the top: most work on a gallery does without

        # numpy has no fast product of 8-bit integers.
        columns = torch.from_numpy(np.ascontiguousarray(probes.T))
        found: npt.NDArray[np.int32] = torch._int_mm(torch.from_numpy(rows), columns).numpy()
        return np.ascontiguousarray(found.T)
    products = np.empty((len(probes), len(rows)), np.float32)  # which has all integers up to 2^24, 1040 x 127 x 127
    for start in range(0, len(rows), 8192):
        part = slice(start, start + 8192)
        products[:, part] = probes.astype(np.float32) @ rows[part].T.astype(np.float32)
    return products


@functools.cache
def _multiplies_exactly() -> bool:
    """Whether torch multiplies 8-bit integers here, and without clipping sums to 16 bits as some processors do."""
    import torch

    extreme = np.full((64, 256), _TOP_CODE, np.int8)
    extreme[1::2] = -_TOP_CODE
    try:
        products = torch._int_mm(torch.from_numpy(extreme), torch.from_numpy(extreme[:16].T.copy())).numpy()
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return np.array_equal(products, extreme.astype(np.int32) @ extreme[:16].T.astype(np.int32))


def _kth_highest(scores: FloatArray, k: int) -> float:
    """At most the `k`-th highest, and near it; -inf where there are no more than `k`."""
    runs = len(scores) // _RUN
    if runs > k:  # the best of each run are k different rows, and quickly found
        scores = scores[: runs * _RUN].reshape(runs, _RUN).max(axis=1)
    return float(np.partition(scores, -k)[-k]) if len(scores) > k else -np.inf

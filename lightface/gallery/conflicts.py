"""Whether new faces are somebody else's: each is compared as `identify` compares, with the templates of people.

All new faces that are looked at together are sorted out together, so that it matters little who comes first: a stray
among Ada's photographs is found by Bo's, though Bo is enrolled after her. Of 25 people, half of whose photographs are
enrolled, 94 % of the others are refused under somebody else's name, 96 % under a new one, none under the right one; of
all 199 at once, two (`pytest -s tests/pipeline/test_audit_people.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lightface.faces import FloatArray
from lightface.gallery.gallery import Gallery
from lightface.gallery.likeness import find_parts
from lightface.gallery.records import IntArray, name_key
from lightface.matching import is_same

_NEAREST = 2  # people for each face, of whom one may be the person whose face it is to be


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else whom a face resembles."""

    person_name: str
    similarity: float  # cosine to that person's template


def find_conflicts(
    gallery: Gallery, newcomers: Mapping[str, FloatArray], *, threshold: float
) -> dict[str, list[Conflict | None]]:
    """For each new unit row (N, D) of each name whom else it resembles; None for a row that may be enrolled.

    A face is somebody else's where their template reaches `threshold` (cosine) and is nearer than the person's own.
    The template is made of the samples that are enrolled or, for a new person, of the largest part of their new faces
    that are alike. A new person whose part reaches the threshold with somebody, on average, is that person once more,
    and no face of the part may be enrolled; of two such newcomers, the second is.
    """
    faces = {name: rows for name, rows in newcomers.items() if len(rows)}
    main = {name: np.flatnonzero(find_parts(rows, threshold=threshold) == 0) for name, rows in faces.items()}
    templates = _Templates()
    templates.add_enrolled(gallery, faces, main)
    found: dict[str, list[Conflict | None]] = {name: [None] * len(rows) for name, rows in newcomers.items()}
    for name, rows in faces.items():
        if templates.has(name):
            main[name] = np.empty(0, np.int64)  # whose template has none of these faces
        elif repeated := templates.find_alike(name, rows[main[name]], threshold):
            for place, conflict in zip(main[name].tolist(), repeated, strict=True):
                found[name][place] = conflict
        else:
            templates.add(name, rows[main[name]].sum(axis=0))
    for name, rows in faces.items():
        for place, row in enumerate(rows):
            if found[name][place] is None:
                found[name][place] = templates.find_nearer(name, row, threshold, is_part=place in main[name])
    return found


class _Templates:
    """The people with whom new faces are compared."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._totals: dict[str, FloatArray] = {}  # sums of unit rows, by name key
        self._rows: FloatArray | None = None  # (K, D) unit rows, made of these when they are needed

    def add_enrolled(self, gallery: Gallery, faces: Mapping[str, FloatArray], main: Mapping[str, IntArray]) -> None:
        """The enrolled people who are nearest to the new faces, and those whose faces they are to be."""
        if not faces or gallery.is_empty:
            return
        means = [_unit(rows[main[name]].sum(axis=0)) for name, rows in faces.items()]
        near = gallery.matrix_near(np.concatenate([*faces.values(), np.stack(means)]), _NEAREST)
        for index, person in enumerate(near.people):
            self.add(person.name, near.vectors[near.person_index == index].sum(axis=0))
        for name in faces:
            known = None if self.has(name) else gallery.get_person(name)
            samples = [] if known is None else gallery.samples(known.id)
            if samples:
                self.add(name, np.sum([sample.vector for sample in samples], axis=0))

    def has(self, name: str) -> bool:
        return name_key(name) in self._totals

    def add(self, name: str, total: FloatArray) -> None:
        self._names.append(name)
        self._totals[name_key(name)] = total
        self._rows = None

    def find_alike(self, name: str, rows: FloatArray, threshold: float) -> list[Conflict] | None:
        """Whom the faces of a new person resemble on average, as a conflict for each; None where there is nobody."""
        others, scores = self._compare(name, rows)
        if not others:
            return None
        best = int(scores.mean(axis=0).argmax())
        if not is_same(scores[:, best].mean(), threshold):
            return None
        return [Conflict(others[best], similarity) for similarity in scores[:, best].tolist()]

    def find_nearer(self, name: str, row: FloatArray, threshold: float, *, is_part: bool) -> Conflict | None:
        """Whom a face resembles more than the person whose it is to be; `is_part`: their template has it within."""
        others, scores = self._compare(name, row[np.newaxis])
        if not others:
            return None
        best = int(scores[0].argmax())
        total = self._totals.get(name_key(name))
        own = -1.0 if total is None else float(_unit(total - row if is_part else total) @ row)
        if not is_same(scores[0, best], threshold) or own >= scores[0, best]:
            return None
        return Conflict(others[best], float(scores[0, best]))

    def _compare(self, name: str, rows: FloatArray) -> tuple[list[str], FloatArray]:
        """The names of others (K), and the cosines (N, K) of the rows to their templates."""
        if not self._names:
            return [], np.zeros((len(rows), 0), np.float32)
        if self._rows is None:
            self._rows = np.stack([_unit(total) for total in self._totals.values()])
        is_other = np.array([key != name_key(name) for key in self._totals])
        others = [known for known, other in zip(self._names, is_other.tolist(), strict=True) if other]
        return others, np.clip(rows @ self._rows[is_other].T, -1, 1)


def _unit(total: FloatArray) -> FloatArray:
    """A sum as a row of length 1; zeros where it cancels out."""
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length > 1e-6 else np.zeros_like(total), np.float32)

"""Who is it? People enrolled and looked for: rank-1, CMC, and strangers who must not be named.

Half of each person's pictures are enrolled and the other half looked for. Each person is a stranger once: people are
dealt into three parts, and in three rounds one part stays out of the gallery and all its pictures are looked for too.
(ISO/IEC 19795-1: FPIR is the share of strangers' pictures that are named, TPIR the share of enrolled people's that are
named rightly, both at one threshold.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.pair_list import PairList
from lightface.matching import DEFAULT_PERSON_SCORING, person_scores
from lightface.measurement.intervals import Figure, share_over_people
from lightface.measurement.metrics import MIN_FALSE_ACCEPTS, threshold_at_far
from lightface.records import BoolArray, FloatArray, IntArray

FPIRS = (1e-1, 1e-2)
_RANKS = 20
_PARTS = 3


@dataclass(frozen=True, slots=True)
class TpirAtFpir:
    """The share of enrolled people's pictures named rightly where strangers are named no more often than `fpir`."""

    fpir: float
    strangers_missing: int  # 0, or how many more pictures of strangers it takes; then there are no figures
    threshold: float | None = None
    tpir: Figure | None = None


@dataclass(frozen=True, slots=True)
class IdentificationFigures:
    """People looked for in a gallery of each other."""

    people_enrolled: int
    probes: int  # pictures looked for, failed ones included
    probes_failed: int  # among them; they count as not found
    rank_1: Figure
    cmc: tuple[float, ...]  # share of probes whose person is among the first 1, 2, ...
    stranger_probes: int  # over all rounds
    open_set: tuple[TpirAtFpir, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """Positions in the list's pictures."""

    enrolled: IntArray
    probes: IntArray


def measure_identification(
    pairs: PairList, embedded: EmbeddedPictures, *, fpirs: Sequence[float] = FPIRS
) -> IdentificationFigures | None:
    """Figures of a list that knows its people; None where fewer than `_PARTS` of them have two usable pictures."""
    split = _split(pairs.people, embedded.usable)
    people = np.unique(pairs.people[split.enrolled])
    if people.size < _PARTS:
        return None
    probe_people = pairs.people[split.probes]
    ranks = _rank(_compare(embedded.vectors, pairs.people, split, people), probe_people, people)
    ranks[~embedded.usable[split.probes]] = people.size  # as if last of all and not found
    hits = ranks == 0
    rounds = _look_for_strangers(pairs.people, embedded, split, people)
    return IdentificationFigures(
        people_enrolled=people.size,
        probes=split.probes.size,
        probes_failed=int((~embedded.usable[split.probes]).sum()),
        rank_1=share_over_people(hits, probe_people),
        cmc=tuple(float(np.mean(ranks <= rank)) for rank in range(min(_RANKS, people.size))),
        stranger_probes=rounds.strangers.size,
        open_set=tuple(_tpir(rounds, fpir) for fpir in fpirs),
    )


def _split(people: IntArray, usable: BoolArray) -> _Split:
    """The first half of each person's usable pictures is enrolled, the others and the failed ones are probes."""
    enrolled: list[int] = []
    probes: list[int] = []
    for person in np.unique(people):
        rows = np.flatnonzero(people == person)
        good = rows[usable[rows]]
        if good.size > 1:
            chosen = good[: good.size // 2]
            enrolled += chosen.tolist()
            probes += np.setdiff1d(rows, chosen).tolist()
    return _Split(np.array(enrolled, np.int64), np.array(probes, np.int64))


def _compare(vectors: FloatArray, people: IntArray, split: _Split, enrolled_people: IntArray) -> FloatArray:
    """(probes, people) similarity to each person."""
    places = np.searchsorted(enrolled_people, people[split.enrolled])
    return person_scores(
        vectors[split.probes], vectors[split.enrolled], places, enrolled_people.size, how=DEFAULT_PERSON_SCORING
    )


def _rank(scores: FloatArray, probe_people: IntArray, people: IntArray) -> IntArray:
    """How many people score at least as high as the right one, ties against it; 0 for the best."""
    right = scores[np.arange(len(scores)), np.searchsorted(people, probe_people)]
    ranks: IntArray = (scores >= right[:, None]).sum(axis=1) - 1
    return ranks


@dataclass(frozen=True, slots=True, eq=False)
class _OpenSet:
    """What came of looking for pictures while a part of the people was out of the gallery, over all rounds."""

    best: FloatArray  # (K,) the highest score of each enrolled person's probe, -inf for a failed one
    right: BoolArray  # (K,) whether it is that person's
    people: IntArray  # (K,) the person
    strangers: FloatArray  # (S,) the highest score of each stranger's picture


def _look_for_strangers(
    people: IntArray, embedded: EmbeddedPictures, split: _Split, enrolled_people: IntArray
) -> _OpenSet:
    best, right, probe_people, strangers = [], [], [], []
    for out in range(_PARTS):
        inside = enrolled_people[np.arange(enrolled_people.size) % _PARTS != out]
        enrolled = split.enrolled[np.isin(people[split.enrolled], inside)]
        probes = split.probes[np.isin(people[split.probes], inside)]
        everything = np.concatenate([split.enrolled, split.probes])
        outsiders = everything[~np.isin(people[everything], inside) & embedded.usable[everything]]
        scores = _compare(embedded.vectors, people, _Split(enrolled, probes), inside)
        scores[~embedded.usable[probes]] = -np.inf
        best.append(scores.max(axis=1))
        right.append(inside[scores.argmax(axis=1)] == people[probes])
        probe_people.append(people[probes])
        strangers.append(_compare(embedded.vectors, people, _Split(enrolled, outsiders), inside).max(axis=1))
    return _OpenSet(*(np.concatenate(part) for part in (best, right, probe_people, strangers)))


def _tpir(rounds: _OpenSet, fpir: float) -> TpirAtFpir:
    needed = round(MIN_FALSE_ACCEPTS / fpir)
    if rounds.strangers.size < needed:
        return TpirAtFpir(fpir, needed - rounds.strangers.size)
    threshold = threshold_at_far(rounds.strangers, fpir)
    named_rightly = (rounds.best >= np.float64(threshold)) & rounds.right
    return TpirAtFpir(fpir, 0, threshold, share_over_people(named_rightly, rounds.people, repeats=_PARTS - 1))

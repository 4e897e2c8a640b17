"""One evaluation from a list of pairs to its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from lightface import __version__
from lightface.errors import DuplicateFaceError
from lightface.evaluation.cache import EmbeddingCache
from lightface.evaluation.embed import EmbeddedPictures, FailedPicture, embed_pictures
from lightface.evaluation.figures import ScoredPairs, VerificationFigures, find_repeats, measure_pairs, score_pairs
from lightface.evaluation.groups import Crossing, Grouping, GroupTable, measure_groups
from lightface.evaluation.identification import IdentificationFigures, measure_identification
from lightface.evaluation.pair_list import PairList
from lightface.evaluation.rejects import RejectCurve, measure_rejects
from lightface.measurement.metrics import RocCurve, SourcedThreshold, roc_points
from lightface.measurement.pairs import cosines_of_pairs
from lightface.pipeline import FacePipeline
from lightface.records import BoolArray, IntArray, fields_of, to_plain
from lightface.words import count_of, visible

# Of the 30,000 listed pairs of different people none reaches it (`lightface evaluate ../shared/data/dev-pairs.csv`).
SUSPECTED_REPEAT = 0.92
_REPEATS_SHOWN = 100
_ROC_POINTS: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class WorstPair:
    """A pair that the network is most wrong about."""

    a: int  # positions in the list's pictures
    b: int
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """Pairs of different people so similar that they may be one person, whom the list has twice."""

    similarity: float  # from this cosine on
    count: int  # of `MANY_REPEATS` there may be more
    pairs: tuple[WorstPair, ...]  # the most similar of them, up to 100
    left_out: bool  # the second picture of each, as if it had failed; else they count as different people


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What an evaluation found, with all that is needed to report it."""

    pairs: PairList
    model_id: str
    device: str
    precision: str
    failures: tuple[FailedPicture, ...]
    scored: ScoredPairs
    figures: VerificationFigures
    roc: RocCurve | None  # None where there are no pairs of one person
    false_matches: tuple[WorstPair, ...]  # pairs of different people, most similar first
    false_non_matches: tuple[WorstPair, ...]  # pairs of one person, least similar first
    identification: IdentificationFigures | None
    rejects: RejectCurve | None  # None where the quality of too few faces is known
    groupings: tuple[Grouping, ...]
    repeats: Repeats
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        figures = self.figures
        rate = figures.equal_error_rate
        pairs = f"{count_of(figures.genuine, 'pair')} of one person, {figures.impostors:,} of two"
        eer = "" if rate is None else f"; EER {100 * rate.estimate:.2f} %"
        return visible(f"{self.pairs.name}: {pairs}{eer}; {count_of(len(self.failures), 'picture')} failed")

    def count_reasons(self) -> dict[str, int]:
        """How many pictures failed for each reason, the most frequent first."""
        return dict(Counter(failure.reason for failure in self.failures).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, for `json.dumps`. An infinite threshold, which accepts nothing, is null."""
        pairs, roc = self.pairs, None if self.roc is None else thin_roc(self.roc)
        content = {
            "lightface": __version__,
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "protocol": pairs.name,
            "source": pairs.source,
            "framing": pairs.framing,
            "face_selection": pairs.selection,
            "model_id": self.model_id,
            "device": self.device,
            "precision": self.precision,
            "pictures": len(pairs.pictures),
            "people": len(set(pairs.people.tolist())) if pairs.knows_people else None,
            "failures": {
                "count": len(self.failures),
                "by_reason": self.count_reasons(),
                "pictures": self.failures,
            },
            "figures": self.figures,
            "roc": None if roc is None else {"threshold": roc.thresholds, "far": roc.far, "tar": roc.tar},
            "identification": self.identification,
            "quality": self.rejects,
            "groups": [_describe_grouping(grouping) for grouping in self.groupings],
            "suspected_repeats": {
                "similarity": self.repeats.similarity,
                "left_out": self.repeats.left_out,
                "count": self.repeats.count,
                "pairs": self._name_pairs(self.repeats.pairs),
            },
            "worst_false_matches": self._name_pairs(self.false_matches),
            "worst_false_non_matches": self._name_pairs(self.false_non_matches),
        }
        return {key: to_plain(value) for key, value in content.items()}

    def _name_pairs(self, pairs: Sequence[WorstPair]) -> list[dict[str, Any]]:
        pictures = self.pairs.pictures
        return [{"a": pictures[one.a].name, "b": pictures[one.b].name, "similarity": one.similarity} for one in pairs]


def thin_roc(roc: RocCurve, points: int = _ROC_POINTS) -> RocCurve:
    """A curve of about as many points, evenly spread over TAR and over the logarithm of FAR; both ends are kept."""
    if roc.far.size <= points:
        return roc
    depth = np.log10(np.maximum(roc.far, 1e-6))
    steps = np.floor((roc.tar + (depth - depth[0]) / (depth[-1] - depth[0])) * points / 2)
    kept = np.union1d(np.flatnonzero(np.diff(steps, prepend=-1)), [0, roc.far.size - 1])
    return RocCurve(roc.thresholds[kept], roc.far[kept], roc.tar[kept])


def _describe_grouping(grouping: Grouping) -> dict[str, Any]:
    spreads = [{**fields_of(spread), "difference": spread.difference} for spread in grouping.spreads]
    return {**fields_of(grouping), "spreads": spreads}


def evaluate_pairs(
    pipeline: FacePipeline,
    pairs: PairList,
    *,
    thresholds: Sequence[SourcedThreshold] = (),
    groups: GroupTable | None = None,
    by: Sequence[Crossing] = (),
    drop_repeats: float | None = None,
    worst: int = 12,
    cache: EmbeddingCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    measuring: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Embed, score and measure a list of pairs; people are enrolled and looked for where the list knows them.

    `thresholds` are measured beside the figures. `worst` pairs of either kind are picked. `by` says which groupings of
    `groups` are measured, see `measure_groups`. From the cosine `drop_repeats` on, two pictures of different people are
    taken for one person, and the second is left out. `progress` hears how many pictures are done, then `measuring` how
    many sets of figures.
    Raises EvaluationError where nothing is left to measure, OutputError where the cache cannot be used.
    """
    embedded = embed_pictures(
        pipeline, pairs.pictures, framing=pairs.framing, selection=pairs.selection, cache=cache, progress=progress
    )
    repeats, embedded = _tell_repeats(pairs, embedded, drop_repeats)
    scored = score_pairs(pairs, embedded)
    if measuring is not None:
        measuring(0, 1)
    figures = measure_pairs(scored, thresholds=thresholds)
    groupings: tuple[Grouping, ...] = ()
    if groups is not None:
        further = None if measuring is None else lambda done, total: measuring(done + 1, total + 1)
        groupings = measure_groups(pairs, embedded, groups, by=by, thresholds=thresholds, progress=further)
    return Evaluation(
        pairs=pairs,
        model_id=pipeline.model_id,
        device=str(pipeline.embedder.device),
        precision=pipeline.embedder.precision,
        failures=embedded.failures,
        scored=scored,
        figures=figures,
        roc=roc_points(scored.scores, scored.same) if scored.same.any() else None,
        false_matches=_pick_worst(scored, ~scored.same, worst, highest=True),
        false_non_matches=_pick_worst(scored, scored.same, worst, highest=False),
        identification=measure_identification(pairs, embedded) if pairs.knows_people else None,
        rejects=measure_rejects(scored, embedded.quality),
        groupings=groupings,
        repeats=repeats,
    )


def _tell_repeats(
    pairs: PairList, embedded: EmbeddedPictures, drop_repeats: float | None
) -> tuple[Repeats, EmbeddedPictures]:
    """The pairs that may be one person twice, and the pictures, without the second of each such pair if it is asked."""
    similarity = SUSPECTED_REPEAT if drop_repeats is None else drop_repeats
    a, b = alike = find_repeats(pairs, embedded, similarity)
    scores = cosines_of_pairs(embedded.vectors, a, b)
    most = np.argsort(-scores, kind="stable")[:_REPEATS_SHOWN].tolist()
    shown = tuple(WorstPair(int(a[place]), int(b[place]), float(scores[place])) for place in most)
    repeats = Repeats(similarity, a.size, shown, left_out=drop_repeats is not None)
    return repeats, _leave_out(pairs, embedded, alike) if repeats.left_out else embedded


def _leave_out(pairs: PairList, embedded: EmbeddedPictures, alike: tuple[IntArray, IntArray]) -> EmbeddedPictures:
    """Without the second picture of each pair whose first is still there."""
    failures: dict[int, FailedPicture] = {}
    for a, b in zip(*(side.tolist() for side in alike), strict=True):
        if a not in failures and b not in failures:
            name, other = pairs.pictures[b].name, pairs.pictures[a].name
            message = f"{name} is so similar to {other} that it may be the same person"
            failures[b] = FailedPicture(name, DuplicateFaceError.reason, message)
    usable = embedded.usable.copy()
    usable[list(failures)] = False
    return replace(embedded, usable=usable, failures=(*embedded.failures, *failures.values()))


def _pick_worst(scored: ScoredPairs, kind: BoolArray, count: int, *, highest: bool) -> tuple[WorstPair, ...]:
    places = np.flatnonzero(kind)
    scores = scored.scores[places]
    order = np.argsort(-scores if highest else scores, kind="stable")[:count]
    return tuple(
        WorstPair(int(scored.a[place]), int(scored.b[place]), float(scored.scores[place]))
        for place in places[order].tolist()
    )

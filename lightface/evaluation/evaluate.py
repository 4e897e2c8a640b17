"""One evaluation from a list of pairs to its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from lightface.evaluation.cache import EmbeddingCache
from lightface.evaluation.embed import EmbeddedPictures, FailedPicture, embed_pictures
from lightface.evaluation.figures import NamedThreshold, VerificationFigures, measure_pairs
from lightface.evaluation.groups import Grouping, GroupTable, measure_groups
from lightface.evaluation.identification import IdentificationFigures, measure_identification
from lightface.evaluation.pair_list import PairList
from lightface.evaluation.rejects import RejectCurve, measure_rejects
from lightface.evaluation.scoring import ScoredPairs, score_pairs
from lightface.metrics import BoolArray, RocCurve, roc_points
from lightface.pipeline import FacePipeline


@dataclass(frozen=True, slots=True, eq=False)
class WorstPair:
    """A pair that the network is most wrong about."""

    a: int  # positions in the list's pictures
    b: int
    similarity: float


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
    roc: RocCurve
    false_matches: tuple[WorstPair, ...]  # pairs of different people, most similar first
    false_non_matches: tuple[WorstPair, ...]  # pairs of one person, least similar first
    identification: IdentificationFigures | None
    rejects: RejectCurve | None  # None where the quality of too few faces is known
    groupings: tuple[Grouping, ...]
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def evaluate_pairs(
    pipeline: FacePipeline,
    pairs: PairList,
    *,
    thresholds: Sequence[NamedThreshold] = (),
    groups: GroupTable | None = None,
    worst: int = 12,
    cache: EmbeddingCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Embed, score and measure a list of pairs; people are enrolled and looked for where the list knows them.

    `thresholds` are measured beside the figures; `worst` pairs of either kind are picked; `progress` hears how many
    pictures are done. Raises EvaluationError where failures or groups leave nothing to measure, OutputError where the
    cache cannot be used.
    """
    embedded = embed_pictures(
        pipeline, pairs.pictures, framing=pairs.framing, selection=pairs.selection, cache=cache, progress=progress
    )
    scored = score_pairs(pairs, embedded)
    return Evaluation(
        pairs=pairs,
        model_id=pipeline.model_id,
        device=str(pipeline.embedder.device),
        precision=pipeline.embedder.precision,
        failures=embedded.failures,
        scored=scored,
        figures=measure_pairs(scored, thresholds=thresholds),
        roc=roc_points(scored.scores, scored.same),
        false_matches=_pick_worst(scored, ~scored.same, worst, highest=True),
        false_non_matches=_pick_worst(scored, scored.same, worst, highest=False),
        identification=_identify(pairs, embedded),
        rejects=measure_rejects(scored, embedded.quality),
        groupings=()
        if groups is None
        else measure_groups(pairs, embedded.usable, scored, groups, thresholds=thresholds),
    )


def _identify(pairs: PairList, embedded: EmbeddedPictures) -> IdentificationFigures | None:
    return measure_identification(pairs, embedded) if pairs.knows_people else None


def _pick_worst(scored: ScoredPairs, kind: BoolArray, count: int, *, highest: bool) -> tuple[WorstPair, ...]:
    places = np.flatnonzero(kind)
    scores = scored.scores[places]
    order = np.argsort(-scores if highest else scores, kind="stable")[:count]
    return tuple(
        WorstPair(int(scored.a[place]), int(scored.b[place]), float(scored.scores[place]))
        for place in places[order].tolist()
    )

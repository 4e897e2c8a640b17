"""Which threshold a decision uses.

There are two decisions. A photograph is compared with a photograph (`resolve_threshold`), or with people, each by the
mean of their samples (`resolve_bands`). Strangers reach a mean more often, so the second threshold is higher, by the
factor `lightface.matching.template_factor`. What is stored, in a gallery or with weights, is always of the first kind.
"""

from __future__ import annotations

from lightface.errors import ThresholdError, check_number
from lightface.gallery import Gallery, StoredThreshold
from lightface.gallery.records import latest_thresholds
from lightface.matching import POOR_RAISE, DecisionBands, template_factor
from lightface.models.registry import DEFAULT_FAR as DEFAULT_FAR
from lightface.models.registry import WeightsRecord
from lightface.models.registry import find_record as find_record


def resolve_threshold(
    record: WeightsRecord | None, *, gallery: Gallery | None = None, threshold: float | None = None
) -> float:
    """The cosine from which two photographs show one person.

    The explicit threshold, else the gallery's latest, else the weights record's at FAR 1e-3. Of the thresholds that one
    calibration stored in the gallery, the strictest decides. `record` is None for weights that are not registered here.

    Raises ThresholdError where none of the three is known, and for one that is no number.
    """
    if threshold is not None:
        check_number("a threshold", threshold, error=ThresholdError)
    if threshold is None and gallery is not None and (stored := _latest_thresholds(gallery)):
        threshold = stored[-1].threshold
    if threshold is None and record is not None:
        threshold = record.thresholds.get(DEFAULT_FAR)
    if threshold is None:
        name = "that are not registered here" if record is None else repr(record.name)
        raise ThresholdError(
            f"no threshold is known for the weights {name}; "
            "measure one with 'lightface calibrate', or give a `threshold`"
        )
    return threshold


def resolve_bands(
    record: WeightsRecord | None,
    *,
    gallery: Gallery | None = None,
    threshold: float | None = None,
    review_threshold: float | None = None,
) -> DecisionBands:
    """The cosines from which a face is one of the gallery's people, or shown for review.

    An explicit threshold holds as it is, for poor faces too. What is stored holds for two photographs (see
    `resolve_threshold`), is raised by the factor of the gallery's templates, and is raised further for poor faces. Of
    the thresholds that one calibration stored, the loosest is the review threshold, unless another is given. Without a
    gallery, people count as known by one sample each.

    Raises ThresholdError as `resolve_threshold`, and where the two thresholds do not fit each other.
    """
    factor = 1.0 if gallery is None else template_factor(gallery.template_sizes())
    if review_threshold is None and threshold is None and gallery is not None:
        stored = _latest_thresholds(gallery)
        if len(stored) > 1:
            review_threshold = raise_threshold(stored[0].threshold, factor)
    if threshold is not None:
        return DecisionBands(threshold, review_threshold)
    threshold = raise_threshold(resolve_threshold(record, gallery=gallery), factor)
    return DecisionBands(threshold, review_threshold, POOR_RAISE)


def describe_basis(
    record: WeightsRecord | None, *, gallery: Gallery | None = None, threshold: float | None = None
) -> str:
    """For whom the threshold that decides was measured, so that nobody takes its promise for everybody's."""
    if threshold is not None:
        check_number("a threshold", threshold, error=ThresholdError)
        return f"threshold {threshold:.3f}, as given: how often it takes two people for one is not known here"
    stored = [] if gallery is None else _latest_thresholds(gallery)
    far, source = DEFAULT_FAR, "not known" if record is None else record.measured_on or "not known"
    if stored:
        far, source = f"{stored[-1].far:g}", stored[-1].source
    return (
        f"the threshold keeps a false-accept rate of {far} among those whom it was measured on ({source}); of people "
        "who resemble each other more, such as children, more are taken for each other"
    )


def raise_threshold(threshold: float, factor: float) -> float:
    """The threshold of templates that is as strict as that of pairs; never above 1, nor lower than it was."""
    return max(threshold, min(1.0, threshold * factor))


def lower_threshold(threshold: float, factor: float) -> float:
    """The threshold of pairs that is as strict as that of templates: `raise_threshold` backwards."""
    return threshold / factor if threshold > 0 else threshold


def _latest_thresholds(gallery: Gallery) -> list[StoredThreshold]:
    return latest_thresholds(gallery.thresholds())

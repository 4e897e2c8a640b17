"""`lightface calibrate`: the thresholds that keep a false-accept rate, measured and kept in the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, note, progress_bar
from lightface.cli.evaluate import Framed, Groups, Images, NoCache, PairLimit, Protocol, open_cache, read_pairs_of
from lightface.cli.inputs import read_entries
from lightface.cli.loading import load_face_pipeline, open_gallery_of, record_of
from lightface.cli.options import EMBEDDING, GALLERY, Json, with_settings
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.evaluation.calibrate import Calibration, Proposal
    from lightface.evaluation.pair_list import PairList
    from lightface.gallery import Gallery
    from lightface.measurement.intervals import Figure
    from lightface.models.registry import WeightsRecord

_NAMED_FAILURES = 10


@with_settings(*GALLERY, *EMBEDDING)
def calibrate(
    settings: Settings,
    *,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="Pairs or people to measure on, as evaluate takes (default: the gallery)."),
    ] = None,
    far: Annotated[
        float,
        typer.Option(
            "--far",
            help="The false-accept rate to keep: 1e-3 takes one stranger in a thousand for a given person.",
        ),
    ] = 1e-3,
    review_far: Annotated[
        float | None,
        typer.Option(
            "--review-far",
            help="The rate from which a match is for review (default: ten times --far, but no more than shows a tenth "
            "of all strangers).",
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--within",
            metavar="KEY=VALUE",
            help="Measure on people of one group alone, such as age=child: by their metadata in the gallery, or for "
            "PATH by --groups. May be given again. It decides for everybody.",
        ),
    ] = None,
    groups: Groups = None,
    allow_looser: Annotated[
        bool, typer.Option("--allow-looser", help="Keep what was measured even where the weights are stricter.")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Take calibrations back: the weights' own threshold decides again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure; leave the gallery as it is.")] = False,
    protocol: Protocol = None,
    images: Images = None,
    framing: Framed = None,
    pair_limit: PairLimit = None,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    """Measure the threshold that keeps a false-accept rate, and keep it in the gallery, which then decides by it.

    From the threshold up a face is matched, from the review threshold up it is for review, below it is unknown. It
    never lets in more than the weights' own threshold unless --allow-looser asks for it. Refused where the pairs of
    different people are too few for the rate.
    """
    from lightface.evaluation.calibrate import calibrate_gallery, propose_thresholds, store_calibration

    if reset:
        if path is not None or dry_run or allow_looser or within:
            raise ConfigError("--reset measures nothing; give it alone, or with --gallery")
        _take_back(settings)
        return
    group = read_entries(within or [], option="--within")
    if (groups is not None) != bool(group and path is not None):
        raise ConfigError("for PATH, --within and --groups go together; of the gallery's people, their metadata tell")
    with open_gallery_of(settings) as gallery:
        if path is None:
            calibration = calibrate_gallery(gallery, far=far, review_far=review_far, within=group)
            record = record_of(settings, gallery)
        else:
            pairs = read_pairs_of(path, protocol, images, framing, pair_limit)
            calibration, record = _calibrate_on(
                settings, gallery, pairs, groups, group, far=far, review_far=review_far, no_cache=no_cache
            )
        proposal = propose_thresholds(gallery, calibration, record, allow_looser=allow_looser)
        if not dry_run:
            store_calibration(gallery, proposal)
            kept = "kept" if proposal.weights_threshold is None else "the threshold of the weights stays, as kept"
            note(f"{kept} in {gallery.location}; verify --gallery and identify decide by it from now on")
    if as_json:
        print_json(proposal)
    else:
        _report(proposal)


def _take_back(settings: Settings) -> None:
    from lightface.errors import ThresholdError
    from lightface.pipeline import resolve_bands, resolve_threshold

    with open_gallery_of(settings) as gallery:
        forgotten = gallery.forget_thresholds()
        if not forgotten:
            note(f"{gallery.location} was not calibrated; nothing was changed")
            return
        record = record_of(settings, gallery)
        try:
            decides = (
                f"verify decides at {resolve_threshold(record):.3f} again, "
                f"identify at {resolve_bands(record, gallery=gallery).threshold:.3f}"
            )
        except ThresholdError:
            decides = "no threshold is known for its weights now; give one with --threshold, or calibrate again"
        note(f"{gallery.location}: its calibration is taken back; {decides}")


def _calibrate_on(
    settings: Settings,
    gallery: Gallery,
    pairs: PairList,
    groups: Path | None,
    group: dict[str, str],
    *,
    far: float,
    review_far: float | None,
    no_cache: bool,
) -> tuple[Calibration, WeightsRecord]:
    from lightface.errors import ModelMismatchError
    from lightface.evaluation.calibrate import calibrate_pairs, default_review_far, describe_group
    from lightface.evaluation.embed import embed_pictures
    from lightface.evaluation.figures import score_pairs
    from lightface.evaluation.groups import read_groups

    if groups is not None:
        pairs = read_groups(groups).pick(pairs, group)
    pipeline = load_face_pipeline(settings)
    if gallery.model_id not in (None, pipeline.model_id):
        raise ModelMismatchError(
            f"{gallery.location} is of {gallery.model_id}, and a threshold of {pipeline.model_id} means nothing there; "
            "choose its weights with --model, move it with 'lightface gallery reembed', or name another --gallery"
        )
    with open_cache(no_cache) as cache, progress_bar("embedding") as advance:
        embedded = embed_pictures(
            pipeline, pairs.pictures, framing=pairs.framing, selection=pairs.selection, cache=cache, progress=advance
        )
    scored = score_pairs(pairs, embedded)
    if embedded.failures:
        note(f"left out {len(embedded.failures):,} of {count_of(len(pairs.pictures), 'picture')}:")
    for failure in embedded.failures[:_NAMED_FAILURES]:
        complain(f"{failure.name}: {failure.reason}")
    if len(embedded.failures) > _NAMED_FAILURES:
        complain(f"and {len(embedded.failures) - _NAMED_FAILURES:,} more; 'lightface evaluate' with --output names all")
    source = f"{pairs.name}, {pairs.source.absolute()}{describe_group(group)}"
    if review_far is None:
        review_far = default_review_far(far, people=gallery.stats().person_count)
    return calibrate_pairs(scored, source=source, far=far, review_far=review_far), pipeline.record


def _report(proposal: Proposal) -> None:
    from lightface.evaluation.figures import rate_text
    from lightface.evaluation.summary import interval_of, percent

    calibration = proposal.calibration
    pairs, templates = calibration.pairs, calibration.templates
    measured = [
        ("verify", pairs.match),
        ("identify", None if templates is None else templates.match),
        ("review", (templates or pairs).review),
    ]
    rows = [
        (
            name,
            rate_text(one.far),
            f"{one.threshold.estimate:.3f}",
            f"{one.threshold.low:.3f} to {one.threshold.high:.3f}",
            interval_of(one.measured_far),
            None if one.tar is None else percent(one.tar.estimate),
            None if one.tar is None else interval_of(one.tar),
        )
        for name, one in measured
        if one is not None
    ]
    print_table(("for", "FAR", "cosine", "95 % interval", "FAR may be", "TAR", "95 % interval"), rows)
    people = "" if calibration.people is None else f" of {count_of(calibration.people, 'person')}"
    print_line()
    print_line(
        f"Measured on {calibration.source}: {count_of(calibration.genuine, 'pair')} of one person and "
        f"{count_of(calibration.impostors, 'pair')} of different ones{people}."
    )
    _report_change(proposal)


def _report_change(proposal: Proposal) -> None:
    """What decides, and what comes of it, before and after."""
    before, after = proposal.before, proposal.after
    review = after.identify.review_threshold
    print_line(
        f"verify decides at {_change(None if before is None else before.verify, after.verify)}, identify at "
        f"{_change(None if before is None else before.identify.threshold, after.identify.threshold)}, "
        + ("with nothing for review." if review is None else f"with review from {review:.3f}.")
    )
    if proposal.weights_threshold is not None:
        print_line(
            f"The {proposal.measured:.3f} that was measured lets in more than the {proposal.weights_threshold:.3f} of "
            "the weights, which stays; --allow-looser takes what was measured."
        )
    if after.strangers_named is None or after.strangers_reviewed is None:
        return
    named = _change(None if before is None else before.strangers_named, after.strangers_named)
    shown = "" if review is None else f" and {_count(after.strangers_reviewed)} shown for review"
    print_line(
        f"Of 100 strangers, about {named} would be named{shown} (95 % interval {_interval(after.strangers_named)}; the "
        "gallery's own photographs, each looked for among everybody else)."
    )
    if after.named_rightly is not None:
        rightly = _change(None if before is None else before.named_rightly, after.named_rightly)
        print_line(
            f"Of 100 photographs of people who are enrolled, about {rightly} would be named rightly "
            f"({_interval(after.named_rightly)})."
        )


def _change(before: Figure | float | None, after: Figure | float) -> str:
    """`3 -> 16`: a cosine, or a share as so many of a hundred; once only where both look the same."""
    now, then = _count(after), None if before is None else _count(before)
    return now if then in (None, now) else f"{then} -> {now}"


def _interval(figure: Figure) -> str:
    """`4 to 14` of a hundred."""
    return f"{100 * figure.low:.0f} to {100 * figure.high:.0f}"


def _count(figure: Figure | float) -> str:
    """A cosine, or a share of a hundred."""
    return f"{figure:.3f}" if isinstance(figure, float) else f"{100 * figure.estimate:.0f}"

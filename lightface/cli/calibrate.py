"""`lightface calibrate`: the thresholds that keep a false-accept rate, measured and kept in the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, note, progress_bar
from lightface.cli.evaluate import Framed, Images, NoCache, PairLimit, Protocol, open_cache, read_pairs_of
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import EMBEDDING, GALLERY, Json, with_settings
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.evaluation.calibrate import Calibration
    from lightface.gallery import Gallery

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
        float, typer.Option("--far", help="The false-accept rate to keep: 1e-3 lets one stranger in a thousand pass.")
    ] = 1e-3,
    review_far: Annotated[
        float | None,
        typer.Option("--review-far", help="The rate from which a match is for review (default: ten times --far)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure; leave the gallery as it is.")] = False,
    protocol: Protocol = None,
    images: Images = None,
    framing: Framed = None,
    pair_limit: PairLimit = None,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    """Measure the threshold that keeps a false-accept rate, and keep it in the gallery, which then decides by it.

    From the threshold up a face is matched, from the review threshold up it is for review, below it is unknown.
    Refused where the pairs of different people are too few for the rate.
    """
    from lightface.evaluation.calibrate import calibrate_gallery, store_calibration

    with open_gallery_of(settings) as gallery:
        if path is None:
            calibration = calibrate_gallery(gallery, far=far, review_far=review_far)
        else:
            pairs = (path, protocol, images, framing, pair_limit)
            calibration = _calibrate_on(settings, gallery, *pairs, far=far, review_far=review_far, no_cache=no_cache)
        if not dry_run:
            store_calibration(gallery, calibration)
            note(f"kept in {gallery.location}; verify and identify decide by it from now on")
    if as_json:
        print_json(calibration)
    else:
        _report(calibration)


def _calibrate_on(
    settings: Settings,
    gallery: Gallery,
    path: Path,
    protocol: str | None,
    images: Path | None,
    framing: str | None,
    pair_limit: int | None,
    *,
    far: float,
    review_far: float | None,
    no_cache: bool,
) -> Calibration:
    from lightface.errors import ModelMismatchError
    from lightface.evaluation.calibrate import calibrate_pairs
    from lightface.evaluation.embed import embed_pictures
    from lightface.evaluation.scoring import score_pairs

    pairs = read_pairs_of(path, protocol, images, framing, pair_limit)
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
    source = f"{pairs.name}, {pairs.source.absolute()}"
    return calibrate_pairs(scored, source=source, far=far, review_far=review_far)


def _report(calibration: Calibration) -> None:
    from lightface.evaluation.figures import rate_text
    from lightface.evaluation.summary import interval_of, percent

    rows = []
    for name, one in (("match", calibration.match), ("review", calibration.review)):
        if one is not None:
            limit = one.threshold
            rows.append(
                (
                    name,
                    rate_text(one.far),
                    f"{limit.estimate:.3f}",
                    f"{limit.low:.3f} to {limit.high:.3f}",
                    interval_of(one.measured_far),
                    None if one.tar is None else percent(one.tar.estimate),
                    None if one.tar is None else interval_of(one.tar),
                )
            )
    print_table(("from", "FAR", "cosine", "95 % interval", "FAR may be", "TAR", "95 % interval"), rows)
    people = "" if calibration.people is None else f" of {count_of(calibration.people, 'person')}"
    print_line()
    print_line(
        f"Measured on {calibration.source}: {count_of(calibration.genuine, 'pair')} of one person and "
        f"{count_of(calibration.impostors, 'pair')} of different ones{people}."
    )
    if calibration.strangers_named is not None:
        named = calibration.strangers_named
        print_line(
            f"A stranger's photograph would match somebody of this gallery in {percent(named.estimate)} of cases "
            f"({interval_of(named)}): the more people are enrolled, the more can be taken for them."
        )

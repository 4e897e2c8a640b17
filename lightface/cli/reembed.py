"""`lightface gallery reembed`: move the gallery to other weights, and see first what that would change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightface.cli.console import counting_bar, note
from lightface.cli.loading import load_face_pipeline, open_gallery_of
from lightface.cli.options import DETECTION, GALLERY, MODEL, Json, with_settings
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.pipeline import ReembedReport
    from lightface.pipeline.reembed import EmbeddingShift

_ROWS_SHOWN = 20


@with_settings("threshold", *GALLERY, *MODEL, *DETECTION)
def reembed(
    settings: Settings,
    *,
    drop_unusable: Annotated[
        bool,
        typer.Option("--drop-unusable", help="Delete samples whose photograph is gone, changed, or without the face."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be done.")] = False,
    already_aligned: Annotated[
        bool, typer.Option("--already-aligned", hidden=True, help="Not needed: samples know whether they are crops.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move the gallery to other weights (--model): embed its photographs again, all or nothing.

    Says how scores shift, which samples would be named otherwise, and which photographs are gone or changed; with
    --dry-run nothing else happens. Thresholds calibrated for the old weights are forgotten.
    """
    from lightface.pipeline import reembed_gallery

    with open_gallery_of(settings) as gallery:
        pipeline = load_face_pipeline(settings, already_aligned=already_aligned)
        photos = {sample.source_path for sample in gallery.samples()}
        with counting_bar("embedding", len(photos)) as count:
            report = reembed_gallery(
                pipeline,
                gallery,
                drop_unusable=drop_unusable,
                dry_run=dry_run,
                threshold=settings.threshold,
                progress=lambda _: count(),
            )
    if as_json:
        print_json(_to_json(report))
    else:
        _print_report(report)
    note(_describe(report))


def _print_report(report: ReembedReport) -> None:
    _print_shift(report.shift)
    _print_rows(
        "named otherwise, each sample left out of the gallery:",
        ("sample", "person", "before", "after", "photograph"),
        [
            (
                one.sample_id,
                one.person_name,
                f"{one.name_before or 'nobody'} ({one.similarity_before:.2f})",
                f"{one.name_after or 'nobody'} ({one.similarity_after:.2f})",
                one.source_path,
            )
            for one in report.flipped
        ],
    )
    _print_rows(
        "deleted:" if report.moved else "cannot be embedded again:",
        ("sample", "person", "trouble", "photograph"),
        [(one.sample.id, one.person_name, one.trouble.value, one.sample.source_path) for one in report.unusable],
    )


def _print_shift(shift: EmbeddingShift) -> None:
    rows = [
        (
            kind,
            f"{one.pairs:,}",
            *(f"{cosine:.3f}" for cosine in (one.mean_before, one.mean_after, one.median_before, one.median_after)),
        )
        for kind, one in (("one person", shift.same), ("two people", shift.different))
        if one is not None
    ]
    if rows:
        columns = ("pairs of samples of", "number", "mean before", "after", "median before", "after")
        print_table(columns, rows)
    if shift.pair_flips is None or shift.threshold_before is None or shift.threshold_after is None:
        if rows:
            note("decisions are not compared, since no threshold is known; give one with --threshold")
        return
    flips, before, after = shift.pair_flips, shift.threshold_before, shift.threshold_after
    print_line()
    print_line(
        f"accepted from {before.threshold:.3f} before ({before.source}), {after.threshold:.3f} after ({after.source})"
    )
    print_table(
        ("decisions that flip", "accepted no longer", "newly accepted"),
        [
            ("pairs of one person", f"{flips.same_lost:,}", f"{flips.same_gained:,}"),
            ("pairs of two people", f"{flips.different_lost:,}", f"{flips.different_gained:,}"),
        ],
    )
    print_line(f"samples named right: {shift.named_right_before:,} before, {shift.named_right_after:,} after")


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        return
    print_line()
    print_line(title)
    print_table(columns, rows[:_ROWS_SHOWN])
    if len(rows) > _ROWS_SHOWN:
        print_line(f"and {len(rows) - _ROWS_SHOWN:,} more; --json lists all")


def _describe(report: ReembedReport) -> str:
    if report.model_id_before == report.model_id_after:
        return f"the gallery is of {report.model_id_after} already; nothing to do"
    done = "embedded" if report.moved else "would embed"
    before = f", not {report.model_id_before}" if report.model_id_before else "; nobody was enrolled before"
    text = f"{done} {count_of(report.embedded, 'sample')} with {report.model_id_after}{before}"
    if not report.unusable:
        return text
    verbs = ("was deleted", "were deleted") if report.moved else ("cannot be embedded again",) * 2
    return f"{text}; {count_of(len(report.unusable), *verbs)}"


def _to_json(report: ReembedReport) -> dict[str, Any]:
    shift = report.shift
    return {
        "model_id_before": report.model_id_before,
        "model_id_after": report.model_id_after,
        "moved": report.moved,
        "embedded": report.embedded,
        "same": shift.same,
        "different": shift.different,
        "threshold_before": shift.threshold_before,
        "threshold_after": shift.threshold_after,
        "pair_flips": shift.pair_flips,
        "named_right_before": shift.named_right_before,
        "named_right_after": shift.named_right_after,
        "flipped": list(report.flipped),
        "unusable": [
            {
                "sample_id": one.sample.id,
                "person_name": one.person_name,
                "source_path": one.sample.source_path,
                "trouble": one.trouble,
                "reason": one.error.reason,
                "message": str(one.error),
            }
            for one in report.unusable
        ],
    }

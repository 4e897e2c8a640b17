"""`lightface evaluate`: how well the weights do on pairs and people, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightface.cli.console import GOES_ON, if_interrupted, note, progress_bars
from lightface.cli.loading import load_face_pipeline, resolve_threshold_of
from lightface.cli.options import EMBEDDING, GALLERY, Json, with_settings
from lightface.cli.program import name_flags
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, OutputError, ThresholdError

if TYPE_CHECKING:
    from lightface.evaluation.cache import EmbeddingCache
    from lightface.evaluation.evaluate import Evaluation
    from lightface.evaluation.groups import Grouping
    from lightface.evaluation.pair_list import PairList
    from lightface.measurement.metrics import SourcedThreshold
    from lightface.pipeline import FacePipeline

_FAILURES_SHOWN = 20

PairsPath = Annotated[
    Path | None, typer.Argument(metavar="PATH", help="A list of pairs, a data set's folder, or a folder a person.")
]
Reports = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write a report: .html or .json; may be given twice."),
]
Groups = Annotated[
    Path | None, typer.Option("--groups", metavar="CSV", help="Columns path or person, then groups: figures for each.")
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="With --groups: a column, or several crossed as in sex+age; may be given again (default: each column, and "
        "all of them crossed).",
    ),
]
DropRepeats = Annotated[
    float | None,
    typer.Option(
        "--drop-repeats",
        metavar="COSINE",
        min=0.5,
        max=1,
        help="Leave out a picture that is so similar to one of somebody else: perhaps the same person, such as from "
        "0.92 on (default: such pairs are told and counted as different people).",
    ),
]
Worst = Annotated[int, typer.Option("--worst", min=0, help="How many of the worst pairs the report shows.")]
Download = Annotated[
    bool, typer.Option("--download", help="Have scikit-learn fetch LFW into PATH (default: its data home).")
]
# The words of ProtocolName and Framing, which need numpy.
Protocol = Annotated[
    Literal["pairs", "lfw", "calfw", "cplfw", "agedb30", "cfp-fp", "bin", "people", "strangers", "crops"] | None,
    typer.Option(
        "--protocol",
        help="What PATH is (default: recognised by its layout); strangers: a folder or a zip of pictures, each of "
        "another person.",
    ),
]
Framed = Annotated[
    Literal["detect", "lightcnn", "arcface"] | None,
    typer.Option(
        "--framing",
        help="Photographs (detect), or crops in LightCNN's or ArcFace's frame (default: what the protocol has).",
    ),
]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Where a list's pictures lie (default: beside it).")
]
PairLimit = Annotated[
    int | None,
    typer.Option("--pair-limit", min=1, help="Of a folder of people, at most so many pairs of each kind, at random."),
]
Card = Annotated[bool, typer.Option("--card", help="Write the figures into the model card of the weights, too.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Embed everything anew, and keep nothing of it.")]


@with_settings("threshold", *GALLERY, *EMBEDDING)
def evaluate(
    settings: Settings,
    *,
    path: PairsPath = None,
    output: Reports = None,
    groups: Groups = None,
    by: By = None,
    drop_repeats: DropRepeats = None,
    protocol: Protocol = None,
    images: Images = None,
    framing: Framed = None,
    pair_limit: PairLimit = None,
    worst: Worst = 12,
    card: Card = False,
    download: Download = False,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    """Measure the weights: accuracy, EER, AUC, TAR at false-accept rates, rank-1, each with a 95 % interval.

    PATH may be a CSV of two paths and a label a line; LFW, CALFW, CPLFW, AgeDB-30 or CFP as published; an InsightFace
    .bin file; a folder a person; or an index of training crops. Each picture is embedded once and cached. Of people
    with one picture each, such as --protocol strangers, false matches alone are measured.
    """
    from lightface.evaluation.evaluate import evaluate_pairs
    from lightface.evaluation.groups import read_groups
    from lightface.evaluation.summary import to_card_section
    from lightface.models.registry import check_card, write_card_section
    from lightface.pages.reports import check_report_outputs, write_reports

    outputs = output or []
    check_report_outputs(outputs)
    table = None if groups is None else read_groups(groups)
    if by and table is None:
        raise ConfigError("--by needs a table that says who belongs where; name it with --groups")
    crossings = [] if table is None else [table.find_crossing(text) for text in by or []]
    if download:
        path = _download(path)
    if path is None:
        raise ConfigError("nothing to evaluate; name a list of pairs, a data set's folder or a folder of people")
    pairs = read_pairs_of(path, protocol, images, framing, pair_limit)
    pipeline = load_face_pipeline(settings)
    if card:
        check_card(pipeline.record)
    with open_cache(no_cache) as cache, progress_bars("embedding", "measuring") as (embedding, measuring):
        evaluation = evaluate_pairs(
            pipeline,
            pairs,
            thresholds=_thresholds_in_use(settings, pipeline),
            groups=table,
            by=crossings,
            drop_repeats=drop_repeats,
            worst=worst,
            cache=cache,
            progress=embedding,
            measuring=measuring,
        )
    # The library names parameters; what is reported names options.
    failures = tuple(replace(one, message=name_flags(one.message)) for one in evaluation.failures)
    evaluation = replace(evaluation, failures=failures)
    write_reports(evaluation, pipeline, outputs)
    if card:
        write_card_section(pipeline.record, to_card_section(evaluation))
        note(f"wrote the figures into {pipeline.record.card}")
    for report in outputs:
        note(f"wrote {report}")
    _report(evaluation, as_json=as_json)


def read_pairs_of(
    path: Path, protocol: str | None, images: Path | None, framing: str | None, pair_limit: int | None
) -> PairList:
    """The pairs that the options name."""
    from lightface.evaluation.pair_list import Framing
    from lightface.evaluation.protocols import ProtocolName, read_protocol

    return read_protocol(
        path,
        protocol=None if protocol is None else ProtocolName(protocol),
        images=images,
        framing=None if framing is None else Framing(framing),
        **({} if pair_limit is None else {"pair_limit": pair_limit}),
    )


@contextmanager
def open_cache(no_cache: bool) -> Iterator[EmbeddingCache | None]:
    """The cache of embeddings in its usual place, or none; what Ctrl-C leaves of the work is told."""
    from lightface.evaluation.cache import EmbeddingCache, default_cache_path

    if no_cache:
        with if_interrupted("nothing is kept, as --no-cache asks"):
            yield None
        return
    try:
        cache = EmbeddingCache(default_cache_path())
    except OutputError as error:
        raise OutputError(f"{error}, by --no-cache") from error
    with if_interrupted(GOES_ON), cache:
        yield cache


def _download(path: Path | None) -> Path:
    from sklearn.datasets import get_data_home

    from lightface.evaluation.protocols import download_lfw

    home = Path(get_data_home()) if path is None else path
    note(f"scikit-learn fetches LFW, some 200 MB, into {home}")
    download_lfw(home)
    return home


def _thresholds_in_use(settings: Settings, pipeline: FacePipeline) -> list[SourcedThreshold]:
    """What `verify` would decide by, if anything."""
    from lightface.measurement.metrics import SourcedThreshold

    try:
        threshold = resolve_threshold_of(settings, pipeline)
    except ThresholdError:
        return []
    return [SourcedThreshold(threshold, "in use" if settings.threshold is None else "as given")]


def _report(evaluation: Evaluation, *, as_json: bool) -> None:
    from lightface.evaluation.summary import (
        describe_loss,
        describe_repeats,
        summarise,
        summarise_identification,
    )

    if as_json:
        print_json(evaluation.to_dict())
        return
    rows = summarise(evaluation.figures) + summarise_identification(evaluation.identification)
    print_table(
        ("figure", "value", "95 % interval", "cosine"),
        [(row.name, row.value, row.interval or None, row.threshold or None) for row in rows],
    )
    _report_rejects(evaluation)
    for grouping in evaluation.groupings:
        _report_grouping(grouping)
    if repeats := describe_repeats(evaluation.repeats):
        print_line()
        print_line(repeats)
    print_line()
    print_line(describe_loss(evaluation))
    for failure in evaluation.failures[:_FAILURES_SHOWN]:
        print_line(f"  {failure.name}: {failure.reason}")
    if len(evaluation.failures) > _FAILURES_SHOWN:
        print_line(f"  and {len(evaluation.failures) - _FAILURES_SHOWN:,} more, all of them in the report")


def _report_rejects(evaluation: Evaluation) -> None:
    """What a gate on quality would gain, where it is known."""
    from lightface.evaluation.summary import describe_rejects, summarise_rejects

    gained = summarise_rejects(evaluation.rejects)
    if evaluation.rejects is not None and gained:
        print_line()
        print_line(f"{describe_rejects(evaluation.rejects)}:")
        print_table(("figure", "all", "without", "lower by, in points (95 %)"), gained)


def _report_grouping(grouping: Grouping) -> None:
    """False matches of each group, and how far all figures lie apart."""
    from lightface.evaluation.summary import (
        columns_of,
        describe_factor,
        describe_grouping,
        figure_text,
        summarise_grouping,
    )

    print_line()
    print_line(f"by {grouping.column}: {describe_grouping(grouping)}")
    if grouping.groups:
        print_table(columns_of(grouping), summarise_grouping(grouping))
    if grouping.spreads:
        print_line()
        print_line(f"spread by {grouping.column}:")
        print_table(
            ("figure", "lowest", "group", "highest", "group", "factor"),
            [
                (
                    one.figure,
                    figure_text(one.figure, one.lowest),
                    one.lowest_group,
                    figure_text(one.figure, one.highest),
                    one.highest_group,
                    describe_factor(one) or None,
                )
                for one in grouping.spreads
            ],
        )

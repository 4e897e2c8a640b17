"""Where an evaluation is written to: a page or JSON by suffix, for its owner's eyes only, and the model card."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lightface.errors import OutputError, WeightsError
from lightface.evaluation.evaluate import Evaluation
from lightface.evaluation.groups import Grouping
from lightface.evaluation.summary import (
    columns_of,
    describe_grouping,
    describe_loss,
    describe_repeats,
    describe_spread,
    summarise,
    summarise_grouping,
    summarise_identification,
    to_json,
)
from lightface.files import write_private
from lightface.models.registry import WeightsRecord
from lightface.pages.document import cut_crops
from lightface.pages.evaluation_page import render_page
from lightface.pipeline import FacePipeline
from lightface.words import count_of

REPORT_SUFFIXES = (".html", ".json")


def check_report_outputs(paths: Sequence[Path], suffixes: Sequence[str] = REPORT_SUFFIXES) -> None:
    """Raise OutputError now for a report that could not be written later: suffix, folder, permissions."""
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise OutputError(f"cannot write a report as {path.name!r}; end its name in {' or '.join(suffixes)}")
        if path.is_dir():
            raise OutputError(f"{str(path)!r} is a folder; name a file in it")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise OutputError(f"cannot write into {str(path.parent)!r}; make the folder, or choose another place")


def write_reports(evaluation: Evaluation, pipeline: FacePipeline, paths: Sequence[Path]) -> None:
    """Write each report whole or not at all, mode 0600. OutputError where that fails."""
    for path in paths:
        if path.suffix.lower() == ".json":
            text = json.dumps(to_json(evaluation), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        else:
            worst = (*evaluation.false_matches, *evaluation.false_non_matches)
            crops = cut_crops(pipeline, evaluation.pairs, [place for pair in worst for place in (pair.a, pair.b)])
            text = render_page(evaluation, crops)
        write_page(path, text)


def write_page(path: Path, text: str) -> None:
    """Write a text whole or not at all, mode 0600. OutputError where that fails."""
    try:
        with write_private(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))  # not every file name is UTF-8; a page is
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror}); choose another place") from error


# Figures into the model card of the weights that were evaluated, in a section for each data set.


_BEFORE = "## Limits"  # the sections of evaluations come here, or at the end where there is none


def write_into_card(evaluation: Evaluation, record: WeightsRecord) -> None:
    """Add the section of this data set to the card of `record`, or replace it.

    Raises WeightsError where the weights have no card, OutputError where it cannot be written.
    """
    check_card(record)
    path = record.file.parent / record.card
    text = place_section(record.read_card(), format_section(evaluation))
    try:
        with write_private(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write the model card {str(path)!r} ({error.strerror})") from error


def check_card(record: WeightsRecord) -> None:
    """Raise WeightsError now for weights without a card."""
    if not record.card:
        raise WeightsError(f"the weights {record.name!r} have no model card to write the figures into")


def format_section(evaluation: Evaluation) -> str:
    """The section in Markdown: a heading with the data's name, how it was measured, and the table of figures."""
    pairs, figures = evaluation.pairs, evaluation.figures
    rows = summarise(figures) + summarise_identification(evaluation.identification)
    table = [f"| {row.name} | {row.value} | {row.interval} | {row.threshold} |" for row in rows]
    averaging = "with" if evaluation.model_id.endswith("+flip") else "without"
    return "\n".join(
        [
            f"## Evaluated: {pairs.source.name} ({pairs.name})",
            "",
            f"`lightface evaluate`, {evaluation.made_at:%d %B %Y}, {evaluation.precision}, {averaging} flip averaging: "
            f"{count_of(figures.genuine, 'pair')} of one person, {figures.impostors:,} of two. "
            f"{describe_loss(evaluation)} {describe_repeats(evaluation.repeats)}".rstrip(),
            "",
            "| figure | value | 95 % interval | cosine |",
            "|---|---|---|---|",
            *table,
            "",
            *(line for grouping in evaluation.groupings for line in _format_grouping(grouping)),
            "",
        ]
    )


def _format_grouping(grouping: Grouping) -> list[str]:
    """Lines: a table of the groups, and how far their false matches lie apart."""
    if grouping.too_many:
        return [f"{grouping.column}: {describe_grouping(grouping)}", ""]
    rows = [columns_of(grouping), ("---",) * 6, *summarise_grouping(grouping)]
    spreads = [describe_spread(one) for one in grouping.spreads if one.figure.startswith("FAR")]
    return [*(f"| {' | '.join(row)} |" for row in rows), "", *(line for text in spreads for line in (text, ""))]


def place_section(card: str, section: str) -> str:
    """The card with the section in the place of the one with its heading, or before the limits."""
    heading = section.split("\n", 1)[0]
    old = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    if old is not None:
        return card[: old.start()] + section + card[old.end() :]
    start, found, rest = card.partition(f"{_BEFORE}\n")
    if found:
        return f"{start}{section}{found}{rest}"
    return f"{card.rstrip()}\n\n{section.rstrip()}\n"

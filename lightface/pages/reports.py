"""Where an evaluation is written to: a page or JSON by suffix, for its owner's eyes only."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from lightface.errors import OutputError
from lightface.evaluation.evaluate import Evaluation
from lightface.files import write_private
from lightface.pages.document import cut_crops
from lightface.pages.evaluation_page import render_page
from lightface.pipeline import FacePipeline

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
            text = json.dumps(evaluation.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
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

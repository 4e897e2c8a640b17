"""`lightface people`: how far has a folder its names, and what is to be looked at next?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lightface.cli.console import note
from lightface.cli.face_tables import Faces, kept_numbers, read_faces_of
from lightface.cli.grouping import Grouping, KnownThreshold, MinSize, Threshold, open_known_people
from lightface.cli.options import BATCH, EMBEDDING, GALLERY, AlreadyAligned, Json, Recursive, with_settings
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.pipeline.people import PeopleOverview

_SCHEMA_VERSION = 1
_MOST_GROUPS = 20  # that are listed; the rest is counted


@with_settings(*GALLERY, *EMBEDDING, *BATCH)
def people(
    settings: Settings,
    *,
    faces: Faces,
    threshold: Threshold = None,
    known_threshold: KnownThreshold = None,
    min_size: MinSize = None,
    recursive: Recursive = True,
    already_aligned: AlreadyAligned = False,
    as_json: Json = False,
) -> None:
    """Show who is known on photographs, who is still to be named, and what to look at next.

    Numbers of groups are those of 'lightface cluster' for the same places. A folder is embedded first; stopped at any
    time, the next run goes on from there.
    """
    from lightface.pipeline.people import describe_people

    with ExitStack() as stack:
        gallery = open_known_people(settings, stack)
        rows = read_faces_of(settings, faces, recursive=recursive, already_aligned=already_aligned)
        grouping = Grouping(
            settings,
            rows,
            kept_numbers(faces, recursive=recursive),
            threshold=threshold,
            known_threshold=known_threshold,
            min_size=min_size,
        )
        overview = describe_people(rows, grouping.group(gallery))
    options = {
        "--threshold": threshold,
        "--known-threshold": known_threshold,
        "--min-size": min_size,
        "--gallery": settings.gallery,
    }
    flags = [*(() if recursive else ("--no-recursive",)), *(("--already-aligned",) if already_aligned else ())]
    command = _next_command(faces, options, flags) if overview.groups else None
    if as_json:
        print_json({"schema_version": _SCHEMA_VERSION, **overview.to_dict(), "next_command": command})
    else:
        _report(overview, command)


def _next_command(places: Sequence[Path], options: Mapping[str, object], flags: Sequence[str]) -> str:
    """What is to be typed: it shows the groups on a page, and takes their names."""
    given = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    named = [f"./{place}" if str(place).startswith("-") else str(place) for place in places]
    words = ["lightface", "cluster", *named, *given, *flags, "--html", "groups.html", "--names", "names.csv"]
    return shlex.join(words)


def _report(overview: PeopleOverview, command: str | None) -> None:
    lines: list[tuple[object, ...]] = [(one.person_name, one.faces, one.photographs, None) for one in overview.known]
    groups = overview.groups
    lines += [(f"group {one.number}", one.faces, one.photographs, one.example) for one in groups[:_MOST_GROUPS]]
    if lines:
        print_table(("who", "faces", "photographs", "example"), lines)
    left = len(groups) - _MOST_GROUPS
    if left > 0:
        print_line(f"and {count_of(left, 'smaller group')}")
    unknown = overview.alone + sum(one.faces for one in groups)
    print_line(
        f"{count_of(overview.photographs, 'photograph')}: {count_of(sum(one.faces for one in overview.known), 'face')} "
        f"of {count_of(len(overview.known), 'known person', 'known people')}, {unknown:,} unknown in "
        f"{count_of(len(groups), 'group')} and {overview.alone:,} in none"
    )
    for counts, one, many in (
        (overview.refused, "face refused", "faces refused"),
        (overview.without_face, "photograph without a face", "photographs without a face"),
    ):
        if counts:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
            print_line(f"{count_of(sum(counts.values()), one, many)}: {reasons}")
    if command is None:
        note("there is no group to be named")
    else:
        largest = groups[0]
        print_line(f"next: group {largest.number}, {count_of(largest.faces, 'face')}, as on {largest.example}")
        print_line(f"  {command}")

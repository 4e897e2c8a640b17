"""`lightface cluster`: who is known, and who belongs together of those whom nobody has named?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, counting_bar, note
from lightface.cli.face_tables import Faces, kept_numbers, read_faces_of
from lightface.cli.grouping import Grouping, KnownThreshold, MinSize, Threshold, open_known_people
from lightface.cli.loading import open_gallery_of
from lightface.cli.options import BATCH, EMBEDDING, GALLERY, AlreadyAligned, Json, Recursive, with_settings
from lightface.cli.results import print_json, print_table, refuse_to_replace
from lightface.cli.settings import Settings
from lightface.errors import ConfigError
from lightface.locations import RemotePath
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightface.gallery import Gallery
    from lightface.pipeline import EnrolledPhoto
    from lightface.pipeline.cluster import FaceGroups
    from lightface.records import Match
    from lightface.tables import ClusterRow
    from lightface.tables.group_names import NamesFile

_SCHEMA_VERSION = 1
_REMEDY = ", or give --everybody, and the gallery is not asked"

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a table: .parquet, .csv, .jsonl or .npz.")
]
Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Make a folder with a folder of links for each group.")
]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the faces of each group.")]
EnrollAs = Annotated[
    str | None,
    typer.Option("--enroll-as", metavar="PREFIX", help="Enroll each group in the gallery: PREFIX 1, PREFIX 2 ..."),
]
Names = Annotated[
    Path | None,
    typer.Option(
        "--names",
        metavar="FILE.csv",
        help="Where the file is missing, write it for you to put names beside the groups. Where it is there, enroll "
        "the groups that have a name, and write the file anew with what is left.",
    ),
]
Everybody = Annotated[
    bool, typer.Option("--everybody", help="Group everybody, known people too, without asking the gallery.")
]


@with_settings(*GALLERY, *EMBEDDING, *BATCH)
def cluster(
    settings: Settings,
    *,
    faces: Faces,
    output: Output = None,
    folder: Folder = None,
    html: Page = None,
    names: Names = None,
    enroll_as: EnrollAs = None,
    everybody: Everybody = False,
    threshold: Threshold = None,
    known_threshold: KnownThreshold = None,
    min_size: MinSize = None,
    recursive: Recursive = True,
    already_aligned: AlreadyAligned = False,
    as_json: Json = False,
) -> None:
    """Group the faces of people whom nobody has named, by likeness; people whom the gallery knows keep their names.

    A folder is embedded first; stopped at any time, the next run goes on from there. A group keeps its number while
    photographs come and go and people get known, and a number is never given to another group: what the last run gave
    is kept in the cache folder, by the places that you name. --names writes a file for names, and takes them back.
    """
    names_file = _check_outputs(faces, output, folder, html, names)
    if everybody and names is not None:
        raise ConfigError("--names asks the gallery who is known already; leave --everybody out")
    with ExitStack() as stack:
        gallery = None if everybody else open_known_people(settings, stack, remedy=_REMEDY)
        grouping = Grouping(
            settings,
            read_faces_of(settings, faces, recursive=recursive, already_aligned=already_aligned),
            kept_numbers(faces, recursive=recursive),
            threshold=threshold,
            known_threshold=known_threshold,
            min_size=min_size,
            remedy=_REMEDY,
        )
        groups = grouping.group(gallery)
        has_failed = False
        if names is not None and names_file is not None:
            groups, has_failed = _take_names(settings, grouping, groups, gallery, names, names_file)
        if folder is not None or html is not None or enroll_as is not None:
            _tell_urls(groups)
        enrolled = [] if enroll_as is None else _enroll(settings, groups, enroll_as, gallery)
    rows = _to_rows(groups, enrolled)
    _write(groups, rows, output, folder, html)
    if as_json:
        content = {"model_id": groups.model_id, "threshold": groups.threshold, "faces": rows}
        print_json({"schema_version": _SCHEMA_VERSION, **content})
    else:
        _report(groups, rows)
    nobody = enroll_as is not None and groups.groups and not any(one.error is None for one in enrolled)
    if nobody or has_failed:
        raise typer.Exit(2)  # each refusal has been told


def _check_outputs(
    faces: Sequence[Path], output: Path | None, folder: Path | None, html: Path | None, names: Path | None
) -> NamesFile | None:
    """Refuse now what could not be written later; the names file as it is, where one is named."""
    from lightface.tables import check_folder, check_output
    from lightface.tables.group_names import check_names_output, read_names

    if output is not None:
        refuse_to_replace(faces, [output], option="--output")
        check_output(output)
    if folder is not None:
        check_folder(folder)
    if html is not None:
        from lightface.pages.reports import check_report_outputs

        check_report_outputs([html], [".html"])
    if names is None:
        return None
    refuse_to_replace(faces, [names], option="--names")
    if output is not None:
        refuse_to_replace([names], [output], option="--output")
    check_names_output(names)
    return read_names(names)


def _take_names(
    settings: Settings,
    grouping: Grouping,
    groups: FaceGroups,
    gallery: Gallery | None,
    path: Path,
    names: NamesFile,
) -> tuple[FaceGroups, bool]:
    """Enroll what has a name, and write the file with what is left: the groups from then on, and whether all failed."""
    from lightface.pipeline.group_names import name_groups, rows_to_name
    from lightface.tables.group_names import write_names

    given = [row for row in names.rows if row.name]
    if not given:
        write_names(path, rows_to_name(groups, names.rows), names)
        note(
            f"wrote {path}: write a name beside each group that you know, and run the same command again"
            if groups.groups
            else f"wrote {path}; there is no group to be named"
        )
        return groups, False
    with ExitStack() as stack:
        if gallery is None:
            gallery = stack.enter_context(open_gallery_of(settings, model_id=groups.model_id, create=True))
        with counting_bar("enrolling", sum(len(row.tokens) for row in given)) as count:
            naming = name_groups(gallery, groups, given, progress=_follow(count))
        groups = grouping.group(gallery)
    for refusal in naming.refused:
        complain(f"{path}: {refusal.reason}")
    write_names(path, rows_to_name(groups, names.rows, naming.refused), names)
    done = sum(one.error is None for one in naming.enrolled)
    people = count_of(len(naming.named), "person")
    left = count_of(len(groups.groups), "group")
    note(f"enrolled {count_of(done, 'face')} as {people}; {path} has {left} left")
    return groups, len(naming.refused) >= len(given)


def _write(
    groups: FaceGroups, rows: Sequence[ClusterRow], output: Path | None, folder: Path | None, html: Path | None
) -> None:
    from lightface.tables import write_clusters

    if output is not None:
        write_clusters(output, rows)
        note(f"wrote {output}")
    if folder is not None:
        _link(groups, folder)
    if html is not None:
        _write_page(groups, rows, html)


def _enroll(settings: Settings, groups: FaceGroups, prefix: str, gallery: Gallery | None) -> list[EnrolledPhoto]:
    from lightface.pipeline.cluster import enroll_groups

    total = sum(map(len, groups.groups))
    with ExitStack() as stack:
        if gallery is None:
            gallery = stack.enter_context(open_gallery_of(settings, model_id=groups.model_id, create=True))
        count = stack.enter_context(counting_bar("enrolling", total))
        results = enroll_groups(gallery, groups, prefix, progress=_follow(count))
    done = [result for result in results if result.error is None]
    people = count_of(len({one.person_name for one in done}), "person")
    note(f"enrolled {len(done):,} of {count_of(total, 'face')} as {people}")
    return results


def _follow(count: Callable[[], None]) -> Callable[[EnrolledPhoto], None]:
    """Count each face, and tell each error once: one may stand for a whole group."""
    from lightface.errors import DuplicateFaceError, PhotoError

    told: list[PhotoError] = []

    def follow(result: EnrolledPhoto) -> None:
        error = result.error
        if error is not None and not isinstance(error, DuplicateFaceError) and error not in told:
            told.append(error)
            complain(explain(result.path, error))
        count()

    return follow


def _tell_urls(groups: FaceGroups) -> None:
    """Say which photographs are neither shown nor enrolled: a table could have any address asked for."""
    urls = {one.face.image_path for one in groups.faces if isinstance(one.face.image_path, RemotePath)}
    left = sorted(str(path) for path in urls if not path.is_fetched)
    if left:
        note(
            f"not fetched: {count_of(len(left), 'photograph')} that the table names by URL, as {left[0]}; "
            "only what you name yourself is, and tables named by URL may be of photographs of the same host or bucket"
        )


def _to_rows(groups: FaceGroups, enrolled: Sequence[EnrolledPhoto]) -> list[ClusterRow]:
    from lightface.tables import ClusterRow

    sizes = {group[0].cluster: len(group) for group in groups.groups}
    names: list[str | None] = [one.match.person_name for known in groups.known for one in known if one.match]
    names += [one.person_name if one.error is None else None for one in enrolled]
    names += [None] * (len(groups.faces) - len(names))
    return [
        ClusterRow(
            image_path=one.face.image_path,
            face_index=one.face.face_index,
            bbox=one.face.bbox,
            cluster=one.cluster,
            cluster_size=sizes.get(one.cluster),
            similarity=one.similarity,
            det_score=one.face.det_score,
            quality=one.face.quality,
            model_id=one.face.model_id,
            person_name=name,
        )
        for one, name in zip(groups.faces, names, strict=True)
    ]


def _link(groups: FaceGroups, folder: Path) -> None:
    from lightface.tables import link_groups

    numbers = [group[0].cluster or 0 for group in groups.groups]
    width = len(str(max(numbers, default=0)))
    named = {_folder_name(known[0].match): [one.face.image_path for one in known] for known in groups.known}
    named |= {
        f"{number:0{width}}": [one.face.image_path for one in group]
        for number, group in zip(numbers, groups.groups, strict=True)
    }
    gone = link_groups(folder, named)
    remote = len({path for paths in named.values() for path in paths if isinstance(path, RemotePath)})
    note(
        f"made {folder}"
        + (f"; {count_of(gone, 'photograph is', 'photographs are')} gone" if gone else "")
        + (f"; {count_of(remote, 'photograph')} by URL cannot be linked" if remote else "")
    )


def _folder_name(match: Match | None) -> str:
    """A name that every file system takes, and no two people share: with the person's id."""
    assert match is not None  # a known person
    letters = "".join(letter if letter.isalnum() or letter in " -" else "_" for letter in match.person_name)
    return f"{letters[:40].strip() or '_'} (id {match.person_id})"


def _write_page(groups: FaceGroups, rows: Sequence[ClusterRow], path: Path) -> None:
    from lightface.pages import render_groups
    from lightface.pages.reports import write_page

    names = _names_of_groups(rows)
    write_page(path, render_groups(groups, [names.get(group[0].cluster) for group in groups.groups]))
    note(f"wrote {path}")


def _report(groups: FaceGroups, rows: Sequence[ClusterRow]) -> None:
    names = _names_of_groups(rows)
    lines = []
    for group in (*groups.known, *groups.groups):
        typical, photos = group[0], {one.face.image_path for one in group}
        mean = sum(one.similarity or 0 for one in group) / len(group)
        title = typical.cluster if typical.match is None else typical.match.person_name
        line = (title, len(group), len(photos), f"{mean:.3f}", typical.face.image_path)
        lines.append((*line, names.get(typical.cluster)) if names else line)
    columns = ("group", "faces", "photographs", "to centre", "most typical", *(("person",) if names else ()))
    if lines:
        print_table(columns, lines)
    faces, known, grouped = len(groups.faces), sum(map(len, groups.known)), sum(map(len, groups.groups))
    named = f"{known:,} of {count_of(faces, 'face')} of {count_of(len(groups.known), 'known person', 'known people')}"
    of_all = "" if known else f" of {count_of(faces, 'face')}"
    note(
        f"{named + ', ' if known else ''}{grouped:,}{of_all} in {count_of(len(groups.groups), 'group')}, "
        f"{faces - grouped - known:,} in none, at threshold {groups.threshold:.3f}"
    )


def _names_of_groups(rows: Sequence[ClusterRow]) -> dict[int | None, str]:
    """The people who were made of groups, by the group's number."""
    return {row.cluster: row.person_name for row in rows if row.cluster is not None and row.person_name is not None}

"""`lightface cluster`: who belongs together, of people whom nobody has named?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, counting_bar, note
from lightface.cli.face_tables import Faces, read_faces_of
from lightface.cli.loading import open_gallery_of
from lightface.cli.options import BATCH, EMBEDDING, GALLERY, AlreadyAligned, Json, Recursive, with_settings
from lightface.cli.results import print_json, print_table, refuse_to_replace
from lightface.cli.settings import Settings
from lightface.locations import RemotePath
from lightface.words import count_of, explain

if TYPE_CHECKING:
    from lightface.pipeline import EnrolledPhoto
    from lightface.pipeline.cluster import FaceGroups
    from lightface.tables import ClusterRow


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
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=-1,
        max=1,
        help="Mean cosine from which two groups are one (default: derived from the weights' thresholds; the more faces "
        "there are, the stricter).",
    ),
]
MinSize = Annotated[int | None, typer.Option("--min-size", min=1, help="How many faces make a group (default: 2).")]


@with_settings(*GALLERY, *EMBEDDING, *BATCH)
def cluster(
    settings: Settings,
    *,
    faces: Faces,
    output: Output = None,
    folder: Folder = None,
    html: Page = None,
    enroll_as: EnrollAs = None,
    threshold: Threshold = None,
    min_size: MinSize = None,
    recursive: Recursive = True,
    already_aligned: AlreadyAligned = False,
    as_json: Json = False,
) -> None:
    """Group the faces of people whom nobody has named, by likeness.

    A folder is embedded first; stopped at any time, the next run goes on from there.
    """
    from lightface.pipeline.cluster import cluster_faces
    from lightface.tables import check_folder, check_output, write_clusters

    if output is not None:
        refuse_to_replace(faces, [output], option="--output")
        check_output(output)
    if folder is not None:
        check_folder(folder)
    if html is not None:
        from lightface.pages.reports import check_report_outputs

        check_report_outputs([html], [".html"])
    rows_of_faces = read_faces_of(settings, faces, recursive=recursive, already_aligned=already_aligned)
    limits = {} if min_size is None else {"min_size": min_size}
    groups = cluster_faces(rows_of_faces, threshold=threshold, **limits)
    if folder is not None or html is not None or enroll_as is not None:
        _tell_urls(groups)
    enrolled = [] if enroll_as is None else _enroll(settings, groups, enroll_as)
    rows = _to_rows(groups, enrolled)
    if output is not None:
        write_clusters(output, rows)
        note(f"wrote {output}")
    if folder is not None:
        _link(groups, folder)
    if html is not None:
        _write_page(groups, rows, html)
    if as_json:
        print_json({"model_id": groups.model_id, "threshold": groups.threshold, "faces": rows})
    else:
        _report(groups, rows)
    if enroll_as is not None and groups.groups and not any(one.error is None for one in enrolled):
        raise typer.Exit(2)  # each refusal has been told


def _enroll(settings: Settings, groups: FaceGroups, prefix: str) -> list[EnrolledPhoto]:
    from lightface.errors import DuplicateFaceError, PhotoError
    from lightface.pipeline.cluster import enroll_groups

    total = sum(map(len, groups.groups))
    with (
        open_gallery_of(settings, model_id=groups.model_id, create=True) as gallery,
        counting_bar("enrolling", total) as count,
    ):
        told: list[PhotoError] = []  # one error may stand for a whole group

        def follow(result: EnrolledPhoto) -> None:
            error = result.error
            if error is not None and not isinstance(error, DuplicateFaceError) and error not in told:
                told.append(error)
                complain(explain(result.path, error))
            count()

        results = enroll_groups(gallery, groups, prefix, progress=follow)
    done = [result for result in results if result.error is None]
    people = count_of(len({one.person_name for one in done}), "person")
    note(f"enrolled {len(done):,} of {count_of(total, 'face')} as {people}")
    return results


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
    names = [one.person_name if one.error is None else None for one in enrolled]
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

    width = len(str(len(groups.groups)))
    named = {f"{group[0].cluster:0{width}}": [one.face.image_path for one in group] for group in groups.groups}
    gone = link_groups(folder, named)
    remote = len({path for paths in named.values() for path in paths if isinstance(path, RemotePath)})
    note(
        f"made {folder}"
        + (f"; {count_of(gone, 'photograph is', 'photographs are')} gone" if gone else "")
        + (f"; {count_of(remote, 'photograph')} by URL cannot be linked" if remote else "")
    )


def _write_page(groups: FaceGroups, rows: Sequence[ClusterRow], path: Path) -> None:
    from lightface.pages import render_groups
    from lightface.pages.reports import write_page

    names = {row.cluster: row.person_name for row in rows if row.person_name is not None}
    write_page(path, render_groups(groups, [names.get(group[0].cluster) for group in groups.groups]))
    note(f"wrote {path}")


def _report(groups: FaceGroups, rows: Sequence[ClusterRow]) -> None:
    names = {row.cluster: row.person_name for row in rows if row.person_name is not None}
    lines = []
    for group in groups.groups:
        typical, photos = group[0], {one.face.image_path for one in group}
        mean = sum(one.similarity or 0 for one in group) / len(group)
        line = (typical.cluster, len(group), len(photos), f"{mean:.3f}", typical.face.image_path)
        lines.append((*line, names.get(typical.cluster)) if names else line)
    columns = ("group", "faces", "photographs", "to centre", "most typical", *(("person",) if names else ()))
    if lines:
        print_table(columns, lines)
    faces, grouped = len(groups.faces), sum(map(len, groups.groups))
    note(
        f"{grouped:,} of {count_of(faces, 'face')} in {count_of(len(groups.groups), 'group')}, "
        f"{faces - grouped:,} in none, at threshold {groups.threshold:.3f}"
    )

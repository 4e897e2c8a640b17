"""From a folder to names on real people: right, wrong and missing names after each command of the way.

Every second person is enrolled from three photographs. The folder is then identified, grouped with the gallery, and
each group gets the name of the person who has most faces in it, through the file of names. What counts is the largest
face of each photograph, whose name is its folder's. The figures go to scratch/names.json, which git ignores, and to
stdout.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lightface.cli.face_tables import kept_tables_folder
from lightface.cli.main import app
from lightface.pipeline.cluster import GroupedFace
from lightface.pipeline.group_numbers import face_token
from lightface.tables import read_faces
from lightface.tables.group_names import read_names, write_names

FIGURES = Path(__file__).parents[2] / "scratch" / "names.json"
ENROLLED_FROM = 3

Figures = dict[str, Any]


def score(named: Iterable[tuple[str, str | None]], people: set[str]) -> dict[str, int]:
    """How many photographs have the right name, a wrong one or none, of pairs of truth and name."""
    counts = Counter(
        f"{'known' if truth in people else 'new'} people, "
        + ("missing" if name is None else "right" if name == truth else "wrong")
        for truth, name in named
    )
    return dict(sorted(counts.items()))


def names_in(table: Path) -> list[tuple[str, str | None]]:
    rows = pq.read_table(table, columns=["image_path", "face_index", "person_name", "status"]).to_pylist()
    return [
        (Path(row["image_path"]).parent.name, row["person_name"] if row["status"] == "matched" else None)
        for row in rows
        if row["face_index"] == 0 and row["status"] not in ("rejected", "error")
    ]


def names_in_groups(output: str) -> list[tuple[str, str | None]]:
    faces = json.loads(output)["faces"]
    return [(Path(one["image_path"]).parent.name, one["person_name"]) for one in faces if one["face_index"] == 0]


def name_by_majority(names: Path, table: Path) -> None:
    """As somebody would who knows everybody and looks at the largest faces only."""
    truth = {
        face_token(GroupedFace(row)): Path(row.image_path).parent.name
        for row in read_faces(table)
        if row.embedding is not None and row.face_index == 0
    }
    read = read_names(names)
    rows = []
    for row in read.rows:
        votes = Counter(truth[token] for token in row.tokens if token in truth)
        rows.append(replace(row, name=votes.most_common(1)[0][0] if votes else ""))
    write_names(names, rows, read)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, photo_paths: Sequence[Path]) -> Figures:
    folder = tmp_path_factory.mktemp("names")
    photos = next(path.parents[1] for path in photo_paths if path.parents[1].name == "people")
    people = sorted(path.name for path in photos.iterdir())[::2]
    for person in people:
        (folder / "known" / person).mkdir(parents=True)
        for photo in sorted((photos / person).iterdir())[:ENROLLED_FROM]:
            (folder / "known" / person / photo.name).symlink_to(photo)
    monkeypatch = pytest.MonkeyPatch()  # this fixture comes before that of the user's folders
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    gallery, names, table = folder / "gallery.sqlite", folder / "names.csv", folder / "faces.parquet"
    commands = 0

    def run(*arguments: object) -> str:
        nonlocal commands
        commands += 1
        result = CliRunner().invoke(app, [*map(str, arguments), "--gallery", str(gallery)])
        assert result.exit_code == 0, result.output
        print(result.stderr)
        return result.stdout

    run("enroll", "--people", folder / "known", "--face-selection", "largest")
    run("identify", photos, "-o", table)
    figures: Figures = {"people enrolled": len(people), "1. identify": score(names_in(table), set(people))}
    grouped = run("cluster", photos, "--names", names, "--json")
    figures["2. cluster, asking the gallery"] = score(names_in_groups(grouped), set(people))
    figures["groups to be named"] = len(read_names(names).rows)
    (kept,) = kept_tables_folder().glob("*.parquet")
    name_by_majority(names, kept)
    named = run("cluster", photos, "--names", names, "--json")
    figures["3. cluster, names given"] = score(names_in_groups(named), set(people))
    left = read_names(names).rows
    figures["groups left"], figures["names refused"] = len(left), sum(bool(row.name) for row in left)
    figures["commands"] = commands
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    return figures


# The bounds leave room for a handful of photographs below what run 12's weights give.


def test_the_gallery_is_asked_as_identify_asks_it(figures: Figures) -> None:
    identified, grouped = figures["1. identify"], figures["2. cluster, asking the gallery"]
    # A face that is enrolled itself is named here, where `identify` may leave a poor one for review.
    assert 0 <= grouped["known people, right"] - identified["known people, right"] <= 3
    assert grouped.get("new people, wrong", 0) == identified.get("new people, wrong", 0)


def test_four_commands_name_nearly_everybody(figures: Figures) -> None:
    named = figures["3. cluster, names given"]
    assert figures["commands"] == 4
    assert named["known people, right"] >= 90 and named["new people, right"] >= 85
    assert named.get("known people, wrong", 0) + named.get("new people, wrong", 0) <= 3
    assert figures["names refused"] == 0

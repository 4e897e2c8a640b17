"""Grouping on the command line: tables and folders in; a table, links, a page and people out."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import make_colour_pipeline, paint_people, paint_person

from lightface.gallery import open_gallery
from lightface.locations import RemotePath, to_path
from lightface.records import Status
from lightface.tables import FaceRow, read_faces, write_faces

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three people with three, one of them with a single photograph left."""
    folder = paint_people(tmp_path / "photos", 3, 3)
    for number in (2, 3):
        (folder / "p003" / f"{number}.png").unlink()
    return folder


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    """The face table of the photographs."""
    from lightface.batch import embed_folder

    path = tmp_path / "faces.parquet"
    embed_folder(make_colour_pipeline(), [photos], path)
    return path


@pytest.fixture
def cluster(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """The command at a threshold that suits people of colour, whose weights know none."""
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(tmp_path / "gallery.sqlite"))
    monkeypatch.setenv("LIGHTFACE_THRESHOLD", "0.99")  # which is for two faces, and has no say here
    return lambda *arguments: cli("cluster", *arguments, "--threshold", 0.5)


def test_groups_as_a_table_at_the_terminal(cluster: Cli, table: Path) -> None:
    result = cluster(table)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["group", "faces", "photographs", "to", "centre", "most", "typical"]
    assert [line[:3] for line in lines[1:]] == [["1", "3", "3"], ["2", "3", "3"]]
    assert result.stderr == "6 of 7 faces in 2 groups, 1 in none, at threshold 0.500\n"


def test_the_output(cluster: Cli, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "groups.parquet"
    assert cluster(table, "-o", output, "--min-size", 1).exit_code == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    rows = pq.read_table(output).to_pylist()
    assert [(row["cluster"], row["cluster_size"]) for row in rows] == [*[(1, 3)] * 3, *[(2, 3)] * 3, (3, 1)]
    assert [Path(row["image_path"]).parent.name for row in rows] == [*["p001"] * 3, *["p002"] * 3, "p003"]
    assert rows[-1]["similarity"] == pytest.approx(1)
    assert all(0.7 < row["similarity"] <= 1 for row in rows)
    assert rows[0]["model_id"] == "colours" and rows[0]["person_name"] is None


def test_a_table_is_never_replaced_by_its_groups(cluster: Cli, table: Path) -> None:
    before = table.read_bytes()
    assert_one_line(cluster(table, "-o", table), "--output would replace", "which it is made of; name another place")
    assert table.read_bytes() == before


def test_as_json(cluster: Cli, table: Path) -> None:
    groups = json.loads(cluster(table, "--json").stdout)
    assert (groups["schema_version"], groups["model_id"], groups["threshold"]) == (1, "colours", 0.5)
    assert [face["cluster"] for face in groups["faces"]] == [1, 1, 1, 2, 2, 2, None]


def test_a_folder_of_links(cluster: Cli, table: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "groups"
    assert cluster(table, "--folder", folder).exit_code == 0
    linked = {path.relative_to(folder): path.readlink() for path in folder.rglob("*.png")}
    assert len(linked) == 6
    assert {target.parent for place, target in linked.items() if place.parts[0] == "1"} == {photos / "p001"}
    assert_one_line(cluster(table, "--folder", folder), "not an empty folder")


def test_a_page(cluster: Cli, photos: Path, tmp_path: Path) -> None:
    from lightface.batch import embed_folder

    (photos / "p001" / "1.png").rename(photos / "p001" / "<script>.png")
    table, page = tmp_path / "faces.csv", tmp_path / "groups.html"
    embed_folder(make_colour_pipeline(), [photos], table)
    (photos / "p002" / "1.png").unlink()
    result = cluster(table, "--html", page, "--enroll-as", HOSTILE)
    assert result.exit_code == 0
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script&gt;.png" in html and "&lt;script&gt;alert(1)" in html
    assert html.count("data:image/jpeg;base64,") == 6 and html.count(">gone<") == 1
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_people_of_groups(cluster: Cli, table: Path, tmp_path: Path) -> None:
    result = cluster(table, "--enroll-as", "Guest", "-o", tmp_path / "groups.csv")
    assert result.exit_code == 0, result.output
    assert "enrolled 6 of 6 faces as 2 people\n" in result.stderr
    with open_gallery(tmp_path / "gallery.sqlite") as gallery:
        counts = {person.name: len(gallery.samples(person.id)) for person in gallery.people()}
    assert counts == {"Guest 1": 3, "Guest 2": 3}
    assert (tmp_path / "groups.csv").read_text().count("Guest 1") == 3
    known = cluster(table, "--enroll-as", "Guest")
    assert known.exit_code == 0 and "enrolled 0 of 0 faces as 0 people\n" in known.stderr
    again = cluster(table, "--enroll-as", "Guest", "--everybody")
    assert again.exit_code == 2  # nothing could be enrolled, and each group's refusal is told
    assert again.stderr.count("resembles 'Guest") == 2
    with open_gallery(tmp_path / "gallery.sqlite") as gallery:
        assert [person.name for person in gallery.people()] == ["Guest 1", "Guest 2"]


def test_undo_takes_back_all_groups_that_were_enrolled_at_once(
    cli: Cli, cluster: Cli, table: Path, tmp_path: Path
) -> None:
    assert cluster(table, "--enroll-as", "Guest").exit_code == 0
    undone = cli("gallery", "undo", "--yes")
    assert undone.stderr == "took back 'enroll': 2 people and 6 samples that came with it go\n"
    assert cluster(table, "--names", tmp_path / "n.csv").exit_code == 0
    rows = (tmp_path / "n.csv").read_text(encoding="utf-8-sig").splitlines()
    named = [rows[0], *(row.replace(",,", f",Guest {place},", 1) for place, row in enumerate(rows[1:]))]
    (tmp_path / "n.csv").write_text("\n".join(named))
    assert cluster(table, "--names", tmp_path / "n.csv").exit_code == 0
    with open_gallery(tmp_path / "gallery.sqlite") as gallery:
        assert [person.name for person in gallery.people()] == ["Guest 0", "Guest 1"]
    assert cli("gallery", "undo", "--yes").exit_code == 0
    with open_gallery(tmp_path / "gallery.sqlite") as gallery:
        assert gallery.people() == []


def test_a_gallery_of_another_model_takes_nobody(cluster: Cli, table: Path, made_up_gallery: Path) -> None:
    result = cluster(table, "--enroll-as", "Guest", "--gallery", made_up_gallery)
    assert_one_line(result, "holds embeddings of lightcnn9-000000000000, not of colours")


def test_a_folder_is_embedded_once(cluster: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.face_tables.load_face_pipeline", lambda *arguments, **options: pipeline)
    first = cluster(photos)
    assert first.exit_code == 0, first.output
    assert "embedded 7 photographs with 7 faces; 0 unchanged; kept in" in first.stderr
    assert "6 of 7 faces in 2 groups" in first.stderr
    again = cluster(photos)
    assert "embedded 0 photographs with 0 faces; 7 unchanged" in again.stderr
    assert again.stdout == first.stdout


def test_a_renamed_folder_is_not_embedded_again(
    cluster: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightface.cli.face_tables import kept_tables_folder

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.face_tables.load_face_pipeline", lambda *arguments, **options: pipeline)
    assert cluster(photos).exit_code == 0
    other = paint_people(tmp_path / "other", 1, 2)
    assert "embedded 2 photographs" in cluster(other).stderr  # nothing of a folder that is still there is taken
    renamed = photos.rename(tmp_path / "renamed")
    assert "embedded 0 photographs with 0 faces; 0 unchanged; 7 moved; kept in" in cluster(renamed).stderr
    assert len(list(kept_tables_folder().iterdir())) == 6  # two tables, their journals and numbers: none is left behind


@pytest.mark.parametrize("by_url", [False, True])
def test_a_table_in_parts(cluster: Cli, table: Path, photos: Path, tmp_path: Path, by_url: bool) -> None:
    from lightface.batch import embed_folder

    (tmp_path / "parts").mkdir()
    parts = f"local://{tmp_path}/parts/" if by_url else f"{tmp_path}/parts/"
    embed_folder(make_colour_pipeline(), [photos], parts)
    result = cluster(parts)
    assert (result.exit_code, result.stdout) == (0, cluster(table).stdout)
    (tmp_path / "parts" / "_SUCCESS").unlink()
    assert_one_line(cluster(parts), "is not complete", "wait for 'lightface embed'")


def test_several_places_and_a_photograph_of_two_counts_once(
    cluster: Cli, table: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.face_tables.load_face_pipeline", lambda *arguments, **options: pipeline)
    result = cluster(photos / "p001", table, photos)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == "6 of 7 faces in 2 groups, 1 in none, at threshold 0.500"


def test_faces_of_two_models_are_refused(cluster: Cli, table: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    vector = np.eye(1, 256, dtype=np.float32)[0]
    other = FaceRow(image_path=Path("a.jpg"), embedding=vector, model_id="other", status=Status.EMBEDDED)
    write_faces(mixed, [*read_faces(table), other])
    assert_one_line(cluster(mixed), "by 2 models (colours, other)", "embed the photographs again")


def test_trouble_is_one_line(cli: Cli, cluster: Cli, table: Path, tmp_path: Path) -> None:
    assert_one_line(cluster(tmp_path / "none.csv"), "none.csv", "No such file")
    assert_one_line(cluster(tmp_path / "none"), "does not exist")
    (tmp_path / "rubbish.csv").write_text("a,b\n1,2\n")
    assert_one_line(cluster(tmp_path / "rubbish.csv"), "has no column 'image_path'")
    assert_one_line(cluster(table, "-o", tmp_path / "a.xlsx"), ".parquet")
    assert_one_line(cluster(table, "--html", tmp_path / "a.pdf"), ".html")
    assert_one_line(cluster(table, "--min-size", 0), "--min-size")
    write_faces(tmp_path / "empty.csv", [])
    assert_one_line(cluster(tmp_path / "empty.csv"), "there is no face")
    assert_one_line(cli("cluster", table, "--threshold", "2"), "threshold")
    assert_one_line(cli("cluster", table, "--threshold", "nan"), "threshold")
    assert_one_line(cli("cluster", table), "no threshold is known for colours", "--threshold")


@pytest.mark.parametrize("command", [["cluster"], ["gallery", "audit"]])
def test_help_loads_no_heavy_library(command: list[str]) -> None:
    program = (
        "import sys\n"
        "from lightface.cli.main import app\n"
        f"try:\n    app({[*command, '--help']!r})\n"
        "finally:\n"
        "    heavy = {'torch', 'sklearn', 'scipy', 'cv2', 'pyarrow', 'numpy'} & sys.modules.keys()\n"
        "    print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout, done.stdout[-500:]


# --- odd names, and URLs that nobody typed ----------------------------------------------------------

ODD_NAMES = [b"\xff.png", b"a\nb.png", b"a\rb.png", "a\u2028b.png".encode(), b"=1.png", b"\\udcff.png", b" .png"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".npz"])
def test_photographs_with_odd_names_are_linked_shown_and_enrolled(cluster: Cli, tmp_path: Path, suffix: str) -> None:
    from lightface.batch import embed_folder

    photos = [tmp_path / "photos" / os.fsdecode(name) for name in ODD_NAMES]
    for number, photo in enumerate(photos, start=1):
        paint_person(photo, 1, number)
    table, folder, page = tmp_path / f"faces{suffix}", tmp_path / "groups", tmp_path / "groups.html"
    embed_folder(make_colour_pipeline(), [tmp_path / "photos"], table)
    result = cluster(table, "--folder", folder, "--html", page, "--enroll-as", "Guest", "-o", tmp_path / "x.csv")
    assert result.exit_code == 0, result.output
    assert "gone" not in result.stderr and f"enrolled {len(photos)} of {len(photos)} faces" in result.stderr
    assert {link.readlink() for link in (folder / "1").iterdir()} == set(photos)
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == len(photos)
    with open_gallery(tmp_path / "gallery.sqlite") as gallery:
        assert {sample.source_path for sample in gallery.samples("Guest 1")} == set(map(str, photos))


def test_links_to_photographs_of_one_long_name(cluster: Cli, tmp_path: Path) -> None:
    from lightface.batch import embed_folder

    for number in (1, 2):
        paint_person(tmp_path / "photos" / str(number) / f"{'n' * 251}.png", 1, number)
    embed_folder(make_colour_pipeline(), [tmp_path / "photos"], tmp_path / "faces.csv")
    assert cluster(tmp_path / "faces.csv", "--folder", tmp_path / "groups").exit_code == 0
    assert len(list((tmp_path / "groups" / "1").iterdir())) == 2


@pytest.fixture
def table_of_urls(table: Path, tmp_path: Path) -> Path:
    """A face table on this machine that names photographs on another."""
    rows = [replace(row, image_path=to_path(f"http://127.0.0.1:9/{row.image_path.name}")) for row in read_faces(table)]
    write_faces(tmp_path / "urls.csv", rows)
    return tmp_path / "urls.csv"


def test_no_url_in_a_table_is_asked_for(
    cluster: Cli, table_of_urls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("lightface.locations._open", asked.append)
    page, folder = tmp_path / "groups.html", tmp_path / "groups"
    result = cluster(table_of_urls, "--html", page, "--folder", folder, "--enroll-as", "Guest")
    assert result.exit_code == 2  # nobody could be enrolled
    assert asked == []
    assert (
        "not fetched: 3 photographs that the table names by URL, as http://127.0.0.1:9/1.png; only what"
        in result.stderr
    )
    assert "(a table names this URL, not you: it is not fetched); save the photograph on this machine" in result.stderr
    assert "3 photographs by URL cannot be linked" in result.stderr
    assert list(folder.rglob("*.png")) == []
    html = page.read_text(encoding="utf-8")
    assert "data:image" not in html and html.count(">not fetched<") == 7


def test_urls_on_the_host_of_a_table_that_was_named_by_url_are(cluster: Cli, table: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, image_path=to_path(f"{'local' if place else 'memory'}://{row.image_path}"))
        for place, row in enumerate(read_faces(table))
    ]
    write_faces(tmp_path / "urls.csv", rows)
    page = tmp_path / "groups.html"
    result = cluster(f"local://{tmp_path}/urls.csv", "--html", page)
    assert result.exit_code == 0, result.output
    assert "not fetched: 1 photograph that" in result.stderr
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 6


def test_a_url_that_is_not_fetched_stays_so_in_other_processes(table_of_urls: Path) -> None:
    path = pickle.loads(pickle.dumps(read_faces(table_of_urls)[0].image_path))
    assert isinstance(path, RemotePath) and not path.is_fetched
    with pytest.raises(PermissionError, match="not you: it is not fetched"):
        path.read_bytes()

"""A folder becomes a table; a second run does what is new; whatever stops a run, what was finished is kept."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import EmbedProgress, EmbedSummary, embed_folder, journal_path
from lightface.errors import ImageError, OutputError
from lightface.records import FaceSelection

Embed = Callable[..., EmbedSummary]


@pytest.fixture
def embedder() -> MeanEmbedder:
    return MeanEmbedder()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "faces.parquet"


@pytest.fixture
def embed(folder: Path, output: Path, embedder: MeanEmbedder) -> Embed:
    """Embed the folder into the output; options as of `embed_folder`."""

    def run(**options: Any) -> EmbedSummary:
        return embed_folder(make_pipeline(embedder), [folder], output, **options)

    return run


def read_rows(output: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(output).to_pylist())


def outline(output: Path, folder: Path) -> list[tuple[str, int | None, str, str | None]]:
    """Path below the folder, face, status and error of each row."""
    return [
        (str(Path(row["image_path"]).relative_to(folder)), row["face_index"], row["status"], row["error"])
        for row in read_rows(output)
    ]


def test_a_row_for_each_face_and_one_for_each_photograph_without(embed: Embed, output: Path, folder: Path) -> None:
    summary = embed()
    assert outline(output, folder) == [
        ("a.png", 0, "embedded", None),
        ("b.png", 0, "embedded", None),
        ("below/pair.png", 0, "embedded", None),
        ("below/pair.png", 1, "embedded", None),
        ("black.png", None, "error", "face_not_found"),
        ("broken.jpg", None, "error", "invalid_image"),
    ]
    assert (summary.embedded, summary.faces, summary.failed) == (3, 4, 2)
    assert (summary.unchanged, summary.removed, summary.faces_in_output) == (0, 0, 4)
    assert summary.failures_in_output == {"face_not_found": 1, "invalid_image": 1}


def test_a_row_holds_what_was_found(embed: Embed, output: Path, folder: Path) -> None:
    embed()
    row = read_rows(output)[3]
    assert row["image_path"] == str(folder / "below" / "pair.png")
    assert row["bbox"] == [80, 0, 160, 80]
    assert np.allclose(row["landmarks"][0], [80 + 0.35 * 80, 0.35 * 80])
    assert row["det_score"] == 0.99
    assert 0 <= row["quality"] <= 1
    assert row["model_id"] == "stand-in"
    vector = np.array(row["embedding"])
    assert np.isclose(np.linalg.norm(vector), 1)
    assert np.allclose(vector[:3] / vector[2], [11 / 201, 11 / 201, 1], atol=1e-3)


def test_nothing_is_embedded_twice(embed: Embed, output: Path, embedder: MeanEmbedder) -> None:
    embed()
    before = output.stat()
    summary = embed()
    assert embedder.count == 4
    # What could not be read is tried again: a decoder may have come, or a permission.
    assert (summary.embedded, summary.failed, summary.unchanged) == (0, 1, 4)
    assert summary.faces_in_output == 4
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_second_run_does_what_is_new_or_changed(
    embed: Embed, output: Path, folder: Path, embedder: MeanEmbedder
) -> None:
    embed()
    paint(folder / "a.png", (10, 10, 90), width=161)
    paint(folder / "c.png", (90, 10, 10))
    paint(folder / "broken.jpg", (90, 90, 10))
    summary = embed()
    assert (summary.embedded, summary.faces, summary.failed, summary.unchanged) == (3, 4, 0, 3)
    assert [row[:2] for row in outline(output, folder)] == [
        *[("a.png", 0), ("a.png", 1), ("b.png", 0), ("below/pair.png", 0), ("below/pair.png", 1)],
        *[("black.png", None), ("broken.jpg", 0), ("c.png", 0)],
    ]


def test_a_photograph_that_only_looks_changed_is_known_by_its_contents(
    embed: Embed, folder: Path, embedder: MeanEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed()
    os.utime(folder / "a.png", ns=(1, 1))  # as a copy, or a clock going back
    assert embed().embedded == 0
    # The new time is kept: the contents need no third reading.
    monkeypatch.setattr("lightface.batch.job.hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert embed().unchanged == 4


def test_a_renamed_folder_of_200_photographs_costs_no_embedding(
    embedder: MeanEmbedder, output: Path, tmp_path: Path
) -> None:
    before, after = tmp_path / "2024", tmp_path / "holidays" / "2024"
    for number in range(200):
        paint(before / f"{number:03}.png", (number, 200 - number, 7))
    pipeline = make_pipeline(embedder)
    assert embed_folder(pipeline, [before], output).embedded == 200
    rows = read_rows(output)
    after.parent.mkdir()
    before.rename(after)
    os.utime(after / "000.png", ns=(1, 1))  # as many copying programs leave it
    summary = embed_folder(pipeline, [after], output)
    assert (summary.embedded, summary.failed, summary.moved) == (0, 0, 200)
    assert (summary.unchanged, summary.removed, embedder.count) == (0, 0, 200)
    assert str(summary) == "embedded 0 photographs with 0 faces; 0 unchanged; 200 moved"
    for row in rows:
        row["image_path"] = str(after / Path(row["image_path"]).name)
    assert read_rows(output) == rows
    again = embed_folder(pipeline, [after], output)
    assert (again.unchanged, again.moved) == (200, 0)


def test_moved_photographs_keep_their_failures_and_all_their_faces(embed: Embed, output: Path, folder: Path) -> None:
    embed()
    for name in ("black.png", "below/pair.png", "broken.jpg"):
        (folder / name).rename(folder / f"z{Path(name).name}")
    summary = embed()
    assert (summary.embedded, summary.moved, summary.removed) == (0, 2, 1)  # what could not be read is tried again
    assert outline(output, folder)[2:] == [
        ("zblack.png", None, "error", "face_not_found"),
        ("zbroken.jpg", None, "error", "invalid_image"),
        ("zpair.png", 0, "embedded", None),
        ("zpair.png", 1, "embedded", None),
    ]


def test_copies_of_a_photograph_take_over_its_rows(
    embed: Embed, output: Path, folder: Path, embedder: MeanEmbedder
) -> None:
    embed()
    for name in ("copy.png", "other.png"):
        shutil.copy(folder / "below" / "pair.png", folder / name)
    summary = embed()
    assert (summary.embedded, summary.moved, summary.removed, embedder.count) == (0, 2, 0, 4)
    paths = [row[0] for row in outline(output, folder)]
    assert [paths.count(name) for name in ("below/pair.png", "copy.png", "other.png")] == [2, 2, 2]
    (folder / "below" / "pair.png").unlink()  # and the copies stand by themselves
    assert embed().faces_in_output == 6


def test_photographs_that_have_swapped_names_are_known(
    embed: Embed, output: Path, folder: Path, embedder: MeanEmbedder
) -> None:
    embed()
    (folder / "a.png").rename(folder / "aside.png")
    (folder / "b.png").rename(folder / "a.png")
    (folder / "aside.png").rename(folder / "b.png")
    for name in ("a.png", "b.png"):
        os.utime(folder / name, ns=(1, 1))
    summary = embed()
    assert (summary.embedded, summary.moved, summary.faces_in_output, embedder.count) == (0, 2, 4, 4)
    assert [int(np.argmax(row["embedding"])) for row in read_rows(output)[:2]] == [1, 0]


def test_only_what_may_be_known_is_hashed_and_only_the_same_settings_count(
    embed: Embed, output: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed()
    (folder / "a.png").rename(folder / "z.png")
    other = make_pipeline(MeanEmbedder(), min_face_size_px=21.0)
    assert embed_folder(other, [folder], output).moved == 0
    paint(folder / "new.png", (3, 4, 5), width=163)
    monkeypatch.setattr("lightface.batch.job.hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert embed_folder(other, [folder], output).embedded == 1


def test_a_photograph_of_equal_size_with_other_contents_is_embedded_again(
    embed: Embed, output: Path, folder: Path
) -> None:
    path = folder / "a.bmp"
    paint(path, (200, 10, 10))
    embed()
    size = path.stat().st_size
    paint(path, (10, 10, 200))
    os.utime(path, ns=(1, 1))
    assert path.stat().st_size == size
    assert embed().embedded == 1
    assert np.argmax(read_rows(output)[0]["embedding"]) == 2


def test_rows_of_vanished_photographs_leave(embed: Embed, output: Path, folder: Path) -> None:
    embed()
    vector = np.array(read_rows(output)[0]["embedding"], "<f4").tobytes()
    assert vector in journal_path(output).read_bytes()
    (folder / "a.png").unlink()
    shutil.rmtree(folder / "below")
    summary = embed()
    assert (summary.removed, summary.embedded, summary.faces_in_output) == (2, 0, 1)
    assert [row[0] for row in outline(output, folder)] == ["b.png", "black.png", "broken.jpg"]
    assert vector not in journal_path(output).read_bytes()


def test_rows_of_photographs_that_are_still_there_stay(
    embed: Embed, embedder: MeanEmbedder, output: Path, folder: Path
) -> None:
    """A second folder is named for the same table, and the first is not."""
    embed()
    before, rows, below = output.read_bytes(), outline(output, folder), folder / "below"
    with pytest.raises(OutputError, match=r"has photographs that are still there, but not named now, as .*a.png; name"):
        embed_folder(make_pipeline(embedder), [below], output)
    assert output.read_bytes() == before
    assert embed_folder(make_pipeline(embedder), [below, folder], output).removed == 0
    assert outline(output, folder) == rows
    assert embed_folder(make_pipeline(embedder), [below], output, drop_others=True).removed == 4
    assert {path for path, *_ in outline(output, folder)} == {"below/pair.png"}


def test_an_emptied_folder_does_not_empty_the_table(embed: Embed, output: Path, folder: Path) -> None:
    embed()
    shutil.rmtree(folder)
    with pytest.raises(ImageError, match="does not exist"):
        embed()
    folder.mkdir()  # as a disk that is not mounted
    with pytest.raises(ImageError, match="no photograph"):
        embed()
    assert len(read_rows(output)) == 6


@pytest.mark.parametrize("change", ["model", "precision", "gates", "selection"])
def test_another_model_or_setting_makes_all_rows_anew(folder: Path, output: Path, change: str) -> None:
    embed_folder(make_pipeline(MeanEmbedder()), [folder], output)
    precision = "bf16" if change == "precision" else "fp32"
    embedder = MeanEmbedder("other" if change == "model" else "stand-in", precision=precision)
    pipeline = make_pipeline(embedder, **({"min_face_size_px": 40.0} if change == "gates" else {}))
    selection = FaceSelection.LARGEST if change == "selection" else FaceSelection.ALL
    summary = embed_folder(pipeline, [folder], output, selection=selection)
    assert (summary.embedded, summary.unchanged, summary.removed) == (3, 0, 0)
    assert {row["model_id"] for row in read_rows(output)} == {embedder.name, None}
    assert summary.faces == (3 if change == "selection" else 4)


def test_what_was_finished_before_an_interruption_is_kept(
    embed: Embed, output: Path, folder: Path, tmp_path: Path
) -> None:
    def interrupt(progress: EmbedProgress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(batch_size=1, progress=interrupt)
    assert not output.exists()
    summary = embed()
    assert (summary.unchanged, summary.embedded + summary.failed) == (3, 2)
    undisturbed = tmp_path / "undisturbed.parquet"
    embed_folder(make_pipeline(MeanEmbedder()), [folder], undisturbed)
    assert pq.read_table(output).equals(pq.read_table(undisturbed))


def test_an_interrupted_run_leaves_the_earlier_table(embed: Embed, output: Path, folder: Path) -> None:
    embed()
    before = output.read_bytes()
    paint(folder / "c.png", (90, 10, 10))
    (folder / "a.png").unlink()

    def interrupt(progress: EmbedProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(progress=interrupt)
    assert output.read_bytes() == before


def test_progress_counts_what_is_to_be_done(embed: Embed) -> None:
    heard: list[EmbedProgress] = []
    embed(batch_size=2, progress=heard.append)
    assert [(one.done, one.total) for one in heard] == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert (heard[-1].faces, heard[-1].failed, heard[-1].unchanged) == (4, 2, 0)
    heard.clear()
    embed(progress=heard.append)
    assert [(one.done, one.total, one.unchanged) for one in heard] == [(0, 1, 4), (1, 1, 4)]


def test_a_lost_or_altered_table_is_written_again(embed: Embed, output: Path, embedder: MeanEmbedder) -> None:
    embed()
    rows = read_rows(output)
    output.unlink()
    embed()
    assert read_rows(output) == rows
    output.write_bytes(b"spoiled")
    embed()
    assert read_rows(output) == rows
    assert embedder.count == 4


def test_a_second_run_at_the_same_time_is_refused(embed: Embed, output: Path) -> None:
    refused = []

    def run_another(progress: EmbedProgress) -> None:
        with pytest.raises(OutputError, match="another run is writing this output") as caught:
            embed()
        refused.append(str(caught.value))

    embed(progress=run_another)
    assert refused
    assert "\n" not in refused[0]
    assert embed().unchanged == 4


def test_only_the_owner_may_read_table_and_journal(embed: Embed, output: Path) -> None:
    modes: list[int] = []

    def look(progress: EmbedProgress) -> None:
        modes.extend(file.stat().st_mode for file in output.parent.glob(f"{output.name}*"))

    embed(progress=look)
    modes += [output.stat().st_mode, journal_path(output).stat().st_mode]
    assert {stat.S_IMODE(mode) for mode in modes} == {0o600}
    assert sorted(file.name for file in output.parent.iterdir()) == [
        *["faces.parquet", "faces.parquet.journal", "photos"]
    ]


@pytest.mark.parametrize("contents", [b"no database at all, but long enough to be looked at as one" * 20, b"SQLite"])
def test_a_journal_that_is_none_is_refused(embed: Embed, output: Path, contents: bytes) -> None:
    journal_path(output).write_bytes(contents)
    with pytest.raises(OutputError, match="delete it"):
        embed()
    assert journal_path(output).read_bytes() == contents


def test_another_applications_database_is_refused(embed: Embed, output: Path) -> None:
    import sqlite3

    with sqlite3.connect(journal_path(output)) as connection:
        connection.execute("CREATE TABLE theirs (value)")
    with pytest.raises(OutputError, match="not a journal"):
        embed()


def test_a_suffix_that_cannot_be_written_is_noticed_before_the_work(
    folder: Path, tmp_path: Path, embedder: MeanEmbedder
) -> None:
    with pytest.raises(OutputError, match=r"\.parquet, \.csv, \.jsonl, \.npz"):
        embed_folder(make_pipeline(embedder), [folder], tmp_path / "faces.xlsx")
    assert embedder.count == 0
    assert os.listdir(tmp_path) == ["photos"]


def test_one_photograph_has_one_row_however_it_is_named(
    folder: Path, output: Path, embedder: MeanEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(embedder)
    embed_folder(pipeline, [folder], output)
    monkeypatch.chdir(folder / "below")
    summary = embed_folder(pipeline, [Path(".."), Path("pair.png"), folder / "a.png"], output)
    assert (summary.embedded, summary.unchanged, summary.removed) == (0, 4, 0)


@pytest.mark.skipif(os.name != "posix", reason="file names are text here")
def test_a_file_name_that_is_no_text(embed: Embed, output: Path, folder: Path) -> None:
    shutil.copy(os.fsencode(folder / "a.png"), os.path.join(os.fsencode(folder), b"\xff\n'.png"))
    assert embed().embedded == 4
    assert embed().unchanged == 5
    assert read_rows(output)[-1]["image_path"] == f"{folder}/\\udcff\n'.png"


def test_a_photograph_that_vanishes_meanwhile_is_a_failure(
    embed: Embed, output: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(progress: EmbedProgress) -> None:
        (folder / "b.png").unlink(missing_ok=True)

    embed(progress=vanish)
    assert ("b.png", None, "error", "missing_file") in outline(output, folder)
    embed()
    assert "b.png" not in {row[0] for row in outline(output, folder)}

"""A journal that is damaged, or has no room, is one clear line."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import embed_folder, journal_path
from lightface.batch.journal import Journal
from lightface.errors import OutputError


@pytest.fixture
def journal(folder: Path, tmp_path: Path) -> Path:
    """The journal of a finished job."""
    output = tmp_path / "faces.csv"
    embed_folder(make_pipeline(MeanEmbedder()), [folder], output)
    return journal_path(output)


def read_everything(path: Path) -> None:
    with Journal(path) as journal:
        list(journal.rows())
        list(journal.compare([(Path("/photos/a.png"), "1:1")], made_by="a test"))
        journal.face_count()
        journal.failure_counts()
        assert journal.output_stamp is None or journal.output_stamp
        journal.forget_others()


@pytest.mark.parametrize("changed_bytes", [1, 20])
def test_changed_bytes_are_noticed_or_harmless(journal: Path, changed_bytes: int) -> None:
    data = np.frombuffer(journal.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = data.copy()
        # Half of them in the first page, which holds the header and the schema.
        limit = len(data) if rng.random() < 0.5 else 4096
        damaged[rng.integers(0, limit, changed_bytes)] = rng.integers(0, 256, changed_bytes)
        journal.write_bytes(damaged.tobytes())
        try:
            read_everything(journal)
        except OutputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 150


def test_a_cut_journal_is_refused(journal: Path) -> None:
    data = journal.read_bytes()
    for length in range(4097, len(data), 4096):
        journal.write_bytes(data[:length])
        with pytest.raises(OutputError):
            read_everything(journal)


@pytest.mark.parametrize(
    "statements",
    [
        (
            "DROP TABLE face",
            "CREATE VIEW face AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i photo_id, "
            "i face_index, zeroblob(900000000) embedding FROM n",
        ),
        ("CREATE TRIGGER t AFTER DELETE ON photo BEGIN DELETE FROM face; END",),
        ("ALTER TABLE photo ADD COLUMN twice TEXT AS (reason || reason)",),
    ],
)
def test_a_journal_that_declares_something_else_is_refused_at_once(journal: Path, statements: tuple[str, ...]) -> None:
    connection = sqlite3.connect(journal, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    with pytest.raises(OutputError, match="is damaged; delete it"):
        Journal(journal)


def test_a_full_disk_is_one_line_and_keeps_what_was_finished(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs a limit on the size of files")
    folder, output = tmp_path / "photos", tmp_path / "faces.jsonl"
    for number in range(60):
        paint(folder / f"{number:02}.png", (4 * number, 5, 5))
    # In a process of its own, for the limit holds for every file that a process writes.
    script = """if True:
        import resource, sys
        from pathlib import Path
        from stand_ins import MeanEmbedder, make_pipeline
        from lightface.batch import embed_folder
        from lightface.errors import OutputError

        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))
        try:
            embed_folder(make_pipeline(MeanEmbedder()), [Path(sys.argv[1])], Path(sys.argv[2]), batch_size=4)
        except OutputError as error:
            print(error)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script, folder, output], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith(f"the journal {journal_path(output)} cannot be used: ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert not output.exists()
    summary = embed_folder(make_pipeline(MeanEmbedder()), [folder], output)
    assert summary.unchanged >= 8
    assert summary.faces_in_output == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_journal_is_one_line(journal: Path) -> None:
    journal.chmod(0o400)
    with pytest.raises(OutputError, match="permissions"):
        read_everything(journal)


def test_rows_may_be_given_up_after_the_journal(journal: Path) -> None:
    """As by a writer that finds the disk full, whose error still holds them."""
    with Journal(journal) as opened:
        rows = opened.rows()
        next(rows)
    rows.close()  # type: ignore[attr-defined]

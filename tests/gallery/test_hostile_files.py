"""A gallery's file that was made to hang, to mislead or to exhaust its reader: refused in one line, and soon."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from pathlib import Path

import pytest
from harmful_galleries import ENDLESS, PAGE, multiply, raw, use
from made_up import find, make_sample

from lightface.databases import check_schema, schema_made_by, schema_of
from lightface.errors import GalleryError, OutputError
from lightface.gallery import StoredThreshold, open_gallery, sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery of two people, in one file."""
    path = tmp_path / "gallery.sqlite"
    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        gallery.enroll("Bob", [make_sample(3)])
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
    return path


class TestSchema:
    @pytest.mark.parametrize(
        ("statements", "what"),
        [
            (
                ("DROP TABLE log", f"CREATE VIEW log AS {ENDLESS} SELECT i id, '' at, '' event, i person_id FROM n"),
                "its index 'log_date'",  # gone with the table
            ),
            (
                (
                    "DROP TABLE person",
                    f"CREATE VIEW person AS {ENDLESS} SELECT i id, 'A' || i name, 'a' || i name_key, '{{}}' metadata, "
                    "'2026-01-01T00:00:00+00:00' created_at FROM n",
                ),
                "person",
            ),
            (
                (
                    "ALTER TABLE setting RENAME TO kept",
                    "CREATE VIEW setting AS SELECT name, iif(name = 'model_id', zeroblob(900000000), value) value "
                    "FROM kept",
                ),
                "kept",
            ),
            (("CREATE TRIGGER t AFTER INSERT ON sample BEGIN DELETE FROM person; END",), "its trigger 't'"),
            (("CREATE TABLE more (a)",), "its table 'more'"),
            (("CREATE INDEX more ON person (lower(name))",), "its index 'more'"),
            (("DROP INDEX sample_image",), "its index 'sample_image'"),
            (("CREATE VIRTUAL TABLE v USING fts5(a)",), "'v"),
            (("ALTER TABLE person ADD COLUMN twice TEXT AS (name || name)",), "its table 'person'"),
            (("ALTER TABLE person RENAME COLUMN metadata TO data",), "its table 'person'"),
            (("DROP TABLE threshold", "CREATE TABLE threshold (far, threshold, source, created_at)"), "threshold"),
        ],
    )
    def test_what_lightface_does_not_make_is_refused_at_once(
        self, path: Path, statements: tuple[str, ...], what: str
    ) -> None:
        raw(path, *statements)
        with pytest.raises(GalleryError, match="is damaged") as caught:
            open_gallery(path)
        assert what in str(caught.value) and "is not what lightface makes" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_version_that_is_not_its_schemas_is_refused(self, path: Path) -> None:
        for version in (0, 1, -5):
            raw(path, f"PRAGMA user_version = {version}")
            with pytest.raises(GalleryError, match="is not what lightface makes"):
                open_gallery(path)

    @pytest.mark.parametrize("version", range(1, len(sqlite.MIGRATIONS) + 1))
    def test_every_version_that_lightface_made_opens(self, tmp_path: Path, version: int) -> None:
        path = tmp_path / "old.sqlite"
        raw(
            path,
            *(statement for step in sqlite.MIGRATIONS[:version] for statement in step),
            f"PRAGMA application_id = {sqlite.APPLICATION_ID}",
            f"PRAGMA user_version = {version}",
            "INSERT INTO setting VALUES ('created_at', '2026-11-01T10:00:00+00:00')",
            "INSERT INTO person VALUES (7, 'Ada  L', 'ada  l', '{}', '2026-11-01T10:00:00.000000+00:00')",
        )
        with open_gallery(path) as gallery:
            assert find(gallery, "Ada  L").id == 7

    def test_two_tables_in_one_page(self, path: Path) -> None:
        raw(
            path,
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'setting') "
            "WHERE name = 'threshold'",
        )
        with pytest.raises(GalleryError, match="two of its tables are one"):
            open_gallery(path)

    def test_a_schema_is_what_its_statements_make(self) -> None:
        expected = schema_made_by(["CREATE TABLE a (b)", "CREATE INDEX c ON a (b)"])
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE a (b)")
        with pytest.raises(ValueError, match="its index 'c'"):
            check_schema(connection, expected)
        connection.execute("CREATE INDEX c ON a (b)")
        check_schema(connection, expected)
        assert {(kind, name) for kind, name, *_ in schema_of(connection)} == {("table", "a"), ("index", "c")}
        connection.close()


class TestPages:
    """The schema is what it should be, and the pages refer to one another many times or in circles."""

    @pytest.mark.parametrize("table", ["person", "sample", "setting", "log"])
    def test_a_table_without_end(self, path: Path, table: str) -> None:
        with open_gallery(path) as gallery:
            gallery.log.set_days(0)
            gallery.enroll("Cid", [make_sample(4)])
        multiply(path, table, levels=8)
        started_s = time.process_time()
        said = use(path)
        assert any("is damaged" in line for line in said), said
        assert time.process_time() - started_s < 60

    def test_nor_is_one_copied_without_end(self, path: Path) -> None:
        raw(path, "INSERT INTO setting VALUES ('scrub_owed', 'x')")  # has the next opening rewrite the file
        multiply(path, "sample", levels=8)
        said = use(path)
        assert any("is damaged" in line for line in said), said
        assert path.stat().st_size < 40 * PAGE

    def test_an_older_one_is_not_brought_up_to_date_without_end(self, path: Path) -> None:
        raw(path, "PRAGMA user_version = 2")
        multiply(path, "person", levels=8)
        with pytest.raises(GalleryError, match="more than its file has room for"):
            open_gallery(path)

    def test_a_value_that_runs_in_circles(self, path: Path) -> None:
        raw(path, f'UPDATE person SET metadata = \'{{"a": "{"x" * 20_000}"}}\' WHERE id = 1', "VACUUM")
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        data = bytearray(path.read_bytes())
        chain = [start for start in range(0, len(data), PAGE) if data[start + 100 : start + 200] == b"x" * 100]
        assert len(chain) >= 4
        data[chain[0] : chain[0] + 4] = struct.pack(">I", chain[0] // PAGE + 1)  # its next page is itself
        path.write_bytes(data)
        said = use(path)
        assert said and all(str(path) in line for line in said)

    def test_an_honest_gallery_is_far_from_its_budget(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hundredth of the free steps and bytes is enough for some thousand rows."""
        from lightface import databases

        monkeypatch.setattr(databases, "_FREE_STEPS", 20_000)
        monkeypatch.setattr(databases, "_FREE_BYTES", 40_000)
        path = tmp_path / "gallery.sqlite"
        with open_gallery(path, create=True) as gallery:
            gallery.log.set_days(0)
            for number in range(60):
                gallery.enroll(f"Person {number}", [make_sample(number * 20 + one) for one in range(20)])
            assert len(gallery.samples()) == len(gallery.matrix().vectors) == 1200
            assert len(gallery.people()) == 60 and len(gallery.log.entries()) == 1201
            gallery.remove_person("Person 7")
            assert gallery.stats().sample_count == 1180
        monkeypatch.chdir(tmp_path)
        with open_gallery(Path("gallery.sqlite")) as gallery:
            monkeypatch.chdir("/")
            assert len(gallery.samples()) == 1180


@pytest.mark.parametrize("table", ["person", "sample"])
def test_ids_that_have_run_out(path: Path, table: str) -> None:
    raw(path, f"UPDATE sqlite_sequence SET seq = {2**63 - 1} WHERE name = '{table}'")
    with open_gallery(path) as gallery:
        with pytest.raises(GalleryError, match=f"it has no id left for another {table}"):
            gallery.enroll("Cid", [make_sample(4)])
        assert len(gallery.samples()) == 3


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 2.0])
def test_a_threshold_that_accepts_everybody_is_not_used(path: Path, threshold: float) -> None:
    raw(path, f"UPDATE threshold SET threshold = {threshold}")
    with open_gallery(path) as gallery, pytest.raises(GalleryError, match="is not above 0 and at most 1"):
        gallery.thresholds()


class TestOwner:
    @pytest.fixture(autouse=True)
    def only_root(self) -> None:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            pytest.skip("only root can make files of others")

    @pytest.mark.parametrize("suffix", ["", "-wal", "-journal", "-shm"])
    def test_what_another_user_planted_is_not_opened(self, tmp_path: Path, suffix: str) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        path = shared / "gallery.sqlite"
        planted = Path(f"{path}{suffix}")
        planted.touch()
        os.chown(planted, 65534, 65534)
        with pytest.raises(OutputError, match="another user put it there"):
            open_gallery(path, create=True)
        assert planted.stat().st_size == 0 and len(list(shared.iterdir())) == 1

    def test_nor_through_a_link_of_theirs(self, path: Path, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        link = shared / "gallery.sqlite"
        link.symlink_to(path)
        open_gallery(link).close()  # one's own
        os.chown(link, 65534, 65534, follow_symlinks=False)
        with pytest.raises(OutputError, match="another user put it there"):
            open_gallery(link)

    def test_a_planted_search_index_is_not_believed(self, path: Path) -> None:
        from lightface.gallery.search_index import read_index

        index = Path(f"{path}.index")
        index.write_bytes(b"anything")
        os.chown(index, 65534, 65534)
        path.parent.chmod(0o1777)
        assert read_index(index) is None

"""The gallery's file: who may read it, what is refused, what survives, and that nothing deleted stays in it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from made_up import find, make_sample, make_vector

from lightface.errors import GalleryError, OutputError
from lightface.gallery import Gallery, StoredThreshold, open_gallery, sqlite


@pytest.fixture
def place(gallery_path: Path) -> Path:
    return gallery_path


def files_of(path: Path) -> list[Path]:
    """The database and whatever SQLite keeps beside it."""
    return sorted(path.parent.glob(f"{path.name}*"))


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in files_of(path))


def raw(path: Path, *statements: str) -> None:
    """Change the file behind lightface's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.2)


class TestFileMode:
    @pytest.fixture(autouse=True)
    def open_umask(self) -> Iterator[None]:
        before = os.umask(0)
        yield
        os.umask(before)

    def test_all_files_and_a_new_folder_are_the_owners(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "g.sqlite"
        with open_gallery(path, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1)])
            assert [file.name for file in files_of(path)] == ["g.sqlite", "g.sqlite-shm", "g.sqlite-wal"]
            assert {stat.S_IMODE(file.stat().st_mode) for file in files_of(path)} == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_a_careless_copy_is_closed_again(self, gallery: Gallery, gallery_path: Path) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        for file in files_of(gallery_path):
            file.chmod(0o666)
        open_gallery(gallery_path).close()
        assert {stat.S_IMODE(file.stat().st_mode) for file in files_of(gallery_path)} == {0o600}


class TestRefusals:
    def test_missing(self, gallery_path: Path) -> None:
        with pytest.raises(GalleryError, match=r"no gallery at .*; enroll somebody first"):
            open_gallery(gallery_path)
        assert not gallery_path.parent.exists()

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(GalleryError, match="is a folder"):
            open_gallery(tmp_path, create=True)

    @pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
    def test_an_impossible_path(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(OutputError, match="cannot be opened"):
            open_gallery(tmp_path / name, create=True)

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(OutputError, match="cannot be opened"):
            open_gallery(tmp_path / "file" / "sub" / "g.sqlite", create=True)

    @pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0" + bytes(5000), b"name,path\n"])
    def test_another_kind_of_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "photo.jpg"
        path.write_bytes(content)
        with pytest.raises(GalleryError, match="not a gallery"):
            open_gallery(path, create=True)
        assert path.read_bytes() == content
        assert files_of(path) == [path]

    def test_another_applications_database(self, tmp_path: Path) -> None:
        path = tmp_path / "history.sqlite"
        raw(path, "CREATE TABLE visits (url TEXT)")
        content = path.read_bytes()
        with pytest.raises(GalleryError, match="another application's database"):
            open_gallery(path, create=True)
        assert path.read_bytes() == content
        raw(path, "DROP TABLE visits", "PRAGMA application_id = 77")
        with pytest.raises(GalleryError, match="another application's database"):
            open_gallery(path, create=True)

    def test_an_empty_file_becomes_a_gallery_only_to_enroll(self, tmp_path: Path) -> None:
        path = tmp_path / "g.sqlite"
        path.touch()  # as after a kill at the very first moment
        with pytest.raises(GalleryError, match="is empty; enroll somebody first"):
            open_gallery(path)
        with open_gallery(path, create=True) as gallery:
            assert gallery.people() == []

    def test_a_newer_schema(self, gallery: Gallery, gallery_path: Path) -> None:
        gallery.close()
        raw(gallery_path, "PRAGMA user_version = 99")
        with pytest.raises(GalleryError, match=r"newer lightface \(schema 99, known is 3\); upgrade"):
            open_gallery(gallery_path, create=True)

    @pytest.mark.parametrize(
        "damage",
        [
            "DROP TABLE setting",
            "UPDATE person SET metadata = '{'",
            "UPDATE person SET metadata = '7'",
            "UPDATE person SET created_at = 'yesterday'",
            "UPDATE sample SET embedding = x'00'",
            "UPDATE sample SET embedding = x'0000803f' WHERE id = 1",
            "DELETE FROM setting",
            "DROP TABLE sample",
        ],
    )
    def test_damage_is_one_error(self, gallery: Gallery, gallery_path: Path, damage: str) -> None:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        gallery.close()
        raw(gallery_path, damage)
        with pytest.raises(GalleryError) as caught, open_gallery(gallery_path) as damaged:
            damaged.people()
            damaged.matrix()
            damaged.samples()
            damaged.stats()
        assert "\n" not in str(caught.value)

    def test_a_damaged_page(self, gallery: Gallery, gallery_path: Path) -> None:
        for photo in range(50):
            gallery.enroll("Ada", [make_sample(photo)])
        gallery.close()
        with gallery_path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(4096 * 8))
        with pytest.raises(GalleryError, match="damaged"), open_gallery(gallery_path) as damaged:
            damaged.samples()
            damaged.matrix()

    @pytest.mark.usefixtures("short_wait")
    def test_a_locked_gallery(self, gallery: Gallery, gallery_path: Path) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        other = sqlite3.connect(gallery_path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with open_gallery(gallery_path) as waiting:
            with pytest.raises(GalleryError, match="held by another process; try again"):
                waiting.enroll("Bob", [make_sample(2)])
            assert [person.name for person in waiting.people()] == ["Ada"]  # readers do not wait
            other.execute("ROLLBACK")
            waiting.enroll("Bob", [make_sample(2)])
        other.close()

    @pytest.mark.usefixtures("short_wait")
    def test_a_locked_new_file(self, tmp_path: Path) -> None:
        path = tmp_path / "g.sqlite"
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(GalleryError, match="held by another process"):
            open_gallery(path, create=True)
        other.execute("ROLLBACK")
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_schema").fetchall()  # lets the tables be made, but not the log
        with pytest.raises(GalleryError, match="held by another process"):
            open_gallery(path, create=True)
        other.close()


class TestMigrations:
    later = (*sqlite.MIGRATIONS, ("ALTER TABLE person ADD COLUMN consent TEXT", "CREATE TABLE a (b)"))

    def test_an_older_gallery_is_brought_up_to_date(
        self, gallery: Gallery, gallery_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
        gallery.close()
        monkeypatch.setattr(sqlite, "MIGRATIONS", self.later)
        with open_gallery(gallery_path) as migrated:
            assert len(migrated.thresholds()) == 1
        connection = sqlite3.connect(gallery_path)
        assert connection.execute("PRAGMA user_version").fetchone() == (4,)
        assert connection.execute("SELECT consent FROM person").fetchall() == []
        connection.close()

    def test_a_failing_step_changes_nothing(
        self, gallery: Gallery, gallery_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        gallery.close()
        monkeypatch.setattr(sqlite, "MIGRATIONS", (*self.later, ("CREATE TABLE a (b)",)))
        with pytest.raises(GalleryError, match="table a already exists"):
            open_gallery(gallery_path)
        monkeypatch.undo()
        with open_gallery(gallery_path) as unchanged:
            assert len(unchanged.samples("Ada")) == 1

    def test_a_gallery_of_the_first_lightface_is_kept_whole(self, gallery_path: Path) -> None:
        gallery_path.parent.mkdir()
        embedding, sha256 = make_vector(1).tobytes().hex(), make_sample(1).image_sha256
        raw(
            gallery_path,
            *sqlite.MIGRATIONS[0],
            f"PRAGMA application_id = {sqlite.APPLICATION_ID}",
            "PRAGMA user_version = 1",
            "INSERT INTO setting VALUES ('created_at', '2026-11-01T10:00:00+00:00'), ('model_id', 'model-a')",
            """INSERT INTO person VALUES (7, 'Ada', 'ada', '{"team": "x"}', '2026-11-01T10:00:00.000000+00:00')""",
            f"INSERT INTO sample VALUES (9, 7, x'{embedding}', '/photos/1.jpg', '{sha256}', 10, 20, 110, 140, 0.99, "
            "0.8, '2026-11-02T10:00:00.000000+00:00')",
            "INSERT INTO threshold VALUES (0.001, 0.4, 'pairs.csv', '2026-11-03T10:00:00.000000+00:00')",
        )
        with open_gallery(gallery_path, model_id="model-a") as gallery:
            ada = find(gallery, "ada")
            assert (ada.id, ada.metadata) == (7, {"team": "x"})
            (sample,) = gallery.samples(7)
            assert (sample.id, sample.source_path, sample.box_px) == (9, "/photos/1.jpg", (10, 20, 110, 140))
            assert sample.vector.tobytes() == make_vector(1).tobytes()
            assert [one.source for one in gallery.thresholds()] == ["pairs.csv"]
            assert gallery.enroll("Bob", [make_sample(2)]).id == 8

    def test_released_steps_are_not_edited(self) -> None:
        assert len(sqlite.MIGRATIONS) == 3
        connection = sqlite3.connect(":memory:")
        for statements in sqlite.MIGRATIONS:
            for statement in statements:
                connection.execute(statement)
        tables = {
            name: [column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")]
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            if not name.startswith("sqlite_")
        }
        assert tables == {
            "setting": ["name", "value"],
            "person": ["id", "name", "name_key", "metadata", "created_at"],
            "sample": [
                *("id", "person_id", "embedding", "source_path", "image_sha256", "x_min", "y_min", "x_max"),
                *("y_max", "det_score", "quality", "created_at"),
            ],
            "threshold": ["far", "threshold", "source", "created_at"],
            "log": ["id", "at", "event", "person_id", "target_id", "sample_id", "similarity"],
        }


class TestNoTrace:
    """After a removal, neither the embedding nor the name is anywhere in the files of the gallery."""

    @pytest.fixture
    def crowded(self, gallery: Gallery) -> Gallery:
        for number in range(40):  # enough for pages to be split, balanced and overflown
            samples = [make_sample(number * 10 + n) for n in range(4)]
            gallery.enroll(f"Person {number:03}", samples, metadata={"note": f"note-{number:03}-" + "x" * 300})
        return gallery

    @staticmethod
    def traces(path: Path, photos: list[int], *words: str) -> list[object]:
        """Which pieces of these photographs' embeddings, paths and hashes, and which words, are in the files."""
        content = bytes_of(path)
        pieces = [make_vector(photo).tobytes()[start : start + 64] for photo in photos for start in range(0, 1024, 64)]
        samples = [make_sample(photo) for photo in photos]
        texts = [text for sample in samples for text in (sample.source_path, sample.image_sha256)]
        found: list[object] = [piece for piece in pieces if piece in content]
        return found + [text for text in (*texts, *words) if text.encode() in content]

    def test_the_search_finds_what_is_there(self, crowded: Gallery, gallery_path: Path) -> None:
        assert len(self.traces(gallery_path, [50], "Person 005", "person005", "note-005")) == 16 + 2 + 3

    def test_of_a_removed_person(self, crowded: Gallery, gallery_path: Path) -> None:
        photos = [50, 51, 52, 53]
        with open_gallery(gallery_path) as idle:  # an open but idle gallery does not keep traces alive
            idle.matrix()
            crowded.remove_person("Person 005")
            assert self.traces(gallery_path, photos, "Person 005", "person005", "note-005") == []
            assert len(idle.matrix().people) == 39
        assert self.traces(gallery_path, [60, 61], "Person 006") != []

    def test_of_everybody_removed_one_by_one(self, crowded: Gallery, gallery_path: Path) -> None:
        for person in crowded.people():
            crowded.remove_person(person.id)
        photos = [number * 10 + n for number in range(40) for n in range(4)]
        assert self.traces(gallery_path, photos, "erson 0", "note-") == []

    def test_of_removed_samples(self, crowded: Gallery, gallery_path: Path) -> None:
        crowded.remove_samples([sample.id for sample in crowded.samples("Person 005") if sample.id])
        assert self.traces(gallery_path, [50, 51, 52, 53]) == []
        assert self.traces(gallery_path, [], "Person 005") != []

    def test_of_old_names_and_metadata(self, crowded: Gallery, gallery_path: Path) -> None:
        crowded.rename_person("Person 005", "Somebody else")
        crowded.merge_people("Person 006", "Person 007")
        crowded.enroll("Person 008", [make_sample(999)], metadata={"note": "short"})
        words = [f"{word}{n}" for n in ("005", "006") for word in ("Person ", "person")]
        assert self.traces(gallery_path, [], *words, "note-006", "note-008") == []

    def test_of_replaced_embeddings(self, crowded: Gallery, gallery_path: Path) -> None:
        ids = [sample.id for sample in crowded.samples() if sample.id]
        old = [make_vector(number * 10 + n).tobytes()[:64] for number in range(40) for n in range(4)]
        crowded.replace_embeddings("model-b", {n: make_vector(n + 5000) for n in ids[2:]}, drop=ids[:2])
        content = bytes_of(gallery_path)
        assert [piece for piece in old if piece in content] == []

    @pytest.mark.usefixtures("short_wait")
    def test_a_reader_in_the_way_is_reported_and_the_next_opening_cleans_up(self, gallery_path: Path) -> None:
        with open_gallery(gallery_path, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1)])
            reader = sqlite3.connect(gallery_path, isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM person").fetchall()
            with pytest.raises(GalleryError, match="done, but traces stay until the gallery is next opened"):
                gallery.remove_person("Ada")
            assert gallery.people() == []
            assert self.traces(gallery_path, [1], "Ada") != []
            with open_gallery(gallery_path) as opened_meanwhile:  # in vain, but not refused
                assert opened_meanwhile.people() == []
            reader.execute("COMMIT")
            reader.close()
            open_gallery(gallery_path).close()
            assert self.traces(gallery_path, [1], "Ada") == []

    def test_a_kill_before_the_cleaning_is_made_good(
        self, gallery: Gallery, gallery_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        monkeypatch.setattr(sqlite.SqliteStore, "purge", lambda store: None)
        gallery.remove_person("Ada")
        monkeypatch.undo()
        assert self.traces(gallery_path, [1], "Ada") != []
        open_gallery(gallery_path).close()
        assert self.traces(gallery_path, [1], "Ada") == []

    def test_enrolling_does_not_rewrite_the_file(
        self, crowded: Gallery, gallery_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_gallery(gallery_path).close()
        statements: list[str] = []
        crowded._store._connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        crowded.enroll("Person 001", [make_sample(998)])
        crowded.enroll("Newcomer", [make_sample(999)], metadata={"note": "first"})
        assert statements and "VACUUM" not in statements


class TestFullDisk:
    def test_a_full_gallery_is_one_error_and_nothing_half_written(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        connection: sqlite3.Connection = gallery._store._connection  # type: ignore[attr-defined]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OutputError, match=r"no room left for .*; nothing was changed"):
            gallery.enroll("Bob", [make_sample(photo) for photo in range(2, 200)])
        assert [person.name for person in gallery.people()] == ["Ada"]
        assert len(gallery.samples()) == 1
        connection.execute("PRAGMA max_page_count = 100000")
        gallery.enroll("Bob", [make_sample(photo) for photo in range(2, 200)])
        assert len(gallery.samples()) == 199

    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from made_up import make_sample
from lightface.errors import OutputError
from lightface.gallery import open_gallery
with open_gallery(Path(sys.argv[1]), create=True) as gallery:
    for done in range(5000):
        try:
            gallery.enroll(f"Person {done}", [make_sample(done * 2), make_sample(done * 2 + 1)])
        except OutputError as error:
            message = str(error)
            break
    assert "no room left" in message or "disk I/O error" in message, message
    assert gallery.stats().sample_count == done * 2
    try:
        gallery.export_to(Path(sys.argv[1]).parent / "export.jsonl")
    except OutputError as error:
        assert "cannot be written" in str(error), error
    else:
        assert False, "there was room for an export"
    left = sorted(path.name for path in Path(sys.argv[1]).parent.iterdir())
    assert left == ["g.sqlite", "g.sqlite-shm", "g.sqlite-wal"], left
with open_gallery(Path(sys.argv[1])) as gallery:
    assert len(gallery.samples()) == done * 2
print("kept", done)
"""

    def test_a_small_file_system(self, tmp_path: Path) -> None:
        namespace = ["unshare", "--user", "--map-root-user", "--mount"]
        if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
            pytest.skip("this machine lets no user mount a small file system")
        command = 'mount -t tmpfs -o size=2M tmpfs "$1" && exec "$2" -c "$3" "$1/g.sqlite" "$4"'
        result = subprocess.run(
            [*namespace, "sh", "-c", command, "sh", tmp_path, sys.executable, self.script, Path(__file__).parent],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert int(result.stdout.split()[1]) > 30


def errors_of_a_read_only_place(path: Path, errors: Queue[str]) -> None:
    if os.getuid() == 0:
        os.setuid(65534)  # for root, file modes mean nothing
    for place, create in ((path, False), (Path(f"{path}.new"), True)):
        try:
            open_gallery(place, create=create)
        except OutputError as error:
            errors.put(str(error))
    errors.close()


def test_a_read_only_place_is_one_error() -> None:
    # Not in pytest's folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.sqlite"
        with open_gallery(path, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1)])
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        context = multiprocessing.get_context("fork")
        errors: Queue[str] = context.Queue()
        process = context.Process(target=errors_of_a_read_only_place, args=(path, errors))
        process.start()
        try:
            assert "make the file and its folder writable" in errors.get(timeout=600)
            assert "choose another place" in errors.get(timeout=600)
        finally:
            process.join()
            Path(folder).chmod(0o755)

"""An encrypted gallery: nothing of it can be read without the key, nothing is lost, nothing can be moved about."""

from __future__ import annotations

import json
import random
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from made_up import find, make_sample, make_vector

from lightface.errors import GalleryError
from lightface.gallery import (
    Gallery,
    GalleryKey,
    KeyFile,
    NewSample,
    Passphrase,
    StoredSample,
    StoredThreshold,
    encryption,
    exchange,
    make_key_file,
    open_gallery,
    search_index,
    sqlite,
)
from lightface.gallery.encryption import GalleryCipher

PASSPHRASE = Passphrase("correct horse")
SWAP_NAMES = (  # of persons 1 and 2
    "CREATE TEMP TABLE old AS SELECT id, name_key FROM person WHERE id IN (1, 2)",
    "UPDATE person SET name_key = 'x' WHERE id = 1",
    "UPDATE person SET name_key = (SELECT name_key FROM old WHERE id = 1) WHERE id = 2",
    "UPDATE person SET name_key = (SELECT name_key FROM old WHERE id = 2) WHERE id = 1",
)


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "SCRYPT_COST", 16)


@pytest.fixture
def place(gallery_path: Path) -> Path:
    return gallery_path


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    for number in range(12):
        samples = [make_sample(number * 10 + n) for n in range(4)]
        gallery.enroll(f"Person {number:03}", samples, metadata={"note": f"note-{number:03}-" + "x" * 300})
    gallery.enroll("Ren\u00e9e \u5f20", [make_sample(999, source_path="/caf\udce9/4.jpg", box_px=None, quality=None)])
    gallery.set_threshold(StoredThreshold(1e-3, 0.1 + 0.2, "/data/pairs.csv"))
    return gallery


def contents(gallery: Gallery) -> list[object]:
    samples: list[object] = [
        {one.name: getattr(sample, one.name) for one in fields(StoredSample) if one.name != "vector"}
        | {"v": sample.vector.tobytes()}
        for sample in gallery.samples()
    ]
    return [gallery.model_id, *gallery.people(), *gallery.thresholds(), *samples]


def small_sample(photo: int) -> NewSample:
    """One whose embedding has the size of those in first_encryption.sql."""
    return make_sample(photo, vector=np.eye(1, 64, photo, dtype=np.float32)[0])


def readable(path: Path) -> list[bytes]:
    """What can be read of the people above in the files at and beside `path`."""
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert len(content) > 20_000
    words = [b"erson 0", b"note-0", b"/photos/", b"pairs.csv", "Ren\u00e9e".encode(), b"\\u5f20", b"/caf"]
    for photo in (*(number * 10 + n for number in range(12) for n in range(4)), 999):
        words.append(make_sample(photo).image_sha256.encode())
        words += [make_vector(photo).tobytes()[start : start + 16] for start in range(0, 1024, 64)]
    return [word for word in words if word in content]


def raw(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def read_header(path: Path) -> str | None:
    connection = sqlite3.connect(path)
    row = connection.execute("SELECT value FROM setting WHERE name = 'sealing'").fetchone()
    connection.close()
    return None if row is None else str(row[0])


class TestAtRest:
    def test_nothing_can_be_read(self, filled: Gallery, gallery_path: Path, key_file: KeyFile) -> None:
        Path(f"{gallery_path}.index").write_bytes(b"codes of Person 000")
        assert len(readable(gallery_path)) > 800
        with open_gallery(gallery_path) as idle:  # which does not keep the past alive
            idle.matrix()
            filled.encrypt(key_file)
            assert readable(gallery_path) == []
        filled.enroll("Person 050", [make_sample(47)], metadata={"note": "note-050"})
        filled.rename_person("Person 001", "Person 051")
        filled.merge_people("Person 002", "Person 003")
        filled.move_sample(1, "Person 004")
        filled.set_threshold(StoredThreshold(1e-4, 0.5, "/data/pairs.csv"))
        filled.replace_embeddings("model-a", {one.id: one.vector for one in filled.samples() if one.id})
        filled.matrix_near(make_vector(1)[np.newaxis], 3)
        assert readable(gallery_path) == []
        filled.close()
        assert readable(gallery_path) == []

    def test_a_gallery_may_be_encrypted_before_it_holds_anybody(
        self, gallery: Gallery, gallery_path: Path, key_file: KeyFile
    ) -> None:
        gallery.encrypt(key_file)
        gallery.enroll("Person 000", [make_sample(1), make_sample(2)])
        assert gallery.encryption == "key file"
        assert readable(gallery_path) == []

    @pytest.mark.parametrize("before", [None, Passphrase("yesterday's")])
    def test_the_gallery_stays_what_it_is(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile, before: GalleryKey | None
    ) -> None:
        expected = contents(filled)
        if before is not None:
            filled.encrypt(before)
        for key in (PASSPHRASE, key_file):
            filled.encrypt(key)
            assert contents(filled) == expected
            with open_gallery(gallery_path, key=key) as opened:
                assert contents(opened) == expected and opened.encryption == key.kind
            with open_gallery(gallery_path, key={key.kind: key}.__getitem__) as opened:
                assert np.array_equal(opened.matrix().vectors, filled.matrix().vectors)
        filled.decrypt()
        assert filled.encryption is None
        with open_gallery(gallery_path) as opened:
            assert contents(opened) == expected

    def test_of_an_old_key_nothing_is_left(self, filled: Gallery, gallery_path: Path) -> None:
        filled.encrypt(PASSPHRASE)
        header = json.loads(read_header(gallery_path) or "")
        connection = sqlite3.connect(gallery_path)
        old = [str(name).encode() for (name,) in connection.execute("SELECT name FROM person")]
        old += [sealed for (sealed,) in connection.execute("SELECT embedding FROM sample")]
        connection.close()
        filled.encrypt(PASSPHRASE)  # the same again, and still another data key
        content = b"".join(file.read_bytes() for file in gallery_path.parent.iterdir())
        assert [part for part in (*old, header["wrapped"].encode()) if part in content] == []

    def test_a_kill_before_the_cleaning_is_made_good(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite.SqliteStore, "purge", lambda store: None)
        filled.encrypt(key_file)
        monkeypatch.undo()
        assert readable(gallery_path) != []
        with pytest.raises(GalleryError, match="is encrypted"):
            open_gallery(gallery_path)  # even without the key
        assert readable(gallery_path) == []
        connection = sqlite3.connect(gallery_path)
        assert connection.execute("SELECT count(*) FROM setting WHERE name = 'scrub_owed'").fetchone() == (0,)
        connection.close()

    def test_a_failure_leaves_everything_as_it_was(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = contents(filled)
        hashes = iter("ab")
        monkeypatch.setattr(exchange, "hash_records", lambda records: next(hashes))
        with pytest.raises(GalleryError, match="nothing was changed"):
            filled.encrypt(key_file)
        monkeypatch.undo()
        assert filled.encryption is None and contents(filled) == expected
        with open_gallery(gallery_path) as opened:
            assert contents(opened) == expected
        filled.encrypt(key_file)
        assert contents(filled) == expected


class TestKill:
    script = """
import sys
from dataclasses import fields
from pathlib import Path
from lightface.gallery import KeyFile, open_gallery
keys = [KeyFile(Path(name)) for name in sys.argv[2:]]
with open_gallery(Path(sys.argv[1])) as gallery:
    print("ready", flush=True)
    while True:
        for key in keys:
            gallery.encrypt(key)
        gallery.decrypt()
"""

    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_is_left_is_whole(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile, tmp_path: Path, seed: int
    ) -> None:
        expected = contents(filled)
        filled.close()
        keys = [key_file, make_key_file(tmp_path / "other.key")]
        command: list[str | Path] = [sys.executable, "-c", self.script, gallery_path, *(key.path for key in keys)]
        for delay in (random.Random(seed).uniform(0, 0.4), 0.1):
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None and process.stdout.readline() == b"ready\n"
                time.sleep(delay)
                process.kill()
            header = read_header(gallery_path)
            for key in keys:
                try:
                    opened = open_gallery(gallery_path, key=key)
                except GalleryError as error:
                    assert "this is not the key file of" in str(error)
                    continue
                with opened:
                    assert contents(opened) == expected
                    assert header is None or readable(gallery_path) == []
                    opened.decrypt()  # for the next kill
                break
            else:
                pytest.fail("neither key opens it")


class TestKeys:
    def refusal(self, path: Path, key: GalleryKey | None) -> str:
        with pytest.raises(GalleryError) as caught:
            open_gallery(path, key=key)
        assert "\n" not in str(caught.value)
        assert caught.value.__suppress_context__ or not isinstance(caught.value.__context__, GalleryError)
        return str(caught.value)

    def test_a_wrong_key_is_one_line(self, filled: Gallery, gallery_path: Path, key_file: KeyFile) -> None:
        filled.encrypt(PASSPHRASE)
        assert self.refusal(gallery_path, None) == f"{gallery_path} is encrypted; give its passphrase"
        assert "is encrypted with a passphrase, not a key file" in self.refusal(gallery_path, key_file)
        message = self.refusal(gallery_path, Passphrase("battery staple"))
        assert message == f"this is not the passphrase of {gallery_path}; give the right one"
        filled.encrypt(key_file)
        other = make_key_file(key_file.path.with_name("other.key"))
        assert "this is not the key file of" in self.refusal(gallery_path, other)
        assert "is encrypted with a key file, not a passphrase" in self.refusal(gallery_path, PASSPHRASE)
        assert "No such file" in self.refusal(gallery_path, KeyFile(Path("gone.key")))
        assert "is not a key file" in self.refusal(gallery_path, KeyFile(gallery_path))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("version", 3),
            ("kind", "magic"),
            ("cost", 2**40),
            ("cost", "a"),
            ("cost", 17),
            ("salt", "x"),
            ("wrapped", 1),
        ],
    )
    def test_a_damaged_lock_is_one_line(self, filled: Gallery, gallery_path: Path, name: str, value: object) -> None:
        filled.encrypt(PASSPHRASE)
        header = json.loads(filled._store.setting("sealing") or "")
        raw(gallery_path, f"UPDATE setting SET value = '{json.dumps({**header, name: value})}' WHERE name = 'sealing'")
        assert "is damaged (the lock of its key)" in self.refusal(gallery_path, PASSPHRASE)

    def test_a_passphrase_is_never_shown_and_the_same_in_every_spelling(
        self, filled: Gallery, gallery_path: Path
    ) -> None:
        key = Passphrase("caf\u00e9 au lait")
        assert "caf" not in repr(key) and "caf" not in f"{key}"
        filled.encrypt(key)
        open_gallery(gallery_path, key=Passphrase("cafe\u0301 au lait")).close()

    def test_a_short_passphrase_is_refused(self, filled: Gallery) -> None:
        with pytest.raises(GalleryError, match="too short; give at least 8 characters"):
            filled.encrypt(Passphrase("1234567"))
        assert filled.encryption is None

    def test_a_key_file_is_the_owners_and_never_overwritten(self, tmp_path: Path) -> None:
        key = make_key_file(tmp_path / "k")
        assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
        assert len(key.read()) == 32 and key.read() != make_key_file(tmp_path / "k2").read()
        with pytest.raises(GalleryError, match="already; name a new one"):
            make_key_file(key.path)
        with pytest.raises(GalleryError, match="cannot be written"):
            make_key_file(tmp_path / "missing" / "k")

    def test_what_was_sealed_once_opens_for_ever(self) -> None:
        wrapped = (
            "0000000000000000000000002eea6d7e6a5d4f08e6757a265fb7b169ffc29df7305a4d87f9484579"
            "2807e36e0eb553323997b89cd8483ae1b9abb188"
        )
        header = (
            '{"version": 1, "kind": "passphrase", "salt": "000102030405060708090a0b0c0d0e0f", "cost": 16, '
            f'"wrapped": "{wrapped}"}}'
        )
        sealed = "00000000000000000000000064f2994b0aed383f445c0f6db7d70cb804e154f71463"
        lock = GalleryCipher.unlock(header, PASSPHRASE, location="g")
        assert lock.decrypt(bytes.fromhex(sealed), b"place") == b"secret"
        assert lock.blind_index("name", "ada") == "598ea761acf9344dd81650510ecd85b231ca31c0560db9b1c308a4a1c67173c1"


class TestIntegrity:
    @pytest.fixture
    def encrypted(self, filled: Gallery, key_file: KeyFile) -> Gallery:
        filled.encrypt(key_file)
        return filled

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE sample SET image_sha256 = iif(id = 1, 'x', image_sha256)",
            "UPDATE person SET name_key = 'x' WHERE id = 1",
            "UPDATE person SET name = (SELECT name FROM person WHERE id = 2) WHERE id = 1",
            "UPDATE sample SET embedding = (SELECT embedding FROM sample WHERE id = 20) WHERE id = 1",
            "UPDATE sample SET person_id = 2 WHERE id = 1",
            "UPDATE sample SET created_at = '2001-01-01T00:00:00.000000+00:00' WHERE id = 1",
            "UPDATE sample SET embedding = x'00' WHERE id = 1",
            "UPDATE person SET name = 'Mallory', metadata = '{}' WHERE id = 1",
            "UPDATE person SET name = '' WHERE id = 1",
            "UPDATE threshold SET threshold = 0.0",
        ],
    )
    def test_what_was_moved_or_changed_does_not_open(
        self, encrypted: Gallery, gallery_path: Path, key_file: KeyFile, change: str
    ) -> None:
        raw(gallery_path, change)
        with (
            open_gallery(gallery_path, key=key_file) as opened,
            pytest.raises(GalleryError, match="is damaged") as caught,
        ):
            contents(opened)
        assert "\n" not in str(caught.value)
        if "sample" in change:
            with open_gallery(gallery_path, key=key_file) as opened, pytest.raises(GalleryError, match="is damaged"):
                opened.matrix()

    def test_a_process_that_does_not_know_yet_writes_nothing_in_clear(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile
    ) -> None:
        actions: list[Callable[[Gallery], object]] = [
            lambda gallery: gallery.enroll("Person 060", [make_sample(5)]),
            lambda gallery: gallery.matrix(),
            lambda gallery: gallery.people(),
            lambda gallery: gallery.rename_person(1, "Person 061"),
        ]
        with open_gallery(gallery_path) as unaware:
            unaware.matrix()
            filled.encrypt(key_file)
            for action in actions:
                with pytest.raises(GalleryError, match="another key, or lost it, meanwhile; run the command again"):
                    action(unaware)
        with open_gallery(gallery_path, key=key_file) as unaware:
            filled.encrypt(PASSPHRASE)
            for action in actions:
                with pytest.raises(GalleryError, match="another key, or lost it, meanwhile; run the command again"):
                    action(unaware)
        assert readable(gallery_path) == []

    def test_two_people_whose_names_were_swapped_are_not_taken_for_one_another(
        self, encrypted: Gallery, gallery_path: Path, key_file: KeyFile
    ) -> None:
        encrypted.close()
        raw(gallery_path, *SWAP_NAMES)
        actions: list[Callable[[Gallery], object]] = [
            lambda gallery: gallery.enroll("Person 000", [make_sample(5000)]),
            lambda gallery: gallery.remove_person("Person 000"),
            lambda gallery: gallery.rename_person("Person 000", "Somebody"),
            lambda gallery: gallery.merge_people("Person 003", "Person 000"),
            lambda gallery: gallery.people(),
        ]
        with open_gallery(gallery_path, key=key_file) as opened:
            for action in actions:
                with pytest.raises(GalleryError, match="is damaged"):
                    action(opened)
        raw(gallery_path, *SWAP_NAMES)  # back again
        with open_gallery(gallery_path, key=key_file) as opened:
            assert len(opened.people()) == 13 and len(opened.samples()) == 49

    def test_nor_in_a_gallery_in_clear(self, filled: Gallery, gallery_path: Path) -> None:
        raw(gallery_path, *SWAP_NAMES)
        with pytest.raises(GalleryError, match="a person is found under another's name"):
            filled.remove_person("Person 000")

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE setting SET value = 'model-b' WHERE name = 'model_id'",
            "UPDATE setting SET value = '1' WHERE name = 'retention_days'",
            "UPDATE setting SET value = (SELECT value FROM setting WHERE name = 'log_days') WHERE name = "
            "'retention_days'",
            "DELETE FROM setting WHERE name = 'model_id'",
        ],
    )
    def test_a_setting_is_what_was_set(
        self, encrypted: Gallery, gallery_path: Path, key_file: KeyFile, change: str
    ) -> None:
        encrypted.log.set_days(5)
        encrypted.retention.set_days(5000)
        encrypted.close()
        raw(gallery_path, change)
        with (
            pytest.raises(GalleryError, match="is damaged"),
            open_gallery(gallery_path, key=key_file, model_id="model-a") as opened,
        ):
            opened.retention.expired()

    def test_what_was_encrypted_cannot_be_passed_off_as_older(
        self, encrypted: Gallery, gallery_path: Path, key_file: KeyFile
    ) -> None:
        encrypted.close()
        header = json.loads(read_header(gallery_path) or "")
        assert header["version"] == 2
        raw(gallery_path, f"UPDATE setting SET value = '{json.dumps({**header, 'version': 1})}' WHERE name = 'sealing'")
        with pytest.raises(GalleryError, match="this is not the key file of"):
            open_gallery(gallery_path, key=key_file)

    def test_an_id_whose_samples_were_kept_is_nobodys_again(
        self, encrypted: Gallery, gallery_path: Path, key_file: KeyFile
    ) -> None:
        (last,) = [person for person in encrypted.people() if "Ren" in person.name]
        encrypted.close()
        raw(gallery_path, f"DELETE FROM person WHERE id = {last.id}", "DELETE FROM sqlite_sequence")
        with open_gallery(gallery_path, key=key_file) as opened:
            assert opened.enroll("Eve", [make_sample(5)]).id > last.id

    def test_lengths_say_little(self, gallery: Gallery, gallery_path: Path, key_file: KeyFile) -> None:
        gallery.encrypt(key_file)
        gallery.enroll("Al", [make_sample(1, source_path="/a")])
        gallery.enroll("Bartholomew Montgomery", [make_sample(2, source_path="/a/rather/long/path.jpg")])
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "a"))
        gallery.set_threshold(StoredThreshold(1e-2, 0.3, "a longer description"))
        connection = sqlite3.connect(gallery_path)
        for column in ("name FROM person", "embedding FROM sample", "source FROM threshold"):
            assert len({len(value) for (value,) in connection.execute(f"SELECT {column}")}) == 1
        connection.close()


class TestFirstEncryption:
    """A gallery that the first lightface that encrypted has left: tests/gallery/first_encryption.sql, made by it."""

    @pytest.fixture
    def old_path(self, gallery_path: Path) -> Path:
        gallery_path.parent.mkdir()
        connection = sqlite3.connect(gallery_path)
        connection.executescript((Path(__file__).parent / "first_encryption.sql").read_text())
        connection.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")
        connection.close()
        return gallery_path

    def check_contents(self, gallery: Gallery) -> None:
        people = {person.name: person.id for person in gallery.people()}
        assert people == {"Ada Lovelace": 1, "Bob  Ray": 2, "Bob Ray": 3}
        for name in ("Ada Lovelace", "Bob  Ray", "Bob Ray"):
            assert find(gallery, name).name == name
        assert find(gallery, "ada lovelace").metadata == {"consent": "form 7"}
        assert [sample.source_path for sample in gallery.samples()][:4] == [f"/photos/{n}.jpg" for n in (1, 2, 3, 4)]
        found = gallery.find_enrolled(make_sample(3).image_sha256)
        assert found is not None and found.person_id == 2 and found.quality == 0.8
        assert gallery.thresholds()[0].source == "/data/pairs.csv"
        assert (gallery.model_id, gallery.log.days, gallery.retention.days) == ("model-a", 365, 3650)
        assert gallery.matrix().vectors.shape[1] == 64

    def test_opens_and_stays_while_it_is_read(self, old_path: Path) -> None:
        header = read_header(old_path)
        with open_gallery(old_path, key=PASSPHRASE, model_id="model-a") as gallery:
            self.check_contents(gallery)
        assert read_header(old_path) == header and json.loads(header or "")["version"] == 1

    def test_is_encrypted_anew_by_the_first_change(self, old_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        connection = sqlite3.connect(old_path)
        old = [str(name).encode() for (name,) in connection.execute("SELECT name FROM person")]
        old += [sealed for (sealed,) in connection.execute("SELECT embedding FROM sample")]
        connection.close()
        with open_gallery(old_path, key=PASSPHRASE) as gallery, open_gallery(old_path, key=PASSPHRASE) as unaware:
            gallery.enroll("Bob Ray", [small_sample(5)])
            assert caplog.messages == [f"{old_path} is encrypted anew: an earlier lightface does not open it any more"]
            self.check_contents(gallery)
            with pytest.raises(GalleryError, match="run the command again"):
                unaware.matrix()
        assert json.loads(read_header(old_path) or "")["version"] == 2
        content = b"".join(file.read_bytes() for file in old_path.parent.iterdir())
        assert [part for part in old if part in content] == []
        with open_gallery(old_path, key=PASSPHRASE) as gallery:
            self.check_contents(gallery)
            assert len(gallery.samples("Bob Ray")) == 2
            gallery.set_metadata("Bob  Ray", {"note": "still there"})
            self.check_contents(gallery)
        with pytest.raises(GalleryError, match="this is not the passphrase"):
            open_gallery(old_path, key=Passphrase("battery staple"))

    def test_is_copied_into_the_format_of_today(self, old_path: Path, tmp_path: Path) -> None:
        path = tmp_path / "copy" / "g.sqlite"
        with open_gallery(old_path, key=PASSPHRASE) as gallery, open_gallery(path, create=True) as copy:
            gallery.copy_to(copy)
            assert contents(copy) == contents(gallery)
        assert json.loads(read_header(old_path) or "")["version"] == 1
        assert json.loads(read_header(path) or "")["version"] == 2
        with open_gallery(path, key=PASSPHRASE) as copy:
            assert [person.name for person in copy.people()] == ["Ada Lovelace", "Bob  Ray", "Bob Ray"]

    def test_a_change_that_fails_leaves_it_as_it_was(self, old_path: Path) -> None:
        header = read_header(old_path)
        with open_gallery(old_path, key=PASSPHRASE) as gallery:
            with pytest.raises(GalleryError, match="no person 'Nobody'"):
                gallery.remove_person("Nobody")
            self.check_contents(gallery)
        assert read_header(old_path) == header

    @pytest.mark.parametrize(
        "swap",
        [
            ("UPDATE person SET name_key = iif(id = 1, 'x', name_key)",),
            ("UPDATE sample SET image_sha256 = (SELECT image_sha256 FROM sample WHERE id = 2) WHERE id = 1",),
        ],
    )
    def test_is_not_rewired_either(self, old_path: Path, swap: tuple[str, ...]) -> None:
        raw(old_path, *swap)
        with open_gallery(old_path, key=PASSPHRASE) as gallery:
            for action in (lambda: contents(gallery), lambda: gallery.enroll("Ada Lovelace", [small_sample(5)])):
                with pytest.raises(GalleryError, match="is damaged"):
                    action()
            assert json.loads(read_header(old_path) or "")["version"] == 1


class TestCopies:
    def test_a_copy_has_the_same_key(self, filled: Gallery, key_file: KeyFile, tmp_path: Path) -> None:
        filled.encrypt(key_file)
        path = tmp_path / "copy" / "g.sqlite"
        with open_gallery(path, create=True) as copy:
            summary = filled.copy_to(copy)
            assert contents(copy) == contents(filled) and copy.encryption == "key file"
        assert readable(path) == []
        with open_gallery(path, key=key_file) as copy:
            assert filled.copy_to(copy).was_there and not summary.was_there

    def test_a_copy_may_be_in_clear_or_have_its_own_key(self, filled: Gallery, tmp_path: Path) -> None:
        filled.encrypt(PASSPHRASE)
        with open_gallery(tmp_path / "clear.sqlite", create=True) as copy:
            filled.copy_to(copy, in_clear=True)
            assert contents(copy) == contents(filled) and copy.encryption is None
        with open_gallery(tmp_path / "own.sqlite", create=True) as copy:
            copy.encrypt(Passphrase("its own key"))
            filled.copy_to(copy)
        with open_gallery(tmp_path / "own.sqlite", key=Passphrase("its own key")) as copy:
            assert contents(copy) == contents(filled)

    def test_a_server_takes_no_secret_unless_told(self, filled: Gallery, key_file: KeyFile, postgres_url: str) -> None:
        filled.encrypt(key_file)
        with open_gallery(postgres_url, create=True) as server:
            for action in (lambda: filled.copy_to(server), lambda: server.encrypt(key_file)):
                with pytest.raises(GalleryError, match="cannot be encrypted by lightface; have its server"):
                    action()
            assert server.people() == [] and server.encryption is None
            assert filled.copy_to(server, in_clear=True).sample_count == 49


class TestSearch:
    def test_a_large_gallery_keeps_no_index_on_disk(
        self, filled: Gallery, gallery_path: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search_index, "PAYS_FROM", 5)
        probe = make_vector(31)[np.newaxis]
        near = [person.name for person in filled.matrix_near(probe, 3).people]
        index = Path(f"{gallery_path}.index")
        assert index.exists()
        filled.encrypt(key_file)
        assert not index.exists()
        assert [person.name for person in filled.matrix_near(probe, 3).people] == near
        filled.enroll("Near", [make_sample(888, vector=make_vector(31))])
        assert "Near" in [person.name for person in filled.matrix_near(probe, 3).people]
        assert not index.exists()
        filled.decrypt()
        filled.matrix_near(probe, 3)
        assert index.exists()

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line

from lightface import doctor
from lightface.cli.face_tables import kept_tables_folder
from lightface.evaluation.cache import CachedFace, EmbeddingCache, default_cache_path
from lightface.gallery import KeyFile, Passphrase, make_key_file, open_gallery
from lightface.gallery import encryption as cipher
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights


@pytest.fixture(autouse=True)
def this_gallery(made_up_gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(made_up_gallery))
    monkeypatch.setattr(cipher, "SCRYPT_COST", 16)


@pytest.fixture
def secret() -> dict[str, str]:
    return {"LIGHTFACE_PASSPHRASE": "correct horse"}


def names_in(path: Path) -> list[str]:
    content = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    return [name for name in ("Émile", "émile", "/photos", "engines") if name.encode() in content]


class TestPassphrase:
    def test_from_a_variable(self, cli: Cli, made_up_gallery: Path, secret: dict[str, str]) -> None:
        assert names_in(made_up_gallery)
        result = cli("gallery", "encrypt", env=secret)
        assert (result.exit_code, result.stdout) == (0, "")
        first, second = result.stderr.splitlines()
        assert first == f"encrypted {made_up_gallery}, 2 people; without its passphrase it is lost"
        assert "backups" in second
        assert names_in(made_up_gallery) == []
        assert "Ada" in cli("gallery", "list", env=secret).stdout
        assert json.loads(cli("gallery", "stats", "--json", env=secret).stdout)["encryption"] == "passphrase"
        assert f"{'encryption':<24}passphrase\n" in cli("gallery", "stats", env=secret).stdout

    def test_asked_for_at_the_terminal(self, cli: Cli, made_up_gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lightface.cli.console.is_terminal", lambda: True)
        result = cli("gallery", "encrypt", input="correct horse\ncorrect hose\ncorrect horse\ncorrect horse\n")
        assert result.exit_code == 0
        assert "horse" not in result.output
        result = cli("gallery", "list", input="correct horse\n")
        assert "Ada" in result.stdout and "horse" not in result.output
        assert f"passphrase of {made_up_gallery}" in result.stderr
        wrong = cli("gallery", "list", input="battery staple\n")
        assert wrong.exit_code == 2
        assert wrong.stderr.endswith(
            f"lightface: this is not the passphrase of {made_up_gallery}; give the right one\n"
        )
        assert "staple" not in wrong.output
        assert cli("gallery", "list", input="").exit_code == 2

    def test_what_is_missing_is_one_line(self, cli: Cli, secret: dict[str, str]) -> None:
        assert_one_line(
            cli("gallery", "encrypt"), "no terminal to ask for the new passphrase; set LIGHTFACE_PASSPHRASE"
        )
        assert_one_line(cli("gallery", "encrypt", env={"LIGHTFACE_PASSPHRASE": "short"}), "at least 8 characters")
        cli("gallery", "encrypt", env=secret)
        assert_one_line(cli("gallery", "list"), "no terminal to ask for the passphrase; set LIGHTFACE_PASSPHRASE")
        wrong = cli("gallery", "list", env={"LIGHTFACE_PASSPHRASE": "battery staple"})
        assert_one_line(wrong, "this is not the passphrase of")
        assert "staple" not in wrong.output
        assert_one_line(cli("gallery", "encrypt", env=secret), "is encrypted already; 'lightface gallery rotate-key'")

    def test_verbose_does_not_show_it(self, cli: Cli, secret: dict[str, str]) -> None:
        cli("gallery", "encrypt", env=secret)
        assert "horse" not in cli("gallery", "list", "--verbose", env=secret).output


class TestKeyFile:
    def test_is_made_and_opens(self, cli: Cli, made_up_gallery: Path, tmp_path: Path) -> None:
        key = tmp_path / "faces.key"
        result = cli("gallery", "encrypt", "--key-file", key)
        assert result.exit_code == 0 and f"made the key file {key}; keep a copy" in result.stderr
        assert names_in(made_up_gallery) == []
        assert "Ada" in cli("gallery", "list", "--key-file", key).stdout
        assert_one_line(cli("gallery", "list"), "is encrypted; name its key file with --key-file")
        assert_one_line(cli("gallery", "list", "--key-file", tmp_path / "gone"), "No such file")

    def test_from_the_configuration(self, cli: Cli, tmp_path: Path) -> None:
        key = make_key_file(tmp_path / "faces.key")
        config = tmp_path / "config.toml"
        config.write_text('key-file = "faces.key"\n')
        environment = {"LIGHTFACE_CONFIG": str(config)}
        assert (
            "the key file is not used; see 'lightface gallery encrypt'"
            in cli("gallery", "list", env=environment).stderr
        )
        assert "made the key file" not in cli("gallery", "encrypt", env=environment).stderr
        assert "Ada" in cli("gallery", "list", env=environment).stdout
        assert key.read()

    def test_a_new_gallery_is_encrypted_from_the_first_byte(self, cli: Cli, tmp_path: Path) -> None:
        path, key = tmp_path / "new.sqlite", tmp_path / "faces.key"
        result = cli("gallery", "encrypt", "--gallery", path, "--key-file", key)
        assert result.exit_code == 0 and "0 people" in result.stderr and "backups" not in result.stderr
        with open_gallery(path, key=KeyFile(key)) as gallery:
            assert gallery.encryption == "key file"


class TestRotation:
    def test_the_old_key_opens_nothing(
        self, cli: Cli, made_up_gallery: Path, tmp_path: Path, secret: dict[str, str]
    ) -> None:
        assert_one_line(cli("gallery", "rotate-key"), "is not encrypted; 'lightface gallery encrypt'")
        cli("gallery", "encrypt", env=secret)
        assert_one_line(cli("gallery", "rotate-key", env=secret), "new passphrase; set LIGHTFACE_NEW_PASSPHRASE")
        result = cli("gallery", "rotate-key", env={**secret, "LIGHTFACE_NEW_PASSPHRASE": "battery staple"})
        assert result.exit_code == 0 and "still open with the old one" in result.stderr
        assert_one_line(cli("gallery", "list", env=secret), "this is not the passphrase of")
        new = {"LIGHTFACE_PASSPHRASE": "battery staple"}
        key = tmp_path / "faces.key"
        assert cli("gallery", "rotate-key", "--new-key-file", key, env=new).exit_code == 0
        assert "Ada" in cli("gallery", "list", "--key-file", key).stdout
        assert names_in(made_up_gallery) == []

    def test_back_to_clear(self, cli: Cli, made_up_gallery: Path, secret: dict[str, str]) -> None:
        assert_one_line(cli("gallery", "decrypt", "--yes"), "is not encrypted")
        cli("gallery", "encrypt", env=secret)
        assert_one_line(cli("gallery", "decrypt", env=secret), "give --yes")
        assert cli("gallery", "decrypt", "--yes", env=secret).exit_code == 0
        assert "Ada" in cli("gallery", "list").stdout
        assert "Émile" in names_in(made_up_gallery)


class TestCopiesAndExports:
    def test_a_copy_keeps_the_key_unless_told(self, cli: Cli, made_up_gallery: Path, secret: dict[str, str]) -> None:
        cli("gallery", "encrypt", env=secret)
        copy, clear = made_up_gallery.with_name("copy.sqlite"), made_up_gallery.with_name("clear.sqlite")
        assert cli("gallery", "copy", made_up_gallery, copy, env=secret).exit_code == 0
        with open_gallery(copy, key=Passphrase("correct horse")) as gallery:
            assert len(gallery.people()) == 2
        assert names_in(copy) == []
        assert cli("gallery", "copy", made_up_gallery, clear, "--in-clear", env=secret).exit_code == 0
        with open_gallery(clear) as gallery:
            assert len(gallery.people()) == 2

    def test_an_export_says_that_it_is_in_clear(
        self, cli: Cli, made_up_gallery: Path, tmp_path: Path, secret: dict[str, str]
    ) -> None:
        file = tmp_path / "export.jsonl"
        assert "in clear" not in cli("gallery", "export", file).stderr
        cli("gallery", "encrypt", env=secret)
        assert "its export is in clear" in cli("gallery", "export", file, env=secret).stderr
        other = tmp_path / "other.sqlite"
        cli("gallery", "encrypt", "--gallery", other, env=secret)
        assert "imported 2 people" in cli("gallery", "import", file, "--gallery", other, env=secret).stderr
        assert names_in(other) == []


def test_the_doctor_does_not_ask_for_the_key(made_up_gallery: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        gallery.encrypt(Passphrase("correct horse"))
    check = doctor._check_gallery(made_up_gallery, find_weights(DEFAULT_WEIGHTS))
    assert check.health is doctor.Health.OK and check.detail == f"{made_up_gallery}: encrypted, and not opened here"


class TestRemoval:
    def test_the_cache_of_evaluate_forgets_the_photographs_too(self, cli: Cli) -> None:
        export = cli("gallery", "export", "-").stdout
        vector = np.eye(256, dtype=np.float32)[0]
        hashes = [f"{number:064x}" for number in (1, 2, 3)]
        with EmbeddingCache(default_cache_path()) as cache:
            cache.add({sha256: CachedFace(vector) for sha256 in hashes}, made_by="a")
            cache.add({hashes[0]: CachedFace(vector)}, made_by="b")
        assert cli("gallery", "remove", "Ada", "--sample", 2, "--yes").exit_code == 0
        with EmbeddingCache(default_cache_path()) as cache:
            assert set(cache.find(hashes, made_by="a")) == {hashes[0], hashes[2]}
        result = cli("gallery", "remove", "Ada", "--yes")
        assert result.exit_code == 0 and "not reached" in result.stderr
        with EmbeddingCache(default_cache_path()) as cache:
            assert set(cache.find(hashes, made_by="a")) == {hashes[2]}
            assert cache.find(hashes, made_by="b") == {}
        assert str(kept_tables_folder()) not in result.stderr
        kept_tables_folder().mkdir()
        default_cache_path().write_bytes(b"no cache")
        result = cli("gallery", "remove", "Émile", "--yes")
        assert result.exit_code == 2 and result.stderr.startswith("removed Émile")
        assert "cannot use the cache" in result.stderr
        default_cache_path().unlink()
        cli("gallery", "import", "-", input=export)
        assert str(kept_tables_folder()) in cli("gallery", "remove", "Émile", "--yes").stderr


class TestLog:
    def test_is_switched_on_and_shown(self, cli: Cli) -> None:
        assert cli("gallery", "log").stderr == "0 entries; the log is off\n"
        assert cli("gallery", "log", "--on").stderr == "the log is on, entries are kept for 365 days\n"
        cli("gallery", "remove", "Ada", "--yes")
        result = cli("gallery", "log")
        assert [line.split()[2:] for line in result.stdout.splitlines()[1:]] == [
            ["log", "on", "-", "-", "-", "-"],
            ["removed", "1", "-", "-", "-"],
        ]
        assert "Ada" not in result.output
        entries = json.loads(cli("gallery", "log", "--json", "--since", "2020-01-01").stdout)
        assert [one["event"] for one in entries] == ["log on", "removed"]
        assert entries[1]["person_id"] == 1 and entries[1]["at"].endswith("+00:00")
        assert json.loads(cli("gallery", "log", "--json", "--since", "2999-01-01").stdout) == []
        assert cli("gallery", "log", "--on", "--keep-days", 0).stderr == "the log is on, entries are kept for ever\n"
        assert cli("gallery", "log", "--on").stderr == "the log is on, entries are kept for ever\n"
        assert cli("gallery", "log", "--off").stderr == "the log is off\n"

    def test_refusals(self, cli: Cli) -> None:
        assert_one_line(cli("gallery", "log", "--keep-days", 3), "--keep-days belongs to --on")
        assert_one_line(cli("gallery", "log", "--on", "--keep-days", -3), "days of the log is -3; give a whole number")
        assert_one_line(cli("gallery", "log", "--since", "yesterday"), "--since")


class TestRetention:
    @pytest.fixture
    def aged(self, made_up_gallery: Path) -> None:
        """Ada and one of her two samples were enrolled long ago, and so was Émile."""
        connection = sqlite3.connect(made_up_gallery)
        connection.execute("UPDATE person SET created_at = '2020-01-01T00:00:00.000000+00:00'")
        connection.execute("UPDATE sample SET created_at = '2020-01-01T00:00:00.000000+00:00' WHERE id <> 2")
        connection.commit()
        connection.close()

    @pytest.mark.usefixtures("aged")
    def test_what_is_too_old_is_shown_and_then_removed(self, cli: Cli) -> None:
        assert cli("gallery", "retention").stderr == "samples are kept for ever\n"
        assert_one_line(cli("gallery", "expire"), "no limit is set; 'lightface gallery retention --days N'")
        older = "samples are kept for 30 days; 1 person and 2 samples are older, see 'lightface gallery expire'\n"
        assert cli("gallery", "retention", "--days", 30).stderr == older
        listed = cli("gallery", "list")
        assert listed.exit_code == 0 and "Ada" in listed.stdout
        assert listed.stderr.startswith("lightface: ") and "past their 30 days; see" in listed.stderr
        assert cli("gallery", "list", "--quiet").stderr == ""
        planned, asked = cli("gallery", "expire", "--dry-run"), cli("gallery", "expire")
        for result in (planned, asked):
            rows = [line.split() for line in result.stdout.splitlines()]
            assert rows == [["person", "name"], ["2", "Émile"], ["sample", "of"], ["1", "Ada"], ["3", "Émile"]]
        assert planned.exit_code == 0 and "1 person and 2 samples would be removed" in planned.stderr
        assert asked.exit_code == 2 and "give --yes" in asked.stderr
        shown = json.loads(cli("gallery", "expire", "--dry-run", "--json").stdout)
        assert shown["samples"] == {"1": 1, "3": 2} and [one["name"] for one in shown["people"]] == ["Émile"]
        result = cli("gallery", "expire", "--yes")
        assert result.exit_code == 0 and "removed 1 person and 2 samples\n" in result.stderr
        people = json.loads(cli("gallery", "list", "--json").stdout)
        assert [(one["id"], one["name"], one["samples"]) for one in people] == [(1, "Ada", 1)]
        assert cli("gallery", "expire").stderr == "nothing is older than it may be\n"
        assert cli("gallery", "retention", "--off").stderr == "samples are kept for ever\n"

    def test_refusals(self, cli: Cli) -> None:
        assert_one_line(cli("gallery", "retention", "--days", 0), "retention in days is 0; give a whole number from 1")
        assert_one_line(cli("gallery", "retention", "--days", 1, "--off"), "contradict each other")


class TestConsent:
    def test_is_noted_shown_exported_and_taken_away(self, cli: Cli, tmp_path: Path) -> None:
        assert cli("gallery", "consent", "ada", "form 7, 2026-11-24").stderr == "noted for Ada\n"
        assert "consent: form 7, 2026-11-24\n" in cli("gallery", "show", "Ada").stdout
        cli("gallery", "export", tmp_path / "export.jsonl")
        assert '"consent": "form 7, 2026-11-24"' in (tmp_path / "export.jsonl").read_text()
        cli("gallery", "consent", "Ada", "")
        assert "consent" not in cli("gallery", "show", "Ada").stdout
        assert_one_line(cli("gallery", "consent", "Nobody", "x"), "no person 'Nobody'")


def test_a_passphrase_for_a_gallery_that_is_not_encrypted_is_told(
    cli: Cli, portrait_gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTFACE_PASSPHRASE", "open sesame")
    listed = cli("gallery", "list", "--gallery", portrait_gallery, "--quiet")
    assert listed.exit_code == 0 and "is not encrypted, the passphrase is not used" in listed.stderr

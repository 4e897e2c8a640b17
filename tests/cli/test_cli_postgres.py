"""The commands on a gallery that is a database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line

from lightface.gallery import open_gallery


@pytest.fixture
def url(postgres_url: str) -> str:
    """With a password, which no command may show."""
    return postgres_url.replace("postgres:@", "postgres:s3cret@")


def test_a_gallery_is_copied_there_used_and_copied_back(
    cli: Cli, made_up_gallery: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = cli("gallery", "copy", made_up_gallery, url)
    assert copied.exit_code == 0, copied.stderr
    assert "copied to postgresql://postgres@/gallery_" in copied.stderr
    assert ": 2 people with 3 samples, export SHA-256 " in copied.stderr
    assert "is the same already" in cli("gallery", "copy", made_up_gallery, url).stderr

    monkeypatch.setenv("LIGHTFACE_GALLERY", url)
    people = json.loads(cli("gallery", "list", "--json").stdout)
    assert [(one["id"], one["name"], one["samples"]) for one in people] == [(1, "Ada", 2), (2, "Émile", 1)]
    assert "team: engines" in cli("gallery", "show", "ada").stdout
    stats = cli("gallery", "stats", "--verbose")
    assert "people                  2" in stats.stdout and "s3cret" not in stats.output
    assert cli("gallery", "rename", "Ada", "Ada Lovelace").exit_code == 0
    assert cli("gallery", "export", "-").stdout.count('"kind": "sample"') == 3
    assert cli("gallery", "audit", "--threshold", "0.5").exit_code in (0, 1)
    removed = cli("gallery", "remove", "Émile", "--yes")
    assert "removed Émile" in removed.stderr and "until VACUUM has run" in removed.stderr

    back = tmp_path / "back.sqlite"
    assert cli("gallery", "copy", url, back).exit_code == 0
    with open_gallery(back) as gallery:
        assert [person.name for person in gallery.people()] == ["Ada Lovelace"]
    assert_one_line(cli("gallery", "copy", made_up_gallery, back), "holds something else than", "name an empty gallery")


def test_the_configuration_file_may_hold_a_url(cli: Cli, url: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'gallery = "{url}"\n')
    result = cli("gallery", "list", env={"LIGHTFACE_CONFIG": str(tmp_path / "config.toml")})
    assert_one_line(result, "there is no gallery in postgresql://postgres@/", "enroll somebody first")
    assert "s3cret" not in result.output


@pytest.mark.parametrize("command", [["list"], ["stats"], ["export", "-"], ["audit"], ["remove", "Ada", "--yes"]])
def test_a_server_that_is_not_there_is_one_line(cli: Cli, command: list[str]) -> None:
    nowhere = "postgresql://ada:s3cret@127.0.0.1:1/faces"
    result = cli("gallery", *command, "--gallery", nowhere)
    assert_one_line(result, "postgresql://ada@127.0.0.1:1/faces cannot be reached")
    assert "s3cret" not in result.output


def test_what_is_not_installed_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightface.gallery.postgres", None)
    monkeypatch.delattr("lightface.gallery.postgres", raising=False)
    result = cli("gallery", "list", "--gallery", "postgresql://ada@db.example/faces")
    assert_one_line(result, "install lightface's extra 'postgres'")

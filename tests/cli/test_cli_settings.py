from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line

from lightface.cli.settings import Settings, config_path, load_settings, option_name, variable_name
from lightface.errors import ConfigError


def write_config(folder: Path, text: str) -> dict[str, str]:
    """The environment that names a configuration file with this text."""
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return {"LIGHTFACE_CONFIG": str(path)}


def test_nothing_is_set_without_a_file() -> None:
    assert load_settings({}, {}) == Settings()


def test_the_file_lies_in_the_users_configuration_folder(user_folders: Path) -> None:
    assert config_path({}) == user_folders / "config" / "lightface" / "config.toml"


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    environment = write_config(tmp_path, 'device = "cpu"\nmin-face-size = 40\n')
    assert load_settings({"device": "cuda", "model": None}, environment) == Settings(device="cuda", min_face_size="40")


def test_a_variable_wins_over_the_file_and_an_option_over_it(cli: Cli, tmp_path: Path, made_up_gallery: Path) -> None:
    missing_a, missing_b = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    environment = write_config(tmp_path, f"gallery = '{missing_a}'\n")
    assert_one_line(cli("gallery", "list", env=environment), str(missing_a))
    environment["LIGHTFACE_GALLERY"] = str(missing_b)
    assert_one_line(cli("gallery", "list", env=environment), str(missing_b))
    assert cli("gallery", "list", "--gallery", made_up_gallery, env=environment).exit_code == 0


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    environment = write_config(tmp_path, 'gallery = "club.sqlite"')
    assert load_settings({}, environment).gallery == str(tmp_path / "club.sqlite")


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings({}, write_config(tmp_path, 'gallery = "~/g.sqlite"')).gallery == "/home/ada/g.sqlite"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('galery = "x"', ["unknown key 'galery'", "did you mean 'gallery'?"]),
        ("min_face_size = 40", ["unknown key 'min_face_size'", "did you mean 'min-face-size'?"]),
        ("xyz = 1", ["known are: allow-truncated, batch-size, det-threshold"]),
        ('batch-size = "many"', ["batch-size is 'many'; it must be a whole number"]),
        ("batch-size = 1.5", ["batch-size is 1.5; it must be a whole number"]),
        ("batch-size = true", ["batch-size is True; it must be a whole number"]),
        ("batch-size = 0", ["config.toml: batch-size is 0; it must be 1 or more"]),
        ("threshold = true", ["threshold is True; it must be a number"]),
        ("threshold = 1.5", ["config.toml: threshold is 1.5; it must be between -1 and 1"]),
        ("threshold = nan", ["config.toml: threshold is nan; it must be between -1 and 1"]),
        ("flip = 1", ["flip is 1; it must be true or false"]),
        ("device = 1", ["device is 1; it must be a text"]),
        ("min-face-size = true", ["min-face-size is True; it must be a text"]),
        ("gallery = 1", ["gallery is 1; it must be a text"]),
        ("gallery = ", ["cannot read the configuration"]),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, write_config(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("min-face-size = 40", {"min_face_size_px": 40}),
        ("min-face-size = 40.5", {"min_face_size_px": 40.5}),
        ('min-face-size = "40"', {"min_face_size_px": 40}),
        ('min-face-size = "5%"', {"min_face_share": 0.05}),
        ('min-face-size = " 12.5 % "', {"min_face_share": 0.125}),
        ("", {}),
    ],
)
def test_a_face_size_is_in_pixels_or_a_share(line: str, expected: dict[str, float], tmp_path: Path) -> None:
    assert load_settings({}, write_config(tmp_path, line)).smallest_face() == expected


@pytest.mark.parametrize("size", ["0", "-1", "0.5", "nan", "inf", "big", "", "%", "0%", "101%", "5%5", "5%%", "5 px"])
def test_a_face_size_that_cannot_be_meant_is_refused(size: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^--min-face-size is '{size}'; it must be 1 pixel or more, or a share"):
        load_settings({"min_face_size": size}, write_config(tmp_path, ""))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*none\.toml, which LIGHTFACE_CONFIG names"):
        load_settings({}, {"LIGHTFACE_CONFIG": str(tmp_path / "none.toml")})


def test_a_file_that_is_a_folder_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_settings({}, {"LIGHTFACE_CONFIG": str(tmp_path)})
    (tmp_path / "latin.toml").write_bytes(b'model = "\xe9"')
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_settings({}, {"LIGHTFACE_CONFIG": str(tmp_path / "latin.toml")})


def test_an_unknown_variable_is_refused(cli: Cli) -> None:
    result = cli("models", "list", env={"LIGHTFACE_GALERY": "x"})
    assert_one_line(result, "unknown environment variable LIGHTFACE_GALERY", "did you mean 'LIGHTFACE_GALLERY'?")


def test_a_variable_that_is_no_number_is_refused(cli: Cli) -> None:
    assert_one_line(
        cli("detect", "x.jpg", env={"LIGHTFACE_MAX_PIXELS": "many"}),
        "LIGHTFACE_MAX_PIXELS is 'many'; it must be a whole",
    )


def test_a_number_out_of_range_is_refused_as_an_option(cli: Cli) -> None:
    assert_one_line(cli("detect", "x.jpg", "--det-threshold", "2"), "--det-threshold is 2; it must be between 0 and 1")


def test_every_setting_is_an_option_of_a_command_with_its_variable(cli: Cli) -> None:
    commands = ("enroll", "verify", "identify", "embed", "detect", "doctor")
    text = " ".join(cli(command, "--help").stdout for command in commands)
    for setting in fields(Settings):
        assert re.search(rf"{option_name(setting.name)}\b", text), setting.name
        assert variable_name(setting.name) in text


def test_turns_are_auto_or_off(cli: Cli, collins_path: Path) -> None:
    assert_one_line(cli("detect", collins_path, "--turns", "left"), "--turns is 'left'; it must be auto or off")

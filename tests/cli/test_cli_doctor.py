from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from command_line import Cli

from lightface.doctor import Check, Health


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the doctor will find; its real checks are tested by themselves."""
    found = [Check("device", Health.OK, "cpu"), Check("weights", Health.NOTE, "no threshold", "measure one")]

    def check_installation(**settings: object) -> Iterator[Check]:
        assert settings == {"device": "cpu"}
        yield from found

    monkeypatch.setattr("lightface.doctor.check_installation", check_installation)
    return found


def test_a_sound_installation_is_well(cli: Cli, checks: list[Check]) -> None:
    result = cli("doctor", "--device", "cpu")
    assert (result.exit_code, result.stderr) == (0, "all is well\n")
    assert result.stdout == "ok    device: cpu\nnote  weights: no threshold\n      -> measure one\n"


def test_a_fault_exits_with_2(cli: Cli, checks: list[Check]) -> None:
    checks.append(Check("parity", Health.FAULT, "cosine 0.9", "install anew"))
    result = cli("doctor", "--device", "cpu", "--json")
    assert (result.exit_code, result.stderr) == (2, "1 of 3 checks failed\n")
    assert [check["health"] for check in json.loads(result.stdout)] == ["ok", "note", "fault"]


def test_a_setting_that_helps_is_named_as_an_option(cli: Cli, checks: list[Check]) -> None:
    checks.append(Check("precision", Health.FAULT, "auto is bf16", "use `precision` fp32"))
    assert "-> use --precision fp32\n" in cli("doctor", "--device", "cpu").stdout
    (*_, last) = json.loads(cli("doctor", "--device", "cpu", "--json").stdout)
    assert last["remedy"] == "use --precision fp32"

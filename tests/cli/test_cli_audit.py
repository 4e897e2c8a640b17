"""The audit on the command line: what it prints, what it asks, and what an answer does."""

from __future__ import annotations

import json
import shlex
import stat
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line
from PIL import Image

from lightface.gallery import NewSample, open_gallery

HOSTILE = "<script>alert(1)</script>"


def sample(folder: Path, number: int, axis: int, *, cosine: float = 0.7) -> NewSample:
    """A face of cosine `cosine` to an axis, in a photograph of its own."""
    from lightface.images import hash_file

    path = folder / f"{number}.png"
    Image.new("RGB", (80, 80), (10 * number, 100, 50)).save(path)
    vector = np.zeros(256, np.float32)
    vector[axis], vector[100 + number] = cosine, np.sqrt(1 - cosine**2)
    return NewSample(
        vector=vector,
        model_id="someone-else's-weights",
        source_path=str(path),
        image_sha256=hash_file(path),
        box_px=(10.0, 10.0, 60.0, 70.0),
        quality=0.75,
    )


@pytest.fixture
def doubtful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada is enrolled twice, and one of Bo's five photographs, sample 9, is a hostile person's."""
    path = tmp_path / "doubtful.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number, (name, axis) in enumerate([*[("Ada", 1)] * 3, *[("Ada L.", 1)] * 2, *[("Bo", 2)] * 4, ("Bo", 3)]):
            # numbers from 0 are ids from 1
            gallery.enroll(name, [sample(tmp_path, number, axis)])
        gallery.enroll(HOSTILE, [sample(tmp_path, 20 + number, 3) for number in range(3)])
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(path))
    monkeypatch.setenv("LIGHTFACE_THRESHOLD", "0.4")
    return path


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.cli.audit._is_terminal", lambda: True)


def owners(path: Path) -> dict[int, str]:
    with open_gallery(path) as gallery:
        names = {person.id: person.name for person in gallery.people()}
        return {sample.id or 0: names[sample.person_id or 0] for sample in gallery.samples()}


def test_a_doubtful_gallery_is_exit_code_1(cli: Cli, doubtful: Path) -> None:
    before = doubtful.read_bytes()
    result = cli("gallery", "audit")
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["likely", "mislabelled", "(1)"] in lines
    (stray,) = [line for line in lines if line[:2] == ["10", "Bo"]]
    assert stray[2] == "0.000" and stray[3] == HOSTILE and stray[-1].endswith("/9.png")
    assert ["perhaps", "one", "person", "enrolled", "twice", "(1)"] in lines
    assert any(line[:4] == ["Ada", "3", "Ada", "L."] for line in lines)
    assert result.stderr == "4 people with 13 samples at threshold 0.400: 2 doubts as to who is who\n"
    assert doubtful.read_bytes() == before


def test_a_sound_gallery_is_exit_code_0(cli: Cli, doubtful: Path) -> None:
    cli("gallery", "merge", "Ada L.", "Ada", "--yes")
    cli("gallery", "remove", "Bo", "--sample", "10", "--yes")
    result = cli("gallery", "audit")
    assert (result.exit_code, result.stdout) == (0, "")
    assert cli("gallery", "audit", "--quiet").stderr == ""


def test_nobody_is_enrolled(cli: Cli, doubtful: Path) -> None:
    for person in ("Ada", "Ada L.", "Bo", HOSTILE):
        cli("gallery", "remove", person, "--yes")
    assert cli("gallery", "audit").exit_code == 0


def test_as_json(cli: Cli, doubtful: Path) -> None:
    result = cli("gallery", "audit", "--json")
    assert result.exit_code == 1
    audit = json.loads(result.stdout)
    assert (audit["doubts"], audit["person_count"], audit["threshold"]) == (2, 4, 0.4)
    (stray,) = audit["mislabelled"]
    assert (stray["sample"]["id"], stray["nearest_other"]["person_name"]) == (10, HOSTILE)
    assert audit["close_people"][0]["b"] == {"id": 2, "name": "Ada L.", "sample_count": 2}
    assert "vector" not in result.stdout


def test_as_a_page(cli: Cli, doubtful: Path, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    (tmp_path / "0.png").write_bytes(b"changed since")
    assert cli("gallery", "audit", "--html", page).exit_code == 1
    html = page.read_text(encoding="utf-8")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert HOSTILE not in html and "&lt;script&gt;alert(1)" in html
    assert html.count("data:image/jpeg;base64,") + html.count('class="gone"') == 5
    assert_one_line(cli("gallery", "audit", "--html", tmp_path / "audit.pdf"), ".html")


def test_a_threshold_must_be_known(cli: Cli, doubtful: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIGHTFACE_THRESHOLD")
    assert_one_line(cli("gallery", "audit"), "not registered here", "calibrate", "--threshold")


def test_fix_needs_somebody_to_ask(cli: Cli, doubtful: Path) -> None:
    assert_one_line(cli("gallery", "audit", "--fix"), "nobody can be asked")
    assert_one_line(cli("gallery", "audit", "--fix", "--json"), "one of the two")


@pytest.mark.usefixtures("at_terminal")
def test_fix_moves_and_merges(cli: Cli, doubtful: Path) -> None:
    result = cli("gallery", "audit", "--fix", input="m\nmerge\n")
    assert result.exit_code == 0, result.output
    assert "moved sample 10 to <script>" in result.stderr and "Ada L. is Ada now\n" in result.stderr
    assert result.stderr.endswith("0 doubts are left\n")
    assert owners(doubtful) == {
        **dict.fromkeys(range(1, 6), "Ada"),
        **dict.fromkeys(range(6, 10), "Bo"),
        **dict.fromkeys(range(10, 14), HOSTILE),
    }


@pytest.mark.usefixtures("at_terminal")
def test_fix_removes(cli: Cli, doubtful: Path) -> None:
    result = cli("gallery", "audit", "--fix", input="what?\nremove\nk\n")
    assert result.exit_code == 1
    assert owners(doubtful).keys() == set(range(1, 14)) - {10}
    assert result.stderr.endswith("1 doubt is left\n")


@pytest.mark.usefixtures("at_terminal")
def test_enter_changes_nothing(cli: Cli, doubtful: Path) -> None:
    before = doubtful.read_bytes()
    result = cli("gallery", "audit", "--fix", input="\n\n")
    assert result.exit_code == 1
    assert doubtful.read_bytes() == before


@pytest.mark.usefixtures("at_terminal")
def test_who_stops_keeps_what_was_answered(cli: Cli, doubtful: Path) -> None:
    result = cli("gallery", "audit", "--fix", input="move\n")  # and then the input ends, as at Ctrl-C
    assert result.exit_code == 2
    assert result.stderr.endswith("lightface: interrupted; what was finished is kept\n")
    assert owners(doubtful)[10] == HOSTILE
    assert owners(doubtful)[4] == "Ada L."


@pytest.mark.usefixtures("at_terminal")
@pytest.mark.parametrize(("answer", "left"), [("f", {2}), ("second", {1}), ("", {1, 2})])
def test_fix_of_one_picture_twice(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: set[int]
) -> None:
    path = tmp_path / "twice.sqlite"
    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [sample(tmp_path, number, 1, cosine=0.99) for number in (1, 2)])
    result = cli("gallery", "audit", "--fix", "--gallery", path, "--threshold", "0.4", input=f"{answer}\n")
    assert result.exit_code == 0
    assert owners(path).keys() == left


# --- several people under one name ------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada's samples 4 and 5 are one other person's, 6 is a stranger's; 10 and 11, O'Neil's, do not agree."""
    path = tmp_path / "mixed gallery.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number, axis in enumerate([1, 1, 1, 2, 2, 3]):
            gallery.enroll("Ada", [sample(tmp_path, number, axis)])
        gallery.enroll("Bo", [sample(tmp_path, 10 + number, 4) for number in range(3)])
        gallery.enroll("-O'Neil", [sample(tmp_path, 20 + number, 5 + number) for number in range(2)])
    monkeypatch.setenv("LIGHTFACE_THRESHOLD", "0.4")
    return path


def test_people_with_several_under_their_name_are_a_doubt(cli: Cli, mixed: Path, tmp_path: Path) -> None:
    result = cli("gallery", "audit", "--gallery", mixed)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "perhaps several people under one name (2)" in lines
    assert [line.split()[:-1] for line in lines if line.startswith("Ada ") and line.endswith("/5.png")] == [
        ["Ada", "6", "0.000", "-"]
    ]
    assert f"mend: lightface gallery remove --gallery '{mixed}' --sample 6 --yes Ada" in lines
    assert f"mend: lightface gallery move --gallery '{mixed}' --sample 4 --sample 5 '--to=Ada 2' Ada" in lines
    assert "nothing says which of the samples are -O'Neil's: look at the photographs" in result.stderr
    assert result.stderr.endswith("3 people with 11 samples at threshold 0.400: 2 doubts as to who is who\n")


def test_the_commands_mend_what_was_found(cli: Cli, mixed: Path) -> None:
    audit = json.loads(cli("gallery", "audit", "--gallery", mixed, "--json").stdout)
    assert (audit["doubts"], len(audit["mixed"]), len(audit["mend"])) == (2, 2, 3)
    assert [len(part["samples"]) for part in audit["mixed"][0]["parts"]] in ([3, 2, 1], [1, 1])
    for line in audit["mend"]:
        program, *words = shlex.split(line)
        assert program == "lightface"
        assert cli(*words).exit_code == 0, line
    assert owners(mixed) == {
        **dict.fromkeys((1, 2, 3), "Ada"),
        **dict.fromkeys((4, 5), "Ada 2"),
        **dict.fromkeys((7, 8, 9), "Bo"),
        10: "-O'Neil",
    }
    assert cli("gallery", "audit", "--gallery", mixed).exit_code == 0


def test_who_is_two_people_is_shown_on_the_page(cli: Cli, mixed: Path, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    cli("gallery", "audit", "--gallery", mixed, "--html", page)
    html = page.read_text(encoding="utf-8")
    assert html.count("part 1 of 3") == html.count("part 3 of 3") == html.count("part 2 of 2") == 1
    assert html.count("data:image/jpeg;base64,") == 8
    assert "--sample 4 --sample 5 '--to=Ada 2' Ada" in unescape(html)


@pytest.mark.usefixtures("at_terminal")
def test_fix_splits_and_removes(cli: Cli, mixed: Path) -> None:
    result = cli("gallery", "audit", "--fix", "--gallery", mixed, input="s\nr\nk\n")
    assert result.exit_code == 1, result.output
    assert "moved 2 samples of Ada to Ada 2\n" in result.stderr and "removed 1 sample of Ada\n" in result.stderr
    assert result.stderr.endswith("1 doubt is left\n")
    assert owners(mixed) == {
        **dict.fromkeys((1, 2, 3), "Ada"),
        **dict.fromkeys((4, 5), "Ada 2"),
        **dict.fromkeys((7, 8, 9), "Bo"),
        **dict.fromkeys((10, 11), "-O'Neil"),
    }


def test_each_part_of_somebody_gets_a_name_of_its_own(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number, axis in enumerate([1, 1, 1, 2, 2, 3, 3]):
            gallery.enroll("Ada", [sample(tmp_path, number, axis)])
        gallery.enroll("Ada 2", [sample(tmp_path, 20, 4)])
    result = cli("gallery", "audit", "--gallery", path, "--threshold", "0.4")
    lines = [line for line in result.stdout.splitlines() if line.startswith("mend: ")]
    assert ["'--to=Ada 3' Ada" in lines[0], "'--to=Ada 4' Ada" in lines[1]] == [True, True]


def mend(cli: Cli, path: Path, *, threshold: str = "0.4") -> list[str]:
    """Type every command that an audit writes; what it is about. None may fail."""
    audit = json.loads(cli("gallery", "audit", "--gallery", path, "--threshold", threshold, "--json").stdout)
    for line in audit["mend"]:
        assert cli(*shlex.split(line)[1:]).exit_code == 0, line
    return [" ".join(shlex.split(line)[1:3]) for line in audit["mend"]]


def test_one_person_under_three_names_becomes_one(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "three.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number, name in enumerate(["Ada", "Ada L.", "A. L."]):
            gallery.enroll(name, [sample(tmp_path, number, 1, cosine=0.9)])
    assert mend(cli, path) == ["gallery merge"] * 2  # of three pairs the third says nothing more
    assert len(set(owners(path).values())) == 1 and len(owners(path)) == 3
    assert cli("gallery", "audit", "--gallery", path, "--threshold", "0.4").exit_code == 0


def test_a_picture_under_two_names_is_left_to_the_one_it_resembles(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [sample(tmp_path, number, 1) for number in range(4)])
        gallery.enroll("Bo", [sample(tmp_path, 10 + number, 4) for number in range(3)])
        # Bo's fourth picture is of Ada's face, though not so that it is nearer to her by much.
        shared = np.zeros(256, np.float32)
        shared[1], shared[4] = 0.71, np.sqrt(1 - 0.71**2)
        for name, number in (("Ada", 20), ("Bo", 21)):
            gallery.enroll(name, [replace(sample(tmp_path, number, 1), vector=shared)])
    audit = json.loads(cli("gallery", "audit", "--gallery", path, "--threshold", "0.4", "--json").stdout)
    assert audit["mislabelled"] == audit["mixed"] == audit["close_people"] == []
    assert audit["doubts"] == 1 and audit["repeated"][0]["misplaced"]["person_name"] == "Bo"
    assert mend(cli, path) == ["gallery remove"]
    assert cli("gallery", "audit", "--gallery", path, "--threshold", "0.4").exit_code == 0
    assert sorted(owners(path).values()) == ["Ada"] * 5 + ["Bo"] * 3


def test_samples_are_moved(cli: Cli, mixed: Path) -> None:
    move = ("gallery", "move", "--gallery", mixed)
    result = cli(*move, "Ada", "--to", "Bo", "--sample", "6")
    assert (result.exit_code, result.stderr) == (0, "moved 1 sample of Ada to Bo (id 2)\n")
    result = cli(*move, "Ada", "--to", "New", "--sample", "4", "--sample", "5")
    assert (result.exit_code, result.stderr) == (0, "moved 2 samples of Ada to New (id 4)\n")
    assert [owners(mixed)[number] for number in (4, 5, 6)] == ["New", "New", "Bo"]
    assert_one_line(cli(*move, "Ada", "--to", "Bo", "--sample", "4"), "'Ada' has no sample 4", "gallery show")
    result = cli(*move, "New", "--to", "Bo", "--sample", "4", "--sample", "5")
    assert result.stderr.endswith("New stays without a sample; 'lightface gallery remove' removes the person\n")


@pytest.fixture
def two_in_one(doubtful: Path) -> Path:
    """Under the name of Bo there are his four photographs and three of a hostile person, samples 11 to 13."""
    with open_gallery(doubtful) as gallery:
        gallery.remove_samples([10])
        gallery.merge_people(HOSTILE, "Bo")
    return doubtful


def test_split_shows_the_parts_and_gives_one_to_a_new_person(cli: Cli, two_in_one: Path, tmp_path: Path) -> None:
    before, page = owners(two_in_one), tmp_path / "parts.html"
    shown = cli("gallery", "split", "bo", "--dry-run", "--sheet", page)
    assert shown.exit_code == 0, shown.output
    parts = [line.split()[: 2 + count] for line, count in zip(shown.stdout.splitlines()[1:], (3, 2), strict=True)]
    assert parts == [["1", "6", "7", "8", "9"], ["2", "11", "12", "13"]]
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 7
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert owners(two_in_one) == before
    assert_one_line(cli("gallery", "split", "Bo"), "nobody says who the other part is", "--to")
    assert_one_line(cli("gallery", "split", "Bo", "--yes"), "--to")
    assert cli("gallery", "split", "Bo", "--to", "Cy").exit_code == 2  # without a terminal, nobody agrees
    assert owners(two_in_one) == before
    done = cli("gallery", "split", "Bo", "--to", "Cy", "--yes")
    assert (done.exit_code, done.stderr) == (0, "moved 3 samples of Bo to Cy (id 5)\n")
    assert owners(two_in_one) == {**before, 11: "Cy", 12: "Cy", 13: "Cy"}
    assert_one_line(cli("gallery", "split", "Bo", "--to", "Di", "--yes"), "alike at threshold 0.400", "gallery move")


def test_split_gives_a_part_to_somebody_known_and_never_guesses(cli: Cli, two_in_one: Path) -> None:
    refused = cli("gallery", "split", "Bo", "--to", "Ada", "--part", 3, "--yes")
    assert refused.exit_code == 2 and "there is no part 3, but 2 of them" in refused.stderr
    assert cli("gallery", "split", "Bo", "--to", "bo", "--yes").exit_code == 2
    assert cli("gallery", "split", "Bo", "--to", "ada", "--part", 1, "--yes").exit_code == 0
    assert [id for id, name in owners(two_in_one).items() if name == "Bo"] == [11, 12, 13]
    with open_gallery(two_in_one) as gallery:
        gallery.remove_samples([8, 9, 13])
        gallery.give_samples("Ada", {"Bo": [6, 7]})
    tie = cli("gallery", "split", "Bo", "--to", "Cy", "--yes")
    assert tie.exit_code == 2 and "nothing says which part is 'Bo'" in tie.stderr
    assert cli("gallery", "split", "Bo", "--to", "Cy", "--part", 1, "--yes").exit_code == 0
    assert [id for id, name in owners(two_in_one).items() if name == "Cy"] == [6, 7]


@pytest.mark.parametrize(("answers", "moved"), [("\nCy\n", {11: "Cy", 12: "Cy", 13: "Cy"}), ("\n\n", {})])
def test_split_asks_for_each_part(
    cli: Cli, two_in_one: Path, monkeypatch: pytest.MonkeyPatch, answers: str, moved: dict[int, str]
) -> None:
    monkeypatch.setattr("lightface.cli.gallery.is_terminal", lambda: True)
    before = owners(two_in_one)
    result = cli("gallery", "split", "Bo", input=answers)
    assert result.exit_code == 0, result.output
    assert "Part 2, 3 samples: who is that? (Enter: Bo)" in result.stderr
    assert owners(two_in_one) == {**before, **moved}
    assert ("Bo stays as before" in result.stderr) == (not moved)

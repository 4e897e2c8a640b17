"""The jobs as a user meets them: real portraits, the real networks, what is printed and how it exits."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import make_colour_pipeline, paint_people, paint_person
from PIL import Image

from lightface.gallery import StoredThreshold, default_gallery_path, open_gallery
from lightface.matching import template_factor
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights
from lightface.records import ByteArray, Status
from lightface.tables import read_faces

THRESHOLD_OF_WEIGHTS = find_weights(DEFAULT_WEIGHTS).thresholds["1e-3"]


def people_of(path: Path) -> dict[str, int]:
    with open_gallery(path) as gallery:
        return {person.name: len(gallery.samples(person.id)) for person in gallery.people()}


# --- enroll -----------------------------------------------------------------------------------------


def test_enroll_lists_what_became_of_each_photograph(
    cli: Cli, tmp_path: Path, grace_hopper_path: Path, hopper_mirrored_path: Path, landscape_path: Path, both_path: Path
) -> None:
    gallery = tmp_path / "g.sqlite"
    arguments = ["enroll", "Grace Hopper", grace_hopper_path, hopper_mirrored_path, landscape_path, both_path]
    result = cli(*arguments, "--gallery", gallery, "--consent", "form 1")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [
        ("enrolled", str(grace_hopper_path)),
        ("enrolled", str(hopper_mirrored_path)),
        ("rejected", "face_not_found"),
        ("rejected", "multiple_faces"),
    ]
    assert f"lightface: {landscape_path}: no face found" in result.stderr
    assert f"lightface: {both_path}: 2 faces found where one is required" in result.stderr
    assert result.stderr.endswith("enrolled 2 of 4 photographs; 0 were enrolled already, 2 refused\n")
    assert people_of(gallery) == {"Grace Hopper": 2}
    again = cli(*arguments[:3], "--gallery", gallery, "--consent", "form 7", "--metadata", "age=adult")
    assert again.exit_code == 0
    assert again.stderr == "enrolled 0 of 1 photograph; 1 was enrolled already, 0 refused\n"
    shown = cli("gallery", "show", "Grace Hopper", "--gallery", gallery).stdout
    assert "consent: form 7\n" in shown and "age: adult\n" in shown


def test_verbose_says_for_whom_the_threshold_was_measured(
    cli: Cli, tmp_path: Path, grace_hopper_path: Path, collins_path: Path
) -> None:
    gallery = tmp_path / "g.sqlite"
    verify = ("verify", grace_hopper_path, collins_path, "--gallery", gallery)
    whom = "a false-accept rate of 1e-3 among those whom it was measured on (725,600 pairs of different people among 60"
    plain, verbose = cli(*verify), cli(*verify, "--verbose")
    assert whom in verbose.stderr and "such as children" in verbose.stderr
    assert "false-accept rate" not in plain.stderr and plain.stdout == verbose.stdout
    assert "as given: how often" in cli(*verify, "--verbose", "--threshold", "0.6").stderr
    cli("enroll", "Grace Hopper", grace_hopper_path, "--gallery", gallery)
    identify = ("identify", collins_path, "--gallery", gallery, "--verbose")
    assert whom in cli(*identify).stderr
    with open_gallery(gallery) as opened:
        opened.set_threshold(StoredThreshold(1e-2, 0.5, "12 children"))
    for result in (cli(*identify), cli(*verify, "--verbose")):
        assert "a false-accept rate of 0.01 among those whom it was measured on (12 children)" in result.stderr
    for command in ("verify", "identify", "models"):
        assert "measured on" in cli(command, *(["info"] if command == "models" else ["--help"])).stdout


def test_enroll_a_folder_of_people(cli: Cli, tmp_path: Path, grace_hopper_path: Path, collins_path: Path) -> None:
    for name, photo in (("Grace Hopper", grace_hopper_path), ("Eileen Collins", collins_path)):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "people" / name)
    gallery = tmp_path / "g.sqlite"
    result = cli("enroll", "--people", tmp_path / "people", "--gallery", gallery, "--json")
    assert result.exit_code == 0
    assert [(row["person_name"], row["status"], row["error"]) for row in json.loads(result.stdout)] == [
        ("Eileen Collins", "enrolled", None),
        ("Grace Hopper", "enrolled", None),
    ]
    assert people_of(gallery) == {"Eileen Collins": 1, "Grace Hopper": 1}


def test_enroll_takes_the_face_that_is_chosen(cli: Cli, tmp_path: Path, both_path: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    assert cli("enroll", "Hopper", both_path, "--gallery", gallery).exit_code == 2
    assert people_of(gallery) == {}
    assert cli("enroll", "Hopper", both_path, "--gallery", gallery, "--face-selection", "largest").exit_code == 0
    with open_gallery(gallery) as opened:
        (sample,) = opened.samples("Hopper")
    assert sample.box_px is not None and sample.box_px[2] < 512  # hers is the left half


def test_enroll_of_nobody_is_refused(cli: Cli, tmp_path: Path, grace_hopper_path: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    wrong: list[tuple[list[object], str]] = [
        ([], "nobody to enroll"),
        (["Ada"], "nobody to enroll"),
        ([grace_hopper_path, grace_hopper_path], "the name comes first"),
        (["Ada", grace_hopper_path, "--people", tmp_path], "give either a name"),
        (["Ada", tmp_path / "none.jpg"], "none.jpg' does not exist"),
        (["Ada", tmp_path], "there is no photograph"),
        (["--people", tmp_path], "has photographs; expected a folder a person"),
        (["Ada", grace_hopper_path, "--face-selection", "all"], "not all one person"),
        ([" ", grace_hopper_path], "a person's name is empty"),
    ]
    for arguments, words in wrong:
        assert_one_line(cli("enroll", *arguments, "--gallery", gallery), words)


def test_a_photograph_of_somebody_else_is_refused(cli: Cli, portrait_gallery: Path, collins_path: Path) -> None:
    result = cli("enroll", "Grace Hopper", collins_path, "--gallery", portrait_gallery)
    assert result.exit_code == 2
    assert "identity_conflict" in result.stdout
    assert "is enrolled for 'Eileen Collins'" in result.stderr and result.stderr.count("\n") == 1
    assert people_of(portrait_gallery) == {"Eileen Collins": 1, "Grace Hopper": 1}


def test_somebody_else_is_refused_unless_it_is_meant(
    cli: Cli, portrait_gallery: Path, hopper_mirrored_path: Path, tmp_path: Path
) -> None:
    """Another photograph of Grace Hopper, for Eileen Collins and for a new person."""
    for name in ("Eileen Collins", "G. H."):
        arguments = ["enroll", name, hopper_mirrored_path, "--gallery", portrait_gallery]
        result = cli(*arguments)
        assert result.exit_code == 2
        assert result.stdout.splitlines()[1].split()[-1] == "identity_conflict"
        assert f"resembles 'Grace Hopper' more than {name!r} (similarity 0." in result.stderr
        assert result.stderr.endswith("or give --even-if-alike\n") and result.stderr.count("\n") == 1
        (row,) = json.loads(cli(*arguments, "--json").stdout)
        assert (row["status"], row["error"]) == ("rejected", "identity_conflict")
        assert row["alike"]["person_name"] == "Grace Hopper" and row["alike"]["similarity"] > 0.9
    assert people_of(portrait_gallery) == {"Eileen Collins": 1, "Grace Hopper": 1}
    assert cli(*arguments, "--threshold", "0.9999").exit_code == 0
    assert cli("gallery", "remove", "G. H.", "--yes", "--gallery", portrait_gallery).exit_code == 0
    assert cli(*arguments, "--even-if-alike").exit_code == 0
    assert people_of(portrait_gallery) == {"Eileen Collins": 1, "Grace Hopper": 1, "G. H.": 1}


def test_a_stranger_among_a_persons_photographs_is_told_and_mended(
    cli: Cli, tmp_path: Path, grace_hopper_path: Path, hopper_mirrored_path: Path, collins_path: Path
) -> None:
    gallery = tmp_path / "g.sqlite"
    photos = [grace_hopper_path, hopper_mirrored_path, collins_path]
    result = cli("enroll", "Grace Hopper", *photos, "--gallery", gallery)
    assert result.exit_code == 0
    assert f"{collins_path} is unlike the other photographs of Grace Hopper: similarity 0." in result.stderr
    assert result.stderr.endswith("enrolled 3 of 3 photographs; 0 were enrolled already, 0 refused\n")
    again = json.loads(cli("enroll", "Hopper", *photos, "--gallery", tmp_path / "h.sqlite", "--json").stdout)
    assert [row["unlike"] and Path(row["unlike"]["source_path"]) in photos[:2] for row in again] == [None, None, True]
    audit = cli("gallery", "audit", "--gallery", gallery)
    assert audit.exit_code == 1
    (line,) = [line for line in audit.stdout.splitlines() if line.startswith("mend: lightface ")]
    assert cli(*shlex.split(line)[2:]).exit_code == 0
    with open_gallery(gallery) as opened:
        assert {sample.source_path for sample in opened.samples()} == {str(path) for path in photos[:2]}
    assert cli("gallery", "audit", "--gallery", gallery).exit_code == 0


def test_another_models_gallery_names_the_way_out(cli: Cli, made_up_gallery: Path, grace_hopper_path: Path) -> None:
    for command in (["enroll", "Ada", grace_hopper_path], ["identify", grace_hopper_path]):
        assert_one_line(cli(*command, "--gallery", made_up_gallery), "lightcnn9-000000000000", "gallery reembed")


# --- verify -----------------------------------------------------------------------------------------


def test_verify_says_same(cli: Cli, grace_hopper_path: Path, hopper_mirrored_path: Path, tmp_path: Path) -> None:
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0
    first, *faces = result.stdout.splitlines()
    assert first.startswith("same: similarity 0.") and ", threshold 0." in first
    assert [line.split(":")[0].strip() for line in faces] == [str(grace_hopper_path), str(hopper_mirrored_path)]
    assert Image.open(tmp_path / "sheet.png").size[0] > 2 * 384


def test_verify_refuses_a_sheet_it_cannot_write_before_the_work(
    cli: Cli, grace_hopper_path: Path, tmp_path: Path
) -> None:
    for sheet, complaint in [("x.zzz", "cannot write a picture as '.zzz'"), ("none/x.png", "there is no folder")]:
        result = cli("verify", grace_hopper_path, grace_hopper_path, "--sheet", tmp_path / sheet)
        assert_one_line(result, complaint)
        assert "same" not in result.stdout
    photo = tmp_path / "grace.jpg"
    photo.write_bytes(before := grace_hopper_path.read_bytes())
    assert_one_line(cli("verify", photo, grace_hopper_path, "--sheet", photo), "--sheet would replace", "name another")
    assert photo.read_bytes() == before


def test_verify_says_different(cli: Cli, grace_hopper_path: Path, collins_path: Path) -> None:
    result = cli("verify", grace_hopper_path, collins_path, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["status"] == "different"
    assert answer["similarity"] < answer["threshold"]
    assert [face["image_path"] for face in answer["faces"]] == [str(grace_hopper_path), str(collins_path)]
    assert all(len(face["bbox"]) == 4 for face in answer["faces"])
    forced = cli("verify", grace_hopper_path, collins_path, "--threshold", "-1")
    assert (forced.exit_code, forced.stdout[:5]) == (0, "same:")


def test_verify_tells_that_it_takes_the_largest_of_several_faces(
    cli: Cli, both_path: Path, grace_hopper_path: Path
) -> None:
    told = cli("verify", both_path, grace_hopper_path)
    assert told.stderr == f"{both_path}: 2 faces, the largest taken; see --face-selection\n"
    chosen = cli("verify", both_path, grace_hopper_path, "--face-selection", "all")
    assert (told.exit_code, chosen.exit_code, chosen.stderr) == (0, 0, "")
    assert cli("verify", both_path, grace_hopper_path, "--quiet").stderr == ""


def test_verify_reads_a_photograph_from_stdin(cli: Cli, grace_hopper_path: Path) -> None:
    result = cli("verify", grace_hopper_path, "-", "--json", input=grace_hopper_path.read_bytes())
    answer = json.loads(result.stdout)
    assert answer["similarity"] == pytest.approx(1, abs=1e-5)
    assert answer["faces"][1]["image_path"] == "-"
    broken = cli("verify", "-", grace_hopper_path, input=b"hello")
    assert_one_line(broken, "stdin' is not a picture that can be read")
    assert "/tmp" not in broken.stderr
    assert_one_line(cli("verify", "-", "-"), "give - once")


def test_verify_tells_trouble_in_one_line(
    cli: Cli, grace_hopper_path: Path, landscape_path: Path, both_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    wrong: list[tuple[list[object], list[str]]] = [
        ([grace_hopper_path, landscape_path], [f"{landscape_path}: no face found"]),
        ([grace_hopper_path, tmp_path / "none.jpg"], ["none.jpg"]),
        ([grace_hopper_path, tmp_path], ["is a folder, not a picture"]),
        ([grace_hopper_path, tmp_path / "empty.jpg"], ["is empty"]),
        ([grace_hopper_path, both_path, "--face-selection", "require-one"], [f"{both_path}: 2 faces found"]),
        ([grace_hopper_path], ["two photographs are needed"]),
        ([grace_hopper_path, landscape_path, "-o", "x.csv"], ["belong to --pairs"]),
        ([grace_hopper_path, grace_hopper_path, "--model", "facenet"], ["unknown weights 'facenet'"]),
        ([grace_hopper_path, grace_hopper_path, "--device", "cuda:9"], ["cuda:9"]),
        ([grace_hopper_path, grace_hopper_path, "--precision", "fp8"], ["unknown precision 'fp8'"]),
    ]
    for arguments, words in wrong:
        assert_one_line(cli("verify", *arguments), *words)


def test_verify_keeps_to_the_gallerys_threshold(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, hopper_mirrored_path: Path
) -> None:
    with open_gallery(portrait_gallery) as gallery:
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.999, source="a test"))
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--json", "--gallery", portrait_gallery)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["threshold"] == 0.999
    named = {"LIGHTFACE_GALLERY": str(portrait_gallery)}
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--json", env=named)
    assert json.loads(result.stdout)["threshold"] == 0.999


def test_verify_leaves_the_gallery_alone_that_nobody_named(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, hopper_mirrored_path: Path, tmp_path: Path
) -> None:
    default = default_gallery_path()
    default.parent.mkdir(parents=True)
    portrait_gallery.rename(default)
    with open_gallery(default) as gallery:
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.999, source="a test"))
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["threshold"]) == (0, THRESHOLD_OF_WEIGHTS)
    pairs, table = tmp_path / "pairs.csv", tmp_path / "out.csv"
    pairs.write_text(f"{grace_hopper_path},{hopper_mirrored_path}\n")
    assert cli("verify", "--pairs", pairs, "-o", table).exit_code == 0
    assert f",{THRESHOLD_OF_WEIGHTS}," in table.read_text()


def test_verify_says_so_where_the_named_gallery_has_no_say(
    cli: Cli, made_up_gallery: Path, grace_hopper_path: Path, hopper_mirrored_path: Path
) -> None:
    with open_gallery(made_up_gallery) as gallery:
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.999, source="a test"))
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--gallery", made_up_gallery)
    assert result.exit_code == 0 and f"threshold {THRESHOLD_OF_WEIGHTS:.3f}" in result.stdout
    assert "is of lightcnn9-000000000000; its threshold is not used for lightcnn9-" in result.stderr
    missing = made_up_gallery.with_name("missing.sqlite")
    result = cli("verify", grace_hopper_path, hopper_mirrored_path, "--gallery", missing)
    assert result.exit_code == 0 and f"threshold {THRESHOLD_OF_WEIGHTS:.3f}" in result.stdout
    assert f"there is no gallery at {missing}; the threshold of the weights decides" in result.stderr


def test_identify_decides_by_means_and_verify_by_photographs(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, hopper_mirrored_path: Path
) -> None:
    arguments = ("--gallery", portrait_gallery, "--json")
    assert cli("enroll", "Grace Hopper", hopper_mirrored_path, "--gallery", portrait_gallery).exit_code == 0
    (row,) = json.loads(cli("identify", grace_hopper_path, *arguments).stdout)["faces"]
    factor = (1 + template_factor({2: 1})) / 2  # of Eileen Collins there is one photograph
    assert row["threshold"] == pytest.approx(THRESHOLD_OF_WEIGHTS * factor)
    verified = json.loads(cli("verify", grace_hopper_path, hopper_mirrored_path, *arguments).stdout)
    assert verified["threshold"] == THRESHOLD_OF_WEIGHTS


def test_verify_a_list_of_pairs(
    cli: Cli, tmp_path: Path, grace_hopper_path: Path, hopper_mirrored_path: Path, collins_path: Path
) -> None:
    lines = [
        "path_a,path_b",
        f"{grace_hopper_path},{hopper_mirrored_path}",
        f"{grace_hopper_path},{collins_path}",
        f"{grace_hopper_path},{tmp_path / 'none.jpg'}",
    ]
    pairs, output = tmp_path / "pairs.csv", tmp_path / "result.csv"
    pairs.write_text("\n".join(lines), encoding="utf-8")
    result = cli("verify", "--pairs", pairs, "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "compared 3 pairs: 1 different, 1 error, 1 same\n"
    rows = list(csv.DictReader(output.open(encoding="utf-8")))
    assert [(row["status"], row["error"]) for row in rows] == [
        ("same", ""),
        ("different", ""),
        ("error", "missing_file"),
    ]
    assert rows[2]["error_path"] == str(tmp_path / "none.jpg")
    piped = cli("verify", "--pairs", "-", "--format", "jsonl", input="\n".join(lines[1:2]))
    assert [json.loads(line)["status"] for line in piped.stdout.splitlines()] == ["same"]


def test_paths_of_a_list_count_from_its_folder_and_then_from_the_current_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightface.cli.verify.load_face_pipeline", lambda *_, **__: make_colour_pipeline())
    folder, other = tmp_path / "lists", tmp_path / "other"
    odd = os.fsdecode(b"=\xff\n.png")
    for place, name, person in ((folder, "a.png", 1), (folder, odd, 1), (other, "c.png", 2), (other, "a.png", 2)):
        paint_person(place / name, person, 1)
    lines = f'img1;img2;note\na.png;"{odd}";\na.png;c.png;\nnone.png;a.png;\n'
    (folder / "pairs.csv").write_bytes(lines.encode("utf-8", "surrogateescape"))
    monkeypatch.chdir(other)
    result = cli("verify", "--pairs", folder / "pairs.csv", "--threshold", 0.5)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert [(row["path_a"], row["path_b"], row["status"], row["error"], row["error_path"]) for row in rows] == [
        ("a.png", "'=\\udcff\n.png", "same", "", ""),
        ("a.png", "c.png", "different", "", ""),
        ("none.png", "a.png", "error", "missing_file", "none.png"),
    ]
    assert f"1 path is not in '{folder}', and taken from '{other}', as c.png" in result.stderr
    assert f"1 path is in two folders, and taken from '{folder}', as a.png" in result.stderr
    piped = cli("verify", "--pairs", "-", "--threshold", 0.5, input="a.png,c.png\n")
    assert "same" in piped.stdout and piped.stderr == "compared 1 pair: 1 same\n"


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_names_on_stdin_are_taken_as_they_are(cli: Cli, tmp_path: Path, separator: bytes) -> None:
    names = [b"\xff.png", "a\u2028b.png".encode(), b" a.png", *([b"a\nb.png", b"a\r"] if separator == b"\0" else [])]
    photo = paint_person(tmp_path / "photo.png", 1, 1)
    for name in names:
        shutil.copy(photo, tmp_path / os.fsdecode(name))
    listed = separator.join(os.fsencode(tmp_path) + b"/" + name for name in names)
    result = cli("detect", "-", input=listed)
    assert "no face found in any of" in result.stderr and f" {len(names)} photographs" in result.stderr
    assert "cannot read" not in result.stderr


def test_a_list_of_pairs_that_is_none_is_refused(cli: Cli, tmp_path: Path, grace_hopper_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    for text, words in (
        ("", "there are no pairs"),
        ("a.jpg,b.jpg\na.jpg\n", "line 2"),
        ("\0", "is not a text"),
        ("1,one.jpg,two.jpg\n2,two.jpg,one.jpg\n", "has 3 columns and no headings path_a and path_b"),
    ):
        pairs.write_text(text)
        assert_one_line(cli("verify", "--pairs", pairs), words)
    assert_one_line(cli("verify", "--pairs", tmp_path / "none.csv"), "none.csv (No such file or directory); check")
    assert_one_line(cli("verify", "--pairs", tmp_path), "cannot read the list")
    assert_one_line(cli("verify", "--pairs", grace_hopper_path), "jpg is not a text; give the list itself")
    assert_one_line(cli("verify", grace_hopper_path, "--pairs", pairs), "with --pairs")
    assert_one_line(cli("verify", "--pairs", pairs, "--json"), "--json is for one pair; with --pairs, give --format")
    pairs.write_text("a.jpg,b.jpg\n")
    assert_one_line(cli("verify", "--pairs", pairs, "-o", tmp_path / "x.txt"), "cannot write a table")
    assert_one_line(cli("verify", "--pairs", pairs, "-o", pairs), "--output would replace", "which it is made of")
    assert_one_line(cli("verify", "--pairs", pairs, "-o", tmp_path / "x.csv", "--format", "npz"), "does not fit")
    failed = cli("verify", "--pairs", pairs, "-o", tmp_path / "x.csv")
    assert_one_line(failed, "none of 1 pair could be compared")


# --- identify ---------------------------------------------------------------------------------------


def test_identify_names_everybody_in_a_photograph(
    cli: Cli, portrait_gallery: Path, both_path: Path, tmp_path: Path
) -> None:
    drawn, table = tmp_path / "drawn.png", tmp_path / "faces.csv"
    result = cli("identify", both_path, "--gallery", portrait_gallery, "--draw", drawn, "-o", table, "-k", "1")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [" ".join(row[1:5]) for row in rows] == ["0 matched Grace Hopper", "1 matched Eileen Collins"]
    assert Image.open(drawn).size == Image.open(both_path).size
    written = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["person_name"] for row in written] == ["Grace Hopper", "Eileen Collins"]
    assert len(json.loads(written[0]["embedding"])) == 256


def test_identify_as_json_has_the_face_table_and_the_nearest(
    cli: Cli, portrait_gallery: Path, hopper_mirrored_path: Path
) -> None:
    (row,) = json.loads(cli("identify", hopper_mirrored_path, "--gallery", portrait_gallery, "--json").stdout)["faces"]
    assert (row["status"], row["person_name"]) == ("matched", "Grace Hopper")
    assert [one["person_name"] for one in row["candidates"]] == ["Grace Hopper", "Eileen Collins"]
    assert row["candidates"][0]["similarity"] == row["similarity"] >= row["threshold"]
    assert "embedding" not in row


def test_identify_names_photographs_in_its_table_as_embed_does(
    cli: Cli, portrait_gallery: Path, hopper_mirrored_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "who.csv"
    monkeypatch.chdir(hopper_mirrored_path.parent)
    result = cli("identify", hopper_mirrored_path.name, "--gallery", portrait_gallery, "-o", table, "--json")
    (told,) = json.loads(result.stdout)["faces"]
    (written,) = csv.DictReader(table.open(encoding="utf-8"))
    assert (told["image_path"], written["image_path"]) == (hopper_mirrored_path.name, str(hopper_mirrored_path))


def test_identify_on_an_encrypted_gallery_with_a_log(
    cli: Cli, portrait_gallery: Path, hopper_mirrored_path: Path, tmp_path: Path
) -> None:
    options = ["--gallery", portrait_gallery, "--key-file", tmp_path / "faces.key"]
    assert cli("gallery", "encrypt", *options).exit_code == 0
    assert cli("gallery", "log", "--on", *options).exit_code == 0
    (row,) = json.loads(cli("identify", hopper_mirrored_path, "--json", *options).stdout)["faces"]
    assert (row["status"], row["person_name"]) == ("matched", "Grace Hopper")
    _, matched = json.loads(cli("gallery", "log", "--json", *options).stdout)
    assert (matched["event"], matched["person_id"], matched["similarity"]) == ("matched", 1, row["similarity"])
    assert_one_line(cli("identify", hopper_mirrored_path, "--gallery", portrait_gallery), "name its key file")


def test_identify_of_a_stranger_exits_with_1(cli: Cli, portrait_gallery: Path, collins_path: Path) -> None:
    assert cli("gallery", "remove", "Eileen Collins", "-y", "--gallery", portrait_gallery).exit_code == 0
    result = cli("identify", collins_path, "--gallery", portrait_gallery)
    assert result.exit_code == 1
    assert "unknown" in result.stdout
    review = cli("identify", collins_path, "--gallery", portrait_gallery, "--review-threshold", "-1")
    assert review.exit_code == 1
    assert "review" in review.stdout and "Grace Hopper" in review.stdout


@pytest.fixture
def half_dark_path(grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray, tmp_path: Path) -> Path:
    """Grace Hopper beside Eileen Collins, who is in the dark."""
    path = tmp_path / "half dark.png"
    Image.fromarray(np.hstack([grace_hopper_rgb[:512], astronaut_rgb // 3])).save(path)
    return path


def test_identify_lists_and_draws_who_was_refused(
    cli: Cli, portrait_gallery: Path, half_dark_path: Path, tmp_path: Path
) -> None:
    gate = ["--gallery", portrait_gallery, "--min-quality", "0.5"]
    table, drawn, plain = (tmp_path / name for name in ("faces.parquet", "drawn.png", "plain.png"))
    result = cli("identify", half_dark_path, *gate, "-o", table, "--draw", drawn)
    assert result.exit_code == 0
    header, matched, refused = result.stdout.splitlines()
    assert header.split() == ["photograph", "face", "status", "person", "similarity", "nearest", "reason"]
    assert "matched   Grace Hopper" in matched
    path, line = refused[: len(str(half_dark_path))], refused[len(str(half_dark_path)) :]
    assert (path, line.split()) == (str(half_dark_path), ["1", "rejected", "-", "-", "-", "low_quality"])
    (known, dark) = json.loads(cli("identify", half_dark_path, *gate, "--json").stdout)["faces"]
    assert (known["status"], dark["status"], dark["error"]) == ("matched", "rejected", "low_quality")
    assert dark["bbox"][0] > 512 and (known["face_index"], dark["face_index"]) == (0, 1) and dark["candidates"] == []
    rows = read_faces(table)
    assert [(row.face_index, row.status, row.error, row.embedding is None) for row in rows] == [
        (0, Status.MATCHED, None, False),
        (1, Status.REJECTED, "low_quality", True),
    ]
    assert cli("identify", half_dark_path, "--gallery", portrait_gallery, "--draw", plain).exit_code == 0
    before, after = (np.asarray(Image.open(picture)).astype(int) for picture in (plain, drawn))
    accents = [int(((picture[:, 512:] == (255, 196, 0)).all(axis=2)).sum()) for picture in (before, after)]
    assert accents[0] > 500 and accents[1] == 0  # where nothing is refused, her box has the others' colour


@pytest.mark.parametrize("smallest", ["150", "30%"])
def test_identify_lists_who_is_too_small(cli: Cli, portrait_gallery: Path, both_path: Path, smallest: str) -> None:
    """Eileen Collins's face has some 90 px, Grace Hopper's 180."""
    result = cli("identify", both_path, "--gallery", portrait_gallery, "--min-face-size", smallest)
    known, small = result.stdout.splitlines()[1:]
    assert "matched" in known and "Grace Hopper" in known
    assert small.split()[1:] == ["1", "rejected", "-", "-", "-", "face_too_small"]


def test_identify_where_everybody_is_refused(cli: Cli, portrait_gallery: Path, half_dark_path: Path) -> None:
    gate = ["--gallery", portrait_gallery, "--min-quality", "1"]
    result = cli("identify", half_dark_path, *gate)
    assert result.exit_code == 2
    lines = [line[len(str(half_dark_path)) :].split() for line in result.stdout.splitlines()[1:]]
    assert [(line[0], line[-1]) for line in lines] == [("0", "low_quality"), ("1", "low_quality")]
    assert result.stderr.startswith(f"lightface: {half_dark_path}: the face is ") and result.stderr.count("\n") == 1


def test_identify_counts_refused_faces_of_many(
    cli: Cli, portrait_gallery: Path, half_dark_path: Path, grace_hopper_path: Path
) -> None:
    result = cli("identify", half_dark_path, grace_hopper_path, "--gallery", portrait_gallery, "--min-quality", "0.5")
    assert result.stderr.endswith(
        "3 faces in 2 photographs: 2 matched, 1 rejected; 0 photographs without a face that could be looked for\n"
    )
    largest = cli("identify", half_dark_path, "--gallery", portrait_gallery, "--face-selection", "largest")
    assert largest.stderr == "1 face was left out by --face-selection\n"


def test_identify_of_many_says_who_is_on_each_photograph_or_where_each_person_is(
    cli: Cli,
    portrait_gallery: Path,
    grace_hopper_path: Path,
    hopper_mirrored_path: Path,
    both_path: Path,
    collins_path: Path,
    landscape_path: Path,
) -> None:
    """Grace Hopper is unknown: on three photographs, so that she has a number."""
    gallery = ("--gallery", portrait_gallery)
    photos = [both_path, collins_path, grace_hopper_path, hopper_mirrored_path, landscape_path]
    assert cli("gallery", "remove", "Grace Hopper", "-y", *gallery).exit_code == 0
    result = cli("identify", *photos, *gallery)
    assert result.exit_code == 0, result.output
    header, *lines = (line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert header == ["photograph", "people"]
    assert lines == [
        [str(both_path), "unknown 1, Eileen Collins"],
        [str(collins_path), "Eileen Collins"],
        [str(grace_hopper_path), "unknown 1"],
        [str(hopper_mirrored_path), "unknown 1"],
    ]
    people = [
        line.rsplit(maxsplit=1) for line in cli("identify", *photos, *gallery, "--by", "person").stdout.splitlines()
    ]
    assert [line[0].strip() for line in people] == [
        "person",
        *["Eileen Collins"] * 2,
        *["unknown 1 (3 photographs)"] * 3,
    ]
    assert [line[1] for line in people[1:3]] == [str(both_path), str(collins_path)]
    review = cli("identify", *photos[2:], *gallery, "--review-threshold", "-1")
    assert "Eileen Collins (review)" in review.stdout
    assert cli("identify", *photos, *gallery, "--verbose").stdout.split()[:4] == [
        "photograph",
        "face",
        "status",
        "person",
    ]


def test_identify_of_many_counts_its_failures(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, landscape_path: Path
) -> None:
    result = cli("identify", grace_hopper_path, landscape_path, "--gallery", portrait_gallery, "--json")
    assert result.exit_code == 0
    assert [row["error"] for row in json.loads(result.stdout)["faces"]] == [None, "face_not_found"]
    assert result.stderr.endswith(
        "1 face in 2 photographs: 1 matched; 1 photograph without a face that could be looked for\n"
    )
    assert_one_line(cli("identify", landscape_path, "--gallery", portrait_gallery), f"{landscape_path}: no face found")
    nothing = cli("identify", landscape_path, landscape_path.parent, "--gallery", portrait_gallery)
    assert nothing.exit_code == 2


def test_identify_without_anybody_enrolled_is_refused(cli: Cli, tmp_path: Path, grace_hopper_path: Path) -> None:
    assert_one_line(cli("identify", grace_hopper_path, "--gallery", tmp_path / "none"), "there is no gallery at")


# --- embed ------------------------------------------------------------------------------------------


def test_embed_writes_a_row_a_face_and_embeds_nothing_twice(
    cli: Cli, tmp_path: Path, both_path: Path, landscape_path: Path, grace_hopper_path: Path
) -> None:
    photos, output = tmp_path / "photos", tmp_path / "faces.parquet"
    photos.mkdir()
    for path in (both_path, landscape_path):
        shutil.copy(path, photos)
    result = cli("embed", photos, "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    named, embedded, _ = result.stderr.splitlines()
    assert named.startswith(f"lightface: {photos / 'landscape.png'}: no face found")
    assert embedded.startswith("embedded 1 photograph with 2 faces; 0 unchanged; in ")
    assert "lightcnn9-" in result.stderr and " on cpu in " in result.stderr
    assert result.stderr.endswith("holds 2 faces; photographs without a face: 1 face_not_found\n")
    table = pq.read_table(output).to_pylist()
    assert [(Path(row["image_path"]).name, row["face_index"], row["status"]) for row in table] == [
        ("both.png", 0, "embedded"),
        ("both.png", 1, "embedded"),
        ("landscape.png", None, "error"),
    ]
    again = cli("embed", photos, "-o", output)
    assert again.stderr.startswith("embedded 0 photographs with 0 faces; 2 unchanged\n")
    shutil.copy(grace_hopper_path, photos)
    summary = json.loads(cli("embed", photos, "-o", output, "--json").stdout)
    assert (summary["embedded"], summary["unchanged"], summary["faces_in_output"]) == (1, 2, 3)


@pytest.mark.parametrize(("arguments", "parse"), [
    (["--format", "jsonl"], lambda text: [json.loads(line) for line in text.splitlines()]),
    ([], lambda text: list(csv.DictReader(io.StringIO(text)))),
])  # fmt: skip
def test_embed_to_stdout(cli: Cli, grace_hopper_path: Path, arguments: list[str], parse) -> None:  # type: ignore[no-untyped-def]
    result = cli("embed", "-", "-o", "-", *arguments, "--quiet", input=f"{grace_hopper_path}\n")
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = parse(result.stdout)
    assert row["image_path"] == str(grace_hopper_path)


def test_embed_to_stdout_names_the_first_failures(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    broken = [tmp_path / f"{number:02}.jpg" for number in range(12)]
    for path in broken:
        path.write_text("no picture")
    result = cli("embed", grace_hopper_path, tmp_path, "-o", "-", "--format", "jsonl")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 13)
    *named, more, _ = result.stderr.splitlines()
    assert len(named) == 10
    assert all(
        line.startswith(f"lightface: '{path}' is not a picture") for line, path in zip(named, broken, strict=False)
    )
    assert more == "lightface: and 2 photographs more; the table says which"


def test_embed_of_crops_that_are_aligned_already(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    assert cli("detect", grace_hopper_path, "--crops", tmp_path / "crops").exit_code == 0
    whole = cli("embed", grace_hopper_path, "-o", "-", "--format", "jsonl")
    crop = cli("embed", tmp_path / "crops", "-o", "-", "--format", "jsonl", "--already-aligned")
    vector_a, vector_b = (json.loads(result.stdout)["embedding"] for result in (whole, crop))
    assert sum(a * b for a, b in zip(vector_a, vector_b, strict=True)) == pytest.approx(1, abs=1e-5)
    assert json.loads(crop.stdout)["bbox"] is None


def test_embed_drops_rows_only_where_it_is_told_to(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.cli.embed.load_face_pipeline", lambda *_, **__: make_colour_pipeline())
    people, output = paint_people(tmp_path / "people", 2, 2), tmp_path / "faces.csv"
    assert cli("embed", people, "-o", output, "--recursive").exit_code == 0
    assert_one_line(cli("embed", people / "p001", "-o", output), "--drop-others")
    assert len(read_faces(output)) == 4
    assert cli("embed", people / "p001", "-o", output, "--drop-others").exit_code == 0
    assert [row.image_path.parent.name for row in read_faces(output)] == ["p001", "p001"]


def test_what_is_rays_needs_ray(cli: Cli, tmp_path: Path) -> None:
    for option, value in (("--ray-address", "head.example:6379"), ("--ray-gpus", "1")):
        wrong = cli("embed", tmp_path, "-o", tmp_path / "faces.csv", option, value)
        assert_one_line(wrong, "--ray-address and --ray-gpus are of --engine ray")


def test_embed_tells_trouble_in_one_line(cli: Cli, landscape_path: Path, tmp_path: Path) -> None:
    assert_one_line(cli("embed", landscape_path, "-o", tmp_path / "x.txt"), "cannot write a table")
    assert_one_line(cli("embed", landscape_path, "-o", tmp_path / "none" / "x.csv"), "none")
    assert_one_line(cli("embed", tmp_path / "none.jpg", "-o", tmp_path / "x.csv"), "does not exist")
    faceless = cli("embed", landscape_path, "-o", tmp_path / "y.csv")
    assert (faceless.exit_code, faceless.stdout) == (2, "")
    named, told = faceless.stderr.splitlines()
    assert named.startswith(f"lightface: {landscape_path}: no face found")
    assert told == "lightface: no photograph gave a face (1 face_not_found); the table says which"
    assert_one_line(cli("embed", landscape_path, "-o", tmp_path / "z.csv", "--batch-size", "0"), "--batch-size is 0")


# --- gallery reembed --------------------------------------------------------------------------------


def test_reembed_moves_the_gallery_to_other_weights(
    cli: Cli, portrait_gallery: Path, hopper_mirrored_path: Path, collins_path: Path
) -> None:
    other = "--no-flip" if find_weights(DEFAULT_WEIGHTS).flip else "--flip"  # makes another model of the same file
    reembed = ["gallery", "reembed", "--gallery", portrait_gallery]
    identify = ["identify", hopper_mirrored_path, "--threshold", "0.4", "--gallery", portrait_gallery]
    assert cli(*reembed, "--dry-run", other).exit_code == 0
    assert_one_line(cli(*identify, other), "gallery reembed")
    assert cli(*reembed, other).exit_code == 0
    result = cli(*identify, other)
    assert result.exit_code == 0
    assert "Grace Hopper" in result.stdout

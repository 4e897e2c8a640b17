from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import ColourEmbedder, make_colour_pipeline, paint_people, paint_person
from PIL import Image

from lightface.cli.console import GOES_ON
from lightface.evaluation.cache import CachedFace, default_cache_path
from lightface.gallery import NewSample, open_gallery
from lightface.pipeline import FacePipeline, enroll_people, resolve_bands
from lightface.records import AlignedFace, ByteArray, FloatArray


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FacePipeline:
    """People of colour instead of MTCNN and LightCNN, and a cache of the test's own."""
    pipeline = make_colour_pipeline(noise=1.2)
    for module in ("evaluate", "calibrate"):
        monkeypatch.setattr(f"lightface.cli.{module}.load_face_pipeline", lambda settings: pipeline)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return pipeline


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return paint_people(tmp_path / "people", 12, 4)


@pytest.fixture
def gallery(tmp_path: Path, people: Path, pipeline: FacePipeline) -> Path:
    path = tmp_path / "gallery.sqlite"
    with open_gallery(path, model_id=pipeline.model_id, create=True) as gallery:
        enroll_people(pipeline, gallery, people)
    return path


def embedded(pipeline: FacePipeline) -> int:
    assert isinstance(pipeline.embedder, ColourEmbedder)
    return pipeline.embedder.count


def test_a_table_of_figures_and_what_failed(cli: Cli, people: Path, pipeline: FacePipeline) -> None:
    (people / "p001" / "broken.jpg").write_bytes(b"no picture")
    result = cli("evaluate", people, "--threshold", "0.3")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "too few impostor pairs (8,944 more needed)" in rows["TAR at FAR 1e-3"]
    assert {"10-fold accuracy", "EER", "AUC", "FAR at 0.300, as given", "rank-1", "TPIR at FPIR 1e-1"} <= rows.keys()
    assert "1 of 49 pictures failed (1 invalid_image). 4 pairs of one person and 44 of two" in result.stdout
    assert "  p001/broken.jpg: invalid_image" in result.stdout


def test_figures_go_into_the_model_card(
    cli: Cli, people: Path, pipeline: FacePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = replace(pipeline.record, file=tmp_path / "w.safetensors", card="")
    monkeypatch.setattr(pipeline.embedder, "record", record)
    assert_one_line(cli("evaluate", people, "--card"), "have no model card")
    assert embedded(pipeline) == 0  # noticed before the work
    monkeypatch.setattr(pipeline.embedder, "record", replace(record, card="w.md"))
    (tmp_path / "w.md").write_text("# w\n\n## Limits\n\nMany.\n")
    assert cli("evaluate", people, "--card").exit_code == 0
    text = (tmp_path / "w.md").read_text()
    assert "## Evaluated: people (" in text and "| EER |" in text and text.endswith("## Limits\n\nMany.\n")


def test_what_a_gate_on_quality_would_gain(cli: Cli, people: Path, pipeline: FacePipeline) -> None:
    generator = np.random.default_rng(0)
    for number, path in enumerate(sorted(people.rglob("*.png"))):
        image = np.asarray(Image.open(path), np.float64)
        noise = generator.normal(size=image.shape[:2]) * (11 + number / 2)  # the more contrast, the better
        Image.fromarray(np.rint(image + noise[..., None]).astype(np.uint8)).save(path)
    result = cli("evaluate", people)
    assert result.exit_code == 0
    title, _, *rows = result.stdout.split("without the ")[1].splitlines()[:4]
    assert title.startswith("4 of 48 faces under a quality of 0.0") and title.endswith(":")
    data = json.loads(cli("evaluate", people, "--json").stdout)["quality"]
    assert [row.split("  ")[0] for row in rows] == ["EER", f"FRR at {data['thresholds'][0]['threshold']:.3f}, FAR 1e-1"]
    assert data["faces"] == 48 and data["points"][0]["faces_rejected"] == 0
    assert [point["share"] for point in data["points"]][:5] == [0, 0.01, 0.02, 0.05, 0.1]


def test_reports_are_written_whole_and_for_the_owner_alone(
    cli: Cli, people: Path, pipeline: FacePipeline, tmp_path: Path
) -> None:
    html, data = tmp_path / "report.html", tmp_path / "report.json"
    result = cli("evaluate", people, "-o", html, "-o", data, "--worst", "2", "--json")
    assert result.exit_code == 0 and result.stderr == f"wrote {html}\nwrote {data}\n"
    assert html.read_text(encoding="utf-8").count("<img ") == 8
    assert json.loads(data.read_text(encoding="utf-8")) == json.loads(result.stdout)
    for path in (html, data):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_second_run_embeds_nothing_unless_it_is_told_to(cli: Cli, people: Path, pipeline: FacePipeline) -> None:
    first = cli("evaluate", people)
    assert embedded(pipeline) == 48
    assert cli("evaluate", people).stdout == first.stdout and embedded(pipeline) == 48
    cli("evaluate", people, "--no-cache")
    assert embedded(pipeline) == 96


def test_a_cache_that_cannot_be_used_can_be_done_without(cli: Cli, people: Path, pipeline: FacePipeline) -> None:
    default_cache_path().parent.mkdir(parents=True, exist_ok=True)
    default_cache_path().write_text("no database " * 100)
    assert_one_line(cli("evaluate", people), "cannot use the cache", "or go on without a cache, by --no-cache")
    assert cli("evaluate", people, "--no-cache").exit_code == 0
    assert embedded(pipeline) == 48


def test_reports_of_failures_name_options(
    cli: Cli, people: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (people / "p001" / "9.png").write_bytes(b"no picture")
    failure = CachedFace(reason="low_quality", message="it is blurred; lower `min_quality`")
    monkeypatch.setattr("lightface.evaluation.embed._to_failure", lambda error: failure)
    result = cli("evaluate", people, "--json", "--output", tmp_path / "report.html")
    assert json.loads(result.stdout)["failures"]["pictures"][0]["message"] == "it is blurred; lower --min-quality"
    assert "lower --min-quality" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_pairs_of_ones_own_and_groups(cli: Cli, tmp_path: Path, pipeline: FacePipeline) -> None:
    for person in range(1, 7):
        for picture in (1, 2):
            paint_person(tmp_path / f"{person}-{picture}.png", person, picture)
    genuine = "".join(f"{person}-1.png,{person}-2.png,same\n" for person in range(1, 7))
    impostors = "".join(f"{a}-1.png,{b}-2.png,different\n" for a in range(1, 7) for b in range(1, 7) if a != b)
    (tmp_path / "pairs.csv").write_text(genuine + impostors)
    groups = "".join(f"{person}-{picture}.png,{'ab'[person % 2]}\n" for person in range(1, 7) for picture in (1, 2))
    (tmp_path / "groups.csv").write_text("path,letter\n" + groups)
    result = cli("evaluate", tmp_path / "pairs.csv", "--groups", tmp_path / "groups.csv")
    assert result.exit_code == 0
    assert "10-fold accuracy" in result.stdout and "too few pairs" in result.stdout
    assert "by letter: Every picture is in a group." in result.stdout
    assert "spread by letter:" not in result.stdout  # six pairs a group are chance
    result = cli("evaluate", tmp_path / "pairs.csv", "--groups", tmp_path / "groups.csv", "--json")
    (grouping,) = json.loads(result.stdout)["groups"]
    assert [group["genuine"] for group in grouping["groups"]] == [3, 3]


def test_strangers_in_a_zip_by_columns_and_cells(cli: Cli, tmp_path: Path, pipeline: FacePipeline) -> None:
    lines = []
    with zipfile.ZipFile(tmp_path / "crops.zip", "w") as file:
        for person in range(1, 21):
            for picture, place in ((1, "a"), (2, "b")):
                # Of place a, all are of one colour: strangers who look alike.
                path = paint_person(tmp_path / "one.png", person if place == "b" else 25, (person + 1) // 2)
                file.write(path, f"{person}-{picture}.png")
                lines.append(f"{person}-{picture}.png,{place},{'x' if person % 2 else 'y'},{person}")
    table = tmp_path / "groups.csv"
    table.write_text("path,place,team,number\n" + "\n".join(lines) + "\n")
    arguments = ("evaluate", tmp_path / "crops.zip", "--protocol", "strangers", "--threshold", "0.3")
    result = cli(*arguments, "--groups", table, "--by", "place", "--by", "place+team", "--drop-repeats", "0.95")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "TAR" not in result.stdout and "FAR at 0.300, as given" in result.stdout
    assert re.search(r"^cosine at FAR 1e-4 +too few impostor pairs", result.stdout, re.MULTILINE)
    by_place, by_cell = (
        result.stdout.split(f"by {name}: Every picture is in a group.")[1] for name in ("place", "place+team")
    )
    assert [line.split("  ")[0] for line in by_place.splitlines()[2:4]] == ["a", "b"]
    assert [line.split("  ")[0] for line in by_cell.splitlines()[2:6]] == ["a, x", "a, y", "b, x", "b, y"]
    assert "10 pairs of different people reach a cosine of 0.95" in result.stdout
    assert "10 of 40 pictures failed (10 duplicate)" in result.stdout
    assert_one_line(cli(*arguments, "--by", "place"), "--by needs a table", "--groups")
    assert_one_line(cli(*arguments, "--groups", table, "--by", "sex"), "no column 'sex'", "place, team, number")


def test_measuring_has_a_bar_of_its_own(
    cli: Cli, people: Path, pipeline: FacePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def listen(*labels: str) -> Iterator[tuple[Callable[[int, int], None], ...]]:
        yield tuple(lambda *done, label=label: heard.setdefault(label, []).append(done) for label in labels)

    monkeypatch.setattr("lightface.cli.evaluate.progress_bars", listen)
    (tmp_path / "groups.csv").write_text("person,team\n" + "".join(f"p{n:03d},{n % 3}\n" for n in range(1, 13)))
    assert cli("evaluate", people, "--groups", tmp_path / "groups.csv").exit_code == 0
    assert heard["embedding"][-1] == (48, 48)
    assert heard["measuring"] == [(0, 1), (2, 4), (3, 4), (4, 4)]  # all pairs, then those of each team


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_keeps_what_is_embedded(
    cli: Cli, people: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("lightface.evaluation.evaluate.measure_pairs", press_ctrl_c)
        result = cli("evaluate", people, *([] if kept else ["--no-cache"]))
    outcome = GOES_ON if kept else "nothing is kept, as --no-cache asks"
    assert (result.exit_code, result.stderr) == (2, f"lightface: interrupted; {outcome}\n")
    assert cli("evaluate", people).exit_code == 0
    assert embedded(pipeline) == (48 if kept else 96)


def press_ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_at_most_so_many_pairs(cli: Cli, people: Path, gallery: Path, pipeline: FacePipeline) -> None:
    figures = json.loads(cli("evaluate", people, "--pair-limit", "20", "--json").stdout)["figures"]
    assert (figures["genuine"], figures["impostors"]) == (20, 20)
    result = cli("calibrate", people, "--gallery", gallery, "--far", "1e-1", "--pair-limit", "50")
    assert_one_line(result, "50 pairs of different people are too few")


def test_crops_are_framed_as_they_are_said_to_be(
    cli: Cli, people: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[ByteArray] = []
    embed = pipeline.embedder.embed

    def keep(faces: Sequence[AlignedFace]) -> FloatArray:
        embedded.extend(face.pixels for face in faces)
        return embed(faces)

    monkeypatch.setattr(pipeline.embedder, "embed", keep)
    striped = np.zeros((128, 128, 3), np.uint8)
    striped[::7] = 200
    Image.fromarray(striped).save(people / "p001" / "1.png")
    whole = {}
    for framing in ("detect", "lightcnn", "arcface"):
        embedded.clear()
        assert cli("evaluate", people, "--framing", framing, "--no-cache").exit_code == 0
        whole[framing] = any(np.array_equal(pixels, striped) for pixels in embedded)
    assert whole == {"detect": False, "lightcnn": True, "arcface": False}
    command = ("calibrate", people, "--far", "1e-2", "--framing", "nose")
    assert_one_line(cli(*command), "--framing", "nose")


def test_people_with_one_picture_each_are_strangers_too(cli: Cli, tmp_path: Path, pipeline: FacePipeline) -> None:
    folder = paint_people(tmp_path / "people", 12, 1)
    result = cli("evaluate", folder, "--threshold", "0.3", "-o", tmp_path / "report.html", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["figures"]["genuine"], data["figures"]["impostors"], data["roc"]) == (0, 66, None)
    assert data["figures"]["at_thresholds"][0]["tar"] is None
    (tmp_path / "pairs.csv").write_text("p001/1.png,p002/1.png,different\np003/1.png,p004/1.png,different\n")
    result = cli("evaluate", tmp_path / "pairs.csv", "--images", folder, "--threshold", "0.3")
    assert result.exit_code == 0 and "FAR at 0.300, as given  0.00 %" in result.stdout


def test_the_gallerys_threshold_is_measured_beside_the_figures(
    cli: Cli, gallery: Path, people: Path, pipeline: FacePipeline
) -> None:
    of_the_weights = pipeline.record.thresholds["1e-3"]
    assert f"FAR at {of_the_weights:.3f}, in use" in cli("evaluate", people, "--gallery", gallery).stdout
    assert cli("calibrate", "--gallery", gallery, "--far", "1e-2", "--allow-looser").exit_code == 0
    with open_gallery(gallery) as opened:
        match = opened.thresholds()[-1].threshold
    assert match < of_the_weights
    assert f"FAR at {match:.3f}, in use" in cli("evaluate", people, "--gallery", gallery).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["nothing to evaluate"]),
        (("missing",), ["missing does not exist"]),
        (("{people}", "-o", "report.pdf"), ["'report.pdf'", ".html or .json"]),
        (("{people}", "-o", "nowhere/report.html"), ["'nowhere'", "make the folder"]),
        (("{people}", "--groups", "missing.csv"), ["cannot read the list missing.csv"]),
        (("{people}", "--protocol", "lfw"), ["has no pairs.txt"]),
        (("{people}", "--protocol", "nonsense"), ["nonsense"]),
        (("{people}/p001",), ["expected a folder a person"]),
    ],
)
def test_trouble_is_one_line(
    cli: Cli, people: Path, pipeline: FacePipeline, arguments: tuple[str, ...], words: list[str]
) -> None:
    assert_one_line(cli("evaluate", *(argument.format(people=people) for argument in arguments)), *words)
    assert embedded(pipeline) == 0


def test_a_malformed_list_names_its_line(cli: Cli, tmp_path: Path, pipeline: FacePipeline) -> None:
    (tmp_path / "pairs.csv").write_text("a.png,b.png,1\na.png,c.png,perhaps\n")
    assert_one_line(cli("evaluate", tmp_path / "pairs.csv"), "pairs.csv, line 2", "'perhaps' is no label")


def test_download_is_scikit_learns(
    cli: Cli, tmp_path: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*, data_home: str, **_: object) -> None:
        assert data_home == str(tmp_path)
        home = tmp_path / "lfw_home"
        for person in (1, 2):
            for number in (1, 2):
                paint_person(home / "lfw_funneled" / f"P{person}" / f"P{person}_{number:04d}.jpg", person, number)
        (home / "pairs.txt").write_text("1\nP1\t1\t2\nP1\t1\tP2\t1\n")

    monkeypatch.setattr("sklearn.datasets.fetch_lfw_pairs", fetch)
    result = cli("evaluate", tmp_path, "--download", "--json")
    assert result.exit_code == 0 and "scikit-learn fetches LFW" in result.stderr
    assert json.loads(result.stdout)["protocol"] == "LFW, pairs.txt"


def known(pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch, threshold: float) -> None:
    """The weights are registered, with that threshold of their own."""
    record = replace(pipeline.record, thresholds={"1e-3": threshold})
    monkeypatch.setattr("lightface.pipeline.find_record", lambda model_id: record)


def test_calibrate_keeps_both_bands_and_says_what_they_do(cli: Cli, gallery: Path, pipeline: FacePipeline) -> None:
    result = cli("calibrate", "--gallery", gallery, "--far", "1e-2", "--review-far", "1e-1")
    assert result.exit_code == 0
    assert result.stderr == f"kept in {gallery}; verify --gallery and identify decide by it from now on\n"
    _, verify, identify, review, _, measured, decides, strangers, rightly = result.stdout.splitlines()
    assert [line.split()[:2] for line in (verify, identify, review)] == [
        ["verify", "1e-2"],
        ["identify", "1e-2"],
        ["review", "1e-1"],
    ]
    assert "72 pairs of one person and 1,056 pairs of different ones of 12 people" in measured
    assert strangers.startswith("Of 100 strangers, about ") and " shown for review" in strangers
    assert rightly.startswith("Of 100 photographs of people who are enrolled, about ")
    with open_gallery(gallery) as opened:
        stored = opened.thresholds()
        bands = resolve_bands(None, gallery=opened)
    assert decides == (
        f"verify decides at {stored[1].threshold:.3f}, identify at {bands.threshold:.3f}, with review from "
        f"{bands.review_threshold:.3f}."
    )
    again = json.loads(
        cli("calibrate", "--gallery", gallery, "--far", "1e-2", "--review-far", "1e-1", "--dry-run", "--json").stdout
    )
    assert again["threshold"] == again["before"]["verify"] == stored[1].threshold
    with open_gallery(gallery) as opened:
        assert opened.thresholds() == stored


def test_calibrate_never_loosens_unless_it_is_asked_to(
    cli: Cli, gallery: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(pipeline, monkeypatch, 0.4)
    result = cli("calibrate", "--gallery", gallery, "--far", "1e-2")
    assert result.exit_code == 0
    assert "lets in more than the 0.400 of the weights, which stays; --allow-looser takes what" in result.stdout
    assert "verify decides at 0.400, identify at 0.4" in result.stdout and " -> " not in result.stdout
    with open_gallery(gallery) as opened:
        assert opened.thresholds()[-1].threshold == 0.4
    asked = cli("calibrate", "--gallery", gallery, "--far", "1e-2", "--allow-looser")
    assert "verify decides at 0.400 -> 0." in asked.stdout and "which stays" not in asked.stdout
    with open_gallery(gallery) as opened:
        assert opened.thresholds()[-1].threshold < 0.4


def test_calibrate_can_be_taken_back(
    cli: Cli, gallery: Path, pipeline: FacePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(pipeline, monkeypatch, 0.05)
    for far in ("2e-2", "1e-2"):
        assert cli("calibrate", "--gallery", gallery, "--far", far).exit_code == 0
    result = cli("calibrate", "--reset", "--gallery", gallery)
    assert result.exit_code == 0 and result.stdout == ""
    assert "is taken back; verify decides at 0.050 again, identify at 0.05" in result.stderr
    with open_gallery(gallery) as opened:
        assert opened.thresholds() == []
    assert "was not calibrated; nothing was changed" in cli("calibrate", "--reset", "--gallery", gallery).stderr
    assert_one_line(cli("calibrate", "--reset", "--dry-run", "--gallery", gallery), "--reset measures nothing")


def test_without_a_threshold_of_the_weights_taking_back_says_what_to_do(
    cli: Cli, gallery: Path, pipeline: FacePipeline
) -> None:
    assert cli("calibrate", "--gallery", gallery, "--far", "1e-2").exit_code == 0
    assert "no threshold is known for its weights now" in cli("calibrate", "--reset", "--gallery", gallery).stderr


def test_calibrate_on_pairs_of_ones_own(cli: Cli, gallery: Path, people: Path, pipeline: FacePipeline) -> None:
    assert cli("calibrate", people, "--gallery", gallery, "--far", "1e-2", "--allow-looser").exit_code == 0
    with open_gallery(gallery) as opened:
        assert opened.thresholds()[0].source.startswith(f"a folder a person, {people}; 12 people, 1,056 pairs")
    kept = cli("calibrate", people, "--gallery", gallery, "--far", "1e-2")
    assert "lets in more than the 0.485 of the weights" in kept.stdout
    assert isinstance(pipeline.embedder, ColourEmbedder)
    pipeline.embedder.name = "other weights"
    assert_one_line(cli("calibrate", people, "--gallery", gallery, "--far", "1e-2"), "is of colours", "--model")


@pytest.fixture
def family(tmp_path: Path, pipeline: FacePipeline) -> Path:
    """A gallery of 12 adults and 12 children with 4 samples each; the children resemble each other."""
    generator = np.random.default_rng(2)
    path = tmp_path / "family.sqlite"
    with open_gallery(path, model_id=pipeline.model_id, create=True) as gallery:
        common = generator.normal(size=256)
        for number in range(24):
            child = number % 2 == 1
            own = generator.normal(size=256) + 1.2 * child * common
            rows = own + 0.8 * generator.normal(size=(4, 256))
            rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
            samples = [
                NewSample(row, pipeline.model_id, f"/{number}-{n}", f"{10 * number + n:064x}")
                for n, row in enumerate(rows)
            ]
            gallery.enroll(f"p{number}", samples, metadata={"age": "child" if child else "adult", "home": "here"})
    return path


def test_calibrate_within_a_group_of_the_gallerys_people(cli: Cli, family: Path) -> None:
    thresholds = {}
    for group in ((), ("--within", "age=adult"), ("--within", "age=child", "--within", "home=here")):
        result = cli("calibrate", "--gallery", family, "--far", "1e-2", *group)
        assert result.exit_code == 0, result.stderr
        with open_gallery(family) as opened:
            stored = min(opened.thresholds(), key=lambda one: one.far)
        thresholds[" ".join(group)] = stored.threshold
    everybody, adults, children = thresholds.values()
    assert adults < everybody < children
    # Of 12 people with 4 samples each, and no pair across the groups.
    assert "48 samples within age=child, home=here" in stored.source and "1,056 pairs" in stored.source
    assert "within age=child, home=here" in result.stdout


def test_calibrate_within_a_group_of_pairs(cli: Cli, gallery: Path, people: Path, pipeline: FacePipeline) -> None:
    table = people.parent / "groups.csv"
    table.write_text("person,team\n" + "".join(f"p{n:03d},{'red' if n < 11 else 'blue'}\n" for n in range(1, 13)))
    within = ("--groups", table, "--within", "team=red")
    result = cli("calibrate", people, "--gallery", gallery, "--far", "0.05", "--no-cache", *within)
    assert result.exit_code == 0 and "team=red: 60 pairs of one person and 720 pairs" in result.stdout
    assert embedded(pipeline) == 48 + 40  # the gallery's, and of the others those of the group alone
    assert_one_line(
        cli("calibrate", people, "--gallery", gallery, "--groups", table, "--within", "team=green"),
        "has no group 'green' of team; choose from blue, red",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--within", "age"), ["--within is 'age'", "age=child"]),
        (("--within", "age=a", "--within", "age=b"), ["--within names age twice"]),
        (("--within", "age=child"), ["nobody is enrolled within age=child", "metadata"]),
        (("--groups", "groups.csv", "--within", "age=child"), ["--within and --groups go together"]),
        (("{people}", "--within", "age=child"), ["--within and --groups go together"]),
    ],
)
def test_a_group_that_cannot_be_meant_is_refused(
    cli: Cli, gallery: Path, people: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    given = (argument.format(people=people) for argument in arguments)
    assert_one_line(cli("calibrate", "--gallery", gallery, *given), *words)
    with open_gallery(gallery) as opened:
        assert opened.thresholds() == []


def test_calibrate_refuses_what_cannot_be_measured(cli: Cli, gallery: Path, tmp_path: Path) -> None:
    assert_one_line(cli("calibrate", "--gallery", gallery), "1,056 pairs", "it takes 10,000", "8,944 more")
    assert_one_line(cli("calibrate", "--gallery", tmp_path / "missing.sqlite"), "missing.sqlite")
    with open_gallery(gallery) as opened:
        assert opened.thresholds() == []

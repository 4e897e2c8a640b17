"""`import lightface`: every public name is there, nothing is loaded before it is used, and two lines suffice."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faces_of_colour import make_colour_pipeline, paint_people
from PIL import Image
from stand_ins import paint

import lightface
from lightface import api, errors
from lightface.records import FaceSelection, Status

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "AlignedFace",
    "CheckpointError",
    "ChecksumError",
    "ClusterError",
    "ConfigError",
    "DecisionBands",
    "DetectedFace",
    "DeviceError",
    "DuplicateFaceError",
    "EmbedProgress",
    "EmbedSummary",
    "EnrolledPhoto",
    "Evaluation",
    "EvaluationError",
    "FaceEmbedding",
    "FaceGates",
    "FaceGroups",
    "FaceNotFoundError",
    "FacePipeline",
    "FaceRow",
    "FaceSelection",
    "FaceTooSmallError",
    "FoundFace",
    "Gallery",
    "GalleryError",
    "GroupedFace",
    "IdentifiedFace",
    "IdentifiedPhoto",
    "IdentityConflictError",
    "ImageError",
    "ImageTooLargeError",
    "KeyFile",
    "LightfaceError",
    "LockedGalleryError",
    "LowDetectionScoreError",
    "LowQualityError",
    "Match",
    "MetadataError",
    "MissingFileError",
    "ModelMismatchError",
    "MultipleFacesError",
    "OutputError",
    "Passphrase",
    "Person",
    "PersonNotFoundError",
    "PersonSearch",
    "Photo",
    "PhotoError",
    "PhotoFaces",
    "PhotoSource",
    "PipelineSpec",
    "Proposal",
    "RefusedFace",
    "RemoteError",
    "Status",
    "TableError",
    "ThresholdError",
    "TrainingError",
    "Verification",
    "VerifiedPair",
    "WeightsError",
    "__version__",
    "build_pipeline",
    "calibrate",
    "cluster",
    "cluster_faces",
    "decode_text",
    "default_gallery_path",
    "default_pipeline",
    "detect",
    "draw_faces",
    "embed",
    "embed_folder",
    "enroll",
    "enroll_groups",
    "enroll_people",
    "enroll_photos",
    "evaluate",
    "find",
    "find_photos",
    "identify",
    "identify_photos",
    "load_photo",
    "load_pipeline",
    "open_gallery",
    "read_faces",
    "resolve_bands",
    "resolve_threshold",
    "save_image",
    "verify",
    "verify_pairs",
    "verify_photos",
    "write_faces",
]
RED, GREEN = (200, 30, 30), (30, 200, 30)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[lightface.FacePipeline]:
    """A default pipeline whose people are colours."""
    made = make_colour_pipeline()
    monkeypatch.setattr(api, "_default", made)
    yield made


def test_the_public_names_are_these() -> None:
    assert sorted(lightface.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(lightface))
    for name in PUBLIC:
        assert getattr(lightface, name) is not None


def test_every_error_has_its_place_in_the_tree_of_the_docstring() -> None:
    tree = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.LightfaceError)]
    for error in tree:
        assert error.__name__ in lightface.__all__
        assert error.__name__ in (lightface.__doc__ or "")


def test_type_checkers_see_what_runs() -> None:
    """The table that is looked up as a name is used, and the imports that a type checker reads."""
    module = ast.parse((ROOT / "lightface" / "__init__.py").read_text(encoding="utf-8"))
    seen: dict[str, str | None] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("lightface"):
            seen |= {alias.asname: node.module for alias in node.names if alias.asname == alias.name}
    assert seen == lightface._MODULE_OF_NAME


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'verifi'"):
        _ = lightface.verifi  # type: ignore[attr-defined]


def test_importing_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import lightface; "
        "assert set(sys.modules) - before <= {'lightface'}, sorted(set(sys.modules) - before); "
        "lightface.LightfaceError; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_the_default_pipeline_is_loaded_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load_pipeline() -> lightface.FacePipeline:
        loaded.append(threading.get_ident())
        together.wait(0.2) if len(loaded) == 1 else None
        return make_colour_pipeline()

    together = threading.Event()
    monkeypatch.setattr(api, "_default", None)
    monkeypatch.setattr(api, "load_pipeline", load_pipeline)
    with ThreadPoolExecutor(4) as threads:
        pipelines = list(threads.map(lambda _: lightface.default_pipeline(), range(8)))
    assert len(loaded) == 1
    assert len({id(one) for one in pipelines}) == 1


def test_two_lines_verify(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red, green = paint(tmp_path / "red.png", RED), paint(tmp_path / "green.png", GREEN)
    result = lightface.verify(str(red), red.read_bytes(), threshold=0.9)
    assert (result.status, str(result)) == (Status.SAME, f"same: similarity {result.similarity:.3f}, threshold 0.900")
    pixels = np.asarray(Image.open(green))
    with red.open("rb") as file:
        assert lightface.verify(file, pixels, threshold=0.999).status is Status.DIFFERENT
    assert lightface.verify(Image.open(red), red, threshold=0.9).status is Status.SAME
    row = json.loads(json.dumps(result.to_dict()))
    assert (row["status"], row["threshold"], row["model_id"]) == ("same", 0.9, pipeline.model_id)
    assert [face["bbox"] for face in row["faces"]] == [list(face.detection.box_px) for face in _faces(result)]  # type: ignore[union-attr]


def _faces(result: lightface.Verification) -> tuple[lightface.FaceEmbedding, lightface.FaceEmbedding]:
    return result.face_a, result.face_b


def test_two_lines_enroll_and_identify(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red, gallery = paint(tmp_path / "red.png", RED), tmp_path / "club.sqlite"
    done, again = lightface.enroll("Ruby", red, red.read_bytes(), gallery=gallery)
    assert str(done) == f"{red}: enrolled as Ruby"
    assert (again.status, again.to_dict()["error"]) == (Status.REJECTED, "duplicate")
    photo = lightface.identify(red, gallery=str(gallery), threshold=0.9)
    assert str(photo) == f"{red}: Ruby 1.000"
    assert photo.faces[0].status is Status.MATCHED
    row = json.loads(json.dumps(photo.to_dict()))
    (face,) = row["faces"]
    assert (row["image_path"], face["person_name"], face["status"]) == (str(red), "Ruby", "matched")
    assert [one["person_name"] for one in face["candidates"]] == ["Ruby"]
    assert "embedding" not in face
    with lightface.open_gallery(gallery, model_id=pipeline.model_id) as opened:
        assert str(lightface.identify(red, gallery=opened, threshold=0.9)) == str(photo)
        assert opened.find_person("Ruby") is not None  # it stays open


def test_photographs_draw_themselves(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red, gallery = paint(tmp_path / "red.png", RED), tmp_path / "club.sqlite"
    lightface.enroll("Ruby", red, gallery=gallery)
    photo = lightface.identify(red, gallery=gallery, threshold=0.9)
    plain = np.asarray(Image.open(red))
    drawn = photo.draw()
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()
    lightface.save_image(drawn, str(tmp_path / "named.png"))
    assert (np.asarray(Image.open(tmp_path / "named.png")) == drawn).all()
    given = lightface.identify(red.read_bytes(), gallery=gallery, threshold=0.9)
    assert (given.draw(plain) == drawn).all()
    with pytest.raises(lightface.ImageError, match="given once"):
        given.draw()


def test_a_photograph_without_a_face_is_an_error_that_names_it(
    pipeline: lightface.FacePipeline, tmp_path: Path
) -> None:
    for job in (lightface.embed, lightface.detect, lambda path: lightface.verify(path, path, threshold=0.5)):
        with pytest.raises(lightface.MissingFileError, match=r"none\.png"):
            job(tmp_path / "none.png")
    with pytest.raises(lightface.ImageError):
        lightface.embed(io.BytesIO(b"no picture"))


def test_a_selection_may_be_a_word(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png", RED)
    (face,) = lightface.embed(red, selection="largest")
    assert (face.vector == lightface.embed(red, selection=FaceSelection.LARGEST)[0].vector).all()
    with pytest.raises(lightface.ConfigError, match="`selection` is 'biggest'; choose from largest, center, all"):
        lightface.embed(red, selection="biggest")


def test_detect_gives_the_faces_that_pass_the_gates(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png", RED)
    (face,) = lightface.detect(red)
    assert json.loads(json.dumps(face.to_dict()))["bbox"] == list(face.box_px)
    assert str(face).startswith("face at ")
    strict = lightface.FacePipeline(
        pipeline.detector, pipeline.embedder, gates=lightface.FaceGates(min_face_size_px=1000)
    )
    assert lightface.detect(red, pipeline=strict) == []


def test_folders_are_embedded_and_grouped(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    for name, colour in {"a": RED, "bb": RED, "c": GREEN}.items():
        paint(tmp_path / "photos" / f"{name}.png", colour, width=80 + len(name))
    summary = lightface.embed_folder(str(tmp_path / "photos"), tmp_path / "faces.parquet", workers=1)
    assert str(summary) == "embedded 3 photographs with 3 faces; 0 unchanged"
    assert json.loads(json.dumps(summary.to_dict()))["faces_in_output"] == 3
    of_photos = lightface.cluster(tmp_path / "photos", threshold=0.99)
    of_table = lightface.cluster(str(tmp_path / "faces.parquet"), threshold=0.99)
    assert str(of_photos) == "2 faces in 1 group, 1 in none; threshold 0.990"
    assert of_photos.to_dict() == of_table.to_dict()
    assert len(json.loads(json.dumps(of_table.to_dict()))["faces"]) == 3
    assert len(lightface.read_faces(str(tmp_path / "faces.parquet"))) == 3
    with pytest.raises(lightface.FaceNotFoundError):
        lightface.cluster([])


def test_evaluate_and_calibrate(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    people = paint_people(tmp_path / "people", 12, 4)
    assert lightface.evaluate(str(people)).model_id == pipeline.model_id
    gallery = tmp_path / "club.sqlite"
    for person in people.iterdir():
        lightface.enroll(person.name, *person.iterdir(), gallery=gallery)
    proposal = lightface.calibrate(0.1, gallery=gallery, dry_run=True)
    with lightface.open_gallery(gallery) as opened:
        assert opened.thresholds() == []
    assert lightface.calibrate(0.1, gallery=gallery).threshold == proposal.threshold
    with lightface.open_gallery(gallery) as opened:
        assert proposal.threshold in [one.threshold for one in opened.thresholds()]


def test_results_print_without_their_arrays(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png", RED)
    for result in (lightface.embed(red), lightface.detect(red), lightface.load_photo(red)):
        assert "array" not in repr(result)
        assert len(repr(result)) < 400


# Settings, secrets and pictures: they are given, or looked at, and not printed.
NOT_PRINTED = {"AlignedFace", "DecisionBands", "FaceGates", "KeyFile", "Passphrase", "Photo", "PipelineSpec"}


def _records() -> dict[str, type]:
    public = {name: getattr(lightface, name) for name in lightface.__all__}
    return {name: one for name, one in public.items() if isinstance(one, type) and dataclasses.is_dataclass(one)}


def test_every_result_prints_and_goes_into_json(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    people, gallery = paint_people(tmp_path / "people", 12, 4), tmp_path / "club.sqlite"
    photo, table = next(people.rglob("*.png")), tmp_path / "faces.parquet"
    strict = lightface.FacePipeline(
        pipeline.detector, pipeline.embedder, gates=lightface.FaceGates(min_face_size_px=1000)
    )
    seen: list[lightface.EmbedProgress] = []
    enrolled = [lightface.enroll(person.name, *person.iterdir(), gallery=gallery)[0] for person in people.iterdir()]
    identified = lightface.identify(photo, gallery=gallery, threshold=0.9)
    summary = lightface.embed_folder(people, table, workers=1, progress=seen.append)
    groups = lightface.cluster(table, threshold=0.99)
    search = lightface.find(photo, table, threshold=0.9)
    verified = lightface.verify(photo, photo, threshold=0.9)
    none = next(iter(strict.embed_paths([photo])))
    with lightface.open_gallery(gallery) as opened:
        person = opened.find_person(enrolled[0].person_name)
    results: list[Any] = [
        *(enrolled[0], identified, identified.faces[0], *identified.faces[0].candidates[:1], summary, seen[-1], groups),
        *(search, search.found[0]),
        *(
            groups.faces[0],
            verified,
            verified.face_a,
            verified.face_a.detection,
            person,
            none,
            none.refused[0],
        ),
        *(next(iter(pipeline.embed_paths([photo]))), lightface.read_faces(table)[0]),
        *(lightface.evaluate(people), lightface.calibrate(0.1, gallery=gallery, dry_run=True)),
        next(iter(lightface.verify_pairs(pipeline, [(photo, tmp_path / "none.png")], threshold=0.9))),
    ]
    assert {type(one).__name__ for one in results} == _records().keys() - NOT_PRINTED
    for one in results:
        assert "\n" not in str(one) and str(one) != repr(one) and str(one), repr(one)
        assert json.loads(json.dumps(one.to_dict(), allow_nan=False)) == one.to_dict()


def test_truth_values_are_not_guessed_from_texts(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    """Every text but the empty one would count as true: "off" would be on."""
    red = paint(tmp_path / "red.png", RED)
    calls: dict[str, Callable[[], object]] = {
        "turns": lambda: lightface.FaceGates(turns="off"),  # type: ignore[arg-type]
        "allow_truncated": lambda: lightface.FaceGates(allow_truncated="no"),  # type: ignore[arg-type]
        "already_aligned": lambda: lightface.FaceGates(already_aligned=None),  # type: ignore[arg-type]
        "flip": lambda: lightface.load_pipeline(device="cpu", flip="no"),  # type: ignore[arg-type]
        "even_if_alike": lambda: lightface.enroll("Ruby", red, gallery=tmp_path / "a.sqlite", even_if_alike="no"),  # type: ignore[arg-type]
        "recursive": lambda: lightface.cluster(tmp_path, recursive="no"),  # type: ignore[arg-type]
        "drop_others": lambda: lightface.embed_folder(red, tmp_path / "t.csv", drop_others="no"),  # type: ignore[arg-type]
        "dry_run": lambda: lightface.calibrate(0.1, gallery=tmp_path / "a.sqlite", dry_run="yes"),  # type: ignore[arg-type]
        "allow_looser": lambda: lightface.calibrate(0.1, gallery=tmp_path / "a.sqlite", allow_looser=1),  # type: ignore[arg-type]
    }
    for name, call in calls.items():
        with pytest.raises(lightface.ConfigError, match=f"^{name} is .*; give True or False"):
            call()
    assert {path.name for path in tmp_path.iterdir()} == {"red.png"}


def test_every_way_in_takes_a_selection_by_its_word(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png", RED)
    assert pipeline.selecting("largest").selection is FaceSelection.LARGEST
    ways: list[Callable[[str], object]] = [
        lambda word: lightface.load_pipeline(device="cpu", selection=word),
        lambda word: pipeline.selecting(word),
        lambda word: lightface.verify_photos(pipeline, red, red, threshold=0.5, selection=word),
    ]
    for way in ways:
        with pytest.raises(lightface.ConfigError, match="`selection` is 'biggest'; choose from largest"):
            way("biggest")
    with lightface.open_gallery(tmp_path / "a.sqlite", model_id=pipeline.model_id, create=True) as gallery:
        for word in ("all", FaceSelection.ALL):
            with pytest.raises(lightface.ConfigError, match="are not all one person"):
                lightface.enroll_photos(pipeline, gallery, "Ruby", [red], selection=word)


def test_nothing_is_no_folder_to_evaluate(pipeline: lightface.FacePipeline) -> None:
    """An empty path would be the current folder."""
    with pytest.raises(lightface.ConfigError, match="an empty path names nothing"):
        lightface.evaluate("")
    with pytest.raises(lightface.ConfigError, match="https://example/people is a URL, and here only files"):
        lightface.evaluate("https://example/people")


def test_a_table_takes_no_photograph_without_a_path(pipeline: lightface.FacePipeline, tmp_path: Path) -> None:
    pixels = np.zeros((80, 80, 3), np.uint8)
    with pytest.raises(lightface.ImageError, match="names photographs by their paths"):
        lightface.embed_folder([pixels], tmp_path / "faces.csv", workers=1)  # type: ignore[list-item]
    assert not (tmp_path / "faces.csv").exists()


def test_a_file_that_is_open_for_text_is_named_as_such_by_every_job(
    pipeline: lightface.FacePipeline, tmp_path: Path
) -> None:
    red = paint(tmp_path / "red.png", RED)
    for job in (lightface.embed, lightface.detect, lightface.load_photo):
        with (
            red.open(encoding="latin-1") as file,
            pytest.raises(lightface.ImageError, match="open for text; open it for reading bytes"),
        ):
            job(file)  # type: ignore[arg-type]

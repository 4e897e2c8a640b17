from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from faces_of_colour import make_colour_pipeline, paint_people, paint_person

from lightface.alignment import align_face
from lightface.errors import EvaluationError, OutputError
from lightface.evaluation.cache import EmbeddingCache, default_cache_path
from lightface.evaluation.embed import ArcFaceCrops, embed_pictures
from lightface.evaluation.evaluate import evaluate_pairs
from lightface.evaluation.pair_list import FilePicture, Framing, PackedPicture
from lightface.evaluation.protocols import read_protocol
from lightface.evaluation.summary import describe_loss
from lightface.pipeline import FacePipeline


def count_embedded(pipeline: FacePipeline) -> int:
    return pipeline.embedder.count  # type: ignore[attr-defined, no-any-return]


def test_each_picture_is_embedded_once_and_never_again(tmp_path: Path, pipeline: FacePipeline) -> None:
    pairs = read_protocol(paint_people(tmp_path / "people", 3, 3))
    heard: list[tuple[int, int]] = []
    with EmbeddingCache(tmp_path / "cache" / "faces.sqlite") as cache:
        first = embed_pictures(pipeline, pairs.pictures, cache=cache, progress=lambda *done: heard.append(done))
    assert count_embedded(pipeline) == 9 and heard == [(9, 9)]
    (tmp_path / "people" / "p001").rename(tmp_path / "people" / "renamed")  # known by its bytes, not by its place
    moved = read_protocol(tmp_path / "people")
    with EmbeddingCache(tmp_path / "cache" / "faces.sqlite") as cache:
        again = embed_pictures(pipeline, moved.pictures, cache=cache)
    assert count_embedded(pipeline) == 9
    assert {row.tobytes() for row in again.vectors} == {row.tobytes() for row in first.vectors}


def test_one_picture_under_two_names_is_embedded_once(tmp_path: Path, pipeline: FacePipeline) -> None:
    data = paint_person(tmp_path / "a.png", 1, 1).read_bytes()
    pictures = [PackedPicture("a", data), PackedPicture("b", data)]
    embedded = embed_pictures(pipeline, pictures)
    assert count_embedded(pipeline) == 1 and np.array_equal(embedded.vectors[0], embedded.vectors[1])


def test_another_model_framing_or_gate_is_embedded_anew(tmp_path: Path) -> None:
    pictures = [FilePicture("a", paint_person(tmp_path / "a.png", 1, 1))]
    with EmbeddingCache(tmp_path / "faces.sqlite") as cache:
        pipeline = make_colour_pipeline()
        embed_pictures(pipeline, pictures, cache=cache)
        embed_pictures(pipeline, pictures, cache=cache, framing=Framing.LIGHTCNN)
        embed_pictures(pipeline, pictures, cache=cache, framing=Framing.ARCFACE)
        assert count_embedded(pipeline) == 3
        pipeline.embedder.name = "another"  # type: ignore[attr-defined]
        embed_pictures(pipeline, pictures, cache=cache)
        assert count_embedded(pipeline) == 4
        pipeline.embedder.precision = "bf16"
        embed_pictures(pipeline, pictures, cache=cache)
        assert count_embedded(pipeline) == 5


def test_failures_are_named_and_a_missing_picture_is_looked_for_again(tmp_path: Path, pipeline: FacePipeline) -> None:
    folder = paint_people(tmp_path / "people", 3, 3)
    (folder / "p001" / "1.png").write_bytes(b"broken")
    black = paint_person(folder / "p002" / "2.png", 0, 0)
    black.write_bytes(make_black())
    pairs = read_protocol(folder)
    (folder / "p003" / "3.png").rename(tmp_path / "away.png")
    with EmbeddingCache(tmp_path / "faces.sqlite") as cache:
        evaluation = evaluate_pairs(pipeline, pairs, cache=cache)
        assert [(failure.name, failure.reason) for failure in evaluation.failures] == [
            ("p001/1.png", "invalid_image"),
            ("p002/2.png", "face_not_found"),
            ("p003/3.png", "missing_file"),
        ]
        assert "does not" in evaluation.failures[2].message or "No such file" in evaluation.failures[2].message
        figures = evaluation.figures
        assert (figures.genuine, figures.genuine_lost) == (3, 6) and (figures.impostors, figures.impostors_lost) == (
            12,
            15,
        )
        assert describe_loss(evaluation) == (
            "3 of 9 pictures failed (1 invalid_image, 1 face_not_found, 1 missing_file). "
            "6 pairs of one person and 15 of two could not be compared."
        )
        (tmp_path / "away.png").rename(folder / "p003" / "3.png")
        assert len(evaluate_pairs(pipeline, pairs, cache=cache).failures) == 2


def make_black() -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (80, 80)).save(buffer, "PNG")
    return buffer.getvalue()


def test_when_everything_fails_the_first_is_named(tmp_path: Path, pipeline: FacePipeline) -> None:
    (tmp_path / "pairs.csv").write_text("a.jpg,b.jpg,1\na.jpg,c.jpg,0\n")
    with pytest.raises(EvaluationError, match=r"3 of 3 pictures failed, the first 'a.jpg' .*a.jpg"):
        evaluate_pairs(pipeline, read_protocol(tmp_path / "pairs.csv"))


def test_the_cache_is_its_owners_alone(tmp_path: Path, pipeline: FacePipeline) -> None:
    path = tmp_path / "new" / "faces.sqlite"
    with EmbeddingCache(path) as cache:
        embed_pictures(pipeline, [FilePicture("a", paint_person(tmp_path / "a.png", 1, 1))], cache=cache)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert default_cache_path().name == "evaluation.sqlite"


def test_a_cache_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(OutputError, match=r"cannot use the cache .*go on without a cache"):
        EmbeddingCache(tmp_path / "text")
    with pytest.raises(OutputError, match="cannot use the cache"):
        EmbeddingCache(tmp_path / "text" / "below.sqlite")


def test_a_damaged_embedding_is_not_taken_from_the_cache(tmp_path: Path, pipeline: FacePipeline) -> None:
    import sqlite3

    path, pictures = tmp_path / "faces.sqlite", [FilePicture("a", paint_person(tmp_path / "a.png", 1, 1))]
    with EmbeddingCache(path) as cache:
        embed_pictures(pipeline, pictures, cache=cache)
    for damaged in ("x'00'", "zeroblob(1024)", "'text'"):
        connection = sqlite3.connect(path, isolation_level=None)
        ((table,),) = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        connection.execute(f"UPDATE {table} SET vector = CAST({damaged} AS BLOB)")
        connection.close()
        with EmbeddingCache(path) as cache, pytest.raises(OutputError, match=r"cannot use the cache .*delete it"):
            embed_pictures(pipeline, pictures, cache=cache)


def test_arcfaces_template_comes_into_lightcnns_frame() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    (face,) = ArcFaceCrops().detect(image)
    # At twice the size every point lies twice as far, seen from the corner of the picture and not of the first pixel.
    assert face.landmarks_px[0] == pytest.approx([(38.2946 + 0.5) * 2 - 0.5, (51.6963 + 0.5) * 2 - 0.5])
    for x, y in face.landmarks_px[[0, 1, 3, 4]].round().astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    rows = align_face(image, face).pixels[..., 0].sum(axis=1)
    eyes, mouth = (int(rows[part].argmax()) + part.start for part in (slice(20, 64), slice(64, 110)))
    assert abs(eyes - 40) <= 1 and abs(mouth - 88) <= 1
    assert ArcFaceCrops().detect(np.zeros((112, 96, 3), np.uint8)) == []


def test_the_key_of_the_cache_tells_what_matters(tmp_path: Path, pipeline: FacePipeline) -> None:
    """Read the file as anybody could: a change of these words would orphan every cache."""
    import sqlite3

    with EmbeddingCache(tmp_path / "faces.sqlite") as cache:
        embed_pictures(
            pipeline, [FilePicture("a", paint_person(tmp_path / "a.png", 1, 1))], cache=cache, framing=Framing.LIGHTCNN
        )
    with sqlite3.connect(tmp_path / "faces.sqlite") as connection:
        ((made_by,),) = connection.execute("SELECT made_by FROM picture_3")
    known = pipeline.record.recognisability
    assert known is not None
    assert json.loads(made_by) == {
        "framing": "lightcnn",
        "method": 3,
        "model": "colours",
        "precision": "fp32",
        "recognisability": known.digest,
    }

"""Whatever bytes a gallery's file holds, its methods work or raise a LightfaceError of one line; nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up import make_sample

from lightface.errors import GalleryError, LightfaceError
from lightface.gallery import Gallery, StoredThreshold, open_gallery


@pytest.fixture
def place(gallery_path: Path) -> Path:
    return gallery_path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a small gallery that uses every table, without anything in the log."""
    path = tmp_path_factory.mktemp("sound") / "g.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number, name in enumerate(("Ada", "Bob", "Čeněk", "Dora")):
            samples = [make_sample(number * 10 + n) for n in range(2)]
            gallery.enroll(name, samples, metadata={"note": "x" * 20, "team": name})
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
    return path.read_bytes()


def use_everything(path: Path) -> list[str]:
    """Open the gallery and call each method once; the complaints. Any error but LightfaceError passes through."""
    methods: list[Callable[[Gallery], object]] = [
        Gallery.people,
        Gallery.samples,
        Gallery.matrix,
        Gallery.stats,
        Gallery.thresholds,
        lambda gallery: gallery.export_to(path.with_name("export.jsonl")),
        lambda gallery: gallery.import_from(path.with_name("export.jsonl")),
        lambda gallery: gallery.find_person("ada"),
        lambda gallery: gallery.find_enrolled(make_sample(1).image_sha256),
        lambda gallery: gallery.enroll("Ada", [make_sample(99)], metadata={"team": "new"}),
        lambda gallery: gallery.rename_person("bob", "Bill"),
        lambda gallery: gallery.merge_people(3, "Ada"),
        lambda gallery: gallery.remove_samples([1]),
        lambda gallery: gallery.remove_person("Dora"),
    ]
    complaints: list[str] = []
    try:
        with open_gallery(path) as gallery:
            for method in methods:
                try:
                    method(gallery)
                except LightfaceError as error:
                    complaints.append(str(error))
    except LightfaceError as error:
        complaints.append(str(error))
    assert not [complaint for complaint in complaints if "\n" in complaint]
    return complaints


def write(path: Path, data: bytes) -> None:
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink()
    path.write_bytes(data)


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes replaced: anywhere, in the header and schema, in a run, or by a bit."""
    damaged = np.frombuffer(data, np.uint8).copy()
    limit = len(data) if rng.random() < 0.7 else 4096
    at = int(rng.integers(0, limit))
    match rng.integers(0, 4):
        case 0:
            damaged[at] ^= 1 << rng.integers(0, 8)
        case 1:
            damaged[at] = rng.integers(0, 256)
        case 2:
            damaged[rng.integers(0, limit, 20)] = rng.integers(0, 256, 20)
        case 3:
            damaged[at : at + 64] = rng.integers(0, 256)
    return damaged.tobytes()


def test_a_sound_file(sound: bytes, tmp_path: Path) -> None:
    write(tmp_path / "g.sqlite", sound)
    assert use_everything(tmp_path / "g.sqlite") == []


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes(sound: bytes, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "g.sqlite"
    refused = 0
    for _ in range(100):
        write(path, damage(sound, rng))
        refused += bool(use_everything(path))
    assert 10 < refused < 100


def test_a_cut_file(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    for length in range(1, len(sound), 1021):
        write(path, sound[:length])
        assert use_everything(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE person SET name = CAST(x'ff41' AS TEXT), name_key = CAST(x'ff41' AS TEXT) WHERE id = 1",
        "UPDATE person SET name = char(0, 10), name_key = 'ada' WHERE id = 1",
        "UPDATE person SET metadata = '[[\"a\", 1]]'",
        "UPDATE person SET metadata = replace(hex(zeroblob(60000)), '0', '[')",
        "UPDATE person SET created_at = '2025-01-01T00:00:00'",
        "UPDATE person SET created_at = '0001-01-01T00:00:00+14:00'",
        "UPDATE sample SET created_at = '2025-01-01'",
        "UPDATE sample SET embedding = zeroblob(1024)",
        "UPDATE sample SET embedding = CAST(replace(hex(zeroblob(512)), '00', x'0000c07f') AS BLOB)",
        "UPDATE sample SET det_score = 1e999",
        "UPDATE sample SET image_sha256 = ''",
        "UPDATE sample SET person_id = 999 WHERE id = 1",
        "UPDATE threshold SET far = 7",
        "UPDATE threshold SET created_at = '2025-01-01'",
        "UPDATE setting SET value = 'then' WHERE name = 'created_at'",
        "UPDATE setting SET value = '' WHERE name = 'model_id'",
    ],
)
def test_values_that_lightface_never_writes(sound: bytes, tmp_path: Path, statement: str) -> None:
    path = tmp_path / "g.sqlite"
    write(path, sound)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    complaints = use_everything(path)
    assert any("damaged" in complaint and "export" in complaint for complaint in complaints), complaints


def test_a_file_that_is_no_gallery_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("for everybody to read\n" * 300)
    path.chmod(0o644)
    with pytest.raises(GalleryError, match="not a gallery"):
        open_gallery(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o644


def test_samples_of_nobody_are_told_alike_wherever_they_are_met(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [make_sample(1)])
        gallery.enroll("Bob", [make_sample(2)])
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("UPDATE sample SET person_id = 77 WHERE id = 2")
    connection.commit()
    connection.close()
    with open_gallery(path) as gallery:
        for work in (
            lambda: gallery.samples(),
            lambda: gallery.matrix(),
            lambda: gallery.matrix_near(make_sample(2).vector[np.newaxis], 5),
            lambda: gallery.export_to(tmp_path / "export.jsonl"),  # which could not be imported again
        ):
            with pytest.raises(GalleryError, match=r"is damaged \(samples of nobody\); import the last export"):
                work()
        assert not (tmp_path / "export.jsonl").exists()
        gallery.remove_samples([2])
        assert [sample.id for sample in gallery.samples()] == [1]

"""Where a file is meant to be, a pipe, a device or a folder is refused at once, by whoever opens it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from doors import DOORS, Door
from PIL import Image
from soaking import Soak
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import embed_folder
from lightface.cli.inputs import read_pairs
from lightface.errors import ImageError, LightfaceError
from lightface.evaluation.protocols import read_protocol
from lightface.evaluation.protocols.agedb import read_agedb
from lightface.files import read_regular
from lightface.gallery import KeyFile, open_gallery
from lightface.gallery.search_index import read_index
from lightface.images import count_pixels, hash_file, load_photo
from lightface.models.weights import read_state
from lightface.pipeline import enroll_people
from lightface.pipeline.cluster import cluster_faces, enroll_groups
from lightface.tables import read_faces
from lightface.training.people_folder import align_people

SECONDS = 300  # after which whoever opens a pipe has waited for ever

OTHER_DOORS = [
    Door("key", lambda path: None, lambda path: KeyFile(path).read()),
    Door("hashed.jpg", lambda path: None, hash_file),
    Door("net.weights.safetensors", lambda path: None, read_state),
    Door("agedb.mat", lambda path: None, lambda path: read_agedb(path, images=path.parent)),
    Door("listed pairs.csv", lambda path: None, read_pairs),
]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes")


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A test that waits for ever fails."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for ever")

    earlier = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


ODD: list[Callable[[Path], None]] = [make_pipe, make_endless, make_terminal, make_folder]


@pytest.mark.parametrize("door", [*DOORS, *OTHER_DOORS], ids=lambda door: door.name)
@pytest.mark.parametrize("make", ODD)
def test_no_door_waits(door: Door, make: Callable[[Path], None], tmp_path: Path, soak: Soak) -> None:
    make(tmp_path / door.name)
    with pytest.raises(LightfaceError) as caught:
        door.enter(tmp_path / door.name)
    assert str(caught.value) and "\n" not in str(caught.value)
    soak.record("pipe, device or folder in a file's place", "each reader", injected=1)


@pytest.mark.parametrize("make", ODD)
def test_what_answers_without_an_error_does_not_wait_either(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "odd")
    assert count_pixels(tmp_path / "odd") == 0
    assert read_index(tmp_path / "odd") is None


@pytest.mark.parametrize("make", [make_pipe, make_endless])
def test_no_job_waits_for_one_among_photographs(make: Callable[[Path], None], tmp_path: Path) -> None:
    people, pipeline = tmp_path / "people", make_pipeline(MeanEmbedder())
    for name, colour in (("Ada", (200, 9, 9)), ("Bo", (9, 200, 9))):
        for number in range(2):
            paint(people / name / f"{number}.png", (colour[0], colour[1], 20 * number))
    make(people / "Ada" / "odd.jpg")
    with open_gallery(tmp_path / "gallery", model_id=pipeline.model_id, create=True) as gallery:
        enrolled = enroll_people(pipeline, gallery, people)
    assert [one.path.name for one in enrolled if isinstance(one.error, ImageError)] == ["odd.jpg"]
    for picture in read_protocol(people).pictures:
        if picture.name.endswith("odd.jpg"):
            with pytest.raises(ImageError):
                picture.sha256()
    Image.new("RGB", (144, 144)).save(people / "Ada" / "crop.png")
    entries, refused = align_people(people, cache=tmp_path / "cache")
    assert len(entries) >= 1 and any("odd.jpg" in one and "a pipe or a device" in one for one in refused)


def test_no_job_waits_for_a_photograph_that_became_a_pipe(tmp_path: Path) -> None:
    pipeline, output = make_pipeline(MeanEmbedder()), tmp_path / "faces.csv"
    photos = [paint(tmp_path / "photos" / f"{number}.png", (200, 9, number)) for number in range(3)]
    assert embed_folder(pipeline, [tmp_path / "photos"], output).embedded == 3
    faces = read_faces(output)
    photos[0].unlink()
    os.mkfifo(photos[0])
    summary = embed_folder(pipeline, [tmp_path / "photos"], output)
    assert (summary.unchanged, summary.failed) == (2, 1)
    with open_gallery(tmp_path / "gallery", model_id=pipeline.model_id, create=True) as gallery:
        enrolled = enroll_groups(gallery, cluster_faces(faces, threshold=0.5), "Guest")
    assert sorted(one.status for one in enrolled) == ["enrolled", "enrolled", "rejected"]


def test_a_file_without_end_is_not_hashed_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tmp_path / "sparse.jpg"
    with endless.open("wb") as file:
        file.truncate(1 << 43)  # takes no room on the disk
    monkeypatch.setattr("lightface.files.MOST_BYTES", 10_000_000)  # a gibibyte takes seconds
    for read in (hash_file, load_photo):
        with pytest.raises(ImageError, match="more than"):
            read(endless)
    with pytest.raises(OSError, match="more than"):
        read_regular(endless)

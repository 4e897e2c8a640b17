"""Several processes make the rows that one makes, and lose nothing when one of them dies."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import SemLock
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stand_ins import MeanEmbedder, MiddleDetector, make_pipeline, paint

from lightface.batch import EmbedProgress, embed_folder, journal_path
from lightface.batch import local as batch_processes
from lightface.batch.local import embed_in_processes, pack_pipeline, unpack_pipeline
from lightface.images import find_photos
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline
from lightface.records import ByteArray, DetectedFace, FaceSelection

DEADLY = (7, 7, 7)  # the colour of a photograph that ends whoever looks at it
SLOW = (8, 8, 8)


EMBED_SLOWLY = """if True:
    import sys
    from pathlib import Path
    from test_processes import mortal_pipeline
    from lightface.batch import embed_folder
    folder, output = map(Path, sys.argv[1:])
    embed_folder(mortal_pipeline(), [folder], output, batch_size=4, workers=2,
                 progress=lambda progress: print(progress.done, flush=True))
"""


def _environment() -> dict[str, str]:
    search = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    return {**os.environ, "PYTHONPATH": search}


class MortalDetector(MiddleDetector):
    """Dies as the system's memory killer would have it."""

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        if tuple(image_rgb[0, 0]) == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if tuple(image_rgb[0, 0]) == SLOW:
            time.sleep(3600)
        return super().detect(image_rgb)


@pytest.fixture
def crowd(folder: Path) -> Path:
    for number in range(20):
        paint(folder / f"crowd-{number:02}.png", (10 * number, 5, 5))
    return folder


def mortal_pipeline() -> FacePipeline:
    return FacePipeline(MortalDetector(), MeanEmbedder(), gates=FaceGates(min_quality=0.0))


def test_the_rows_do_not_depend_on_the_number_of_processes(crowd: Path, tmp_path: Path) -> None:
    tables, heard = [], list[EmbedProgress]()
    for workers in (1, 2):
        output = tmp_path / f"{workers}.parquet"
        summary = embed_folder(
            make_pipeline(MeanEmbedder()), [crowd], output, batch_size=4, workers=workers, progress=heard.append
        )
        assert (summary.embedded, summary.failed, summary.faces) == (23, 2, 24)
        tables.append(pq.read_table(output))
    assert tables[0].equals(tables[1])
    assert [progress.done for progress in heard] == 2 * [0, 4, 8, 12, 16, 20, 24, 25]


def test_a_job_that_several_began_is_continued_by_one(crowd: Path, tmp_path: Path) -> None:
    output, undisturbed = tmp_path / "faces.parquet", tmp_path / "undisturbed.parquet"

    def interrupt(progress: EmbedProgress) -> None:
        if progress.done == 8:
            raise KeyboardInterrupt

    pipeline = make_pipeline(MeanEmbedder())
    with pytest.raises(KeyboardInterrupt):
        embed_folder(pipeline, [crowd], output, batch_size=4, workers=2, progress=interrupt)
    assert embed_folder(pipeline, [crowd], output, workers=1).unchanged == 7  # not the broken one
    embed_folder(pipeline, [crowd], undisturbed, workers=1)
    assert pq.read_table(output).equals(pq.read_table(undisturbed))


def test_a_photograph_that_ends_its_process_is_reported_alone(crowd: Path, tmp_path: Path) -> None:
    deadly = paint(crowd / "crowd-03-deadly.png", DEADLY)
    output, expected = tmp_path / "faces.parquet", tmp_path / "expected.parquet"
    summary = embed_folder(mortal_pipeline(), [crowd], output, batch_size=4, workers=2)
    assert (summary.embedded, summary.failed) == (23, 3)
    rows = pq.read_table(output).to_pylist()
    assert {row["image_path"] for row in rows if row["error"] == "invalid_image"} == {
        str(deadly),
        str(crowd / "broken.jpg"),
    }
    deadly.unlink()
    embed_folder(mortal_pipeline(), [crowd], expected, workers=1)
    left = [row for row in rows if row["image_path"] != str(deadly)]
    assert left == pq.read_table(expected).to_pylist()


def test_a_process_that_is_killed_from_without_loses_nothing(crowd: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(progress: EmbedProgress) -> None:
        if progress.done == 8 and not killed:
            killed.extend(children_of(os.getpid()))
            os.kill(killed[0], signal.SIGKILL)

    output, undisturbed = tmp_path / "faces.parquet", tmp_path / "undisturbed.parquet"
    embed_folder(make_pipeline(MeanEmbedder()), [crowd], output, batch_size=4, workers=2, progress=kill)
    assert killed
    embed_folder(make_pipeline(MeanEmbedder()), [crowd], undisturbed, workers=1)
    assert pq.read_table(output).equals(pq.read_table(undisturbed))


def test_processes_end_with_the_one_that_gives_the_work(tmp_path: Path) -> None:
    for number in range(16):
        paint(tmp_path / "photos" / f"{number:02}.png", SLOW if number > 3 else (200, number, 9))
    output = tmp_path / "faces.csv"
    with subprocess.Popen(
        [sys.executable, "-c", EMBED_SLOWLY, tmp_path / "photos", output],
        stdout=subprocess.PIPE,
        env=_environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "4\n"]
        workers = children_of(process.pid)
        assert len(workers) >= 2
        process.kill()
    deadline = time.monotonic() + 300
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert journal_path(output).exists()


def test_nothing_is_left_in_shared_memory_when_all_are_killed(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("shared memory is elsewhere")
    for number in range(16):
        paint(tmp_path / "photos" / f"{number:02}.png", SLOW if number > 3 else (200, number, 9))
    before = set(os.listdir(shared))
    with subprocess.Popen(
        [sys.executable, "-c", EMBED_SLOWLY, tmp_path / "photos", tmp_path / "faces.csv"],
        stdout=subprocess.PIPE,
        env=_environment(),
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "4\n"]
        os.killpg(process.pid, signal.SIGKILL)
    assert not [name for name in set(os.listdir(shared)) - before if name.startswith("sem.")]


def test_no_room_in_shared_memory_is_no_hindrance(crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SemLock, "__init__", refuse)
    summary = embed_folder(make_pipeline(MeanEmbedder()), [crowd], tmp_path / "faces.csv", batch_size=4, workers=2)
    assert (summary.embedded, summary.failed) == (23, 2)


def test_where_fewer_processes_can_be_started_those_do_the_work(
    crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = BaseProcess.start
    started: list[Any] = []

    def start_one(process: BaseProcess) -> None:
        if started:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(process)
        start(process)

    monkeypatch.setattr(BaseProcess, "start", start_one)
    caplog.set_level(logging.INFO, "lightface")
    summary = embed_folder(make_pipeline(MeanEmbedder()), [crowd], tmp_path / "faces.csv", batch_size=4, workers=3)
    assert (summary.embedded, summary.failed) == (23, 2)
    assert "1 of 3 worker processes could be started" in caplog.text


def test_what_a_process_remarks_is_logged_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(8):
        picture = io.BytesIO()
        Image.new("RGB", (80, 80), (200, 9, 10 * number)).save(picture, "JPEG")
        (tmp_path / f"{number}.jpg").write_bytes(picture.getvalue()[:-2])
    embed_folder(make_pipeline(MeanEmbedder()), [tmp_path], tmp_path / "faces.csv", batch_size=2, workers=2)
    assert sum("lacks the mark of its end" in record.message for record in caplog.records) == 8


def test_what_cannot_travel_is_done_here(crowd: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = make_pipeline(MeanEmbedder())
    pipeline.detector.detect = lambda image_rgb: MiddleDetector().detect(image_rgb)  # type: ignore[method-assign]
    assert embed_folder(pipeline, [crowd], tmp_path / "faces.csv", batch_size=4, workers=2).embedded == 23
    assert "in this process" in caplog.text


def test_where_no_process_comes_up_the_work_is_done_here(
    crowd: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batch_processes, "_work", os.abort)  # takes no arguments: an error in each process
    photos = find_photos([crowd])
    pipeline = make_pipeline(MeanEmbedder())
    results = list(embed_in_processes(pipeline, photos, batch_size=4, workers=2))
    assert [result.path for result in results] == photos
    assert "in this process" in caplog.text


def test_little_work_is_not_shared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.batch.local.embed_in_processes", lambda *_, **__: pytest.fail("shared"))
    assert embed_folder(make_pipeline(MeanEmbedder()), [folder], tmp_path / "faces.csv").embedded == 3
    assert embed_folder(make_pipeline(MeanEmbedder()), [folder], tmp_path / "b.csv", workers=9).embedded == 3


def test_loaded_networks_are_loaded_again_in_another_process() -> None:
    loaded = load_pipeline(precision="fp32", gates=FaceGates(min_face_size_px=55.0))
    pipeline = loaded.selecting(FaceSelection.LARGEST)
    packed = pack_pipeline(pipeline)
    assert len(packed) < 1000
    twin = unpack_pipeline(packed)
    assert twin.fingerprint() == pipeline.fingerprint() != loaded.fingerprint()
    assert twin.selection is FaceSelection.LARGEST
    assert (twin.model_id, twin.gates, twin.embedder.precision) == (pipeline.model_id, pipeline.gates, "fp32")
    assert twin.detector.settings == pipeline.detector.settings  # type: ignore[attr-defined]


def test_real_networks_give_the_same_faces_in_any_number_of_processes(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    for number in range(4):
        side = 300 + 30 * number
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(data.astronaut()).resize((side, side)).save(tmp_path / "photos" / f"{number}.png")
    tables = []
    for workers in (1, 2):
        output = tmp_path / f"{workers}.parquet"
        embed_folder(load_pipeline(precision="fp32"), [tmp_path / "photos"], output, batch_size=2, workers=workers)
        tables.append(pq.read_table(output).to_pylist())
    one, two = tables
    assert len(one) == len(two) >= 4
    for a, b in zip(one, two, strict=True):
        assert (a["image_path"], a["face_index"], a["status"]) == (b["image_path"], b["face_index"], b["status"])
        assert np.allclose(a["bbox"], b["bbox"], atol=1e-2)
        assert np.allclose(a["embedding"], b["embedding"], atol=1e-4)


def children_of(pid: int) -> list[int]:
    """The worker processes of a process; not the one that keeps account of its resources."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("tells processes apart by /proc")
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in found.read_text().split()}
    return [child for child, line in lines.items() if b"spawn_main" in line]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

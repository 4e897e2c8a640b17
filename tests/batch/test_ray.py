"""Ray makes the rows that this process makes, on a real cluster of two workers, whatever becomes of them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from mortals import DEADLY, LocalEmbedder, MarkedDetector
from stand_ins import MeanEmbedder, make_pipeline, paint
from typer.testing import CliRunner

from lightface.batch import EmbedProgress, embed_folder
from lightface.cli.main import app
from lightface.errors import ConfigError, RemoteError
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

from lightface.batch import ray_engine
from lightface.batch.ray_engine import RayEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster with room for two workers, who find what stands here."""
    search = os.pathsep.join(str(Path(__file__).parents[up]) for up in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", search)
        patch.setenv("RAY_worker_niceness", "0")  # not 15: a test waits for them
        patch.delenv("RAY_ADDRESS", raising=False)
        with ExitStack() as stack:
            for tries_left in (2, 1, 0):  # Ray gives a machine that is busy with other tests 30 s to start a cluster
                try:
                    stack.enter_context(ray_engine._connected(None, 2))
                    break
                except RemoteError as error:
                    if not tries_left:
                        pytest.skip(f"no Ray cluster starts on this machine: {error}")
            yield


@pytest.fixture
def crowd(folder: Path) -> Path:
    for number in range(20):
        paint(folder / f"crowd-{number:02}.png", (10 * number, 5, 5))
    return folder


@pytest.fixture
def detector(tmp_path: Path) -> MarkedDetector:
    (tmp_path / "pids").mkdir()
    return MarkedDetector(tmp_path / "pids")


@pytest.fixture
def pipeline(detector: MarkedDetector) -> FacePipeline:
    return FacePipeline(detector, MeanEmbedder(), gates=FaceGates(min_quality=0.0))


def embed_here(place: Path, output: Path) -> list[dict[str, Any]]:
    embed_folder(make_pipeline(MeanEmbedder()), [place], output)
    return list(pq.read_table(output).to_pylist())


def assert_alike(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
    """The same rows, up to what the order of a network's sums makes of embeddings and boxes."""
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"bbox", "landmarks", "det_score", "quality", "embedding"}:
            assert a[name] == b[name]
        if a["embedding"] is not None:
            assert np.dot(a["embedding"], b["embedding"]) > 0.9999
            assert np.allclose(a["bbox"], b["bbox"], atol=0.5)


def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    crowd: Path, pipeline: FacePipeline, detector: MarkedDetector, tmp_path: Path
) -> None:
    output, killed, heard = tmp_path / "faces.parquet", list[int](), list[EmbedProgress]()

    def kill(progress: EmbedProgress) -> None:
        heard.append(progress)
        if progress.done and not killed:
            killed.append(detector.pids[0])
            os.kill(killed[0], signal.SIGKILL)
        if progress.done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_folder(pipeline, [crowd], output, batch_size=2, workers=2, engine=RayEngine(), progress=kill)
    assert killed
    assert os.getpid() not in detector.pids
    assert (heard[0].done, heard[0].total) == (0, 25)
    # Another engine goes on where this one was stopped.
    summary = embed_folder(pipeline, [crowd], output)
    assert summary.unchanged + summary.embedded + summary.failed == 25
    assert summary.unchanged >= heard[-1].done - 1  # the broken one is tried again
    assert pq.read_table(output).to_pylist() == embed_here(crowd, tmp_path / "here.parquet")
    # What is finished needs no cluster.
    (crowd / "broken.jpg").unlink()
    assert embed_folder(pipeline, [crowd], output, engine=RayEngine("no.such.example:1")).unchanged == 24
    moved = crowd.rename(crowd.with_name("moved"))
    assert embed_folder(pipeline, [moved], output, engine=RayEngine("no.such.example:1")).moved == 24


def test_a_photograph_that_ends_its_worker_is_reported_alone(
    crowd: Path, pipeline: FacePipeline, detector: MarkedDetector, tmp_path: Path
) -> None:
    deadly = paint(crowd / "crowd-03-deadly.png", DEADLY)
    output = tmp_path / "faces.parquet"
    summary = embed_folder(pipeline, [crowd], output, batch_size=2, workers=2, engine=RayEngine())
    assert (summary.embedded, summary.failed, summary.faces) == (23, 3, 24)
    rows = pq.read_table(output).to_pylist()
    assert {row["image_path"] for row in rows if row["error"] == "invalid_image"} == {
        str(deadly),
        str(crowd / "broken.jpg"),
    }
    deadly.unlink()
    assert [row for row in rows if row["image_path"] != str(deadly)] == embed_here(crowd, tmp_path / "here.parquet")


def test_an_address_where_nobody_listens_is_one_line() -> None:
    with pytest.raises(RemoteError, match=r"cannot use the Ray cluster at 'ray://127\.0\.0\.1:1'") as caught:
        ray_engine._check_address("ray://127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_a_share_of_several_gpus_is_refused() -> None:
    for share in (1.5, -1, float("nan")):
        with pytest.raises(ConfigError, match="share of one"):
            RayEngine(gpus=float(share))


def test_photographs_and_parts_go_by_url(crowd: Path, pipeline: FacePipeline, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    place, output = f"local://{crowd}", f"local://{tmp_path}/faces/"
    summary = embed_folder(pipeline, [place], output, batch_size=4, workers=1, engine=RayEngine())
    assert (summary.embedded, summary.failed) == (23, 2)
    rows = ds.dataset(tmp_path / "faces").to_table().to_pylist()
    expected = embed_here(crowd, tmp_path / "here.parquet")
    assert rows == [{**row, "image_path": f"local://{row['image_path']}"} for row in expected]


def test_a_worker_that_would_make_other_rows_is_refused(crowd: Path, detector: MarkedDetector, tmp_path: Path) -> None:
    pipeline = FacePipeline(detector, LocalEmbedder())
    with pytest.raises(RemoteError, match=rf"would make other rows: its model is '\d+', here it is '{os.getpid()}'"):
        embed_folder(pipeline, [crowd], tmp_path / "faces.csv", workers=1, engine=RayEngine())


def test_the_command_with_real_networks(grace_hopper_path: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(grace_hopper_path, tmp_path / "photos" / name)
    tables: list[Any] = []
    for engine in ("local", "ray"):
        output = tmp_path / f"{engine}.parquet"
        arguments = ["embed", str(tmp_path / "photos"), "-o", str(output), "--engine", engine, "--precision", "fp32"]
        result = CliRunner().invoke(app, [*arguments, "--workers", "1"])
        assert result.exit_code == 0, result.output
        assert "embedded 3 photographs with 3 faces" in result.stderr
        tables.append(pq.read_table(output).to_pylist())
    assert_alike(*tables)


def test_research_photographs_with_a_worker_killed(photo_paths: list[Path], tmp_path: Path) -> None:
    place = Path(os.path.commonpath(photo_paths))
    tables: list[Any] = []
    for engine in (None, RayEngine()):
        killed: list[int] = []

        def kill(progress: EmbedProgress, killed: list[int] = killed) -> None:
            if progress.done > 40 and not killed:
                killed.append(find_worker())
                os.kill(killed[0], signal.SIGKILL)

        output = tmp_path / f"{len(tables)}.parquet"
        options: dict[str, Any] = {} if engine is None else {"engine": engine, "workers": 2, "progress": kill}
        embed_folder(load_pipeline(precision="fp32"), [place], output, **options)
        assert len(killed) == (engine is not None)
        tables.append(pq.read_table(output).to_pylist())
    assert_alike(*tables)


def find_worker() -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # another process that has ended meanwhile
                if b"ray::_Worker" in (folder / "cmdline").read_bytes():
                    return int(folder.name)
    pytest.skip("tells processes apart by /proc")

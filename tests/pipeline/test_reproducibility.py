"""The same photograph gives the same embedding, whatever it is embedded beside, by, and from.

To the tolerance that `lightface doctor` holds for precisions, of which see tests/test_embedding.py; what involves no
rounding is equal to the bit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from lightface.images import save_image
from lightface.pipeline import FacePipeline, load_pipeline
from lightface.records import ByteArray, FloatArray

TOLERANCE = 0.999  # cosine


@pytest.fixture(scope="module")
def pipeline() -> FacePipeline:
    return load_pipeline(device="cpu")


@pytest.fixture
def photographs(tmp_path: Path, grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray) -> list[Path]:
    pictures = (grace_hopper_rgb, astronaut_rgb, grace_hopper_rgb[:, ::-1], astronaut_rgb[:300, 100:400])
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        save_image(np.ascontiguousarray(picture), path)
    return paths


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def embed(pipeline: FacePipeline, paths: list[Path], *, batch_size: int = 8) -> FloatArray:
    return np.stack(
        [face.vector for photo in pipeline.embed_paths(paths, batch_size=batch_size) for face in photo.faces]
    )


def test_beside_other_photographs(pipeline: FacePipeline, photographs: list[Path]) -> None:
    alone = np.concatenate([embed(pipeline, [path]) for path in photographs])
    assert (np.sum(embed(pipeline, photographs) * alone, axis=1) > TOLERANCE).all()
    assert (np.sum(embed(pipeline, photographs[::-1], batch_size=3)[::-1] * alone, axis=1) > TOLERANCE).all()


def test_by_any_number_of_threads(pipeline: FacePipeline, photographs: list[Path], threads: None) -> None:
    torch.set_num_threads(1)
    one = embed(pipeline, photographs)
    torch.set_num_threads(3)
    assert (np.sum(embed(pipeline, photographs) * one, axis=1) > TOLERANCE).all()


def test_again_and_by_another_process(pipeline: FacePipeline, photographs: list[Path], tmp_path: Path) -> None:
    here = embed(pipeline, photographs)
    assert (embed(pipeline, photographs) == here).all()
    output = tmp_path / "faces.parquet"
    program = [sys.executable, "-c", "from lightface.cli.main import run; run()", "embed", "-q", "--device", "cpu"]
    subprocess.run([*program, *map(str, photographs), "-o", str(output)], check=True)
    there = np.stack(pq.read_table(output).column("embedding").to_pylist())
    assert (np.sum(there * here, axis=1) > TOLERANCE).all()


def test_from_any_format_without_loss(pipeline: FacePipeline, photographs: list[Path], tmp_path: Path) -> None:
    for suffix in (".webp", ".bmp", ".tiff"):
        others = [(tmp_path / path.stem).with_suffix(suffix) for path in photographs]
        for path, other in zip(photographs, others, strict=True):
            Image.open(path).save(other, lossless=True)  # WebP alone looks at that
        assert (embed(pipeline, others) == embed(pipeline, photographs)).all()

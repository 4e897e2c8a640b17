"""What the tests of the command line share: a runner, portraits as files, galleries with made-up people."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli
from PIL import Image
from typer.testing import CliRunner, Result

from lightface.records import ByteArray


@pytest.fixture
def cli() -> Cli:
    """Run the command line in this process: `cli("gallery", "list")`."""
    from lightface.cli.main import app

    def run(*arguments: object, input: str | bytes | None = None, env: dict[str, str] | None = None) -> Result:
        # Wide enough that no help text is folded in the middle of what is asserted.
        return CliRunner(env={"COLUMNS": "200", **(env or {})}).invoke(app, [str(part) for part in arguments], input)

    return run


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the maintainer's has a say, and the commands' verbosity does not outlive a test."""
    for variable in os.environ:
        if variable.startswith("LIGHTFACE_"):
            monkeypatch.delenv(variable)
    loggers = [logging.getLogger("lightface"), logging.getLogger("lightface.cli")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.handlers.clear()


@pytest.fixture(scope="session")
def collins_path(astronaut_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eileen Collins as a file."""
    path = tmp_path_factory.mktemp("collins") / "collins.png"
    Image.fromarray(astronaut_rgb).save(path)
    return path


@pytest.fixture(scope="session")
def landscape_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("landscape") / "landscape.png"
    rows = np.linspace(0, 255, 240, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(rows[:, None, None], (240, 320, 3)).copy()).save(path)
    return path


@pytest.fixture
def made_up_gallery(tmp_path: Path) -> Path:
    """A gallery of Ada (two samples) and Émile (one), whose embeddings are unit vectors."""
    from lightface.gallery import NewSample, open_gallery

    path = tmp_path / "made-up.sqlite"

    def sample(number: int) -> NewSample:
        return NewSample(
            vector=np.eye(256, dtype=np.float32)[number],
            model_id="lightcnn9-000000000000",
            source_path=f"/photos/{number}.jpg",
            image_sha256=f"{number:064x}",
            box_px=(10.0, 20.0, 110.0, 140.0),
            det_score=0.99,
            quality=0.75,
        )

    with open_gallery(path, create=True) as gallery:
        gallery.enroll("Ada", [sample(1), sample(2)], metadata={"team": "engines"})
        gallery.enroll("Émile", [sample(3)])
    return path


@pytest.fixture(scope="session")
def hopper_mirrored_path(grace_hopper_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another photograph of Grace Hopper."""
    path = tmp_path_factory.mktemp("mirrored") / "hopper-mirrored.png"
    Image.fromarray(grace_hopper_rgb[:, ::-1].copy()).save(path)
    return path


@pytest.fixture(scope="session")
def both_path(grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grace Hopper, the larger face, left of Eileen Collins."""
    path = tmp_path_factory.mktemp("both") / "both.png"
    Image.fromarray(np.hstack([grace_hopper_rgb[:512], astronaut_rgb])).save(path)
    return path


@pytest.fixture(scope="session")
def _portrait_gallery(grace_hopper_path: Path, collins_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lightface.gallery import open_gallery
    from lightface.pipeline import enroll_photos, load_pipeline

    path = tmp_path_factory.mktemp("gallery") / "portraits.sqlite"
    pipeline = load_pipeline(device="cpu")
    with open_gallery(path, model_id=pipeline.model_id, create=True) as gallery:
        enroll_photos(pipeline, gallery, "Grace Hopper", [grace_hopper_path])
        enroll_photos(pipeline, gallery, "Eileen Collins", [collins_path])
    return path


@pytest.fixture
def portrait_gallery(_portrait_gallery: Path, tmp_path: Path) -> Path:
    """A gallery of Grace Hopper and Eileen Collins, a copy for each test."""
    return Path(shutil.copy(_portrait_gallery, tmp_path / "portraits.sqlite"))

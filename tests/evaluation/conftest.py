"""Twelve people of colour, four pictures each, evaluated once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faces_of_colour import HOSTILE_NAME, make_colour_pipeline, paint_people

from lightface.evaluation.evaluate import Evaluation, evaluate_pairs
from lightface.evaluation.groups import read_groups
from lightface.evaluation.protocols import read_protocol
from lightface.evaluation.rejects import measure_rejects
from lightface.measurement.metrics import SourcedThreshold
from lightface.pipeline import FacePipeline


@pytest.fixture
def pipeline() -> FacePipeline:
    return make_colour_pipeline()


@pytest.fixture(scope="session")
def people_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people with four pictures, and one broken picture, of a person with a hostile name."""
    folder = paint_people(tmp_path_factory.mktemp("people"), 12, 4)
    (folder / "p012").rename(folder / HOSTILE_NAME)
    (folder / HOSTILE_NAME / "5.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="session")
def evaluation(people_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    table = tmp_path_factory.mktemp("groups") / "groups.csv"
    names = sorted(path.name for path in people_folder.iterdir())
    table.write_text(
        "person,team\n" + "".join(f"{name},{'even' if n % 2 else 'odd'}\n" for n, name in enumerate(names))
    )
    evaluation = evaluate_pairs(
        make_colour_pipeline(noise=2.6),
        read_protocol(people_folder),
        thresholds=[SourcedThreshold(0.25, "in use")],
        groups=read_groups(table),
    )
    assert evaluation.rejects is None  # pictures of one colour are equally good
    quality = np.random.default_rng(0).random(len(evaluation.pairs.pictures))
    return replace(evaluation, rejects=measure_rejects(evaluation.scored, quality))

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lightface.embedding import Embedder
from lightface.errors import CheckpointError, TrainingError
from lightface.measurement.metrics import threshold_at_far
from lightface.measurement.pairs import Pairs, pair_for_training
from lightface.models.weights import import_checkpoint, load_model
from lightface.records import AlignedFace, Frame
from lightface.training.config import CardSettings, NetworkSettings, TrainingConfig
from lightface.training.export import Exported, export_run, find_thresholds, finish_network, measure_intervals
from lightface.training.model import build_network, settle_on
from lightface.training.preparation import TrainingData
from lightface.training.run_folder import BEST, load_checkpoint
from lightface.training.validation import embed_crops


@pytest.fixture(scope="module")
def run(one_epoch_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own, since tests export into it."""
    folder = tmp_path_factory.mktemp("exports") / "run"
    shutil.copytree(one_epoch_run, folder)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tiny_config: TrainingConfig) -> Exported:
    card = CardSettings(training_data="Drawn faces.", licence="public domain", limits="It knows nothing.")
    return export_run(replace(tiny_config, card=card), run, run, name="drawn")


def test_the_file_is_a_plain_network_in_half_precision(exported: Exported) -> None:
    with safe_open(exported.record.file, "pt") as file:
        keys = set(file.keys())
        assert {file.get_tensor(key).dtype for key in keys} == {torch.float16}
        assert "lightface" in file.metadata()
    assert keys == set(build_network(NetworkSettings()).state_dict())
    assert exported.record.file.stat().st_size < 12e6


def test_recognition_embeds_as_training_did(
    exported: Exported, run: Path, tiny_config: TrainingConfig, tiny_data: TrainingData, cpu: torch.device
) -> None:
    imported = import_checkpoint(exported.record.file, name="drawn-copy")
    assert (imported.pooling, imported.thresholds) == ("stochastic", exported.record.thresholds)
    assert imported.measured_on == exported.record.measured_on
    model = load_model("drawn-copy")
    trained = build_network(tiny_config.network)
    trained.load_state_dict(load_checkpoint(run / BEST, device=cpu)["network"])
    settle_on(trained, tiny_data.crops, tiny_data.split)
    pixels = tiny_data.crops.decoded.pixels[tiny_data.split.dev_rows]
    expected = embed_crops(trained.eval(), pixels, device=cpu, precision="fp32")
    faces = [
        AlignedFace(np.repeat(crop[0, 8:136, 8:136, None], 3, axis=-1), Frame(), detection=None) for crop in pixels
    ]
    rows = Embedder(model, device="cpu", precision="fp32").embed(faces)
    assert imported.flip  # as it was measured
    assert (rows * expected).sum(axis=1).min() > 0.995  # half precision, of a network that hardly learnt


def test_the_record_and_the_card(exported: Exported, run: Path) -> None:
    record = exported.record
    assert record.accuracy == record.thresholds == {}  # two people say nothing
    assert record.measured_on == ""
    assert 'sha256 = "' + record.sha256 in (run / "registry.toml").read_text()
    card = exported.card.read_text()
    assert "Drawn faces." in card and "**Licence:** public domain" in card and "It knows nothing." in card
    assert "2 validation people are too few" in card and "96 crops seen in 12 steps" in card
    assert str(run.parent) not in card


def test_a_card_comes_along_when_its_weights_are_imported(exported: Exported) -> None:
    imported = import_checkpoint(exported.record.file, name="drawn-with-card")
    assert imported.card == "drawn-with-card.md"
    assert imported.read_card() == exported.card.read_text()


def test_thresholds_are_of_all_impostor_pairs() -> None:
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 4)
    pairs = pair_for_training(people, limit=None)
    scores = generator.normal(size=len(pairs.same)).astype(np.float32)
    found = find_thresholds(scores, pairs, people)
    assert list(found) == ["1e-2"]  # 3,040 impostors: 30 false accepts at 1e-2, 3 at 1e-3
    threshold = found["1e-2"]
    assert threshold.estimate == threshold_at_far(scores[~pairs.same], 1e-2)
    assert threshold.low < threshold.estimate < threshold.high
    assert np.mean(scores[~pairs.same] >= threshold.estimate) == pytest.approx(0.01, abs=3e-4)


def test_figures_are_given_as_far_as_pairs_and_people_go() -> None:
    people = np.repeat(np.arange(20), 4)
    pairs = pair_for_training(people, limit=None)
    scores = np.random.default_rng(0).normal(size=len(pairs.same)).astype(np.float32) + pairs.same
    figures = measure_intervals(scores.astype(np.float32), pairs, people)
    assert list(figures) == ["TAR at FAR 1e-2", "EER"]  # 3,040 impostors are too few for 1e-3
    assert figures["EER"].low < figures["EER"].estimate < figures["EER"].high
    few = pairs.a < 36, pairs.b < 36  # nine people
    some = Pairs(*(getattr(pairs, side)[few[0] & few[1]] for side in ("a", "b", "same")))
    assert measure_intervals(scores[few[0] & few[1]], some, people[:36]) == {}


def test_ten_false_accepts_are_needed() -> None:
    people = np.arange(46)  # 1,035 impostor pairs
    pairs = pair_for_training(people, limit=None)
    same = Pairs(np.array([0]), np.array([0]), np.array([True]))
    joined = Pairs(*(np.append(getattr(pairs, side), getattr(same, side)) for side in ("a", "b", "same")))
    scores = np.linspace(0, 1, len(joined.same), dtype=np.float32)
    assert set(find_thresholds(scores, joined, people)) == {"1e-2"}
    fewer = Pairs(joined.a[-900:], joined.b[-900:], joined.same[-900:])
    assert find_thresholds(scores[-900:], fewer, people) == {}


def test_weights_that_half_precision_changes_are_refused() -> None:
    network = build_network(NetworkSettings())
    with torch.no_grad():
        network.get_parameter("fc1.filter.weight").mul_(1e-9)  # half precision ends at 6e-8
        network.get_parameter("fc1.filter.bias").normal_(std=1e-10)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 144, 144), dtype=np.uint8)
    with pytest.raises(TrainingError, match="half precision changes the network's embeddings"):
        finish_network(network, pixels)


def test_data_that_changed_since_are_refused(tiny_config: TrainingConfig, run: Path, tmp_path: Path) -> None:
    """Or people who were trained on would be measured on."""
    with pytest.raises(
        TrainingError, match=r"the data, its teachers, pairs or groups changed since .*best.pt; put them back"
    ):
        export_run(
            replace(tiny_config, seed=1, data=replace(tiny_config.data, teachers=())), run, tmp_path, name="other"
        )
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_network(tiny_config: TrainingConfig, run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="name the folder of a run"):
        export_run(tiny_config, tmp_path, tmp_path, name="none")
    other = replace(tiny_config, network=replace(tiny_config.network, norm=False))
    with pytest.raises(CheckpointError, match="is unexpected"):
        partial(export_run, other, run, run, name="none")()

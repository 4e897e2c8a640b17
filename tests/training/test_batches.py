from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightface.training.batches import BatchSource, DataPosition
from lightface.training.distributed import Processes
from lightface.training.preparation import TrainingData


def source(
    data: TrainingData, *, rank: int = 0, count: int = 1, seed: int = 0, person_share: float = 0.0
) -> BatchSource:
    return BatchSource(
        data.crops,
        data.split,
        device=torch.device("cpu"),
        seed=seed,
        processes=Processes(rank, rank, count),
        person_share=person_share,
    )


def test_a_batch_is_what_the_index_says(tiny_data: TrainingData) -> None:
    batch, after = source(tiny_data).take(DataPosition(), 8)
    rows = batch.rows.numpy()
    assert batch.crops.shape == (8, 1, 144, 144)
    assert np.array_equal(batch.crops.numpy(), tiny_data.crops.decoded.pixels[rows])
    places = [tiny_data.split.rows.tolist().index(row) for row in rows]
    assert batch.targets.labels.tolist() == tiny_data.split.labels[places].tolist()
    assert batch.targets.teacher is not None and tiny_data.crops.teacher is not None
    teacher = tiny_data.crops.teacher.rows
    centred = teacher[rows] - teacher[tiny_data.split.rows].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    assert batch.targets.teacher.numpy() == pytest.approx(centred, abs=1e-6)
    assert after == DataPosition(0, 8)


def test_crops_of_one_person_can_share_the_teachers_view(tiny_data: TrainingData) -> None:
    batch, _ = source(tiny_data, person_share=1.0).take(DataPosition(), 96)
    assert batch.targets.teacher is not None
    people = np.array([tiny_data.crops.entries[row].identity for row in batch.rows])
    cosines = (batch.targets.teacher @ batch.targets.teacher.T).numpy()
    same = people[:, None] == people[None, :]
    assert cosines[same] == pytest.approx(1, abs=1e-5)
    assert cosines[~same].max() < 0.999


def test_what_a_teacher_does_not_know_comes_with_the_batch(tiny_data: TrainingData) -> None:
    teacher = tiny_data.crops.teacher
    assert teacher is not None and source(tiny_data).take(DataPosition(), 8)[0].targets.known is None
    known = teacher.known.copy()
    known[::2] = False
    gaps = replace(tiny_data, crops=replace(tiny_data.crops, teacher=replace(teacher, known=known)))
    batches = source(gaps, person_share=0.5)
    for batch in (batches.take(DataPosition(), 8)[0], batches.sample(20)):
        found, rows = batch.targets, batch.rows.numpy()
        assert found.known is not None and found.teacher is not None
        assert found.known.shape == found.teacher.shape
        assert torch.equal(found.known[:, 0], torch.from_numpy(rows % 2 == 1))
        assert torch.equal(found.teacher.any(dim=1), found.known[:, 0])
        assert torch.isfinite(found.teacher).all()


def test_an_epoch_shows_every_crop_once_in_an_order_of_its_own(tiny_data: TrainingData) -> None:
    batches, position, seen = source(tiny_data), DataPosition(), []
    for _ in range(24):
        batch, position = batches.take(position, 8)
        seen.append(batch.rows)
    first, second = (torch.cat(seen[i : i + 12]).tolist() for i in (0, 12))
    assert sorted(first) == sorted(second) == sorted(tiny_data.split.rows.tolist())
    assert first != second
    assert position == DataPosition(2, 0)


def test_a_sample_comes_from_all_over_the_data(tiny_data: TrainingData) -> None:
    sample = source(tiny_data).sample(12)
    rows = sample.rows.tolist()
    assert rows == tiny_data.split.rows[:: 1 + 96 // 12].tolist() and len(rows) == 11
    assert np.array_equal(sample.crops.numpy(), tiny_data.crops.decoded.pixels[rows])
    assert sample.targets.teacher is not None and sample.targets.teacher.shape[0] == 11
    assert len(source(tiny_data).sample(10_000).rows) == 96


def test_crops_that_lie_on_the_device_make_the_same_batches(
    tiny_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a GPU does, done on the CPU."""
    monkeypatch.setattr(BatchSource, "_fits", lambda self, count: True)
    monkeypatch.setattr("lightface.training.batches._ROWS_AT_ONCE", 7)
    resident = source(tiny_data, rank=1, count=2)
    monkeypatch.undo()
    mapped = source(tiny_data, rank=1, count=2)
    assert resident._resident is not None and mapped._resident is None
    pairs = [(sources.take(DataPosition(2, 8), 16)[0], sources.sample(12)) for sources in (resident, mapped)]
    for one, other in zip(*pairs, strict=True):
        assert torch.equal(one.crops, other.crops) and torch.equal(one.rows, other.rows)
        assert torch.equal(one.targets.labels, other.targets.labels)
        assert one.targets.teacher is not None and other.targets.teacher is not None
        assert torch.equal(one.targets.teacher, other.targets.teacher)


def test_what_fills_no_batch_is_passed_over(tiny_data: TrainingData) -> None:
    batches = source(tiny_data)
    assert batches.take(DataPosition(0, 0), 90)[1] == DataPosition(1, 0)
    # A larger batch than the one before does not fit the rest: the next epoch gives it.
    batch, after = batches.take(DataPosition(0, 90), 10)
    assert after == DataPosition(1, 10)
    assert batch.rows.tolist() == batches.take(DataPosition(1, 0), 10)[0].rows.tolist()


def test_a_position_is_all_that_a_batch_depends_on(tiny_data: TrainingData) -> None:
    position = DataPosition(3, 16)
    one, other = (source(tiny_data).take(position, 8)[0].rows for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, source(tiny_data, seed=1).take(position, 8)[0].rows)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_a_batch(tiny_data: TrainingData, count: int) -> None:
    whole, after = source(tiny_data).take(DataPosition(), 8)
    parts = [source(tiny_data, rank=rank, count=count).take(DataPosition(), 8) for rank in range(count)]
    assert torch.equal(torch.cat([batch.rows for batch, _ in parts]), whole.rows)
    assert {position for _, position in parts} == {after}

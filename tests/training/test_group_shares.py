from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lightface.crops import CropEntry
from lightface.errors import TrainingError
from lightface.training.batches import BatchSource, DataPosition
from lightface.training.config import CellShare, DataSettings, GroupColumn, GroupSettings
from lightface.training.distributed import Processes
from lightface.training.group_shares import UNLABELLED, Cells, GroupedOrder, find_shares, read_cells
from lightface.training.preparation import TrainingData

SETTINGS = GroupSettings(table=Path("t.csv"), columns=(GroupColumn("age", (3, 13)), GroupColumn("sex")))
NAMES = ((), ("from 3", "f"), ("from 3", "m"), ("under 3", "m"))
# 60 crops without labels, and cells of 30, 8 and 2.
CELLS = Cells(np.repeat([0, 1, 2, 3], [60, 30, 8, 2]), NAMES)
ALL = np.arange(100)


def read(folder: Path, text: str) -> list[tuple[str, ...]]:
    """The cell of each of four crops."""
    (folder / "t.csv").write_text(text)
    entries = [CropEntry(folder / f"{row // 2}.zip", f"{row % 2}.png") for row in range(4)]
    cells = read_cells(DataSettings(folder=folder, groups=SETTINGS), entries, [4])
    return [cells.names[number] for number in cells.numbers]


@pytest.mark.parametrize(
    "text",
    [
        "row,age,sex,more\n3,13,m,x\n0,2.9,m,x\n2,12,f,\n1,,f,\n",
        "shard,name,sex,age\n1.zip,1.png,m,40\n0.zip,0.png, m ,0\n1.zip,0.png,f,3\n",
    ],
    ids=["rows", "names"],
)
def test_a_table_says_which_crop_is_of_which_cell(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [("under 3", "m"), (), ("from 3", "f"), ("from 13", "m")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,sex\n0,m\n", "t.csv has no column 'age'; it has: row, sex"),
        ("age,sex\n3,m\n", "t.csv names no crops; give it a column row, or shard and name"),
        ("row,age,sex\n4,3,m\n", "t.csv: row 0 names row '4', and .* has 4 crops"),
        ("row,age,sex\n-1,3,m\n", "t.csv: row 0 names row '-1'"),
        (f"row,age,sex\n{'9' * 5000},3,m\n", "t.csv: row 0 names row '9999999999999999', and"),
        ("shard,name,age,sex\n0.zip,7.png,3,m\n", "t.csv: row 0 names 0.zip/7.png, which is no crop of"),
        ("row,age,sex\n0,3,m\n1,old,m\n", "t.csv: row 1 has 'old' as age; its bounds need numbers"),
        ("row,age,sex\n0,nan,m\n", "has 'nan' as age"),
        ("row,age,sex\n0,3,m\n0,3,f\n", "t.csv has two cells for row 0 of .*; leave one out"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read(tmp_path, text)


def test_a_table_that_is_not_there_and_a_folder_of_people(tmp_path: Path) -> None:
    settings = DataSettings(folder=tmp_path, groups=SETTINGS)
    with pytest.raises(TrainingError, match="cannot read the table of groups"):
        read_cells(settings, [CropEntry(tmp_path / "a.zip", "1.png")], [1])
    with pytest.raises(TrainingError, match="a table of groups needs crops in shards, with an index"):
        read_cells(settings, [CropEntry(tmp_path / "ann" / "1.png", None)], [1])


def test_each_folder_has_its_table(tmp_path: Path) -> None:
    for name, label in (("one", "f"), ("two", "m")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.csv").write_text(f"row,age,sex\n1,5,{label}\n")
    folders = (tmp_path / "one", tmp_path / "two")
    entries = [CropEntry(folder / "a.zip", f"{row}.png", folder=folder.name) for folder in folders for row in range(2)]

    def numbers(*table: str) -> list[int]:
        groups = replace(SETTINGS, table=tuple(map(Path, table)))
        found: list[int] = read_cells(DataSettings(folder=folders, groups=groups), entries, [2, 2]).numbers.tolist()
        return found

    assert numbers("t.csv", "t.csv") == [0, 1, 0, 2]
    assert numbers("", "t.csv") == [0, 0, 0, 1]


def test_cells_are_seen_alike_as_far_as_they_go() -> None:
    shares = find_shares(CELLS, ALL, replace(SETTINGS, most_repeats=100))
    assert shares == pytest.approx([0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3])
    # Two crops are 2 % at once; six times as much is the most, and what is left is for the others.
    assert find_shares(CELLS, ALL, replace(SETTINGS, most_repeats=6)) == pytest.approx([0.6, 0.14, 0.14, 0.12])
    more = replace(SETTINGS, most_repeats=100, labelled_share=0.9)
    assert find_shares(CELLS, ALL, more) == pytest.approx([0.1, 0.3, 0.3, 0.3])
    # What no cell can take is for those without labels.
    assert find_shares(CELLS, ALL, replace(more, most_repeats=1.5)) == pytest.approx([0.4, 0.45, 0.12, 0.03])
    named = replace(SETTINGS, most_repeats=100, cells=(CellShare(("from 3", "m"), 2.0),))
    assert find_shares(CELLS, ALL, named) == pytest.approx([0.6, 0.1, 0.2, 0.1])
    assert find_shares(CELLS, ALL[60:], replace(more, labelled_share=0.5))[UNLABELLED] == 0  # all have labels


def test_shares_that_are_refused() -> None:
    with pytest.raises(TrainingError, match="no crop that is trained on has labels in the table of groups"):
        find_shares(CELLS, ALL[:60], SETTINGS)
    unknown = replace(SETTINGS, cells=(CellShare(("from 3", "x"), 2.0),))
    with pytest.raises(TrainingError, match="no crop is of the group 'from 3, x'; there are such as: from 3, f"):
        find_shares(CELLS, ALL, unknown)


def test_an_epoch_gives_each_cell_its_share_and_each_crop_its_turn() -> None:
    order = GroupedOrder(CELLS, ALL, replace(SETTINGS, most_repeats=6), seed=3)
    epochs = [order.draw_epoch(epoch) for epoch in range(5)]
    for places in epochs:
        assert np.bincount(CELLS.numbers[places]).tolist() == [60, 14, 14, 12]
    seen = np.bincount(np.concatenate(epochs), minlength=100)
    assert set(seen[:60]) == {5}
    assert set(seen[60:90]) == {2, 3} and set(seen[90:98]) == {8, 9} and set(seen[98:]) == {30}
    assert not np.array_equal(epochs[0], epochs[1])
    again = GroupedOrder(CELLS, ALL, replace(SETTINGS, most_repeats=6), seed=3)
    assert np.array_equal(again.draw_epoch(4), epochs[4])  # without those before it
    other = GroupedOrder(CELLS, ALL, replace(SETTINGS, most_repeats=6), seed=4)
    assert not np.array_equal(other.draw_epoch(4), epochs[4])


def test_a_batch_of_one_cell_now_and_then() -> None:
    order = GroupedOrder(CELLS, ALL, replace(SETTINGS, grouped_batches=0.25, most_repeats=100), seed=0)
    places = np.arange(10)  # without labels
    grouped = dict.fromkeys(range(4), 0)
    for offset in range(0, 4000, 10):
        batch = order.gather(places, epoch=1, offset=offset)
        assert len(batch) == 10
        assert np.array_equal(batch, order.gather(places, epoch=1, offset=offset))
        cells = CELLS.numbers[batch]
        grouped[int(cells[0])] += 1
        if cells[0]:
            count = int((cells == cells[0]).sum())
            assert count == len(set(batch[:count])) == {1: 10, 2: 8, 3: 2}[int(cells[0])]
            assert np.array_equal(batch[count:], places[count:])
        else:
            assert np.array_equal(batch, places)
    assert 60 < sum(grouped[cell] for cell in (1, 2, 3)) < 140  # 100 of 400
    assert min(grouped.values()) > 15
    never = GroupedOrder(CELLS, ALL, SETTINGS, seed=0)
    assert all(never.gather(places, epoch=0, offset=offset) is places for offset in range(20))


def test_batches_by_group_depend_on_the_position_alone(tiny_data: TrainingData) -> None:
    crops = len(tiny_data.crops)
    cells = Cells(np.arange(crops) % 4 * (np.arange(crops) > crops // 2), NAMES)
    data = replace(tiny_data, crops=replace(tiny_data.crops, cells=cells))
    groups = replace(SETTINGS, grouped_batches=0.5, labelled_share=0.8)

    def source(rank: int = 0, count: int = 1) -> BatchSource:
        return BatchSource(
            data.crops,
            data.split,
            device=torch.device("cpu"),
            seed=0,
            processes=Processes(rank, rank, count),
            groups=groups,
        )

    whole = source()
    position, rows = DataPosition(), []
    for _ in range(12):
        batch, position = whole.take(position, 8)
        rows.append(batch.rows)
    assert position == DataPosition(1)
    assert any(len(set(cells.numbers[part].tolist())) == 1 for part in rows)
    assert torch.equal(source().take(DataPosition(0, 40), 8)[0].rows, rows[5])
    parts = [source(rank, 2).take(DataPosition(0, 40), 8)[0].rows for rank in range(2)]
    assert torch.equal(torch.cat(parts), rows[5])

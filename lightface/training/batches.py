"""Training crops in an order of their own each epoch, batch by batch, on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightface.records import ByteArray, IntArray
from lightface.training.config import GroupSettings
from lightface.training.data import CropSet
from lightface.training.distributed import Processes
from lightface.training.group_shares import GroupedOrder
from lightface.training.objectives.objective import Targets
from lightface.training.split import TrainingSplit

# A data set that takes less than this share of the free GPU memory is put there whole.
_RESIDENT_SHARE = 0.5
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class DataPosition:
    """How far the data have been read: all that a resumed run needs to know of them."""

    epoch: int = 0
    offset: int = 0  # crops of this epoch that were taken, by all processes


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One process's part of a step's crops."""

    crops: Tensor  # (N, C, 144, 144) uint8
    targets: Targets
    rows: Tensor  # (N,) int64, of the `CropSet`; not always on the device


class BatchSource:
    """Takes batches by position. An epoch's order follows from the seed, the epoch and the groups alone."""

    def __init__(
        self,
        crops: CropSet,
        split: TrainingSplit,
        *,
        device: torch.device,
        seed: int,
        processes: Processes,
        person_share: float = 0.0,
        groups: GroupSettings | None = None,
    ) -> None:
        self._device, self._seed, self._processes = device, seed, processes
        self._pixels = crops.decoded.pixels
        self._resident = _upload(self._pixels, split.rows, device) if self._fits(len(split.rows)) else None
        home = torch.device("cpu") if self._resident is None else device  # where batches are put together
        self._rows = torch.from_numpy(split.rows).to(home)
        self._labels = torch.from_numpy(split.labels).to(home)
        self._teacher = self._known = None
        if crops.teacher is not None:
            teacher = crops.teacher.choose(split.rows)
            if person_share:
                people = np.array([crops.entries[row].person for row in split.rows])
                teacher = teacher.move_to_people(people, share=person_share)
            self._teacher = torch.from_numpy(teacher.centre(teacher.find_mean())).to(home)
            if not teacher.complete:
                self._known = torch.from_numpy(teacher.known[:, teacher.columns]).to(home)
        self._grouped = None
        if groups is not None and crops.cells is not None:
            self._grouped = GroupedOrder(crops.cells, split.rows, groups, seed=seed)
        self._order, self._order_epoch = torch.empty(0), -1

    def __len__(self) -> int:
        """Crops in an epoch."""
        return len(self._rows)

    def take(self, position: DataPosition, batch_size: int) -> tuple[Batch, DataPosition]:
        """This process's part of the next `batch_size` crops, and the position after them.

        What is left of an epoch and fills no batch is passed over. `batch_size` must divide by the processes.
        """
        position = self._skip_rest(position, batch_size)
        share = batch_size // self._processes.count
        start = self._processes.rank * share
        chosen = self._choose(position, batch_size)[start : start + share]
        rows = self._rows[chosen]
        crops = torch.from_numpy(self._pixels[rows.numpy()]) if self._resident is None else self._resident[chosen]
        targets = self._find_targets(chosen)
        teacher, known = (None if part is None else self._bring(part) for part in (targets.teacher, targets.known))
        batch = Batch(self._bring(crops), Targets(self._bring(targets.labels), teacher, known), rows)
        after = DataPosition(position.epoch, position.offset + batch_size)
        return batch, self._skip_rest(after, batch_size)

    def sample(self, count: int) -> Batch:
        """At most `count` crops from all over the data, on the CPU, the same in every process."""
        chosen = torch.arange(0, len(self), 1 + len(self) // count, device=self._rows.device)
        rows = self._rows[chosen].cpu()
        found = self._find_targets(chosen)
        teacher, known = (None if part is None else part.cpu() for part in (found.teacher, found.known))
        targets = Targets(found.labels.cpu(), teacher, known)
        return Batch(torch.from_numpy(self._pixels[rows.numpy()]), targets, rows)

    def _skip_rest(self, position: DataPosition, batch_size: int) -> DataPosition:
        rest = len(self) - position.offset
        return DataPosition(position.epoch + 1) if rest < batch_size else position

    def _find_targets(self, chosen: Tensor) -> Targets:
        teacher, known = (None if part is None else part[chosen] for part in (self._teacher, self._known))
        return Targets(self._labels[chosen], teacher, known)

    def _choose(self, position: DataPosition, batch_size: int) -> Tensor:
        """The places of a whole batch, of all processes."""
        places = self._order_of(position.epoch)[position.offset : position.offset + batch_size]
        if self._grouped is None:
            return places
        gathered = self._grouped.gather(places.cpu().numpy(), epoch=position.epoch, offset=position.offset)
        return torch.from_numpy(gathered).to(places.device)

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._order_epoch:
            if self._grouped is None:
                order = np.random.default_rng([self._seed, epoch]).permutation(len(self))
            else:
                order = self._grouped.draw_epoch(epoch)
            self._order, self._order_epoch = torch.from_numpy(order).to(self._rows.device), epoch
        return self._order

    def _bring(self, part: Tensor) -> Tensor:
        """To the device, where it is not there already."""
        if self._device.type == "cuda" and not part.is_cuda:
            # From pinned memory the copy runs beside the step before.
            return part.pin_memory().to(self._device, non_blocking=True)
        return part.to(self._device)

    def _fits(self, count: int) -> bool:
        if self._device.type != "cuda":
            return False  # the memory map is as near as memory is
        free, _ = torch.cuda.mem_get_info(self._device)
        return bool(count * self._pixels[0].nbytes < _RESIDENT_SHARE * free)


def _upload(pixels: ByteArray, rows: IntArray, device: torch.device) -> Tensor:
    """The chosen crops on the device; in parts, for they may be more than the memory of the host."""
    resident = torch.empty((len(rows), *pixels.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        resident[start : start + len(part)] = torch.from_numpy(pixels[part]).to(device)
    return resident

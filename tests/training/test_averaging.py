from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lightface.training.averaging import AveragedNetwork


def test_the_average_follows_the_network() -> None:
    network: Any = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average: Any = AveragedNetwork(network, 0.5)
    start = float(network[0].weight.detach())
    with torch.no_grad():
        network[0].weight.fill_(start + 1)
        network[1].running_mean.fill_(4)
        network[1].num_batches_tracked.fill_(7)
    average.update(step=1000)
    assert float(average.network[0].weight) == pytest.approx(start + 0.5)
    assert float(average.network[1].running_mean) == pytest.approx(2)
    assert int(average.network[1].num_batches_tracked) == 7


def test_the_average_begins_short() -> None:
    network: Any = nn.Linear(1, 1, bias=False)
    average: Any = AveragedNetwork(network, 0.999)
    start = float(network.weight.detach())
    with torch.no_grad():
        network.weight.fill_(start + 1)
    average.update(step=0)
    assert float(average.network.weight) == pytest.approx(start + 0.9)


def test_without_decay_it_is_the_network() -> None:
    network: Any = nn.Linear(2, 2)
    average: Any = AveragedNetwork(network, None)
    with torch.no_grad():
        network.weight.add_(1)
    average.update(step=3)
    assert torch.equal(average.network.weight, network.weight)
    assert not average.network.training and not average.network.weight.requires_grad

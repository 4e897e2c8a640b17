"""The three networks behind their seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightface.detection.networks import MtcnnNetworks
from lightface.errors import DeviceError


@pytest.fixture(scope="module")
def networks() -> MtcnnNetworks:
    return MtcnnNetworks()


def noise(count: int, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).uniform(0, 255, (count, side, side, 3)).astype(np.float32)


def test_every_window_is_proposed_at_threshold_0(networks: MtcnnNetworks) -> None:
    windows, scores, offsets = networks.propose(noise(2, 20), threshold=0.0)
    # (20 - 12) / 2 + 1 windows a side
    assert windows.tolist() == [[n, y, x] for n in range(2) for y in range(5) for x in range(5)]
    assert scores.shape == (50,) and offsets.shape == (50, 4)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_threshold_is_inclusive(networks: MtcnnNetworks) -> None:
    _, scores, _ = networks.propose(noise(1, 20), threshold=0.0)
    best = float(scores.max())
    windows, found, _ = networks.propose(noise(1, 20), threshold=best)
    assert found.tolist() == [best] and len(windows) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_shapes(networks: MtcnnNetworks, count: int) -> None:
    scores, offsets = networks.refine(noise(count, 24))
    assert (scores.shape, offsets.shape) == ((count,), (count, 4))
    scores, offsets, points = networks.locate(noise(count, 48))
    assert (scores.shape, offsets.shape, points.shape) == ((count,), (count, 4), (count, 5, 2))
    assert scores.dtype == offsets.dtype == points.dtype == np.float32


def test_more_crops_than_one_pass_takes(networks: MtcnnNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = noise(7, 24)
    whole, _ = networks.refine(crops)
    monkeypatch.setattr("lightface.detection.networks._CROPS_AT_ONCE", 3)
    parts, _ = networks.refine(crops)
    assert parts == pytest.approx(whole, abs=1e-6)


def test_nothing_is_left_to_train(networks: MtcnnNetworks) -> None:
    assert networks.device == torch.device("cpu")
    scores, _ = networks.refine(noise(1, 24))
    assert isinstance(scores, np.ndarray)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_missing_device_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"'{device}'.*use cpu") as caught:
        MtcnnNetworks(device)
    assert len(str(caught.value).splitlines()) == 1

"""The three networks behind their seam."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lightface.detection.networks import MtcnnNetworks
from lightface.errors import DeviceError, WeightsError

Pictures = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def networks() -> MtcnnNetworks:
    return MtcnnNetworks(precision="fp32")


def noise(count: int, side: int) -> Pictures:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


def as_facenet_takes_them(pictures: Pictures) -> torch.Tensor:
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127.5) / 128


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_they_say_what_facenets_networks_say(precision: str, tolerance: float) -> None:
    theirs = pytest.importorskip("facenet_pytorch")
    networks = MtcnnNetworks(precision=precision)
    with torch.inference_mode():
        offsets, scores = theirs.PNet()(as_facenet_takes_them(noise(2, 61)[:, :50]))
        own_scores, own_offsets = networks.propose(noise(2, 61)[:, :50])
        assert own_scores == pytest.approx(scores[:, 1].numpy(), abs=tolerance)
        assert own_offsets == pytest.approx(offsets.permute(0, 2, 3, 1).numpy(), abs=tolerance)

        offsets, scores = theirs.RNet()(as_facenet_takes_them(noise(40, 24)))
        own_scores, own_offsets = networks.refine(noise(40, 24))
        assert own_scores == pytest.approx(scores[:, 1].numpy(), abs=tolerance)
        assert own_offsets == pytest.approx(offsets.numpy(), abs=tolerance)

        offsets, points, scores = theirs.ONet()(as_facenet_takes_them(noise(9, 48)))
        own_scores, own_offsets, own_points = networks.locate(noise(9, 48))
        assert own_scores == pytest.approx(scores[:, 1].numpy(), abs=tolerance)
        assert own_offsets == pytest.approx(offsets.numpy(), abs=tolerance)
        assert own_points[..., 0] == pytest.approx(points[:, :5].numpy(), abs=tolerance)
        assert own_points[..., 1] == pytest.approx(points[:, 5:].numpy(), abs=tolerance)


def test_facenet_pytorch_is_not_imported() -> None:
    script = "import sys, lightface.detection as d; d.MtcnnDetector(); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "'facenet_pytorch'" not in modules and "'torchvision'" not in modules


@pytest.mark.parametrize("count", [0, 1, 3])
def test_shapes(networks: MtcnnNetworks, count: int) -> None:
    scores, offsets = networks.propose(noise(count, 20))
    # (20 - 12) / 2 + 1 windows a side
    assert (scores.shape, offsets.shape) == ((count, 5, 5), (count, 5, 5, 4))
    scores, offsets = networks.refine(noise(count, 24))
    assert (scores.shape, offsets.shape) == ((count,), (count, 4))
    scores, offsets, points = networks.locate(noise(count, 48))
    assert (scores.shape, offsets.shape, points.shape) == ((count,), (count, 4), (count, 5, 2))
    assert scores.dtype == offsets.dtype == points.dtype == np.float32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_crop_is_judged_the_same_in_any_company(precision: str) -> None:
    networks = MtcnnNetworks(precision=precision)
    crops = noise(71, 24)
    together, _ = networks.refine(crops)
    assert networks.refine(crops[40:])[0].tolist() == together[40:].tolist()
    assert networks.refine(crops[5:6])[0].tolist() == together[5:6].tolist()


def test_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.detection.networks.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="facenet-pytorch, which is not installed"):
        MtcnnNetworks()


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(DeviceError, match="unknown precision 'int8'; choose from auto, fp32, bf16, fp16"):
        MtcnnNetworks(precision="int8")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_missing_device_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"'{device}'.*use cpu") as caught:
        MtcnnNetworks(device)
    assert len(str(caught.value).splitlines()) == 1

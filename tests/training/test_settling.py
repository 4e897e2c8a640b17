from __future__ import annotations

import torch

from lightface.training.config import NetworkSettings
from lightface.training.model import build_network
from lightface.training.preparation import TrainingData
from lightface.training.settling import settle_norms


def test_normalisation_is_settled_on_what_recognition_sees(tiny_data: TrainingData, cpu: torch.device) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkSettings(norm=True))
    pixels = tiny_data.crops.decoded.pixels[:32].copy()
    settle_norms(network, pixels)
    with torch.no_grad():
        embeddings = network(torch.from_numpy(pixels)[..., 8:136, 8:136].float() / 255)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(256), atol=0.05, rtol=0)
    assert not network.training

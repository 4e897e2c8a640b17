from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightface.errors import ConfigError
from lightface.models.layers import Padding
from lightface.models.lightcnn import ARCHITECTURES, Structure, build_lightcnn

# Shapes of the released networks: parameters without classifier.
PARAMETERS = {"lightcnn9": 5_480_864, "lightcnn29v2": 10_475_872}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_image_becomes_256_numbers(architecture: str) -> None:
    network = build_lightcnn(architecture).eval()
    with torch.no_grad():
        out = network(torch.rand(2, ARCHITECTURES[architecture].in_channels, 128, 128))
    assert out.shape == (2, 256)
    assert network.fc_in_size == (8, 8)


@pytest.mark.parametrize(("architecture", "count"), PARAMETERS.items())
def test_the_number_of_parameters_is_the_published_one(architecture: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in build_lightcnn(architecture).parameters()) == count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_forward_pass_is_that_of_the_published_table(architecture: str) -> None:
    torch.manual_seed(3)
    network = build_lightcnn(architecture).eval()
    images = torch.rand(2, ARCHITECTURES[architecture].in_channels, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            network(images), forward_by_table(architecture, network.state_dict(), images), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("architecture", "padding"), [("lightcnn9", "valid"), ("lightcnn9", "full"), ("lightcnn29v2", "full")]
)
def test_other_paddings_change_the_last_map_and_still_embed(architecture: str, padding: Padding) -> None:
    structure = Structure(padding=padding, pooling="avg", inner_dropout=0.1, norm=True)
    network = build_lightcnn(architecture, structure)
    assert network.fc_in_size != (8, 8)
    assert network(torch.rand(2, 1, 128, 128)).shape == (2, 256)


def test_a_network_that_padding_leaves_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="padding same or full"):
        build_lightcnn("lightcnn29", Structure(padding="valid"))


def test_a_smaller_image_is_taken_for_low_resolution_training() -> None:
    assert build_lightcnn("lightcnn9")(torch.rand(2, 1, 64, 64)).shape == (2, 256)


def test_the_start_keeps_the_second_moment_through_the_network() -> None:
    torch.manual_seed(0)
    network = build_lightcnn("lightcnn9").eval()
    images = torch.randn(4, 1, 128, 128)
    with torch.no_grad():
        second_moment = float(network.get_submodule("features.0")(images).square().mean())
    assert 0.7 < second_moment < 1.3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_gives_a_plain_network_of_the_same_function(architecture: str) -> None:
    torch.manual_seed(1)
    network = build_lightcnn(architecture, Structure(norm=True))
    images = torch.rand(8, ARCHITECTURES[architecture].in_channels, 64, 64)
    for _ in range(3):
        network(images)
    network.eval()
    with torch.no_grad():
        before = network(images)
        network.fold_norms()
        after = network(images)
    assert network.state_dict().keys() == build_lightcnn(architecture).state_dict().keys()
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_normed_embeddings_lie_around_zero() -> None:
    torch.manual_seed(1)
    network = build_lightcnn("lightcnn9", Structure(norm=True))
    with torch.no_grad():
        embeddings = network(torch.rand(16, 1, 32, 32))
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(256), rtol=0, atol=1e-5)


def test_a_window_is_seen_where_it_lies_in_the_frame() -> None:
    torch.manual_seed(0)
    network = build_lightcnn("lightcnn9").eval()
    images = torch.rand(2, 1, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(network(images, (0, 0)), network(images))
        seen = network(images[..., 16:112, 32:96], (16, 32))
        maps = torch.zeros(2, 128, 8, 8)
        maps[..., 1:7, 2:6] = network.extract_maps(images[..., 16:112, 32:96])
        torch.testing.assert_close(seen, network.embed_maps(maps.flatten(1)))


def test_inner_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = build_lightcnn("lightcnn9", Structure(inner_dropout=0.5))
    assert network.state_dict().keys() == build_lightcnn("lightcnn9").state_dict().keys()
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images))
        network.eval()
        assert torch.equal(network(images), network(images))


def forward_by_table(architecture: str, state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The published table, written a second time from the tensors alone."""

    def mfm(x: Tensor, key: str) -> Tensor:
        weight, bias = state[f"{key}.filter.weight"], state[f"{key}.filter.bias"]
        x = F.linear(x, weight, bias) if weight.dim() == 2 else F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        half = x.shape[1] // 2
        return torch.max(x[:, :half], x[:, half:])

    def group(x: Tensor, key: str) -> Tensor:
        return mfm(mfm(x, f"{key}.conv_a"), f"{key}.conv")

    def block(x: Tensor, key: str, count: int) -> Tensor:
        for i in range(count):
            x = x + mfm(mfm(x, f"{key}.{i}.conv1"), f"{key}.{i}.conv2")
        return x

    def pool(x: Tensor) -> Tensor:
        out: Tensor = nn.MaxPool2d(2, ceil_mode=True)(x)
        if architecture in ("lightcnn9", "lightcnn29"):
            return out
        mean: Tensor = nn.AvgPool2d(2, ceil_mode=True)(x)
        return out + mean

    if architecture == "lightcnn9":
        x = pool(mfm(images, "features.0"))
        x = pool(group(x, "features.2"))
        x = pool(group(x, "features.4"))
        x = pool(group(group(x, "features.6"), "features.7"))
        return mfm(x.flatten(1), "fc1")
    widen = mfm if architecture == "lightcnnv4" else group
    names = [f"conv{i}" for i in (2, 3, 4, 5)] if architecture == "lightcnnv4" else [f"group{i}" for i in (1, 2, 3, 4)]
    x = pool(mfm(images, "conv1"))
    x = pool(widen(block(x, "block1", 1), names[0]))
    x = pool(widen(block(x, "block2", 2), names[1]))
    x = widen(block(x, "block3", 3), names[2])
    x = pool(widen(block(x, "block4", 4), names[3]))
    if architecture == "lightcnn29":
        return mfm(x.flatten(1), "fc")
    return F.linear(x.flatten(1), state["fc.weight"], state["fc.bias"])

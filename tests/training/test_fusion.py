from __future__ import annotations

import copy
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lightface.errors import ConfigError
from lightface.models.layers import Padding, Pool, conv_mfm
from lightface.models.lightcnn import LightCNN, Structure, build_lightcnn
from lightface.training import fusion
from lightface.training.config import TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.fusion import FirstMFM, FusedMFM, fuse_layers
from lightface.training.learner import Learner
from lightface.training.objectives.objective import Targets

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(found: Tensor | None, wanted: Tensor | None) -> float:
    """As a share of the wanted length."""
    assert found is not None and wanted is not None
    return float(((found.double() - wanted.double()).norm() / wanted.double().norm()).detach())


class PooledMFM(nn.Sequential):
    """The part of a network that `fuse_layers` looks at."""

    @property
    def pooled_parts(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self[0], self[1])]


def plain_and_fused(channels: int, *, norm: bool, first: bool = False) -> tuple[PooledMFM, PooledMFM]:
    """An MFM with pooling, in float64 as torch computes it, and its fused twin in float32."""
    mfm = conv_mfm(1, 48, 5, norm=norm) if first else conv_mfm(16, channels, 3, norm=norm)
    for seed, parameter in enumerate(mfm.parameters()):
        parameter.data = 0.3 * noise(*parameter.shape, seed=seed)
    plain = PooledMFM(mfm, Pool("max"))
    fused = copy.deepcopy(plain)
    fuse_layers(fused)  # type: ignore[arg-type]
    return plain.double(), fused


@needs_compiler
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [(6, 10), (5, 8), (1, 2)])
@pytest.mark.parametrize("channels", [16, 48])
def test_a_fused_layer_computes_what_torch_does(channels: int, size: tuple[int, int], norm: bool) -> None:
    plain, fused = plain_and_fused(channels, norm=norm)
    assert type(fused[0]) is FusedMFM
    inputs = noise(3, 16, *size, seed=9)
    x, x_fused = inputs.double().requires_grad_(), inputs.clone().requires_grad_()
    wanted, found = plain(x), fused(x_fused)
    assert distance(found, wanted) < 1e-6
    gradient = noise(*wanted.shape, seed=10)
    wanted.backward(gradient.double())
    found.backward(gradient)
    assert distance(x_fused.grad, x.grad) < 1e-5
    for (name, parameter), twin in zip(plain.named_parameters(), fused.parameters(), strict=True):
        if not (norm and name == "0.filter.bias"):  # 0, but for rounding: the mean takes the bias away
            assert distance(twin.grad, parameter.grad) < 1e-5, name
    for (name, buffer), other in zip(plain.named_buffers(), fused.buffers(), strict=True):
        assert distance(other, buffer) < 1e-6, name


@needs_compiler
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (32, 48)])
def test_the_first_layer_computes_what_torch_does_and_stores_no_answers(size: tuple[int, int], norm: bool) -> None:
    plain, fused = plain_and_fused(48, norm=norm, first=True)
    assert type(fused[0]) is FirstMFM
    images = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(1))
    wanted, found = plain(images.double()), fused(images)
    assert distance(found, wanted) < 1e-6
    gradient = noise(*wanted.shape)
    wanted.backward(gradient.double())
    found.backward(gradient)
    for (name, parameter), twin in zip(plain.named_parameters(), fused.parameters(), strict=True):
        if norm and name == "0.filter.bias":
            assert twin.grad is not None and not twin.grad.any()
        else:
            assert distance(twin.grad, parameter.grad) < 1e-5, name
    for (name, buffer), other in zip(plain.named_buffers(), fused.buffers(), strict=True):
        assert distance(other, buffer) < 1e-6, name


@needs_compiler
@pytest.mark.parametrize("first", [True, False])
def test_bfloat16_is_as_near_as_its_rounding(first: bool) -> None:
    plain, fused = plain_and_fused(32, norm=True, first=first)
    inputs = torch.rand(4, 1 if first else 16, 16, 16, generator=torch.Generator().manual_seed(2)).bfloat16().float()
    for parameter, twin in zip(plain.parameters(), fused.parameters(), strict=True):
        if parameter.dim() == 4:  # as the convolution sees them
            twin.data = twin.data.bfloat16().float()
            parameter.data = twin.data.double()
    wanted = plain(inputs.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = fused(inputs)
    assert found.dtype == torch.bfloat16
    assert distance(found, wanted) < 0.01


@needs_compiler
@pytest.mark.parametrize("size", [(16, 24), (15, 17)])
@pytest.mark.parametrize("architecture", ["lightcnn9", "lightcnn29"])
def test_a_network_keeps_its_names_and_what_it_computes_in_use(architecture: str, size: tuple[int, int]) -> None:
    network = build_lightcnn(architecture, Structure(norm=True))
    fused = copy.deepcopy(network)
    fuse_layers(fused)
    assert list(fused.state_dict()) == list(network.state_dict())
    images = noise(2, 1, *size)
    assert torch.equal(fused.eval()(images), network.eval()(images))


@needs_compiler
@pytest.mark.parametrize(("architecture", "layers"), [("lightcnn9", 9), ("lightcnn29", 29)])
def test_the_whole_network_is_fused(architecture: str, layers: int) -> None:
    network = build_lightcnn(architecture, Structure(norm=True))
    fuse_layers(network)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(FirstMFM) == 1
    assert kinds.count(FusedMFM) == layers - 1
    assert kinds.count(Pool) == 4  # in fused layers, for maps with odd sides
    assert sum(type(module) is FusedMFM and module.pooled for module in network.modules()) == 3


@needs_compiler
@pytest.mark.parametrize("padding", ["valid", "full"])
def test_other_padding(padding: Padding) -> None:
    network = build_lightcnn("lightcnn9", Structure(padding=padding))
    fused = copy.deepcopy(network)
    fuse_layers(fused)
    assert not any(isinstance(module, FirstMFM) for module in fused.modules())
    images = noise(1, 1, 128, 128)
    assert distance(fused(images), network(images)) < 1e-5


@needs_compiler
def test_pooling_of_other_kinds_stays() -> None:
    network = build_lightcnn("lightcnn9", Structure(norm=True, pooling="avg"))
    fuse_layers(network)
    assert [type(part) for part in network.features].count(Pool) == 4  # type: ignore[union-attr]


@needs_compiler
def test_threads_do_not_change_a_bit() -> None:
    network = build_lightcnn("lightcnn9", Structure(norm=True))
    fuse_layers(network)
    images, before = noise(4, 1, 16, 16), torch.get_num_threads()
    maps = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            first = copy.deepcopy(network.get_submodule("features.0"))
            maps.append(first(images))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*maps)


@needs_compiler
@pytest.mark.parametrize("norm", [True, False])
def test_what_is_no_number_is_not_hidden(norm: bool) -> None:
    _, fused = plain_and_fused(16, norm=norm)
    for place in ((0, 0, 0, 0), (1, 3, 2, 5)):
        inputs = noise(2, 16, 4, 6)
        inputs[place] = torch.nan
        assert fused(inputs).isnan().any()


@needs_compiler
def test_a_recipe_that_compiles_learns_the_same(simple_config: TrainingConfig) -> None:
    """The same batch for a few steps; rounding alone tells them apart."""
    network = replace(simple_config.network, norm=True, dropout=0.0)
    config = replace(simple_config, network=network, precision="fp32")
    images, targets = noise(8, 1, 32, 32).abs().clamp(max=1), Targets(torch.arange(8) % 3, None)
    losses: list[list[float]] = []
    for compiles in (False, True):
        student = Learner(
            replace(config, compile=compiles),
            classes=3,
            teacher_size=None,
            device=torch.device("cpu"),
            processes=Processes(),
        )
        assert any(isinstance(module, FusedMFM) for module in student.model.modules()) == compiles
        losses.append([float(student.learn(images, targets, learning_rate=1e-3, step=step)) for step in range(4)])
        assert isinstance(student.average.network, LightCNN)
        assert not any(isinstance(module, FusedMFM) for module in student.average.network.modules())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1][-1] < losses[1][0]


@pytest.fixture
def fresh_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing built; the folder where it would be kept."""
    monkeypatch.setattr("lightface.training.fusion.cache_folder", lambda: tmp_path)
    fusion.load_library.cache_clear()
    return tmp_path / "kernels"


@needs_compiler
def test_kernels_are_built_once_for_their_owner_alone(fresh_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fusion.load_library()
    (built,) = fresh_library.iterdir()
    assert built.stat().st_mode & 0o777 == 0o600
    fusion.load_library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)  # is not asked again
    fusion.load_library()


def test_without_a_compiler(fresh_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="needs the compiler"):
        fuse_layers(build_lightcnn("lightcnn9"))


def test_a_compiler_that_fails(fresh_library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'kernels.cpp: error: no such vector' >&2\nexit 1\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", os.fspath(compiler))
    with pytest.raises(ConfigError, match=r"cannot build the kernels .*no such vector"):
        fusion.load_library()


@needs_compiler
def test_nobody_else_can_put_a_library_there(fresh_library: Path) -> None:
    before = os.umask(0)
    try:
        fusion.load_library()
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o777 for folder in (fresh_library, fresh_library.parent)] == [0o700] * 2


@needs_compiler
def test_a_folder_that_was_open_to_others_is_closed(fresh_library: Path) -> None:
    fresh_library.mkdir()
    fresh_library.chmod(0o777)
    fusion.load_library()
    assert fresh_library.stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_a_library_whose_contents_were_changed_is_built_again(fresh_library: Path) -> None:
    fusion.load_library()
    (built,) = fresh_library.iterdir()
    data = built.read_bytes()
    built.write_bytes(data[:-1] + b"x")  # a library that would be loaded
    fusion.load_library.cache_clear()
    fusion.load_library()
    assert built.read_bytes() == data


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give files away")
@pytest.mark.parametrize("planted", ["file", "link", "folder"])
def test_what_another_user_put_there_is_not_run(fresh_library: Path, planted: str) -> None:
    fusion.load_library()
    fusion.load_library.cache_clear()
    (built,) = fresh_library.iterdir()
    if planted == "link":
        built.rename(fresh_library.parent / "elsewhere.so")
        built.symlink_to(fresh_library.parent / "elsewhere.so")
    os.chown(fresh_library if planted == "folder" else built, 12345, 12345, follow_symlinks=False)
    with pytest.raises(ConfigError, match=r"another user.*set compile = false"):
        fusion.load_library()

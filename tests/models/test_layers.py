from __future__ import annotations

import pytest
import torch
from torch import nn

from lightface.models.layers import MFM, Group, Padding, Pool, Pooling, ResBlock, conv_mfm, linear_mfm, max_feature_map


def test_mfm_is_the_maximum_of_the_two_halves_of_the_channels() -> None:
    x = torch.tensor([[1.0, -5.0, 0.0, 3.0, -4.0, 0.5]])
    assert max_feature_map(x).tolist() == [[3.0, -4.0, 0.5]]


def test_the_gradient_goes_to_the_winning_half() -> None:
    x = torch.tensor([[1.0, -5.0, 2.0, 3.0, -4.0, 2.0]], requires_grad=True)
    max_feature_map(x).backward(torch.tensor([[10.0, 20.0, 30.0]]))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 0, 30, 10, 20, 0]]  # a tie goes to the first half


def test_the_mfm_gradient_agrees_with_autograd_where_nothing_ties() -> None:
    x = torch.randn(3, 8, 5, 5, dtype=torch.float64, requires_grad=True)
    ours = torch.autograd.grad(max_feature_map(x).square().sum(), x)[0]
    first, second = x.chunk(2, 1)
    theirs = torch.autograd.grad(torch.maximum(first, second).square().sum(), x)[0]
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layer", [conv_mfm(3, 5, 3, norm=True), linear_mfm(6, 5, norm=True)])
def test_folding_the_norm_keeps_the_function(layer: MFM) -> None:
    is_conv = isinstance(layer.filter, nn.Conv2d)
    x = torch.randn(64, 3, 9, 9) if is_conv else torch.randn(64, 6)
    for _ in range(20):
        layer(x * 2 + 1)  # running statistics that are not the fresh ones
    assert layer.norm is not None
    with torch.no_grad():
        for parameter, low, high in zip(layer.norm.parameters(), (0.5, -1), (2, 1), strict=True):  # weight, bias
            parameter.uniform_(low, high)
    layer.eval()
    before = layer(x)
    layer.fold_norm()
    assert layer.norm is None
    assert not any("norm" in key for key in layer.state_dict())
    torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("padding", "expected"), [("same", 10), ("valid", 8), ("full", 12)])
def test_padding_sets_the_size_of_the_map(padding: Padding, expected: int) -> None:
    assert conv_mfm(2, 4, 3, padding=padding)(torch.zeros(1, 2, 10, 10)).shape == (1, 4, expected, expected)
    assert Group(2, 4, padding=padding, norm=False)(torch.zeros(1, 2, 10, 10)).shape[-1] == expected


@pytest.mark.parametrize(("padding", "growth"), [("same", 0), ("valid", -2), ("full", 2)])
def test_a_residual_block_adds_the_input_at_its_place(padding: Padding, growth: int) -> None:
    block = ResBlock(2, padding=padding, norm=False)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 2, 10, 10)
    out = block(x)
    assert out.shape[-1] == 10 + 2 * growth
    if growth < 0:
        assert torch.equal(out, x[..., 2:-2, 2:-2])
    else:
        assert torch.equal(out[..., growth : 10 + growth, growth : 10 + growth], x)


def test_pooling_on_a_window_by_hand() -> None:
    x = torch.tensor([[[[1.0, 3.0], [0.0, 4.0]]]])
    assert Pool("max")(x).item() == 4
    assert Pool("avg")(x).item() == 2
    assert Pool("max+avg")(x).item() == 6
    # Zeiler and Fergus: in evaluation sum(a^2) / sum(a).
    assert Pool("stochastic").eval()(x).item() == pytest.approx((1 + 9 + 16) / 8)


@pytest.mark.parametrize("kind", ["max", "avg", "max+avg", "stochastic"])
def test_an_odd_last_row_and_column_are_kept(kind: Pooling) -> None:
    x = torch.ones(2, 3, 5, 7)
    out = Pool(kind).eval()(x)
    assert out.shape == (2, 3, 3, 4)
    assert torch.all(out == (2 if kind == "max+avg" else 1))


def test_stochastic_pooling_draws_a_cell_in_proportion_to_its_activation() -> None:
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 3.0], [-2.0, 4.0]]).expand(1, 8000, 2, 2)
    drawn = Pool("stochastic").train()(x).flatten()
    shares = {value: float((drawn == value).float().mean()) for value in (1.0, 3.0, -2.0, 4.0)}
    assert shares == pytest.approx({1.0: 1 / 8, 3.0: 3 / 8, -2.0: 0, 4.0: 4 / 8}, abs=0.02)


def test_stochastic_pooling_leaves_what_is_not_finite_to_the_loss() -> None:
    x = torch.tensor([[1.0, float("inf")], [2.0, 3.0]])[None, None]
    assert torch.isinf(Pool("stochastic").train()(x)).all()


def test_stochastic_pooling_without_a_positive_activation_is_uniform() -> None:
    x = torch.tensor([[-1.0, -3.0], [-2.0, -4.0]])[None, None]
    assert Pool("stochastic").eval()(x).item() == pytest.approx(-2.5)

"""Deep Speaker's residual network: the sizes and counts of Li et al. 2017, Table 1."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.layers import clipped_relu
from sv_toolkit.models.rescnn import ResBlock, ResCnn, ResCnnConfig


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def full():
    with torch.device("meta"):
        return ResCnn(64, ResCnnConfig())


def test_every_layer_has_the_parameters_of_the_papers_table(full):
    """6K, 41K x 6, 209K, 151K x 6, 823K, 594K x 6, 3.3M, 2.4M x 6, 1M, 24M: convolutions of k k c d, and 2 x 2048 beside each."""
    assert [count(layer) for layer in full.reductions] == [25 * c * d + 4096 for c, d in ((1, 64), (64, 128), (128, 256), (256, 512))]
    assert [count(layer) for layer in full.reductions] == [5_696, 208_896, 823_296, 3_280_896]
    assert [[count(block) for block in stage] for stage in full.stages] == [
        [2 * layer] * 3 for layer in (40_960, 151_552, 593_920, 2_363_392)
    ]
    assert count(full.affine) == 2048 * 512 + 512
    assert count(full) == 24_266_816


def test_the_frequency_axis_halves_as_the_channels_double(full):
    assert [layer.norm.weight.numel() for layer in full.reductions] == [2048] * 4


def test_a_residual_block_without_weights_is_the_clipped_identity():
    block = ResBlock(2, 3).eval()
    for layer in (block.first, block.second):
        layer.conv.weight.data.zero_()
    x = 30 * torch.randn(2, 2, 3, 5)
    torch.testing.assert_close(block(x, None), x.clamp(0, 20))


def test_the_nonlinearity_is_clipped_at_twenty():
    assert clipped_relu(torch.tensor([-1.0, 0.0, 3.0, 20.0, 21.0])).tolist() == [0, 0, 3, 20, 20]


def test_a_reduced_network_has_the_widths_and_depth_asked_for():
    network = ResCnn(40, ResCnnConfig(channels=(16, 32), blocks=1, embedding_dim=24))
    assert network(torch.randn(2, 30, 40)).shape == (2, 24)
    assert [layer.conv.weight.shape[0] for layer in network.reductions] == [16, 32]
    assert network.affine.in_features == 32 * 10


@pytest.mark.parametrize("options", [{"channels": ()}, {"channels": (4, 0)}, {"blocks": -1}, {"embedding_dim": 0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ConfigError):
        ResCnnConfig(**options)

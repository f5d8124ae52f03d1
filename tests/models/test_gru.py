"""Deep Speaker's recurrent network: the counts of Li et al. 2017, Table 2, and the cell against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.gru import Gru, GruConfig, GruLayer


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_layer_has_the_parameters_of_the_papers_table():
    """6K, 9.4M, 6.3M, 6.3M, 500K, 23M; a layer adds scale and shift of its 3 x 1024 normalised inputs, the affine layer a bias."""
    with torch.device("meta"):
        network = Gru(64, GruConfig())
    assert count(network.reduction) == 5_696
    assert [count(layer) for layer in network.layers] == [3 * 1024 * (d + 1024) + 2 * 3072 for d in (2048, 1024, 1024)]
    assert [count(layer) for layer in network.layers] == [9_443_328, 6_297_600, 6_297_600]
    assert count(network.affine) == 1024 * 512 + 512
    assert count(network) == 22_569_024


@pytest.mark.parametrize("activation", ["clipped_relu", "tanh"])
def test_a_layer_agrees_with_its_equations(activation):
    layer = GruLayer(4, 3, activation).double().eval()
    layer.norm.bias.data.uniform_(-1, 1)
    x = 5 * torch.randn(2, 6, 4, dtype=torch.float64)
    f = torch.tanh if activation == "tanh" else lambda v: v.clamp(0, 20)
    for row in range(2):
        h = torch.zeros(3, dtype=torch.float64)
        for t in range(6):
            wz, wr, wc = (layer.inputs.weight @ x[row, t] / (1 + 1e-5) ** 0.5 + layer.norm.bias).split(3)
            uz, ur, uc = (layer.recurrence @ h).split(3)
            z, r = torch.sigmoid(wz + uz), torch.sigmoid(wr + ur)
            h = z * h + (1 - z) * f(wc + r * uc)
            torch.testing.assert_close(layer(x, None)[row, t], h)


def test_with_tanh_and_no_normalisation_it_is_torchs_gru():
    layer, theirs = GruLayer(4, 3, "tanh").eval(), nn.GRU(4, 3, batch_first=True)
    order = torch.cat([torch.arange(3, 6), torch.arange(3), torch.arange(6, 9)])  # theirs: reset, update, candidate
    theirs.weight_ih_l0.data = layer.inputs.weight.data[order] / (1 + 1e-5) ** 0.5
    theirs.weight_hh_l0.data = layer.recurrence.data[order]
    theirs.bias_ih_l0.data.zero_()
    theirs.bias_hh_l0.data.zero_()
    x = torch.randn(2, 7, 4)
    torch.testing.assert_close(layer(x, None), theirs(x)[0])


def test_later_frames_do_not_change_earlier_outputs():
    layer, x = GruLayer(4, 3, "clipped_relu").eval(), torch.randn(1, 6, 4)
    torch.testing.assert_close(layer(x, None)[:, :4], layer(x[:, :4], None))


def test_a_reduced_network_has_the_sizes_asked_for():
    network = Gru(40, GruConfig(channels=16, hidden_size=32, num_layers=2, embedding_dim=24))
    assert network(torch.randn(2, 30, 40)).shape == (2, 24)
    assert [layer.inputs.in_features for layer in network.layers] == [16 * 20, 32]


@pytest.mark.parametrize("options", [{"channels": 0}, {"hidden_size": 0}, {"num_layers": 0}, {"embedding_dim": 0}, {"activation": "relu"}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ConfigError):
        GruConfig(**options)

"""ECAPA-TDNN: the counts of Desplanques et al. 2020, and its parts against their definitions."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.ecapa_tdnn import EcapaTdnn, EcapaTdnnConfig, Res2Layer, SqueezeExcitation, TdnnLayer
from sv_toolkit.models.pooling import frame_mask


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("channels", "total", "millions"), [(512, 6_191_104, 6.2), (1024, 14_657_472, 14.7)])
def test_parameters_are_those_of_the_papers_systems(channels, total, millions):
    """Table 1 of the paper: 6.2M and 14.7M on 80 cepstral coefficients."""
    with torch.device("meta"):
        network = EcapaTdnn(80, EcapaTdnnConfig(channels=channels))
    assert count(network) == total
    assert round(total / 1e6, 1) == millions


def test_a_small_network_has_the_parameters_the_sizes_give():
    config = EcapaTdnnConfig(channels=12, dilations=(2,), scale=3, bottleneck=5, aggregated=10, attention=6, embedding_dim=7)
    block = 2 * (12 * 12 + 12 + 24) + 2 * (3 * 4 * 4 + 4 + 8) + (12 * 5 + 5 + 5 * 12 + 12)
    pooling = 30 * 6 + 6 + 6 * 10 + 10 + 2 * 20
    expected = (5 * 9 * 12 + 12 + 24) + block + (12 * 10 + 10) + pooling + (20 * 7 + 7 + 14)
    assert count(EcapaTdnn(9, config)) == expected


def test_res2_parts_see_their_own_channels_and_the_part_before():
    layer = Res2Layer(8, 4, dilation=2).eval()
    x = torch.randn(2, 9, 8)
    a, b, c, d = x.split(2, dim=2)
    first = layer.parts[0](b, None)
    second = layer.parts[1](c + first, None)
    torch.testing.assert_close(layer(x, None), torch.cat([a, first, second, layer.parts[2](d + second, None)], dim=2))


def test_res2_of_one_part_is_a_plain_dilated_layer():
    layer, x = Res2Layer(8, 1, dilation=2).eval(), torch.randn(2, 9, 8)
    assert layer.parts[0].conv.weight.shape == (8, 8, 3)
    torch.testing.assert_close(layer(x, None), layer.parts[0](x, None))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 2)])
def test_a_tdnn_layer_is_convolution_then_relu_then_normalisation(kernel, stride):
    layer = TdnnLayer(3, 4, kernel, dilation=2, stride=stride).train()
    x = torch.randn(5, 11, 3)
    plain = torch.relu(layer.conv(x.transpose(1, 2)))
    plain = (plain - plain.mean(dim=(0, 2), keepdim=True)) / (plain.var(dim=(0, 2), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x, None), plain.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_squeeze_excitation_scales_channels_by_gates_of_their_mean_over_counted_frames():
    gate, x = SqueezeExcitation(4, 2), torch.randn(2, 6, 4)
    mask = frame_mask(torch.tensor([6, 3]), 6)
    for row, length in enumerate((6, 3)):
        scale = torch.sigmoid(gate.excite(torch.relu(gate.squeeze(x[row, :length].mean(dim=0)))))
        torch.testing.assert_close(gate(x, mask)[row], x[row] * scale)


def test_a_blocks_input_is_the_sum_of_all_outputs_before_it():
    network = EcapaTdnn(5, EcapaTdnnConfig(channels=8, scale=2, bottleneck=3, aggregated=6, attention=4, embedding_dim=3)).eval()
    seen, x = [], torch.randn(2, 12, 5)
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    network(x)
    first = network.first(x, None)
    second = seen[0][1] + first
    third = seen[1][1] + first + second
    torch.testing.assert_close([inputs for inputs, _ in seen], [first, first + second, first + second + third])


@pytest.mark.parametrize("options", [{"channels": 0}, {"channels": 20}, {"dilations": ()}, {"dilations": (0,)}, {"stride": 0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ConfigError):
        EcapaTdnnConfig(**options)

"""The thin ResNet-34: shapes of Heo et al. 2019, Table 1, and counts by formula."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.resnet import BasicBlock, ResNet, ResNetConfig


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_outputs_have_the_shapes_of_the_papers_table():
    """l x 64 x 16, the same, l/2 x 32 x 32, l/4 x 16 x 64, l/8 x 8 x 128, then 128 numbers."""
    with torch.device("meta"):
        network = ResNet(64, ResNetConfig()).eval()
        shapes = []
        for module in (network.enter, *network.blocks):
            module.register_forward_hook(lambda m, i, out: shapes.append(tuple((out[0] if isinstance(out, tuple) else out).shape)))
        embedding = network.raw(torch.zeros(1, 48, 64))
    ends = [shapes[0], shapes[3], shapes[7], shapes[13], shapes[16]]
    assert ends == [(1, 16, 64, 48), (1, 16, 64, 48), (1, 32, 32, 24), (1, 64, 16, 12), (1, 128, 8, 6)]
    assert embedding.shape == (1, 128)


def test_it_has_34_layers_and_the_parameters_of_its_sizes():
    """Conv1, 2 x (3 + 4 + 6 + 3) convolutions, and the last layer of a ResNet-34, here the pooling."""
    with torch.device("meta"):
        network = ResNet(64, ResNetConfig())
    normed = [(1, 16, 7)]
    for before, channels, blocks in ((16, 16, 3), (16, 32, 4), (32, 64, 6), (64, 128, 3)):
        normed += [(before, channels, 3)] + [(channels, channels, 3)] * (2 * blocks - 1)
    projections = [(16, 32, 1), (32, 64, 1), (64, 128, 1)]
    assert len(normed) + 1 == 34
    assert count(network) == sum(c * d * k * k + 2 * d for c, d, k in normed + projections) == 1_333_680


def test_a_block_without_weights_is_the_leaky_identity():
    block = BasicBlock(3, 3, 1, 0.3).eval()
    for layer in (block.first, block.second):
        layer.conv.weight.data.zero_()
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(block(x, None)[0], torch.where(x > 0, x, 0.3 * x))


@pytest.mark.parametrize(("pooling", "linear"), [("mean", False), ("mean", True), ("statistics", True)])
def test_pooling_and_linear_layer_give_the_embedding(pooling, linear):
    sizes = {"channels": (4, 6), "blocks": (1, 1), "kernel": 3, "embedding_dim": 7 if linear else 6}
    network, maps = ResNet(11, ResNetConfig(**sizes, pooling=pooling, linear=linear)).eval(), []
    network.blocks[-1].register_forward_hook(lambda module, inputs, output: maps.append(output[0]))
    raw = network.raw(torch.randn(2, 9, 11))
    pooled = maps[0].mean(dim=(2, 3))
    if pooling == "statistics":
        deviation = maps[0].var(dim=3, correction=0).clamp(min=1e-5).sqrt()
        pooled = torch.cat([maps[0].mean(dim=3).flatten(1), deviation.flatten(1)], dim=1)
    torch.testing.assert_close(raw, network.linear(pooled) if linear else pooled)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": ()},
        {"channels": (4,)},
        {"blocks": (1, 1, 1, 0)},
        {"kernel": 4},
        {"slope": 1.0},
        {"pooling": "max"},
        {"embedding_dim": -1},
    ],
)
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ConfigError):
        ResNetConfig(**options)

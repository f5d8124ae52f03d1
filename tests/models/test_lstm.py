"""The LSTM network: unit length, the paper's sizes, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.lstm import LstmConfig, LstmDvector


def small(**options):
    torch.manual_seed(2)
    return LstmDvector(6, LstmConfig(**{"hidden_size": 12, "projection_size": 5, "num_layers": 2, "embedding_dim": 7, **options})).eval()


@pytest.mark.parametrize("projection_size", [0, 5])
@pytest.mark.parametrize("pooling", ["last", "mean", "statistics"])
@pytest.mark.parametrize("frame_dim", [0, 8])
def test_padded_batch_gives_the_embeddings_of_single_utterances(projection_size, pooling, frame_dim):
    network = small(projection_size=projection_size, pooling=pooling, frame_dim=frame_dim)
    lengths = torch.tensor([9, 4, 1])
    batch = torch.randn(3, 9, 6)
    alone = torch.cat([network(batch[i : i + 1, : lengths[i]]) for i in range(3)])
    torch.testing.assert_close(network(batch, lengths), alone, rtol=1e-5, atol=1e-6)


def test_the_layer_on_frames_and_the_statistics_are_those_of_the_definition():
    network, batch = small(pooling="statistics", frame_dim=8), torch.randn(3, 9, 6)
    frames = torch.clamp(network.lstm(batch)[0] @ network.frame.weight.T + network.frame.bias, min=0)
    pooled = torch.cat([frames.mean(dim=1), (frames.var(dim=1, correction=0).clamp(min=1e-5)).sqrt()], dim=1)
    torch.testing.assert_close(network.raw(batch), pooled @ network.linear.weight.T + network.linear.bias)


@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_what_stands_in_the_padding_does_not_matter(pooling):
    network = small(pooling=pooling)
    batch, lengths = torch.randn(2, 8, 6), torch.tensor([8, 3])
    other = batch.clone()
    other[1, 3:] = 1e3
    torch.testing.assert_close(network(batch, lengths), network(other, lengths))


def test_embeddings_are_the_raw_outputs_made_unit_length():
    network, batch = small(), torch.randn(5, 4, 6)
    raw = network.raw(batch, torch.tensor([4, 3, 2, 1, 4]))
    assert raw.dtype == torch.float32 and raw.shape == (5, 7)
    torch.testing.assert_close(network(batch, torch.tensor([4, 3, 2, 1, 4])), raw / raw.norm(dim=-1, keepdim=True))


def test_embeddings_have_unit_length():
    torch.testing.assert_close(small()(torch.randn(5, 4, 6)).norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize(("sizes", "count"), [((768, 256), 4_729_088), ((128, 64), 216_128)])
def test_parameters_are_those_of_the_papers_networks(sizes, count):
    """Layers of 4 h (d + p + 2) + h p weights, then a p x p linear layer (Sak et al. 2014; Wan et al. 2018, section 3)."""
    hidden, projection = sizes
    network = LstmDvector(40, LstmConfig(hidden_size=hidden, projection_size=projection, embedding_dim=projection))
    layers = sum(4 * hidden * (dim + projection + 2) + hidden * projection for dim in (40, projection, projection))
    by_formula = layers + projection * (projection + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == by_formula == count


def test_the_single_layer_baseline_is_a_configuration():
    """512 cells, then a linear layer to 128 (Wan et al. 2018, section 3.1; Heigold et al. 2016)."""
    network = LstmDvector(40, LstmConfig(hidden_size=512, projection_size=0, num_layers=1, embedding_dim=128))
    assert sum(parameter.numel() for parameter in network.parameters()) == 4 * 512 * (40 + 512 + 2) + 512 * 128 + 128 == 1_200_256


def test_the_papers_projections_are_the_slow_parameters():
    assert [tuple(parameter.shape) for parameter in small().slow_parameters()] == [(5, 12), (5, 12)]
    assert small(projection_size=0).slow_parameters() == []


@pytest.mark.parametrize(
    "options", [{"hidden_size": 0}, {"projection_size": 12}, {"pooling": "max"}, {"dropout": 1.0}, {"num_layers": 0}, {"frame_dim": -1}]
)
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ConfigError):
        LstmConfig(**{"hidden_size": 12, "projection_size": 5, **options})


@pytest.mark.parametrize(("initialization", "alike"), [("torch", True), ("xavier", False)])
def test_the_papers_network_starts_with_embeddings_alike_unless_drawn_as_xavier(initialization, alike):
    torch.manual_seed(0)
    network = LstmDvector(40, LstmConfig(128, 64, 3, 64, initialization=initialization))
    embeddings = network(1.5 * torch.randn(8, 1, 40) + torch.randn(8, 40, 40))
    others = (embeddings @ embeddings.T)[~torch.eye(8, dtype=torch.bool)]
    assert (others.mean() > 0.999) == alike
    assert alike or all(not bias.any() for name, bias in network.named_parameters() if "bias" in name)


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ConfigError, match="initialization must be one of torch, xavier"):
        LstmConfig(initialization="orthogonal")

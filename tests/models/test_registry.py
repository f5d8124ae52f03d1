"""What holds for every architecture: padding changes nothing, one frame is enough, weights can be kept and averaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ConfigError
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.registry import ARCHITECTURES, architecture_entry
from sv_toolkit.models.store import Description, WindowConfig, load_model, save_model

ROOT = Path(__file__).resolve().parents[2]
DIM = 11
SMALL = {
    "lstm": {"hidden_size": 8, "projection_size": 4, "num_layers": 2, "embedding_dim": 5},
    "gru": {"channels": 3, "hidden_size": 6, "num_layers": 2, "embedding_dim": 5},
    "rescnn": {"channels": [3, 4, 5], "blocks": 1, "embedding_dim": 5},
    "resnet": {"channels": [3, 4], "blocks": [1, 2], "kernel": 5, "embedding_dim": 4},
    "ecapa_tdnn": {"channels": 6, "dilations": [2, 3], "scale": 3, "bottleneck": 3, "aggregated": 8, "attention": 4, "embedding_dim": 5},
}
VARIANTS = [
    *((name, {}) for name in sorted(ARCHITECTURES)),
    ("lstm", {"pooling": "mean", "projection_size": 0}),
    ("gru", {"activation": "tanh"}),
    ("resnet", {"pooling": "statistics", "linear": True, "embedding_dim": 5, "slope": 0.01}),
    ("ecapa_tdnn", {"stride": 2, "scale": 1, "context": False}),
]
every_architecture = pytest.mark.parametrize("name", sorted(ARCHITECTURES))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(5)


def small(name, **options):
    """An architecture in small, in evaluation mode, its normalisations as if trained."""
    config_class, module_class = architecture_entry(name)
    torch.manual_seed(2)
    network = module_class(DIM, build(config_class, {**SMALL[name], **options}, name)).eval()
    for module in network.modules():
        if isinstance(module, MaskedBatchNorm):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data = 0.5 + torch.rand(tensor.shape)
    return network


def state(network):
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def test_every_architecture_is_tested_here():
    assert SMALL.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@settings(max_examples=12)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), extra=st.integers(0, 9))
def test_a_padded_batch_gives_the_embeddings_of_single_utterances(name, options, lengths, extra):
    network = small(name, **options)
    batch = torch.full((len(lengths), max(lengths) + extra, DIM), 1e6)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.randn(length, DIM)
    with torch.inference_mode():
        alone = torch.cat([network.raw(batch[row : row + 1, :length]) for row, length in enumerate(lengths)])
        torch.testing.assert_close(network.raw(batch, torch.tensor(lengths)), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_what_stands_in_the_padding_changes_nothing_in_training_either(name, options):
    lengths = torch.tensor([21, 30, 1, 17])
    batch = torch.randn(4, 30, DIM)
    garbage = batch.clone()
    for row, length in enumerate(lengths):
        garbage[row, length:] = 1e6
    longer = torch.cat([garbage, torch.full((4, 5, DIM), -1e6)], dim=1)
    results = []
    for features in (batch, garbage, longer):
        network = small(name, **options).train()
        embeddings = network(features, lengths)
        (embeddings * torch.linspace(-1, 1, embeddings.numel()).view_as(embeddings)).sum().backward()
        results.append(({"embeddings": embeddings, **state(network)}, [parameter.grad for parameter in network.parameters()]))
    for values, gradients in results[1:]:
        torch.testing.assert_close(values, results[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradients, results[0][1], rtol=1e-3, atol=1e-3)


@every_architecture
def test_counting_every_frame_is_counting_none_away(name):
    batch = torch.randn(3, 12, DIM)
    plain, counted = small(name).train(), small(name).train()
    torch.testing.assert_close(counted.raw(batch, torch.tensor([12, 12, 12])), plain.raw(batch), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state(counted), state(plain), rtol=1e-4, atol=1e-5)


@every_architecture
@pytest.mark.parametrize("training", [False, True])
def test_one_frame_of_one_utterance_is_enough(name, training):
    embedding = small(name).train(training)(torch.randn(1, 1, DIM))
    embedding.sum().backward()
    assert embedding.shape[0] == 1 and torch.isfinite(embedding).all()


@every_architecture
def test_embeddings_are_the_raw_outputs_made_unit_length(name):
    network, batch, lengths = small(name), torch.randn(3, 9, DIM), torch.tensor([9, 2, 5])
    raw = network.raw(batch, lengths)
    assert raw.dtype == torch.float32
    torch.testing.assert_close(network(batch, lengths), raw / raw.norm(dim=1, keepdim=True))


@every_architecture
def test_mixes_utterances_tells_whether_an_embedding_depends_on_its_company_in_training(name):
    network, batch = small(name).train(), torch.randn(3, 9, DIM)
    other = torch.cat([batch[:1], torch.randn(2, 9, DIM)])
    moved = (network.raw(batch)[0] - network.raw(other)[0]).abs().max() > 1e-4
    assert bool(moved) == network.mixes_utterances


@every_architecture
def test_every_parameter_is_learned(name):
    network = small(name).train()
    network(torch.randn(4, 20, DIM)).square().sum(dim=1).sub(network(torch.randn(4, 20, DIM))[:, 0]).sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@every_architecture
def test_networks_are_kept_and_found_again_and_can_be_averaged(name, tmp_path):
    network = small(name)
    assert all(tensor.is_floating_point() for tensor in network.state_dict().values())
    description = Description(name, as_table(network.config), DIM, InputConfig(), WindowConfig(20, 10, 5))
    save_model(tmp_path / "model", network.state_dict(), description)
    again, read = load_model(tmp_path / "model")
    batch = torch.randn(2, 20, DIM)
    assert read == description
    torch.testing.assert_close(again(batch), network(batch), rtol=0, atol=0)


@every_architecture
def test_bfloat16_gives_nearly_the_same_embeddings(name):
    network, batch, lengths = small(name), torch.randn(3, 24, DIM), torch.tensor([24, 9, 16])
    exact = network(batch, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(batch, lengths)
    assert rough.dtype == torch.float32
    assert (exact * rough).sum(dim=1).min() > 0.99


SHARES = (slice(0, 4), slice(4, 7))  # of two processes


def gradients(rows):
    """Of each variant, on some utterances of a batch; and its running statistics."""
    results = []
    for name, options in VARIANTS:
        network, generator = small(name, **options).train(), torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, MaskedBatchNorm):
                module.over_processes = True
        x, weights = torch.randn(7, 20, DIM, generator=generator), torch.randn(7, 5, generator=generator)
        raw = network.raw(x[rows])
        (raw * weights[rows, : raw.shape[1]]).sum().backward()
        results.append(([parameter.grad for parameter in network.parameters()], list(network.buffers())))
    return results


def _one_of_two(rank, folder):
    """A process with some of the utterances; gradients are summed as the trainer sums them."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = gradients(SHARES[rank])
    for own, _ in results:
        for gradient in own:
            torch.distributed.all_reduce(gradient)
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_learn_and_normalise_as_one(tmp_path):
    command = [sys.executable, __file__]
    processes = [subprocess.Popen([*command, str(rank), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}) for rank in (0, 1)]
    whole = gradients(slice(0, 7))
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for rank in (0, 1):
        for (own, statistics), (other, others) in zip(torch.load(tmp_path / f"{rank}.pt"), whole):
            torch.testing.assert_close(statistics, others, rtol=1e-4, atol=1e-5)
            largest = max(gradient.abs().max() for gradient in other)
            assert max((a - b).abs().max() for a, b in zip(own, other)) < 1e-4 * largest


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="no architecture 'tdnn9'; known: .*lstm"):
        architecture_entry("tdnn9")


if __name__ == "__main__":
    _one_of_two(int(sys.argv[1]), Path(sys.argv[2]))

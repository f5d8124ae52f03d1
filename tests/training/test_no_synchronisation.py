"""Between two log lines a step never waits for the device.

A tensor on torch's `meta` device has no numbers: whatever needs one (`.item()`, `nonzero`, `unique`, a boolean index,
a comparison in an `if`) fails there, and so does a tensor left on another device.  The counter sees the same on a
processor, through fused optimizers too.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sv_toolkit.losses.registry import LOSSES, loss_needs, make_loss
from sv_toolkit.losses.term import LossSize
from sv_toolkit.models.registry import ARCHITECTURES, architecture_entry
from sv_toolkit.training.batches import Batch, Source
from sv_toolkit.training.config import BatchConfig, train_config
from sv_toolkit.training.trainer import Trainer

SMALL = {
    "lstm": {"hidden_size": 6, "projection_size": 3, "num_layers": 2, "embedding_dim": 4},
    "gru": {"channels": 3, "hidden_size": 5, "num_layers": 1, "embedding_dim": 4},
    "rescnn": {"channels": [3, 4], "blocks": 1, "embedding_dim": 4},
    "resnet": {"channels": [3, 4], "blocks": [1, 1], "embedding_dim": 4},
    "ecapa_tdnn": {"channels": 6, "dilations": [2, 3], "scale": 3, "bottleneck": 3, "aggregated": 8, "attention": 4, "embedding_dim": 4},
}
DIM, SPEAKERS, UTTERANCES, FRAMES = 16, 4, 3, 24
WAITING = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "is_nonzero", "equal"}


class HostWaits(TorchDispatchMode):
    """Counts operations whose result the host, or the size of a tensor, depends on."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        is_boolean_index = name in ("index", "index_put_", "index_put") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1]
        )
        if name in WAITING or is_boolean_index:
            self.found.append(name)
        return function(*arguments, **(keywords or {}))


def tables_of(network, loss, optimizer="sgd", **trainer):
    return {
        "network": {"name": network, **SMALL[network]},
        "loss": loss,
        "optimizer": {"name": optimizer, "weight_decay": 0.01, **({"momentum": 0.9} if optimizer == "sgd" else {})},
        "trainer": trainer,
    }


def trainer_of(device, tables):
    config = train_config(tables, "x")
    network = architecture_entry(config.network.name)[1](DIM, config.network.options)
    loss = make_loss(config.loss, LossSize(9, 4))
    return Trainer(config, network, loss, lambda _: iter(()), None, None, {}, torch.device(device), None)


def batch_of(trainer, sampler, name="a"):
    speakers = np.repeat(np.arange(SPEAKERS)[:, None], UTTERANCES, axis=1)
    if sampler == "tuples":
        speakers[1::2, 0] += 4
    source = Source(name, 0.5, None, BatchConfig(SPEAKERS, UTTERANCES), np.arange(9))
    features = torch.randn(SPEAKERS * UTTERANCES, FRAMES, DIM).to(trainer.device)
    original = features - 1 if trainer.config.augment.consistency else None
    return Batch(source, features, torch.from_numpy(speakers).to(trainer.device), range(SPEAKERS * UTTERANCES), speakers, original)


def step_on(device, tables, sources=1):
    torch.manual_seed(0)
    trainer = trainer_of(device, tables)
    sampler = loss_needs(trainer.config.loss).sampler
    batches = [batch_of(trainer, sampler, name) for name in "abc"[:sources]]
    with HostWaits() as waits:
        for _ in range(2):  # the second one finds an optimizer with state
            trainer.totals.add(trainer.step(batches))
            trainer.progress.step += 1
            if trainer.average is not None:
                trainer.average.update(trainer.progress.step)
    return waits.found, trainer


def loss_tables():
    """Every loss alone where it can stand alone, else beside softmax."""
    for name, (_, term) in LOSSES.items():
        yield {"name": name} if term.uses_embeddings else {"terms": [{"name": "softmax"}, {"name": name}]}


def test_every_network_is_here():
    assert SMALL.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("loss", list(loss_tables()), ids=str)
@pytest.mark.parametrize("network", sorted(SMALL))
def test_no_step_of_any_network_with_any_loss_asks_the_device(network, loss):
    found, _ = step_on("meta", tables_of(network, loss))
    assert found == []


@pytest.mark.parametrize("loss", list(loss_tables()), ids=str)
def test_a_fused_step_on_a_processor_reads_nothing_back(loss):
    for optimizer in ("sgd", "adam", "adamw"):
        found, trainer = step_on("cpu", tables_of("lstm", loss, optimizer))
        assert found == [] and trainer.watch.first() is None


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_several_sources_averages_and_chunks_ask_nothing_either(device):
    loss = {"terms": [{"name": "ge2e"}, {"name": "softmax", "weight": 0.1}]}
    for options in ({"average": 0.9}, {"chunk_utterances": 5}):
        found, _ = step_on(device, tables_of("lstm", loss, **options), sources=3)
        assert found == []


def test_the_counter_sees_what_waits():
    x = torch.randn(5)
    waits = [
        lambda: x.sum().item(),
        lambda: bool((x > 0).any()),
        lambda: x.nonzero(),
        lambda: x.unique(),
        lambda: x[x > 0],
        lambda: x.masked_select(x > 0),
    ]
    for wait in waits:
        with HostWaits() as counter:
            wait()
        assert counter.found


@pytest.mark.parametrize(("what", "optimizer"), list(itertools.product(["loss", "gradient"], ["sgd", "adam", "adamw"])))
def test_from_a_step_that_is_not_finite_on_the_weights_stay_and_the_step_is_known(what, optimizer):
    _, trainer = step_on("cpu", tables_of("lstm", {"name": "ge2e"}, optimizer))
    good = batch_of(trainer, None)
    bad = batch_of(trainer, None)
    if what == "loss":
        bad.features[3, 2] = float("nan")
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    for number, batch in enumerate([bad, good, bad]):
        handle = next(iter(trainer.parameters)).register_hook(lambda g: g * float("inf")) if what == "gradient" and number == 0 else None
        trainer.step([batch])
        trainer.progress.step += 1
        if handle is not None:
            handle.remove()
    assert trainer.watch.first() == (2, what)
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.parameters))


def test_consistency_with_originals_asks_nothing():
    tables = {**tables_of("lstm", {"name": "ge2e"}), "augment": {"consistency": 1.0}}
    found, trainer = step_on("meta", tables, sources=2)
    assert found == [] and "original_cosine" in trainer.totals.names

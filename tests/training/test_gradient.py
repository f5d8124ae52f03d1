"""The gradient of a batch seen in chunks, or shared by processes, is the gradient of the batch seen at once."""

from __future__ import annotations

import itertools
import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.losses.registry import loss_config, make_loss
from sv_toolkit.losses.term import LossSize
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.training.gradient import accumulate_gradient
from sv_toolkit.training.processes import Processes, joined_processes, share

SPEAKERS, UTTERANCES = 5, 3
LOSSES = [
    {"name": "ge2e"},
    {"name": "ge2e", "method": "contrast", "reduction": "sum"},
    {"name": "triplet"},
    {"terms": [{"name": "ge2e"}, {"name": "aam_softmax", "weight": 0.5}]},
]


def problem(table):
    """Network, loss, features and classes; the same whenever it is called."""
    torch.manual_seed(3)
    network = LstmDvector(6, LstmConfig(8, 4, 2, 5, dropout=0.4)).train()
    loss = make_loss(loss_config(table, "x"), LossSize(SPEAKERS, 5))
    return network, loss, torch.randn(SPEAKERS * UTTERANCES, 9, 6), torch.arange(SPEAKERS)[:, None].expand(-1, UTTERANCES)


def gradient(table, chunk, processes):
    """All gradients, flattened, from chunks of `chunk` rows; dropout is seeded by the row so that any cut draws the same."""
    network, loss, features, speakers = problem(table)
    rows = share(len(features), processes.rank, processes.number)
    starts = range(rows.start, rows.stop, chunk)

    def embed(i):
        found = []
        for row in range(starts[i], min(starts[i] + chunk, rows.stop)):
            torch.manual_seed(row)
            found.append(network.raw(features[row : row + 1]))
        return torch.cat(found)

    def whole(embeddings):
        return loss(embeddings.unflatten(0, (SPEAKERS, UTTERANCES)), speakers)

    accumulate_gradient(embed, len(starts), len(features), whole, lambda value: 2 * value, processes)
    processes.sum_gradients(network, loss)
    return torch.cat([p.grad.flatten() for p in [*network.parameters(), *loss.parameters()] if p.grad is not None])


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("table", LOSSES, ids=str)
@settings(max_examples=6)
@given(chunk=st.integers(1, 14))
def test_chunks_of_any_size_give_the_gradient_of_the_whole(table, chunk):
    whole = gradient(table, SPEAKERS * UTTERANCES, Processes())
    assert whole.norm() > 1e-4
    assert relative(gradient(table, chunk, Processes()), whole) < 1e-5


def work(rank, number, port, problems):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(number))
    torch.set_num_threads(1)
    with joined_processes(torch.device("cpu"), 30) as processes:
        for (table, expected), chunk in itertools.product(problems, (100, 2)):
            found = gradient(table, chunk, processes)
            if relative(found, expected) >= 1e-5:
                raise AssertionError(f"{table}, process {rank}, chunks of {chunk}: {relative(found, expected)}")


@pytest.mark.parametrize("number", [2, 3])
def test_processes_together_give_the_gradient_of_one(number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    problems = [(table, gradient(table, 100, Processes())) for table in LOSSES[::3]]
    mp.spawn(work, (number, port, problems), nprocs=number)


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_of_a_batch_are_contiguous_and_as_equal_as_can_be(total, number):
    shares = [share(total, rank, number) for rank in range(number)]
    assert [row for rows in shares for row in rows] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1

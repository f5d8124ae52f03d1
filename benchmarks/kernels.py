"""Operations that one training step hands to the device, in one process and in two; each of them is at least one kernel of a GPU."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from sv_toolkit.losses.registry import make_loss  # noqa: E402
from sv_toolkit.losses.term import LossSize  # noqa: E402
from sv_toolkit.models.registry import architecture_entry  # noqa: E402
from sv_toolkit.training.batches import Batch, Source  # noqa: E402
from sv_toolkit.training.config import BatchConfig, train_config  # noqa: E402
from sv_toolkit.training.processes import Processes, joined_processes, share  # noqa: E402
from sv_toolkit.training.trainer import Trainer  # noqa: E402

NETWORKS = {
    "lstm": {},
    "resnet": {},
    "ecapa_tdnn": {"channels": 64, "aggregated": 96},
    "rescnn": {"channels": [8, 16, 32]},
}
SPEAKERS, UTTERANCES, FRAMES, DIM = 4, 3, 40, 40
VIEWS = {"view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "unsqueeze", "squeeze", "slice", "select", "detach",
         "alias", "split", "split_with_sizes", "unbind", "as_strided", "unfold"}  # fmt: skip


class Counter(TorchDispatchMode):
    """Counts operations that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        self.count += function.overloadpacket.__name__ not in VIEWS
        return function(*arguments, **(keywords or {}))


def counted_step(network: str, statistics: str, processes: Processes) -> int:
    """Number of operations of the second step, of this process."""
    torch.manual_seed(0)
    table = {
        "network": {"name": network, **NETWORKS[network]},
        "loss": {"terms": [{"name": "ge2e"}, {"name": "aam_softmax"}]},
        "optimizer": {"name": "adamw"},
        "trainer": {"batch_statistics": statistics},
    }
    config = train_config(table, "benchmark")
    module = architecture_entry(network)[1](DIM, config.network.options)
    loss = make_loss(config.loss, LossSize(SPEAKERS, config.network.options.embedding_dim))
    rows = share(SPEAKERS * UTTERANCES, processes.rank, processes.number)
    speakers = np.repeat(np.arange(SPEAKERS)[:, None], UTTERANCES, axis=1)
    source = Source("a", 1.0, None, BatchConfig(SPEAKERS, UTTERANCES), np.arange(SPEAKERS))  # type: ignore[arg-type]
    batch = Batch(source, torch.randn(len(rows), FRAMES, DIM), torch.from_numpy(speakers), rows, speakers)
    trainer = Trainer(config, module, loss, lambda _: iter(()), None, Path(), {}, torch.device("cpu"), None, processes=processes)  # type: ignore[arg-type]
    trainer.step([batch])
    with Counter() as counter:
        trainer.step([batch])
    return counter.count


def count_steps(rank: int, number: int, port: int, cases: list[tuple[str, str]], answers) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Put what the first of `number` processes counted for every case into `answers`."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(number))
    torch.set_num_threads(1)
    with joined_processes(torch.device("cpu"), 60) as processes:
        counts = [counted_step(network, statistics, processes) for network, statistics in cases]
    if rank == 0:
        answers.put(counts)


def count(cases: list[tuple[str, str]], number: int) -> list[int]:
    """Operations of one step of the first of `number` processes, for every (network, statistics); the processes start once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = mp.get_context("spawn").SimpleQueue()
    mp.spawn(count_steps, (number, port, cases, answers), nprocs=number)
    return list(answers.get())


def main() -> None:
    """Print a line for every network and way of sharing statistics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--statistics", choices=["own", "all"], action="append")
    given = parser.parse_args()
    print(f"{'network':12s} statistics  one process  two  ratio")
    cases = [(network, statistics) for network in given.network or NETWORKS for statistics in given.statistics or ["own", "all"]]
    for (network, statistics), one, two in zip(cases, count(cases, 1), count(cases, 2)):
        print(f"{network:12s} {statistics:10s} {one:6d} {two:6d}  x {two / one:.2f}")


if __name__ == "__main__":
    main()

"""Every loss, N=64 speakers x M=10 utterances x 256, 5000 training speakers: forward and backward, against a step of the network.

The table says which share of a step each loss adds: a step of 1.5 s, or, with `--network`, what the text-independent
network (three LSTM layers of 768, projected to 256) takes for such a batch on one thread, measured first (about a minute).
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from common import alternate, save

from sv_toolkit.losses.registry import LOSSES, loss_entry
from sv_toolkit.losses.term import LossSize
from sv_toolkit.losses.total import TotalLoss

SIZE = LossSize(num_speakers=5000, embedding_dim=256)
NUM_SPEAKERS, NUM_UTTERANCES, STEP_SECONDS = 64, 10, 1.5


def one_step(name):
    """A function that computes the loss and its gradient for one batch."""
    config_class, term_class = loss_entry(name)
    loss = TotalLoss({name: (1.0, term_class(config_class(), SIZE))}, SIZE)
    embeddings = torch.randn(NUM_SPEAKERS, NUM_UTTERANCES, SIZE.embedding_dim, requires_grad=True)
    speakers = torch.randperm(SIZE.num_speakers)[:NUM_SPEAKERS, None].repeat(1, NUM_UTTERANCES)
    if term_class.sampler == "tuples":
        speakers[::2, 0] = speakers.roll(1, dims=0)[::2, 0]  # every second tuple is a nontarget one

    def run():
        loss.zero_grad()
        embeddings.grad = None
        loss(embeddings, speakers).loss.backward()

    return run


def network_seconds():
    """Forward and backward of the text-independent network on 640 crops of 160 frames."""
    from sv_toolkit.models.lstm import LstmConfig, LstmDvector

    network, features = LstmDvector(40, LstmConfig()), torch.randn(NUM_SPEAKERS * NUM_UTTERANCES, 160, 40)
    started = time.process_time()
    network(features).sum().backward()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = network_seconds() if "--network" in sys.argv[1:] else STEP_SECONDS
    times = alternate({name: one_step(name) for name in LOSSES})
    save("losses", times, reference="ge2e", unit="one forward and backward, N=64 M=10 D=256, 5000 speakers, 1 thread", step_seconds=step)
    print(f"share of a step of {step:.1f} s:")
    for name, values in times.items():
        print(f"  {name:28s} {100 * statistics.median(values) / step:6.2f} %")


if __name__ == "__main__":
    main()

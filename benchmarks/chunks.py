"""GE2E over 10 000 utterances: the gradient in chunks against the direct one, and the memory that either takes."""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from sv_toolkit.losses.registry import loss_config, make_loss  # noqa: E402
from sv_toolkit.losses.term import LossSize  # noqa: E402
from sv_toolkit.models.lstm import LstmConfig, LstmDvector  # noqa: E402
from sv_toolkit.training.gradient import accumulate_gradient  # noqa: E402
from sv_toolkit.training.processes import Processes  # noqa: E402

SPEAKERS, UTTERANCES, FRAMES, DIM = 1000, 10, 50, 40


def gradient(chunk: int, answers: multiprocessing.Queue) -> None:
    """The gradient from chunks of `chunk` utterances; memory beyond that of the batch itself."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, loss = LstmDvector(DIM, LstmConfig(64, 0, 1, 64, "mean")), make_loss(loss_config({}, "x"), LossSize(SPEAKERS, 64))
    features = torch.randn(SPEAKERS, 1, 1, DIM).expand(-1, UTTERANCES, FRAMES, -1).flatten(0, 1) + torch.randn(
        SPEAKERS * UTTERANCES, FRAMES, DIM
    )
    starts = range(0, len(features), chunk)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    accumulate_gradient(
        lambda i: network.raw(features[starts[i] : starts[i] + chunk]),
        len(starts),
        lambda embeddings: loss(embeddings.unflatten(0, (SPEAKERS, UTTERANCES))),
        lambda value: value,
        Processes(),
    )
    found = torch.cat([parameter.grad.flatten() for parameter in [*network.parameters(), *loss.parameters()]])
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    answers.put((found.double().tolist(), megabytes, time.process_time() - started))


def main() -> None:
    """Print the relative difference, and memory and CPU seconds of both ways."""
    results = {}
    for chunk in (SPEAKERS * UTTERANCES, 500):
        answers: multiprocessing.Queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=gradient, args=(chunk, answers))
        process.start()
        results[chunk] = answers.get()
        process.join()
    (whole, memory, seconds), (chunked, less, more) = results.values()
    one, other = torch.tensor(whole), torch.tensor(chunked)
    difference = float((one - other).norm() / one.norm())
    print(f"{SPEAKERS} x {UTTERANCES} utterances: relative difference of the gradients {difference:.1e}")
    print(f"at once {memory:.0f} MB, {seconds:.1f} s; in chunks of 500 {less:.0f} MB, {more:.1f} s")
    print(json.dumps({"difference": difference, "megabytes": [memory, less], "seconds": [seconds, more]}))


if __name__ == "__main__":
    main()

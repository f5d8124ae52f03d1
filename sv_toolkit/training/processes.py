"""Several processes that train one model together: `torchrun --nproc-per-node K --no-python sv-train ...`.

Each process embeds its share of every batch; embeddings are gathered, so that the loss sees the whole batch,
and gradients are summed.  Before every step the processes meet on the CPU (gloo): there a process that died
or hangs is noticed, and named, before anything waits for it on a GPU.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import re
import threading
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sv_toolkit.errors import ModelError

HEARTBEAT = 1.0  # seconds between two of them


def share(total: int, rank: int, number: int) -> range:
    """The rows that process `rank` of `number` works on; contiguous, as equal as can be."""
    return range(total * rank // number, total * (rank + 1) // number)


class Processes:
    """One process alone: nothing to gather, nothing to sum."""

    rank, number = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and log lines."""
        return self.rank == 0

    def gather(self, own: Tensor, total: int) -> tuple[Tensor, range]:
        """The `total` rows of all processes, shared out as `share` does, and which of them are one's own."""
        return own, range(total)

    def sum_gradients(self, network: nn.Module, loss: nn.Module) -> None:
        """Gradients of the network added up; those of the loss, which are alike everywhere, made equal to the last bit."""

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors of equal shapes everywhere by their means over all processes."""

    def any(self, flag: bool, step: int = 0) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def share(self, value: float) -> float:
        """The value that the first process has."""
        return value

    def wait(self) -> None:
        """Until all processes are here."""


class ManyProcesses(Processes):
    """What torchrun started, K processes in a ring."""

    def __init__(self, store: dist.Store, rank: int, number: int, timeout: float) -> None:
        self.store, self.rank, self.number, self.timeout = store, rank, number, timeout
        self.step = self.meetings = 0
        self.ended = threading.Event()
        threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True).start()

    def gather(self, own: Tensor, total: int) -> tuple[Tensor, range]:
        """The `total` rows of all processes, shared out as `share` does, and which of them are one's own."""
        shares = [share(total, rank, self.number) for rank in range(self.number)]
        longest = max(map(len, shares))
        filled = own if len(own) == longest else torch.cat([own, own.new_zeros(longest - len(own), *own.shape[1:])])
        parts = [torch.empty_like(filled) for _ in shares]
        with self._naming():
            dist.all_gather(parts, filled.contiguous())
        return torch.cat([part[: len(place)] for part, place in zip(parts, shares)]), shares[self.rank]

    def sum_gradients(self, network: nn.Module, loss: nn.Module) -> None:
        """Gradients of the network added up, those of the loss averaged."""
        for module, factor in ((network, 1.0), (loss, 1.0 / self.number)):
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            self._sum(gradients, factor)

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors of equal shapes everywhere by their means over all processes."""
        self._sum(tensors, 1.0 / self.number)

    def _sum(self, tensors: list[Tensor], factor: float) -> None:
        if not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]) * factor
        with self._naming():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors)])

    def any(self, flag: bool, step: int = 0) -> bool:
        """Whether the flag is set in any process; also the meeting before every step, where a lost process is noticed."""
        self.step, self.meetings = step, self.meetings + 1
        self.store.set(f"sv-train/meeting/{self.rank}", str(self.meetings))
        number = torch.tensor([float(flag)])
        with self._naming():
            dist.all_reduce(number, op=dist.ReduceOp.MAX)
        return bool(number.item())

    def share(self, value: float) -> float:
        """The value that the first process has."""
        number = torch.tensor([value], dtype=torch.float64)
        with self._naming():
            dist.broadcast(number, src=0)
        return float(number.item())

    def wait(self) -> None:
        """Until all processes are here."""
        self.any(False, self.step)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Turn the failure of a collective operation into one line, from one process, that says which process is missing."""
        try:
            yield
        except RuntimeError as error:
            missing = self._missing()
            if self.store.add("sv-train/told", 1) > 1:
                raise SystemExit(1) from None
            reason = re.sub(r"\[[^\]]*\]:?\d* *", "", str(error).splitlines()[0])[:120]
            raise ModelError(
                f"process {', '.join(map(str, missing)) or '?'} of {self.number} died or did not answer within {self.timeout:g} s after step {self.step}; "
                f"run the same command to resume from the last checkpoint (process {self.rank} saw: {reason})"
            ) from None

    def _missing(self) -> list[int]:
        """Processes whose heartbeat has stopped, or that have not come to the last meeting."""
        before = self._read("heartbeat")
        time.sleep(3 * HEARTBEAT)
        after, meetings = self._read("heartbeat"), self._read("meeting")
        return [rank for rank in range(self.number) if after[rank] == before[rank] or meetings[rank] < max(meetings)]

    def _read(self, name: str) -> list[int]:
        keys = [f"sv-train/{name}/{rank}" for rank in range(self.number)]
        return [int(self.store.get(key)) if self.store.check([key]) else 0 for key in keys]

    def _send_heartbeats(self) -> None:
        for count in itertools.count(1):
            with contextlib.suppress(RuntimeError):  # the store goes when the launcher goes
                self.store.set(f"sv-train/heartbeat/{self.rank}", str(count))
            if self.ended.wait(HEARTBEAT):
                return


def started_by_torchrun() -> bool:
    """Whether torchrun has set up the environment of several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_process() -> bool:
    """Whether this process speaks for all."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def joined_processes(device: torch.device, timeout: float) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; gloo between CPUs, nccl between GPUs.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
    """
    if not started_by_torchrun():
        yield Processes()
        return
    store, rank, number = next(dist.rendezvous("env://", timeout=datetime.timedelta(seconds=max(timeout, 60))))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend, store=dist.PrefixStore("sv-train", store), rank=rank, world_size=number, timeout=datetime.timedelta(seconds=timeout)
    )
    processes = ManyProcesses(store, rank, number, timeout)
    try:
        yield processes
    finally:
        processes.ended.set()
        dist.destroy_process_group()

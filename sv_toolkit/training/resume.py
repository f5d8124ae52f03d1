"""Checkpoints: everything a run needs to go on exactly where it was, in one safetensors file with a digest."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sv_toolkit.errors import MALFORMED, ModelError, examples, plain
from sv_toolkit.io.files import whole_binary

logger = logging.getLogger("sv_toolkit")
FORMAT = 3  # 1 had a digest of the tensors alone, 2 drew other batches
KEPT = 2  # the newest may be damaged by the fault that ended the run; the one before it is the way back


@dataclass
class Progress:
    """Where a run stands, apart from tensors.

    Attributes:
        step: steps done.
        best_eer, best_step: on the held-out speakers; `best_step` 0 before the first.
        stale: EERs since the best.
        sums: running sums for the next log line.
        scaler: state of the fp16 loss scaler.
        records: number and digest of what was reported.
        finished: no step is left to do.
    """

    step: int = 0
    best_eer: float = 1.0
    best_step: int = 0
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    finished: bool = False


class Writer:
    """Writes one checkpoint at a time in a thread; an error of it is raised at the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write, once the last one is written."""
        self.finish()
        self._thread = threading.Thread(target=self._write, args=(write,), name="checkpoint")
        self._thread.start()

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Wait until everything is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"ckpt-{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, newest first."""
    return sorted(
        (path for path in folder.glob("ckpt-*.safetensors") if re.fullmatch(r"ckpt-\d{8,}\.safetensors", path.name)), reverse=True
    )


def save_checkpoint(folder: Path, progress: Progress, tensors: dict[str, Tensor], job: dict[str, Any], regular: bool) -> None:
    """Write the checkpoint whole, then drop what is no longer needed.

    The newest `KEPT` regular ones stay, and an irregular one (of a run that was stopped) until the next regular
    one, so that a run that was stopped leaves the same files in the end as one that was not.
    """
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    state = {"format": FORMAT, "job": job, "progress": asdict(progress), "regular": regular}
    metadata = {
        "state": json.dumps({**state, "sha256": _digest(state, tensors)}, sort_keys=True)
    }  # one key: safetensors writes several in no fixed order
    path = checkpoint_path(folder, progress.step)
    with whole_binary(path) as stream:
        stream.write(save(tensors, metadata))
    kept = 0
    for old in checkpoints(folder):
        kept += is_regular(old)
        if old != path and (kept > KEPT or not is_regular(old)):
            old.unlink()


def is_regular(path: Path) -> bool:
    """False for a checkpoint that a stopped run left between two regular ones, or one that cannot be read."""
    try:
        with safe_open(path, framework="pt") as stream:
            return bool(json.loads(stream.metadata()["state"])["regular"])
    except (SafetensorError, OSError, *MALFORMED):
        return False


def load_newest(folder: Path, job: dict[str, Any]) -> tuple[Progress, dict[str, Tensor]] | None:
    """The newest healthy checkpoint, or None where there is none.

    Raises:
        ModelError: the checkpoints belong to another configuration or data, or to another version of this toolkit.
    """
    found = checkpoints(folder)
    for path in found:
        try:
            return _load(path, job)
        except (SafetensorError, OSError, *MALFORMED) as error:
            way_on = "starting from the beginning" if path == found[-1] else "falling back to the previous checkpoint"
            logger.warning("%s is damaged (%s); %s", plain(path), plain(error), way_on)
    return None


def _load(path: Path, job: dict[str, Any]) -> tuple[Progress, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as stream:
        state = json.loads(stream.metadata()["state"])
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    if state.get("format", 1) != FORMAT:
        raise ModelError(
            f"{plain(path)}: checkpoint format {plain(state.get('format', 1))}, this version reads {FORMAT}; give --overwrite, or another folder"
        )
    if state.pop("sha256") != _digest(state, tensors):
        raise ValueError("checksum mismatch")
    differing = differing_keys(state["job"], job)
    if differing:
        raise ModelError(
            f"{plain(path)}: belongs to a training that differs in {examples(differing, 5)}; give --overwrite, or another folder"
        )
    return Progress(**state["progress"]), tensors


def _digest(state: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Of all that a run goes on from: where it stands, and names, types, shapes and contents of the tensors."""
    kinds = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([state, kinds], sort_keys=True).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differing_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted names of what differs between two nested tables."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [prefix]
    names = sorted(old.keys() | new.keys())
    return [found for name in names for found in differing_keys(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, own in state.items()
        for name, value in own.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `under`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}

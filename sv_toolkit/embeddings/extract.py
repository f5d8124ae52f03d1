"""D-vectors for a data directory: features in, `dvector.scp` out, over shards that do not depend on the number of jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from sv_toolkit import __version__
from sv_toolkit.data.digests import STORED, tables_digest
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.data.skipped import write_skipped
from sv_toolkit.embeddings.embed import embed
from sv_toolkit.errors import ArchiveError, ConfigError, DataError, plain
from sv_toolkit.features.prepare import prepare
from sv_toolkit.io.parts import Share
from sv_toolkit.io.shards import Skip, some_reasons
from sv_toolkit.io.work import Work
from sv_toolkit.io.workers import available_cpus
from sv_toolkit.models.store import Description, WindowConfig, load_model, model_digest, read_description, windows_table

logger = logging.getLogger("sv_toolkit")
Result = TypeVar("Result")
NAME = "dvector"
READ_AHEAD = 256  # utterances that a GPU embeds while the next ones are read
SMALL = 256  # utterances below which starting more processes, each importing torch, takes longer than the work


@dataclass(frozen=True)
class Options:
    """What an extraction is given; window and shift default to the model's; `share` is a part of the work or the join of all (`io.parts`)."""

    window: int | None = None
    shift: int | None = None
    num_jobs: int | None = None
    max_bad: int = 0
    device: str = "cpu"
    overwrite: bool = False
    on_progress: Callable[[int], None] = lambda _: None
    share: Share = None
    amp: str = "none"


def extract_dvectors(model: Path, data: Path, out: Path, options: Options) -> int:
    """Write `out/dvector.scp` for the utterances of `data`; the number of d-vectors.

    Raises:
        SvError: model, features or output directory do not fit; too many utterances cannot be embedded.
    """
    description, _ = read_description(model)
    windows = _windows(description, options)
    index = FeatureIndex(data, need_vad=description.input.use_vad)
    refuse_unlike(index, description.feature_dim, description.features, description.input.use_vad, f"the model {plain(model)}")
    job = {
        "command": "sv-extract-dvector",
        "version": __version__,
        "model": model_digest(model),
        "config": {**windows_table(windows), **_precision(options)},
        "data": tables_digest(data, STORED),
    }
    with Work(out, NAME, job, NAME, options.share, options.overwrite) as work:
        if work.is_done():
            return len(index.utterances)
        work.begin()
        return _extract(model, index, work, windows, options)


def _extract(model: Path, index: FeatureIndex, work: Work, windows: WindowConfig, options: Options) -> int:
    process = partial(embed_shard, str(model), str(index.path), windows, options.device, options.amp)
    num_jobs = options.num_jobs or (available_cpus() if len(index.utterances) >= SMALL and options.device == "cpu" else 1)
    written = work.shards(index.utterances, str, process, num_jobs, options.max_bad, options.on_progress, start_method="spawn")
    if written.skipped:
        count = len(written.skipped)
        logger.warning("%d of %d utterances skipped, see skipped.tsv: %s", count, len(index.utterances), some_reasons(written.skipped))
    if not work.is_part:
        work.table("utt2spk", {key: index.utt2spk[key] for key in written.scp})
        write_skipped(work.out, "sv-extract-dvector", written.skipped)
        work.finish({"utterances": len(written.scp), "skipped": len(written.skipped)})
    return len(written.scp)


def _precision(options: Options) -> dict[str, str]:
    """What the job says of the precision; nothing of the usual one, so that it is what it was."""
    return {} if options.amp == "none" else {"amp": options.amp}


def _windows(description: Description, options: Options) -> WindowConfig:
    own = description.windows
    window = options.window or own.window
    shift = options.shift or (own.shift if options.window is None else max(window // 2, 1))
    try:
        return replace(own, window=window, shift=shift, shortest=min(own.shortest, window))
    except ConfigError as error:
        raise ConfigError(f"--window {window} --shift {shift}: {error}") from None


def embed_shard(
    model: str, data: str, windows: WindowConfig, device: str, amp: str, utterances: list[str]
) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """D-vectors of a shard, windows batched across its utterances; a reason for each one that has none."""
    network, description, index = _opened(model, data, device)
    size = _num_read_ahead(next(network.parameters()).device, len(utterances))
    chunks = [utterances[start : start + size] for start in range(0, len(utterances), size)]
    for chunk, (inputs, reasons) in zip(chunks, _read_ahead(partial(_read, index, description, windows), chunks)):
        vectors = dict(zip(inputs, embed(network, list(inputs.values()), windows, amp=amp))) if inputs else {}
        for utterance in chunk:
            yield utterance, vectors[utterance] if utterance in vectors else Skip(reasons[utterance])


def _num_read_ahead(device: torch.device, num_utterances: int) -> int:
    """Utterances that are read together: on a CPU, which the network keeps busy anyway, all of the shard."""
    return num_utterances if device.type == "cpu" else READ_AHEAD


def _read(
    index: FeatureIndex, description: Description, windows: WindowConfig, utterances: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Network inputs `(num_frames, dim)` by utterance, and the reason for each utterance that has none."""
    inputs: dict[str, np.ndarray] = {}
    reasons: dict[str, str] = {}
    for utterance in utterances:
        try:
            frames = prepare(*index.read(utterance), description.input)
        except (DataError, ArchiveError) as error:
            reasons[utterance] = str(error)
            continue
        if len(frames) < windows.shortest:
            reasons[utterance] = (
                "no speech" if len(frames) == 0 else f"too short: {len(frames)} frames of speech, at least {windows.shortest} are needed"
            )
        else:
            inputs[utterance] = frames
    return inputs, reasons


def _read_ahead(read: Callable[[list[str]], Result], chunks: list[list[str]]) -> Iterator[Result]:
    """Results of `read` for each chunk in order; the next chunk is read by a thread while the caller works on this one."""
    if len(chunks) < 2:
        yield from map(read, chunks)
        return
    with ThreadPoolExecutor(1) as loader:
        waiting = loader.submit(read, chunks[0])
        for chunk in chunks[1:]:
            found = waiting.result()
            waiting = loader.submit(read, chunk)
            yield found
        yield waiting.result()


@lru_cache(maxsize=1)
def _opened(model: str, data: str, device: str) -> tuple[nn.Module, Description, FeatureIndex]:
    """Model and tables, once per process, on one thread: sums are then the same whatever the number of jobs."""
    torch.set_num_threads(1)
    network, description = load_model(Path(model))
    return network.to(device), description, FeatureIndex(Path(data), need_vad=description.input.use_vad)

"""The data of a training, loaded and checked: sources, held-out speakers, noise and impulse responses."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from sv_toolkit.data.digests import STORED, tables_digest
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ConfigError, examples, plain
from sv_toolkit.io.manifest import digest_of
from sv_toolkit.losses.registry import loss_needs
from sv_toolkit.training.augment import Augmentation, load_log_mel, refuse_other_than_log_mel, response_powers
from sv_toolkit.training.batches import Source
from sv_toolkit.training.config import SourceConfig, TrainConfig
from sv_toolkit.training.examples import Examples, left_out, refuse_nothing_usable, select_usable, warn_of
from sv_toolkit.training.frames import ArchiveFrames, free_memory, hold_frames
from sv_toolkit.training.index import TrainingIndex, refuse_too_many
from sv_toolkit.training.index_store import Progress, ensure_index, load_index, no_progress
from sv_toolkit.training.processes import Processes
from sv_toolkit.training.relations import originals_of, sessions_of
from sv_toolkit.training.sampling import least_utterances, refuse_small
from sv_toolkit.training.validation import HeldOut

logger = logging.getLogger("sv_toolkit")


@dataclass(frozen=True)
class NamedData:
    """A data directory, what it is called in logs, and its weight where the command line gives one."""

    name: str
    path: Path
    weight: float | None = None


def data_digest(path: Path, also: tuple[str, ...] = ()) -> str:
    """Digest of the tables that decide what is read, and of their archives."""
    return digest_of(tables_digest(path, (*STORED, *also)))


@dataclass(frozen=True)
class Place:
    """Where a training computes and what it may use.

    Attributes:
        folder: of the training; an index that cannot be written beside its data goes there.
        num_local: processes of this training on this machine, which share its memory.
    """

    device: torch.device
    folder: Path
    max_bad: int = 0
    num_local: int = 1
    progress: Progress = no_progress


def load_sources(
    config: TrainConfig, data: tuple[NamedData, ...], place: Place, processes: Processes
) -> tuple[list[Source], list[str], FeatureIndex]:
    """Material of every data directory, the ids of all speakers, and the index of the first.

    A speaker who is in several sources is one class.

    Raises:
        ConfigError, ModelError, DataError: sources that do not fit the configuration, were not made alike, or are too small.
    """
    unknown = sorted(config.sources.keys() - {given.name for given in data})
    if unknown:
        raise ConfigError(f"sources: {examples(unknown)} have no data; give --train NAME:DIR for each")
    indices = [FeatureIndex(given.path, need_vad=config.input.use_vad) for given in data]
    for first, second in combinations(indices, 2):
        refuse_unlike(second, first.dim, first.made_by(), config.input.use_vad, f"the training with {plain(first.path)}")
    settings = [config.sources.get(given.name, SourceConfig()) for given in data]
    tables = [_load_index(config, given, index, place, processes) for given, index in zip(data, indices)]
    found = [_load(config, index, table, own, place) for index, table, own in zip(indices, tables, settings)]
    speakers = sorted({speaker for examples_ in found for speaker in examples_.speakers})
    number = {speaker: i for i, speaker in enumerate(speakers)}
    sources = [
        Source(
            name=given.name,
            weight=own.weight if given.weight is None else given.weight,
            examples=examples_,
            batch=own.batch(config.batch),
            classes=np.array([number[speaker] for speaker in examples_.speakers]),
        )
        for given, own, examples_ in zip(data, settings, found)
    ]
    return sources, speakers, indices[0]


def _load_index(config: TrainConfig, given: NamedData, index: FeatureIndex, place: Place, processes: Processes) -> TrainingIndex:
    """The training index, computed by the first process where it is missing."""
    elsewhere = place.folder / f"index_{given.name}"
    if processes.is_first:
        ensure_index(index, config.input.use_vad, place.max_bad, place.progress, elsewhere)
    processes.wait()
    folder, _ = ensure_index(index, config.input.use_vad, place.max_bad, no_progress, elsewhere)
    table = load_index(folder, index.num_utterances, index.dim)
    refuse_too_many(index, table.bad, place.max_bad)
    return table


def _load(config: TrainConfig, index: FeatureIndex, table: TrainingIndex, own: SourceConfig, place: Place) -> Examples:
    batch = own.batch(config.batch)
    shortest, least = batch.shortest_usable, least_utterances(batch)
    usable = select_usable(index, table, shortest, least)
    refuse_nothing_usable(index, table, usable, shortest)
    lost = left_out(index, table, usable, shortest, least)
    warn_of(index, table, lost)
    room = config.trainer.preload_gb * 2**30
    on_disk = ArchiveFrames(index, table, config.input, usable.utterances, pinned=place.device.type == "cuda")
    frames = hold_frames(on_disk, room / place.num_local, place.device, min(room, free_memory(place.device) / 2))
    found = Examples(frames, usable, table, config.input, index.ids, lost)
    if config.augment.consistency:
        found.originals = originals_of(index, usable)
    if batch.across_sessions:
        found.sessions = sessions_of(index, usable)
    needs = loss_needs(config.loss)
    refuse_small(found, batch, needs.speakers, needs.utterances)
    return found


def load_held_out(
    config: TrainConfig, valid: tuple[NamedData, ...], index: FeatureIndex, speakers: list[str], max_bad: int
) -> dict[str, HeldOut]:
    """Sets of held-out speakers by name; they give the EERs of a network."""
    if not valid:
        logger.info("no --valid data: no dev EER, and the model of the last step is kept")
    held_out = {}
    for given in valid:
        own = FeatureIndex(given.path, need_vad=config.input.use_vad)
        shared = sorted(set(own.utt2spk.values()) & set(speakers))
        if shared:
            logger.warning(
                "%d speakers are in both training and held-out data (%s): the dev EER will flatter", len(shared), examples(shared)
            )
        refuse_unlike(own, index.dim, index.made_by(), config.input.use_vad, "the training data")
        held_out[given.name] = HeldOut(own, config.input, config.windows, max_bad)
    return held_out


def load_augment(config: TrainConfig, noise: Path | None, reverb: Path | None, index: FeatureIndex) -> Augmentation:
    """Augmentation with the noises and impulse responses that the configuration uses, for the features of `index`."""
    noises = _log_mel(config, "noise", config.augment.noise_probability, noise, index)
    rooms = _log_mel(config, "reverb", config.augment.reverb_probability, reverb, index)
    if config.augment.band_probability:
        refuse_other_than_log_mel(index, config.input.cmvn)
    return Augmentation(config.augment, noises, [response_powers(room) for room in rooms])


def _log_mel(config: TrainConfig, name: str, probability: float, path: Path | None, index: FeatureIndex) -> list[np.ndarray]:
    if not probability:
        if path is not None:
            FeatureIndex(path, need_vad=False)  # a misspelt one is an error, too
            logger.warning("--%s %s has no effect: %s_probability is 0", name, plain(path), name)
        return []
    if path is None:
        logger.warning("%s_probability is %g but no --%s data is given: training without", name, probability, name)
        return []
    return load_log_mel(FeatureIndex(path, need_vad=False), index, config.input.cmvn)

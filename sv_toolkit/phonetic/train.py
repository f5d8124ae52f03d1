"""Training of a frame classifier on aligned features: cross entropy over mixed frames, in one go."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit import __version__
from sv_toolkit.config import as_table
from sv_toolkit.data.digests import STORED, tables_digest
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import DataError, OutputError, examples, plain
from sv_toolkit.features.stacking import stack_frames
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.io.work import Work
from sv_toolkit.phonetic.alignment import TABLE, Classes, classes_of, read_alignments
from sv_toolkit.phonetic.config import PhoneConfig
from sv_toolkit.phonetic.network import PhoneNetwork, normalized
from sv_toolkit.phonetic.store import CLASSIFIER, Description, save_classifier

logger = logging.getLogger("sv_toolkit")
COMMAND, NAME = "sv-train-phones", "phones"
FRAME_SHIFT, FRAME_LENGTH = 0.010, 0.025  # seconds, of features that do not say how they were made
Aligned = list[tuple[np.ndarray, np.ndarray]]  # normalised features and labels of utterances


@dataclass(frozen=True)
class Options:
    """What a training is given besides its configuration; `valid` is a second aligned data directory to measure on."""

    data: Path
    folder: Path
    valid: Path | None = None
    threads: int = 1
    overwrite: bool = False


def train_phones(config: PhoneConfig, options: Options) -> float:
    """Train the classifier in `options.folder`; the share of frames that it gets right in `valid`, NaN without one.

    Raises:
        SvError: data, alignments or folder are wrong, in one line.
    """
    job = {
        "command": COMMAND,
        "version": __version__,
        "config": as_table(config),
        "data": tables_digest(options.data, (*STORED, TABLE)),
        "valid": None if options.valid is None else tables_digest(options.valid, (*STORED, TABLE)),
    }
    with Work(options.folder, NAME, job, overwrite=options.overwrite) as work:
        if work.is_done():
            return float("nan")
        _refuse_other_job(options, job)
        torch.set_num_threads(options.threads)
        index = FeatureIndex(options.data, need_vad=False)
        alignments = read_alignments(options.data / TABLE)
        classes = classes_of(alignments, config.parts, config.silence)
        aligned = read_aligned(index, classes)
        valid = _valid(options, index, classes)
        work.begin()
        network = _fit(config, aligned, classes, valid)
        accuracy = frame_accuracy(network, valid, config, classes) if valid else float("nan")
        provenance = {
            "data": job["data"],
            "frames": sum(len(labels) for _, labels in aligned),
            "valid_accuracy": accuracy if valid else None,
        }
        save_classifier(work.out, network, Description(config, classes.phones, index.dim, index.made_by(), provenance))
        for name in (CLASSIFIER.arrays, CLASSIFIER.description):
            work.add(name)
        work.finish({"utterances": len(aligned), "classes": len(classes.names)})
    return accuracy


def _refuse_other_job(options: Options, job: dict[str, Any]) -> None:
    manifest = read_manifest(options.folder, NAME)
    if not options.overwrite and manifest is not None and manifest.job != job:
        raise OutputError(f"{plain(options.folder)}: holds a classifier of other data or options; give --overwrite, or another folder")


def _valid(options: Options, index: FeatureIndex, classes: Classes) -> Aligned:
    if options.valid is None:
        return []
    valid = FeatureIndex(options.valid, need_vad=False)
    refuse_unlike(valid, index.dim, index.made_by(), False, f"the training data {plain(options.data)}")
    return read_aligned(valid, classes)


def read_aligned(index: FeatureIndex, classes: Classes) -> Aligned:
    """Normalised features and labels of every utterance of a data directory with phones.ctm.

    Raises:
        DataError: utterances without alignment, or phones that are no classes.
    """
    alignments = read_alignments(index.path / TABLE)
    missing = [utterance for utterance in index.utterances if utterance not in alignments]
    if missing:
        raise DataError(f"{plain(index.path / TABLE)}: {len(missing)} utterances are not aligned: {examples(missing)}")
    shift, first_middle = frame_times(index)
    aligned = []
    for utterance in index.utterances:
        features, _ = index.read(utterance)
        try:
            labels = classes.labels(alignments[utterance], len(features), shift, first_middle)
        except DataError as error:
            raise DataError(f"{plain(index.path / TABLE)}: {plain(utterance)}: {error}") from None
        aligned.append((normalized(features), labels))
    return aligned


def frame_times(index: FeatureIndex) -> tuple[float, float]:
    """Shift of the frames, and the middle of the first one, in seconds, as the manifest of the filter banks says."""
    made: dict[str, Any] = index.made_by().get("fbank", {}).get("config", {})
    shift, length = float(made.get("frame_shift", FRAME_SHIFT)), float(made.get("frame_length", FRAME_LENGTH))
    return shift, (length if made.get("snip_edges", True) else shift) / 2


def _batches(aligned: Aligned, config: PhoneConfig, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over all frames: stacked frames and labels, mixed over `utterances_at_once` utterances."""
    order = rng.permutation(len(aligned))
    for first in range(0, len(order), config.utterances_at_once):
        own = [aligned[place] for place in order[first : first + config.utterances_at_once]]
        frames = np.concatenate([stack_frames(features, config.left, config.right) for features, _ in own])
        labels = np.concatenate([labels for _, labels in own])
        mixed = rng.permutation(len(frames))
        for start in range(0, len(mixed), config.batch_size):
            rows = mixed[start : start + config.batch_size]
            yield torch.from_numpy(frames[rows]), torch.from_numpy(labels[rows])


def _num_steps(aligned: Aligned, config: PhoneConfig) -> int:
    """More than there will be by less than one step for every `utterances_at_once` utterances."""
    frames = sum(len(labels) for _, labels in aligned)
    return config.epochs * (frames // config.batch_size + len(aligned) // config.utterances_at_once + 1)


def _fit(config: PhoneConfig, aligned: Aligned, classes: Classes, valid: Aligned) -> PhoneNetwork:
    torch.manual_seed(config.seed)
    rng, began = np.random.default_rng(config.seed), time.monotonic()
    network = PhoneNetwork(aligned[0][0].shape[1], len(classes.names), config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, _num_steps(aligned, config), pct_start=0.1)
    for epoch in range(config.epochs):
        network.train()
        losses = []
        for frames, labels in _batches(aligned, config, rng):
            logits = network(frames + config.noise * torch.randn_like(frames))
            loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        network.eval()
        right = f", {100 * frame_accuracy(network, valid, config, classes):.1f} % of the held-out frames right" if valid else ""
        logger.info("epoch %d: cross entropy %.3f%s, %.0f s", epoch + 1, np.mean(losses), right, time.monotonic() - began)
    return network


def frame_accuracy(network: PhoneNetwork, aligned: Aligned, config: PhoneConfig, classes: Classes) -> float:
    """Share of frames whose likeliest class is one of the right phone, whatever part of it."""
    right, total, phone_of = 0, 0, classes.phone_of
    with torch.inference_mode():
        for features, labels in aligned:
            best = network(torch.from_numpy(stack_frames(features, config.left, config.right))).argmax(dim=1).numpy()
            right += int((phone_of[best] == phone_of[labels]).sum())
            total += len(labels)
    return right / total

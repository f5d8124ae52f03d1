"""From data directories to a detector in a folder: done once, and whole or absent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.config import as_table
from sv_toolkit.data.digests import tables_digest
from sv_toolkit.data.skipped import write_skipped
from sv_toolkit.errors import DataError, OutputError, plain
from sv_toolkit.extraction.pipeline import AUDIO_TABLES, AudioOptions
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.io.files import make_directory
from sv_toolkit.io.work import Work
from sv_toolkit.keyword.config import KeywordConfig
from sv_toolkit.keyword.corpus import Bad, read_features, read_utterances, words_of
from sv_toolkit.keyword.detector import DETECTOR, Detector, save_detector

logger = logging.getLogger("sv_toolkit")
COMMAND, NAME = "sv-train-keyword", "keyword"


@dataclass(frozen=True)
class KeywordData:
    """Data directories.

    Attributes:
        keywords: recordings of one word each.
        background: speech and sounds without keywords.
        noise: to be mixed in.
        held_out: the detector will be tried on these: they may not share a speaker with the others.
        words: what is detected; other words of `keywords` are background.  Empty: all.
    """

    keywords: Path
    background: tuple[Path, ...]
    noise: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingOptions:
    """How a training goes about it: seed of every choice, utterances that may be skipped, whether another detector is replaced."""

    seed: int = 0
    threads: int = 1
    max_bad: int = 0
    overwrite: bool = False


def train_keyword(data: KeywordData, exp: Path, config: KeywordConfig, audio: AudioOptions, options: TrainingOptions) -> int:
    """Train a detector into the folder `exp`; the number of keyword recordings.

    Raises:
        DataError: a data directory is damaged, a word is missing, or speakers are shared with `held_out`.
        OutputError: `exp` is in use.
        TooManyBadError: more utterances than allowed cannot be used.
    """
    job = _job(data, config, audio, options)
    with Work(make_directory(exp), NAME, job, overwrite=options.overwrite) as work:
        words, labels = _checked(data, audio)
        if work.is_done():
            return len(labels)
        if (exp / DETECTOR.description).exists() and not options.overwrite:
            raise OutputError(f"{plain(exp)}: holds another detector; give --overwrite, or another folder")
        work.begin()
        bad = Bad(options.max_bad)
        detector, counts = _trained(data, words, labels, config, audio, options, bad)
        save_detector(exp, detector, {**job, **counts})
        for name in (DETECTOR.arrays, DETECTOR.description):
            work.add(name)
        write_skipped(exp, COMMAND, bad.reasons)
        work.finish(counts)
    return len(labels)


def _trained(
    data: KeywordData,
    words: tuple[str, ...],
    labels: dict[str, str],
    config: KeywordConfig,
    audio: AudioOptions,
    options: TrainingOptions,
    bad: Bad,
) -> tuple[Detector, dict[str, int]]:
    """The detector, and numbers of recordings and of frames of background."""
    import torch

    from sv_toolkit.keyword.train import Corpus, train_detector

    torch.set_num_threads(options.threads)
    clips, clip_words = _clips(data, labels, words, config, audio, bad)
    background = _features(data.background, config.fbank, audio, bad)
    noise = _features(data.noise, config.fbank, audio, bad)
    num_frames = sum(map(len, background))
    hours = num_frames * config.fbank.frame_shift / 3600
    logger.info("%d keyword recordings with copies, %.2f h of background, %d recordings of noise", len(clips), hours, len(noise))
    detector = train_detector(Corpus(clips, clip_words, background, noise), words, config, options.seed)
    counts = {"keyword_recordings": len(labels), "background_recordings": len(background), "background_frames": num_frames}
    return detector, {**counts, "skipped": len(bad.reasons)}


def _job(data: KeywordData, config: KeywordConfig, audio: AudioOptions, options: TrainingOptions) -> dict[str, Any]:
    tables = (*AUDIO_TABLES, "utt2keyword", "text")
    groups = {"keywords": (data.keywords,), "background": data.background, "noise": data.noise}
    return {
        "command": COMMAND,
        "version": __version__,
        "config": as_table(config),
        "audio": audio.job(),
        "seed": options.seed,
        "threads": options.threads,
        "words": list(data.words),
        "data": {name: [tables_digest(path, tables) for path in paths] for name, paths in groups.items()},
    }


def _checked(data: KeywordData, audio: AudioOptions) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words to detect and the word of every keyword recording."""
    source, _ = read_utterances(data.keywords, audio.allow_pipes)
    labels = words_of(source)
    words = tuple(dict.fromkeys(data.words)) or tuple(sorted(set(labels.values())))
    if missing := [word for word in words if word not in labels.values()]:
        raise DataError(
            f"{plain(data.keywords)}: no recording of the word {plain(missing[0])}; it has {', '.join(sorted(set(labels.values())))}"
        )
    for path in data.held_out:
        _refuse_shared(path, (data.keywords, *data.background), audio)
    return words, labels


def _refuse_shared(held_out: Path, training: Sequence[Path], audio: AudioOptions) -> None:
    speakers = set(read_utterances(held_out, audio.allow_pipes)[0].utt2spk.values())
    for path in training:
        shared = sorted(speakers & set(read_utterances(path, audio.allow_pipes)[0].utt2spk.values()))
        if shared:
            what = f"{len(shared)} speakers, such as {plain(shared[0])}, are in {plain(path)} and in {plain(held_out)}"
            raise DataError(f"{what}, which is held out; sv-split-data divides by speakers")


def _clips(
    data: KeywordData, labels: dict[str, str], words: tuple[str, ...], config: KeywordConfig, audio: AudioOptions, bad: Bad
) -> tuple[list[np.ndarray], np.ndarray]:
    """Features of the keyword recordings and of their sped-up copies, and the index of the word of each."""
    utterances = read_utterances(data.keywords, audio.allow_pipes)[1]
    clips, index = [], []
    for speed in (1.0, *config.training.speeds):
        for utterance, features in read_features(utterances, config.fbank, audio, bad, speed):
            word = labels[utterance.utterance_id]
            clips.append(features)
            index.append(words.index(word) if word in words else -1)
    if not clips:
        raise DataError(f"{plain(data.keywords)}: no recording is left to train with")
    return clips, np.array(index)


def _features(paths: Sequence[Path], config: FbankConfig, audio: AudioOptions, bad: Bad) -> list[np.ndarray]:
    found = []
    for path in paths:
        utterances = read_utterances(path, audio.allow_pipes)[1]
        found += [features for _, features in read_features(utterances, config, audio, bad)]
        if not found:
            raise DataError(f"{plain(path)}: no recording is left to train with")
    return found

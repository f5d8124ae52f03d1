"""Recordings to the speaker store: from files, or from all speakers of a data directory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.embeddings.waveform import Embedded, Embedder
from sv_toolkit.errors import AudioError, DataError, TooManyBadError, plain
from sv_toolkit.extraction.pipeline import AudioOptions
from sv_toolkit.verification import store

logger = logging.getLogger("sv_toolkit")


def enroll_files(
    path: Path, embedder: Embedder, speaker: str, recordings: Sequence[Path], audio: AudioOptions, update: bool = False
) -> dict[str, int]:
    """Enroll one speaker with recordings; the number of those that are new.

    Raises:
        AudioError: one of them cannot be used: then none is enrolled.
        SvError: what `store.enroll` refuses.
    """
    if not recordings:
        raise DataError(f"no recording for {plain(speaker)}")
    store.check_speaker_id(speaker)
    embedded = [embedder.embed_file(recording, audio.channel, audio.resample) for recording in recordings]
    return store.enroll(path, embedder.digest, {speaker: embedded}, update)


def enroll_data(
    path: Path,
    embedder: Embedder,
    data: Path,
    audio: AudioOptions,
    update: bool = False,
    max_bad: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, int]:
    """Enroll every speaker of the data directory `data` with all utterances; how many of each are new.

    Raises:
        TooManyBadError: more than `max_bad` utterances cannot be used; nobody is enrolled then.
        SvError: the data directory is damaged, or what `store.enroll` refuses.
    """
    source = DataDir.read(data, allow_pipes=audio.allow_pipes)
    for speaker in source.spk2utt:
        store.check_speaker_id(speaker)
    new: dict[str, list[Embedded]] = {speaker: [] for speaker in source.spk2utt}
    bad: dict[str, str] = {}
    for utterance in source.utterances():
        try:
            embedded = embedder.embed_request(audio.request(utterance, embedder.sample_rate), audio.resample)
            new[utterance.speaker_id].append(embedded)
        except AudioError as error:
            bad[utterance.utterance_id] = str(error)
            if len(bad) > max_bad:
                first = "; ".join(f"{plain(key)}: {reason}" for key, reason in list(bad.items())[:3])
                raise TooManyBadError(f"{plain(data)}: {len(bad)} utterances cannot be used (--max-bad {max_bad}): {first}") from None
        on_progress(1)
    _warn_of_concerns(embedder, new)
    for key, reason in bad.items():
        logger.warning("%s: left out: %s", plain(key), reason)
    return store.enroll(path, embedder.digest, _heard(new), update)


def _warn_of_concerns(embedder: Embedder, new: dict[str, list[Embedded]]) -> None:
    """One line for all recordings that are short or clipped, with the first of them as the example."""
    concerns = [(speaker, concern) for speaker, own in new.items() for utterance in own for concern in embedder.concerns(utterance)]
    if concerns:
        logger.warning("%d recordings are short or clipped, such as one of %s: %s", len(concerns), plain(concerns[0][0]), concerns[0][1])


def _heard(new: dict[str, list[Embedded]]) -> dict[str, list[Embedded]]:
    for speaker in [speaker for speaker, utterances in new.items() if not utterances]:
        logger.warning("%s: not enrolled: none of the recordings can be used", plain(speaker))
    heard = {speaker: utterances for speaker, utterances in new.items() if utterances}
    if not heard:
        raise DataError("there is nobody to enroll: no recording can be used")
    return heard

"""The speaker store: a folder with the d-vectors of enrolled speakers, whole at every moment.

`store.json` names the model, the speakers and the digest of the means; `means.<digest>.safetensors` holds these.  A change
writes new means first and `store.json` after them, in one step, so that a reader, or a run that was killed, finds the old
store or the new one.  Voiceprints are biometric data: files are made for their owner and group alone.
"""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load, save

from sv_toolkit import __version__
from sv_toolkit.config import as_table, build
from sv_toolkit.embeddings.directions import SHORTEST, refuse_cancelled, unit_rows
from sv_toolkit.errors import MALFORMED, ConfigError, DataError, ModelError, OutputError, examples, plain, shown
from sv_toolkit.io.described import decoded
from sv_toolkit.io.files import locked, read_json, regular_file, sha256_bytes, whole_binary, write_text

if TYPE_CHECKING:
    from sv_toolkit.embeddings.waveform import Embedded

logger = logging.getLogger("sv_toolkit")
FORMAT, KIND, NAME, MEANS = 1, "speaker store", "store.json", "means"
MAX_BYTES = 1 << 28
LONGEST_ID = 256
LOCK_WAIT = 60.0  # seconds; a change takes milliseconds, so this many of them may queue
ATTEMPTS = 10


@dataclass(frozen=True)
class Entry:
    """What `store.json` says of one speaker.

    Attributes:
        utterances: digests of the enrolled recordings: none is counted twice.
        duration: seconds of sound in them.
        num_frames: frames of features in them.
    """

    utterances: tuple[str, ...]
    duration: float
    num_frames: int

    def __post_init__(self) -> None:
        if not self.utterances or len(set(self.utterances)) < len(self.utterances):
            raise ConfigError("a speaker is made of at least one recording, and of none twice")
        if not (self.duration > 0 and self.num_frames > 0):
            raise ConfigError(f"duration and num_frames must be positive, got {self.duration} and {self.num_frames}")


@dataclass(frozen=True)
class _Record:
    model: str
    embedding_dim: int
    means: str
    speakers: dict[str, Entry]


@dataclass(frozen=True)
class SpeakerStore:
    """The enrolled speakers of one model.

    Attributes:
        path: the folder.
        model: digest of the model that made the d-vectors.
        embedding_dim: their dimension.
        speakers: what is known of each one, by id, sorted by bytes.
        means: `(num_speakers, embedding_dim)` float64, in that order: averages of unit-length d-vectors, not normalised
            again, so that more recordings can be averaged in.
    """

    path: Path
    model: str
    embedding_dim: int
    speakers: dict[str, Entry] = field(default_factory=dict)
    means: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def embeddings(self) -> np.ndarray:
        """Enrollment models `(num_speakers, embedding_dim)` float32 of unit length."""
        return unit_rows(self.means).astype(np.float32)

    def row(self, speaker: str) -> int:
        """The row of a speaker.

        Raises:
            DataError: nobody of that name is enrolled.
        """
        if speaker not in self.speakers:
            known = f"enrolled are {examples(list(self.speakers))}" if self.speakers else "nobody is enrolled"
            raise DataError(f"{plain(self.path)}: {shown(speaker)} is not enrolled; {known}")
        return list(self.speakers).index(speaker)

    def refuse_other_model(self, model: str) -> None:
        """Stop where the d-vectors come from another model than `model` (its digest).

        Raises:
            ModelError: their spaces have nothing to do with each other.
        """
        if model != self.model:
            raise ModelError(
                f"{plain(self.path)}: holds speakers of the model {plain(self.model)}, this is {plain(model)}; enroll them again with it"
            )


def check_speaker_id(speaker: str) -> None:
    """Refuse what would not survive a line of text: an id is one printable word.  It never becomes a file name.

    Raises:
        DataError: with the id, escaped.
    """
    if not speaker or len(speaker) > LONGEST_ID or any(c.isspace() or not c.isprintable() for c in speaker):
        raise DataError(f"{shown(speaker)}: a speaker id is a word of 1 to {LONGEST_ID} printable characters, without spaces")


def read_store(path: Path | str) -> SpeakerStore:
    """The store in the folder `path`, as one change or another left it.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = Path(path)
    for _ in range(ATTEMPTS):
        record = _read_record(path)
        blob = _means_path(path, record.means)
        try:
            return _opened(path, record, blob.read_bytes())
        except FileNotFoundError:
            continue  # a change came between the two files: look again
    raise DataError(f"{plain(blob)}: missing, so the store is damaged; enroll the speakers again")


def _read_record(path: Path) -> _Record:
    where = path / NAME
    if not regular_file(where):
        raise DataError(f"{plain(where)}: no such file: {plain(path)} is not a speaker store; sv-enroll --store makes one")
    if where.stat().st_size > MAX_BYTES:
        raise DataError(f"{plain(where)}: {where.stat().st_size} bytes is too large for a speaker store")
    try:
        content = read_json(where)
        if content.pop("kind") != KIND or content.pop("format") != FORMAT:
            raise DataError(f"{plain(where)}: not a {KIND} of format {FORMAT}, which this version ({__version__}) reads")
        content.pop("toolkit_version", None)
        record = build(_Record, content, plain(where))
    except MALFORMED:
        raise DataError(f"{plain(where)}: is not a {KIND}, or it is truncated; restore it or enroll again") from None
    for speaker in record.speakers:
        check_speaker_id(speaker)
    if list(record.speakers) != sorted(record.speakers, key=str.encode):  # the order is that of the means
        raise DataError(f"{plain(where)}: the speakers are not in order, so whose means are whose is lost; restore it or enroll again")
    return record


def _means_path(path: Path, digest: str) -> Path:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise DataError(f"{plain(path / NAME)}: {shown(digest)} is not the digest of a file")
    return path / f"{MEANS}.{digest[:16]}.safetensors"


def _opened(path: Path, record: _Record, blob: bytes) -> SpeakerStore:
    where = plain(_means_path(path, record.means))
    if sha256_bytes(blob) != record.means:
        raise DataError(f"{where}: corrupt: its checksum is not the one in {NAME}; enroll the speakers again")
    means = decoded(_means_path(path, record.means), blob, load, DataError).get(MEANS, np.zeros(0))
    lengths = np.linalg.norm(means, axis=1) if means.ndim == 2 else np.zeros(1)
    if means.shape != (len(record.speakers), record.embedding_dim) or means.dtype != np.float64:
        raise DataError(
            f"{where}: {means.dtype} of shape {means.shape}, {len(record.speakers)} x {record.embedding_dim} float64 are needed"
        )
    if not np.all((lengths >= SHORTEST) & (lengths <= 1 + 1e-4)):
        raise DataError(f"{where}: holds a mean that is no average of vectors of length 1; enroll the speakers again")
    return SpeakerStore(path, record.model, record.embedding_dim, record.speakers, means)


def enroll(path: Path | str, model: str, new: Mapping[str, Sequence[Embedded]], update: bool = False) -> dict[str, int]:
    """Add speakers to the store at `path`, which is made where there is none; the number of recordings added to each.

    A recording that is part of a speaker already is passed over, so that the same command twice does nothing more.

    Args:
        model: digest of the model that made the d-vectors.
        new: speaker -> recordings, at least one each.
        update: speakers may be enrolled already, and are then the mean of old and new recordings.

    Raises:
        DataError: an id is no word, a speaker is enrolled with other recordings (without `update`), or vectors cancel out.
        ModelError: the store belongs to another model.
        OutputError: another process keeps it locked, or the folder holds something else.
    """
    path = Path(path)
    for speaker, utterances in new.items():
        check_speaker_id(speaker)
        if not utterances:
            raise ValueError(f"no recording for {speaker}")
    with _changing(path, next(iter(new.values()))[0].vector.size, model) as store:
        _warn_of_twins(store, new)
        added = {speaker: _fresh(store, speaker, utterances, update) for speaker, utterances in new.items()}
        changed = {speaker: _averaged(store, speaker, utterances) for speaker, utterances in added.items() if utterances}
        if changed:
            _write(_with(store, changed))
    return {speaker: len(utterances) for speaker, utterances in added.items()}


def remove(path: Path | str, speaker: str) -> None:
    """Take a speaker out of the store; the mean of that speaker is on disk no longer.

    Raises:
        DataError: nobody of that name is enrolled.
        OutputError: another process keeps the store locked.
    """
    path = Path(path)
    _read_record(path)
    with locked(path, wait=LOCK_WAIT):
        store = read_store(path)
        row = store.row(speaker)
        left = {key: entry for key, entry in store.speakers.items() if key != speaker}
        _write(replace(store, speakers=left, means=np.delete(store.means, row, axis=0)))


@contextmanager
def _changing(path: Path, dim: int, model: str) -> Iterator[SpeakerStore]:
    """The store, locked, or an empty one of that dimension and model."""
    if path.is_dir() and not (path / NAME).exists() and any(not _is_ours(other) for other in path.iterdir()):
        raise OutputError(f"{plain(path)}: holds something else and no {NAME}; choose another folder for the store")
    with locked(path, wait=LOCK_WAIT):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            logger.warning("%s: others may enter this folder of voiceprints (mode %o); chmod 750 keeps them out", plain(path), mode)
        store = read_store(path) if (path / NAME).exists() else None
        if store is None or not store.speakers:
            store = SpeakerStore(path, model, dim, {}, np.zeros((0, dim)))
        store.refuse_other_model(model)
        yield store


def _is_ours(path: Path) -> bool:
    """What a first change that was cut short may leave."""
    return path.name == ".lock" or path.name.startswith((f"{MEANS}.", f".{MEANS}.", f".{NAME}."))


def _fresh(store: SpeakerStore, speaker: str, utterances: Sequence[Embedded], update: bool) -> list[Embedded]:
    """Those recordings, once each, that are not part of the speaker already."""
    entry = store.speakers.get(speaker)
    known = set(entry.utterances) if entry is not None else set()
    fresh = {utterance.digest: utterance for utterance in utterances if utterance.digest not in known}
    if entry is not None and fresh and not update:
        raise DataError(
            f"{plain(store.path)}: {plain(speaker)} is enrolled already, with {len(entry.utterances)} recordings;"
            f" --update adds to them, or sv-store {plain(store.path)} --remove {plain(speaker)} first"
        )
    return list(fresh.values())


def _averaged(store: SpeakerStore, speaker: str, utterances: Sequence[Embedded]) -> tuple[Entry, np.ndarray]:
    total = unit_rows(np.stack([utterance.vector for utterance in utterances])).sum(axis=0)
    entry = Entry(
        tuple(utterance.digest for utterance in utterances),
        sum(utterance.duration for utterance in utterances),
        sum(utterance.num_frames for utterance in utterances),
    )
    if speaker in store.speakers:
        old = store.speakers[speaker]
        total = total + len(old.utterances) * store.means[store.row(speaker)]
        entry = Entry(old.utterances + entry.utterances, old.duration + entry.duration, old.num_frames + entry.num_frames)
    mean = total / len(entry.utterances)
    refuse_cancelled(mean[None], [speaker], "the d-vectors of the speaker")
    return entry, mean


def _warn_of_twins(store: SpeakerStore, new: Mapping[str, Sequence[Embedded]]) -> None:
    """Say where one recording stands for two speakers: one of them is somebody else."""
    owner = {digest: speaker for speaker, entry in store.speakers.items() for digest in entry.utterances}
    for speaker, utterances in new.items():
        for utterance in utterances:
            other = owner.setdefault(utterance.digest, speaker)
            if other != speaker:
                logger.warning("a recording of %s is enrolled as %s too: one of the two is wrong", plain(speaker), plain(other))


def _with(store: SpeakerStore, changed: Mapping[str, tuple[Entry, np.ndarray]]) -> SpeakerStore:
    means = {**dict(zip(store.speakers, store.means)), **{speaker: mean for speaker, (_, mean) in changed.items()}}
    entries = {**store.speakers, **{speaker: entry for speaker, (entry, _) in changed.items()}}
    order = sorted(entries, key=str.encode)
    return replace(store, speakers={key: entries[key] for key in order}, means=np.stack([means[key] for key in order]))


def _write(store: SpeakerStore) -> None:
    blob = save({MEANS: np.ascontiguousarray(store.means, dtype=np.float64)})
    digest = sha256_bytes(blob)
    means = _means_path(store.path, digest)
    with whole_binary(means) as stream:
        stream.write(blob)
    record = _Record(store.model, store.embedding_dim, digest, store.speakers)
    content: dict[str, Any] = {"kind": KIND, "format": FORMAT, "toolkit_version": __version__, **as_table(record)}
    write_text(store.path / NAME, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    for old in store.path.glob(f"{MEANS}.*.safetensors"):
        if old != means:
            old.unlink()

"""The stored features of a data directory, checked against its other tables: what training and inference read."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.described import described_tables, refuse_stale, refuse_stale_decisions
from sv_toolkit.data.forms import directory_problems, refuse
from sv_toolkit.data.skipped import left_out, read_skipped
from sv_toolkit.errors import ArchiveError, DataError, TooManyBadError, examples, plain
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.manifest import made_with, way_back
from sv_toolkit.io.table_arrays import read_words

LARGEST = 1e20  # even mel energies without the logarithm stay far below; a network would saturate and learn nothing


class FeatureIndex:
    """Features and voice-activity decisions by utterance.

    An utterance is its id, or its place among `ids`.

    Attributes:
        ids: those that have features (and decisions, where asked for), sorted by bytes.
        speakers: ids of the speakers, sorted by bytes.
        speaker_codes: `(num_utterances,)` place of each utterance's speaker among them.
        dim: columns of every matrix.
    """

    def __init__(self, path: Path, need_vad: bool) -> None:
        """Open `feats.scp` (and `vad.scp`) of the data directory `path`.

        Raises:
            DataError: a table is missing, or lists fewer or other utterances than utt2spk.
        """
        self.path = path
        ids, codes, speakers = _read_utt2spk(path)
        self.features = _open(path, "feats.scp", "sv-extract-fbank", ids)
        self.vad = _open(path, "vad.scp", "sv-compute-vad", ids) if need_vad else None
        refuse_moved(path, self.features)
        for kind, reader in (("feats.scp", self.features), ("vad.scp", self.vad)):
            if reader is not None:
                refuse_stale(path, kind, reader.locations.archives)
        if need_vad:
            refuse_stale_decisions(path)
        kept = np.arange(len(ids))
        for name, table in (("feats.scp", self.features), ("vad.scp", self.vad)):
            if table is not None and table.ids is not ids:
                kept = kept[self._has(name, table, ids, ids.take(kept))]
        if not len(kept):
            raise DataError(f"{plain(path)}/feats.scp: empty: no utterance has features; run sv-extract-fbank {plain(path)}")
        present, own = np.unique(codes[kept], return_inverse=True)
        self.ids, self.speaker_codes = ids.take(kept), own.astype(np.int32)
        self.speakers = [speakers[code] for code in present]
        self._feature_places = self.ids.places_in(self.features.ids)
        self._vad_places = self.ids.places_in(self.vad.ids) if self.vad is not None else None
        self.dim = self._first_dim()

    def _has(self, name: str, table: ScpReader, ids: Ids, expected: Ids) -> np.ndarray:
        """Which of the `expected` ids a table has; those that it lacks its command has to have left out."""
        lacks = expected.places_in(table.ids) < 0
        lost = left_out(read_skipped(self.path), name, self.features)
        missing = [key for key in (expected[place] for place in np.flatnonzero(lacks).tolist()) if key not in lost]
        if missing:
            raise DataError(
                f"{plain(self.path)}/{name}: {len(missing)} of {len(expected)} utterances of utt2spk are missing: {examples(missing)}; make it again, or drop them with sv-fix-data"
            )
        unknown = [table.ids[place] for place in np.flatnonzero(table.ids.places_in(ids) < 0).tolist()]
        if unknown:
            raise DataError(
                f"{plain(self.path)}/{name}: {len(unknown)} utterances are not in utt2spk (left over from an older run?): {examples(unknown)}; sv-fix-data drops them"
            )
        return ~lacks

    @property
    def num_utterances(self) -> int:
        """Utterances that have features."""
        return len(self.ids)

    @cached_property
    def utterances(self) -> list[str]:
        """The ids as a list."""
        return list(self.ids)

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        """Speaker by utterance."""
        return {key: self.speakers[code] for key, code in zip(self.ids, self.speaker_codes.tolist())}

    def read(self, utterance: str) -> tuple[np.ndarray, np.ndarray | None]:
        """`read_at` by id."""
        place = self.ids.find(utterance)
        if place < 0:
            raise KeyError(utterance)
        return self.read_at(place)

    def rows_at(self, place: int, start: int, stop: int) -> np.ndarray:
        """Rows `[start, stop)` of the features of an utterance, without the checks of `read_at`."""
        return self.features.rows_at(int(self._feature_places[place]), start, stop)

    def plain_at(self, place: int) -> int:
        """Byte of the archive at which the first row begins, where rows lie there as float32 one after another; else -1."""
        return self.features.plain_position(int(self._feature_places[place]))

    def read_into(self, place: int, position: int, out: np.ndarray) -> None:
        """Fill `out` with the bytes of the archive from `position` on.

        Raises:
            ArchiveError: the archive ends before; names the utterance.
        """
        self.features.read_into(int(self._feature_places[place]), position, out)

    def _first_dim(self) -> int:
        for place in self._feature_places.tolist():
            try:
                shape = self.features.shape_at(place)
            except ArchiveError:
                continue  # reading it will name the damage
            if len(shape) == 2 and shape[0] > 0:
                return int(shape[1])
        return 0

    def read_at(self, place: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Features `(num_frames, dim)` float32 and decisions `(num_frames,)` bool (None without VAD) of the utterance at a place.

        Raises:
            DataError, ArchiveError: the message names the utterance, what is wrong and by how much.
        """
        utterance = self.ids[place]
        features = self.features.rows_at(int(self._feature_places[place]), 0, None)
        if features.ndim != 2 or len(features) == 0:
            raise DataError(f"{plain(utterance)}: empty feature matrix (0 frames)")
        if features.shape[1] != self.dim:
            raise DataError(f"{plain(utterance)}: features have {features.shape[1]} columns, the others have {self.dim}")
        if not np.isfinite(features).all():
            raise DataError(f"{plain(utterance)}: features are not finite (NaN or infinite); extract them again")
        if np.abs(features).max() > LARGEST:
            raise DataError(
                f"{plain(utterance)}: features reach {np.abs(features).max():.3g}, which no finite sound gives; extract them again"
            )
        if self.vad is None or self._vad_places is None:
            return features, None
        return features, _decisions(self.vad.rows_at(int(self._vad_places[place]), 0, None), utterance, len(features))

    def made_by(self) -> dict[str, Any]:
        """The options in the manifests beside the tables, for the model's description."""
        found = {name: made_with(self.path, name) for name in described_tables()}
        return {name: {"config": config} for name, config in found.items() if config is not None}


def refuse_moved(path: Path, features: ScpReader) -> None:
    """Stop where no archive of an index is there: its directory was moved.

    Raises:
        DataError: names where they were, and the way out.
    """
    archives = features.locations.archives
    if not any(os.path.lexists(archive) for archive in archives[:100]):
        old = os.path.dirname(archives[0])  # noqa: PTH120 (a str stays a str)
        where = f"{plain(path)}/feats.scp"
        if old and not os.path.isdir(old):  # noqa: PTH112
            raise DataError(
                f"{where}: its archives were in {plain(old)}, which is not there: moved? {way_back(path / 'feats.scp', plain(old))}"
            )


def _read_utt2spk(path: Path) -> tuple[Ids, np.ndarray, list[str]]:
    """Utterances, the code of each one's speaker, and the speakers by code, sorted by bytes."""
    refuse(directory_problems(path))
    found = read_words(path / "utt2spk")
    if found is not None:
        return found
    table = DataDir.read(path, require=("utt2spk",)).utt2spk  # says what is wrong
    speakers = sorted(set(table.values()))
    number = {speaker: code for code, speaker in enumerate(speakers)}
    utterances = sorted(table)
    return Ids.of(utterances), np.array([number[table[key]] for key in utterances], np.int32), speakers


def _open(path: Path, name: str, command: str, known: Ids) -> ScpReader:
    if not (path / name).exists():
        raise DataError(f"{plain(path)}/{name}: missing; run {command} {plain(path)}")
    return ScpReader(path / name, known)


def _decisions(decisions: np.ndarray, utterance: str, num_frames: int) -> np.ndarray:
    """Decisions of a record as `(num_frames,)` bool."""
    if decisions.ndim != 1 or len(decisions) != num_frames:
        raise DataError(f"{plain(utterance)}: vad has {decisions.size} frames, the features have {num_frames}; run sv-compute-vad again")
    is_voiced = decisions == 1
    if not (is_voiced | (decisions == 0)).all():
        raise DataError(f"{plain(utterance)}: vad holds values other than 0 and 1; run sv-compute-vad again")
    return is_voiced


def read_all(index: FeatureIndex, use: Callable[[str, np.ndarray, np.ndarray | None], None], max_bad: int) -> dict[str, str]:
    """Give every utterance's features to `use`; reasons of those that could not be read, by id.

    Raises:
        TooManyBadError: more than `max_bad` could not be read.
    """
    bad: dict[str, str] = {}
    for place, utterance in enumerate(index.ids):
        try:
            features, is_voiced = index.read_at(place)
        except (DataError, ArchiveError) as error:
            bad[utterance] = str(error)
            if len(bad) > max_bad + 20:
                break  # enough to know and to show
            continue
        use(utterance, features, is_voiced)
    if len(bad) > max_bad:
        shown = "; ".join(list(bad.values())[:3])
        raise TooManyBadError(f"{plain(index.path)}: {len(bad)} utterances cannot be read (--max-bad {max_bad}): {shown}")
    return bad

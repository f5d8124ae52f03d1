"""The stored features of a data directory, checked against its other tables: what training and inference read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.described import DESCRIBED
from sv_toolkit.data.skipped import left_out, read_skipped
from sv_toolkit.errors import ArchiveError, DataError, TooManyBadError, examples, plain
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.manifest import made_with

LARGEST = 1e20  # even mel energies without the logarithm stay far below; a network would saturate and learn nothing


class FeatureIndex:
    """Features and voice-activity decisions by utterance.

    Attributes:
        utterances: ids that have features (and decisions, where asked for), sorted by bytes.
        utt2spk: their speakers.
        dim: columns of every matrix.
    """

    def __init__(self, path: Path, need_vad: bool) -> None:
        """Open `feats.scp` (and `vad.scp`) of the data directory `path`.

        Raises:
            DataError: a table is missing, or lists fewer or other utterances than utt2spk.
        """
        data = DataDir.read(path, require=("utt2spk",))
        self.path = path
        self.features = _open(path, "feats.scp", "sv-extract-fbank")
        self.vad = _open(path, "vad.scp", "sv-compute-vad") if need_vad else None
        tables = {"feats.scp": self.features, "vad.scp": self.vad}
        expected, skipped = sorted(data.utt2spk), read_skipped(path)
        for name, table in tables.items():
            if table is not None:
                lost = left_out(skipped, name, self.features)
                _refuse_other_ids(path, name, table, data.utt2spk, [utterance for utterance in expected if utterance not in lost])
                expected = [utterance for utterance in expected if utterance in table]
        self.utterances = expected
        if not self.utterances:
            raise DataError(f"{plain(path)}/feats.scp: empty: no utterance has features; run sv-extract-fbank {plain(path)}")
        self.utt2spk = {utterance: data.utt2spk[utterance] for utterance in self.utterances}
        self.dim = self._first_dim()
        self.speakers = sorted(set(self.utt2spk.values()))
        number = {speaker: code for code, speaker in enumerate(self.speakers)}
        self.speaker_codes = np.array([number[self.utt2spk[utterance]] for utterance in self.utterances], np.int32)

    @property
    def ids(self) -> list[str]:
        """Ids by place."""
        return self.utterances

    @property
    def num_utterances(self) -> int:
        """Utterances that have features."""
        return len(self.utterances)

    def read_at(self, place: int) -> tuple[np.ndarray, np.ndarray | None]:
        """What `read` gives for the utterance at a place of `ids`."""
        return self.read(self.utterances[place])

    def rows_at(self, place: int, start: int, stop: int) -> np.ndarray:
        """Rows `[start, stop)` of the features of the utterance at a place of `ids`, without the checks of `read`."""
        return self.features.rows(self.utterances[place], start, stop)

    def plain_at(self, place: int) -> int:
        """Byte of the archive at which the first row begins, where rows lie there as float32 one after another; else -1."""
        return self.features.plain_position(self.utterances[place])

    def read_into(self, place: int, position: int, out: np.ndarray) -> None:
        """Fill `out` with the bytes of the archive from `position` on.

        Raises:
            ArchiveError: the archive ends before; names the utterance.
        """
        self.features.read_into(self.utterances[place], position, out)

    def _first_dim(self) -> int:
        for utterance in self.utterances:
            try:
                shape = self.features.shape(utterance)
            except ArchiveError:
                continue  # reading it will name the damage
            if len(shape) == 2 and shape[0] > 0:
                return int(shape[1])
        return 0

    def read(self, utterance: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Features `(num_frames, dim)` float32 and decisions `(num_frames,)` bool (None without VAD).

        Raises:
            DataError, ArchiveError: the message names the utterance, what is wrong and by how much.
        """
        features = self.features.read(utterance)
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
        return features, None if self.vad is None else self._read_vad(utterance, len(features))

    def _read_vad(self, utterance: str, num_frames: int) -> np.ndarray:
        assert self.vad is not None
        decisions = self.vad.read(utterance)
        if decisions.ndim != 1 or len(decisions) != num_frames:
            raise DataError(
                f"{plain(utterance)}: vad has {decisions.size} frames, the features have {num_frames}; run sv-compute-vad again"
            )
        is_voiced = decisions == 1
        if not (is_voiced | (decisions == 0)).all():
            raise DataError(f"{plain(utterance)}: vad holds values other than 0 and 1; run sv-compute-vad again")
        return is_voiced

    def made_by(self) -> dict[str, Any]:
        """The options in the manifests beside the tables, for the model's description."""
        found = {name: made_with(self.path, name) for name in DESCRIBED}
        return {name: {"config": config} for name, config in found.items() if config is not None}


def _open(path: Path, name: str, command: str) -> ScpReader:
    if not (path / name).exists():
        raise DataError(f"{plain(path)}/{name}: missing; run {command} {plain(path)}")
    return ScpReader(path / name)


def _refuse_other_ids(path: Path, name: str, table: ScpReader, utt2spk: dict[str, str], expected: list[str]) -> None:
    missing = [utterance for utterance in expected if utterance not in table]
    if missing:
        raise DataError(
            f"{plain(path)}/{name}: {len(missing)} of {len(expected)} utterances of utt2spk are missing: {examples(missing)}; make it again, or drop them with sv-fix-data"
        )
    unknown = sorted(utterance for utterance in table.keys() if utterance not in utt2spk)  # noqa: SIM118
    if unknown:
        raise DataError(
            f"{plain(path)}/{name}: {len(unknown)} utterances are not in utt2spk (left over from an older run?): {examples(unknown)}; sv-fix-data drops them"
        )


def read_all(index: FeatureIndex, use: Callable[[str, np.ndarray, np.ndarray | None], None], max_bad: int) -> dict[str, str]:
    """Give every utterance's features to `use`; reasons of those that could not be read, by id.

    Raises:
        TooManyBadError: more than `max_bad` could not be read.
    """
    bad: dict[str, str] = {}
    for utterance in index.utterances:
        try:
            features, is_voiced = index.read(utterance)
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

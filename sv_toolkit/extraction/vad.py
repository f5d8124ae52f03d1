"""Voice activity for a data directory: recordings (or stored features) in, `vad.scp` out, in Kaldi's form.

The decisions are about the frames of the features: where `feats.scp` lies beside the recordings its manifest says
how they were framed, and the number of frames is compared for every utterance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from operator import attrgetter
from pathlib import Path

import numpy as np

from sv_toolkit.config import as_table, build
from sv_toolkit.data.data_dir import DataDir, Utterance
from sv_toolkit.data.digests import INDICES
from sv_toolkit.data.skipped import VAD_COMMAND, left_out, read_skipped
from sv_toolkit.errors import ArchiveError, AudioError, DataError, examples, plain
from sv_toolkit.extraction.fbank import Overdriven, too_short
from sv_toolkit.extraction.pipeline import AUDIO_TABLES, AudioOptions, Extraction, RunOptions, run
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.registry import FEATURES, FeatureConfig
from sv_toolkit.features.vad import FRAMING, Sound, VadConfig, decisions, import_webrtcvad, voice_activity
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.audio import read_waveform
from sv_toolkit.io.manifest import made_with
from sv_toolkit.io.shards import Skip

COMMAND, NAME, TABLE = VAD_COMMAND, "vad", "vad"


@dataclass(frozen=True)
class Framing:
    """The frames that decisions are made about.

    Attributes:
        config: how a waveform is cut into frames.
        features: `feats.scp` to compare the number of frames with (or to read the energy from); None where there is none.
    """

    config: FeatureConfig
    features: Path | None


def compute_vad(
    data: Path, out: Path, config: VadConfig, audio: AudioOptions, options: RunOptions, fbank_config: FbankConfig | None = None
) -> int:
    """Write `vad.scp` for all utterances of `data` to the directory `out` (which may be `data`); the number of vectors.

    Args:
        fbank_config: how waveforms are framed; None: as the features beside them were, or else by the defaults.

    Raises:
        DataError: the data directory is damaged, or its features were framed otherwise.
        OutputError, TooManyBadError: as `pipeline.run`.
    """
    from_features = not config.needs_audio
    source = DataDir.read(data, ("feats.scp",) if from_features else ("wav.scp", "utt2spk"), audio.allow_pipes)
    if config.kind == "webrtc":
        import_webrtcvad()  # here, before any work is done
    _reader.cache_clear()  # feats.scp may be another one than in an earlier call of this process
    framing = find_framing(data, out, fbank_config)
    utterances = _with_features(source)
    inputs = ("utt2spk", "feats.scp") if from_features else (*AUDIO_TABLES, "feats.scp")
    extra = {} if from_features else {"audio": audio.job(), "framing": {name: getattr(framing.config, name) for name in FRAMING}}
    extraction = Extraction(
        COMMAND,
        NAME,
        TABLE,
        as_table(config),
        extra,
        inputs,
        indices=INDICES,  # decisions are about the frames of these very features
        copied=("feats.scp", "utt2num_frames"),
        described=tuple(FEATURES),
    )
    if from_features:
        return run(extraction, source, out, utterances, str, partial(vad_shard_of_features, config, framing), options)
    wanted = set(utterances)
    items = [utterance for utterance in source.utterances() if utterance.utterance_id in wanted]
    return run(extraction, source, out, items, attrgetter("utterance_id"), partial(vad_shard, config, framing, audio), options)


def find_framing(data: Path, out: Path, fbank_config: FbankConfig | None) -> Framing:
    """How the features of `data` were framed, or those that lie in `out` already.

    Raises:
        DataError: their manifest says otherwise than `fbank_config`.
    """
    for place, (name, feature) in product((data, out), FEATURES.items()):
        features = place / "feats.scp"
        config = made_with(place, name) if features.is_file() else None
        if config is not None:
            made = build(feature.config, config, f"{plain(place)}/{name}.manifest.json")
            _refuse_other_framing(place, made, fbank_config)
            return Framing(made, features if place == data else None)
    features = data / "feats.scp"
    return Framing(fbank_config or FbankConfig(), features if features.is_file() else None)


def _refuse_other_framing(place: Path, made: FeatureConfig, wanted: FbankConfig | None) -> None:
    for name in FRAMING:
        own, asked = getattr(made, name), getattr(wanted, name) if wanted is not None else None
        if asked is not None and own != asked:
            raise DataError(
                f"{plain(place)}/feats.scp: the features were made with {name} {own}, asked for is {asked}; leave it out, or extract them again"
            )


def _with_features(source: DataDir) -> list[str]:
    """Ids to decide about: all but those that the extraction of the features left out and said so.

    Raises:
        DataError: features are missing without a word.
    """
    feats = source.table("feats.scp")
    lost = left_out(read_skipped(source.path), "feats.scp", feats or ())
    expected = [key for key in sorted(source.utt2spk) if key not in lost]
    missing = [key for key in expected if key not in feats] if feats is not None else []
    if missing:
        raise DataError(
            f"{plain(source.path)}/feats.scp: {len(missing)} of {len(expected)} utterances are missing: {examples(missing)}; extract them again"
        )
    return expected


def vad_shard(
    config: VadConfig, framing: Framing, audio: AudioOptions, utterances: list[Utterance]
) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """Decisions from waveforms, 0 and 1 as float32; or the reason why there are none."""
    overdriven = Overdriven()
    for utterance in utterances:
        try:
            waveform = read_waveform(audio.request(utterance, framing.config.sample_rate))
            overdriven.count(utterance.utterance_id, waveform)
            is_voiced = voice_activity(waveform.samples, framing.config, config)
        except AudioError as error:
            yield utterance.utterance_id, Skip(str(error))
            continue
        except MemoryError:
            yield (
                utterance.utterance_id,
                Skip("not enough memory for a recording of this length; cut it into segments, or use a smaller --nj"),
            )
            continue
        if len(is_voiced) == 0:
            yield utterance.utterance_id, Skip(too_short(len(waveform.samples), framing.config))
            continue
        _refuse_other_length(framing, utterance.utterance_id, len(is_voiced))
        yield utterance.utterance_id, _decisions(is_voiced, config)
    overdriven.warn()


def vad_shard_of_features(config: VadConfig, framing: Framing, utterance_ids: list[str]) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """Decisions from the energy of stored features, 0 and 1 as float32; or the reason why there are none."""
    assert framing.features is not None
    reader = _reader(framing.features)
    for utterance_id in utterance_ids:
        try:
            features = reader.read(utterance_id)
        except ArchiveError as error:
            yield utterance_id, Skip(str(error))
            continue
        if features.ndim != 2 or len(features) == 0:
            yield utterance_id, Skip("empty feature matrix (0 frames)")
            continue
        yield utterance_id, _decisions(decisions(Sound(framing.config, features=features), config), config)


def _decisions(is_voiced: np.ndarray, config: VadConfig) -> np.ndarray | Skip:
    if not is_voiced.any():
        return Skip(f"no speech found in {len(is_voiced)} frames (kind {config.kind})")
    return is_voiced.astype(np.float32)


@lru_cache(maxsize=2)
def _reader(path: Path) -> ScpReader:
    return ScpReader(path)


def _refuse_other_length(framing: Framing, utterance_id: str, num_frames: int) -> None:
    if framing.features is None:
        return
    stored = _reader(framing.features).shape(utterance_id)[0]
    if stored != num_frames:
        raise DataError(
            f"{plain(utterance_id)}: its features in {plain(framing.features)} have {stored} frames, the recording gives {num_frames}; "
            "extract them again, or say in --config [fbank] how they were framed"
        )

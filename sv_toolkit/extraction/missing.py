"""Features and voice activity for data directories that have none yet, as a model needs them or as small recipes have them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from sv_toolkit.errors import plain
from sv_toolkit.extraction.fbank import extract_features
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.extraction.vad import compute_vad
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.registry import FEATURES, FeatureConfig, feature_name
from sv_toolkit.features.vad import VadConfig

logger = logging.getLogger("sv_toolkit")


def _usual_vad() -> VadConfig:
    """Kaldi's energy detector: unlike WebRTC's it can be part of an exported graph."""
    return VadConfig(kind="energy", min_frames=20)


@dataclass(frozen=True)
class FrontEndOptions:
    """How features and decisions are made: by default as in egs/an4 and egs/librispeech, with 64 mel bands.

    Attributes:
        features: filter banks, or cepstra.
        vad: None where all frames are taken.
    """

    features: FeatureConfig = field(default_factory=lambda: FbankConfig(num_mel_bins=64))
    vad: VadConfig | None = field(default_factory=_usual_vad)


def make_missing(data: Path, wanted: FrontEndOptions, options: RunOptions, vad_options: RunOptions) -> bool:
    """Make feats.scp and vad.scp of a data directory that has recordings and no feats.scp; False where there is nothing to do.

    Recordings of another sample rate are converted.

    Args:
        options, vad_options: of the two runs; they differ in what their progress is called.

    Raises:
        DataError, OutputError, TooManyBadError: as the commands that do each step alone.
    """
    if (data / "feats.scp").exists() or not (data / "wav.scp").exists():
        return False
    kind = feature_name(wanted.features)
    logger.info("%s: no features yet: made as %s and sv-compute-vad make them", plain(data), FEATURES[kind].command)
    audio = AudioOptions(resample=True)
    extract_features(kind, data, data, wanted.features, audio, options)
    if wanted.vad is not None:
        compute_vad(data, data, wanted.vad, audio, vad_options)
    return True

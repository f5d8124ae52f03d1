"""What lossy codecs leave of speech: written and read again by libsndfile."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

from sv_toolkit.data.simulated import SAMPLE_RATE

PEAK = 0.99  # a lossy codec overshoots, and a full-scale sample would clip


class Codec(NamedTuple):
    """How libsndfile writes a copy.

    Attributes:
        levels: lowest and highest compression level, 0 to 1; None where the codec has one bit rate.
        rate: sample rate of the copy, hertz.
    """

    container: str
    subtype: str
    levels: tuple[float, float] | None = None
    rate: int = SAMPLE_RATE


CODECS = {
    "mp3": Codec("MP3", "MPEG_LAYER_III", (0.5, 0.9)),  # 80 to 25 kbit/s
    "opus": Codec("OGG", "OPUS", (0.85, 0.98)),  # 45 to 12 kbit/s
    "vorbis": Codec("OGG", "VORBIS", (0.3, 0.9)),  # 60 to 35 kbit/s
    "ulaw": Codec("WAV", "ULAW", rate=8000),  # G.711
    "alaw": Codec("WAV", "ALAW", rate=8000),
    "gsm": Codec("WAV", "GSM610", rate=8000),  # GSM 06.10 full rate: the band and the noise of a mobile telephone
    "pcm8": Codec("WAV", "PCM_16", rate=8000),
    "pcm11": Codec("WAV", "PCM_16", rate=11_025),
}


def through(samples: np.ndarray, codec: Codec, level: float | None = None) -> tuple[np.ndarray, float]:
    """What comes out of the codec, and what it cost.

    Args:
        samples: `(num_samples,)` in [-1, 1) at SAMPLE_RATE.
        level: compression level; None: the codec's own choice.

    Returns:
        samples at `codec.rate`, float32, and kbit/s of the file with its headers.
    """
    import soundfile
    import soxr

    seconds = len(samples) / SAMPLE_RATE
    if codec.rate != SAMPLE_RATE:
        samples = soxr.resample(samples, SAMPLE_RATE, codec.rate)
    samples = samples * min(1.0, PEAK / max(float(np.abs(samples).max()), 1e-9))
    options: dict[str, Any] = {} if level is None else {"compression_level": level}
    if codec.container == "MP3" and level is not None:
        options["bitrate_mode"] = "CONSTANT"
    stream = io.BytesIO()
    soundfile.write(stream, samples, codec.rate, format=codec.container, subtype=codec.subtype, **options)
    size = len(stream.getvalue())
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0], 8 * size / seconds / 1000

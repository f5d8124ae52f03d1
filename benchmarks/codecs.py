"""How much of a voice a model hears through codecs and noise: cosine between a recording and its copy, and EER of trials against copies.

Copies of recordings of the corpus in `--corpus` (AN4's test speakers in `../shared/corpora` where it is there) are made with
MP3 (about 45 kbit/s), Opus, Ogg Vorbis, G.711 (mu-law) and GSM 06.10 at 8 kHz, and a band limit as of a narrow-band mobile codec (300 to 3400 Hz);
and with noise of ESC-10 (folds 4 and 5, which no recipe trains with) where it is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import soxr  # noqa: E402
from common import RESULTS  # noqa: E402

from sv_toolkit.data.codecs import CODECS, through  # noqa: E402
from sv_toolkit.embeddings.waveform import Embedder  # noqa: E402
from sv_toolkit.metrics.detection import equal_error_rate  # noqa: E402
from sv_toolkit.models.ready import model_folder  # noqa: E402

RATE = 16_000
CORPORA = Path(__file__).resolve().parents[2] / "shared/corpora"
CORPUS, NOISE = CORPORA / "an4/wav/an4test_clstk", CORPORA / "noise_esc10"


def copied(samples: np.ndarray, name: str, level: float | None = None) -> np.ndarray:
    """A waveform through a codec of `data/codecs.py`, back at `RATE`."""
    back, _ = through(samples, CODECS[name], level)
    rate = CODECS[name].rate
    return back if rate == RATE else soxr.resample(back, rate, RATE)


def narrow_band(samples: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz at 8 kHz, 13 bits."""
    there = soxr.resample(samples, RATE, 8000)
    spectrum = np.fft.rfft(there)
    hertz = np.fft.rfftfreq(len(there), 1 / 8000)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    coarse = np.round(np.fft.irfft(spectrum, len(there)) * 4096) / 4096
    return soxr.resample(coarse.astype(np.float32), 8000, RATE)


def noisy(samples: np.ndarray, snr: float) -> np.ndarray:
    """A waveform with a recording of noise at `snr` dB; which one follows from the waveform."""
    files = sorted(path for path in NOISE.glob("*/*") if path.name[:1] in "45")
    rng = np.random.default_rng(len(samples))
    noise, rate = soundfile.read(files[int(rng.integers(len(files)))], dtype="float32")
    noise = soxr.resample(noise if noise.ndim == 1 else noise[:, 0], rate, RATE)
    noise = np.resize(noise, len(samples)) + 1e-5 * rng.standard_normal(len(samples)).astype(np.float32)
    return samples + noise * np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * np.float32(10 ** (-snr / 20))


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "MP3": lambda x: copied(x, "mp3", 0.8),
    "Opus": lambda x: copied(x, "opus"),
    "Ogg Vorbis": lambda x: copied(x, "vorbis", 0.8),
    "G.711, 8 kHz": lambda x: copied(x, "ulaw"),
    "GSM, 8 kHz": lambda x: copied(x, "gsm"),
    "300-3400 Hz, 8 kHz": narrow_band,
}
if NOISE.is_dir():
    COPIES |= {"noise, 20 dB": lambda x: noisy(x, 20), "noise, 10 dB": lambda x: noisy(x, 10)}


def main() -> None:
    """Print a line for every codec, and keep JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder of SPEAKER/*.flac or *.wav at 16 kHz")
    given = parser.parse_args()
    embedder = Embedder(model_folder(given.model))
    files = sorted(path for path in given.corpus.glob("*/*") if path.suffix in (".flac", ".wav"))
    waves = [soundfile.read(path, dtype="float32")[0] for path in files]
    speakers = [path.parent.name for path in files]
    first, second = np.array(list(combinations(range(len(files)), 2))).T
    same = np.array([speakers[a] == speakers[b] for a, b in zip(first, second)])
    clean = np.stack([embedder.embed(wave).vector for wave in waves])
    results: dict[str, dict[str, float]] = {}
    for name, codec in {"none": lambda x: x, **COPIES}.items():
        coded = np.stack([embedder.embed(codec(wave)).vector for wave in waves])
        cosines, scores = (clean * coded).sum(axis=1), (clean[first] * coded[second]).sum(axis=1)
        eer = equal_error_rate(scores[same], scores[~same])
        results[name] = {"median_cosine": float(np.median(cosines)), "least_cosine": float(cosines.min()), "eer": float(eer)}
        print(f"{name:20s} cosine {np.median(cosines):.3f} (least {cosines.min():.3f})   EER against copies {100 * eer:.2f} %", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "codecs.json").write_text(json.dumps({"benchmark": "codecs", "model": given.model, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()

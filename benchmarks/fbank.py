"""Filter banks side by side: against kaldi-native-fbank and librosa, and the whole command against bare decoding.

The features are computed from the same waveforms in memory, on one thread.  librosa's is another, cheaper feature
(no logarithm, no preemphasis); it stands here because many speaker encoders use it.  The command starts, reads FLAC
files, computes and writes; bare decoding starts as many processes that do nothing but soundfile.read.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# ruff: noqa: E402 - the number of threads is read when numpy is imported
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import soundfile
from common import RESULTS, alternate, save

from sv_toolkit.features.fbank import FbankConfig, fbank
from sv_toolkit.io.workers import available_cpus

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT.parent / "shared" / "corpora" / "an4" / "wav"
CONFIG = FbankConfig()
DECODE = """
import multiprocessing, sys
def decode(files):
    import soundfile
    return sum(len(soundfile.read(file, dtype="float32")[0]) for file in files)
files, num_jobs = open(sys.argv[1]).read().split(), int(sys.argv[2])
parts = [files[i::num_jobs] for i in range(num_jobs)]
if num_jobs == 1:
    decode(files)
else:
    with multiprocessing.get_context("fork").Pool(num_jobs) as pool:
        pool.map(decode, parts)
"""


def find_recordings(folder: Path) -> list[Path]:
    """Real recordings beside the checkout, or else noise in FLAC files of the same number and length."""
    if CORPUS.is_dir():
        return sorted(CORPUS.glob("*/*/*.flac"))
    rng = np.random.default_rng(0)
    files = [folder / f"{i:04d}.flac" for i in range(1000)]
    for file in files:
        soundfile.write(file, 0.05 * rng.standard_normal(int(rng.uniform(1, 5) * 16000)), 16000, subtype="PCM_16")
    return files


def by_kaldi_native_fbank() -> Callable[[np.ndarray], object]:
    """Its fastest way from Python: the array passed, one call for each frame."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.dither, options.mel_opts.num_bins, options.energy_floor = 0.0, 40, 0.0

    def compute(samples: np.ndarray) -> np.ndarray:
        extractor = knf.OnlineFbank(options)
        extractor.accept_waveform(16000, samples * np.float32(32768))
        extractor.input_finished()
        return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])

    return compute


def by_librosa() -> Callable[[np.ndarray], object]:
    """A plain mel spectrogram with the same frames and number of filters."""
    import librosa

    return lambda samples: librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=400, hop_length=160, n_mels=40)


def compare_functions(files: list[Path]) -> None:
    """One thread, waveforms in memory."""
    waveforms = [soundfile.read(file, dtype="float32")[0] for file in files[:: max(len(files) // 50, 1)]]
    peers = {"sv_toolkit": lambda samples: fbank(samples, CONFIG)}
    for name, make in (("kaldi-native-fbank", by_kaldi_native_fbank), ("librosa melspectrogram", by_librosa)):
        try:
            peers[name] = make()
        except ImportError:
            print(f"fbank: {name} left out, it is not installed")
    contenders = {name: lambda compute=compute: [compute(samples) for samples in waveforms] for name, compute in peers.items()}
    seconds = sum(map(len, waveforms)) / 16000
    reference = "kaldi-native-fbank" if "kaldi-native-fbank" in peers else "sv_toolkit"
    save("fbank", alternate(contenders), reference, f"{len(waveforms)} recordings, {seconds:.0f} s of sound", audio_seconds=seconds)


def run(arguments: list[str]) -> dict[str, float]:
    """Wall-clock and CPU seconds of a program and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - started, "cpu": cpu}


def compare_command(files: list[Path], folder: Path, rounds: int = 5) -> None:
    """The command and bare decoding in turn, with one process and with as many as there are processors."""
    data = folder / "data"
    data.mkdir()
    (data / "wav.scp").write_text("".join(f"u{i:05d} {file}\n" for i, file in enumerate(files)))
    (data / "utt2spk").write_text("".join(f"u{i:05d} s\n" for i in range(len(files))))
    (folder / "files").write_text("\n".join(map(str, files)))
    (folder / "decode.py").write_text(DECODE)
    records = {}
    for num_jobs in sorted({1, available_cpus()}):
        command = [
            sys.executable,
            str(ROOT / "bin" / "sv-extract-fbank"),
            "--overwrite",
            "--nj",
            str(num_jobs),
            str(data),
            str(folder / "out"),
        ]
        bare = [sys.executable, str(folder / "decode.py"), str(folder / "files"), str(num_jobs)]
        pairs = [(run(bare), run(command)) for _ in range(rounds + 1)][1:]
        ratios = {kind: statistics.median(one[kind] / other[kind] for one, other in pairs) for kind in ("wall", "cpu")}
        print(
            f"  sv-extract-fbank --nj {num_jobs}: {100 * ratios['wall']:.0f} % of the speed of bare decoding "
            f"({100 * ratios['cpu']:.0f} % by CPU time), {len(files)} files, {statistics.median(p[1]['wall'] for p in pairs):.2f} s"
        )
        records[num_jobs] = {"share_of_decoding_speed": ratios, "decode": [p[0] for p in pairs], "command": [p[1] for p in pairs]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fbank_command.json").write_text(json.dumps(records, indent=1) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        files = find_recordings(Path(name))
        compare_functions(files)
        compare_command(files, Path(name))


if __name__ == "__main__":
    main()

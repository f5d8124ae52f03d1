"""Seconds of `sv-verify` of a claim by a recording of 3 s: the whole process (limit 3 s), and after the imports (limit 0.3 s)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from common import alternate, save

from sv_toolkit.config import as_table
from sv_toolkit.embeddings.waveform import Embedder
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.features.vad import VadConfig
from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model
from sv_toolkit.verification.decision import Judge, Purpose, cosine
from sv_toolkit.verification.store import enroll, read_store
from sv_toolkit.verification.stream import Follower, recut

BIN = Path(__file__).resolve().parents[1] / "bin"
RATE, SECONDS, ROUNDS = 16_000, 3.0, 5
# Wan et al. 2018: 3 layers of 768 with projections of 256; and the size that recipes for small corpora train.
NETWORKS = {"lstm 3 x 768": (768, 256, 3, 256), "lstm 1 x 128": (128, 0, 1, 128)}


def write_model(folder: Path, hidden: int, projection: int, layers: int, dim: int) -> Path:
    network = {"hidden_size": hidden, "projection_size": projection, "num_layers": layers, "embedding_dim": dim}
    features = {"fbank": {"config": as_table(FbankConfig())}, "vad": {"config": as_table(VadConfig(kind="energy", keep="span"))}}
    description = Description("lstm", network, FbankConfig().dim, InputConfig(), WindowConfig(), features)
    save_model(folder, make_network(description).state_dict(), description)
    return folder


def write_voice(path: Path, pitch: float) -> Path:
    seconds = np.arange(int(SECONDS * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * k * pitch * seconds) for k in range(1, 20)) * np.abs(np.sin(4 * np.pi * seconds))
    soundfile.write(path, 0.03 * sound, RATE)
    return path


def process_seconds(words: list[str]) -> float:
    """CPU time of the process, which a busy machine does not stretch."""
    before = os.times()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def verify(model: Path, store: Path, recording: Path) -> None:
    embedder, known = Embedder(model), read_store(store)
    test = embedder.embed_file(recording)
    score = cosine(known.embeddings[known.row("one")], test.vector)
    Judge(None, Purpose(threshold=0.5)).decide(score, known.speakers["one"], test)


def follow(model: Path, recording: Path) -> float:
    """Milliseconds of computing for a second of a stream of 30 s."""
    embedder = Embedder(model)
    samples = np.tile(soundfile.read(recording, dtype="float32")[0], 10)
    enrolled = embedder.embed_file(recording)
    follower = Follower(embedder, enrolled.vector, enrolled, Judge())
    for _ in follower.follow(recut([samples], 1600)):
        pass
    return 1000 * follower.effort.spent / follower.effort.heard


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        one, other = write_voice(root / "one.wav", 110), write_voice(root / "other.wav", 160)
        times: dict[str, list[float]] = {}
        streams, wall = {}, {}
        for name, sizes in NETWORKS.items():
            model = write_model(root / name.replace(" ", "-"), *sizes)
            store = root / f"store-{len(streams)}"
            embedder = Embedder(model)
            enroll(store, embedder.digest, {"one": [embedder.embed_file(one)]})
            claim = ["--model", str(model), "--store", str(store), "--claim", "one", "--threshold", "0.5", str(other)]
            words = [sys.executable, str(BIN / "sv-verify"), *claim]
            times[f"{name}, process"] = [process_seconds(words) for _ in range(ROUNDS + 1)][1:]
            started = time.perf_counter()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            wall[name] = time.perf_counter() - started
            times.update(alternate({f"{name}, after import": lambda model=model, store=store: verify(model, store, other)}, ROUNDS))
            streams[name] = follow(model, one)
        save("verify", times, reference="lstm 3 x 768, process", unit="CPU time of one sv-verify; limits 3000 and 300 ms", wall=wall)
        for name, cost in streams.items():
            print(f"  stream, {name}: {cost:.1f} ms of computing per second of sound; wall time of one process {wall[name]:.2f} s")


if __name__ == "__main__":
    main()

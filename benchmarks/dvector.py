"""Windows per CPU second: our batched d-vectors against Resemblyzer's, with a network of its size.

Resemblyzer (pip install --no-deps Resemblyzer, with librosa) has an LSTM of 3 x 256 and a linear layer of 256 over
windows of 160 frames.  Both embed the same network inputs, on one thread; features and VAD are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from common import alternate, save

from sv_toolkit.embeddings.embed import embed
from sv_toolkit.embeddings.windows import window_starts
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.models.store import WindowConfig


def main() -> None:
    try:
        from resemblyzer import VoiceEncoder
    except ImportError:
        print("dvector: skipped, Resemblyzer is not installed (pip install --no-deps Resemblyzer; pip install librosa)")
        return
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((int(n), 40)).astype(np.float32) for n in rng.integers(200, 1200, 40)]
    windows = WindowConfig(160, 80, 40)
    network = LstmDvector(40, LstmConfig(256, 0, 3, 256)).eval()
    peer = VoiceEncoder("cpu", verbose=False)
    pieces = [np.stack([frames[s : s + 160] for s in window_starts(len(frames), 160, 80)]) for frames in inputs]

    def peers_way() -> None:
        with torch.no_grad():
            for own in pieces:  # utterance by utterance, as embed_utterance does
                peer(torch.from_numpy(own).to(peer.device))

    count = sum(map(len, pieces))
    times = alternate({"ours": lambda: embed(network, inputs, windows), "resemblyzer": peers_way}, rounds=5)
    save(
        "dvector", times, reference="resemblyzer", unit=f"{count} windows of 160 frames, LSTM 3 x 256, float32, 1 thread", num_windows=count
    )


if __name__ == "__main__":
    main()

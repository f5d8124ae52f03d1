"""Resemblyzer's published GE2E model on a trial list of a recipe, with its own preprocessing: what a recipe is compared with.

    python benchmarks/peer_eer.py egs/speech_commands/v1/data/test egs/speech_commands/v1/data/test/trials [SCORES]

prints its EER with the interval that `sv-eval` gives, that of the same weights without zeros in place of what a recording
below 1.6 s lacks (`sv-import --padding none`, the fair number) and, with the SCORES of another system on the same list, how much
lower that system's EER is.  Not part of `make bench`, which has no corpora: it says so and ends.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import RESULTS
from numpy.typing import NDArray

from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trials import Trials, read_scores, read_trials
from sv_toolkit.embeddings.waveform import Embedder
from sv_toolkit.extraction.pipeline import AudioOptions
from sv_toolkit.io.audio import read_waveform
from sv_toolkit.models.importing.resemblyzer import ResemblyzerOptions, import_resemblyzer
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.results import ALL, Evaluation, Settings, chosen_costs, evaluate_by, percent

RATE = 16_000


def embeddings(data: DataDir) -> dict[str, NDArray[np.float32]]:
    """Utterance -> d-vector of 256, by the preprocessing and the windows that the package comes with."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder, found = VoiceEncoder("cpu", verbose=False), {}
    for one in data.utterances():
        samples = read_waveform(AudioOptions(resample=True).request(one, RATE)).samples
        found[one.utterance_id] = encoder.embed_utterance(preprocess_wav(samples, source_sr=RATE))
    return found


def unpadded(data: DataDir) -> dict[str, NDArray[np.float32]]:
    """As `embeddings`, by the package's weights as a model of ours, whose windows are not filled up with zeros."""
    import resemblyzer

    source = Path(resemblyzer.__file__).parent / "pretrained.pt"
    with tempfile.TemporaryDirectory() as folder:
        import_resemblyzer(source, Path(folder) / "model", ResemblyzerOptions(padding="none", shortest=1))
        embedder = Embedder(Path(folder) / "model", "cpu")
        utterances = [(one.utterance_id, AudioOptions(resample=True).request(one, RATE)) for one in data.utterances()]
        return {key: embedder.embed_request(request, resample=True).vector for key, request in utterances}


def evaluated(trials: Trials, scores: np.ndarray) -> Evaluation:
    origin = Origin.find(trials.path, None, None)
    return evaluate_by(trials, scores, origin, Settings(chosen_costs((), ())))[ALL]


def main() -> None:
    if len(sys.argv) < 3:
        print("peer_eer: skipped, it needs DATA and TRIALS of a recipe")
        return
    trials, data = read_trials(Path(sys.argv[2]), need_keys=True), DataDir.read(Path(sys.argv[1]))
    record: dict[str, object] = {"benchmark": "peer_eer", "trials": trials.short_hash}
    for name, embed_all in {"resemblyzer": embeddings, "resemblyzer without padding": unpadded}.items():
        vectors = embed_all(data)
        left, right = (np.stack([vectors[key] for key in ids]) for ids in (trials.enroll_ids, trials.test_ids))
        peer = evaluated(trials, cosine_scores(left, right, trials.enroll_index, trials.test_index))
        record[name] = peer.eer.value
        print(f"{name}: EER {percent(peer.eer)}, list {trials.short_hash}")
    for path in sys.argv[3:]:
        own = evaluated(trials, read_scores(Path(path), trials))
        record[path] = own.eer.value
        print(f"{path}: EER {percent(own.eer)}, {100 * (1 - own.eer.value / peer.eer.value):.1f} % below Resemblyzer's without padding")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"peer_eer_{trials.short_hash}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

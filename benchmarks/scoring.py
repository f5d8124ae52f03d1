"""Cosine scores of 2e5 trials over 2000 embeddings of 256: by the block against a loop over trials.

Once with trials spread thin over many pairs (gathered) and once with all pairs of few utterances (matrix product).
"""

from __future__ import annotations

import numpy as np
from common import alternate, save

from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.backends.pairs import DENSE_ENOUGH

NUM_TRIALS = 200_000


def loop(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    scores = np.empty(len(enroll_index), np.float32)
    for trial, (i, j) in enumerate(zip(enroll_index, test_index)):
        scores[trial] = enroll[i] @ test[j] / (np.linalg.norm(enroll[i]) * np.linalg.norm(test[j]))
    return scores


def main() -> None:
    rng = np.random.default_rng(0)
    for name, num_vectors in (("sparse", 2000), ("dense", 450)):
        vectors = rng.normal(size=(num_vectors, 256)).astype(np.float32)
        trials = vectors, vectors, rng.integers(num_vectors, size=NUM_TRIALS), rng.integers(num_vectors, size=NUM_TRIALS)
        assert (DENSE_ENOUGH * num_vectors**2 <= NUM_TRIALS) == (name == "dense")
        np.testing.assert_allclose(cosine_scores(*trials), loop(*trials), atol=1e-5)
        times = alternate({"ours": lambda: cosine_scores(*trials), "loop": lambda: loop(*trials)}, rounds=5)  # noqa: B023
        save(f"scoring_{name}", times, reference="loop", unit=f"{NUM_TRIALS} trials over {num_vectors} vectors of 256")


if __name__ == "__main__":
    main()

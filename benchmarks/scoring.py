"""Scores of long trial lists by the block, against a loop over trials: cosine and PLDA.

2e5 trials, once spread thin over many pairs (gathered) and once all pairs of few utterances (matrix product); then 1e7
trials among 10 000 embeddings of 256 values, whose loop is timed on a hundredth of them, and the memory that these need.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import numpy as np
from common import alternate, save

from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.backends.pairs import DENSE_ENOUGH
from sv_toolkit.backends.plda_scoring import DiagonalPlda

NUM_TRIALS, NUM_LONG, PART = 200_000, 10_000_000, 100
Trials = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def cosine_loop(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    scores = np.empty(len(enroll_index), np.float32)
    for trial, (i, j) in enumerate(zip(enroll_index, test_index)):
        scores[trial] = enroll[i] @ test[j] / (np.linalg.norm(enroll[i]) * np.linalg.norm(test[j]))
    return scores


def plda(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    model = DiagonalPlda(np.zeros(test.shape[1]), np.eye(test.shape[1]), np.linspace(5, 0, test.shape[1]))
    return model.llr(enroll, 1 + np.arange(len(enroll)) % 5, test, enroll_index, test_index)


def plda_loop(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    psi = np.linspace(5, 0, test.shape[1])
    scores = np.empty(len(enroll_index))
    for trial, (i, j) in enumerate(zip(enroll_index, test_index)):
        n = 1 + i % 5
        mean, variance = n * psi / (n * psi + 1) * enroll[i], 1 + psi / (n * psi + 1)
        known = np.log(variance).sum() + np.sum((test[j] - mean) ** 2 / variance)
        scores[trial] = 0.5 * (np.log1p(psi).sum() + np.sum(test[j] ** 2 / (1 + psi)) - known)
    return scores


def random_trials(num_vectors: int, num_trials: int) -> Trials:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(num_vectors, 256)).astype(np.float32)
    return vectors, vectors, rng.integers(num_vectors, size=num_trials), rng.integers(num_vectors, size=num_trials)


def short_lists() -> None:
    for name, num_vectors in (("sparse", 2000), ("dense", 450)):
        trials = random_trials(num_vectors, NUM_TRIALS)
        assert (DENSE_ENOUGH * num_vectors**2 <= NUM_TRIALS) == (name == "dense")
        np.testing.assert_allclose(cosine_scores(*trials), cosine_loop(*trials), atol=1e-5)
        times = alternate({"ours": lambda: cosine_scores(*trials), "loop": lambda: cosine_loop(*trials)}, rounds=5)  # noqa: B023
        save(f"scoring_{name}", times, reference="loop", unit=f"{NUM_TRIALS} trials over {num_vectors} vectors of 256")


def long_list(name: str, ours: Callable[..., np.ndarray], loop: Callable[..., np.ndarray]) -> None:
    trials = random_trials(10_000, NUM_LONG)
    part = (*trials[:2], *(index[: NUM_LONG // PART] for index in trials[2:]))
    np.testing.assert_allclose(ours(*part), loop(*part), atol=1e-4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(*trials)
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times = alternate({"ours": lambda: ours(*trials), "loop": lambda: loop(*part)}, rounds=3)
    times["loop"] = [PART * seconds for seconds in times["loop"]]
    unit = f"{NUM_LONG} trials over 10000 vectors of 256 (the loop: {PART} times a {PART}th), {megabytes:.0f} MB extra"
    save(f"scoring_{name}", times, reference="loop", unit=unit, extra_megabytes=megabytes)


def main() -> None:
    long_list("long_cosine", cosine_scores, cosine_loop)  # first: memory is counted as a high-water mark
    long_list("long_plda", plda, plda_loop)
    short_lists()


if __name__ == "__main__":
    main()

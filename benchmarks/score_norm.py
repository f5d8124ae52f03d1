"""AS-norm of 1e6 trials over 1e4 embeddings of 256 with a cohort of 5000, against a loop over trials on a subsample."""

from __future__ import annotations

import time

import numpy as np
from common import save

from sv_toolkit.backends.score_norm import METHODS, Side

NUM_TRIALS, NUM_VECTORS, NUM_COHORT, DIM, TOP = 1_000_000, 10_000, 5000, 256, 300
SUBSAMPLE = 1000


def loop(scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray) -> np.ndarray:
    """As one would write it for one trial."""
    cohort = cohort / np.linalg.norm(cohort, axis=1, keepdims=True)
    out = np.empty(len(scores))
    for trial, (score, i, j) in enumerate(zip(scores, enroll.index, test.index)):
        sides = []
        for vector in (enroll.vectors[i], test.vectors[j]):
            near = np.sort(cohort @ (vector / np.linalg.norm(vector)))[-TOP:]
            sides.append((score - near.mean()) / near.std())
        out[trial] = sum(sides) / 2
    return out


def main() -> None:
    rng = np.random.default_rng(0)
    vectors, cohort = rng.normal(size=(NUM_VECTORS, DIM)), rng.normal(size=(NUM_COHORT, DIM))
    scores = rng.uniform(-1, 1, NUM_TRIALS)
    enroll, test = (Side(vectors, rng.integers(NUM_VECTORS, size=NUM_TRIALS)) for _ in range(2))
    few = [Side(side.vectors, side.index[:SUBSAMPLE]) for side in (enroll, test)]
    for method in ("as-norm", "as-norm2"):
        times: dict[str, list[float]] = {"loop": [], "ours": []}
        started = time.process_time()
        slow = loop(scores[:SUBSAMPLE], *few, cohort)
        times["loop"].append((time.process_time() - started) * NUM_TRIALS / SUBSAMPLE)
        started, wall = time.process_time(), time.monotonic()
        fast = METHODS[method](scores, enroll, test, cohort, top=TOP)
        times["ours"].append(time.process_time() - started)
        if method == "as-norm":
            np.testing.assert_allclose(fast[:SUBSAMPLE], slow, atol=1e-10)
        unit = f"{NUM_TRIALS} trials, cohort of {NUM_COHORT}; loop: {SUBSAMPLE} trials, scaled up"
        save(f"score_norm_{method}", times, reference="loop", unit=unit, wall_seconds=time.monotonic() - wall)


if __name__ == "__main__":
    main()

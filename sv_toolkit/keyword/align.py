"""Where in its recording a word is: by energy to begin with, then by the best path through the posteriors of a network."""

from __future__ import annotations

import numpy as np

from sv_toolkit.features.vad import EnergyVadConfig, energy_vad, frame_log_energy, span

FLOOR = 1e-4  # of a posterior; one bad frame must not decide
SHORTEST = 15  # frames of a word


def voiced_stretch(features: np.ndarray) -> np.ndarray:
    """The frames `(num_frames,)` bool from the first loud one to the last, of the longest loud run where clicks stand apart.

    Args:
        features: `(num_frames, num_bands)` log energies; loud is above the mean of the recording.
    """
    energy = frame_log_energy(features)
    is_loud = energy_vad(energy, EnergyVadConfig(energy_threshold=0.0, energy_mean_scale=1.0, frames_context=4, proportion_threshold=0.5))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_loud.astype(np.int8), [0]])))
    if len(edges) == 0:
        return np.zeros(len(features), bool)
    starts, stops = edges[::2], edges[1::2]
    gaps = np.flatnonzero(starts[1:] - stops[:-1] >= SHORTEST)  # longer ones part what was said from what was not
    runs = np.split(np.arange(len(starts)), gaps + 1)
    energies = [sum(float((energy[starts[i] : stops[i]] - energy.mean()).sum()) for i in run) for run in runs]
    chosen = runs[int(np.argmax(energies))]
    mask = np.zeros(len(features), bool)
    mask[[starts[chosen[0]], stops[chosen[-1]] - 1]] = True
    return span(mask)


def even_states(is_word: np.ndarray, first: int, num_states: int) -> np.ndarray:
    """Labels `(num_frames,)`: 0, and within the word its states `first`, `first + 1`, ... in parts of equal length."""
    labels = np.zeros(len(is_word), np.int64)
    frames = np.flatnonzero(is_word)
    labels[frames] = first + np.arange(len(frames)) * num_states // max(len(frames), 1)
    return labels


def best_path(log_likelihoods: np.ndarray, min_frames: int) -> np.ndarray:
    """The states of the likeliest path filler, word states in order, filler; each state of the word `min_frames` or longer.

    Args:
        log_likelihoods: `(num_frames, 1 + num_states)`, filler first.

    Returns:
        `(num_frames,)` indices of columns.  Filler may be absent at either end; all filler where the recording is too short.
    """
    num_frames, num_states = len(log_likelihoods), log_likelihoods.shape[1] - 1
    order = [0, *np.repeat(np.arange(1, num_states + 1), min_frames).tolist(), 0]
    if num_frames < len(order) - 2:
        return np.zeros(num_frames, np.int64)
    may_stay = np.array([position in (0, len(order) - 1) or position % min_frames == 0 for position in range(len(order))])
    scores = np.full(len(order), -np.inf)
    scores[:2] = log_likelihoods[0, [0, 1]]
    came_on = np.zeros((num_frames, len(order)), bool)
    for frame in range(1, num_frames):
        moved = np.concatenate([[-np.inf], scores[:-1]])
        stayed = np.where(may_stay, scores, -np.inf)
        came_on[frame] = moved > stayed
        scores = np.maximum(moved, stayed) + log_likelihoods[frame, order]
    position = len(order) - 1 if scores[-1] >= scores[-2] else len(order) - 2
    path = np.zeros(num_frames, np.int64)
    for frame in range(num_frames - 1, -1, -1):
        path[frame] = order[position]
        position -= int(came_on[frame, position])
    return path

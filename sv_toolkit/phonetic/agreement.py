"""How good phonetic labels are: accuracy and purity where the phones are known, alignment where only the words are."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-8  # of posteriors, for their logarithm


def label_purity(phones: np.ndarray, found: np.ndarray) -> float:
    """Share of frames that have the phone most frequent in the class that was found for them: of the right phone or not.

    Args:
        phones, found: `(num_frames,)` integers.
    """
    if len(phones) == 0:
        raise ValueError("purity of no frames")
    table = np.zeros((found.max() + 1, phones.max() + 1))
    np.add.at(table, (found, phones), 1)
    return float(table.max(axis=1).sum() / len(phones))


def phone_posteriors(posteriors: np.ndarray, phone_of: np.ndarray) -> np.ndarray:
    """Posteriors of classes `(num_frames, num_classes)` added up over the classes of each phone, `(num_frames, num_phones)`."""
    result = np.zeros((len(posteriors), phone_of.max() + 1), posteriors.dtype)
    np.add.at(result.T, phone_of, posteriors.T)
    return result


def force_align(log_posteriors: np.ndarray, sequence: list[int], silence: int) -> tuple[float, np.ndarray]:
    """The best way to speak `sequence`, each phone one frame at least and silence possible around each (Viterbi).

    Args:
        log_posteriors: `(num_frames, num_phones)`.

    Returns:
        The mean log posterior of a frame along it, and its phone in every frame `(num_frames,)`.  With fewer frames than
        phones there is no such way: minus infinity, and silence everywhere.
    """
    states = np.full(2 * len(sequence) + 1, silence)
    states[1::2] = sequence
    num_frames, is_silence = len(log_posteriors), np.arange(len(states)) % 2 == 0
    score = np.full(len(states), -np.inf)
    score[:2] = log_posteriors[0, states[:2]]
    back = np.zeros((num_frames, len(states)), np.int64)
    for frame in range(1, num_frames):
        ways = np.full((3, len(states)), -np.inf)
        ways[0], ways[1, 1:], ways[2, 2:] = score, score[:-1], np.where(is_silence[2:], -np.inf, score[:-2])
        back[frame] = ways.argmax(axis=0)
        score = ways.max(axis=0) + log_posteriors[frame, states]
    place = len(states) - 1 - int(score[-1] < score[-2])
    if score[place] == -np.inf:
        return float("-inf"), np.full(num_frames, silence)
    best, path = float(score[place]) / num_frames, np.empty(num_frames, np.int64)
    for frame in range(num_frames - 1, -1, -1):
        path[frame] = states[place]
        place -= back[frame, place]
    return best, path


def spoken_agreement(posteriors: np.ndarray, sequence: list[int], silence: int) -> tuple[float, float]:
    """How well a sequence of phones goes with posteriors of phones `(num_frames, num_phones)`.

    Returns:
        The mean log posterior of its best alignment; and the share of the frames that this gives to speech whose likeliest
        phone is the one it has there (0 where there is no alignment).
    """
    score, path = force_align(np.log(np.maximum(posteriors, SMALLEST)), sequence, silence)
    speech = path != silence
    agreement = float((posteriors.argmax(axis=1)[speech] == path[speech]).mean()) if speech.any() else 0.0
    return score, agreement

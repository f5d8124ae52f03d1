"""What embeddings look like: centroids, cosines between them, and maps in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 512  # rows of the matrix of cosines at a time: it need not fit in memory
PERPLEXITY = 15.0


@dataclass(frozen=True)
class Centroids:
    """Means of the length-normalised embeddings of each speaker.

    Attributes:
        speakers: `num_speakers` ids, sorted.
        vectors: `(num_speakers, dim)` float64, of unit length; zeros for a speaker whose embeddings cancel.
        index: `(num_embeddings,)`, row of the speaker of each embedding.
    """

    speakers: list[str]
    vectors: np.ndarray
    index: np.ndarray


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one, float64; rows of zeros stay zeros."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


def centroids(vectors: np.ndarray, speakers: list[str]) -> Centroids:
    """The centroid of each speaker.

    Args:
        vectors: `(num_embeddings, dim)`.
        speakers: of each embedding.
    """
    names, index = np.unique(np.array(speakers, dtype=object), return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, index, unit_rows(vectors))
    return Centroids([str(name) for name in names], unit_rows(sums), index)


def impostor_cosines(unit_vectors: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Histogram of the cosines between the centroids of different speakers: Heo et al. 2019, figure 2.

    Args:
        unit_vectors: `(num_speakers, dim)`, rows of unit length.
        edges: `(num_bins + 1,)`, from -1 to 1.

    Returns:
        Density `(num_bins,)`, mean cosine, number of pairs.

    Raises:
        ValueError: fewer than two speakers.
    """
    num_speakers = len(unit_vectors)
    if num_speakers < 2:
        raise ValueError("cosines between speakers need two of them")
    counts, total = np.zeros(len(edges) - 1), 0.0
    for start in range(0, num_speakers, BLOCK):
        cosines = unit_vectors[start : start + BLOCK] @ unit_vectors.T
        above = np.arange(num_speakers) > np.arange(start, start + len(cosines))[:, None]
        chosen = np.clip(cosines[above], -1.0, 1.0)
        counts += np.histogram(chosen, edges)[0]
        total += float(chosen.sum())
    pairs = num_speakers * (num_speakers - 1) // 2
    return counts / (pairs * np.diff(edges)), total / pairs, pairs


def principal_axes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean `(dim,)`, the two directions of most variance `(2, dim)`, and their shares of it `(2,)`.

    The sign of a direction, which nothing decides, is such that its largest entry is positive.

    Raises:
        ValueError: fewer than two vectors or dimensions.
    """
    if min(vectors.shape) < 2:
        raise ValueError(f"a map needs two vectors of two dimensions, got {vectors.shape}")
    mean = vectors.mean(axis=0)
    _, lengths, rows = np.linalg.svd(vectors - mean, full_matrices=False)
    axes = rows[:2] * np.sign(rows[:2, :][np.arange(2), np.abs(rows[:2]).argmax(axis=1)])[:, None]
    total = float(np.sum(lengths**2))
    return mean, axes, lengths[:2] ** 2 / total if total > 0 else np.zeros(2)


def tsne(vectors: np.ndarray, perplexity: float = PERPLEXITY, steps: int = 500) -> np.ndarray:
    """A map `(num_vectors, 2)` that keeps neighbours together: van der Maaten and Hinton 2008, without approximations.

    It starts from the two principal components and draws nothing at random.  Distances between far groups and the
    sizes of groups mean little on such a map.

    Args:
        vectors: `(num_vectors, dim)`, at least 4; memory and time grow with the square of their number.
    """
    if len(vectors) < 4:
        raise ValueError(f"t-SNE needs four vectors, got {len(vectors)}")
    wanted = _affinities(_squared_distances(vectors), min(perplexity, (len(vectors) - 1) / 3))
    mean, axes, _ = principal_axes(vectors)
    places = (vectors - mean) @ axes.T
    places *= 1e-4 / (places[:, 0].std() or 1.0)
    rate = max(len(vectors) / 12 / 4, min(len(vectors) / 4, 50.0))  # 50, as is usual, throws some of few points far out
    speed, gains = np.zeros_like(places), np.ones_like(places)
    for step in range(steps):
        slope = _slope(places, wanted * (12.0 if step < 250 else 1.0))
        agrees = np.sign(slope) == np.sign(speed)
        gains = np.maximum(np.where(agrees, 0.8 * gains, gains + 0.2), 0.01)
        speed = (0.5 if step < 250 else 0.8) * speed - rate * gains * slope
        places = places + speed
        places -= places.mean(axis=0)
    return places


def _squared_distances(points: np.ndarray) -> np.ndarray:
    squares = np.sum(points**2, axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def _affinities(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Joint probabilities of neighbours, the width of each row found by halving so that its entropy is that of the perplexity."""
    num_points = len(distances)
    low, high, width = np.zeros(num_points), np.full(num_points, np.inf), 1.0 / np.maximum(distances.mean(axis=1), 1e-12)
    for _ in range(60):
        weights = np.exp(-distances * width[:, None])
        np.fill_diagonal(weights, 0.0)
        rows = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
        entropy = -np.sum(rows * np.log(np.maximum(rows, 1e-300)), axis=1)
        too_flat = entropy > np.log(perplexity)
        low, high = np.where(too_flat, width, low), np.where(too_flat, high, width)
        width = np.where(np.isinf(high), 2 * width, (low + np.where(np.isinf(high), 0, high)) / 2)
    joint = (rows + rows.T) / (2 * num_points)
    return np.asarray(np.maximum(joint, 1e-12))


def _slope(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Gradient of the divergence of the map from `wanted`: equation 5."""
    closeness = 1 / (1 + _squared_distances(places))
    np.fill_diagonal(closeness, 0.0)
    pull = (wanted - closeness / closeness.sum()) * closeness
    return np.asarray(4 * (pull.sum(axis=1)[:, None] * places - pull @ places))

"""Who a synthetic speaker is: a voice of eSpeak NG with its own vocal tract, source and habits.

No single property tells the speakers apart: pitch overlaps within each gender, vocal tracts differ by a few per
cent, and every utterance varies in pitch, rate, channel and level around what its speaker is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
PITCH = {"male": (112, 0.17), "female": (190, 0.14)}  # median in hertz, spread of its logarithm
TRACT = {"male": (0.96, 0.05), "female": (1.12, 0.05)}  # formant frequencies relative to the voice eSpeak NG is built on
NUM_FORMANTS = 9  # 0 is the lowest resonance of the glottal source, 1 to 5 are the speech formants


@dataclass(frozen=True)
class Voice:
    """`name` is what eSpeak NG knows it by, `rate` words a minute, `variant` the text of its voice file."""

    name: str
    rate: int
    variant: str


def random_voice(name: str, gender: str, rng: np.random.Generator) -> Voice:
    """The voice of speaker `name`, drawn from the population of its gender."""
    median, spread = PITCH[gender]
    pitch = median * np.exp(rng.normal(0, spread))
    lines = [
        "language variant",
        f"name {name}",
        f"gender {gender}",
        f"pitch {pitch:.0f} {pitch * rng.uniform(1.25, 1.6):.0f}",
        f"flutter {rng.integers(1, 12)}",
        f"roughness {rng.integers(0, 4)}",
        f"voicing {rng.integers(85, 116)}",
        f"consonants {rng.integers(75, 126)} {rng.integers(75, 126)}",
        "breath " + " ".join(f"{value:.0f}" for value in breath(rng)),
        *formants(gender, rng),
    ]
    accent = ACCENTS[rng.integers(len(ACCENTS))]
    return Voice(f"{accent}+{name}", int(rng.integers(150, 201)), "\n".join(lines) + "\n")


def breath(rng: np.random.Generator) -> np.ndarray:
    """Aspiration noise in each of eight formants: little in most speakers, much in a few."""
    return np.minimum(rng.exponential(2.5) * rng.uniform(0.5, 1.5, size=8), 15)


def formants(gender: str, rng: np.random.Generator) -> list[str]:
    """`formant NUMBER frequency strength width` lines, in per cent of the built-in voice."""
    length, spread = TRACT[gender]
    scale = rng.normal(length, spread)
    tilt = rng.normal(0, 0.07)  # strength lost or won from one formant to the next
    width = rng.uniform(0.85, 1.4)
    lines = []
    for number in range(NUM_FORMANTS):
        frequency = scale * (1 + rng.normal(0, 0.04))
        strength = np.clip((1 + tilt) ** number * rng.normal(1, 0.12), 0.5, 1.5)
        lines.append(f"formant {number} {100 * frequency:.0f} {100 * strength:.0f} {100 * width * rng.normal(1, 0.1):.0f}")
    return lines

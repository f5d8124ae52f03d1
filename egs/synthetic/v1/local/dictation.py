"""What people dictate to machines: spelled words, numbers, dates and commands, next to sentences of all sounds of English."""

# ruff: noqa: SIM905 - words read best as a text
from __future__ import annotations

import numpy as np
from sentences import random_sentence

LETTER_A = "[[eI]]"  # eSpeak NG reads a single A as the article
DIGITS = "oh zero one two three four five six seven eight nine".split()
NUMBERS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
).split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth twentieth thirtieth".split()
MONTHS = "January February March April May June July August September October November December".split()
COMMANDS = "enter erase stop start go yes no help repeat delete open close left right up down rub out".split()
VOWELS, CONSONANTS = "AEIOU", "BCDFGHJKLMNPQRSTVWXYZ"


def _any(words: list[str], rng: np.random.Generator, least: int, most: int) -> list[str]:
    return [words[rng.integers(len(words))] for _ in range(rng.integers(least, most + 1))]


def _spelled(rng: np.random.Generator) -> list[str]:
    """Names as they are spelled, vowels and consonants in turn more often than not, or letters at random."""
    letters = []
    for place in range(rng.integers(2, 9)):
        source = (VOWELS, CONSONANTS)[(place + rng.integers(2)) % 2] if rng.random() < 0.7 else VOWELS + CONSONANTS
        letters.append(source[rng.integers(len(source))])
    return [LETTER_A if letter == "A" else letter for letter in letters]


def _number(rng: np.random.Generator) -> list[str]:
    return _any(DIGITS, rng, 2, 7) if rng.random() < 0.5 else _any(NUMBERS + DIGITS, rng, 1, 4)


def _date(rng: np.random.Generator) -> list[str]:
    return [*_any(MONTHS, rng, 1, 1), *_any(ORDINALS, rng, 1, 1), "nineteen", *_any(NUMBERS, rng, 1, 1), *_any(DIGITS, rng, 0, 1)]


def random_dictation(rng: np.random.Generator) -> str:
    """A sentence in two of five cases, else spelling, numbers, dates and commands; [[...]] holds phonemes of eSpeak NG."""
    if rng.random() < 0.4:
        return random_sentence(rng)
    kind = rng.integers(5)
    if kind == 0:
        words = _date(rng)
    elif kind == 1:
        words = _any(COMMANDS, rng, 1, 3)
    elif kind == 2:
        words = _number(rng)
    else:
        words = [*_any(COMMANDS, rng, 0, 1), *_spelled(rng), *(_number(rng) if kind == 3 else [])]
    comma = ", " if rng.random() < 0.3 else " "
    return comma.join(words) + "."

"""The phones of the CMU dictionary, and which of them each phoneme of eSpeak NG's English accents is."""

from __future__ import annotations

SILENCE = "SIL"
NAMES = {
    SILENCE: "_ _: _! _| _^_",
    "AA": "0 A: A@ aa", "AE": "a", "AH": "V @ a# @2 @-", "AO": "O: O2 O@ o@ O", "AW": "aU", "AY": "aI aI2 aI3 aI@", "EH": "E e@",
    "ER": "3 3: IR VR", "EY": "eI", "IH": "I I2 I# i@ i@3", "IY": "i: i", "OW": "oU", "OY": "OI", "UH": "U U@", "UW": "u: u",
    "B": "b", "CH": "tS", "D": "d d#", "DH": "D", "F": "f", "G": "g", "HH": "h", "JH": "dZ", "K": "k k2 x", "L": "l @L l#", "M": "m m-",
    "N": "n n-", "NG": "N", "P": "p", "R": "r r- r/ *", "S": "s", "SH": "S", "T": "t t# t[ t2 ?", "TH": "T", "V": "v", "W": "w w#",
    "Y": "j", "Z": "z z#", "ZH": "Z",
}  # fmt: skip
PHONE_OF = {name: phone for phone, names in NAMES.items() for name in names.split()}
STRESS_MARKS = "',%="
PART_OF_THE_ONE_BEFORE = ";"  # palatalisation, of no duration of its own


def segments(phonemes: list[tuple[int, str]], num_samples: int) -> list[tuple[int, int, str]]:
    """First sample, the one after the last, and the phone of every stretch of speech; equal neighbours are one.

    Args:
        phonemes: as `Synthesizer.speak_aligned` gives them.

    Raises:
        KeyError: a phoneme that no phone is known for.
    """
    found: list[tuple[int, int, str]] = []
    begins = [(start, name.lstrip(STRESS_MARKS)) for start, name in phonemes]
    ends = [start for start, _ in begins[1:]] + [num_samples]
    for (start, name), end in zip(begins, ends):
        phone = found[-1][2] if name == PART_OF_THE_ONE_BEFORE and found else PHONE_OF[name]
        if found and found[-1][2] == phone:
            start = found.pop()[0]
        found.append((start, end, phone))
    return [segment for segment in found if segment[1] > segment[0]]

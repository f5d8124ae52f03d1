"""eSpeak NG through the library and the data that the PyPI package espeakng-loader carries.

The library keeps state from one utterance to the next (phases, random numbers) that nothing resets and is not
thread safe: a `Synthesizer` lives once in a process, and a process for every speaker makes an utterance
independent of who else is spoken.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS = 1  # of espeak_Initialize
PHONEMES_IN_BRACKETS = 0x100  # of espeak_Synth: [[eI]] in the text is read as a phoneme
LAST_EVENT, PHONEME = 0, 7  # espeak_EVENT_TYPE
POSITION_CHARACTER = 1
CHARACTERS_UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
BUFFER_MILLISECONDS = 500


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h, the string of its union alone."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Synthesizer:
    """Text to samples, in the voices of a `view_of_data`."""

    def __init__(self, view: Path) -> None:
        """Load the library with the data of `view`."""
        from espeakng_loader import get_library_path

        self.library = ctypes.CDLL(str(get_library_path()))
        self.library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self.chunks: list[np.ndarray] = []
        self.phonemes: list[tuple[int, str]] = []
        self.callback = CALLBACK(self._collect)  # kept: the library calls it after this line
        self.sample_rate = self.library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MILLISECONDS, bytes(view), PHONEME_EVENTS)
        if self.sample_rate <= 0:
            raise RuntimeError(f"eSpeak NG cannot read its data in {view}")
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], num_samples: int, events: ctypes._Pointer[Event]) -> int:
        if samples and num_samples > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        for event in events:
            if event.type == LAST_EVENT:
                break
            if event.type == PHONEME:
                self.phonemes.append((event.sample, event.name.decode()))
        return 0

    def speak(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int, seed: int, flags: int = CHARACTERS_UTF8) -> np.ndarray:
        """`(num_samples,)` float64 in [-1, 1) at `sample_rate`.

        Args:
            voice: `accent+variant`, for example `en-us+spk003`.
            rate: words a minute.
            pitch: 0 to 100, where 50 is the voice's own.
            pitch_range: 0 to 100 in the same way.
            seed: of the breath noise.
            flags: of espeak_Synth.
        """
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self.library.espeak_ng_SetRandSeed(seed)
        self.chunks.clear()
        self.phonemes.clear()
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, POSITION_CHARACTER, 0, flags, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self.chunks) / 32768

    def speak_aligned(self, *how: object) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """`speak` of a text in which [[eI]] is a phoneme; also the sample at which each phoneme begins, and its name."""
        samples = self.speak(*how, flags=CHARACTERS_UTF8 | PHONEMES_IN_BRACKETS)
        return samples, list(self.phonemes)


def view_of_data(view: Path, variants: dict[str, str]) -> None:
    """Make `view` a folder of eSpeak NG's data as links, with voice variants of our own: name -> text of its file."""
    from espeakng_loader import get_data_path

    own = view / "espeak-ng-data"
    (own / "voices" / "!v").mkdir(parents=True)
    for entry in Path(get_data_path()).iterdir():
        if entry.name != "voices":
            (own / entry.name).symlink_to(entry)
    for name, text in variants.items():
        (own / "voices" / "!v" / name).write_text(text, encoding="ascii")

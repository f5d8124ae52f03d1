"""Audio files opened: whole by what their headers say, and of a format and a rate that are read."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sv_toolkit.errors import AudioError, SvError, plain
from sv_toolkit.io.audio_headers import check_length, check_mp3, not_audio
from sv_toolkit.io.audio_stream import Stream, open_stream
from sv_toolkit.io.audio_tails import is_mpeg

FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "AIFF", "AU", "NIST", "MP3"}
IN_ARCHIVES = (b"RIFF", b"fLaC")  # recordings that say how long they are; what follows them is another one
MIN_RATE, MAX_RATE = 1000, 768_000
_FLOATS = ("FLOAT", "DOUBLE")  # codings that can hold what is no number
_BLOCK = 1 << 20
_UNKNOWN = 1 << 62  # libsndfile's number of frames where the header gives none is 2**63 - 1


class Header(NamedTuple):
    """What is known of a recording before it is decoded; `duration` in seconds, infinite where the header does not say."""

    num_channels: int
    sample_rate: int
    duration: float


def read_header(path: str) -> Header:
    """The header of the audio file `path`; refuses what `read_waveform` refuses of any part of it.

    Of float files the samples are read, too: only they can hold NaN.  A FLAC file that was cut is found by decoding alone.

    Raises:
        AudioError: with the reason alone.
    """
    file, offset = archived(path)
    handle = open_regular(file)
    try:
        with opened_sound(handle, offset) as sound:
            total = num_frames(sound)
            if sound.subtype in _FLOATS:
                _refuse_not_finite(sound)
            return Header(sound.channels, sound.samplerate, np.inf if total is None else total / sound.samplerate)
    finally:
        os.close(handle)


def check_flac_end(path: str) -> None:
    """Refuse a FLAC file that was cut: its header promises samples whose frame is not there.  One seek; nothing is decoded before it.

    Raises:
        AudioError: with the reason alone.
    """
    soundfile, _ = soundfile_classes()
    file, offset = archived(path)
    handle = open_regular(file)
    try:
        with opened_sound(handle, offset) as sound:
            total = num_frames(sound)
            if sound.format == "FLAC" and total:
                sound.seek(total - 1)
                sound.buffer_read(1, "float32")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"damaged or truncated: {plain(error.error_string)}; copy or download it again") from None
    finally:
        os.close(handle)


def archived(path: str) -> tuple[str, int]:
    """File and first byte of a recording: `x.ark:1234` is one in an archive, as Kaldi's wav-copy writes it, unless a file has that name."""
    file, colon, offset = path.rpartition(":")
    if colon and offset.isdecimal() and offset.isascii() and len(offset) < 19 and not os.path.lexists(path):
        return file, int(offset)
    return path, 0


def open_regular(path: str) -> int:
    """The handle of a file that is there and holds data; raises AudioError with the reason alone."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - before opening: a named pipe would block, a device may act
            raise AudioError("not a regular file (a directory, a device or a named pipe)")
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        hint = "" if path.startswith("/") else f"; the path is relative to the current directory, {plain(Path.cwd(), 1000)}"
        raise AudioError(f"No such file{hint}") from None
    except PermissionError:
        raise AudioError("permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def opened_sound(handle: int, offset: int = 0) -> Iterator[Any]:
    """The open file, or the recording that begins at a byte of an archive, as soundfile reads it, its header checked.

    Raises:
        AudioError: it was cut, is of another format, or holds nothing; with the reason alone.
    """
    size = os.fstat(handle).st_size
    if size == 0:
        raise AudioError("empty file (0 bytes)")
    if offset >= size:
        raise AudioError(f"the archive has {size} bytes, none at {offset}: it was cut, or is another one")
    stream = open_stream(handle, size, offset)
    if offset and stream.head[:4] not in IN_ARCHIVES:
        raise AudioError(f"no WAV or FLAC recording begins at byte {offset} of the archive; write archive and wav.scp again")
    patches = check_length(stream)
    if is_mpeg(stream) and stream.head[:4] not in (b"RIFF", b"RF64"):
        check_mp3(stream)
    with _silenced(is_mpeg(stream)), _sound(stream, patches) as sound:
        if sound.format not in FORMATS:
            raise AudioError(
                f"format {sound.format} is not supported, only {', '.join(sorted(FORMATS))}; convert it, for example with ffmpeg"
            )
        if not MIN_RATE <= sound.samplerate <= MAX_RATE:
            raise AudioError(f"sample rate {sound.samplerate} Hz in the header; rates from {MIN_RATE} to {MAX_RATE} Hz are possible")
        if sound.format == "MP3" and not is_mpeg(stream):  # found by its decoder behind other bytes
            check_mp3(stream)
        if sound.frames == 0:
            raise AudioError("holds no samples")
        yield sound


@contextlib.contextmanager
def _silenced(is_needed: bool) -> Iterator[None]:
    """Without what a decoder in C writes to the terminal (libmpg123 does, naming no file); our own errors are raised, not written."""
    try:
        kept = os.dup(2) if is_needed else -1
    except OSError:  # there is no terminal, nor anything in its place
        kept = -1
    if kept < 0:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def num_frames(sound: Any) -> int | None:
    """Samples of a channel, None where the header does not say (MPEG sound in a WAV file: it counts the decoder's delay, or does not)."""
    is_rough = sound.format in ("WAV", "WAVEX", "RF64") and sound.subtype.startswith("MPEG")
    return int(sound.frames) if sound.frames < _UNKNOWN and not is_rough else None


def not_finite(count: int, total: int) -> str:
    """The reason to refuse samples of which `count` are no numbers."""
    return f"{count} of {total} samples are not finite (NaN or Inf)"


def _refuse_not_finite(sound: Any) -> None:
    count = total = 0
    block = np.empty((max(_BLOCK // sound.channels, 1), sound.channels), np.float32)
    while num := sound.buffer_read_into(block, "float32"):
        total += num * sound.channels
        count += int((~np.isfinite(block[:num])).sum())
    if count:
        raise AudioError(not_finite(count, total))


@cache
def soundfile_classes() -> Any:
    """The package soundfile, and its SoundFile that reads on without seeking."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the module is there, libsndfile is not
        raise SvError(
            f"reading audio needs the package soundfile, which cannot be imported ({plain(error)}); pip install soundfile"
        ) from None

    class Forward(soundfile.SoundFile):
        """Reads on without seeking: soundfile seeks to where it is after every read, which FLAC pays dearly for
        and files of unknown length fail at."""

        def seekable(self) -> bool:
            return False

    return soundfile, Forward


def _sound(stream: Stream, patches: dict[int, bytes]) -> Any:
    soundfile, forward = soundfile_classes()
    try:
        if patches or stream.base:
            return forward(_Patched(stream, patches))
        os.lseek(stream.handle, 0, os.SEEK_SET)
        return forward(stream.handle, closefd=False)
    except (soundfile.LibsndfileError, TypeError):
        raise AudioError(not_audio(stream.head)) from None


class _Patched(io.RawIOBase):
    """A file with a few bytes replaced, or one in an archive."""

    def __init__(self, stream: Stream, patches: dict[int, bytes]) -> None:
        self.stream, self.patches, self.position = stream, patches, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.stream.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        data = bytearray(os.pread(self.stream.handle, len(buffer), self.stream.base + self.position))
        for offset, patch in self.patches.items():
            for i, value in enumerate(patch, offset - self.position):
                if 0 <= i < len(data):
                    data[i] = value
        buffer[: len(data)] = bytes(data)
        self.position += len(data)
        return len(data)

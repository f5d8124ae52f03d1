"""Sound that arrives through a pipe: raw 16-bit samples, or a WAV header before them, block by block.

Memory holds one read at a time.  What a pipe brings is taken as it is: a stream that was cut says so in a warning and is
used, because a live one is always cut somewhere.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import AudioError, SvError, plain
from sv_toolkit.io.audio_files import MAX_RATE, MIN_RATE
from sv_toolkit.io.audio_headers import STREAMED

logger = logging.getLogger("sv_toolkit")
READ_BYTES = 1 << 16
MAX_HEADER = 1 << 20  # bytes before the sound of a WAV file; some programs put long lists there
PCM, EXTENSIBLE, SUBFORMAT = 1, 0xFFFE, 24
_COMPRESSED = (b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"NIST", b"RF64", b"RIFX", b"caff")
_CONVERT = "decode it first, for example: ffmpeg -i - -f s16le -ac 1 -"

Read = Callable[[int], bytes]


@dataclass(frozen=True)
class _Layout:
    sample_rate: int
    num_channels: int
    size: int | None  # bytes of sound that the header promises; None: to the end


class PcmStream:
    """Samples from a pipe.

    Attributes:
        sample_rate: hertz.
    """

    def __init__(self, read: Read, sample_rate: int, channel: int | None = None) -> None:
        """Read as far as the first samples.

        Args:
            read: up to so many bytes, as soon as there are any; b"" at the end.
            sample_rate: of raw samples; a WAV header says its own.
            channel: of a WAV stream, counted from 0; None demands that there is only one.  Raw samples have one channel.

        Raises:
            AudioError: the stream is empty, of another format, or has several channels.
        """
        self._read = read
        self._waiting = b""
        self._fill(4)
        if not self._waiting:
            raise AudioError("stdin: empty: no sound came")
        if self._waiting.startswith(_COMPRESSED):
            raise AudioError(
                f"stdin: is neither WAV nor raw 16-bit samples (begins with {plain(self._waiting[:4].decode('latin-1'))}); {_CONVERT}"
            )
        self._layout = self._wav_header() if self._waiting[:4] == b"RIFF" else _Layout(sample_rate, 1, None)
        self.sample_rate = self._layout.sample_rate
        if channel is None and self._layout.num_channels != 1:
            raise AudioError(f"stdin: has {self._layout.num_channels} channels; --channel chooses one (counted from 0)")
        if channel is not None and channel >= self._layout.num_channels:
            raise AudioError(f"stdin: channel {channel} asked for, the stream has {self._layout.num_channels} (counted from 0)")
        self._channel = channel or 0

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples `(num_samples,)` float32 in [-1, 1), as they come."""
        width, rest = 2 * self._layout.num_channels, b""
        for data in self._sound():
            rest += data
            whole = len(rest) - len(rest) % width
            if whole:
                yield np.frombuffer(rest[:whole], "<i2").reshape(-1, self._layout.num_channels)[:, self._channel] / np.float32(32768)
            rest = rest[whole:]
        if rest:
            logger.warning("stdin: ended within a sample: %d byte(s) dropped", len(rest))

    def _sound(self) -> Iterator[bytes]:
        """The bytes of the sound, without what may follow them in a WAV file."""
        left, data = self._layout.size, self._waiting
        while data or (left != 0 and (data := self._read(READ_BYTES))):
            data = data[:left]
            left = None if left is None else left - len(data)
            yield data
            data = b""
        if left:
            logger.warning("stdin: ended %d bytes before the end that its header promises", left)

    def _fill(self, count: int) -> None:
        """Have `count` bytes waiting, or all there are."""
        while len(self._waiting) < count:
            data = self._read(READ_BYTES)
            if not data:
                return
            self._waiting += data

    def _take(self, count: int) -> bytes:
        self._fill(count)
        if len(self._waiting) < count:
            raise AudioError("stdin: truncated: a WAV stream that ends within its header")
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _wav_header(self) -> _Layout:
        if self._take(12)[8:] != b"WAVE":
            raise AudioError(f"stdin: a RIFF stream that is no WAV; {_CONVERT}")
        rate = channels = num_bytes = 0
        while num_bytes < MAX_HEADER:
            name, size = struct.unpack("<4sI", self._take(8))
            if name == b"data":
                if not rate:
                    raise AudioError("stdin: damaged: a WAV stream whose sound comes before its format")
                return _Layout(rate, channels, None if size == 0 or size >= STREAMED else size)
            if size > MAX_HEADER:
                break
            content = self._take(size + size % 2)
            num_bytes += 8 + len(content)
            if name == b"fmt ":
                rate, channels = _format(content)
        raise AudioError(f"stdin: damaged: no sound in the first {MAX_HEADER} bytes of the WAV stream")


def _format(content: bytes) -> tuple[int, int]:
    """Sample rate and number of channels of a format chunk.

    Raises:
        AudioError: it is not 16-bit PCM.
    """
    if len(content) < 16:
        raise AudioError("stdin: damaged: a WAV stream with a format chunk of less than 16 bytes")
    coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if coding == EXTENSIBLE and len(content) >= SUBFORMAT + 2:
        coding = struct.unpack_from("<H", content, SUBFORMAT)[0]
    if coding != PCM or bits != 16:
        raise AudioError(f"stdin: a WAV stream of coding {coding} with {bits} bits, 16-bit PCM is read; arecord -f S16_LE, or {_CONVERT}")
    if not MIN_RATE <= rate <= MAX_RATE or channels == 0:
        raise AudioError(f"stdin: damaged: {channels} channels at {rate} Hz in the WAV header")
    return rate, channels


def resampled(blocks: Iterator[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """The same sound at `wanted` hertz, block by block."""
    if rate == wanted:
        yield from blocks
        return
    try:
        import soxr
    except ImportError as error:
        raise SvError(f"resampling needs the package soxr, which cannot be imported ({plain(error)}); pip install soxr") from None
    converter = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield converter.resample_chunk(block)
    yield converter.resample_chunk(np.zeros(0, np.float32), last=True)

"""What the header of an audio file promises, compared with the bytes that are there.

libsndfile reads a WAV, AIFF, AU, SPHERE or Ogg file that was cut without a word, only shorter.  These few small reads
find it out before anything is decoded.  FLAC and MP3 are compared after decoding (see `audio`).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from sv_toolkit.errors import AudioError
from sv_toolkit.io.audio_stream import Stream
from sv_toolkit.io.audio_tails import mp3_length_header, refuse_bytes_after, refuse_second_stream, refuse_tail

STREAMED = 0x7FFFF000  # sizes from here on are what programs write that cannot go back to fill them in
_SAMPLES_BY_BLOCK = (1, 3, 6, 7, 0xFFFE)  # WAV codings where one block is one sample: PCM, float, A-law, mu-law, extensible
_MAX_CHUNKS = 10_000
_CONVERT = "convert it, for example: ffmpeg -i IN -ac 1 -ar 16000 OUT.wav"
_CUT = "the file was cut: copy or download it again"


def check_length(stream: Stream) -> dict[int, bytes]:
    """Compare the promised with the real length.

    Returns:
        Bytes to put in place of the file's own, by offset: the sizes that a streamed WAV leaves at zero.

    Raises:
        AudioError: the file was cut, or holds more sound than the header says; with the reason alone.
    """
    magic = stream.head[:4]
    if magic in (b"RIFF", b"RF64", b"RIFX"):
        return _check_wav(stream)
    if magic == b"FORM":
        _check_aiff(stream)
    elif magic in (b".snd", b"dns."):
        _check_au(stream)
    elif magic == b"NIST":
        _check_sphere(stream)
    elif magic == b"OggS":
        _check_ogg(stream)
    if magic in (b"OggS", b"fLaC") and not stream.base:  # in an archive, the next recording follows
        refuse_second_stream(stream)
    return {}


def check_mp3(stream: Stream) -> None:
    """The first frame must tell the length (a Xing, Info or VBRI header); without it the decoder guesses one.

    Raises:
        AudioError: it does not; with the reason alone.
    """
    if not mp3_length_header(stream):
        raise AudioError(f"an MP3 file without its length (Xing header): nothing tells whether it is whole; {_CONVERT}")
    refuse_second_stream(stream)


def not_audio(head: bytes) -> str:
    """What a file that libsndfile does not open seems to be, and what to do."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip-compressed, format not recognised; gunzip it first"
    if head[4:8] == b"ftyp":
        return f"format not recognised (MP4/M4A container); {_CONVERT}"
    if head[:4] in (b"RIFF", b"RF64", b"RIFX", b"fLaC", b"OggS", b"FORM", b"NIST", b".snd"):
        return f"damaged header or unknown coding in a {head[:4].decode().strip('.')} file, format not recognised; {_CONVERT}"
    if head.lstrip()[:1] == b"<":
        return "not an audio file but a web page (format not recognised); download it again"
    return f"not an audio file (format not recognised); {_CONVERT}"


def truncated(promised: int, there: int, unit: str = "samples") -> str:
    """The sentence for a file that was cut."""
    return f"truncated: expected {promised} {unit}, {there} there; {_CUT}"


def _chunks(stream: Stream, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the contents, and size of every chunk of a RIFF or IFF file."""
    offset = 12
    for _ in range(_MAX_CHUNKS):
        header = stream.read(offset, 8)
        if len(header) < 8:
            return
        name, size = struct.unpack(order + "4sI", header)
        yield name, offset + 8, size
        offset += 8 + size + size % 2


def _check_wav(stream: Stream) -> dict[int, bytes]:
    order = ">" if stream.head[:4] == b"RIFX" else "<"
    long_size, coding, block = 0, 1, 1
    for name, start, size in _chunks(stream, order):
        if name == b"ds64":
            long_size = struct.unpack(order + "Q", stream.read(start + 8, 8).ljust(8, b"\0"))[0]
        elif name == b"fmt ":
            coding, _, _, _, block = struct.unpack(order + "HHIIH", stream.read(start, 14).ljust(14, b"\0"))
        elif name == b"data":
            size = long_size if long_size and size == 0xFFFFFFFF else size
            return _check_wav_data(stream, order, start, size, block if coding in _SAMPLES_BY_BLOCK else 0)
    raise AudioError(f"truncated: a WAV file without its data chunk; {_CUT}")


def _check_wav_data(stream: Stream, order: str, start: int, size: int, block: int) -> dict[int, bytes]:
    there = stream.size - start
    if size == 0 and there > 0 and not _is_chunk_list(stream, order, start):
        return {4: struct.pack(order + "I", min(stream.size - 8, 0xFFFFFFFE)), start - 4: struct.pack(order + "I", min(there, 0xFFFFFFFE))}
    if size < there and size < STREAMED:
        refuse_tail(stream, start + size, order)
    if size <= there or STREAMED <= size <= 0xFFFFFFFF:
        return {}
    raise AudioError(truncated(size // block, there // block) if block else truncated(size, there, "bytes of sound"))


def _is_chunk_list(stream: Stream, order: str, offset: int) -> bool:
    """True if the rest of the file from `offset` is chunks to the end: an empty data chunk is then really empty."""
    while offset + 8 <= stream.size:
        name, size = struct.unpack(order + "4sI", stream.read(offset, 8))
        if not (name.isascii() and name.decode("ascii").isprintable()):
            return False
        offset += 8 + size + size % 2
    return offset in (stream.size, stream.size + 1)


def _check_aiff(stream: Stream) -> None:
    promised = 0
    for name, start, size in _chunks(stream, ">"):
        if name == b"COMM":
            promised = struct.unpack(">I", stream.read(start + 2, 4).ljust(4, b"\0"))[0]
        elif name == b"SSND":
            there = stream.size - start
            if there < size < STREAMED:
                raise AudioError(truncated(promised, max(there - 8, 0) * promised // max(size - 8, 1)))
            if size < min(there, STREAMED):
                refuse_tail(stream, start + size, ">")
            return
    raise AudioError(f"truncated: an AIFF file without its sound chunk; {_CUT}")


def _check_au(stream: Stream) -> None:
    order = ">" if stream.head[:4] == b".snd" else "<"
    start, size = struct.unpack(order + "II", stream.read(4, 8).ljust(8, b"\0"))
    if stream.size - start < size < STREAMED:
        raise AudioError(truncated(size, max(stream.size - start, 0), "bytes of sound"))
    if size < STREAMED:
        refuse_bytes_after(stream, start + size)


def _check_sphere(stream: Stream) -> None:
    length = stream.head[8:16].strip()
    fields = dict(re.findall(rb"^(\w+) -[ris]\d* (\S+)", stream.head, re.MULTILINE))
    numbers = [fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not length.isdigit() or not all(number.isdigit() for number in numbers):
        return
    if b"shorten" in fields.get(b"sample_coding", b""):
        raise AudioError("SPHERE file compressed with shorten, format not supported; convert it with sph2pipe -f wav IN OUT.wav")
    count, channels, width = (int(number) for number in numbers)
    there = (stream.size - int(length)) // max(channels * width, 1)
    if there < count:
        raise AudioError(truncated(count, max(there, 0)))
    refuse_bytes_after(stream, int(length) + count * channels * width)


def _check_ogg(stream: Stream) -> None:
    """The last page must be whole and carry the mark of the end of its stream."""
    start = max(stream.size - 66_000, 0)  # a page has at most 65,307 bytes
    tail = os.pread(stream.handle, stream.size - start, start)
    page = tail.rfind(b"OggS\0")
    if page >= 0 and len(tail) >= page + 27:
        lacing = tail[page + 27 : page + 27 + tail[page + 26]]
        is_whole = len(tail) >= page + 27 + tail[page + 26] + sum(lacing)
        if is_whole and tail[page + 5] & 4:
            return
    raise AudioError(f"truncated: the end of the Ogg stream is missing; {_CUT}")
